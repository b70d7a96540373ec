/**
 * SECTION:element-fcmmux
 * @short_description: Puts coded pictures of features and their statistics into access units
 *
 * `fcmmux` stands behind the video encoder that codes the pictures of `fcmpack`. It puts each coded picture, with the parameter sets and statistics that
 * belong to it, into one access unit with a check of its own: decoders of video conceal damage, and features that were concealed are wrong without anybody
 * knowing. Random access units are where the encoder made key frames; give the encoder a key frame interval, and `h264parse` or
 * `h265parse` the property `config-interval=-1`, so that receivers can join at each.
 *
 * Timestamps and the segment are those that `fcmpack` got, though encoders such as x264enc move both by hours. Pictures come out in the order of decoding.
 *
 * ## Example pipeline
 * |[
 * gst-launch-1.0 fakesrc num-buffers=10 sizetype=fixed sizemax=24576 filltype=zero format=time datarate=614400 ! "other/tensors,format=static,num_tensors=1,types=float32,dimensions=(string)16:12:32,framerate=25/1" ! fcmpack ! x264enc bframes=2 key-int-max=32 ! h264parse config-interval=-1 ! fcmmux ! fcmdemux ! avdec_h264 ! fcmunpack ! fakesink
 * ]| There and back with B-frames.
 *
 * Since: 0.1.0
 */
use gst::glib;
use gst::prelude::*;

mod imp;

glib::wrapper! {
    /// The element `fcmmux`.
    pub struct FcmMux(ObjectSubclass<imp::FcmMux>) @extends gst::Element, gst::Object;
}

/// Registers the element.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "fcmmux", gst::Rank::NONE, FcmMux::static_type())
}
