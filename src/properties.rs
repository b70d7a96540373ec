//! Specifications of the properties that several elements have, so that they mean the same in all.

use crate::caps::TensorLayout;
use crate::fcmenc::StatisticsMode;
use gst::glib;
use gst::prelude::*;

/// `restoration-strength` where nothing was asked for: the transform says it.
pub const STRENGTH_OF_TRANSFORM: f32 = -1.0;

/// What a value of `restoration-strength` asks the codec for.
pub fn asked_strength(value: f32) -> Option<f32> {
    (value >= 0.0).then_some(value)
}

/// `statistics`, of elements that reduce features.
pub fn statistics() -> glib::ParamSpec {
    glib::ParamSpecEnum::builder_with_default("statistics", StatisticsMode::default())
        .nick("Statistics")
        .blurb("Statistics that travel with the features and that the decoder restores")
        .mutable_ready()
        .build()
}

/// `restoration-strength`, of the same.
pub fn restoration_strength() -> glib::ParamSpec {
    glib::ParamSpecFloat::builder("restoration-strength")
        .nick("Restoration Strength")
        .blurb("How far the decoder moves layers to the statistics sent (0 = not at all, 1 = in full, -1 = what the transform says, else in full)")
        .minimum(STRENGTH_OF_TRANSFORM)
        .maximum(1.0)
        .default_value(STRENGTH_OF_TRANSFORM)
        .mutable_ready()
        .build()
}

/// `transform`, of the same: one file.
pub fn transform() -> glib::ParamSpec {
    glib::ParamSpecString::builder("transform")
        .nick("Transform")
        .blurb("Path of a calibrated transform, .fcmt (none = block DCT, which needs no calibration)")
        .mutable_ready()
        .build()
}

/// `transform`, of elements that restore features: as many files as streams may name.
pub fn transforms() -> glib::ParamSpec {
    glib::ParamSpecString::builder("transform")
        .nick("Transform")
        .blurb("Paths of the calibrated transforms that streams may name, .fcmt, separated by commas")
        .mutable_ready()
        .build()
}

/// `components`, of elements that reduce features.
pub fn components() -> glib::ParamSpec {
    glib::ParamSpecUInt::builder("components")
        .nick("Components")
        .blurb("Strongest components of the transform that are kept (0 = all)")
        .mutable_ready()
        .build()
}

/// `layout`, of elements that take raw tensors.
pub fn layout() -> glib::ParamSpec {
    glib::ParamSpecEnum::builder_with_default("layout", TensorLayout::default())
        .nick("Layout")
        .blurb("Which dimension of the tensors is the channel; raw caps do not say it")
        .mutable_ready()
        .build()
}

/// `tensor-names`, of the same.
pub fn tensor_names() -> glib::ParamSpec {
    glib::ParamSpecString::builder("tensor-names")
        .nick("Tensor Names")
        .blurb("Names of the layers in order, separated by commas; raw caps have none")
        .mutable_ready()
        .build()
}

/// `threads`, with `what` they do.
pub fn threads(what: &str, default: u32) -> glib::ParamSpec {
    glib::ParamSpecUInt::builder("threads")
        .nick("Threads")
        .blurb(&format!("{what}, 1 to 64 (0 = one for each core)"))
        .maximum(64)
        .default_value(default)
        .mutable_ready()
        .build()
}

/// `stats-period`, of elements that write statistics.
pub fn stats_period(default: u32) -> glib::ParamSpec {
    glib::ParamSpecUInt::builder("stats-period")
        .nick("Statistics Period")
        .blurb("Frames between refreshes of the signalled statistics (0 = at random access points only)")
        .default_value(default)
        .mutable_ready()
        .build()
}

/// `stats-threshold`, of the same.
pub fn stats_threshold(default: f32) -> glib::ParamSpec {
    glib::ParamSpecFloat::builder("stats-threshold")
        .nick("Statistics Threshold")
        .blurb("Drift of mean or standard deviation, in standard deviations, that refreshes the statistics at once (0 = never)")
        .minimum(0.0)
        .maximum(1000.0)
        .default_value(default)
        .mutable_ready()
        .build()
}
