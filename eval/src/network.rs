//! Networks: their description in a file, and their two halves at work.

use crate::accuracy::Thresholds;
use crate::cache::hash_file;
use anyhow::{Context, Result, bail, ensure};
use fcm_analytics::detection::{Detection, Detector, DetectorConfig, Head, Response, Tensor};
use fcm_analytics::geometry::Placement;
use fcm_analytics::tracking::Tracker;
use fcm_infer::{ChannelOrder, Model, ModelOptions, Picture, PictureFormat, PictureInput, Preprocess, Scaling};
use half::f16;
use half::slice::HalfFloatSliceExt;
use image::RgbImage;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What a description file says. docs/evaluation.md explains it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Description {
    /// What reports call the network.
    pub name: String,
    /// Model files of the two halves.
    #[serde(default)]
    pub front: Option<PathBuf>,
    /// The back half's.
    #[serde(default)]
    pub back: Option<PathBuf>,
    /// Or one model file and the tensors to cut it at.
    #[serde(default)]
    pub model: Option<PathBuf>,
    /// Names of those tensors.
    #[serde(default)]
    pub cut: Vec<String>,
    /// What is done to pictures.
    #[serde(default)]
    pub picture: PictureDescription,
    /// What the outputs mean.
    #[serde(default)]
    pub head: HeadDescription,
    /// What of its boxes is tracked.
    #[serde(default)]
    pub tracker: Thresholds,
}

/// From a picture to the input tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct PictureDescription {
    scaling: ScalingName,
    pad: u8,
    channels: ChannelsName,
    mean: [f32; 3],
    std: [f32; 3],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ScalingName {
    Stretch,
    Letterbox,
    LetterboxCentred,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ChannelsName {
    Rgb,
    Bgr,
}

impl Default for PictureDescription {
    fn default() -> Self {
        Self { scaling: ScalingName::Letterbox, pad: 114, channels: ChannelsName::Bgr, mean: [0.0; 3], std: [1.0; 3] }
    }
}

impl PictureDescription {
    fn preprocess(&self) -> Preprocess {
        Preprocess {
            scaling: match self.scaling {
                ScalingName::Stretch => Scaling::Stretch,
                ScalingName::Letterbox => Scaling::Letterbox,
                ScalingName::LetterboxCentred => Scaling::LetterboxCentred,
            },
            pad_value: self.pad,
            channel_order: match self.channels {
                ChannelsName::Rgb => ChannelOrder::Rgb,
                ChannelsName::Bgr => ChannelOrder::Bgr,
            },
            mean: self.mean,
            std_dev: self.std,
        }
    }
}

/// From outputs to boxes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct HeadDescription {
    kind: HeadName,
    strides: Vec<u32>,
    /// Number of the class of persons.
    person: u16,
    score_threshold: f32,
    iou_threshold: f32,
    max_detections: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum HeadName {
    Yolox,
    NanoDet,
}

impl Default for HeadDescription {
    fn default() -> Self {
        // A low threshold: average precision looks at all boxes, the tracker has thresholds of its own.
        Self {
            kind: HeadName::Yolox,
            strides: vec![8, 16, 32],
            person: 0,
            score_threshold: 0.05,
            iou_threshold: 0.6,
            max_detections: 100,
        }
    }
}

/// A network whose files were found.
#[derive(Debug, Clone)]
pub struct Network {
    description: Description,
    front: ModelPart,
    back: ModelPart,
    library: Option<PathBuf>,
}

/// A model file and the part of it that is run.
#[derive(Debug, Clone)]
struct ModelPart {
    path: PathBuf,
    hash: String,
    inputs: Vec<String>,
    outputs: Vec<String>,
}

impl ModelPart {
    fn open(&self, threads: usize, library: Option<&Path>) -> Result<Model> {
        let options = ModelOptions {
            inputs: self.inputs.clone(),
            outputs: self.outputs.clone(),
            threads,
            library: library.map(Path::to_owned),
            ..ModelOptions::default()
        };
        Ok(Model::open(&self.path, &options)?)
    }

    fn key(&self) -> Value {
        json!({"file": self.hash, "inputs": self.inputs, "outputs": self.outputs})
    }
}

impl Network {
    /// Reads a description; its model files are looked for beside it and then in `folders`.
    ///
    /// # Errors
    /// When the file cannot be read, says something unknown, or a model file is nowhere.
    pub fn read(path: &Path, folders: &[PathBuf], library: Option<PathBuf>) -> Result<Self> {
        let context = || format!("network {}", path.display());
        let text = std::fs::read_to_string(path).with_context(context)?;
        let description: Description = match path.extension() {
            Some(e) if e == "json" => serde_json::from_str(&text).with_context(context)?,
            _ => toml::from_str(&text).with_context(context)?,
        };
        let mut places = vec![path.parent().unwrap_or(Path::new(".")).to_owned()];
        places.extend_from_slice(folders);
        Self::new(description, &places, library).with_context(context)
    }

    /// A network from its description; its model files are looked for in `folders`.
    ///
    /// # Errors
    /// As above.
    pub fn new(description: Description, folders: &[PathBuf], library: Option<PathBuf>) -> Result<Self> {
        let find = |name: &Path| -> Result<(PathBuf, String)> {
            let path = folders.iter().map(|f| f.join(name)).find(|p| p.is_file());
            let places = || folders.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(", ");
            let path = path.with_context(|| format!("no file {}, looked in {}", name.display(), places()))?;
            let hash = hash_file(&path)?;
            Ok((path, hash))
        };
        let part = |(path, hash): (PathBuf, String)| ModelPart { path, hash, inputs: Vec::new(), outputs: Vec::new() };
        let (front, back) = match (&description.front, &description.back, &description.model) {
            (Some(front), Some(back), None) => {
                ensure!(description.cut.is_empty(), "a cut of two halves; it belongs to a whole model");
                (part(find(front)?), part(find(back)?))
            }
            (None, None, Some(model)) => {
                ensure!(!description.cut.is_empty(), "a whole model without the tensors to cut it at");
                let whole = part(find(model)?);
                let front = ModelPart { outputs: description.cut.clone(), ..whole.clone() };
                (front, ModelPart { inputs: description.cut.clone(), ..whole })
            }
            _ => bail!("legal are either front and back or a whole model and its cut"),
        };
        let network = Self { description, front, back, library };
        Tracker::new(network.tracker().config())?;
        Ok(network)
    }

    /// What reports call it.
    pub fn name(&self) -> &str {
        &self.description.name
    }

    /// Which of its boxes are tracked.
    pub fn tracker(&self) -> Thresholds {
        self.description.tracker
    }

    /// What decides the features.
    pub fn front_key(&self) -> Value {
        json!({"front": self.front.key(), "picture": self.description.picture, "sources": env!("FCM_EVAL_NETWORK")})
    }

    /// What decides the detections, beside the features.
    pub fn back_key(&self) -> Value {
        json!({"back": self.back.key(), "head": self.description.head, "sources": env!("FCM_EVAL_NETWORK")})
    }

    /// Opens the front half.
    ///
    /// # Errors
    /// When the model is none, or does not take pictures.
    pub fn open_front(&self, threads: usize) -> Result<Front> {
        let model = self.front.open(threads, self.library.as_deref())?;
        let [spec] = model.inputs() else {
            bail!("the front half has {} inputs, it must have one, for pictures", model.inputs().len());
        };
        let input = PictureInput::new(spec, self.description.picture.preprocess())?;
        Ok(Front { input, model })
    }

    /// Opens the back half, for a front half whose outputs have these names.
    ///
    /// # Errors
    /// When the model is none, does not take these tensors, or its outputs are not those of the head.
    pub fn open_back(&self, features: &[String], input: (u32, u32), threads: usize) -> Result<Back> {
        let part = ModelPart { inputs: features.to_vec(), ..self.back.clone() };
        let model = part.open(threads, self.library.as_deref())?;
        let head = &self.description.head;
        let detector = Detector::new(DetectorConfig {
            head: match head.kind {
                HeadName::Yolox => Head::Yolox,
                HeadName::NanoDet => Head::NanoDet,
            },
            input,
            strides: head.strides.clone(),
            score_threshold: head.score_threshold,
            iou_threshold: head.iou_threshold,
            max_detections: head.max_detections,
            classes: Some(vec![head.person]),
        })?;
        let dims = model.outputs().iter().map(|o| o.dims.clone()).collect();
        Ok(Back { model, detector, dims, wide: Vec::new() })
    }
}

/// The front half at work: pictures to features.
pub struct Front {
    input: PictureInput,
    model: Model,
}

impl Front {
    /// Names and dimensions of the features.
    pub fn layers(&self) -> Vec<(String, Vec<usize>)> {
        self.model.outputs().iter().map(|o| (o.name.clone(), o.dims.clone())).collect()
    }

    /// Width and height of the network's input.
    pub fn size(&self) -> (u32, u32) {
        self.input.size()
    }

    /// Where a picture of this size lies in the input.
    ///
    /// # Errors
    /// When a side is 0.
    pub fn placement(&self, picture: (u32, u32)) -> Result<Placement> {
        Ok(self.input.placement(picture)?)
    }

    /// The features of a picture.
    ///
    /// # Errors
    /// When the runtime fails.
    pub fn run(&mut self, picture: &RgbImage) -> Result<Vec<Vec<f32>>> {
        let (width, height) = picture.dimensions();
        let picture = Picture::new(PictureFormat::Rgb, width, height, 3 * width as usize, picture.as_raw())?;
        let outputs = self.model.run(&[self.input.convert(&picture)?])?;
        Ok(outputs.iter().map(<[f32]>::to_vec).collect())
    }
}

/// The back half at work: features to persons.
pub struct Back {
    model: Model,
    detector: Detector,
    dims: Vec<Vec<usize>>,
    wide: Vec<Vec<f32>>,
}

impl Back {
    /// The persons in features of binary16, in pixels of the picture.
    ///
    /// # Errors
    /// When the runtime fails or the outputs are not those of the head.
    pub fn run_f16(&mut self, layers: &[Vec<f16>], placement: &Placement) -> Result<Vec<Detection>> {
        let mut wide = std::mem::take(&mut self.wide);
        wide.resize_with(layers.len(), Vec::new);
        for (to, from) in wide.iter_mut().zip(layers) {
            to.resize(from.len(), 0.0);
            from.convert_to_f32_slice(to);
        }
        let result = self.run(&wide, placement);
        self.wide = wide;
        result
    }

    /// The same for binary32.
    ///
    /// # Errors
    /// As above.
    pub fn run(&mut self, layers: &[Vec<f32>], placement: &Placement) -> Result<Vec<Detection>> {
        let inputs: Vec<&[f32]> = layers.iter().map(Vec::as_slice).collect();
        let outputs = self.model.run(&inputs)?;
        let tensors: Vec<Tensor<'_>> =
            self.dims.iter().zip(outputs.iter()).map(|(dims, values)| Tensor { dims, values }).collect();
        let found = self.detector.decode(&tensors)?;
        Ok(found.iter().map(|d| Detection { rect: placement.to_picture(d.rect), ..*d }).collect())
    }

    /// What the head makes of features, as numbers whose squared distances say what a change costs ([`Response`]). With `response` empty
    /// these are the features that changes are changes of.
    ///
    /// # Errors
    /// As above.
    pub fn respond(&mut self, layers: &[Vec<f32>], response: &mut Option<Response>) -> Result<Vec<f32>> {
        let inputs: Vec<&[f32]> = layers.iter().map(Vec::as_slice).collect();
        let outputs = self.model.run(&inputs)?;
        let tensors: Vec<Tensor<'_>> =
            self.dims.iter().zip(outputs.iter()).map(|(dims, values)| Tensor { dims, values }).collect();
        if response.is_none() {
            response.insert(Response::new(self.detector.clone())).set_picture(&tensors)?;
        }
        let response = response.as_ref().context("a picture")?;
        Ok(response.numbers(&tensors)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::Folder;

    fn description(text: &str) -> Result<Network> {
        let folder = Folder::new().unwrap();
        for name in ["f.onnx", "b.onnx", "w.onnx"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        let path = folder.path().join("n.toml");
        std::fs::write(&path, text).unwrap();
        Network::read(&path, &[], None)
    }

    #[test]
    fn halves_and_a_cut_model_are_both_descriptions() {
        let two = description("name = 'x'\nfront = 'f.onnx'\nback = 'b.onnx'\n[head]\nkind = 'nanodet'").unwrap();
        assert_eq!(two.name(), "x");
        let one = description("name = 'x'\nmodel = 'w.onnx'\ncut = ['p3', 'p4']").unwrap();
        assert_eq!((&one.front.outputs[1][..], &one.back.inputs[0][..]), ("p4", "p3"));
        assert_ne!(one.front_key(), two.front_key());
    }

    #[test]
    fn what_a_description_says_wrongly_is_named() {
        let error = |text: &str| format!("{:#}", description(text).unwrap_err());
        assert!(error("name = 'x'\nfront = 'f.onnx'").contains("either front and back or"));
        assert!(error("name = 'x'\nmodel = 'w.onnx'").contains("without the tensors"));
        assert!(error("name = 'x'\nfront = 'f.onnx'\nback = 'c.onnx'").contains("no file c.onnx"));
        assert!(error("name = 'x'\nfront = 'f.onnx'\nback = 'b.onnx'\n[head]\nstride = [8]").contains("stride"));
        assert!(error("name = 'x'\nfront = 'f.onnx'\nback = 'b.onnx'\n[picture]\nscaling = 'zoom'").contains("zoom"));
    }

    #[test]
    fn the_descriptions_of_the_repository_are_understood() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("networks");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            toml::from_str::<Description>(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            seen += 1;
        }
        assert!(seen >= 3);
    }
}
