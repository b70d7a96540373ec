/**
 * SECTION:element-fcmdemux
 * @short_description: Takes coded pictures of features out of access units
 *
 * `fcmdemux` checks access units of the picture family and gives the coded pictures in them to a video decoder; `fcmunpack`, behind it, makes features of the
 * decoded pictures. What `fcmunpack` must know of a picture goes past the decoder as an event before it.
 *
 * A damaged access unit, and what is predicted from it, is dropped and reported, since a video decoder would conceal the damage. A random access
 * point is asked for upstream.
 *
 * Let no decoder delay pictures that need no delay: `avdec_h264` and `avdec_h265` do with more than one thread (`max-threads=1`).
 * `fcmvideodec` is the whole chain in one element.
 *
 * ## Example pipeline
 * |[
 * gst-launch-1.0 filesrc location=features.fcm ! fcmparse ! fcmdemux ! avdec_h265 max-threads=1 ! fcmunpack ! fakesink
 * ]| Decodes a file of features that were coded as H.265.
 *
 * Since: 0.1.0
 */
use gst::glib;
use gst::prelude::*;

mod imp;
mod retiming;

glib::wrapper! {
    /// The element `fcmdemux`.
    pub struct FcmDemux(ObjectSubclass<imp::FcmDemux>) @extends gst::Element, gst::Object;
}

/// Registers the element.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "fcmdemux", gst::Rank::NONE, FcmDemux::static_type())
}
