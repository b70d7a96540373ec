//! Chains: the ways from a near side, which has the pictures, to a far side, which wants what is in them.
//!
//! To add one, implement [`Chain`] in a file of its own and give it a name in [`by_name`].

mod coder;
mod elementary;
mod f16_pco;
mod f16_zstd;
mod fcm;
mod fctm;
mod program;
mod remote;
mod stage;
mod u8_zstd;
mod uncompressed;

use crate::features::FeatureFile;
use anyhow::{Result, bail, ensure};
use fcm_codec::Transform;
use fcm_codec::reduction::learned::InferenceRuntime;
use half::f16;
use image::RgbImage;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Most frames between random access points, in every chain that predicts.
pub const KEY_INT_MAX: u32 = 32;

/// One operating point of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Setting {
    /// There is nothing to set.
    Fixed,
    /// Constant quantiser.
    Qp(u8),
    /// Average rate, kbit/s.
    Bitrate(u32),
    /// Effort of a compressor.
    Level(u8),
}

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Setting::Fixed => Ok(()),
            Setting::Qp(qp) => write!(f, "qp {qp}"),
            Setting::Bitrate(k) => write!(f, "{k} kbit/s"),
            Setting::Level(l) => write!(f, "level {l}"),
        }
    }
}

/// Which calibrated transform a chain uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// None, or one of its own.
    None,
    /// The one that is given or learnt from features alone.
    Any,
    /// The one fitted to what the back half finds.
    Task,
}

/// What a chain can send: features for the back half, or the picture for both halves.
pub struct Input<'a> {
    /// The front half's features.
    pub features: &'a FeatureFile,
    /// Frames a second, as a fraction.
    pub framerate: (u32, u32),
    /// Calibrated transform for codecs that use one.
    pub transform: Option<Arc<Transform>>,
    /// Pictures, and what the network takes.
    pub pictures: &'a dyn Pictures,
}

/// The pictures of a sequence.
pub trait Pictures: Sync {
    /// Picture `n`, from 0.
    ///
    /// # Errors
    /// When it cannot be read.
    fn picture(&self, n: u64) -> Result<RgbImage>;

    /// Width and height that a picture has in the network's input: more than that the network does not see.
    fn scaled(&self) -> (u32, u32);
}

/// The far side: takes what arrives, frame by frame, and runs the rest of the network.
pub trait FarSide {
    /// A frame of features, the layers in order.
    ///
    /// # Errors
    /// When the network refuses them, or on an interrupt.
    fn features(&mut self, layers: &[Vec<f16>]) -> Result<()>;

    /// A picture, of any size.
    ///
    /// # Errors
    /// As above.
    fn picture(&mut self, picture: &RgbImage) -> Result<()>;
}

/// What was sent, and how long it took.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sent {
    /// Everything that must travel, headers included.
    pub bytes: u64,
    /// From features or picture to bytes.
    pub encoding: Duration,
    /// From bytes to features or picture.
    pub decoding: Duration,
}

/// A way to send.
pub trait Chain: Send + Sync {
    /// Short name, as on the command line.
    fn name(&self) -> &str;

    /// The settings to run when the user names none, from the highest rate to the lowest.
    fn default_points(&self) -> Vec<Setting>;

    /// Turns a point of the command line into a setting.
    ///
    /// # Errors
    /// When it is none of this chain; the message says what is legal.
    fn parse_point(&self, text: &str) -> Result<Setting>;

    /// What decides the result beside input and setting: versions and fixed settings. Part of the cache's key.
    ///
    /// # Errors
    /// When something the chain needs is not installed.
    fn identity(&self) -> Result<Value>;

    /// The calibrated transform that the chain uses.
    fn wanted(&self) -> Wanted {
        Wanted::None
    }

    /// Sends all frames of the input, in order, and gives each to the far side.
    ///
    /// # Errors
    /// When coding, or the far side, fails.
    fn send(&self, input: &Input<'_>, setting: Setting, far: &mut dyn FarSide) -> Result<Sent>;
}

/// Names of the chains that are run where none are named.
pub const NAMES: [&str; 14] = [
    "uncompressed",
    "fcm-none",
    "fcm-ecs",
    "fcm-simplified",
    "fcm-z-score",
    "fcm-relevance",
    "fcm-skip-0",
    "fcm-rdoq-0",
    "fctm-x265",
    "f16-zstd",
    "f16-pco",
    "u8-zstd",
    "remote-x264",
    "remote-x265",
];

/// The chain called `name`, which is one of [`NAMES`], one that takes apart what `fcm-z-score` is made of ([`fcm::Fcm::by_name`]), or features through
/// another video encoder ([`fctm::Fctm::by_name`]).
///
/// # Errors
/// When there is none; the message names all.
pub fn by_name(name: &str) -> Result<Box<dyn Chain>> {
    Ok(match name {
        "uncompressed" => Box::new(uncompressed::Uncompressed),
        "f16-zstd" => Box::new(f16_zstd::F16Zstd),
        "f16-pco" => Box::new(f16_pco::F16Pco),
        "u8-zstd" => Box::new(u8_zstd::U8Zstd),
        "remote-x264" => Box::new(remote::Remote::x264()),
        "remote-x265" => Box::new(remote::Remote::x265()),
        _ if name.starts_with("fctm-") => Box::new(fctm::Fctm::by_name(name)?),
        _ if name.starts_with("fcm-") => Box::new(fcm::Fcm::by_name(name)?),
        _ => bail!("chain {name:?}, legal are {}", NAMES.join(", ")),
    })
}

/// The chain `fcm-pair-NAME`: the codec with a learned pair.
pub fn pair(name: &str, transform: Arc<Transform>) -> Box<dyn Chain> {
    Box::new(fcm::Fcm::pair(name, transform))
}

/// What runs the networks of a learned transform.
fn runtime() -> Option<Arc<dyn InferenceRuntime>> {
    Some(Arc::new(fcm_infer::OnnxRuntime::default()))
}

/// A number in a range, for [`Chain::parse_point`].
fn number<T: std::str::FromStr + PartialOrd + std::fmt::Display>(text: &str, low: T, high: T) -> Result<T> {
    match text.trim().parse::<T>() {
        Ok(n) => {
            ensure!(n >= low && n <= high, "point {text:?}, legal are {low} to {high}");
            Ok(n)
        }
        Err(_) => bail!("point {text:?}, legal are whole numbers from {low} to {high}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_gives_the_chain_of_that_name() {
        let others = [
            "fcm-skip-0.1",
            "fcm-rdoq-0.2",
            "fcm-restored-0.5",
            "fcm-gain-1.25",
            "fcm-k320",
            "fctm-svtav1",
            "fctm-vvenc-k64",
        ];
        for name in NAMES.into_iter().chain(fcm::Fcm::NAMES).chain(others) {
            assert_eq!(by_name(name).unwrap().name(), name);
        }
        let error = by_name("fcm-nothing").err().unwrap().to_string();
        assert!(error.contains("fcm-nothing") && error.contains("fcm-z-score"), "{error}");
        for name in ["fcm-skip--1", "fcm-rdoq-x", "fcm-restored-1.1", "fcm-gain-0.9", "fcm-k0"] {
            assert!(by_name(name).is_err_and(|e| e.to_string().contains(name)), "{name}");
        }
    }

    #[test]
    fn points_out_of_range_name_the_range() {
        let fcm = by_name("fcm-none").unwrap();
        assert_eq!(fcm.parse_point("32").unwrap(), Setting::Qp(32));
        assert_eq!(fcm.parse_point("200k").unwrap(), Setting::Bitrate(200));
        assert!(fcm.parse_point("64").unwrap_err().to_string().contains("0 to 63"));
        assert!(by_name("remote-x264").unwrap().parse_point("x").unwrap_err().to_string().contains("0 to 50"));
        assert!(by_name("uncompressed").unwrap().parse_point("1").is_err());
    }
}
