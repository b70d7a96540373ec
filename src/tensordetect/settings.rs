//! Settings of `tensordetect`: the properties, their defaults and ranges.

use super::DetectionHead;
use crate::boxes::PictureScaling;
use fcm_analytics::detection::{DetectorConfig, MAX_CANDIDATES};
use fcm_analytics::geometry::Placement;
use gst::glib;
use gst::prelude::*;
use std::str::FromStr;
use std::sync::LazyLock;

/// Largest file with names of classes that is read.
const MAX_LABELS: u64 = 1 << 20;

/// What the user wishes.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub head: DetectionHead,
    pub input_width: u32,
    pub input_height: u32,
    pub picture_width: u32,
    pub picture_height: u32,
    pub scaling: PictureScaling,
    pub score_threshold: f32,
    pub iou_threshold: f32,
    pub max_detections: u32,
    pub classes: Option<String>,
    pub labels: Option<String>,
    pub strides: String,
}

impl Default for Settings {
    fn default() -> Self {
        let detector = DetectorConfig::default();
        Self {
            head: DetectionHead::default(),
            input_width: detector.input.0,
            input_height: detector.input.1,
            picture_width: 0,
            picture_height: 0,
            scaling: PictureScaling::default(),
            score_threshold: detector.score_threshold,
            iou_threshold: detector.iou_threshold,
            max_detections: detector.max_detections as u32,
            classes: None,
            labels: None,
            strides: detector.strides.iter().map(u32::to_string).collect::<Vec<_>>().join(","),
        }
    }
}

fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

fn numbers<T: FromStr>(property: &str, text: &str) -> Result<Vec<T>, String> {
    let number = |entry: &str| {
        entry.parse().map_err(|_| format!("{property}={text}: {entry:?} is no number of that kind, write 8,16,32"))
    };
    entries(text).map(number).collect()
}

impl Settings {
    /// The detector's settings; `Err` says which property is wrong.
    pub fn detector(&self) -> Result<DetectorConfig, String> {
        let classes = numbers("classes", self.classes.as_deref().unwrap_or(""))?;
        Ok(DetectorConfig {
            head: self.head.into(),
            input: (self.input_width, self.input_height),
            strides: numbers("strides", &self.strides)?,
            score_threshold: self.score_threshold,
            iou_threshold: self.iou_threshold,
            max_detections: self.max_detections as usize,
            classes: (!classes.is_empty()).then_some(classes),
        })
    }

    /// Where the picture lies in the network's input; `None` when boxes stay in the input's pixels.
    pub fn placement(&self) -> Result<Option<Placement>, String> {
        let picture = (self.picture_width, self.picture_height);
        match picture {
            (0, 0) => Ok(None),
            (0, side) | (side, 0) => {
                Err(format!("picture-width and picture-height: one is 0 and the other {side}, set both or none"))
            }
            _ => Placement::new(self.scaling.into(), picture, (self.input_width, self.input_height))
                .map(Some)
                .map_err(|error| error.to_string()),
        }
    }

    /// Width and height of what the boxes are in.
    pub fn frame(&self) -> (u32, u32) {
        match (self.picture_width, self.picture_height) {
            (0, 0) => (self.input_width, self.input_height),
            picture => picture,
        }
    }

    /// Names of the classes from 0 on: those of the list, or the lines of the file that the property names.
    pub fn names(&self) -> Result<Vec<String>, String> {
        let text = self.labels.as_deref().unwrap_or("");
        let path = std::path::Path::new(text);
        if text.is_empty() || !path.is_file() {
            return Ok(text.split(',').map(|name| name.trim().to_owned()).collect());
        }
        let failed = |error: std::io::Error| format!("labels={text}: {error}");
        let size = path.metadata().map_err(failed)?.len();
        if size > MAX_LABELS {
            return Err(format!("labels={text}: a file of {size} bytes, at most {MAX_LABELS} are read"));
        }
        Ok(std::fs::read_to_string(path).map_err(failed)?.lines().map(|name| name.trim().to_owned()).collect())
    }

    /// Takes the new value of property `name`.
    pub fn set(&mut self, name: &str, value: &glib::Value) {
        const TYPE: &str = "GObject checks the type of a property";
        match name {
            "head" => self.head = value.get().expect(TYPE),
            "input-width" => self.input_width = value.get().expect(TYPE),
            "input-height" => self.input_height = value.get().expect(TYPE),
            "picture-width" => self.picture_width = value.get().expect(TYPE),
            "picture-height" => self.picture_height = value.get().expect(TYPE),
            "scaling" => self.scaling = value.get().expect(TYPE),
            "score-threshold" => self.score_threshold = value.get().expect(TYPE),
            "iou-threshold" => self.iou_threshold = value.get().expect(TYPE),
            "max-detections" => self.max_detections = value.get().expect(TYPE),
            "classes" => self.classes = value.get().expect(TYPE),
            "labels" => self.labels = value.get().expect(TYPE),
            "strides" => self.strides = value.get::<Option<String>>().expect(TYPE).unwrap_or_default(),
            name => unreachable!("property {name} is not writable"),
        }
    }

    /// Value of property `name`.
    pub fn get(&self, name: &str) -> glib::Value {
        match name {
            "head" => self.head.to_value(),
            "input-width" => self.input_width.to_value(),
            "input-height" => self.input_height.to_value(),
            "picture-width" => self.picture_width.to_value(),
            "picture-height" => self.picture_height.to_value(),
            "scaling" => self.scaling.to_value(),
            "score-threshold" => self.score_threshold.to_value(),
            "iou-threshold" => self.iou_threshold.to_value(),
            "max-detections" => self.max_detections.to_value(),
            "classes" => self.classes.to_value(),
            "labels" => self.labels.to_value(),
            "strides" => self.strides.to_value(),
            name => unreachable!("there is no property {name}"),
        }
    }
}

/// All properties of the element.
pub(super) fn properties() -> &'static [glib::ParamSpec] {
    static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
        let default = Settings::default();
        let side = |name: &'static str, nick, blurb, least: u32, default: u32| {
            glib::ParamSpecUInt::builder(name)
                .nick(nick)
                .blurb(blurb)
                .minimum(least)
                .maximum(1 << 16)
                .default_value(default)
                .mutable_ready()
                .build()
        };
        let share = |name: &'static str, nick, blurb, default: f32| {
            glib::ParamSpecFloat::builder(name)
                .nick(nick)
                .blurb(blurb)
                .minimum(0.0)
                .maximum(1.0)
                .default_value(default)
                .mutable_ready()
                .build()
        };
        vec![
            glib::ParamSpecEnum::builder_with_default("head", default.head)
                .nick("Head")
                .blurb("What the output tensors of the network mean")
                .mutable_ready()
                .build(),
            side("input-width", "Input Width", "Width of the network's input in pixels", 1, default.input_width),
            side("input-height", "Input Height", "Height of the network's input in pixels", 1, default.input_height),
            side("picture-width", "Picture Width", "Width of the picture before it was scaled to the network's input, in pixels (0 = boxes stay in pixels of the input)", 0, 0),
            side("picture-height", "Picture Height", "Height of the picture before it was scaled to the network's input, in pixels (0 = boxes stay in pixels of the input)", 0, 0),
            glib::ParamSpecEnum::builder_with_default("scaling", default.scaling)
                .nick("Scaling")
                .blurb("How the picture was scaled to the network's input")
                .mutable_ready()
                .build(),
            share("score-threshold", "Score Threshold", "Boxes must have a higher score", default.score_threshold),
            share("iou-threshold", "IoU Threshold", "Of two boxes of a class that overlap more, the worse is left out", default.iou_threshold),
            glib::ParamSpecUInt::builder("max-detections")
                .nick("Maximum Detections")
                .blurb("Most boxes of a frame, the best ones")
                .minimum(1)
                .maximum(MAX_CANDIDATES as u32)
                .default_value(default.max_detections)
                .mutable_ready()
                .build(),
            glib::ParamSpecString::builder("classes")
                .nick("Classes")
                .blurb("Numbers of the wanted classes, separated by commas (none = all)")
                .mutable_ready()
                .build(),
            glib::ParamSpecString::builder("labels")
                .nick("Labels")
                .blurb("Names of the classes from number 0 on, separated by commas, or the path of a file with a name a line")
                .mutable_ready()
                .build(),
            glib::ParamSpecString::builder("strides")
                .nick("Strides")
                .blurb("Pixels between the cells of every scale in the order of the outputs, separated by commas")
                .default_value(Some(default.strides.as_str()))
                .mutable_ready()
                .build(),
            glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                .nick("Stats")
                .blurb("Counts since the element was started: frames, objects, time in nanoseconds")
                .read_only()
                .build(),
        ]
    });
    &PROPERTIES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_wrong_entries_named() {
        let settings = Settings { classes: Some(" 0, 2".into()), strides: "8,16".into(), ..Settings::default() };
        let detector = settings.detector().unwrap();
        assert_eq!((detector.classes, detector.strides), (Some(vec![0, 2]), vec![8, 16]));
        assert_eq!(Settings::default().detector().unwrap(), DetectorConfig::default());
        let wrong = Settings { classes: Some("0,person".into()), ..Settings::default() };
        assert!(wrong.detector().unwrap_err().contains("classes=0,person: \"person\""));
        let wrong = Settings { strides: "8,70000000000".into(), ..Settings::default() };
        assert!(wrong.detector().unwrap_err().contains("strides=8,70000000000"));
    }

    #[test]
    fn labels_are_a_list_or_the_lines_of_a_file() {
        let names = |labels: &str| Settings { labels: Some(labels.into()), ..Settings::default() }.names().unwrap();
        assert_eq!(names("person, bicycle"), ["person", "bicycle"]);
        let path = std::env::temp_dir().join(format!("fcm-labels-{}.txt", std::process::id()));
        std::fs::write(&path, "person\nfire engine\r\n").unwrap();
        assert_eq!(names(path.to_str().unwrap()), ["person", "fire engine"]);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn half_a_picture_is_refused() {
        let settings = Settings { picture_width: 640, ..Settings::default() };
        assert!(settings.placement().unwrap_err().contains("one is 0 and the other 640"));
        assert!(Settings::default().placement().unwrap().is_none());
    }
}
