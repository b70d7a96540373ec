/**
 * SECTION:element-fcmdec
 * @short_description: Decodes neural-network feature tensors
 *
 * `fcmdec` decodes what `fcmenc` coded, frame by frame and without delay, into NNStreamer's `other/tensors`: one memory a
 * tensor, with the mean and standard deviation that the tensors had before coding. The statistics are on every buffer
 * as `GstFcmStatisticsMeta`.
 *
 * Downstream chooses static or flexible tensors, and the spelling of the dimensions (`3:224:224` or `3:224:224:1`); without
 * a wish the original caps are restored.
 *
 * After a damaged or missing access unit an error-resilient stream, the default of `fcmenc`, goes on: frames are inexact, and flagged
 * CORRUPTED, up to the next random access point. With #GstFcmDec:discard-corrupted-frames, and in other streams, there are none until
 * then. The element counts them, posts a warning, and asks upstream for a random access point. With #GstFcmDec:conceal the last frame
 * stands in for those that are missing.
 *
 * ## Example pipelines
 * |[
 * gst-launch-1.0 filesrc location=features.fcm ! fcmparse ! fcmdec ! fakesink
 * ]| Decodes a file.
 * |[
 * gst-launch-1.0 filesrc location=features.fcm ! fcmparse ! fcmdec transform=street.fcmt,indoor.fcmt ! fakesink
 * ]| Decodes a file that was coded with either of two calibrated transforms.
 *
 * Since: 0.1.0
 */
use gst::glib;
use gst::prelude::*;

mod imp;
mod settings;
mod stats;

glib::wrapper! {
    /// The element `fcmdec`.
    pub struct FcmDec(ObjectSubclass<imp::FcmDec>) @extends gst::Element, gst::Object;
}

/// What the property `conceal` offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstFcmConceal")]
pub enum Conceal {
    /// Nothing is sent.
    #[default]
    #[enum_value(name = "Send nothing for frames that are missing or cannot be decoded", nick = "none")]
    None = 0,
    /// The last frame, flagged.
    #[enum_value(name = "Send the last frame again for each, with the flag CORRUPTED", nick = "repeat")]
    Repeat = 1,
}

/// Registers the element. Its rank lets decodebin choose it: nothing else decodes these caps.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "fcmdec", gst::Rank::PRIMARY, FcmDec::static_type())
}
