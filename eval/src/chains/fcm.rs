//! This project's codec.

use super::{Chain, FarSide, Input, KEY_INT_MAX, Sent, Setting, Wanted, number, runtime};
use crate::features::Frame;
use anyhow::{Context, Result, anyhow, bail, ensure};
use fcm_codec::bitstream::stream::end_of_stream;
use fcm_codec::{
    Decoded, Decoder, DecoderConfig, Encoder, EncoderConfig, FrameRequest, RateControl, StatisticsMode, TensorMut,
    TensorRef, Transform,
};
use half::f16;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

/// How much coarser chains with relevance code the background, in steps of qp.
const BACKGROUND_OFFSET: u8 = 6;

/// The codec as by default, or with one setting changed. Bytes are those of a `.fcm` file.
pub struct Fcm {
    name: String,
    /// Settings but for rate control, frame rate, transform and number of components.
    config: EncoderConfig,
    /// Components kept; `None` = all of the transform.
    components: Option<u32>,
    /// The transform that is used; [`Wanted::None`]: in its place a block DCT with as many components.
    wanted: Wanted,
    /// A transform of the chain's own, instead of the input's.
    own: Option<Arc<Transform>>,
}

impl Fcm {
    /// The chains that change one setting, but for those with a number in their name.
    pub const NAMES: [&str; 14] = [
        "fcm-none",
        "fcm-ecs",
        "fcm-simplified",
        "fcm-z-score",
        "fcm-relevance",
        "fcm-task",
        "fcm-task-relevance",
        "fcm-intra",
        "fcm-chained",
        "fcm-unsliced",
        "fcm-still",
        "fcm-alone",
        "fcm-task-alone",
        "fcm-dct",
    ];

    /// The chain called `name`.
    ///
    /// # Errors
    /// When there is none; the message says what is legal.
    pub fn by_name(name: &str) -> Result<Self> {
        let config = EncoderConfig { key_int_max: KEY_INT_MAX, ..EncoderConfig::default() };
        let mut chain = Self { name: name.into(), config, components: None, wanted: Wanted::Any, own: None };
        let number = |prefix: &str| name.strip_prefix(prefix).map(|text| threshold(name, text));
        match name {
            "fcm-relevance" => chain.config.background_offset = BACKGROUND_OFFSET,
            "fcm-task" => chain.wanted = Wanted::Task,
            "fcm-task-relevance" => {
                chain.wanted = Wanted::Task;
                chain.config.background_offset = BACKGROUND_OFFSET;
            }
            "fcm-intra" => chain.config.key_int_max = 1,
            "fcm-chained" => chain.config.error_resilient = false,
            "fcm-unsliced" => chain.config.slice_size = 0,
            "fcm-still" => chain.config.motion_compensation = false,
            "fcm-alone" => chain.config.intra_prediction = false,
            "fcm-task-alone" => {
                chain.wanted = Wanted::Task;
                chain.config.intra_prediction = false;
            }
            "fcm-dct" => chain.wanted = Wanted::None,
            _ => {
                if let Some(threshold) = number("fcm-skip-") {
                    chain.config.skip_threshold = threshold?;
                } else if let Some(strength) = number("fcm-rdoq-") {
                    chain.config.rd_strength = strength?;
                } else if let Some(strength) = number("fcm-restored-") {
                    let strength = strength?;
                    ensure!(strength <= 1.0, "chain {name:?}: after the last hyphen stands a strength from 0 to 1");
                    chain.wanted = Wanted::Task;
                    chain.config.restoration_strength = Some(strength);
                } else if let Some(gain) = number("fcm-gain-") {
                    let gain = gain?;
                    ensure!(
                        (1.0..=4.0).contains(&gain),
                        "chain {name:?}: after the last hyphen stands a gain from 1 to 4"
                    );
                    chain.wanted = Wanted::Task;
                    chain.config.restoration_gain = Some(gain);
                } else if let Some(components) = name.strip_prefix("fcm-k") {
                    chain.components =
                        Some(super::number(components, 1, 1 << 16).with_context(|| format!("chain {name:?}"))?);
                } else {
                    let mode = name.strip_prefix("fcm-").unwrap_or(name);
                    chain.config.statistics = mode.parse::<StatisticsMode>().map_err(|_| {
                        anyhow!(
                            "chain {name:?}, legal are {}, fcm-restored-X, fcm-gain-X, fcm-skip-X, fcm-rdoq-X and fcm-kN",
                            Self::NAMES.join(", ")
                        )
                    })?;
                }
            }
        }
        Ok(chain)
    }

    /// The chain `fcm-pair-NAME`: the default one with a transform of its own, a learned pair, which no calibration makes.
    pub fn pair(name: &str, transform: Arc<Transform>) -> Self {
        let config = EncoderConfig { key_int_max: KEY_INT_MAX, ..EncoderConfig::default() };
        Self { name: format!("fcm-pair-{name}"), config, components: None, wanted: Wanted::None, own: Some(transform) }
    }
}

/// The number at the end of a chain's name.
fn threshold(name: &str, text: &str) -> Result<f32> {
    match text.parse::<f32>() {
        Ok(x) if x.is_finite() && x >= 0.0 => Ok(x),
        _ => bail!("chain {name:?}: after the last hyphen stands a number from 0 on"),
    }
}

impl Chain for Fcm {
    fn name(&self) -> &str {
        &self.name
    }

    fn default_points(&self) -> Vec<Setting> {
        let points = if self.own.is_some() { [24, 28, 32, 36, 40] } else { [23, 26, 29, 32, 35] };
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

    fn wanted(&self) -> Wanted {
        // The block DCT has as many components as the transform would have.
        if self.own.is_none() && self.wanted == Wanted::None { Wanted::Any } else { self.wanted }
    }

    fn send(&self, input: &Input<'_>, setting: Setting, far: &mut dyn FarSide) -> Result<Sent> {
        let rate_control = match setting {
            Setting::Qp(qp) => RateControl::ConstantQp(qp),
            Setting::Bitrate(kbit_per_second) => {
                RateControl::Bitrate { kbit_per_second, frames_per_second: input.framerate }
            }
            _ => bail!("setting {setting:?}, legal are qp and bit rates"),
        };
        let available = input.transform.as_ref().map(|t| t.components());
        let transform = self.own.as_ref().or(input.transform.as_ref().filter(|_| self.wanted != Wanted::None)).cloned();
        let transforms = transform.iter().cloned().collect();
        let config = EncoderConfig {
            rate_control,
            transform,
            components: self.components.or(available.filter(|_| self.own.is_none())),
            runtime: runtime(),
            framerate: input.framerate,
            ..self.config.clone()
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
