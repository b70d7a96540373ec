//! The progress bar of long work, and the interruption of it.
//!
//! The bar is drawn on standard error, and only when that is a terminal. An interrupt (Ctrl-C, SIGTERM) is noticed at the next frame, so that
//! temporary files are removed on the way out.

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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

/// The progress of one piece of work.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar that counts to `total` frames.
    pub fn frames(what: &'static str, total: u64) -> Self {
        Self::new(what, total, "{msg} {wide_bar} {pos}/{len} frames, {per_sec}, {eta} left")
    }

    /// A bar that counts to `total` bytes.
    pub fn bytes(what: &'static str, total: u64) -> Self {
        Self::new(what, total, "{msg} {wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left")
    }

    /// A turning sign, for work of unknown length.
    pub fn spinner(what: &'static str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_message(what);
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar }
    }

    fn new(what: &'static str, total: u64, template: &str) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr()).with_message(what);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar }
    }

    /// `done` more units are done.
    ///
    /// # Errors
    /// When the command was interrupted.
    pub fn advance(&self, done: u64) -> Result<()> {
        self.bar.inc(done);
        if interrupted() {
            bail!("interrupted, nothing was written");
        }
        Ok(())
    }

    /// Prints a warning on standard error without disturbing the bar.
    pub fn warn(&self, warning: impl Display) {
        self.bar.suspend(|| warn(warning));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Prints a warning on standard error.
pub fn warn(warning: impl Display) {
    eprintln!("fcm: warning: {warning}");
}
