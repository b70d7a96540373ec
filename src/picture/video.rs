//! Caps of coded video.

use fcm_codec::picture::{PictureFormat, VideoCodec};
use fcm_codec::{Error, ErrorKind, Result};

/// Media type, stream format and alignment of a video codec.
const fn fields(codec: VideoCodec) -> (&'static str, Option<(&'static str, &'static str)>) {
    match codec {
        VideoCodec::Avc => ("video/x-h264", Some(("byte-stream", "au"))),
        VideoCodec::Hevc => ("video/x-h265", Some(("byte-stream", "au"))),
        VideoCodec::Vvc => ("video/x-h266", Some(("byte-stream", "au"))),
        VideoCodec::Av1 => ("video/x-av1", Some(("obu-stream", "tu"))),
        VideoCodec::Vp8 => ("video/x-vp8", None),
        VideoCodec::Vp9 => ("video/x-vp9", None),
        VideoCodec::Jpeg => ("image/jpeg", None),
    }
}

fn structure(codec: VideoCodec) -> gst::Structure {
    let (name, framing) = fields(codec);
    let (format, alignment) = framing.unzip();
    gst::Structure::builder(name).field_if_some("stream-format", format).field_if_some("alignment", alignment).build()
}

/// Pad template of coded video.
pub fn template() -> gst::Caps {
    VideoCodec::ALL.map(structure).into_iter().collect()
}

/// The codec of coded video with these caps.
///
/// # Errors
/// `InvalidInput` for other caps.
pub fn codec(caps: &gst::CapsRef) -> Result<VideoCodec> {
    let found = VideoCodec::ALL.into_iter().find(|&codec| gst::Caps::from(structure(codec)).can_intersect(caps));
    found.ok_or_else(|| {
        Error::new(ErrorKind::InvalidInput, format!("video {caps}, of which no access units can be made"))
    })
}

/// Caps of the video of a stream.
pub fn caps(format: &PictureFormat, framerate: (u32, u32)) -> gst::Caps {
    let part = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    let mut structure = structure(format.codec);
    structure.set("width", part(format.width));
    structure.set("height", part(format.height));
    structure.set("framerate", crate::caps::fraction(framerate));
    gst::Caps::from(structure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fcm_codec::picture::Chroma;

    fn format(codec: VideoCodec) -> PictureFormat {
        PictureFormat { codec, depth: 8, chroma: Chroma::Flat420, columns: 1, width: 64, height: 66 }
    }

    #[test]
    fn caps_of_every_codec_are_read_back() {
        gst::init().unwrap();
        for video in VideoCodec::ALL {
            let caps = caps(&format(video), (25, 1));
            assert!(caps.is_fixed() && caps.is_subset(&template()), "{caps}");
            assert_eq!(codec(&caps).unwrap(), video);
        }
        let other = gst::Caps::builder("video/x-h264").field("stream-format", "avc").build();
        assert!(codec(&other).unwrap_err().to_string().contains("avc"));
    }

    #[test]
    fn a_frame_rate_that_caps_cannot_say_is_unknown() {
        gst::init().unwrap();
        let caps = caps(&format(VideoCodec::Avc), (u32::MAX, 1));
        let rate = caps.structure(0).unwrap().get::<gst::Fraction>("framerate").unwrap();
        assert_eq!(rate, gst::Fraction::new(0, 1));
    }
}
