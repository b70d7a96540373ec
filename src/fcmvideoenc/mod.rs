/**
 * SECTION:element-fcmvideoenc
 * @short_description: Codes neural-network feature tensors with a video encoder
 *
 * `fcmvideoenc` is `fcmpack`, a video encoder, its parser and `fcmmux` in one element. The property `encoder` names the encoder; those
 * that this element knows (x265enc, x264enc, openh264enc, av1enc, svtav1enc, rav1enc, vp9enc, vp8enc) are told to code without delay. Others get the options of
 * usual names that they have. `encoder-properties` has the last word.
 *
 * `qp` is in the scale of the encoder: that of x264enc is 12 higher for pictures of 10 bits than for those of 8.
 *
 * ## Example pipelines
 * |[
 * gst-launch-1.0 fakesrc num-buffers=10 sizetype=fixed sizemax=24576 filltype=zero format=time datarate=614400 ! "other/tensors,format=static,num_tensors=1,types=float32,dimensions=(string)16:12:32,framerate=25/1" ! fcmvideoenc encoder=x265enc qp=30 ! filesink location=features.fcm
 * ]| Ten frames of a 32 × 12 × 16 feature map as H.265.
 * |[
 * gst-launch-1.0 fakesrc num-buffers=10 sizetype=fixed sizemax=24576 filltype=zero format=time datarate=614400 ! "other/tensors,format=static,num_tensors=1,types=float32,dimensions=(string)16:12:32,framerate=25/1" ! fcmvideoenc encoder=x264enc bitrate=200 encoder-properties="x264,speed-preset=fast" ! fcmvideodec ! fakesink
 * ]| As H.264 at 200 kbit/s, and back.
 *
 * Since: 0.1.0
 */
use gst::glib;
use gst::prelude::*;

mod encoders;
mod imp;

glib::wrapper! {
    /// The element `fcmvideoenc`.
    pub struct FcmVideoEnc(ObjectSubclass<imp::FcmVideoEnc>) @extends gst::Bin, gst::Element, gst::Object,
        @implements gst::ChildProxy;
}

/// Registers the element.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "fcmvideoenc", gst::Rank::NONE, FcmVideoEnc::static_type())
}
