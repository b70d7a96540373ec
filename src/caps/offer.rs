//! Raw caps that are not fixed: templates, what a decoder could send, what it chooses.

use super::raw::{dimensions, raw_structure, spellings, type_names, types};
use super::{Framerate, RAW, TensorFormat, TensorInfo, fraction};
use crate::statistics_meta;
use gst::glib;
use gst::prelude::*;

/// Most tensors that the caps may announce.
const MAX_TENSORS: i32 = 256;

/// Both forms of a structure: plain, and with the feature that says the statistics meta is on every buffer.
fn append_both(caps: &mut gst::CapsRef, s: gst::Structure) {
    caps.append_structure(s.clone());
    caps.append_structure_full(s, Some(gst::CapsFeatures::new([statistics_meta::FEATURE])));
}

/// Pad template of raw tensors.
pub fn raw_template() -> gst::Caps {
    let mut caps = gst::Caps::new_empty();
    let unshared = caps.make_mut();
    let rates = gst::FractionRange::new(gst::Fraction::new(0, 1), gst::Fraction::new(i32::MAX, 1));
    for format in [TensorFormat::Static, TensorFormat::Flexible] {
        let mut s = gst::Structure::builder(RAW).field("format", format.name()).field("framerate", rates).build();
        if format == TensorFormat::Static {
            s.set("num_tensors", gst::IntRange::new(1, MAX_TENSORS));
        }
        append_both(unshared, s);
    }
    caps
}

/// Everything that a decoder of these tensors could send, for a caps query.
pub fn raw_offer(tensors: &[TensorInfo], rate: Framerate) -> gst::Caps {
    let mut caps = gst::Caps::new_empty();
    let unshared = caps.make_mut();
    let types = type_names(tensors);
    let mut offer = |mut s: gst::Structure| {
        if rate.0 > 0 {
            s.set("framerate", fraction(rate));
        }
        append_both(unshared, s);
    };
    for dimensions in spellings(tensors) {
        offer(raw_structure(TensorFormat::Static, tensors, &dimensions, &types));
    }
    offer(raw_structure(TensorFormat::Flexible, tensors, "", ""));
    caps
}

/// All values that a field of unfixed caps may have, as far as they are listed.
fn alternatives(value: &glib::SendValue) -> Vec<&glib::SendValue> {
    match value.get::<gst::ListRef<'_>>() {
        Ok(listed) => listed.as_slice().iter().collect(),
        Err(_) => vec![value],
    }
}

/// Whether raw caps mean static tensors although they may not say so: flexible ones have none of these fields.
fn is_static(s: &gst::StructureRef) -> bool {
    ["dimensions", "types", "num_tensors"].iter().any(|&field| s.has_field(field))
}

/// What of [`raw_offer`] passes a filter.
pub fn filter_offer(offer: &gst::Caps, filter: &gst::CapsRef) -> gst::Caps {
    let flexible = gst::Structure::builder(RAW).field("format", TensorFormat::Flexible.name()).build();
    let common = filter.intersect_with_mode(offer, gst::CapsIntersectMode::First);
    // A filter with dimensions but no format would otherwise turn the flexible offer into flexible caps with dimensions.
    let sensible = |(s, _): &(&gst::StructureRef, &gst::CapsFeaturesRef)| !(is_static(s) && s.can_intersect(&flexible));
    common.iter_with_features().filter(sensible).map(|(s, f)| (s.to_owned(), f.to_owned())).collect()
}

/// Chooses the raw caps that a decoder sends: `preferred` format first, in the words of the `peer` where they mean the same
/// tensors, else in those of `original`. `None` when the peer takes neither format.
///
/// Caps compare strings; `3:224:224` and `3:224:224:1` mean the same, so a peer's own string must be given back to it.
pub fn fixate_raw(
    tensors: &[TensorInfo],
    rate: Framerate,
    preferred: TensorFormat,
    original: Option<&gst::CapsRef>,
    peer: &gst::CapsRef,
) -> Option<(gst::Caps, TensorFormat)> {
    let means_ours =
        |value: &glib::SendValue| dimensions(value).is_ok_and(|d| d.iter().eq(tensors.iter().map(|t| &t.dimensions)));
    let types_ours =
        |value: &glib::SendValue| types(value).is_ok_and(|t| t.iter().eq(tensors.iter().map(|t| &t.dtype)));
    // The words of one structure for a field, if it has any and they mean ours.
    let words = |s: &gst::StructureRef, field: &str, ours: &dyn Fn(&glib::SendValue) -> bool| {
        s.value(field).ok().and_then(|v| alternatives(v).into_iter().find(|v| ours(v)).cloned())
    };
    let original = original.and_then(|caps| caps.structure(0));
    let usual = original
        .and_then(|s| words(s, "dimensions", &means_ours))
        .unwrap_or_else(|| spellings(tensors).swap_remove(0).to_send_value());

    for format in [preferred, preferred.other()] {
        let mut candidate = raw_structure(format, tensors, "", &type_names(tensors));
        if format == TensorFormat::Static {
            candidate.set_value("dimensions", usual.clone());
        }
        if rate.0 > 0 {
            candidate.set("framerate", fraction(rate));
        }
        if peer.is_any() {
            candidate.set("framerate", fraction(rate));
            return Some((gst::Caps::from(candidate), format));
        }
        for (s, features) in peer.iter_with_features().filter(|(s, _)| s.name() == RAW) {
            if format == TensorFormat::Flexible && is_static(s) {
                continue;
            }
            let mut candidate = candidate.clone();
            if format == TensorFormat::Static {
                for (field, ours) in
                    [("dimensions", &means_ours as &dyn Fn(&glib::SendValue) -> bool), ("types", &types_ours)]
                {
                    if let Some(theirs) = words(s, field, ours) {
                        candidate.set_value(field, theirs);
                    }
                }
            }
            let mut ours = gst::Caps::new_empty();
            append_both(ours.make_mut(), candidate);
            let mut theirs = gst::Caps::new_empty();
            theirs.make_mut().append_structure_full(s.to_owned(), Some(features.to_owned()));
            let mut common = ours.intersect_with_mode(&theirs, gst::CapsIntersectMode::First);
            if common.is_empty() {
                continue;
            }
            let chosen = common.make_mut();
            if let Some(s) = chosen.structure_mut(0) {
                if s.has_field("framerate") {
                    s.fixate_field_nearest_fraction("framerate", fraction(rate));
                } else {
                    s.set("framerate", fraction(rate));
                }
            }
            common.fixate();
            return Some((common, format));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::parse_raw;
    use super::super::tests::{caps, tensors};
    use super::*;
    use fcm_codec::Dtype;

    #[test]
    fn decoder_speaks_the_peers_spelling() {
        let ours = tensors(&[("3:224:224", Dtype::F32)]);
        for theirs in ["3:224:224", "3:224:224:1", "3:224:224:1:1:1:1:1", "3:224:224:1:1:1:1:1:1"] {
            let peer = caps(&format!(
                "other/tensors,format=static,num_tensors=1,types=float32,dimensions=(string){theirs},framerate=(fraction)[0/1,2147483647/1]"
            ));
            let (chosen, format) = fixate_raw(&ours, (25, 1), TensorFormat::Static, None, &peer).unwrap();
            assert_eq!(format, TensorFormat::Static);
            assert!(chosen.is_fixed() && chosen.is_subset(&peer), "{chosen} is not {peer}");
            assert_eq!(parse_raw(&chosen).unwrap().framerate, (25, 1));
        }
        let vector = tensors(&[("10", Dtype::F32)]);
        let peer = caps("other/tensors,format=static,dimensions=10,types=float32");
        let (chosen, _) = fixate_raw(&vector, (0, 1), TensorFormat::Static, None, &peer).unwrap();
        assert!(chosen.is_subset(&peer), "{chosen} is not {peer}");
    }

    #[test]
    fn decoder_refuses_what_means_other_tensors() {
        let ours = tensors(&[("3:224:224", Dtype::F32)]);
        for other in [
            "other/tensors,format=static,dimensions=(string)224:224:3",
            "other/tensors,format=static,types=float16",
            "other/tensors,dimensions=(string)224:224:3",
            "other/tensors,format=static,num_tensors=2",
            "other/tensors,format=static,framerate=30/1",
            "other/tensors(memory:DMABuf),format=static",
            "other/tensors,format=sparse",
            "video/x-raw",
        ] {
            let chosen = fixate_raw(&ours, (25, 1), TensorFormat::Static, None, &caps(other));
            assert_eq!(chosen, None, "{other}");
        }
    }

    #[test]
    fn peer_decides_format_feature_and_unknown_rate() {
        let ours = tensors(&[("3:224:224", Dtype::F32)]);
        let flexible = caps("other/tensors,format=flexible");
        let (chosen, format) = fixate_raw(&ours, (25, 1), TensorFormat::Static, None, &flexible).unwrap();
        assert_eq!(
            (format, chosen.to_string()),
            (TensorFormat::Flexible, caps("other/tensors,format=flexible,framerate=25/1").to_string())
        );
        let feature = caps("other/tensors(meta:GstFcmStatisticsMeta)");
        let (chosen, format) = fixate_raw(&ours, (25, 1), TensorFormat::Static, None, &feature).unwrap();
        assert_eq!(format, TensorFormat::Static);
        assert!(chosen.features(0).unwrap().contains(statistics_meta::FEATURE));
        let (chosen, _) =
            fixate_raw(&ours, (0, 1), TensorFormat::Static, None, &caps("other/tensors,framerate=30/1")).unwrap();
        assert_eq!(parse_raw(&chosen).unwrap().framerate, (30, 1));
        let (chosen, _) = fixate_raw(&ours, (0, 1), TensorFormat::Static, None, &raw_template()).unwrap();
        assert_eq!(parse_raw(&chosen).unwrap().framerate, (0, 1));
        assert!(
            chosen.features(0).unwrap().is_equal(&gst::CapsFeatures::new_empty())
                || !chosen.features(0).unwrap().contains(statistics_meta::FEATURE)
        );
    }

    #[test]
    fn original_spelling_is_given_back_where_nobody_else_asks() {
        let ours = tensors(&[("3:224:224", Dtype::F32)]);
        let original = caps("other/tensors,format=static,types=float32,dimensions=(string)3:224:224");
        let any = gst::Caps::new_any();
        let (chosen, _) = fixate_raw(&ours, (25, 1), TensorFormat::Static, Some(&original), &any).unwrap();
        assert_eq!(chosen.structure(0).unwrap().get::<String>("dimensions").unwrap(), "3:224:224");
        let lying = caps("other/tensors,format=static,types=float32,dimensions=(string)9:9:9");
        let (chosen, _) = fixate_raw(&ours, (25, 1), TensorFormat::Static, Some(&lying), &any).unwrap();
        assert_eq!(chosen.structure(0).unwrap().get::<String>("dimensions").unwrap(), "3:224:224:1");
    }

    #[test]
    fn offer_holds_every_spelling() {
        gst::init().unwrap();
        let offer = raw_offer(&tensors(&[("3:224:224", Dtype::F32)]), (25, 1));
        for dimensions in ["3:224:224", "3:224:224:1"] {
            let peer = format!("other/tensors,format=static,dimensions=(string){dimensions}");
            assert!(offer.can_intersect(&caps(&peer)), "{dimensions}");
        }
        assert!(offer.can_intersect(&caps("other/tensors(meta:GstFcmStatisticsMeta),format=flexible")));
        assert!(!offer.can_intersect(&caps("other/tensors,format=static,dimensions=(string)9:224:224")));
        assert!(filter_offer(&offer, &caps("other/tensors,dimensions=(string)9:224:224")).is_empty());
        assert_eq!(filter_offer(&offer, &caps("other/tensors,dimensions=(string)3:224:224")).size(), 1);
    }
}
