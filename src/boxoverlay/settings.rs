//! Settings of `boxoverlay`: the properties, their defaults and ranges.

use super::drawing::Style;
use gst::glib;
use gst::prelude::*;
use std::sync::LazyLock;

/// What the user wishes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub style: Style,
    pub max_age: gst::ClockTime,
}

impl Default for Settings {
    fn default() -> Self {
        Self { style: Style { line: 0, dot: 0, text: true }, max_age: gst::ClockTime::ZERO }
    }
}

impl Settings {
    /// Takes the new value of property `name`.
    pub fn set(&mut self, name: &str, value: &glib::Value) {
        const TYPE: &str = "GObject checks the type of a property";
        match name {
            "line-width" => self.style.line = value.get().expect(TYPE),
            "text-size" => self.style.dot = value.get().expect(TYPE),
            "text" => self.style.text = value.get().expect(TYPE),
            "max-age" => {
                let age = value.get::<u64>().expect(TYPE);
                self.max_age = gst::ClockTime::try_from(age).unwrap_or(gst::ClockTime::MAX);
            }
            name => unreachable!("property {name} is not writable"),
        }
    }

    /// Value of property `name`.
    pub fn get(&self, name: &str) -> glib::Value {
        match name {
            "line-width" => self.style.line.to_value(),
            "text-size" => self.style.dot.to_value(),
            "text" => self.style.text.to_value(),
            "max-age" => self.max_age.nseconds().to_value(),
            name => unreachable!("there is no property {name}"),
        }
    }
}

/// All properties of the element.
pub(super) fn properties() -> &'static [glib::ParamSpec] {
    static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
        let default = Settings::default();
        let size = |name: &'static str, nick, blurb, most: u32, default: u32| {
            glib::ParamSpecUInt::builder(name)
                .nick(nick)
                .blurb(blurb)
                .maximum(most)
                .default_value(default)
                .mutable_playing()
                .build()
        };
        vec![
            size("line-width", "Line Width", "Thickness of the lines in pixels (0 = by the height of the picture)", 64, default.style.line),
            size("text-size", "Text Size", "Size of a dot of the letters, which are 8 dots high, in pixels (0 = by the height of the picture)", 32, default.style.dot),
            glib::ParamSpecBoolean::builder("text")
                .nick("Text")
                .blurb("Write number, name and score of every box")
                .default_value(default.style.text)
                .mutable_playing()
                .build(),
            glib::ParamSpecUInt64::builder("max-age")
                .nick("Maximum Age")
                .blurb("How long the last boxes are drawn on pictures that have none of their own, in nanoseconds (0 = never)")
                .default_value(default.max_age.nseconds())
                .mutable_playing()
                .build(),
            glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                .nick("Stats")
                .blurb("Counts since the element was started: frames; matched, held and bare ones of them; late boxes")
                .read_only()
                .build(),
        ]
    });
    &PROPERTIES
}
