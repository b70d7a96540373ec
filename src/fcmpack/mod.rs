/**
 * SECTION:element-fcmpack
 * @short_description: Turns neural-network feature tensors into pictures for a video encoder
 *
 * `fcmpack` reduces the feature tensors of a split neural network to a fused tensor and lays it out as tiles of a picture, one
 * picture a frame, for any video encoder: x265enc, x264enc, openh264enc, av1enc, vp9enc, hardware encoders. `fcmmux`, behind the encoder,
 * puts the coded pictures and the statistics of the features into access units. What `fcmmux` must know of a picture goes past the encoder as
 * an event before it, so that pictures may be delayed and reordered.
 *
 * Pictures have 10 bits where the encoder takes them. Chroma, where an encoder insists on it, is flat.
 *
 * The native codec, `fcmenc`, needs no video encoder and a fraction of the bits. This family is for encoders in hardware, and for comparison.
 * `fcmvideoenc` is the whole chain in one element.
 *
 * ## Example pipeline
 * |[
 * gst-launch-1.0 fakesrc num-buffers=10 sizetype=fixed sizemax=24576 filltype=zero format=time datarate=614400 ! "other/tensors,format=static,num_tensors=1,types=float32,dimensions=(string)16:12:32,framerate=25/1" ! fcmpack ! x265enc tune=zerolatency key-int-max=32 ! h265parse config-interval=-1 ! fcmmux ! filesink location=features.fcm
 * ]| Ten frames of a 32 × 12 × 16 feature map as H.265.
 *
 * Since: 0.1.0
 */
use gst::glib;
use gst::prelude::*;

mod imp;
mod settings;

glib::wrapper! {
    /// The element `fcmpack`.
    pub struct FcmPack(ObjectSubclass<imp::FcmPack>) @extends gst::Element, gst::Object;
}

/// Registers the element.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "fcmpack", gst::Rank::NONE, FcmPack::static_type())
}
