//! The property `restoration-strength`, which all elements have that reduce features.

use gst::glib;
use gst::prelude::*;

/// What the property is by default: the transform says it.
pub const UNSET: f32 = -1.0;

/// Its specification.
pub fn property() -> glib::ParamSpec {
    glib::ParamSpecFloat::builder("restoration-strength")
        .nick("Restoration Strength")
        .blurb("How far the decoder moves layers to the statistics sent (0 = not at all, 1 = in full, -1 = what the transform says, else in full)")
        .minimum(UNSET)
        .maximum(1.0)
        .default_value(UNSET)
        .mutable_ready()
        .build()
}

/// What a value of it asks the codec for.
pub fn asked(value: f32) -> Option<f32> {
    (value >= 0.0).then_some(value)
}
