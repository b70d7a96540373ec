//! Progress of long work, and its interruption.
//!
//! A bar on a terminal; elsewhere one line for each finished piece, so that a log tells what happened. Both on standard error.

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Lets an interrupt end the running command in order; a second one ends it at once.
///
/// # Errors
/// When the system refuses the handler.
pub fn catch_interrupts() -> Result<()> {
    ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })?;
    Ok(())
}

/// Whether an interrupt came.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Progress that several threads may report to.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Progress to `total` frames.
    pub fn frames(what: &'static str, total: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr()).with_message(what);
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} frames, {per_sec}, {eta} left") {
            bar.set_style(style);
        }
        Self { bar }
    }

    /// Progress of a number of frames that is not known.
    pub fn counter(what: &'static str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_message(what);
        if let Ok(style) = ProgressStyle::with_template("{msg}: {pos} frames, {per_sec}") {
            bar.set_style(style);
        }
        Self { bar }
    }

    /// One more frame is done.
    ///
    /// # Errors
    /// When the command was interrupted.
    pub fn frame(&self) -> Result<()> {
        self.bar.inc(1);
        if interrupted() {
            bail!("interrupted; what is finished is kept, the same command goes on from there");
        }
        Ok(())
    }

    /// Says that a piece of the work is finished.
    pub fn line(&self, text: impl Display) {
        if self.bar.is_hidden() {
            eprintln!("{text}");
        } else {
            self.bar.println(text.to_string());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Prints a warning on standard error.
pub fn warn(warning: impl Display) {
    eprintln!("fcm-eval: warning: {warning}");
}
