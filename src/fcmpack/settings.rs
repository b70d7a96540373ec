//! Settings of `fcmpack`: the properties, their defaults and ranges.

use crate::caps::TensorLayout;
use crate::fcmenc::StatisticsMode;
use crate::properties;
use gst::glib;
use gst::prelude::*;
use std::path::PathBuf;
use std::sync::LazyLock;

/// What the user wishes.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub statistics: StatisticsMode,
    /// −1: what the transform says.
    pub restoration_strength: f32,
    pub transform: Option<PathBuf>,
    pub components: u32,
    pub bit_depth: u32,
    pub threads: u32,
    pub layout: TensorLayout,
    pub tensor_names: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            statistics: StatisticsMode::default(),
            restoration_strength: properties::STRENGTH_OF_TRANSFORM,
            transform: None,
            components: 0,
            bit_depth: 0,
            threads: 1,
            layout: TensorLayout::default(),
            tensor_names: None,
        }
    }
}

impl Settings {
    /// Takes the new value of property `name`.
    pub fn set(&mut self, name: &str, value: &glib::Value) {
        const TYPE: &str = "GObject checks the type of a property";
        match name {
            "statistics" => self.statistics = value.get().expect(TYPE),
            "restoration-strength" => self.restoration_strength = value.get().expect(TYPE),
            "transform" => {
                let path = value.get::<Option<String>>().expect(TYPE);
                self.transform = path.filter(|path| !path.is_empty()).map(PathBuf::from);
            }
            "components" => self.components = value.get().expect(TYPE),
            "bit-depth" => self.bit_depth = value.get().expect(TYPE),
            "threads" => self.threads = value.get().expect(TYPE),
            "layout" => self.layout = value.get().expect(TYPE),
            "tensor-names" => self.tensor_names = value.get().expect(TYPE),
            name => unreachable!("property {name} is not writable"),
        }
    }

    /// Value of property `name`.
    pub fn get(&self, name: &str) -> glib::Value {
        match name {
            "statistics" => self.statistics.to_value(),
            "restoration-strength" => self.restoration_strength.to_value(),
            "transform" => self.transform.as_ref().map(|path| path.to_string_lossy().into_owned()).to_value(),
            "components" => self.components.to_value(),
            "bit-depth" => self.bit_depth.to_value(),
            "threads" => self.threads.to_value(),
            "layout" => self.layout.to_value(),
            "tensor-names" => self.tensor_names.to_value(),
            name => unreachable!("there is no property {name}"),
        }
    }
}

/// All properties of the element.
pub(super) fn properties() -> &'static [glib::ParamSpec] {
    static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
        let default = Settings::default();
        vec![
            properties::statistics(),
            properties::restoration_strength(),
            properties::transform(),
            properties::components(),
            glib::ParamSpecUInt::builder("bit-depth")
                .nick("Bit Depth")
                .blurb("Bits of a sample, 8 or 10 (0 = 10 where downstream takes it)")
                .maximum(10)
                .default_value(default.bit_depth)
                .mutable_ready()
                .build(),
            properties::threads("Worker threads", default.threads),
            properties::layout(),
            properties::tensor_names(),
        ]
    });
    &PROPERTIES
}
