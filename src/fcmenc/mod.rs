/**
 * SECTION:element-fcmenc
 * @short_description: Codes neural-network feature tensors
 *
 * `fcmenc` codes the feature tensors of a split neural network, frame by frame and without delay, into access units
 * that `fcmdec` turns back into tensors with the same mean and standard deviation.
 *
 * The input is NNStreamer's `other/tensors`, static or flexible, of `float16` or `float32` and batch 1. Dimensions are innermost
 * first: a network's `[1][C][H][W]` output is `W:H:C:1`; for channel-last outputs, `C:W:H:1`, set `layout=nhwc`.
 *
 * A calibrated transform (`fcm calibrate`) given by the property `transform` makes streams several times smaller than the
 * built-in block DCT, which needs no calibration. The decoder needs the same file.
 *
 * Random access points come every `key-int-max` frames and on force-key-unit events of either direction.
 *
 * ## Example pipelines
 * |[
 * gst-launch-1.0 -v fakesrc num-buffers=10 sizetype=fixed sizemax=24576 filltype=zero format=time ! "other/tensors,format=static,num_tensors=1,types=float32,dimensions=(string)16:12:32,framerate=25/1" ! fcmenc qp=30 ! filesink location=features.fcm
 * ]| Codes ten frames of a 32 × 12 × 16 feature map into a byte stream.
 * |[
 * gst-launch-1.0 fakesrc num-buffers=10 sizetype=fixed sizemax=24576 filltype=zero format=time ! "other/tensors,format=static,num_tensors=1,types=float32,dimensions=(string)16:12:32,framerate=25/1" ! fcmenc bitrate=200 key-int-max=10 ! fcmdec ! fakesink
 * ]| Holds 200 kbit/s and decodes again.
 *
 * Since: 0.1.0
 */
use gst::glib;
use gst::prelude::*;

mod imp;
mod settings;
mod stats;

glib::wrapper! {
    /// The element `fcmenc`.
    pub struct FcmEnc(ObjectSubclass<imp::FcmEnc>) @extends gst::Element, gst::Object;
}

/// Statistics modes as the property `statistics` offers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstFcmStatisticsMode")]
pub enum StatisticsMode {
    /// Mean and standard deviation of every layer.
    #[default]
    #[enum_value(name = "Mean and standard deviation of every layer and of the fused tensor, 32 bit", nick = "z-score")]
    ZScore = 0,
    /// One pair for all layers.
    #[enum_value(name = "One mean and standard deviation for all layers together, 16 bit", nick = "simplified")]
    Simplified = 1,
    /// Energy compensation scaling.
    #[enum_value(name = "Energy compensation scaling: maximum minus mean of every layer", nick = "ecs")]
    Ecs = 2,
    /// Nothing.
    #[enum_value(name = "Statistics are not restored", nick = "none")]
    None = 3,
}

impl From<StatisticsMode> for fcm_codec::StatisticsMode {
    fn from(mode: StatisticsMode) -> Self {
        match mode {
            StatisticsMode::ZScore => Self::ZScore,
            StatisticsMode::Simplified => Self::Simplified,
            StatisticsMode::Ecs => Self::Ecs,
            StatisticsMode::None => Self::None,
        }
    }
}

impl From<fcm_codec::StatisticsMode> for StatisticsMode {
    fn from(mode: fcm_codec::StatisticsMode) -> Self {
        match mode {
            fcm_codec::StatisticsMode::ZScore => Self::ZScore,
            fcm_codec::StatisticsMode::Simplified => Self::Simplified,
            fcm_codec::StatisticsMode::Ecs => Self::Ecs,
            fcm_codec::StatisticsMode::None => Self::None,
        }
    }
}

/// Registers the element and the types of its properties.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    #[cfg(feature = "doc")]
    {
        StatisticsMode::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
        crate::caps::TensorLayout::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
    }
    gst::Element::register(Some(plugin), "fcmenc", gst::Rank::NONE, FcmEnc::static_type())
}
