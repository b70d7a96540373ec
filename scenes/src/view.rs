//! From the street to the picture: perspective, and how the camera moves.

use crate::config::{Camera, SceneConfig};
use crate::numbers::{Purpose, Random, sin_turn};
use crate::raster::Point;

/// Perspective of a camera that looks level over a flat street. The ground is measured in metres: x to the right, z ahead.
#[derive(Clone)]
pub struct View {
    pub width: f32,
    pub height: f32,
    /// Row of the horizon.
    pub horizon: f32,
    /// Height of the camera above the ground in metres.
    pub eye: f32,
    /// Focal length in pixels.
    focal: f32,
    camera: Camera,
    /// Parameters of the movement: amplitude in pixels, then periods in seconds and phases in turns.
    swing: [f32; 5],
    seed: u64,
}

/// A place on the ground, in the picture.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Where feet stand, in pixels.
    pub foot: Point,
    /// Pixels of a metre.
    pub scale: f32,
}

impl View {
    pub fn new(config: &SceneConfig, seed: u64, r: &mut Random) -> Self {
        let (width, height) = (config.width as f32, config.height as f32);
        let drawn = match r.whole(0, 3) {
            0 => Camera::Shake,
            1 => Camera::Pan,
            _ => Camera::Still,
        };
        let camera = config.camera.unwrap_or(drawn);
        let amplitude = match camera {
            Camera::Still => 0.0,
            Camera::Shake => r.between(0.004, 0.01) * height,
            Camera::Pan => r.between(0.05, 0.1) * width,
        };
        let swing = [amplitude, r.between(6.0, 14.0), r.unit(), r.between(0.4, 0.9), r.unit()];
        Self {
            width,
            height,
            horizon: r.between(0.2, 0.3) * height,
            eye: r.between(2.7, 3.4),
            focal: 1.6 * height,
            camera,
            swing,
            seed,
        }
    }

    /// Where a point of the ground is.
    pub fn place(&self, [x, z]: Point) -> Place {
        let scale = self.focal / z;
        Place { foot: [self.width / 2.0 + x * scale, self.horizon + self.eye * scale], scale }
    }

    /// The point of the ground in a column of the picture where a metre takes `scale` pixels.
    pub fn ground(&self, column: f32, scale: f32) -> Point {
        [(column - self.width / 2.0) / scale, self.focal / scale]
    }

    /// Pixels of a metre in pictures of 288 rows, for this picture's height.
    pub fn scaled(&self, pixels: f32) -> f32 {
        pixels * self.height / 288.0
    }

    /// How far the picture may be from where it would be with a still camera: to the sides, and up and down.
    pub fn reach(&self) -> (f32, f32) {
        match self.camera {
            Camera::Still => (0.0, 0.0),
            Camera::Shake => (1.6 * self.swing[0], 1.6 * self.swing[0]),
            Camera::Pan => (self.swing[0], 0.0),
        }
    }

    /// How far it is in a frame.
    pub fn offset(&self, frame: u32, seconds: f32) -> Point {
        let [amplitude, slow, slow_phase, fast, fast_phase] = self.swing;
        match self.camera {
            Camera::Still => [0.0, 0.0],
            Camera::Pan => [amplitude * sin_turn(seconds / slow + slow_phase), 0.0],
            Camera::Shake => {
                let mut r = Random::new(self.seed, Purpose::Frame, frame);
                let jolt = |r: &mut Random| amplitude * r.between(-0.4, 0.4);
                let x = amplitude * sin_turn(seconds / fast + fast_phase) + jolt(&mut r);
                [x, 0.7 * amplitude * sin_turn(seconds / (1.37 * fast) + slow_phase) + jolt(&mut r)]
            }
        }
    }
}
