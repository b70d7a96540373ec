//! How far layers should be restored, told by what the back half still finds in coarsely coded features.

use super::back::Halves;
use super::tensors;
use crate::progress::Progress;
use anyhow::Result;
use fcm_analytics::metrics::Agreement;
use fcm_codec::{RestorationStrength, RestorationTrial, Transform};

/// Objects below which nothing can be told.
const ENOUGH: usize = 50;

/// The best strength for a transform, judged on every `every`-th picture. Boxes with a score of `high` count as found.
///
/// # Errors
/// When a picture cannot be read, or the network or the codec fails.
pub fn strength(
    halves: &mut Halves<'_>,
    transform: &Transform,
    every: usize,
    high: f32,
) -> Result<RestorationStrength> {
    let placement = halves.placement()?;
    let mut trial = RestorationTrial::new(transform, halves.layout().clone());
    let mut agreement = Agreement::new(RestorationTrial::VARIANTS, high);
    let progress = Progress::counter("restoring, pictures");
    halves.each(every, |back, features| {
        agreement.picture(&back.run_f16(features, &placement)?);
        trial.each(&tensors(features), |variant, restored| {
            agreement.variant(variant, back.run(restored, &placement)?);
            anyhow::Ok(())
        })?;
        progress.frame()
    })?;
    if agreement.objects() < ENOUGH {
        return Ok(RestorationStrength::FULL);
    }
    Ok(RestorationTrial::choose(&agreement.scores())?)
}
