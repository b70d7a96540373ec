//! Constant-velocity motion of a box: a Kalman filter.
//!
//! Centre, width and height move on their own, and all noise is diagonal; then the covariance of the eight-dimensional
//! filter is four blocks of 2 × 2 that never mix. So this is four filters of position and velocity, without
//! matrices; a library of general filters would invert zeros.

use crate::geometry::Rect;

/// Standard deviation of the drift of a position in a frame and of a measurement, in heights of the box.
const POSITION: f64 = 1.0 / 20.0;
/// Standard deviation of the change of velocity in a frame, in heights of the box.
const VELOCITY: f64 = 1.0 / 160.0;
/// Height that stands for smaller ones, so that no variance is 0, in pixels.
const SMALLEST_HEIGHT: f64 = 1.0;

/// One coordinate and its velocity, in pixels and pixels a frame.
#[derive(Debug, Clone, Copy)]
struct Axis {
    position: f64,
    velocity: f64,
    /// Variance of the position, covariance, variance of the velocity.
    variance: f64,
    covariance: f64,
    velocity_variance: f64,
}

impl Axis {
    fn new(position: f64, height: f64) -> Self {
        let (p, v) = (2.0 * POSITION * height, 10.0 * VELOCITY * height);
        Self { position, velocity: 0.0, variance: p * p, covariance: 0.0, velocity_variance: v * v }
    }

    fn predict(&mut self, height: f64) {
        let (p, v) = (POSITION * height, VELOCITY * height);
        self.position += self.velocity;
        self.variance += 2.0 * self.covariance + self.velocity_variance + p * p;
        self.covariance += self.velocity_variance;
        self.velocity_variance += v * v;
    }

    fn correct(&mut self, measured: f64, height: f64) {
        let noise = POSITION * height;
        let innovation = self.variance + noise * noise;
        let (gain, velocity_gain) = (self.variance / innovation, self.covariance / innovation);
        let error = measured - self.position;
        self.position += gain * error;
        self.velocity += velocity_gain * error;
        self.velocity_variance -= velocity_gain * self.covariance;
        self.covariance -= gain * self.covariance;
        self.variance -= gain * self.variance;
    }
}

/// Where a box is and where it goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Motion {
    /// Centre, then width and height.
    axes: [Axis; 4],
}

fn measures(rect: &Rect) -> [f64; 4] {
    let [x, y, width, height] = [rect.x, rect.y, rect.width, rect.height].map(f64::from);
    [x + width / 2.0, y + height / 2.0, width, height]
}

impl Motion {
    /// A box seen for the first time, at rest.
    pub fn new(rect: &Rect) -> Self {
        let measures = measures(rect);
        let height = measures[3].max(SMALLEST_HEIGHT);
        Self { axes: measures.map(|measure| Axis::new(measure, height)) }
    }

    fn height(&self) -> f64 {
        self.axes[3].position.max(SMALLEST_HEIGHT)
    }

    /// Goes on by a frame. A box that was not `seen` in the last one keeps its size: its growth is known too badly.
    pub fn predict(&mut self, seen: bool) {
        let height = self.height();
        if !seen {
            self.axes[2].velocity = 0.0;
            self.axes[3].velocity = 0.0;
        }
        self.axes.iter_mut().for_each(|axis| axis.predict(height));
    }

    /// The box was measured in this frame.
    pub fn correct(&mut self, rect: &Rect) {
        let height = self.height();
        for (axis, measure) in self.axes.iter_mut().zip(measures(rect)) {
            axis.correct(measure, height);
        }
    }

    /// Where the box is thought to be.
    pub fn rect(&self) -> Rect {
        let [x, y, width, height] = self.axes.map(|axis| axis.position);
        Rect::new((x - width / 2.0) as f32, (y - height / 2.0) as f32, width as f32, height as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_velocity_is_learnt() {
        let at = |n: usize| Rect::new(100.0 + 3.0 * n as f32, 50.0 - n as f32, 40.0, 80.0);
        let mut motion = Motion::new(&at(0));
        for n in 1..40 {
            motion.predict(true);
            motion.correct(&at(n));
        }
        for n in 40..50 {
            motion.predict(n == 40);
            let (found, expected) = (motion.rect(), at(n));
            assert!((found.x - expected.x).abs() < 0.5 && (found.y - expected.y).abs() < 0.5, "{found:?} {expected:?}");
            assert!((found.width - 40.0).abs() < 0.1 && (found.height - 80.0).abs() < 0.1);
        }
    }

    #[test]
    fn noise_is_smoothed() {
        let mut motion = Motion::new(&Rect::new(0.0, 0.0, 40.0, 80.0));
        let mut worst = 0f32;
        for n in 1..200 {
            let noise = if n % 2 == 0 { 4.0 } else { -4.0 };
            motion.predict(true);
            motion.correct(&Rect::new(noise, 0.0, 40.0, 80.0));
            if n > 20 {
                worst = worst.max(motion.rect().x.abs());
            }
        }
        assert!(worst < 3.0, "{worst}");
    }

    /// The same filter with matrices, for one axis.
    #[test]
    fn four_small_filters_are_the_large_one() {
        let (h, mut x, mut p) = (80.0, [10.0, 0.0], [[64.0, 0.0], [0.0, 25.0]]);
        let mut axis = Axis::new(10.0, h);
        for z in [12.0, 15.0, 16.0, 21.0] {
            axis.predict(h);
            axis.correct(z, h);
            // x = F x, P = F P Fᵀ + Q
            x = [x[0] + x[1], x[1]];
            let fp = [[p[0][0] + p[1][0], p[0][1] + p[1][1]], p[1]];
            p = [[fp[0][0] + fp[0][1] + 16.0, fp[0][1]], [fp[1][0] + fp[1][1], fp[1][1] + 0.25]];
            // K = P Hᵀ / (H P Hᵀ + R), x = x + K (z - H x), P = (I - K H) P
            let s = p[0][0] + 16.0;
            let (k, error) = ([p[0][0] / s, p[1][0] / s], z - x[0]);
            x = [x[0] + k[0] * error, x[1] + k[1] * error];
            p = [
                [(1.0 - k[0]) * p[0][0], (1.0 - k[0]) * p[0][1]],
                [p[1][0] - k[1] * p[0][0], p[1][1] - k[1] * p[0][1]],
            ];
            let found = [axis.position, axis.velocity, axis.variance, axis.covariance, axis.velocity_variance];
            for (a, b) in found.iter().zip([x[0], x[1], p[0][0], p[0][1], p[1][1]]) {
                assert!((a - b).abs() < 1e-9, "{found:?}");
            }
        }
    }
}
