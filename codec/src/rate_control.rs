//! Bit rate: a quantiser parameter for every frame that keeps a long-run average with a bounded buffer.
//!
//! Frames of each kind are modelled as 2^(a − SLOPE·qp) bits; `a` is learned. The qp solves the model for the target of the coming
//! seconds, which is the rate wanted less what the buffer has to give back.

use crate::encoder::FrameKind;
use crate::quantiser::{QP_MAX, QPS};

/// log2(bits) that one step of qp saves, measured on detector features.
const SLOPE: f64 = 0.33;
/// Seconds in which the buffer is brought back to empty.
const WINDOW: f64 = 3.0;
/// Largest change of qp from frame to frame.
const MAX_CHANGE: f64 = 2.0;
/// Weight of a new frame in the model.
const LEARN: f64 = 0.15;

/// Frames whose bits the first one may take: random access frames take three to six times those of predicted ones at one qp.
const FIRST_FRAME: f64 = 5.0;
/// Bits of a random access frame: so many for each level that rounding leaves, more for each doubling of it, and some for the frame. Four of
/// five first frames of three networks at qp 4 to 40 took 0.93 to 1.15 times that, all 0.76 to 1.22; with a block DCT coarse ones take less.
const LEVEL_BITS: f64 = 2.8;
const DOUBLING_BITS: f64 = 1.3;
const FRAME_BITS: f64 = 650.0;
/// Steps of qp that double the quantiser step.
const QPS_A_DOUBLING: usize = 6;

/// State of a target bit rate.
#[derive(Debug, Clone)]
pub struct RateController {
    bits_per_frame: f64,
    frames_per_second: f64,
    /// Bits above the target so far, bounded to WINDOW seconds of them.
    excess: f64,
    /// log2(bits) at qp 0 of random access and predicted frames.
    model: [Option<f64>; 2],
    qp: Option<f64>,
}

impl RateController {
    /// For `kbit_per_second` at `frames_per_second`.
    pub fn new(kbit_per_second: u32, frames_per_second: (u32, u32)) -> Self {
        let fps = f64::from(frames_per_second.0) / f64::from(frames_per_second.1);
        let bits_per_frame = f64::from(kbit_per_second) * 1000.0 / fps;
        Self { bits_per_frame, frames_per_second: fps, excess: 0.0, model: [None; 2], qp: None }
    }

    /// The same stream with another target: what was learned of it stays.
    pub fn retarget(&mut self, kbit_per_second: u32, frames_per_second: (u32, u32)) {
        *self = Self { model: self.model, qp: self.qp, ..Self::new(kbit_per_second, frames_per_second) };
    }

    /// The qp of the next frame. `period` is the number of frames from one random access point to the next (0 = unbounded);
    /// `levels` counts the levels of the very first frame that are not 0, at each qp.
    pub fn choose(&mut self, kind: FrameKind, period: u32, levels: impl FnOnce() -> [usize; QPS]) -> u8 {
        let Some(before) = self.qp else {
            let budget = self.bits_per_frame * FIRST_FRAME;
            let bits = first_frame_bits(&levels());
            let qp = (0..=QP_MAX).find(|&qp| bits[usize::from(qp)] <= budget).unwrap_or(QP_MAX);
            self.qp = Some(f64::from(qp));
            return qp;
        };
        let window = self.frames_per_second * WINDOW;
        let target =
            (self.bits_per_frame - self.excess / window).clamp(0.1 * self.bits_per_frame, 2.0 * self.bits_per_frame);
        let [random_access, predicted] = self.model.map(|a| a.map(f64::exp2));
        // Mean bits of a frame of one period at qp 0; a kind not seen yet is taken for 4 times larger or smaller than the other.
        let random_access = random_access.or(predicted.map(|p| 4.0 * p)).unwrap_or(target);
        let predicted = predicted.unwrap_or(random_access / 4.0);
        let share = if period == 0 { 0.0 } else { 1.0 / f64::from(period) };
        let mean = share * random_access + (1.0 - share) * predicted;
        let wanted = (mean / target).log2() / SLOPE;
        let change = if kind == FrameKind::RandomAccess { 2.0 * MAX_CHANGE } else { MAX_CHANGE };
        let qp = wanted.clamp(before - change, before + change).clamp(0.0, f64::from(QP_MAX));
        self.qp = Some(qp);
        qp.round() as u8
    }

    /// Learns what a frame took.
    pub fn update(&mut self, kind: FrameKind, qp: u8, bytes: usize) {
        let bits = (bytes * 8) as f64;
        let bound = self.bits_per_frame * self.frames_per_second * WINDOW;
        self.excess = (self.excess + bits - self.bits_per_frame).clamp(-bound, bound);
        let a = bits.max(8.0).log2() + SLOPE * f64::from(qp);
        let model = &mut self.model[usize::from(kind == FrameKind::Predicted)];
        *model = Some(model.map_or(a, |m| m + LEARN * (a - m)));
    }
}

/// Bits of a first frame at each qp, of whose levels so many are not 0.
fn first_frame_bits(levels: &[usize; QPS]) -> [f64; QPS] {
    std::array::from_fn(|qp| {
        // A step twice as large leaves the levels of 2 and more, one four times as large those of 4 and more.
        let doublings: usize = levels[qp..].iter().skip(QPS_A_DOUBLING).step_by(QPS_A_DOUBLING).sum();
        FRAME_BITS + LEVEL_BITS * levels[qp] as f64 + DOUBLING_BITS * doublings as f64
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source whose frames take 2^(a − slope·qp) bits, random access frames four times more, with ±30 % of noise.
    fn run(kbit: u32, a: f64, slope: f64, frames: u32) -> f64 {
        let mut rc = RateController::new(kbit, (25, 1));
        let mut total = 0.0;
        for t in 0..frames {
            let kind = if t % 32 == 0 { FrameKind::RandomAccess } else { FrameKind::Predicted };
            let factor = if kind == FrameKind::RandomAccess { 4.0 } else { 1.0 }
                * (1.0 + 0.3 * f64::from(t * 7919 % 200) / 100.0 - 0.3);
            let bits = |qp: u8| (a - slope * f64::from(qp)).exp2() * factor;
            let qp = rc.choose(kind, 32, || std::array::from_fn(|qp| (bits(qp as u8) / LEVEL_BITS) as usize));
            rc.update(kind, qp, (bits(qp) / 8.0) as usize);
            total += bits(qp);
        }
        total / f64::from(frames) * 25.0 / 1000.0
    }

    #[test]
    fn the_average_is_held_within_5_percent_though_the_model_is_wrong() {
        for kbit in [40, 100, 400, 1000] {
            for (a, slope) in [(26.0, 0.33), (25.0, 0.25), (28.0, 0.42)] {
                let got = run(kbit, a, slope, 1500);
                assert!((got / f64::from(kbit) - 1.0).abs() < 0.05, "{kbit} kbit/s: {got}");
            }
        }
    }
}
