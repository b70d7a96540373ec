//! The RTP payload format of feature streams, docs/rtp.md, as plain functions: bytes in, bytes out, no GStreamer.

pub mod assembly;
pub mod packet;
pub mod parameter_sets;

/// Clock of RTP timestamps, in Hz.
pub const CLOCK_RATE: u32 = 90_000;
/// Encoding name in SDP and caps.
pub const ENCODING_NAME: &str = "FCM";
/// Media type in SDP and caps.
pub const MEDIA: &str = "application";
/// Format parameter, and field of the caps, with the sequence parameter set in base64.
pub const SPROP_PARAMETER_SETS: &str = "sprop-parameter-sets";
