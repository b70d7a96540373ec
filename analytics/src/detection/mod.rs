//! From a network's outputs to boxes.

pub mod heads;
mod nms;
mod response;

use crate::geometry::Rect;
use crate::{Error, Result};
use heads::{Candidates, Filter, Visit};
pub use nms::suppress;
pub use response::Response;

/// What a detector found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// Where.
    pub rect: Rect,
    /// How sure it is, 0 to 1.
    pub score: f32,
    /// Number of the class.
    pub class: u16,
}

/// What the outputs of the network mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Head {
    /// YOLOX: see [`heads::yolox`].
    #[default]
    Yolox,
    /// NanoDet and PicoDet: see [`heads::nanodet`].
    NanoDet,
}

/// One output of the network.
#[derive(Debug, Clone, Copy)]
pub struct Tensor<'a> {
    /// Dimensions, outermost first. Ones at the front mean nothing.
    pub dims: &'a [usize],
    /// Values, the last dimension innermost.
    pub values: &'a [f32],
}

/// Settings of a [`Detector`].
#[derive(Debug, Clone, PartialEq)]
pub struct DetectorConfig {
    /// What the outputs mean.
    pub head: Head,
    /// Width and height of the network's input in pixels, 1 to 65536 each.
    pub input: (u32, u32),
    /// Pixels between cells, one number for each scale in the order of the outputs, 1 to 8 numbers from 1 to 1024.
    pub strides: Vec<u32>,
    /// Boxes with a lower score, and those exactly at it, are left out: 0 to 1.
    pub score_threshold: f32,
    /// Of two boxes of a class that overlap more than this, the one with the lower score is left out: 0 to 1.
    pub iou_threshold: f32,
    /// Most boxes of a picture, those with the highest scores: 1 to 1500.
    pub max_detections: usize,
    /// The classes that are wanted, all when `None`. A cell's box has the best one of them.
    pub classes: Option<Vec<u16>>,
}

impl Default for DetectorConfig {
    fn default() -> Self {
        Self {
            head: Head::default(),
            input: (416, 416),
            strides: vec![8, 16, 32],
            score_threshold: 0.1,
            iou_threshold: 0.6,
            max_detections: 100,
            classes: None,
        }
    }
}

/// Most boxes that are compared with each other; the best are taken. The comparison is quadratic.
pub const MAX_CANDIDATES: usize = 1500;
const MAX_SIDE: u32 = 1 << 16;
const MAX_STRIDE: u32 = 1024;
const MAX_SCALES: usize = 8;

/// Finds boxes in the outputs of a network. Memory is taken with the first picture and kept.
#[derive(Debug, Clone)]
pub struct Detector {
    config: DetectorConfig,
    candidates: Candidates,
    found: Vec<Detection>,
}

fn setting(message: String) -> Error {
    Error::Setting(message)
}

impl Detector {
    /// A detector.
    ///
    /// # Errors
    /// `Setting`, naming the value and what is legal.
    pub fn new(config: DetectorConfig) -> Result<Self> {
        let (width, height) = config.input;
        if ![width, height].iter().all(|side| (1..=MAX_SIDE).contains(side)) {
            return Err(setting(format!("network input of {width}x{height}, legal are sides from 1 to {MAX_SIDE}")));
        }
        if config.strides.is_empty() || config.strides.len() > MAX_SCALES {
            return Err(setting(format!("{} strides, legal are 1 to {MAX_SCALES}", config.strides.len())));
        }
        if let Some(stride) = config.strides.iter().find(|&&stride| !(1..=MAX_STRIDE).contains(&stride)) {
            return Err(setting(format!("stride of {stride} pixels, legal are 1 to {MAX_STRIDE}")));
        }
        for (name, value) in [("score", config.score_threshold), ("IoU", config.iou_threshold)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(setting(format!("{name} threshold of {value}, legal are 0 to 1")));
            }
        }
        if !(1..=MAX_CANDIDATES).contains(&config.max_detections) {
            return Err(setting(format!(
                "at most {} detections, legal are 1 to {MAX_CANDIDATES}",
                config.max_detections
            )));
        }
        if config.classes.as_ref().is_some_and(Vec::is_empty) {
            return Err(setting("an empty list of classes, nothing would be found".into()));
        }
        Ok(Self { config, candidates: Candidates::default(), found: Vec::new() })
    }

    /// The settings.
    pub fn config(&self) -> &DetectorConfig {
        &self.config
    }

    /// The boxes in the outputs of one picture, in pixels of the network's input, highest score first.
    /// Scores and boxes that are not finite numbers are left out.
    ///
    /// # Errors
    /// `Tensors`, when they are not those of such a head with such an input, naming both sizes.
    pub fn decode(&mut self, tensors: &[Tensor<'_>]) -> Result<&[Detection]> {
        let filter = Filter { threshold: self.config.score_threshold, classes: self.config.classes.as_deref() };
        self.candidates.clear();
        let candidates = &mut self.candidates;
        cells(&self.config, tensors, &mut |object, classes, rect| candidates.see(&filter, object, classes, rect))?;
        self.found.clear();
        self.found.extend_from_slice(self.candidates.best(MAX_CANDIDATES));
        nms::suppress(&mut self.found, self.config.iou_threshold);
        self.found.truncate(self.config.max_detections);
        Ok(&self.found)
    }
}

/// Gives every cell of the outputs of a head to `visit`.
fn cells(config: &DetectorConfig, tensors: &[Tensor<'_>], visit: &mut Visit<'_>) -> Result<()> {
    for (n, tensor) in tensors.iter().enumerate() {
        let product = tensor.dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
        if product != Some(tensor.values.len()) {
            let (dims, found) = (tensor.dims, tensor.values.len());
            return Err(Error::Tensors(format!("output {n} of dimensions {dims:?} has {found} values")));
        }
    }
    match config.head {
        Head::Yolox => heads::yolox::cells(tensors, config, visit),
        Head::NanoDet => heads::nanodet::cells(tensors, config, visit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_refused_by_name() {
        let error = |change: fn(&mut DetectorConfig)| {
            let mut config = DetectorConfig::default();
            change(&mut config);
            Detector::new(config).unwrap_err().to_string()
        };
        assert!(error(|c| c.input = (0, 5)).contains("0x5"));
        assert!(error(|c| c.input.1 = 70000).contains("416x70000"));
        assert!(error(|c| c.strides.clear()).contains("0 strides"));
        assert!(error(|c| c.strides = vec![1; 9]).contains("9 strides"));
        assert!(error(|c| c.strides[1] = 0).contains("stride of 0"));
        assert!(error(|c| c.score_threshold = f32::NAN).contains("score threshold of NaN"));
        assert!(error(|c| c.iou_threshold = 1.5).contains("IoU threshold of 1.5"));
        assert!(error(|c| c.max_detections = 0).contains("at most 0"));
        assert!(error(|c| c.classes = Some(vec![])).contains("empty list"));
    }

    #[test]
    fn values_that_do_not_fill_the_dimensions_are_refused() {
        let mut detector = Detector::new(DetectorConfig::default()).unwrap();
        let error = detector.decode(&[Tensor { dims: &[1, 2, 3], values: &[0.0; 5] }]).unwrap_err();
        assert_eq!(error.to_string(), "output 0 of dimensions [1, 2, 3] has 5 values");
        assert!(detector.decode(&[Tensor { dims: &[usize::MAX, 2], values: &[] }]).is_err());
    }
}
