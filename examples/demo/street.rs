//! What the demo looks at: rendered streets.

use anyhow::Result;
use fcm_analytics::geometry::Rect;
use fcm_analytics::mot::Object;
use fcm_scenes::{Kind, Scene, SceneConfig};

/// Frames a second.
pub const FRAME_RATE: u32 = 25;
/// Seeds from 1 to 99 are for showing and measuring: the network was not trained on them, no transform is calibrated on them.
/// The first of them is no measure of the others: uncompressed, it gives a MOTA of .61, seed 4 one of .49. `make results` measures several.
const SHOWN: u64 = 1;
/// First seed of those that are kept for calibration.
const CALIBRATION: u64 = 500;

/// Pictures, and the persons in them.
pub struct Street {
    pub width: u32,
    pub height: u32,
    /// Packed RGB, rows without padding.
    pub pictures: Vec<Vec<u8>>,
    /// Persons of every frame of whom at least a quarter is seen.
    pub persons: Vec<Vec<Object>>,
}

impl Street {
    /// The street that is shown.
    pub fn shown(frames: u32) -> Result<Self> {
        let config = SceneConfig { frames, rate: FRAME_RATE, ..SceneConfig::default() };
        let mut street = Self { width: config.width, height: config.height, pictures: Vec::new(), persons: Vec::new() };
        let mut scene = Scene::new(SHOWN, config)?;
        for frame in 0..frames {
            street.add(&mut scene, frame)?;
        }
        Ok(street)
    }

    /// One frame of each of `scenes` other streets.
    pub fn calibration(scenes: u32) -> Result<Self> {
        let config = SceneConfig { rate: FRAME_RATE, ..SceneConfig::default() };
        let mut street = Self { width: config.width, height: config.height, pictures: Vec::new(), persons: Vec::new() };
        for n in 0..scenes {
            // Frames from all over the scene: in the first ones nobody has left yet.
            street.add(&mut Scene::new(CALIBRATION + u64::from(n), config.clone())?, (n * 37) % config.frames)?;
        }
        Ok(street)
    }

    fn add(&mut self, scene: &mut Scene, frame: u32) -> Result<()> {
        let mut picture = vec![0; scene.config().picture_bytes()];
        let objects = scene.frame(frame, &mut picture)?;
        self.pictures.push(picture);
        let persons = objects.iter().filter(|o| o.kind == Kind::Person && o.counts());
        let object =
            |o: &fcm_scenes::Object| Object { id: i64::from(o.id), rect: Rect::new(o.left, o.top, o.width, o.height) };
        self.persons.push(persons.map(object).collect());
        Ok(())
    }

    /// Caps of the pictures.
    pub fn caps(&self) -> gst::Caps {
        gst::Caps::builder("video/x-raw")
            .field("format", "RGB")
            .field("width", self.width as i32)
            .field("height", self.height as i32)
            .field("framerate", gst::Fraction::new(FRAME_RATE as i32, 1))
            .build()
    }

    /// A picture with its time.
    pub fn buffer(&self, frame: usize) -> gst::Buffer {
        let mut buffer = gst::Buffer::from_slice(self.pictures[frame].clone());
        let time = gst::ClockTime::SECOND / u64::from(FRAME_RATE);
        let unshared = buffer.make_mut();
        unshared.set_pts(time * frame as u64);
        unshared.set_duration(time);
        buffer
    }
}
