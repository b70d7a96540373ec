//! Learned restoration: a network makes the layers.

use super::Fused;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::moments::Moments;
use crate::reduction::grid::Grid;
use crate::reduction::learned::RestorationModel;
use crate::refinement::Affine;
use crate::statistics;
use crate::tensor::Layout;

/// Values of a region that are summed together.
const LINE: usize = 4096;

/// Restores feature sets of one layout by a network.
pub struct RestorationNetwork {
    grid: Grid,
    model: Box<dyn RestorationModel>,
    /// All K planes of the transform, refined; those beyond the stream's stay 0.
    fused: Vec<f32>,
    /// What the network gave, in the order channels, rows, columns.
    layers: Vec<Vec<f32>>,
    /// Moments of those.
    moments: Vec<Moments>,
    names: Vec<String>,
    line: Vec<f32>,
}

impl RestorationNetwork {
    /// `model` was opened for `layout` and all `components` of the transform.
    pub fn new(layout: &Layout, grid: Grid, components: u32, model: Box<dyn RestorationModel>) -> Self {
        let layers = layout.layers();
        Self {
            model,
            fused: vec![0.0; components as usize * grid.positions()],
            layers: layers.iter().map(|l| vec![0.0; l.shape.elements() as usize]).collect(),
            moments: vec![Moments::new(0.0); layers.len()],
            names: layers.iter().map(|l| l.name.clone()).collect(),
            line: Vec::with_capacity(LINE),
            grid,
        }
    }

    /// Runs the network on the refined fused tensor.
    ///
    /// # Errors
    /// `Transform` when it fails or gives NaN or an infinity.
    pub fn restore(&mut self, fused: Fused<'_>, refine: [Affine; 2]) -> Result<()> {
        let positions = self.grid.positions();
        let maps = refine.map(|r| ((r.scale * f64::from(fused.unit)) as f32, r.offset as f32));
        let planes = self.fused.chunks_exact_mut(positions).zip(fused.values.chunks_exact(positions));
        for (refined, plane) in planes {
            match fused.regions {
                None => refined.iter_mut().zip(plane).for_each(|(out, &v)| *out = maps[0].0 * v as f32 + maps[0].1),
                Some(regions) => refined.iter_mut().zip(plane).zip(regions).for_each(|((out, &v), &region)| {
                    let (scale, offset) = maps[usize::from(region & 1)];
                    *out = scale * v as f32 + offset;
                }),
            }
        }
        self.run()
    }

    /// Runs the network on planes (`[k][positions]`) as they are.
    ///
    /// # Errors
    /// As [`Self::restore`].
    #[cfg(feature = "calibrate")]
    pub fn restore_planes(&mut self, planes: &[f32]) -> Result<()> {
        self.fused[..planes.len()].copy_from_slice(planes);
        self.run()
    }

    /// What the network gave for layer `n`, in the order channels, rows, columns.
    #[cfg(feature = "calibrate")]
    pub fn layer(&self, n: usize) -> &[f32] {
        &self.layers[n]
    }

    fn run(&mut self) -> Result<()> {
        let layers = &mut self.layers;
        let (mut expected, mut count) = (0, 0);
        self.model.restore(&self.fused, &mut |n, values| {
            count += 1;
            if let Some(layer) = layers.get_mut(n).filter(|layer| layer.len() == values.len()) {
                layer.copy_from_slice(values);
                expected += 1;
            }
        })?;
        if expected != layers.len() || count != layers.len() {
            let message = format!("gave {count} layers, {expected} of them of the {} expected", layers.len());
            return Err(self.error(&message));
        }
        for n in 0..self.layers.len() {
            self.moments[n] = statistics::measure(n, &self.names[n], &self.layers[n])
                .map_err(|e| self.error(&format!("gave values that are not finite: {e}")))?;
        }
        Ok(())
    }

    fn error(&self, message: &str) -> Error {
        Error::new(ErrorKind::Transform, format!("the restoration network {message}"))
    }

    /// Moments of layer `n`, of the positions of `region`, or of all where there are no `regions`.
    pub fn moments(&mut self, n: usize, region: usize, regions: Option<&[u8]>) -> Moments {
        let (whole, Some(regions)) = (self.moments[n], regions) else { return self.moments[n] };
        let mut moments = Moments::new(whole.pivot as f32);
        let (line, mut values) = (&mut self.line, self.layers[n].iter());
        self.grid.for_each_value(n, |_, position| {
            let Some(&value) = values.next() else { return };
            if usize::from(regions[position]) == region {
                line.push(value);
                if line.len() == LINE {
                    moments.add(line);
                    line.clear();
                }
            }
        });
        moments.add(line);
        line.clear();
        moments
    }

    /// Writes layer `n`, refined by `refine`, by region where there are `regions`.
    pub fn write<T: Copy>(
        &self,
        n: usize,
        regions: Option<&[u8]>,
        refine: [Affine; 2],
        out: &mut [T],
        convert: impl Fn(f32) -> T,
    ) {
        let maps = refine.map(|r| (r.scale as f32, r.offset as f32));
        let refined = |value: f32, region: usize| convert(maps[region].0 * value + maps[region].1);
        let layer = &self.layers[n];
        if regions.is_none() && self.grid.is_dense(n) {
            out.iter_mut().zip(layer).for_each(|(out, &value)| *out = refined(value, 0));
            return;
        }
        let mut values = layer.iter();
        self.grid.for_each_value(n, |index, position| {
            if let Some(&value) = values.next() {
                out[index] = refined(value, regions.map_or(0, |regions| usize::from(regions[position] & 1)));
            }
        });
    }
}
