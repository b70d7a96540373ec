//! YOLOX: one output `[1, cells, 5 + classes]`.
//!
//! Cells of all strides follow each other, row by row; a row of the output holds
//!
//! | column | value |
//! |---|---|
//! | 0, 1 | offset of the box's centre from the cell's corner, in strides |
//! | 2, 3 | logarithm of the box's width and height, in strides |
//! | 4 | probability that something is there |
//! | 5… | probability of every class if so |
//!
//! The score is the product of both probabilities. This is the raw output; networks exported with the decoding inside
//! have boxes in pixels and are something else.

use super::super::{DetectorConfig, Tensor};
use super::{Visit, grid, other_outputs, rows_and_columns};
use crate::Result;
use crate::geometry::Rect;

/// Columns before the classes.
const BOX_AND_OBJECT: usize = 5;
/// Sides are cut at e to this power, in strides, so that a wild value stays a finite box.
const LARGEST_LOG_SIDE: f32 = 12.0;

/// Gives every cell of the output to `visit`.
///
/// # Errors
/// `Tensors` when the output is not that of such a network.
pub fn cells(tensors: &[Tensor<'_>], config: &DetectorConfig, visit: &mut Visit<'_>) -> Result<()> {
    let cells: usize = config.strides.iter().map(|&stride| grid(config.input, stride)).map(|(w, h)| w * h).sum();
    let expected = || [format!("[1, {cells}, 5 + classes]")];
    let (values, columns) = match tensors {
        [tensor] => match rows_and_columns(tensor) {
            Some((rows, columns)) if rows == cells && columns > BOX_AND_OBJECT => (tensor.values, columns),
            _ => return Err(other_outputs("YOLOX", &expected(), tensors)),
        },
        _ => return Err(other_outputs("YOLOX", &expected(), tensors)),
    };
    let mut rows = values.chunks_exact(columns);
    for &stride in &config.strides {
        let (width, height) = grid(config.input, stride);
        let stride = stride as f32;
        for (cell, row) in rows.by_ref().take(width * height).enumerate() {
            visit(row[4], &row[BOX_AND_OBJECT..], &|| {
                let x = (row[0] + (cell % width) as f32) * stride;
                let y = (row[1] + (cell / width) as f32) * stride;
                let side = |log: f32| if log.is_nan() { log } else { log.min(LARGEST_LOG_SIDE).exp() * stride };
                let (w, h) = (side(row[2]), side(row[3]));
                Rect::new(x - w / 2.0, y - h / 2.0, w, h)
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::super::{Detector, DetectorConfig, Tensor};
    use crate::geometry::Rect;

    /// 32 × 16 pixels, strides 8 and 16: 4 × 2 and 2 × 1 cells; two classes.
    fn config() -> DetectorConfig {
        DetectorConfig { input: (32, 16), strides: vec![8, 16], ..DetectorConfig::default() }
    }

    fn output(rows: &[(usize, [f32; 7])]) -> Vec<f32> {
        let mut values = vec![0.0; 10 * 7];
        for (cell, row) in rows {
            values[cell * 7..][..7].copy_from_slice(row);
        }
        values
    }

    #[test]
    fn boxes_lie_where_cell_and_stride_put_them() {
        let values =
            output(&[(6, [0.25, 0.5, 0.0, 2f32.ln(), 0.8, 0.5, 0.75]), (9, [0.5, 0.5, 0.0, 0.0, 1.0, 0.5, 0.25])]);
        let mut detector = Detector::new(config()).unwrap();
        let found = detector.decode(&[Tensor { dims: &[1, 10, 7], values: &values }]).unwrap();
        assert_eq!(found.len(), 2);
        // Cell 6 of stride 8 is column 2, row 1: centre (18, 12), 8 x 16 pixels.
        assert_eq!((found[0].rect, found[0].class), (Rect::new(14.0, 4.0, 8.0, 16.0), 1));
        assert!((found[0].score - 0.6).abs() < 1e-6);
        // Cell 9 is column 1 of stride 16.
        assert_eq!((found[1].rect, found[1].class, found[1].score), (Rect::new(16.0, 0.0, 16.0, 16.0), 0, 0.5));
    }

    #[test]
    fn wanted_classes_are_chosen_among_themselves() {
        let values = output(&[(0, [0.5, 0.5, 0.0, 0.0, 1.0, 0.4, 0.9])]);
        let mut detector = Detector::new(DetectorConfig { classes: Some(vec![0]), ..config() }).unwrap();
        let found = detector.decode(&[Tensor { dims: &[10, 7], values: &values }]).unwrap();
        assert_eq!((found[0].class, found[0].score), (0, 0.4));
        let mut detector = Detector::new(DetectorConfig { classes: Some(vec![7]), ..config() }).unwrap();
        assert!(detector.decode(&[Tensor { dims: &[10, 7], values: &values }]).unwrap().is_empty());
    }

    #[test]
    fn wild_numbers_give_no_box() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let values = output(&[
            (0, [nan, 0.5, 0.0, 0.0, 1.0, 1.0, 0.0]),
            (1, [0.5, 0.5, nan, 0.0, 1.0, 1.0, 0.0]),
            (2, [0.5, 0.5, 0.0, 0.0, nan, 1.0, 0.0]),
            (3, [0.5, 0.5, 0.0, 0.0, 1.0, nan, nan]),
            (4, [0.5, inf, 0.0, 0.0, 1.0, 1.0, 0.0]),
            (5, [0.5, 0.5, 0.0, 0.0, inf, 1.0, 0.0]),
            (8, [0.5, 0.5, inf, -inf, 1.0, 0.5, nan]),
        ]);
        let mut detector = Detector::new(config()).unwrap();
        let found = detector.decode(&[Tensor { dims: &[1, 10, 7], values: &values }]).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].rect.width > 2e6 && found[0].rect.height == 0.0);
    }

    #[test]
    fn other_outputs_are_refused_with_both_sizes() {
        let mut detector = Detector::new(config()).unwrap();
        let mut error = |tensors: &[Tensor<'_>]| detector.decode(tensors).unwrap_err().to_string();
        let says = "has outputs [1, 10, 5 + classes], found ";
        assert!(error(&[]).contains(&format!("{says}none")));
        assert!(error(&[Tensor { dims: &[1, 9, 7], values: &[0.0; 63] }]).contains(&format!("{says}[1, 9, 7]")));
        assert!(error(&[Tensor { dims: &[1, 10, 5], values: &[0.0; 50] }]).contains(&format!("{says}[1, 10, 5]")));
        assert!(error(&[Tensor { dims: &[2, 10, 6], values: &[0.0; 120] }]).contains(&format!("{says}[2, 10, 6]")));
        let one = Tensor { dims: &[10, 6], values: &[0.0; 60] };
        assert!(error(&[one, one]).contains(&format!("{says}[10, 6], [10, 6]")));
    }
}
