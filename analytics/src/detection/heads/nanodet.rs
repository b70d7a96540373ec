//! NanoDet and PicoDet: first `[1, cells, classes]` for every stride, then `[1, cells, 4 × bins]` for every stride. NanoDet-m
//! has the strides 8, 16 and 32, PicoDet 64 as well (its export without post-processing).
//!
//! The first kind holds the probability of every class, the second four distributions over whole distances from 0 to
//! `bins` − 1 strides (before softmax): from the cell's centre to the left, upper, right and lower edge of the box. Their
//! expectation is the distance. The centre of cell (column, row) is ((column + ½) · stride, (row + ½) · stride); measured
//! on real pictures, conventions half a pixel beside it are worse and corners useless.

use super::super::{DetectorConfig, Tensor};
use super::{Visit, check_count, grid, other_outputs, rows_and_columns};
use crate::Result;
use crate::geometry::Rect;

/// Expectation of a distribution given before softmax, in bins.
fn expectation(logits: &[f32]) -> f32 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (mut sum, mut mean) = (0.0, 0.0);
    for (bin, &logit) in logits.iter().enumerate() {
        let weight = (logit - most).exp();
        sum += weight;
        mean += weight * bin as f32;
    }
    mean / sum
}

/// Gives every cell of the outputs to `visit`. Edges are not cut at the picture's.
///
/// # Errors
/// `Tensors` when the outputs are not those of such a network.
pub fn cells(tensors: &[Tensor<'_>], config: &DetectorConfig, visit: &mut Visit<'_>) -> Result<()> {
    let grids = || config.strides.iter().map(|&stride| grid(config.input, stride));
    let expected = || -> Vec<String> {
        let output = |what: &'static str| grids().map(move |(w, h)| format!("[1, {}, {what}]", w * h));
        output("classes").chain(output("4 x bins")).collect()
    };
    if tensors.len() != 2 * config.strides.len() {
        check_count("NanoDet", &expected(), tensors)?;
    }
    let (classes, distances) = tensors.split_at(config.strides.len());
    // The widths of the outputs are the same for every stride.
    let mut widths = None;
    for ((class, distance), (columns, rows)) in classes.iter().zip(distances).zip(grids()) {
        let found = match (rows_and_columns(class), rows_and_columns(distance)) {
            (Some((a, classes)), Some((b, bins))) if a == columns * rows && b == a => Some((classes, bins)),
            _ => None,
        };
        let usable = found.is_some_and(|(classes, bins)| classes > 0 && bins >= 8 && bins % 4 == 0);
        if !usable || *widths.get_or_insert(found) != found {
            return Err(other_outputs("NanoDet", &expected(), tensors));
        }
    }
    let Some((columns, sides)) = widths.flatten() else { return Ok(()) };
    for (((class, distance), &stride), (width, _)) in classes.iter().zip(distances).zip(&config.strides).zip(grids()) {
        let stride = stride as f32;
        let rows = class.values.chunks_exact(columns).zip(distance.values.chunks_exact(sides));
        for (cell, (scores, logits)) in rows.enumerate() {
            visit(1.0, scores, &|| {
                let x = ((cell % width) as f32 + 0.5) * stride;
                let y = ((cell / width) as f32 + 0.5) * stride;
                let side = |n: usize| expectation(&logits[n * sides / 4..(n + 1) * sides / 4]) * stride;
                Rect::from_edges(x - side(0), y - side(1), x + side(2), y + side(3))
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::super::{Detector, DetectorConfig, Head, Tensor};
    use super::expectation;
    use crate::geometry::Rect;

    /// 32 × 16 pixels, strides 8 and 16: 4 × 2 and 2 × 1 cells; two classes, three bins.
    fn detector() -> Detector {
        Detector::new(DetectorConfig {
            head: Head::NanoDet,
            input: (32, 16),
            strides: vec![8, 16],
            ..DetectorConfig::default()
        })
        .unwrap()
    }

    /// Logits that put all weight on one bin a side.
    fn sides(bins: [usize; 4]) -> [f32; 12] {
        let mut logits = [0.0; 12];
        bins.iter().enumerate().for_each(|(side, bin)| logits[3 * side + bin] = 200.0);
        logits
    }

    #[test]
    fn boxes_reach_as_far_as_expected() {
        let (mut c8, mut d8, mut c16, mut d16) = ([0.0; 16], [0.0; 96], [0.0; 4], [0.0; 24]);
        c8[2 * 5 + 1] = 0.9;
        d8[12 * 5..][..12].copy_from_slice(&sides([1, 0, 2, 1]));
        c16[2] = 0.5;
        d16[12..][..12].copy_from_slice(&[0.0; 12]);
        let mut detector = detector();
        let found = detector
            .decode(&[
                Tensor { dims: &[1, 8, 2], values: &c8 },
                Tensor { dims: &[1, 2, 2], values: &c16 },
                Tensor { dims: &[1, 8, 12], values: &d8 },
                Tensor { dims: &[1, 2, 12], values: &d16 },
            ])
            .unwrap();
        // Cell 5 of stride 8 is column 1, row 1: centre (12, 12).
        assert_eq!((found[0].rect, found[0].score, found[0].class), (Rect::from_edges(4.0, 12.0, 28.0, 20.0), 0.9, 1));
        // Even distributions over 0, 1, 2 strides expect 1: cell 1 of stride 16, centre (24, 8).
        assert_eq!(found[1].rect, Rect::from_edges(8.0, -8.0, 40.0, 24.0));
        assert_eq!((found.len(), found[1].class), (2, 0));
    }

    /// 608 × 800 pixels, as PicoDet for pages has: 608 is no multiple of 64, the last column of cells reaches beyond the picture.
    #[test]
    fn a_fourth_stride_may_reach_beyond_the_picture() {
        let cells = [100 * 76, 50 * 38, 25 * 19, 13 * 10];
        let mut scores = cells.map(|n| vec![0.0; n]);
        let distances = cells.map(|n| vec![0.0; n * 32]);
        // Row 12, column 9 of stride 64: centre (608, 800). Even distributions over 0 to 7 strides expect 3.5.
        scores[3][129] = 0.8;
        let dims: Vec<_> = [1, 32].iter().flat_map(|width| cells.map(|n| [1, n, *width])).collect();
        let values = scores.iter().chain(&distances);
        let tensors: Vec<_> = dims.iter().zip(values).map(|(dims, values)| Tensor { dims, values }).collect();
        let config = DetectorConfig { input: (608, 800), strides: vec![8, 16, 32, 64], ..detector().config().clone() };
        let mut detector = Detector::new(config).unwrap();
        let found = detector.decode(&tensors).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].rect, Rect::from_edges(608.0 - 224.0, 800.0 - 224.0, 608.0 + 224.0, 800.0 + 224.0));
    }

    #[test]
    fn expectation_is_that_of_a_softmax() {
        assert_eq!(expectation(&[0.0; 8]), 3.5);
        let e = std::f32::consts::E;
        assert!((expectation(&[1.0, 2.0]) - e / (1.0 + e)).abs() < 1e-6);
        assert_eq!(expectation(&[-1e30, 1e30]), 1.0);
        assert!(expectation(&[f32::NAN, 0.0]).is_nan());
    }

    #[test]
    fn wild_numbers_give_no_box() {
        let (mut c8, mut d8) = ([0.0; 16], [0.0; 96]);
        c8[0] = f32::NAN;
        c8[2] = 1.0;
        d8[12] = f32::NAN;
        c8[4] = 1.0;
        d8[24..36].fill(f32::INFINITY);
        c8[6] = f32::INFINITY;
        let mut detector = detector();
        let found = detector
            .decode(&[
                Tensor { dims: &[8, 2], values: &c8 },
                Tensor { dims: &[2, 2], values: &[0.0; 4] },
                Tensor { dims: &[8, 12], values: &d8 },
                Tensor { dims: &[2, 12], values: &[0.0; 24] },
            ])
            .unwrap();
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn other_outputs_are_refused_with_both_sizes() {
        let mut detector = detector();
        let zeros = [0.0; 200];
        let mut error = |dims: &[[usize; 2]]| {
            let tensors: Vec<_> = dims.iter().map(|d| Tensor { dims: d, values: &zeros[..d[0] * d[1]] }).collect();
            detector.decode(&tensors).map(<[_]>::len).unwrap_err().to_string()
        };
        let says = "has outputs [1, 8, classes], [1, 2, classes], [1, 8, 4 x bins], [1, 2, 4 x bins], found ";
        assert!(error(&[[8, 2]]).contains(&format!("{says}[8, 2]")));
        assert!(error(&[[8, 2], [3, 2], [8, 12], [2, 12]]).contains(says));
        assert!(error(&[[8, 2], [2, 2], [8, 12], [2, 16]]).contains(says));
        assert!(error(&[[8, 2], [2, 2], [8, 13], [2, 13]]).contains(says));
        assert!(error(&[[8, 2], [2, 2], [2, 12], [8, 12]]).contains(says));
    }
}
