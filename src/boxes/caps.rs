//! `application/x-boxes`: boxes as text, a frame a buffer (docs/caps.md, "Boxes").

/// Media type of boxes.
pub const BOXES: &str = "application/x-boxes";

/// How boxes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoxFormat {
    /// A line of JSON a frame.
    Json,
    /// A line of MOTChallenge results a box.
    Mot,
}

impl BoxFormat {
    /// The name in caps.
    pub const fn name(self) -> &'static str {
        match self {
            BoxFormat::Json => "json",
            BoxFormat::Mot => "mot",
        }
    }
}

/// Fixed caps of boxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoxCaps {
    /// How they are written.
    pub format: BoxFormat,
    /// Frame rate, 0/1 is unknown.
    pub framerate: gst::Fraction,
    /// Size of the picture they are in, width and height in pixels, if the caps say it.
    pub picture: Option<(u32, u32)>,
}

/// Pad template for these formats.
pub fn template(formats: &[BoxFormat]) -> gst::Caps {
    let mut caps = gst::Caps::new_empty();
    let unshared = caps.make_mut();
    for format in formats {
        let rates = gst::FractionRange::new(gst::Fraction::new(0, 1), gst::Fraction::new(i32::MAX, 1));
        unshared.append_structure(
            gst::Structure::builder(BOXES).field("format", format.name()).field("framerate", rates).build(),
        );
    }
    caps
}

impl BoxCaps {
    /// Reads fixed caps; `Err` says what is wrong.
    pub fn parse(caps: &gst::CapsRef) -> Result<Self, String> {
        let s =
            caps.structure(0).filter(|s| s.name() == BOXES).ok_or_else(|| format!("caps {caps} are not {BOXES}"))?;
        let format = match s.get::<Option<String>>("format").ok().flatten().as_deref() {
            Some("json") => BoxFormat::Json,
            Some("mot") => BoxFormat::Mot,
            other => return Err(format!("format={}, legal are json and mot", other.unwrap_or("missing"))),
        };
        let side =
            |field: &str| s.get::<i32>(field).ok().and_then(|side| u32::try_from(side).ok()).filter(|&side| side > 0);
        Ok(Self {
            format,
            framerate: s.get("framerate").unwrap_or(gst::Fraction::new(0, 1)),
            picture: side("width").zip(side("height")),
        })
    }
}

/// The structure of caps for `format` with what `like` says of the frame rate and, if it are boxes, of the picture.
pub fn structure_like(format: BoxFormat, like: &gst::StructureRef) -> gst::Structure {
    let mut s = gst::Structure::builder(BOXES).field("format", format.name()).build();
    let described: &[&str] = if like.name() == BOXES { &["framerate", "width", "height"] } else { &["framerate"] };
    for &field in described {
        if let Ok(value) = like.value(field) {
            s.set_value(field, value.clone());
        }
    }
    s
}

/// What of `caps` passes a filter, in the filter's order.
pub fn filtered(caps: gst::Caps, filter: Option<&gst::Caps>) -> gst::Caps {
    match filter {
        Some(filter) => filter.intersect_with_mode(&caps, gst::CapsIntersectMode::First),
        None => caps,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr;

    #[test]
    fn caps_are_read_and_what_is_wrong_is_named() {
        gst::init().unwrap();
        let parse = |text: &str| BoxCaps::parse(&gst::Caps::from_str(text).unwrap());
        let found = parse("application/x-boxes,format=mot,framerate=25/1,width=640,height=480").unwrap();
        let framerate = gst::Fraction::new(25, 1);
        assert_eq!(found, BoxCaps { format: BoxFormat::Mot, framerate, picture: Some((640, 480)) });
        let found = parse("application/x-boxes,format=json,width=640,height=0").unwrap();
        assert_eq!((found.framerate, found.picture), (gst::Fraction::new(0, 1), None));
        assert!(parse("application/x-boxes").unwrap_err().contains("format=missing, legal are json and mot"));
        assert!(parse("application/x-boxes,format=xml").unwrap_err().contains("format=xml"));
        assert!(parse("video/x-raw").unwrap_err().contains("are not application/x-boxes"));
    }
}
