//! The pair of networks of a learned transform.

use crate::commands::runtime;
use anyhow::{Context, Result, ensure};
use fcm_codec::reduction::NetworkPair;
use fcm_codec::reduction::calibrate::PairCalibrator;
use fcm_codec::reduction::learned::PairShapes;
use fcm_codec::{Layout, Limits};
use fcm_infer::OnnxRuntime;
use std::fs;
use std::path::Path;

/// How much more a component may vary than one before it: what is dropped first should be the weakest.
const ROUGHLY: f32 = 1.25;

/// Opens both networks for the layers of `layout`.
pub fn open(
    reduction: &Path,
    restoration: &Path,
    layout: Layout,
    threads: usize,
    limits: &Limits,
) -> Result<PairCalibrator> {
    let networks = NetworkPair { reduction: read(reduction, limits)?, restoration: read(restoration, limits)? };
    let layers = PairShapes::new(&layout, 1, limits)?.layers;
    let components = OnnxRuntime::default().components(&networks.reduction, &layers);
    let components = components.with_context(|| format!("cannot use {}", reduction.display()))?;
    PairCalibrator::new(layout, networks, components, runtime(), threads, limits)
        .with_context(|| format!("cannot use {} with {}", reduction.display(), restoration.display()))
}

fn read(path: &Path, limits: &Limits) -> Result<Vec<u8>> {
    let context = || format!("cannot read network {}", path.display());
    let (length, most) = (fs::metadata(path).with_context(context)?.len(), limits.max_transform);
    ensure!(length <= most, "{}: it has {length} bytes, legal are at most {most}", context());
    fs::read(path).with_context(context)
}

/// A warning when components do not roughly fall in variance.
pub fn disorder(variances: &[f32]) -> Option<String> {
    let mut least = (0, f32::INFINITY);
    for (k, &variance) in variances.iter().enumerate() {
        if variance > ROUGHLY * least.1 {
            let (before, weaker) = least;
            return Some(format!(
                "component {k} has the variance {variance}, component {before} before it {weaker}: the reduction network should order its \
                 components by falling variance, since the last are the first to be dropped"
            ));
        }
        if variance < least.1 {
            least = (k, variance);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_that_rise_are_named_and_small_steps_up_are_not() {
        assert_eq!(disorder(&[4.0, 3.0, 3.5, 1.0]), None);
        let warning = disorder(&[4.0, 1.0, 2.0]).unwrap();
        assert!(warning.contains("component 2 has the variance 2, component 1 before it 1"), "{warning}");
    }
}
