//! Runs the networks of learned transforms (docs/bitstream.md §5.5) for the codec.

use crate::{Model, ModelOptions, Result, TensorSpec};
use fcm_codec::reduction::learned::{InferenceRuntime, PairShapes, ReductionModel, RestorationModel};
use fcm_codec::{Error, ErrorKind, Shape};
use std::path::PathBuf;

/// Most layers of a feature set.
const MAX_LAYERS: usize = 256;
/// What messages call the two networks.
const REDUCTION: &str = "reduction network";
const RESTORATION: &str = "restoration network";

/// ONNX Runtime, as the codec asks for it. The library is looked for ([`crate::library`]) when the first network is opened.
#[derive(Debug, Clone, Default)]
pub struct OnnxRuntime {
    /// The shared library; `None`: it is looked for.
    pub library: Option<PathBuf>,
    /// Directories in which to look for it first.
    pub library_dirs: Vec<PathBuf>,
}

impl OnnxRuntime {
    /// How many components a reduction network makes of such layers.
    ///
    /// # Errors
    /// When the network cannot be opened for them, or gives anything but one tensor of 1 × K × rows × columns.
    pub fn components(&self, reduction: &[u8], layers: &[Shape]) -> Result<u32> {
        let model = self.open(REDUCTION, reduction, layers, 1)?;
        let components = match model.outputs() {
            [TensorSpec { dims, .. }] => match dims[..] {
                [1, k, _, _] => u32::try_from(k).ok(),
                _ => None,
            },
            _ => None,
        };
        components.ok_or_else(|| {
            crate::Error::Shape(format!(
                "the {REDUCTION} gives {}, one tensor of 1×K×rows×columns is legal",
                listed(model.outputs().iter().map(|spec| spec.dims.clone()))
            ))
        })
    }

    fn open(&self, name: &str, network: &[u8], inputs: &[Shape], threads: usize) -> Result<Model> {
        let inputs: Vec<Vec<usize>> = inputs.iter().map(dims).collect();
        let options = ModelOptions {
            threads,
            library: self.library.clone(),
            library_dirs: self.library_dirs.clone(),
            ..ModelOptions::default()
        };
        Model::from_bytes(name, network, &inputs, &options)
    }

    /// Opens a network and holds what comes out of it against `outputs`.
    fn open_for(
        &self,
        name: &str,
        network: &[u8],
        inputs: &[Shape],
        outputs: &[Shape],
        threads: usize,
    ) -> Result<Model, Error> {
        let model = self.open(name, network, inputs, threads).map_err(unusable)?;
        let (given, expected) = (model.outputs().iter().map(|s| s.dims.clone()), outputs.iter().map(dims));
        if given.clone().eq(expected.clone()) {
            return Ok(model);
        }
        let (given, expected) = (listed(given), listed(expected));
        Err(Error::new(ErrorKind::Transform, format!("the {name} gives {given}, these layers need {expected}")))
    }
}

/// Dimensions of a tensor, the batch of 1 in front.
fn dims(shape: &Shape) -> Vec<usize> {
    [1, shape.channels(), shape.height(), shape.width()].map(|n| n as usize).to_vec()
}

fn listed(shapes: impl Iterator<Item = Vec<usize>>) -> String {
    let text = |dims: Vec<usize>| dims.iter().map(usize::to_string).collect::<Vec<_>>().join("×");
    shapes.map(text).collect::<Vec<_>>().join(", ")
}

fn unusable(error: crate::Error) -> Error {
    Error::new(ErrorKind::Transform, error.to_string())
}

impl InferenceRuntime for OnnxRuntime {
    fn open_reduction(
        &self,
        network: &[u8],
        shapes: &PairShapes,
        threads: usize,
    ) -> Result<Box<dyn ReductionModel>, Error> {
        let fused = std::slice::from_ref(&shapes.fused);
        Ok(Box::new(Reduction(self.open_for(REDUCTION, network, &shapes.layers, fused, threads)?)))
    }

    fn open_restoration(
        &self,
        network: &[u8],
        shapes: &PairShapes,
        threads: usize,
    ) -> Result<Box<dyn RestorationModel>, Error> {
        let fused = std::slice::from_ref(&shapes.fused);
        Ok(Box::new(Restoration(self.open_for(RESTORATION, network, fused, &shapes.layers, threads)?)))
    }
}

struct Reduction(Model);

impl ReductionModel for Reduction {
    fn reduce<'a>(&mut self, layer: &dyn Fn(usize) -> &'a [f32], fused: &mut [f32]) -> Result<(), Error> {
        let count = self.0.inputs().len().min(MAX_LAYERS);
        let mut layers: [&[f32]; MAX_LAYERS] = [&[]; MAX_LAYERS];
        layers[..count].iter_mut().enumerate().for_each(|(n, values)| *values = layer(n));
        let outputs = self.0.run(&layers[..count]).map_err(unusable)?;
        let planes = outputs.get(0).and_then(|values| values.get(..fused.len()));
        fused.copy_from_slice(planes.ok_or_else(|| missing(REDUCTION))?);
        Ok(())
    }
}

struct Restoration(Model);

impl RestorationModel for Restoration {
    fn restore(&mut self, fused: &[f32], take: &mut dyn FnMut(usize, &[f32])) -> Result<(), Error> {
        let outputs = self.0.run(&[fused]).map_err(unusable)?;
        for n in 0..outputs.len() {
            take(n, outputs.get(n).ok_or_else(|| missing(RESTORATION))?);
        }
        Ok(())
    }
}

fn missing(name: &str) -> Error {
    Error::new(ErrorKind::Transform, format!("the {name} gave fewer values than it announced"))
}
