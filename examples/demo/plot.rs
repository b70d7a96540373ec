//! The demo's picture: one row of three charts for every set of features.

use crate::chain::{FRAME_RATE, Run};
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
const ROW: (u32, u32) = (1800, 520);
const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const FAINT: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
const RESTORED: RGBColor = RGBColor(0x1f, 0x5f, 0xbf);
const PLAIN: RGBColor = RGBColor(0xe0, 0x82, 0x14);
const RANDOM_ACCESS: RGBColor = RGBColor(0x14, 0x34, 0x6b);
const PREDICTED: RGBColor = RGBColor(0x8f, 0xb4, 0xe3);
const LAYERS: [RGBColor; 6] = [
    RGBColor(0x1b, 0x7f, 0x5c),
    RGBColor(0x7a, 0x4f, 0xb5),
    RGBColor(0xc2, 0x3b, 0x4e),
    RGBColor(0x6b, 0x6b, 0x6b),
    RGBColor(0xb0, 0x8a, 0x1e),
    RGBColor(0x2b, 0x8c, 0xbe),
];

/// One set of features and its runs.
pub struct Row<'a> {
    pub title: String,
    pub names: Vec<String>,
    pub runs: &'a [Run],
    /// Quantiser parameter of the two charts on the left.
    pub qp: u32,
}

impl Row<'_> {
    fn of(&self, mode: StatisticsMode) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(move |r| r.settings.statistics == mode)
    }

    fn at_qp(&self, mode: StatisticsMode) -> Result<&Run> {
        self.of(mode).find(|r| r.settings.qp == self.qp).context("no run at this qp")
    }
}

/// Draws `rows` into a PNG file.
pub fn draw(path: &Path, rows: &[Row<'_>]) -> Result<()> {
    let font = FONTS.iter().find_map(|f| std::fs::read(f).ok());
    let font = font.context("no font for the plot: install DejaVu Sans (Debian: fonts-dejavu-core)")?;
    // The plotting library keeps fonts for the rest of the process.
    plotters::style::register_font("sans", FontStyle::Normal, font.leak()).map_err(|_| anyhow!("unreadable font"))?;
    let area = BitMapBackend::new(path, (ROW.0, ROW.1 * rows.len() as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    for (row, area) in rows.iter().zip(area.split_evenly((rows.len(), 1))) {
        let (head, body) = area.split_vertically(46);
        head.draw_text(&row.title, &text(24, INK, HPos::Left), (24, 14))?;
        let charts = body.split_evenly((1, 3));
        rate(&charts[0], row)?;
        statistics(&charts[1], row)?;
        cosine(&charts[2], row)?;
    }
    area.present().with_context(|| path.display().to_string())?;
    Ok(())
}

fn text(size: i32, colour: RGBColor, h: HPos) -> TextStyle<'static> {
    ("sans", size).into_font().color(&colour).pos(Pos::new(h, VPos::Top))
}

type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

fn rate(area: &Area<'_>, row: &Row<'_>) -> Result<()> {
    let run = row.at_qp(StatisticsMode::ZScore)?;
    let kbit: Vec<f64> = run.coded.iter().map(|c| c.bytes as f64 * 8.0 / 1000.0).collect();
    let (n, top) = (kbit.len(), kbit.iter().copied().fold(0.0, f64::max) * 1.4);
    let mut chart = ChartBuilder::on(area)
        .caption(format!("Rate of every frame (qp {})", row.qp), text(20, INK, HPos::Left))
        .margin(16)
        .x_label_area_size(52)
        .y_label_area_size(72)
        .build_cartesian_2d(-0.5..n as f64 - 0.5, 0.0..top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .x_labels(8)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| if top < 10.0 { format!("{y:.1}") } else { format!("{y:.0}") })
        .x_desc("frame")
        .y_desc("kbit per frame")
        .label_style(text(16, INK, HPos::Left))
        .axis_desc_style(text(17, INK, HPos::Left))
        .draw()?;
    for (label, random_access, colour) in [("random access", true, RANDOM_ACCESS), ("predicted", false, PREDICTED)] {
        chart
            .draw_series(
                kbit.iter()
                    .zip(&run.coded)
                    .enumerate()
                    .filter(|(_, (_, c))| c.random_access == random_access)
                    .map(|(i, (k, _))| Rectangle::new([(i as f64 - 0.4, 0.0), (i as f64 + 0.4, *k)], colour.filled())),
            )?
            .label(label)
            .legend(move |(x, y)| Rectangle::new([(x, y - 6), (x + 14, y + 6)], colour.filled()));
    }
    let mean = kbit.iter().sum::<f64>() / n as f64;
    chart
        .draw_series(LineSeries::new([(-0.5, mean), (n as f64 - 0.5, mean)], PLAIN.stroke_width(2)))?
        .label(format!("mean: {:.1} kbit/s at {FRAME_RATE} frames/s", run.kbit_per_second()))
        .legend(|(x, y)| PathElement::new([(x, y), (x + 14, y)], PLAIN.stroke_width(2)));
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .label_font(text(15, INK, HPos::Left))
        .draw()?;
    Ok(())
}

fn statistics(area: &Area<'_>, row: &Row<'_>) -> Result<()> {
    let (plain, restored) = (row.at_qp(StatisticsMode::None)?, row.at_qp(StatisticsMode::ZScore)?);
    // Per layer two groups (mean, standard deviation) of two bars each, in percent.
    let bars = |run: &Run| -> Vec<f64> {
        run.layers.iter().flat_map(|l| [100.0 * l.mean_error(), 100.0 * l.std_error()]).collect()
    };
    let (plain, restored) = (bars(plain), bars(restored));
    let top = plain.iter().chain(&restored).copied().fold(0.0, f64::max).max(1e-6) * 1.3;
    let groups = plain.len() as f64;
    let mut chart = ChartBuilder::on(area)
        .caption(format!("Statistics error after decoding (qp {})", row.qp), text(20, INK, HPos::Left))
        .margin(16)
        .x_label_area_size(52)
        .y_label_area_size(72)
        .build_cartesian_2d(-0.5..groups - 0.5, 0.0..top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .x_labels(0)
        .y_desc("error, % of the standard deviation")
        .label_style(text(16, INK, HPos::Left))
        .axis_desc_style(text(17, INK, HPos::Left))
        .draw()?;
    let sets = [("not restored", &plain, PLAIN, -0.4), ("restored (z-score)", &restored, RESTORED, 0.02)];
    for (label, values, colour, from) in sets {
        let at = |i: usize| i as f64 + from;
        chart
            .draw_series(
                values
                    .iter()
                    .enumerate()
                    .map(|(i, v)| Rectangle::new([(at(i), 0.0), (at(i) + 0.38, *v)], colour.filled())),
            )?
            .label(label)
            .legend(move |(x, y)| Rectangle::new([(x, y - 6), (x + 14, y + 6)], colour.filled()));
        let number = text(13, INK, HPos::Center);
        chart.draw_series(values.iter().enumerate().map(|(i, v)| {
            let digits = if *v >= 10.0 {
                0
            } else if *v >= 0.095 {
                1
            } else {
                3
            };
            EmptyElement::at((at(i) + 0.19, *v)) + Text::new(format!("{v:.digits$}"), (0, -17), number.clone())
        }))?;
    }
    let plane = chart.plotting_area();
    for (i, name) in row.names.iter().enumerate() {
        for (k, what) in ["mean", "std dev"].iter().enumerate() {
            let at = (2 * i + k) as f64;
            plane.draw(&(EmptyElement::at((at, 0.0)) + Text::new(*what, (0, 7), text(15, INK, HPos::Center))))?;
        }
        let middle = 2.0 * i as f64 + 0.5;
        let label = format!("layer {name}");
        plane.draw(&(EmptyElement::at((middle, 0.0)) + Text::new(label, (0, 27), text(16, INK, HPos::Center))))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .label_font(text(15, INK, HPos::Left))
        .draw()?;
    Ok(())
}

fn cosine(area: &Area<'_>, row: &Row<'_>) -> Result<()> {
    let rates: Vec<f64> = row.runs.iter().map(Run::kbit_per_second).collect();
    let (low, high) = rates.iter().fold((f64::MAX, 0.0f64), |(a, b), r| (a.min(*r), b.max(*r)));
    let cosines = row.runs.iter().flat_map(|r| r.layers.iter().map(|l| l.cosine()));
    let worst = cosines.fold(1.0f64, f64::min);
    let floor = (worst - 0.08 * (1.0 - worst)).max(-1.0);
    // Ticks at round multiples of powers of ten: the library would only mark the powers.
    let multiples: &[f64] = if high > 4.0 * low { &[1.0, 2.0, 5.0] } else { &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0] };
    let powers = (-1..7).map(|e| 10f64.powi(e));
    let ticks = powers.flat_map(|p| multiples.iter().map(move |m| m * p)).filter(|t| (low..=high).contains(t));
    let mut chart = ChartBuilder::on(area)
        .caption("Likeness of the decoded tensors at each rate", text(20, INK, HPos::Left))
        .margin(16)
        .x_label_area_size(52)
        .y_label_area_size(72)
        .build_cartesian_2d(
            (low * 0.85..high * 1.2).log_scale().with_key_points(ticks.collect()),
            floor..1.0 + 0.02 * (1.0 - floor),
        )?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .x_labels(8)
        .x_label_formatter(&|x| if *x < 10.0 { format!("{x:.1}") } else { format!("{x:.0}") })
        .y_label_formatter(&|y| format!("{y:.2}"))
        .x_desc("rate of the stream, kbit/s (logarithmic)")
        .y_desc("cosine similarity to the original")
        .label_style(text(16, INK, HPos::Left))
        .axis_desc_style(text(17, INK, HPos::Left))
        .draw()?;
    for (n, name) in row.names.iter().enumerate() {
        let colour = LAYERS[n % LAYERS.len()];
        let curve = |mode| {
            let mut points: Vec<_> = row.of(mode).map(|r| (r.kbit_per_second(), r.layers[n].cosine())).collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            points
        };
        let restored = curve(StatisticsMode::ZScore);
        chart.draw_series(DashedLineSeries::new(curve(StatisticsMode::None), 7, 6, colour.stroke_width(2)))?;
        chart.draw_series(restored.iter().map(|p| Circle::new(*p, 4, colour.filled())))?;
        chart
            .draw_series(LineSeries::new(restored, colour.stroke_width(2)))?
            .label(format!("layer {name}"))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
    }
    chart
        .draw_series(std::iter::empty::<Circle<(f64, f64), i32>>())?
        .label("dashed: not restored")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 7, y)], INK.stroke_width(2)));
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.85))
        .label_font(text(15, INK, HPos::Left))
        .draw()?;
    Ok(())
}
