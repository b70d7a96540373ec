/**
 * SECTION:element-fcmunpack
 * @short_description: Makes neural-network feature tensors of decoded pictures
 *
 * `fcmunpack` stands behind the video decoder that decodes what `fcmdemux` gave it. It reads the fused tensor from the tiles of each picture, restores its
 * statistics and those of the layers, and gives the tensors back as they lay at the sender. Pictures that the decoder marks as corrupted, and those that
 * nothing is known of, are dropped with a warning.
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

glib::wrapper! {
    /// The element `fcmunpack`.
    pub struct FcmUnpack(ObjectSubclass<imp::FcmUnpack>) @extends gst::Element, gst::Object;
}

/// Registers the element.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "fcmunpack", gst::Rank::NONE, FcmUnpack::static_type())
}
