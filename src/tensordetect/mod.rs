/**
 * SECTION:element-tensordetect
 * @short_description: Boxes from the outputs of a detector
 *
 * `tensordetect` turns the output tensors of a detection network into boxes: one line of JSON a frame, as
 * `application/x-boxes`. It knows the heads of YOLOX, NanoDet and PicoDet; docs/caps.md says which tensors they must be.
 *
 * Boxes are in pixels of the network's input, or, with `picture-width` and `picture-height`, in those of the picture that
 * was scaled to it.
 *
 * ## Example pipeline
 * |[
 * … ! other/tensors,… ! tensordetect head=nanodet input-width=416 input-height=416 picture-width=640 picture-height=480
 *   score-threshold=0.4 classes=0 labels=person ! filesink location=boxes.json
 * ]| Writes the persons that NanoDet found.
 *
 * Since: 0.1.0
 */
use gst::glib;
use gst::prelude::*;

mod imp;
mod settings;

glib::wrapper! {
    /// The element `tensordetect`.
    pub struct TensorDetect(ObjectSubclass<imp::TensorDetect>) @extends gst_base::BaseTransform, gst::Element, gst::Object;
}

/// What the outputs of the network mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstFcmDetectionHead")]
pub enum DetectionHead {
    /// YOLOX.
    #[default]
    #[enum_value(name = "YOLOX: one output [1, cells, 5 + classes]", nick = "yolox")]
    Yolox = 0,
    /// NanoDet and PicoDet.
    #[enum_value(
        name = "NanoDet, PicoDet: [1, cells, classes] of every stride, then [1, cells, 4 x bins]",
        nick = "nanodet"
    )]
    NanoDet = 1,
}

impl From<DetectionHead> for fcm_analytics::detection::Head {
    fn from(head: DetectionHead) -> Self {
        match head {
            DetectionHead::Yolox => Self::Yolox,
            DetectionHead::NanoDet => Self::NanoDet,
        }
    }
}

/// Registers the element and the types of its properties.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    #[cfg(feature = "doc")]
    {
        DetectionHead::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
        crate::boxes::PictureScaling::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
    }
    gst::Element::register(Some(plugin), "tensordetect", gst::Rank::NONE, TensorDetect::static_type())
}
