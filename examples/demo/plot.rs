//! The demo's picture: a frame without and with the codec, and accuracy at each rate.

use crate::chain::{self, Run};
use crate::street::Street;
use crate::{Accuracy, PERSON};
use anyhow::{Context, Result, anyhow};
use fcm_codec::StatisticsMode;
use plotters::coord::Shift;
use plotters::coord::combinators::BindKeyPoints;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;

const FONTS: [&str; 4] = [
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/usr/share/fonts/dejavu-sans-fonts/DejaVuSans.ttf",
    "/usr/share/fonts/TTF/DejaVuSans.ttf",
    "/usr/share/fonts/truetype/liberation/LiberationSans-Regular.ttf",
];
/// Space around everything and between the halves.
const MARGIN: u32 = 24;
/// Each of the two pictures; half as large again as they were rendered.
const PICTURE: (u32, u32) = (768, 432);
const HEAD: u32 = 64;
const CHARTS: u32 = 430;
const SIZE: (u32, u32) = (2 * PICTURE.0 + 3 * MARGIN, 2 * MARGIN + HEAD + PICTURE.1 + CHARTS);
const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const GREY: RGBColor = RGBColor(0x66, 0x66, 0x66);
const FAINT: RGBColor = RGBColor(0xe2, 0xe2, 0xe2);
const RESTORED: RGBColor = RGBColor(0x1f, 0x5f, 0xbf);
const PLAIN: RGBColor = RGBColor(0xe0, 0x82, 0x14);

type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;
type Measured = (Accuracy, Run);

fn text(size: i32, colour: RGBColor, h: HPos) -> TextStyle<'static> {
    ("sans", size).into_font().color(&colour).pos(Pos::new(h, VPos::Top))
}

/// Rates in the unit that people would say.
fn rate(kbit: f64) -> String {
    match kbit {
        k if k >= 1000.0 => format!("{:.1} Mbit/s", k / 1000.0),
        k if k >= 100.0 => format!("{k:.0} kbit/s"),
        k => format!("{k:.1} kbit/s"),
    }
}

/// Draws everything into a PNG file. `uncoded` and `coded` are the runs of the two pictures, `runs` all of them.
pub fn draw(path: &Path, street: &Street, uncoded: &Measured, coded: &Measured, runs: &[Measured]) -> Result<()> {
    let font = FONTS.iter().find_map(|f| std::fs::read(f).ok());
    let font = font.context("no font for the plot: install DejaVu Sans (Debian: fonts-dejavu-core)")?;
    // The plotting library keeps fonts for the rest of the process.
    plotters::style::register_font("sans", FontStyle::Normal, font.leak()).map_err(|_| anyhow!("unreadable font"))?;
    let area = BitMapBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;

    // Where the most persons are followed, there is the most to see.
    let persons = |n: &usize| uncoded.1.tracks[*n].objects.iter().filter(|o| o.class == PERSON).count();
    let frame = (0..street.pictures.len()).max_by_key(persons).context("no frames")?;
    let coding = coded.1.coding.as_ref().context("a coded run")?;
    let ratio = uncoded.1.kbit_per_second() / coded.1.kbit_per_second();
    let titles = [
        (uncoded, format!("Features uncompressed: {}", rate(uncoded.1.kbit_per_second()))),
        (
            coded,
            format!("Through fcmenc and fcmdec, qp {}: {}, {ratio:.0} times less", coding.qp, rate(coded.1.kbit_per_second())),
        ),
    ];
    for (n, ((accuracy, run), title)) in (0..).zip(titles) {
        let left = (MARGIN + n * (PICTURE.0 + MARGIN)) as i32;
        area.draw_text(&title, &text(21, INK, HPos::Left), (left, MARGIN as i32 - 6))?;
        let line = format!(
            "persons over the whole street: MOTA {:.2}, IDF1 {:.2}, AP50 {:.2}",
            accuracy.mota, accuracy.idf1, accuracy.ap50
        );
        area.draw_text(&line, &text(16, GREY, HPos::Left), (left, MARGIN as i32 + 24))?;
        let pixels = chain::overlay(street, frame, &run.tracks[frame], PICTURE)?;
        let at = (left, (MARGIN + HEAD - 8) as i32);
        let picture = BitMapElement::with_owned_buffer(at, PICTURE, pixels).context("a picture of another size")?;
        area.draw(&picture)?;
    }
    let (_, charts) = area.split_vertically(SIZE.1 - CHARTS);
    let charts = charts.split_evenly((1, 2));
    chart(&charts[0], "Tracking of persons at each rate", "MOTA", runs, |a| a.mota)?;
    chart(&charts[1], "Detection of persons at each rate", "AP50", runs, |a| a.ap50)?;
    area.present().with_context(|| path.display().to_string())?;
    Ok(())
}

fn chart(area: &Area<'_>, title: &str, what: &str, runs: &[Measured], of: impl Fn(&Accuracy) -> f64) -> Result<()> {
    let raw = of(&runs[0].0);
    let raw_rate = runs[0].1.kbit_per_second();
    let curve = |mode| {
        let these = runs.iter().filter(|(_, r)| r.coding.as_ref().is_some_and(|c| c.statistics == mode));
        let mut points: Vec<_> = these.map(|(a, r)| (r.kbit_per_second(), of(a))).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points
    };
    let (restored, plain) = (curve(StatisticsMode::ZScore), curve(StatisticsMode::None));
    let rates = restored.iter().chain(&plain).map(|p| p.0);
    let (low, high) = rates.fold((f64::MAX, 0.0f64), |(a, b), r| (a.min(r), b.max(r)));
    let values = restored.iter().chain(&plain).map(|p| p.1).chain([raw]);
    let (least, most) = values.fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(v), b.max(v)));
    let room = 0.12 * (most - least).max(0.05);
    // Ticks at round multiples of powers of ten: the library would only mark the powers.
    let powers = (-1..7).map(|e| 10f64.powi(e));
    let ticks = powers.flat_map(|p| [1.0, 2.0, 5.0].map(|m| m * p)).filter(|t| (low * 0.85..high * 1.2).contains(t));
    let mut chart = ChartBuilder::on(area)
        .caption(title, text(21, INK, HPos::Left))
        .margin(MARGIN)
        .x_label_area_size(52)
        .y_label_area_size(72)
        .build_cartesian_2d(
            (low * 0.85..high * 1.2).log_scale().with_key_points(ticks.collect()),
            least - room..most + 1.6 * room,
        )?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .x_labels(8)
        .y_labels(6)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.2}"))
        .x_desc("rate of the features, kbit/s (logarithmic)")
        .y_desc(what)
        .label_style(text(16, INK, HPos::Left))
        .axis_desc_style(text(17, INK, HPos::Left))
        .draw()?;
    chart
        .draw_series(DashedLineSeries::new([(low * 0.85, raw), (high * 1.2, raw)], 8, 6, GREY.stroke_width(2)))?
        .label(format!("uncompressed, {}", rate(raw_rate)))
        .legend(|(x, y)| PathElement::new([(x, y), (x + 8, y)], GREY.stroke_width(2)));
    let sets = [("statistics restored (z-score)", restored, RESTORED), ("statistics not restored", plain, PLAIN)];
    for (label, points, colour) in sets {
        chart.draw_series(points.iter().map(|p| Circle::new(*p, 5, colour.filled())))?;
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(3)))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.85))
        .border_style(FAINT)
        .label_font(text(16, INK, HPos::Left))
        .draw()?;
    Ok(())
}
