//! Which video decoder for which video.

use gst::prelude::*;

/// Decoders that are taken before others, and why. (`openh264dec` knows baseline streams of 8 bits only.)
const PREFERRED: [&str; 8] =
    ["avdec_h265", "avdec_h264", "dav1ddec", "av1dec", "vp9dec", "vp8dec", "jpegdec", "openh264dec"];
/// Decoders that are never taken: libde265 1.0 of Debian 12 writes beyond its memory on 10 bits.
const REFUSED: [&str; 1] = ["libde265dec"];

/// The parser that says what some decoders want to know of the video.
fn parser(media_type: &str) -> Option<&'static str> {
    Some(match media_type {
        "video/x-h264" => "h264parse",
        "video/x-h265" => "h265parse",
        "video/x-h266" => "h266parse",
        "video/x-av1" => "av1parse",
        _ => return None,
    })
}

/// The elements that decode video with these caps, in order; `name` is the decoder that the user wants.
///
/// # Errors
/// What is missing.
pub fn elements(caps: &gst::Caps, name: Option<&str>) -> Result<Vec<gst::Element>, String> {
    let factory = match name {
        Some(name) => gst::ElementFactory::find(name).ok_or_else(|| format!("there is no element {name}"))?,
        None => find(caps).ok_or_else(|| format!("no installed element decodes {caps}"))?,
    };
    let decoder = factory.create().build().map_err(|e| e.to_string())?;
    // More threads would hold a picture back each; pictures of features are small.
    if factory.name().starts_with("avdec_") && decoder.has_property("max-threads") {
        decoder.set_property("max-threads", 1i32);
    }
    let mut elements = vec![decoder];
    let media_type = caps.structure(0).map(|s| s.name().to_string()).unwrap_or_default();
    if !factory.can_sink_all_caps(caps)
        && let Some(parser) = parser(&media_type).and_then(|name| gst::ElementFactory::make(name).build().ok())
    {
        elements.insert(0, parser);
    }
    Ok(elements)
}

fn find(caps: &gst::Caps) -> Option<gst::ElementFactory> {
    let kind = gst::ElementFactoryType::DECODER;
    let all = gst::ElementFactory::factories_with_type(kind, gst::Rank::MARGINAL);
    let able: Vec<gst::ElementFactory> = all
        .into_iter()
        .filter(|f| f.can_sink_any_caps(caps) && !REFUSED.contains(&f.name().as_str()))
        // A bin of this plugin is no decoder of video.
        .filter(|f| {
            f.static_pad_templates().iter().any(|t| {
                t.direction() == gst::PadDirection::Src
                    && t.caps().can_intersect(&gst::Caps::new_empty_simple("video/x-raw"))
            })
        })
        .collect();
    let preferred = PREFERRED.iter().find_map(|name| able.iter().find(|f| f.name() == *name));
    preferred.or_else(|| able.iter().max_by_key(|f| f.rank())).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fcm_codec::picture::{Chroma, PictureFormat, VideoCodec};

    #[test]
    fn decoders_without_delay_are_preferred_and_a_missing_one_is_named() {
        gst::init().unwrap();
        let of = |codec| PictureFormat { codec, depth: 10, chroma: Chroma::Flat420, columns: 1, width: 64, height: 64 };
        let caps = crate::picture::video::caps(&of(VideoCodec::Hevc), (25, 1));
        if gst::ElementFactory::find("avdec_h265").is_some() {
            let elements = elements(&caps, None).unwrap();
            assert_eq!(elements.len(), 1);
            assert_eq!(elements[0].factory().unwrap().name(), "avdec_h265");
            assert_eq!(elements[0].property::<i32>("max-threads"), 1);
        } else {
            eprintln!("skipped: there is no element avdec_h265");
        }
        let caps = crate::picture::video::caps(&of(VideoCodec::Avc), (25, 1));
        if gst::ElementFactory::find("openh264dec").is_some() {
            let elements = elements(&caps, Some("openh264dec")).unwrap();
            assert_eq!(elements[0].factory().unwrap().name(), "h264parse", "openh264dec must know the profile");
        } else {
            eprintln!("skipped: there is no element openh264dec");
        }
        assert_eq!(elements(&caps, Some("nosuchdec")).unwrap_err(), "there is no element nosuchdec");
    }
}
