//! From light to bytes: changing brightness, the lens's blur, the sensor's noise.

use crate::numbers::{Purpose, Random, sin_turn};
use crate::raster::Canvas;

const TABLE: usize = 1 << 16;

pub struct Sensor {
    seed: u64,
    base: [f32; 3],
    /// Depth, period in seconds and phase of two changes of the light, and a drift a second.
    waves: [[f32; 3]; 2],
    drift: f32,
    /// Weight of each neighbour.
    blur: f32,
    /// Standard deviation of the noise in steps of a byte.
    noise: f32,
    table: Vec<f32>,
    blurred: Vec<[f32; 3]>,
}

impl Sensor {
    pub fn new(seed: u64, width: usize, height: usize) -> Self {
        let mut r = Random::new(seed, Purpose::Sensor, 0);
        let level = r.between(0.8, 1.4);
        let warmth = r.between(-0.08, 0.08);
        let wave =
            |r: &mut Random, depth: f32, slow: f32| [r.between(0.0, depth), r.between(0.3, 1.0) * slow, r.unit()];
        Self {
            seed,
            base: [level * (1.0 + warmth), level, level * (1.0 - warmth)],
            waves: [wave(&mut r, 0.12, 20.0), wave(&mut r, 0.03, 2.5)],
            drift: r.between(-0.006, 0.006),
            blur: r.between(0.03, 0.2),
            noise: r.between(1.5, 5.5),
            table: (0..TABLE + 3 * width).map(|_| r.normal()).collect(),
            blurred: vec![[0.0; 3]; width * height],
        }
    }

    /// The picture of a frame as packed RGB.
    pub fn expose(&mut self, canvas: &Canvas, frame: u32, seconds: f32, picture: &mut [u8]) {
        let mut light = (1.0 + self.drift * seconds).clamp(0.75, 1.3);
        for [depth, period, phase] in self.waves {
            light *= 1.0 + depth * sin_turn(seconds / period + phase);
        }
        let gain = self.base.map(|b| b * light);
        let (w, h) = (canvas.width, canvas.height);
        let (side, centre) = (self.blur, 1.0 - 2.0 * self.blur);
        for (line, out) in canvas.colours.chunks_exact(w).zip(self.blurred.chunks_exact_mut(w)) {
            for x in 1..w - 1 {
                for k in 0..3 {
                    out[x][k] = centre * line[x][k] + side * (line[x - 1][k] + line[x + 1][k]);
                }
            }
            out[0] = line[0];
            out[w - 1] = line[w - 1];
        }
        let mut r = Random::new(self.seed, Purpose::Sensor, frame + 1);
        for (y, out) in picture.chunks_exact_mut(3 * w).enumerate() {
            let line = |y: usize| &self.blurred[y * w..(y + 1) * w];
            let (above, here, below) = (line(y.saturating_sub(1)), line(y), line((y + 1).min(h - 1)));
            let noise = &self.table[r.bits() as usize % TABLE..][..3 * w];
            for (x, (pixel, noise)) in out.chunks_exact_mut(3).zip(noise.chunks_exact(3)).enumerate() {
                for k in 0..3 {
                    let v = centre * here[x][k] + side * (above[x][k] + below[x][k]);
                    // The cast clamps to 0..=255.
                    pixel[k] = (v * gain[k] + self.noise * noise[k] + 0.5) as u8;
                }
            }
        }
    }
}
