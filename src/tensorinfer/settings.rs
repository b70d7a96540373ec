//! Settings of `tensorinfer`: the properties, their defaults and ranges.

use super::ChannelOrder;
use crate::boxes::PictureScaling;
use crate::properties;
use fcm_infer::{Error, ModelOptions, Preprocess};
use gst::glib;
use gst::prelude::*;
use std::path::PathBuf;
use std::sync::LazyLock;

/// What the user wishes; the defaults are those of the library.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub model: Option<PathBuf>,
    pub input_names: Option<String>,
    pub output_names: Option<String>,
    pub threads: u32,
    pub library: Option<PathBuf>,
    pub scaling: PictureScaling,
    pub pad_value: u32,
    pub channel_order: ChannelOrder,
    pub mean: Option<String>,
    pub std_dev: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            model: None,
            input_names: None,
            output_names: None,
            threads: ModelOptions::default().threads as u32,
            library: None,
            scaling: PictureScaling::default(),
            pad_value: Preprocess::default().pad_value.into(),
            channel_order: ChannelOrder::default(),
            mean: None,
            std_dev: None,
        }
    }
}

/// The names in a list.
fn names(list: Option<&str>) -> Vec<String> {
    list.unwrap_or("").split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Three numbers, or one for all three channels; `default` for none.
fn channels(property: &str, list: Option<&str>, default: [f32; 3]) -> Result<[f32; 3], Error> {
    let Some(list) = list.filter(|list| !list.trim().is_empty()) else { return Ok(default) };
    let wrong = || Error::Setting(format!("{property}={list}, one number or three separated by commas are legal"));
    let numbers: Vec<f32> = list.split(',').map(|n| n.trim().parse()).collect::<Result<_, _>>().map_err(|_| wrong())?;
    match numbers[..] {
        [all] => Ok([all; 3]),
        [a, b, c] => Ok([a, b, c]),
        _ => Err(wrong()),
    }
}

impl Settings {
    /// How the model is to be opened.
    pub fn model_options(&self, library_dirs: Vec<PathBuf>) -> ModelOptions {
        ModelOptions {
            inputs: names(self.input_names.as_deref()),
            outputs: names(self.output_names.as_deref()),
            threads: self.threads as usize,
            library: self.library.clone(),
            library_dirs,
        }
    }

    /// What is to be done to pictures.
    ///
    /// # Errors
    /// For lists that are not numbers.
    pub fn preprocess(&self) -> Result<Preprocess, Error> {
        let default = Preprocess::default();
        Ok(Preprocess {
            scaling: self.scaling.into(),
            pad_value: self.pad_value.min(255) as u8,
            channel_order: self.channel_order.into(),
            mean: channels("mean", self.mean.as_deref(), default.mean)?,
            std_dev: channels("std-dev", self.std_dev.as_deref(), default.std_dev)?,
        })
    }

    /// Takes the new value of property `name`.
    pub fn set(&mut self, name: &str, value: &glib::Value) {
        const TYPE: &str = "GObject checks the type of a property";
        let path = || value.get::<Option<String>>().expect(TYPE).filter(|path| !path.is_empty()).map(PathBuf::from);
        match name {
            "model" => self.model = path(),
            "input-names" => self.input_names = value.get().expect(TYPE),
            "output-names" => self.output_names = value.get().expect(TYPE),
            "threads" => self.threads = value.get().expect(TYPE),
            "library" => self.library = path(),
            "scaling" => self.scaling = value.get().expect(TYPE),
            "pad-value" => self.pad_value = value.get().expect(TYPE),
            "channel-order" => self.channel_order = value.get().expect(TYPE),
            "mean" => self.mean = value.get().expect(TYPE),
            "std-dev" => self.std_dev = value.get().expect(TYPE),
            name => unreachable!("property {name} is not writable"),
        }
    }

    /// Value of property `name`.
    pub fn get(&self, name: &str) -> glib::Value {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.to_string_lossy().into_owned()).to_value();
        match name {
            "model" => path(&self.model),
            "input-names" => self.input_names.to_value(),
            "output-names" => self.output_names.to_value(),
            "threads" => self.threads.to_value(),
            "library" => path(&self.library),
            "scaling" => self.scaling.to_value(),
            "pad-value" => self.pad_value.to_value(),
            "channel-order" => self.channel_order.to_value(),
            "mean" => self.mean.to_value(),
            "std-dev" => self.std_dev.to_value(),
            name => unreachable!("there is no property {name}"),
        }
    }
}

/// All properties of the element.
pub(super) fn properties() -> &'static [glib::ParamSpec] {
    static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
        let default = Settings::default();
        let text = |name: &'static str, nick: &'static str, blurb: &'static str| {
            glib::ParamSpecString::builder(name).nick(nick).blurb(blurb).mutable_ready().build()
        };
        vec![
            text("model", "Model", "Path of the model, .onnx"),
            text(
                "input-names",
                "Input Names",
                "Tensors at which the part of the model to run begins, separated by commas (none = its inputs)",
            ),
            text(
                "output-names",
                "Output Names",
                "Tensors at which the part of the model to run ends, separated by commas (none = its outputs)",
            ),
            properties::threads("Threads that compute a frame", default.threads),
            text(
                "library",
                "Library",
                "Path of the shared library of ONNX Runtime; there is one a process (none = ORT_DYLIB_PATH, or it is looked for)",
            ),
            glib::ParamSpecEnum::builder_with_default("scaling", default.scaling)
                .nick("Scaling")
                .blurb("How pictures are brought to the size of the model's input")
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("pad-value")
                .nick("Pad Value")
                .blurb("Value of the pixels around a letterboxed picture, before mean and std-dev are applied")
                .maximum(255)
                .default_value(default.pad_value)
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("channel-order", default.channel_order)
                .nick("Channel Order")
                .blurb("Order of the colours in the model's input, whatever that of the pictures")
                .mutable_ready()
                .build(),
            text(
                "mean",
                "Mean",
                "Subtracted from the values 0 to 255 of pictures: one number, or one a channel of the model (none = 0)",
            ),
            text(
                "std-dev",
                "Standard Deviation",
                "What they are divided by after that: one number, or one a channel of the model (none = 1)",
            ),
            glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                .nick("Stats")
                .blurb(
                    "Counts since the element was started: frames, preprocess-time and inference-time in nanoseconds",
                )
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
    fn lists_of_numbers_are_one_three_or_an_error() {
        let read = |list: Option<&str>| channels("mean", list, [0.0; 3]);
        assert_eq!(read(None).unwrap(), [0.0; 3]);
        assert_eq!(read(Some("")).unwrap(), [0.0; 3]);
        assert_eq!(read(Some("127.5")).unwrap(), [127.5; 3]);
        assert_eq!(read(Some("103.53, 116.28,123.675")).unwrap(), [103.53, 116.28, 123.675]);
        for bad in ["1,2", "a", "1,,2", "1,2,3,4"] {
            let error = read(Some(bad)).unwrap_err().to_string();
            assert_eq!(error, format!("mean={bad}, one number or three separated by commas are legal"));
        }
    }

    #[test]
    fn names_are_cut_at_commas() {
        assert_eq!(names(Some(" 956, 990,,1024 ")), ["956", "990", "1024"]);
        assert!(names(None).is_empty() && names(Some("")).is_empty());
    }
}
