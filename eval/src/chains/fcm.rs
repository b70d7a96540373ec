//! This project's codec.

use super::{Chain, FarSide, Input, KEY_INT_MAX, Sent, Setting, number, runtime};
use crate::features::Frame;
use anyhow::{Result, bail};
use fcm_codec::bitstream::stream::end_of_stream;
use fcm_codec::{
    Decoded, Decoder, DecoderConfig, Encoder, EncoderConfig, FrameRequest, RateControl, StatisticsMode, TensorMut,
    TensorRef, Transform,
};
use half::f16;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

/// The codec with one of its statistics modes, or with the default one and relevance; everything else as by default. Bytes are those of
/// a `.fcm` file.
pub struct Fcm {
    statistics: StatisticsMode,
    relevance: bool,
    skip_threshold: f32,
    /// A transform of the chain's own, instead of the input's.
    own: Option<Arc<Transform>>,
    name: String,
}

impl Fcm {
    /// The chain that restores `statistics`.
    pub fn new(statistics: StatisticsMode) -> Self {
        let skip_threshold = EncoderConfig::default().skip_threshold;
        Self { statistics, relevance: false, skip_threshold, own: None, name: format!("fcm-{}", statistics.name()) }
    }

    /// The default chain with another threshold below which positions are taken to be unchanged; 0: none is.
    pub fn skip(threshold: f32) -> Self {
        Self {
            skip_threshold: threshold,
            name: format!("fcm-skip-{threshold}"),
            ..Self::new(StatisticsMode::default())
        }
    }

    /// The default chain with a transform of its own: a learned pair, which no calibration makes.
    pub fn pair(name: &str, transform: Arc<Transform>) -> Self {
        Self { own: Some(transform), name: format!("fcm-pair-{name}"), ..Self::new(StatisticsMode::default()) }
    }

    /// The chain that codes what the transform's probe finds irrelevant coarser.
    pub fn relevance() -> Self {
        Self { relevance: true, name: "fcm-relevance".into(), ..Self::new(StatisticsMode::default()) }
    }
}

impl Chain for Fcm {
    fn name(&self) -> &str {
        &self.name
    }

    fn default_points(&self) -> Vec<Setting> {
        let points = if self.own.is_some() { [26, 30, 34, 38, 42] } else { [26, 29, 32, 35, 38] };
        points.map(Setting::Qp).to_vec()
    }

    fn parse_point(&self, text: &str) -> Result<Setting> {
        match text.trim().strip_suffix('k') {
            Some(rate) => number(rate, 1, u32::MAX).map(Setting::Bitrate),
            None => number(text, 0, 63).map(Setting::Qp),
        }
    }

    fn identity(&self) -> Result<Value> {
        let mut identity = json!({"codec": env!("FCM_EVAL_CODEC"), "key-int-max": KEY_INT_MAX});
        if let Some(transform) = &self.own {
            identity["own transform"] = transform.id().to_string().into();
        }
        Ok(identity)
    }

    fn uses_transform(&self) -> bool {
        self.own.is_none()
    }

    fn send(&self, input: &Input<'_>, setting: Setting, far: &mut dyn FarSide) -> Result<Sent> {
        let rate_control = match setting {
            Setting::Qp(qp) => RateControl::ConstantQp(qp),
            Setting::Bitrate(kbit_per_second) => {
                RateControl::Bitrate { kbit_per_second, frames_per_second: input.framerate }
            }
            _ => bail!("setting {setting:?}, legal are qp and bit rates"),
        };
        let transform = self.own.as_ref().or(input.transform.as_ref()).cloned();
        let transforms = transform.iter().cloned().collect();
        let config = EncoderConfig {
            rate_control,
            statistics: self.statistics,
            background_offset: if self.relevance { None } else { Some(0) },
            skip_threshold: self.skip_threshold,
            key_int_max: KEY_INT_MAX,
            transform,
            runtime: runtime(),
            framerate: input.framerate,
            ..EncoderConfig::default()
        };
        let mut encoder = Encoder::new(config, input.features.layout().clone())?;
        let mut decoder = Decoder::new(DecoderConfig { transforms, runtime: runtime(), ..DecoderConfig::default() })?;
        let mut sent = Sent::default();
        let mut frame = Frame::default();
        let mut decoded: Vec<Vec<f16>> = Vec::new();
        let mut unit = Vec::new();
        for n in 0..input.features.frames() {
            input.features.read(n, &mut frame)?;
            let clock = Instant::now();
            let tensors: Vec<TensorRef<'_>> = frame.layers.iter().map(|l| TensorRef::F16(l)).collect();
            unit.clear();
            encoder.encode(&tensors, FrameRequest::default(), &mut unit)?;
            sent.encoding += clock.elapsed();
            sent.bytes += unit.len() as u64;

            let clock = Instant::now();
            let Decoded::Frame(mut out) = decoder.decode(&unit)? else {
                bail!("the decoder waits for a random access point at frame {n} of a whole stream");
            };
            decoded.resize_with(frame.layers.len(), Vec::new);
            for (n, (to, from)) in decoded.iter_mut().zip(&frame.layers).enumerate() {
                to.resize(from.len(), f16::ZERO);
                out.write(n, TensorMut::F16(to))?;
            }
            sent.decoding += clock.elapsed();
            far.features(&decoded)?;
        }
        // A file ends with this unit.
        sent.bytes += end_of_stream().len() as u64;
        Ok(sent)
    }
}
