//! What the decoded tensors of one layer are worth: statistics before and after, cosine, squared error.

use half::f16;

/// Measurements of one layer over all frames of a run.
#[derive(Default, Clone)]
pub struct LayerMeasure {
    frames: f64,
    mean: (f64, f64),
    std_dev: (f64, f64),
    mean_error: f64,
    std_error: f64,
    cosine: f64,
    error: f64,
    energy: f64,
}

impl LayerMeasure {
    /// Adds one frame: the original tensor and the decoded one.
    pub fn add(&mut self, original: &[f16], decoded: &[f16]) {
        let n = original.len() as f64;
        let (mut sx, mut sy, mut xx, mut yy, mut xy) = (0.0f64, 0.0f64, 0.0f64, 0.0f64, 0.0f64);
        for (x, y) in original.iter().zip(decoded) {
            let (x, y) = (f64::from(x.to_f32()), f64::from(y.to_f32()));
            sx += x;
            sy += y;
            xx += x * x;
            yy += y * y;
            xy += x * y;
        }
        let (mx, my) = (sx / n, sy / n);
        let (dx, dy) = ((xx / n - mx * mx).max(0.0).sqrt(), (yy / n - my * my).max(0.0).sqrt());
        self.frames += 1.0;
        self.mean = (self.mean.0 + mx, self.mean.1 + my);
        self.std_dev = (self.std_dev.0 + dx, self.std_dev.1 + dy);
        self.mean_error += (my - mx).abs() / dx.max(1e-12);
        self.std_error += (dy / dx.max(1e-12) - 1.0).abs();
        self.cosine += xy / (xx * yy).sqrt().max(1e-12);
        self.error += xx - 2.0 * xy + yy;
        self.energy += xx;
    }

    /// Frames added.
    pub fn frames(&self) -> usize {
        self.frames as usize
    }

    /// Mean of the original and of the decoded tensors, averaged over the frames.
    pub fn mean(&self) -> (f64, f64) {
        (self.mean.0 / self.frames, self.mean.1 / self.frames)
    }

    /// Standard deviation of the original and of the decoded tensors, averaged over the frames.
    pub fn std_dev(&self) -> (f64, f64) {
        (self.std_dev.0 / self.frames, self.std_dev.1 / self.frames)
    }

    /// |difference of the means| in standard deviations of the original, averaged over the frames.
    pub fn mean_error(&self) -> f64 {
        self.mean_error / self.frames
    }

    /// |ratio of the standard deviations − 1|, averaged over the frames.
    pub fn std_error(&self) -> f64 {
        self.std_error / self.frames
    }

    /// Cosine similarity, averaged over the frames.
    pub fn cosine(&self) -> f64 {
        self.cosine / self.frames
    }

    /// Squared error over squared original, of all frames together.
    pub fn nmse(&self) -> f64 {
        self.error / self.energy.max(1e-300)
    }
}
