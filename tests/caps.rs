//! Caps of the elements against docs/caps.md: the tables there are read, not repeated.

mod common;

use anyhow::{Context, Result, ensure};
use common::*;
use fcm_codec::{ChannelOrder, Dtype, Shape};
use gst::prelude::*;
use gstfcm::caps::{self, CodedCaps};

const DOCUMENT: &str = include_str!("../docs/caps.md");

/// Cells of the table rows under a heading.
fn table(heading: &str) -> Vec<Vec<String>> {
    let section = DOCUMENT.split_once(heading).unwrap_or_else(|| panic!("no {heading} in docs/caps.md")).1;
    let rows = section.lines().skip_while(|l| !l.starts_with('|')).take_while(|l| l.starts_with('|'));
    rows.skip(2).map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// What stands between backquotes.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

fn in_words(shape: Shape) -> String {
    let plural = |n: u32, noun: &str| if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") };
    match shape {
        s if s.is_vector() => format!("vector of {}", s.channels()),
        s if s.height() == 1 && s.width() == 1 => format!("{} of 1 × 1", plural(s.channels(), "channel")),
        s => {
            let (c, h, w) = (plural(s.channels(), "channel"), plural(s.height(), "row"), plural(s.width(), "column"));
            format!("{c} of {h} × {w}")
        }
    }
}

#[test]
fn dimensions_mean_what_the_document_says() -> Result<()> {
    init();
    let rows = table("### Dimensions");
    ensure!(rows.len() >= 4, "{rows:?}");
    for row in rows {
        for dimensions in quoted(&row[0]) {
            let caps: gst::Caps =
                format!("other/tensors,format=static,types=float32,dimensions=(string){dimensions}").parse()?;
            let info = caps::parse_raw(&caps)?.tensors[0];
            for (order, expected) in [(ChannelOrder::Chw, &row[1]), (ChannelOrder::Hwc, &row[2])] {
                match info.dimensions.shape(order) {
                    Ok(shape) => assert_eq!(&in_words(shape), expected, "{dimensions} as {order:?}"),
                    Err(error) => {
                        let batch =
                            expected.strip_prefix("error: ").with_context(|| format!("{dimensions}: {error}"))?;
                        ensure!(error.to_string().contains(batch), "{error} is not {expected}");
                    }
                }
            }
        }
    }
    Ok(())
}

#[test]
fn coded_caps_have_the_documented_fields_and_no_others() -> Result<()> {
    init();
    let mut documented: Vec<String> =
        table("## Coded tensors").iter().flat_map(|row| quoted(&row[0])).map(str::to_owned).collect();
    let written = CodedCaps {
        framerate: (25, 1),
        inner_codec: Some("native".into()),
        statistics: Some(fcm_codec::StatisticsMode::ZScore),
        statistics_period: Some(0),
        transform: Some(fcm_codec::TransformId([7; 8])),
        codec_data: Some(vec![1]),
        original: Some(Features::one(Shape::vector(3)).caps()),
        ..CodedCaps::default()
    };
    let caps = written.to_caps();
    let mut fields: Vec<String> = caps.structure(0).context("structure")?.fields().map(|f| f.to_string()).collect();
    fields.sort();
    documented.sort();
    assert_eq!(fields, documented);
    Ok(())
}

#[test]
fn meta_has_the_documented_fields_and_no_others() -> Result<()> {
    let documented = table("## Statistics meta");
    let mut documented: Vec<&str> = documented.iter().flat_map(|row| quoted(&row[0])).collect();
    let unit = encode(&Features::small(), 1, &[]).1.remove(0);
    let meta = gst::meta::CustomMeta::from_buffer(&unit, "GstFcmStatisticsMeta")?;
    let mut fields: Vec<String> = meta.structure().fields().map(|f| f.to_string()).collect();
    fields.sort();
    documented.sort();
    assert_eq!(fields, documented);
    Ok(())
}

#[test]
fn ranks_are_the_documented_ones() -> Result<()> {
    init();
    for row in table("# Caps, metas") {
        let name = quoted(&row[0])[0];
        let rank = gst::ElementFactory::find(name).with_context(|| format!("no {name}"))?.rank();
        let expected = match row[3].as_str() {
            "none" => gst::Rank::NONE,
            "primary" => gst::Rank::PRIMARY,
            "primary + 1" => gst::Rank::PRIMARY + 1,
            "secondary" => gst::Rank::SECONDARY,
            other => anyhow::bail!("rank {other} of {name}"),
        };
        assert_eq!(rank, expected, "{name}");
    }
    Ok(())
}

#[test]
fn templates_of_encoder_and_decoder_mirror_each_other() -> Result<()> {
    init();
    let template = |element: &str, pad: &str| -> Result<gst::Caps> {
        let factory = gst::ElementFactory::find(element).context("factory")?;
        let found =
            factory.static_pad_templates().iter().find(|t| t.name_template() == pad).context("template")?.caps();
        Ok(found)
    };
    assert_eq!(template("fcmenc", "sink")?, template("fcmdec", "src")?);
    assert_eq!(template("fcmenc", "src")?, template("fcmdec", "sink")?);
    for required in ["other/tensors,format=static", "other/tensors(meta:GstFcmStatisticsMeta),format=flexible"] {
        let required: gst::Caps = required.parse()?;
        ensure!(template("fcmenc", "sink")?.can_intersect(&required), "{required}");
    }
    let sparse: gst::Caps = "other/tensors,format=sparse".parse()?;
    ensure!(!template("fcmenc", "sink")?.can_intersect(&sparse));
    Ok(())
}

#[test]
fn long_sets_keep_the_caps_short_and_still_decode() -> Result<()> {
    let features = Features::new(vec![(Shape::chw(2, 4, 4), Dtype::F16); 100]);
    let (caps, units) = encode(&features, 1, &[]);
    ensure!(caps.to_string().len() < caps::LONGEST_CAPS, "{} characters", caps.to_string().len());
    ensure!(!caps.structure(0).context("structure")?.has_field("original-caps"));
    let mut bench = decoder(&caps, &[]);
    bench.harness.push(units[0].clone())?;
    let sent = bench.src_caps().context("caps")?;
    assert_eq!(caps::parse_raw(&sent)?, caps::parse_raw(&features.caps())?);
    Ok(())
}
