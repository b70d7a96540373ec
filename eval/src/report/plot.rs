//! Rate–accuracy curves as a picture: for each sequence one panel a measure and the legend.

use super::{Report, SequenceReport, chains, curve};
use crate::accuracy::NAMES;
use anyhow::{Context, Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::combinators::BindKeyPoints;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;
use std::sync::Mutex;

const FONTS: [&str; 4] = [
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/usr/share/fonts/dejavu-sans-fonts/DejaVuSans.ttf",
    "/usr/share/fonts/TTF/DejaVuSans.ttf",
    "/usr/share/fonts/truetype/liberation/LiberationSans-Regular.ttf",
];
/// Width and height of the panels of a sequence, title included.
const BLOCK: (u32, u32) = (1560, 980);
const TITLE: u32 = 60;
const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const FAINT: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
/// Colours that people with any colour vision tell apart (Okabe and Ito, then two dark ones of Tol), by the chain's place; the black is the
/// line of the uncompressed features.
const COLOURS: [RGBColor; 9] = [
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x88, 0x88, 0x88),
    RGBColor(0x33, 0x22, 0x88),
    RGBColor(0x88, 0x22, 0x55),
];

type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// Draws a report into a PNG file.
///
/// # Errors
/// When there is no font or the file cannot be written.
pub fn draw(path: &Path, report: &Report) -> Result<()> {
    register_font()?;
    let size = (BLOCK.0, BLOCK.1 * report.sequences.len() as u32);
    let area = BitMapBackend::new(path, size).into_drawing_area();
    area.fill(&WHITE)?;
    for (sequence, area) in report.sequences.iter().zip(area.split_evenly((report.sequences.len(), 1))) {
        block(&area, report, sequence)?;
    }
    area.present().with_context(|| format!("cannot write {}", path.display()))
}

/// The plotting library keeps fonts for the rest of the process.
fn register_font() -> Result<()> {
    static DONE: Mutex<bool> = Mutex::new(false);
    let mut done = DONE.lock().map_err(|_| anyhow!("another plot failed"))?;
    if !*done {
        let font = FONTS.iter().find_map(|f| std::fs::read(f).ok());
        let font = font.context("no font for the plot: install DejaVu Sans (Debian: fonts-dejavu-core)")?;
        plotters::style::register_font("sans", FontStyle::Normal, font.leak())
            .map_err(|_| anyhow!("unreadable font"))?;
        *done = true;
    }
    Ok(())
}

fn text(size: i32, h: HPos) -> TextStyle<'static> {
    ("sans", size).into_font().color(&INK).pos(Pos::new(h, VPos::Top))
}

/// Radius of what is left out of a hollow dot.
const HOLE: i32 = 2;

/// How a chain is drawn.
struct Style {
    colour: RGBColor,
    /// Remote chains have squares.
    square: bool,
    /// Chains for which no colour of their own is left have rings in place of dots.
    hollow: bool,
}

/// The chains that are curves, with their style.
fn curves(sequence: &SequenceReport) -> Vec<(&str, Style)> {
    let several = |c: &&str| sequence.rows.iter().filter(|r| r.chain == **c).count() > 1;
    let style = |(n, chain): (usize, _)| {
        let chain: &str = chain;
        let (colour, hollow) = (COLOURS[n % COLOURS.len()], n >= COLOURS.len());
        (chain, Style { colour, square: chain.starts_with("remote"), hollow })
    };
    chains(&sequence.rows).into_iter().filter(several).enumerate().map(style).collect()
}

fn block(area: &Area<'_>, report: &Report, sequence: &SequenceReport) -> Result<()> {
    let (head, body) = area.split_vertically(TITLE);
    head.draw_text(&format!("{}: {}", sequence.name, report.network), &text(26, HPos::Left), (28, 22))?;
    let panels = body.split_evenly((2, 3));
    let styles = curves(sequence);
    for (measure, name) in NAMES.iter().enumerate() {
        panel(&panels[measure], sequence, &styles, measure, name)?;
    }
    legend(&panels[NAMES.len()], sequence, &styles)
}

/// Round values between `low` and `high` on a logarithmic axis: the library would only mark the powers of ten.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let multiples: &[f64] = if high > 4.0 * low { &[1.0, 2.0, 5.0] } else { &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0] };
    let powers = (-3..10).map(|e| 10f64.powi(e));
    powers.flat_map(|p| multiples.iter().map(move |m| m * p)).filter(|t| (low..=high).contains(t)).collect()
}

fn panel(
    area: &Area<'_>,
    sequence: &SequenceReport,
    styles: &[(&str, Style)],
    measure: usize,
    name: &str,
) -> Result<()> {
    let lines: Vec<(Vec<(f64, f64)>, &Style)> = styles
        .iter()
        .map(|(chain, style)| {
            let mut points = curve(&sequence.rows, chain, measure);
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            (points, style)
        })
        .collect();
    let original = sequence.rows.iter().find(|r| r.chain == "uncompressed").and_then(|r| r.accuracy.values()[measure]);
    let points = || lines.iter().flat_map(|(points, _)| points.iter().copied());
    let (left, right) = points().fold((f64::MAX, 0.0f64), |(a, b), (r, _)| (a.min(r), b.max(r)));
    if right <= 0.0 {
        area.draw_text(&format!("{name}: no curves"), &text(20, HPos::Left), (28, 16))?;
        return Ok(());
    }
    let (left, right) = (left * 0.85, right * 1.18);
    let values = || points().map(|p| p.1).chain(original);
    let (bottom, top) = values().fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(v), b.max(v)));
    let margin = ((top - bottom) * 0.06).max(0.005);
    let mut chart = ChartBuilder::on(area)
        .caption(name, text(22, HPos::Left))
        .margin(16)
        .x_label_area_size(50)
        .y_label_area_size(58)
        .build_cartesian_2d(
            (left..right).log_scale().with_key_points(ticks(left, right)),
            bottom - margin..top + margin,
        )?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .x_labels(8)
        .x_label_formatter(&|x| if *x < 10.0 { format!("{x:.1}") } else { format!("{x:.0}") })
        .y_label_formatter(&|y| if top - bottom < 0.05 { format!("{y:.3}") } else { format!("{y:.2}") })
        .x_desc("kbit/s (logarithmic)")
        .label_style(text(15, HPos::Left))
        .axis_desc_style(text(15, HPos::Left))
        .draw()?;
    if let Some(original) = original {
        chart.draw_series(DashedLineSeries::new([(left, original), (right, original)], 8, 6, INK.stroke_width(1)))?;
    }
    for (points, style) in &lines {
        chart.draw_series(LineSeries::new(points.iter().copied(), style.colour.stroke_width(2)))?;
        if style.square {
            let square =
                |p: &(f64, f64)| EmptyElement::at(*p) + Rectangle::new([(-4, -4), (4, 4)], style.colour.filled());
            chart.draw_series(points.iter().map(square))?;
        } else {
            chart.draw_series(points.iter().map(|p| Circle::new(*p, 4, style.colour.filled())))?;
        }
        if style.hollow {
            chart.draw_series(points.iter().map(|p| Circle::new(*p, HOLE, WHITE.filled())))?;
        }
    }
    Ok(())
}

fn legend(area: &Area<'_>, sequence: &SequenceReport, styles: &[(&str, Style)]) -> Result<()> {
    let (x, mut y) = (90, 52);
    for (chain, style) in styles {
        area.draw(&PathElement::new([(x, y), (x + 44, y)], style.colour.stroke_width(3)))?;
        if style.square {
            area.draw(&Rectangle::new([(x + 18, y - 4), (x + 26, y + 4)], style.colour.filled()))?;
        } else {
            area.draw(&Circle::new((x + 22, y), 4, style.colour.filled()))?;
        }
        if style.hollow {
            area.draw(&Circle::new((x + 22, y), HOLE, WHITE.filled()))?;
        }
        area.draw_text(chain, &text(19, HPos::Left), (x + 60, y - 10))?;
        y += 36;
    }
    // Chains of one point: their rate is far off the axis.
    for row in sequence.rows.iter().filter(|r| styles.iter().all(|(c, _)| *c != r.chain)) {
        let rate = format!("{} ({:.0} Mbit/s)", row.chain, row.kbit_s / 1000.0);
        if row.chain == "uncompressed" {
            for from in [x, x + 16, x + 32] {
                area.draw(&PathElement::new([(from, y), (from + 9, y)], INK.stroke_width(1)))?;
            }
            area.draw_text(&rate, &text(19, HPos::Left), (x + 60, y - 10))?;
        } else {
            area.draw_text(&format!("not shown: {rate}"), &text(16, HPos::Left), (x + 60, y - 8))?;
        }
        y += 36;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Row;
    use crate::report::tests::report;
    use crate::tests::Folder;

    #[test]
    fn curves_are_in_their_colours_in_a_picture_of_the_right_size() {
        let folder = Folder::new().unwrap();
        let path = folder.path().join("p.png");
        if let Err(e) = draw(&path, &report()) {
            assert!(e.to_string().contains("font"), "{e:#}");
            eprintln!("skipped: {e:#}");
            return;
        }
        let picture = image::open(&path).unwrap().into_rgb8();
        assert_eq!(picture.dimensions(), BLOCK);
        let count = |c: RGBColor| picture.pixels().filter(|p| p.0 == [c.0, c.1, c.2]).count();
        // Two chains with several points; the third colour belongs to nobody.
        assert!(count(COLOURS[0]) > 2000 && count(COLOURS[1]) > 2000);
        assert_eq!(count(COLOURS[2]), 0);
    }

    #[test]
    fn no_two_chains_look_alike() {
        let mut sequence = report().sequences.remove(0);
        let row = sequence.rows.iter().find(|r| r.chain != "uncompressed").expect("a coded chain").clone();
        let chain = |n: usize| [1.0, 2.0].map(|kbit_s| Row { chain: format!("fcm-{n}"), kbit_s, ..row.clone() });
        sequence.rows = (0..2 * COLOURS.len()).flat_map(chain).collect();
        let styles: Vec<_> = curves(&sequence).iter().map(|(_, s)| (s.colour.rgb(), s.hollow)).collect();
        assert_eq!(styles.len(), 2 * COLOURS.len());
        assert!((1..styles.len()).all(|n| !styles[..n].contains(&styles[n])), "{styles:?}");
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(30.0, 1100.0), [50.0, 100.0, 200.0, 500.0, 1000.0]);
        assert_eq!(ticks(90.0, 300.0), [100.0, 150.0, 200.0, 300.0]);
    }
}
