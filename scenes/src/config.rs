//! What a scene may be told, and what is refused.

/// How the camera moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Camera {
    /// It stands still.
    Still,
    /// It shakes by one to three pixels.
    Shake,
    /// It turns slowly from side to side, by up to a tenth of the picture's width.
    Pan,
}

/// Size, length and kind of a scene.
#[derive(Clone, Debug, PartialEq)]
pub struct SceneConfig {
    /// Width of the pictures in pixels, 64 to 4096.
    pub width: u32,
    /// Height of the pictures in pixels, 64 to 4096. Everything else scales with it.
    pub height: u32,
    /// Number of frames, 1 to 1 000 000.
    pub frames: u32,
    /// Frames a second, 1 to 240.
    pub rate: u32,
    /// How the camera moves; `None`: the seed decides (half of the scenes still, the rest shaking or turning).
    pub camera: Option<Camera>,
    /// Fewest and most persons walking about at a time, 1 to 200; the seed decides between them.
    pub persons: (u32, u32),
}

impl Default for SceneConfig {
    /// 512 × 288 pixels, 100 frames at 25 a second, 10 to 18 persons.
    fn default() -> Self {
        Self { width: 512, height: 288, frames: 100, rate: 25, camera: None, persons: (10, 18) }
    }
}

impl SceneConfig {
    /// Bytes of one picture: packed RGB, rows without padding.
    pub fn picture_bytes(&self) -> usize {
        self.width as usize * self.height as usize * 3
    }

    pub(crate) fn check(&self) -> Result<(), SceneError> {
        let bounded = |what, value, least, most| {
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                Err(SceneError::OutOfRange { what, value, least, most })
            }
        };
        bounded("width", self.width, 64, 4096)?;
        bounded("height", self.height, 64, 4096)?;
        bounded("number of frames", self.frames, 1, 1_000_000)?;
        bounded("frame rate", self.rate, 1, 240)?;
        bounded("most persons", self.persons.1, 1, 200)?;
        bounded("fewest persons", self.persons.0, 1, self.persons.1)
    }
}

/// What is wrong with a request.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SceneError {
    /// A setting outside its range.
    #[error("{what} is {value}, must be {least} to {most}")]
    OutOfRange {
        /// The setting.
        what: &'static str,
        /// Its value.
        value: u32,
        /// Smallest allowed value.
        least: u32,
        /// Largest allowed value.
        most: u32,
    },
    /// A frame after the end of the scene.
    #[error("frame {frame} of a scene of {frames} frames")]
    NoSuchFrame {
        /// The frame asked for, counted from 0.
        frame: u32,
        /// How many there are.
        frames: u32,
    },
    /// A picture buffer of another size.
    #[error("a picture of this scene takes {expected} bytes, the buffer has {actual}")]
    WrongBuffer {
        /// Bytes of a picture.
        expected: usize,
        /// Bytes of the buffer.
        actual: usize,
    },
}
