//! Settings of `fcmpack`: the properties, their defaults and ranges.

use crate::caps::TensorLayout;
use crate::fcmenc::StatisticsMode;
use crate::restoration_strength;
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
            restoration_strength: restoration_strength::UNSET,
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
            glib::ParamSpecEnum::builder_with_default("statistics", default.statistics)
                .nick("Statistics")
                .blurb("Statistics that travel with the features and that the decoder restores")
                .mutable_ready()
                .build(),
            restoration_strength::property(),
            glib::ParamSpecString::builder("transform")
                .nick("Transform")
                .blurb("Path of a calibrated transform, .fcmt (none = block DCT, which needs no calibration)")
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("components")
                .nick("Components")
                .blurb("Strongest components of the transform that become tiles of the picture (0 = all)")
                .default_value(default.components)
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("bit-depth")
                .nick("Bit Depth")
                .blurb("Bits of a sample, 8 or 10 (0 = 10 where downstream takes it)")
                .maximum(10)
                .default_value(default.bit_depth)
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("threads")
                .nick("Threads")
                .blurb("Worker threads, 1 to 64 (0 = one for each core)")
                .maximum(64)
                .default_value(default.threads)
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("layout", default.layout)
                .nick("Layout")
                .blurb("Which dimension of the tensors is the channel; raw caps do not say it")
                .mutable_ready()
                .build(),
            glib::ParamSpecString::builder("tensor-names")
                .nick("Tensor Names")
                .blurb("Names of the layers in order, separated by commas; raw caps have none")
                .mutable_ready()
                .build(),
        ]
    });
    &PROPERTIES
}
