/**
 * SECTION:element-fcmvideodec
 * @short_description: Decodes neural-network feature tensors that a video encoder coded
 *
 * `fcmvideodec` is `fcmdemux`, the video decoder that the stream needs, and `fcmunpack` in one element. It takes decoders that neither delay
 * pictures nor fail on 10 bits where it knows one (`avdec_h264` and `avdec_h265` with one thread, `dav1ddec`, `av1dec`); the property `decoder` names another.
 *
 * ## Example pipeline
 * |[
 * gst-launch-1.0 filesrc location=features.fcm ! fcmparse ! fcmvideodec ! fakesink
 * ]| Decodes a file of features that a video encoder coded.
 *
 * Since: 0.1.0
 */
use gst::glib;
use gst::prelude::*;

mod decoders;
mod imp;

glib::wrapper! {
    /// The element `fcmvideodec`.
    pub struct FcmVideoDec(ObjectSubclass<imp::FcmVideoDec>) @extends gst::Bin, gst::Element, gst::Object,
        @implements gst::ChildProxy;
}

/// Registers the element.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "fcmvideodec", gst::Rank::NONE, FcmVideoDec::static_type())
}
