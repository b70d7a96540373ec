//! Frames that are lost or inexact: what is told of them, what is asked for, and what stands in for them.

use super::{CAT, Failure, FcmDec, Output, Stream};
use crate::fcmdec::Conceal;
use crate::fcmdec::settings::Settings;
use crate::fcmdec::stats::Stats;
use crate::{statistics_meta, warnings};
use fcm_codec::{Damage, Error, FrameStatistics, Layout};
use gst::subclass::prelude::*;
use std::time::Duration;

/// Why an access unit gave no exact frame although the stream can go on.
pub(super) enum Loss {
    Damaged(Error),
    /// Predicted from a frame that is not there; how many frame numbers were skipped, if known.
    Unpredictable(Option<u32>),
    /// It gave one, which is not exactly what was coded.
    Inexact(Damage),
}

impl Loss {
    /// Counts it. Returns what is to be told of it, if anything. `fresh`: the frame before was as coded; `joined`: frames were sent before.
    fn count(&self, stats: &mut Stats, fresh: bool, joined: bool) -> Option<String> {
        match self {
            Loss::Damaged(error) => {
                stats.corrupt += 1;
                Some(format!("an access unit cannot be decoded: {error}"))
            }
            Loss::Unpredictable(missing) => {
                stats.awaiting += 1;
                let (count, problem) = warnings::unpredictable(*missing, fresh, joined);
                stats.missing += count;
                problem
            }
            Loss::Inexact(damage) => {
                stats.inexact += 1;
                stats.missing += u64::from(damage.missing.unwrap_or(0));
                let (came, all) = damage.groups;
                match damage.missing {
                    _ if came < all => Some(format!("slices are missing: {came} of {all} groups of components came")),
                    Some(n) if n > 0 => Some(warnings::missing_units(n)),
                    _ => fresh.then(warnings::not_continuous),
                }
            }
        }
    }

    /// Whether something was lost just now, and not only what hangs on an earlier loss.
    fn is_new(&self) -> bool {
        match self {
            Loss::Damaged(_) => true,
            Loss::Unpredictable(_) => false,
            Loss::Inexact(damage) => damage.missing != Some(0) || damage.groups.0 < damage.groups.1,
        }
    }
}

impl FcmDec {
    /// Counts and reports an access unit that gave no exact frame, and asks for a random access point.
    /// `discont`: the buffer says that something before it is missing.
    pub(super) fn lose(
        &self,
        stream: &mut Stream,
        settings: &Settings,
        loss: Loss,
        discont: bool,
    ) -> Result<Vec<Output>, Failure> {
        let mut out = Vec::new();
        let fresh = !std::mem::replace(&mut stream.losing, true);
        let inexact = matches!(loss, Loss::Inexact(_));
        if !inexact {
            stream.discont = true;
            stream.last_number = None;
        }
        let problem = loss.count(&mut self.state.lock().unwrap().stats, fresh, stream.had_output);
        if let Some(problem) = problem {
            gst::warning!(CAT, imp = self, "{problem}");
            let effect = if inexact { "inexact" } else { "lost" };
            out.extend(stream.warnings.due().map(|times| {
                Output::Warning(format!("{problem}; frames are {effect} up to the next random access point{times}"))
            }));
        }
        if settings.automatic_request_sync_points {
            let interval = Duration::from(settings.min_force_key_unit_interval);
            if let Some(request) = stream.requests.ask(discont || loss.is_new(), interval) {
                out.push(Output::Upstream(request));
                self.state.lock().unwrap().stats.sync_requests += 1;
            }
        }
        if let Loss::Damaged(error) = loss {
            stream.errors_in_a_row = stream.errors_in_a_row.saturating_add(1);
            if u32::try_from(settings.max_errors).is_ok_and(|most| stream.errors_in_a_row > most) {
                return Err(error.into());
            }
        }
        Ok(out)
    }

    /// Adds what stands in for the frame of `buffer`, which cannot be decoded, to `out`.
    pub(super) fn conceal(
        &self,
        stream: &mut Stream,
        settings: &Settings,
        buffer: &gst::BufferRef,
        mut out: Vec<Output>,
    ) -> Vec<Output> {
        let Some(((last, statistics), layout)) = stream.last_raw.as_ref().zip(stream.layout.as_ref()) else {
            return out;
        };
        let most = if settings.conceal_frames == 0 { u32::MAX } else { settings.conceal_frames };
        if settings.conceal != Conceal::Repeat || stream.repeated >= most {
            return out;
        }
        stream.repeated += 1;
        let mut raw = gst::Buffer::new();
        let unshared = raw.make_mut();
        let of_this = gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS | gst::BufferCopyFlags::META;
        let copied = last
            .copy_into(unshared, gst::BufferCopyFlags::MEMORY, ..)
            .and_then(|()| buffer.copy_into(unshared, of_this, ..));
        if let Err(error) = copied {
            gst::warning!(CAT, imp = self, "the last frame cannot be repeated: {error}");
            return out;
        }
        unshared.unset_flags(gst::BufferFlags::DISCONT | gst::BufferFlags::DELTA_UNIT | gst::BufferFlags::HEADER);
        mark_repeated(unshared, layout, statistics, stream.repeated);
        self.state.lock().unwrap().stats.concealed += 1;
        out.push(Output::Buffer(raw));
        out
    }

    /// Adds what stands in for `missing` frames between the last frame and one of time `pts`.
    pub(super) fn fill(
        &self,
        stream: &Stream,
        settings: &Settings,
        missing: u32,
        pts: Option<gst::ClockTime>,
        out: &mut Vec<Output>,
    ) {
        let Some(((last, statistics), layout)) = stream.last_raw.as_ref().zip(stream.layout.as_ref()) else { return };
        let Some((from, to)) = last.pts().zip(pts).filter(|(from, to)| from < to) else { return };
        let most = if settings.conceal_frames == 0 { u32::MAX } else { settings.conceal_frames };
        let step = (to - from) / u64::from(missing + 1);
        for n in 1..=missing.min(most) {
            let mut raw = gst::Buffer::new();
            let unshared = raw.make_mut();
            if let Err(error) = last.copy_into(unshared, gst::BufferCopyFlags::MEMORY, ..) {
                gst::warning!(CAT, imp = self, "the last frame cannot be repeated: {error}");
                return;
            }
            unshared.set_pts(from + step * u64::from(n));
            unshared.set_duration(last.duration());
            mark_repeated(unshared, layout, statistics, n);
            self.state.lock().unwrap().stats.concealed += 1;
            out.push(Output::Buffer(raw));
        }
    }
}

/// Marks a buffer with the tensors of the frame before, which stands in for the `count`-th missing one since then.
fn mark_repeated(buffer: &mut gst::BufferRef, layout: &Layout, statistics: &FrameStatistics, count: u32) {
    buffer.set_flags(gst::BufferFlags::CORRUPTED);
    statistics_meta::attach(buffer, layout, statistics, false);
    statistics_meta::note_damage(buffer, count);
}
