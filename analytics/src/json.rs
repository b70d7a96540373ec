//! Boxes as JSON, one line a frame:
//!
//! ```json
//! {"frame":7,"pts":280000000,"width":640,"height":480,"objects":[{"id":3,"class":0,"label":"person","score":0.9,"x":81,"y":98.5,"w":61,"h":218}]}
//! ```

use crate::detection::Detection;
use crate::geometry::Rect;
use crate::tracking::Tracked;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Most bytes of a line that is read.
pub const MAX_LINE: usize = 1 << 20;

/// The boxes of one frame.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Frame {
    /// Number of the frame, from 0.
    pub frame: u64,
    /// Presentation time in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pts: Option<u64>,
    /// Width of the picture that the boxes are in, in pixels.
    pub width: u32,
    /// Height of the picture.
    pub height: u32,
    /// The boxes.
    pub objects: Vec<Object>,
}

/// One box.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Object {
    /// Number of the track; detections have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Number of the class.
    pub class: u16,
    /// Name of the class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// 0 to 1.
    pub score: f32,
    /// Left edge in pixels.
    pub x: f32,
    /// Upper edge.
    pub y: f32,
    /// Width.
    pub w: f32,
    /// Height.
    pub h: f32,
}

impl Object {
    /// The box.
    pub fn rect(&self) -> Rect {
        Rect::new(self.x, self.y, self.w, self.h)
    }

    /// As a detection: without number and name.
    pub fn detection(&self) -> Detection {
        Detection { rect: self.rect(), score: self.score, class: self.class }
    }

    /// A detection with the name of its class.
    pub fn from_detection(detection: &Detection, label: Option<&str>) -> Self {
        let Detection { rect, score, class } = *detection;
        let label = label.map(str::to_owned);
        Self { id: None, class, label, score, x: rect.x, y: rect.y, w: rect.width, h: rect.height }
    }

    /// A tracked object with the name of its class.
    pub fn from_tracked(tracked: &Tracked, label: Option<&str>) -> Self {
        let Tracked { id, rect, score, class } = *tracked;
        Self { id: Some(id), ..Self::from_detection(&Detection { rect, score, class }, label) }
    }
}

impl Frame {
    /// Reads one line. Fields it does not know are skipped; space around it, line ends too, is allowed.
    ///
    /// # Errors
    /// `Text` with what is wrong and where in the line.
    pub fn parse(line: &[u8]) -> Result<Self> {
        if line.len() > MAX_LINE {
            let message = format!("{} bytes, at most {MAX_LINE} are read", line.len());
            return Err(Error::Text { line: 1, message });
        }
        let text = |error: serde_json::Error| Error::Text { line: error.line().max(1), message: error.to_string() };
        serde_json::from_slice(line).map_err(text)
    }

    /// Appends the line and a line end to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        // Numbers, texts and lists can always be written, and memory takes them.
        serde_json::to_writer(&mut *out, self).expect("plain fields written to memory");
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"frame":7,"pts":280000000,"width":640,"height":480,"objects":[{"id":3,"class":0,"label":"person","score":0.9,"x":81.0,"y":98.5,"w":61.25,"h":218.0},{"class":2,"score":0.5,"x":-1.5,"y":0.0,"w":1.0,"h":2.0}]}"#;

    #[test]
    fn lines_are_written_as_documented_and_read_back() {
        let frame = Frame::parse(LINE.as_bytes()).unwrap();
        assert_eq!((frame.frame, frame.pts, frame.width, frame.height), (7, Some(280_000_000), 640, 480));
        assert_eq!(frame.objects[0].rect(), Rect::new(81.0, 98.5, 61.25, 218.0));
        assert_eq!((frame.objects[1].id, &frame.objects[1].label), (None, &None));
        let mut out = Vec::new();
        frame.write(&mut out);
        assert_eq!(std::str::from_utf8(&out).unwrap(), format!("{LINE}\n"));
        assert_eq!(Frame::parse(&out).unwrap(), frame);
    }

    #[test]
    fn unknown_fields_are_skipped_and_missing_ones_named() {
        let frame = Frame::parse(br#"{"frame":0,"width":1,"height":1,"objects":[],"more":{"a":[1]}}"#).unwrap();
        assert_eq!(frame, Frame { width: 1, height: 1, ..Frame::default() });
        let error = |text: &str| Frame::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error(r#"{"frame":0,"width":1,"height":1}"#).contains("missing field `objects`"));
        assert!(error("").contains("EOF"));
        assert!(error(&" ".repeat(MAX_LINE + 1)).contains("at most 1048576"));
        assert!(error(r#"{"frame":0,"width":1,"height":1,"objects":[{"class":70000}]}"#).contains("70000"));
    }
}
