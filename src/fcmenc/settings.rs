//! Settings of `fcmenc`: the properties, their defaults and ranges.

use super::StatisticsMode;
use crate::caps::TensorLayout;
use crate::properties;
use fcm_codec::{EncoderConfig, RateControl};
use gst::glib;
use gst::prelude::*;
use std::path::PathBuf;
use std::sync::LazyLock;

/// What the user wishes; the defaults are the codec's.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// `None`: what suits the transform.
    pub qp: Option<u32>,
    pub bitrate: u32,
    pub key_int_max: u32,
    pub stats_period: u32,
    pub stats_threshold: f32,
    pub statistics: StatisticsMode,
    /// −1: what the transform says.
    pub restoration_strength: f32,
    /// 0: what the transform says.
    pub restoration_gain: f32,
    pub transform: Option<PathBuf>,
    pub components: u32,
    pub background_offset: u32,
    pub skip_threshold: f32,
    pub rd_strength: f32,
    pub error_resilient: bool,
    pub motion_compensation: bool,
    pub intra_prediction: bool,
    pub slice_size: u32,
    pub threads: u32,
    pub layout: TensorLayout,
    pub tensor_names: Option<String>,
    pub min_force_key_unit_interval: gst::ClockTime,
}

impl Default for Settings {
    fn default() -> Self {
        let codec = EncoderConfig::default();
        Self {
            qp: None,
            bitrate: 0,
            key_int_max: codec.key_int_max,
            stats_period: codec.stats_period,
            stats_threshold: codec.stats_threshold,
            statistics: codec.statistics.into(),
            restoration_strength: properties::STRENGTH_OF_TRANSFORM,
            restoration_gain: 0.0,
            transform: None,
            components: 0,
            background_offset: u32::from(codec.background_offset),
            skip_threshold: codec.skip_threshold,
            rd_strength: codec.rd_strength,
            error_resilient: codec.error_resilient,
            motion_compensation: codec.motion_compensation,
            intra_prediction: codec.intra_prediction,
            slice_size: codec.slice_size,
            threads: codec.threads as u32,
            layout: TensorLayout::default(),
            tensor_names: None,
            min_force_key_unit_interval: gst::ClockTime::ZERO,
        }
    }
}

impl Settings {
    /// The constant qp chosen, or else the one that suits the transform.
    fn qp(&self) -> u32 {
        self.qp.unwrap_or_else(|| RateControl::default_qp(self.transform.is_some()).into())
    }

    /// Takes the new value of property `name`.
    pub fn set(&mut self, name: &str, value: &glib::Value) {
        const TYPE: &str = "GObject checks the type of a property";
        match name {
            "qp" => self.qp = Some(value.get().expect(TYPE)),
            "bitrate" => self.bitrate = value.get().expect(TYPE),
            "key-int-max" => self.key_int_max = value.get().expect(TYPE),
            "stats-period" => self.stats_period = value.get().expect(TYPE),
            "stats-threshold" => self.stats_threshold = value.get().expect(TYPE),
            "statistics" => self.statistics = value.get().expect(TYPE),
            "transform" => {
                let path = value.get::<Option<String>>().expect(TYPE);
                self.transform = path.filter(|path| !path.is_empty()).map(PathBuf::from);
            }
            "components" => self.components = value.get().expect(TYPE),
            "restoration-strength" => self.restoration_strength = value.get().expect(TYPE),
            "restoration-gain" => self.restoration_gain = value.get().expect(TYPE),
            "background-offset" => self.background_offset = value.get().expect(TYPE),
            "skip-threshold" => self.skip_threshold = value.get().expect(TYPE),
            "rd-strength" => self.rd_strength = value.get().expect(TYPE),
            "error-resilient" => self.error_resilient = value.get().expect(TYPE),
            "intra-prediction" => self.intra_prediction = value.get().expect(TYPE),
            "motion-compensation" => self.motion_compensation = value.get().expect(TYPE),
            "slice-size" => self.slice_size = value.get().expect(TYPE),
            "threads" => self.threads = value.get().expect(TYPE),
            "layout" => self.layout = value.get().expect(TYPE),
            "tensor-names" => self.tensor_names = value.get().expect(TYPE),
            "min-force-key-unit-interval" => {
                let interval = value.get::<u64>().expect(TYPE);
                self.min_force_key_unit_interval = gst::ClockTime::try_from(interval).unwrap_or(gst::ClockTime::MAX);
            }
            name => unreachable!("property {name} is not writable"),
        }
    }

    /// Value of property `name`.
    pub fn get(&self, name: &str) -> glib::Value {
        match name {
            "qp" => self.qp().to_value(),
            "bitrate" => self.bitrate.to_value(),
            "key-int-max" => self.key_int_max.to_value(),
            "stats-period" => self.stats_period.to_value(),
            "stats-threshold" => self.stats_threshold.to_value(),
            "statistics" => self.statistics.to_value(),
            "transform" => self.transform.as_ref().map(|path| path.to_string_lossy().into_owned()).to_value(),
            "components" => self.components.to_value(),
            "restoration-strength" => self.restoration_strength.to_value(),
            "restoration-gain" => self.restoration_gain.to_value(),
            "background-offset" => self.background_offset.to_value(),
            "skip-threshold" => self.skip_threshold.to_value(),
            "rd-strength" => self.rd_strength.to_value(),
            "error-resilient" => self.error_resilient.to_value(),
            "motion-compensation" => self.motion_compensation.to_value(),
            "intra-prediction" => self.intra_prediction.to_value(),
            "slice-size" => self.slice_size.to_value(),
            "threads" => self.threads.to_value(),
            "layout" => self.layout.to_value(),
            "tensor-names" => self.tensor_names.to_value(),
            "min-force-key-unit-interval" => self.min_force_key_unit_interval.nseconds().to_value(),
            name => unreachable!("there is no property {name}"),
        }
    }
}

/// All properties of the element.
pub(super) fn properties() -> &'static [glib::ParamSpec] {
    static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
        let default = Settings::default();
        vec![
            glib::ParamSpecUInt::builder("qp")
                .nick("Quantiser")
                .blurb("Quantiser parameter when bitrate is 0: 0 (near lossless) to 63 (unusable); the step doubles every 6 (unless set, 32 with a transform)")
                .maximum(63)
                .default_value(default.qp())
                .mutable_playing()
                .build(),
            glib::ParamSpecUInt::builder("bitrate")
                .nick("Bit Rate")
                .blurb("Average bit rate to hold in kbit/s, needs a frame rate in the caps (0 = constant qp)")
                .maximum(10_000_000)
                .default_value(default.bitrate)
                .mutable_playing()
                .build(),
            glib::ParamSpecUInt::builder("key-int-max")
                .nick("Key Interval")
                .blurb("Most frames from one random access point to the next (0 = only the first frame is one)")
                .default_value(default.key_int_max)
                .mutable_ready()
                .build(),
            properties::stats_period(default.stats_period),
            properties::stats_threshold(default.stats_threshold),
            properties::statistics(),
            properties::restoration_strength(),
            glib::ParamSpecFloat::builder("restoration-gain")
                .nick("Restoration Gain")
                .blurb("How many times its own statistics the fused tensor is restored to (1 = just those, up to 4; 0 = what the transform says, else 1)")
                .minimum(0.0)
                .maximum(4.0)
                .default_value(default.restoration_gain)
                .mutable_ready()
                .build(),
            properties::transform(),
            properties::components(),
            glib::ParamSpecUInt::builder("background-offset")
                .nick("Background Offset")
                .blurb("How much coarser positions are coded that the transform's probe finds irrelevant, in steps of qp (0 = as fine as the others)")
                .maximum(63)
                .default_value(default.background_offset)
                .mutable_ready()
                .build(),
            glib::ParamSpecFloat::builder("skip-threshold")
                .nick("Skip Threshold")
                .blurb("With a calibrated basis: root mean square change of a position's values, in quantiser steps, below which it is taken to be unchanged (0 = none is)")
                .minimum(0.0)
                .maximum(1000.0)
                .default_value(default.skip_threshold)
                .mutable_ready()
                .build(),
            glib::ParamSpecFloat::builder("rd-strength")
                .nick("Rate-Distortion Strength")
                .blurb("What a bit is worth, in squared quantiser steps, when levels are chosen, each the nearest or none: more gives fewer bits and a larger error at one qp (0 = levels are rounded, whatever they cost)")
                .minimum(0.0)
                .maximum(1000.0)
                .default_value(default.rd_strength)
                .mutable_ready()
                .build(),
            glib::ParamSpecBoolean::builder("error-resilient")
                .nick("Error Resilient")
                .blurb("Code every frame so that it can be read without the one before: a decoder goes on after a loss (false saves 3 to 7 % of the rate)")
                .default_value(default.error_resilient)
                .mutable_ready()
                .build(),
            glib::ParamSpecBoolean::builder("motion-compensation")
                .nick("Motion Compensation")
                .blurb("Predict blocks of positions along motion vectors (false saves encoding time where much moves)")
                .default_value(default.motion_compensation)
                .mutable_ready()
                .build(),
            glib::ParamSpecBoolean::builder("intra-prediction")
                .nick("Intra Prediction")
                .blurb("Predict positions that are not predicted from the frame before from those around them, by weights of the transform, or fixed ones without a transform")
                .default_value(default.intra_prediction)
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("slice-size")
                .nick("Slice Size")
                .blurb("Bytes from which an error-resilient frame is cut into slices, strongest components first; best a little less than a packet (0 = never)")
                .default_value(default.slice_size)
                .mutable_ready()
                .build(),
            properties::threads("Worker threads", default.threads),
            properties::layout(),
            properties::tensor_names(),
            glib::ParamSpecUInt64::builder("min-force-key-unit-interval")
                .nick("Minimum Forced Key Unit Interval")
                .blurb("Least running time in nanoseconds from a random access point to a requested one (0 = requests are answered at once)")
                .default_value(default.min_force_key_unit_interval.nseconds())
                .mutable_playing()
                .build(),
            glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                .nick("Stats")
                .blurb("Counts since the element was started: frames, bytes, average bitrate in bit/s, encode-time in nanoseconds")
                .read_only()
                .build(),
        ]
    });
    &PROPERTIES
}
