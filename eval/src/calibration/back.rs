//! What a calibration learns from the back half of the network: what of the features it looks at, and where.

use super::{Recipe, tensors};
use crate::features::layout;
use crate::network::{Back, Front, Network};
use crate::progress::Progress;
use anyhow::Result;
use fcm_analytics::geometry::{Placement, Rect, Scaling};
use fcm_codec::reduction::calibrate::SensitivityMeter;
use fcm_codec::reduction::relevance::ProbeTrainer;
use fcm_codec::{Layout, Limits, Transform};
use half::f16;

/// Both halves of the network, and the pictures that they are shown.
pub struct Halves<'a> {
    recipe: &'a Recipe,
    front: Front,
    back: Back,
    layout: Layout,
}

impl<'a> Halves<'a> {
    /// Opens them.
    ///
    /// # Errors
    /// When a half cannot be opened, or is none of such a network.
    pub fn open(recipe: &'a Recipe, network: &Network, threads: usize) -> Result<Self> {
        let front = network.open_front(threads)?;
        let layers = front.layers();
        let names: Vec<String> = layers.iter().map(|(name, _)| name.clone()).collect();
        let back = network.open_back(&names, front.size(), threads)?;
        Ok(Self { recipe, layout: layout(&layers)?, front, back })
    }

    /// The features between them.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Where boxes stay as they are: in the network's input.
    pub fn placement(&self) -> Result<Placement> {
        let input = self.front.size();
        Ok(Placement::new(Scaling::Stretch, input, input)?)
    }

    /// Gives the back half and the features of every `every`-th picture to `take`, patchworks counted.
    pub fn each(&mut self, every: usize, mut take: impl FnMut(&mut Back, &[Vec<f16>]) -> Result<()>) -> Result<()> {
        let Self { recipe, front, back, layout } = self;
        recipe.each(every, front, layout, |narrow| take(back, narrow))
    }
}

/// The transform with a probe for what the back half finds in the same pictures; as it is where it finds nothing.
pub fn with_probe(halves: &mut Halves<'_>, transform: Transform) -> Result<Transform> {
    let mut trainer = ProbeTrainer::new(&transform, halves.layout.clone(), &Limits::default())?;
    let (input, (rows, columns)) = (halves.front.size(), trainer.grid());
    let placement = halves.placement()?;
    let cell = (input.0 as f32 / columns as f32, input.1 as f32 / rows as f32);
    let mut labels = vec![false; rows * columns];
    let mut found = 0u64;
    let progress = Progress::counter("learning relevance");
    halves.each(1, |back, narrow| {
        labels.fill(false);
        back.run_f16(narrow, &placement)?.iter().for_each(|d| mark(d.rect, cell, columns, &mut labels));
        found += labels.iter().filter(|&&l| l).count() as u64;
        trainer.add(&tensors(narrow), &labels)?;
        progress.frame()
    })?;
    if found == 0 { Ok(transform) } else { Ok(transform.with_probe(trainer.finish()?)?) }
}

/// How far what the back half finds moves with the features, along the vectors of a transform.
pub fn sensitivity(halves: &mut Halves<'_>, directions: &Transform, every: usize) -> Result<SensitivityMeter> {
    let components = directions.components();
    let mut meter = SensitivityMeter::new(directions, halves.layout.clone(), components, &Limits::default())?;
    let progress = Progress::counter("measuring the task, outputs of changed features");
    halves.each(every, |back, narrow| {
        let mut response = None;
        meter.measure(&tensors(narrow), |layers| {
            progress.frame()?;
            back.respond(layers, &mut response)
        })
    })?;
    Ok(meter)
}

/// Marks the positions of the grid that the middle half of a box touches: where the head answers for it.
fn mark(rect: Rect, cell: (f32, f32), columns: usize, labels: &mut [bool]) {
    let rows = labels.len() / columns;
    let range = |start: f32, size: f32, cell: f32, count: usize| {
        let (first, last) = ((start + 0.25 * size) / cell, (start + 0.75 * size) / cell);
        // The cast saturates, so boxes that lie outside end at the border.
        (first as usize).min(count - 1)..=(last as usize).min(count - 1)
    };
    for y in range(rect.y, rect.height, cell.1, rows) {
        for x in range(rect.x, rect.width, cell.0, columns) {
            labels[y * columns + x] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_half_of_a_box_is_marked_and_what_lies_outside_is_cut() {
        let mut labels = [false; 12];
        mark(Rect::new(8.0, 8.0, 16.0, 32.0), (10.0, 10.0), 4, &mut labels);
        let marked: Vec<usize> = (0..12).filter(|&p| labels[p]).collect();
        // Columns 1 and 2 (12 to 20), rows 1 and 2 (16 to 32, cut at the last row).
        assert_eq!(marked, [5, 6, 9, 10]);
        mark(Rect::new(-100.0, -100.0, 10.0, 10.0), (10.0, 10.0), 4, &mut labels);
        assert!(labels[0]);
    }
}
