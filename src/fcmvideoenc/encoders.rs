//! Video encoders by name: the options that make them code without delay, at a quantiser or a bit rate.

/// What an encoder is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// Constant quantiser, in the encoder's scale.
    Qp(u32),
    /// Average rate, kbit/s.
    Bitrate(u32),
}

/// A property and its value as text.
pub type Setting = (&'static str, String);

/// An interval between key frames that is never reached, for encoders that have no word for it.
const NEVER: u32 = 1 << 24;

/// The settings of the encoder `factory`; `None` when it is none of those known here.
pub fn known(factory: &str, rate: Rate, key_int_max: u32) -> Option<Vec<Setting>> {
    let interval = if key_int_max == 0 { NEVER } else { key_int_max };
    let fixed = |settings: &[(&'static str, &str)]| -> Vec<Setting> {
        settings.iter().map(|&(name, value)| (name, value.to_owned())).collect()
    };
    let mut all = fixed(low_delay(factory)?);
    all.push((key_interval(factory), interval.to_string()));
    all.extend(match (factory, rate) {
        ("x265enc", Rate::Qp(qp)) => vec![("qp", qp.to_string())],
        ("x265enc", Rate::Bitrate(k)) => vec![("bitrate", k.to_string())],
        ("x264enc", Rate::Qp(qp)) => vec![("pass", "quant".into()), ("quantizer", qp.to_string())],
        ("x264enc", Rate::Bitrate(k)) => vec![("pass", "cbr".into()), ("bitrate", k.to_string())],
        ("openh264enc", Rate::Qp(qp)) => {
            vec![("rate-control", "quality".into()), ("qp-min", qp.to_string()), ("qp-max", qp.to_string())]
        }
        ("openh264enc", Rate::Bitrate(k)) => {
            vec![("rate-control", "bitrate".into()), ("bitrate", bits(k))]
        }
        ("svtav1enc", Rate::Qp(qp)) => vec![("cqp", qp.to_string())],
        ("svtav1enc", Rate::Bitrate(k)) => vec![("target-bitrate", k.to_string())],
        ("rav1enc", Rate::Qp(qp)) => vec![("quantizer", qp.to_string())],
        ("rav1enc", Rate::Bitrate(k)) => vec![("bitrate", bits(k))],
        // libaom and libvpx.
        (_, Rate::Qp(qp)) => {
            vec![("end-usage", "vbr".into()), ("max-quantizer", qp.to_string()), ("min-quantizer", qp.to_string())]
        }
        // In this mode libaom aborts the process with the limits that av1enc has by default.
        ("av1enc", Rate::Bitrate(k)) => vec![
            ("end-usage", "cbr".into()),
            ("max-quantizer", "63".into()),
            ("min-quantizer", "2".into()),
            ("target-bitrate", k.to_string()),
        ],
        (_, Rate::Bitrate(k)) => vec![("end-usage", "cbr".into()), ("target-bitrate", bits(k))],
    });
    Some(all)
}

fn bits(kbit: u32) -> String {
    (u64::from(kbit) * 1000).to_string()
}

/// Options of `factory` that keep it from delaying, reordering and guessing at scene cuts.
fn low_delay(factory: &str) -> Option<&'static [(&'static str, &'static str)]> {
    Some(match factory {
        "x265enc" => &[
            ("tune", "zerolatency"),
            ("speed-preset", "medium"),
            ("option-string", "bframes=0:scenecut=0:open-gop=0:log-level=none"),
        ],
        // One thread: zerolatency would cut every picture into a slice for each thread, which costs rate.
        "x264enc" => &[
            ("tune", "zerolatency"),
            ("speed-preset", "medium"),
            ("bframes", "0"),
            ("threads", "1"),
            ("byte-stream", "true"),
            ("option-string", "scenecut=0"),
        ],
        "openh264enc" => &[
            ("usage-type", "camera"),
            ("scene-change-detection", "false"),
            ("background-detection", "false"),
            ("adaptive-quantization", "false"),
        ],
        "av1enc" => &[("lag-in-frames", "0"), ("cpu-used", "8"), ("usage-profile", "realtime")],
        "svtav1enc" => &[("preset", "8"), ("parameters-string", "pred-struct=1:lookahead=0")],
        "rav1enc" => &[("low-latency", "true"), ("speed-preset", "10"), ("rdo-lookahead-frames", "1")],
        "vp9enc" | "vp8enc" => {
            &[("lag-in-frames", "0"), ("deadline", "1"), ("cpu-used", "4"), ("auto-alt-ref", "false")]
        }
        _ => return None,
    })
}

fn key_interval(factory: &str) -> &'static str {
    match factory {
        "openh264enc" => "gop-size",
        "av1enc" | "vp9enc" | "vp8enc" => "keyframe-max-dist",
        "svtav1enc" => "intra-period-length",
        "rav1enc" => "max-key-frame-interval",
        _ => "key-int-max",
    }
}

/// Options of usual names, for encoders that are not known: whichever of them they have.
pub fn usual(rate: Rate, key_int_max: u32) -> Vec<Setting> {
    let interval = if key_int_max == 0 { NEVER } else { key_int_max };
    let mut all: Vec<Setting> =
        ["key-int-max", "gop-size", "keyframe-period"].map(|name| (name, interval.to_string())).to_vec();
    all.extend(["bframes", "b-frames", "max-bframes"].map(|name| (name, "0".to_owned())));
    all.push(("zerolatency", "true".into()));
    match rate {
        Rate::Qp(qp) => all.extend(["qp", "quantizer"].map(|name| (name, qp.to_string()))),
        Rate::Bitrate(k) => all.push(("bitrate", k.to_string())),
    }
    all
}

/// The parser of the video that `encoder` writes, if it has one: it repeats parameter sets at key frames.
pub fn parser(media_type: &str) -> Option<&'static str> {
    Some(match media_type {
        "video/x-h264" => "h264parse",
        "video/x-h265" => "h265parse",
        "video/x-h266" => "h266parse",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gst::glib;
    use gst::prelude::*;

    /// Settings that elements of GStreamer 1.22 lack, or have only later.
    const OPTIONAL: [&str; 0] = [];

    #[test]
    fn every_setting_is_one_that_the_encoder_has_and_takes() {
        gst::init().unwrap();
        for factory in ["x265enc", "x264enc", "openh264enc", "av1enc", "svtav1enc", "rav1enc", "vp9enc", "vp8enc"] {
            let Ok(element) = gst::ElementFactory::make(factory).build() else {
                eprintln!("skipped: there is no element {factory}");
                continue;
            };
            for rate in [Rate::Qp(30), Rate::Bitrate(300)] {
                for (name, value) in known(factory, rate, 32).unwrap() {
                    let Some(pspec) = element.find_property(name) else {
                        assert!(OPTIONAL.contains(&name), "{factory} has no property {name}");
                        continue;
                    };
                    glib::Value::deserialize_with_pspec(&value, &pspec)
                        .unwrap_or_else(|_| panic!("{factory} does not take {name}={value}"));
                }
            }
        }
        assert_eq!(known("theoraenc", Rate::Qp(1), 1), None);
    }
}
