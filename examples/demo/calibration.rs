//! The transform of the demo: learnt from other streets and fitted to what the network finds, as `fcm-eval calibrate` does.

use crate::chain::Network;
use crate::street::Street;
use anyhow::{Context, Result};
use fcm_analytics::detection::{Detection, Detector, DetectorConfig, Response, Tensor};
use fcm_analytics::metrics::Agreement;
use fcm_codec::reduction::calibrate::{Calibrator, IntraTrainer, SensitivityMeter};
use fcm_codec::{ChannelOrder, Layer, Layout, Limits, RestorationStrength, RestorationTrial, TensorRef, Transform};
use fcm_infer::{Model, ModelOptions};
use std::path::{Path, PathBuf};

/// Streets that are calibrated on, a frame of each.
pub const SCENES: u32 = 54;
const COMPONENTS: u32 = 256;
/// Directions of the features that the network is asked about, on every so many-th street. More of both is a little better.
const DIRECTIONS: u32 = 192;
const EVERY: usize = 6;
/// Boxes of this score and above begin tracks (chain.rs); how far layers are restored is judged by them.
const HIGH: f32 = 0.45;

/// Learns the transform and writes it where the elements can load it.
pub fn calibrate(network: &Network, out: &Path) -> Result<PathBuf> {
    let mut frames = Vec::new();
    let mut layout = None;
    network.features(&Street::calibration(SCENES)?, |caps, tensors| {
        layout = Some(layout_of(caps)?);
        frames.push(tensors);
        Ok(())
    })?;
    let layout = layout.context("no features came")?;
    let mut calibrator = Calibrator::new(layout.clone(), &Limits::default())?;
    frames.iter().try_for_each(|tensors| calibrator.add(&borrowed(tensors)))?;
    let samples = calibrator.samples();
    let moments = calibrator.moments()?;
    let directions = moments.transform(Some(DIRECTIONS))?;
    let mut meter = SensitivityMeter::new(&directions, layout.clone(), DIRECTIONS, &Limits::default())?;
    let mut back = Back::open(&network.back_file)?;
    for tensors in frames.iter().step_by(EVERY) {
        let mut response = None;
        meter.measure(&borrowed(tensors), |layers| back.respond(layers, &mut response))?;
    }
    let transform = moments.transform_for(Some(COMPONENTS), &meter)?;
    let mut trainer = IntraTrainer::new(&transform, layout.clone(), &Limits::default())?;
    frames.iter().try_for_each(|tensors| trainer.add(&borrowed(tensors)))?;
    let transform = trainer.finish()?;
    let strength = strength(&transform, layout, frames.iter().step_by(2), &mut back)?;
    let transform = transform.with_restoration(strength.into());
    let path = out.join("street.fcmt");
    std::fs::write(&path, transform.to_bytes()).with_context(|| path.display().to_string())?;
    println!(
        "Transform {}: {} of {} components, learnt from {samples} vectors and from how what the network finds moves with them",
        transform.id(),
        transform.components(),
        transform.dimension(),
    );
    println!(
        "Layers are restored by {} of the way: the network finds about as much as it does at best",
        strength.share()
    );
    Ok(path)
}

/// How far layers should be restored, told by what the network still finds in coarsely coded features.
fn strength<'a>(
    transform: &Transform,
    layout: Layout,
    frames: impl Iterator<Item = &'a Vec<Vec<f32>>>,
    back: &mut Back,
) -> Result<RestorationStrength> {
    let mut trial = RestorationTrial::new(transform, layout);
    let mut agreement = Agreement::new(RestorationTrial::VARIANTS, HIGH);
    for tensors in frames {
        agreement.picture(&back.find(tensors)?);
        trial.each(&borrowed(tensors), |variant, restored| {
            agreement.variant(variant, back.find(restored)?);
            anyhow::Ok(())
        })?;
    }
    Ok(RestorationTrial::choose(&agreement.scores())?)
}

/// The second half of the network, asked what changes of the features do.
struct Back {
    model: Model,
    dims: Vec<Vec<usize>>,
    detector: Detector,
}

impl Back {
    fn open(path: &Path) -> Result<Self> {
        let model = Model::open(path, &ModelOptions::default())?;
        let dims = model.outputs().iter().map(|o| o.dims.clone()).collect();
        let detector = Detector::new(DetectorConfig { input: (512, 288), ..DetectorConfig::default() })?;
        Ok(Self { model, dims, detector })
    }

    fn respond(&mut self, layers: &[Vec<f32>], response: &mut Option<Response>) -> Result<Vec<f32>> {
        let detector = self.detector.clone();
        self.run(layers, |outputs| {
            if response.is_none() {
                response.insert(Response::new(detector)).set_picture(outputs)?;
            }
            Ok(response.as_ref().context("no picture")?.numbers(outputs)?)
        })
    }

    fn find(&mut self, layers: &[Vec<f32>]) -> Result<Vec<Detection>> {
        let mut detector = self.detector.clone();
        self.run(layers, |outputs| Ok(detector.decode(outputs)?.to_vec()))
    }

    /// Gives `take` what the network makes of `layers`.
    fn run<T>(&mut self, layers: &[Vec<f32>], take: impl FnOnce(&[Tensor<'_>]) -> Result<T>) -> Result<T> {
        let inputs: Vec<&[f32]> = layers.iter().map(Vec::as_slice).collect();
        let outputs = self.model.run(&inputs)?;
        let outputs = self.dims.iter().zip(outputs.iter()).map(|(dims, values)| Tensor { dims, values });
        take(&outputs.collect::<Vec<_>>())
    }
}

fn borrowed(tensors: &[Vec<f32>]) -> Vec<TensorRef<'_>> {
    tensors.iter().map(|values| TensorRef::F32(values)).collect()
}

fn layout_of(caps: &gst::CapsRef) -> Result<Layout> {
    let layer = |tensor: &gstfcm::caps::TensorInfo| {
        let order = ChannelOrder::Chw;
        anyhow::Ok(Layer { name: String::new(), shape: tensor.dimensions.shape(order)?, dtype: tensor.dtype, order })
    };
    let layers = gstfcm::caps::parse_raw(caps)?.tensors.iter().map(layer).collect::<Result<_>>()?;
    Ok(Layout::new(layers, &Limits::default())?)
}
