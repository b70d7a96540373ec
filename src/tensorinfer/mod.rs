/**
 * SECTION:element-tensorinfer
 * @short_description: Runs a neural network, whole or a half of it
 *
 * `tensorinfer` runs an ONNX model, or the part of it between named tensors, on every picture or set of tensors that comes, without
 * delay: what goes before `fcmenc` in a camera and behind `fcmdec` in a server. ONNX Runtime is loaded when the element starts.
 *
 * `output-names` names inner tensors to end at (the front half), `input-names` inner tensors to begin at (the back half); without
 * them the whole model runs. The order of names is the order of tensors.
 *
 * Pictures are scaled (`scaling`, `pad-value`), their channels ordered (`channel-order`) and normalised (`mean`, `std-dev`) as the
 * network was trained. Tensors come in as they are. What comes out has the shapes of the model, float32.
 *
 * ## Example pipelines
 * |[
 * gst-launch-1.0 filesrc location=street.mp4 ! decodebin ! videoconvert ! tensorinfer model=yolox_nano.onnx output-names=956,990,1024 channel-order=bgr ! fcmenc ! filesink location=street.fcm
 * ]| Runs the front half of a detector and codes its features.
 * |[
 * gst-launch-1.0 filesrc location=street.fcm ! fcmparse ! fcmdec ! tensorinfer model=yolox_nano.onnx input-names=956,990,1024 ! fakesink
 * ]| Decodes the features and runs the back half of the same model.
 *
 * Since: 0.1.0
 */
use gst::glib;
use gst::prelude::*;

mod errors;
mod formats;
mod imp;
mod settings;
mod stats;

glib::wrapper! {
    /// The element `tensorinfer`.
    pub struct TensorInfer(ObjectSubclass<imp::TensorInfer>) @extends gst::Element, gst::Object;
}

/// The order of the network's channels, as the property `channel-order` offers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstFcmChannelOrder")]
pub enum ChannelOrder {
    /// Red first.
    #[default]
    #[enum_value(name = "Red, green, blue", nick = "rgb")]
    Rgb = 0,
    /// Blue first.
    #[enum_value(name = "Blue, green, red", nick = "bgr")]
    Bgr = 1,
}

impl From<ChannelOrder> for fcm_infer::ChannelOrder {
    fn from(order: ChannelOrder) -> Self {
        match order {
            ChannelOrder::Rgb => Self::Rgb,
            ChannelOrder::Bgr => Self::Bgr,
        }
    }
}

/// Registers the element and the types of its properties.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    #[cfg(feature = "doc")]
    {
        crate::boxes::PictureScaling::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
        ChannelOrder::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
    }
    gst::Element::register(Some(plugin), "tensorinfer", gst::Rank::NONE, TensorInfer::static_type())
}
