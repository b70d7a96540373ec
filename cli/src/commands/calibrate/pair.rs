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

/// How much more a group of components may vary than the one before it: what is dropped first should be the weakest.
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

/// A warning when components do not roughly fall in variance: the mean of components 1, 2 to 3, 4 to 7 and so on. Single ones may swap places
/// on other features than the network was trained on.
pub fn disorder(variances: &[f32]) -> Option<String> {
    let bounds: Vec<usize> = (0..).map(|n| 1 << n).take_while(|&k| k <= variances.len()).collect();
    let ends = bounds.iter().skip(1).copied().chain([variances.len() + 1]);
    let groups: Vec<(usize, usize, f32)> = bounds
        .iter()
        .zip(ends)
        .map(|(&start, end)| (start, end - 1, variances[start - 1..end - 1].iter().sum::<f32>() / (end - start) as f32))
        .collect();
    let (before, after) = groups.iter().zip(groups.iter().skip(1)).find(|(a, b)| b.2 > ROUGHLY * a.2)?;
    Some(format!(
        "components {} to {} of the pair have the mean variance {}, {} to {} before them {}: the reduction network should order components by \
         falling variance, since the last are the first to be dropped",
        after.0, after.1, after.2, before.0, before.1, before.2
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_components_that_rise_are_named_and_single_ones_are_not() {
        assert_eq!(disorder(&[4.0, 1.0, 2.0, 1.5, 1.0]), None);
        assert_eq!(disorder(&[4.0]), None);
        let warning = disorder(&[4.0, 1.0, 2.0, 9.0]).unwrap();
        assert!(
            warning.contains("components 4 to 4 of the pair have the mean variance 9, 2 to 3 before them 1.5"),
            "{warning}"
        );
        assert!(disorder(&[1.0, 4.0, 2.0]).unwrap().contains("components 2 to 3"));
    }
}
