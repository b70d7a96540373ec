//! Caps of raw and of coded tensors to the codec's terms and back: pure functions. Tables are in docs/caps.md.

mod coded;
mod offer;
mod raw;

pub use coded::{
    CODED, CodedCaps, LONGEST_CAPS, choose_stream_format, coded_template, parse_transform_id, stream_format_name,
};
pub use offer::{filter_offer, fixate_raw, raw_offer, raw_template};
pub use raw::{RAW, RawCaps, TensorFormat, TensorInfo, TensorLayout, parse_raw, raw_caps, tensor_infos, type_name};

use fcm_codec::{Error, ErrorKind};
use gst::prelude::MulDiv;

/// A frame rate; 0/1 is an unknown or variable one.
pub type Framerate = (u32, u32);

/// The frame rate in caps, 0/1 where there is none.
pub fn framerate(s: &gst::StructureRef) -> Framerate {
    s.get::<gst::Fraction>("framerate").map_or((0, 1), framerate_of)
}

/// A frame rate of GStreamer.
pub fn framerate_of(rate: gst::Fraction) -> Framerate {
    if rate.numer() > 0 && rate.denom() > 0 { (rate.numer() as u32, rate.denom() as u32) } else { (0, 1) }
}

/// A rate that is known; one that caps cannot say counts as unknown.
pub fn known(rate: Framerate) -> Option<Framerate> {
    let sayable = |n: u32| (1..=i32::MAX as u32).contains(&n);
    Some(rate).filter(|&(frames, seconds)| sayable(frames) && sayable(seconds))
}

/// From one frame to the next, to the nearest nanosecond; `None` where the rate is unknown.
pub fn period((frames, seconds): Framerate) -> Option<gst::ClockTime> {
    // Division by an unknown rate would panic in `muldiv`.
    if frames == 0 { None } else { gst::ClockTime::SECOND.mul_div_round(seconds.into(), frames.into()) }
}

/// The same to write.
pub fn fraction(rate: Framerate) -> gst::Fraction {
    let part = |n: u32| i32::try_from(n).ok();
    match (part(rate.0), part(rate.1)) {
        (Some(n), Some(d)) if d > 0 => gst::Fraction::new(n, d),
        _ => gst::Fraction::new(0, 1),
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use super::TensorInfo;
    use fcm_codec::Dtype;
    use std::str::FromStr;

    pub fn caps(text: &str) -> gst::Caps {
        gst::init().unwrap();
        gst::Caps::from_str(text).unwrap_or_else(|_| panic!("{text} does not parse"))
    }

    pub fn tensors(text: &[(&str, Dtype)]) -> Vec<TensorInfo> {
        text.iter().map(|&(d, dtype)| TensorInfo { dimensions: d.parse().unwrap(), dtype }).collect()
    }
}
