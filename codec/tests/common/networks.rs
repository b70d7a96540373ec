//! A "runtime" whose networks are a basis and its transpose, so that a learned pair does what a Karhunen-Loeve transform does.
#![allow(dead_code, reason = "each test file uses its part")]

use crate::streams::Basis;
use fcm_codec::reduction::NetworkPair;
use fcm_codec::reduction::learned::{InferenceRuntime, PairShapes, ReductionModel, RestorationModel};
use fcm_codec::{Error, ErrorKind, Result, Transform};
use std::sync::Arc;

/// The bytes of networks that compute.
pub const SOUND: &[u8] = b"sound";
/// Those of networks that fail.
pub const FAILING: &[u8] = b"failing";
/// Those of networks whose last value is NaN in every second run.
pub const NAN: &[u8] = b"nan";

/// The learned transform with the networks of these bytes.
pub fn pair(basis: &Basis, reduction: &[u8], restoration: &[u8]) -> Transform {
    let networks = NetworkPair { reduction: reduction.to_vec(), restoration: restoration.to_vec() };
    Transform::learned(basis.cells.clone(), networks, basis.variances(), 100.0, 1000).unwrap()
}

pub struct Linear(pub Arc<Basis>);

impl std::fmt::Debug for Linear {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Linear")
    }
}

impl InferenceRuntime for Linear {
    fn open_reduction(&self, network: &[u8], shapes: &PairShapes, _: usize) -> Result<Box<dyn ReductionModel>> {
        Ok(Box::new(Network::open(&self.0, network, shapes)?))
    }

    fn open_restoration(&self, network: &[u8], shapes: &PairShapes, _: usize) -> Result<Box<dyn RestorationModel>> {
        Ok(Box::new(Network::open(&self.0, network, shapes)?))
    }
}

struct Network {
    basis: Arc<Basis>,
    shapes: PairShapes,
    nan: bool,
    runs: u64,
    layers: Vec<Vec<f32>>,
}

impl Network {
    fn open(basis: &Arc<Basis>, network: &[u8], shapes: &PairShapes) -> Result<Self> {
        match network {
            FAILING => return Err(Error::new(ErrorKind::Transform, "it is broken")),
            SOUND | NAN => {}
            other => panic!("networks of {other:?}"),
        }
        assert_eq!(shapes.fused.channels() as usize, basis.vectors.len());
        let layers = shapes.layers.iter().map(|s| vec![0.0; s.elements() as usize]).collect();
        Ok(Self { basis: basis.clone(), shapes: shapes.clone(), nan: network == NAN, runs: 0, layers })
    }

    fn spoils(&mut self) -> bool {
        self.runs += 1;
        self.nan && self.runs.is_multiple_of(2)
    }

    /// Index in layer `n` of each value in its cell at position (`y`, `x`), the border repeated.
    fn cell(&self, n: usize, y: usize, x: usize) -> impl Iterator<Item = usize> + use<> {
        let (grid, shape, cell) = (self.shapes.fused, self.shapes.layers[n], self.basis.cells[n]);
        let (rows, cols) = (usize::from(cell.rows), usize::from(cell.cols));
        let (h, w) = (shape.height() as usize, shape.width() as usize);
        let positions = grid.height() as usize * grid.width() as usize;
        let (position, last) = (y * grid.width() as usize + x, shape.elements() as usize - 1);
        (0..cell.channels as usize * rows * cols).map(move |d| {
            if cell.laid_out {
                return (d * positions + position).min(last);
            }
            let (c, i, j) = (d / (rows * cols), d / cols % rows, d % cols);
            (c * h + (y * rows + i).min(h - 1)) * w + (x * cols + j).min(w - 1)
        })
    }
}

impl ReductionModel for Network {
    fn reduce<'a>(&mut self, layer: &dyn Fn(usize) -> &'a [f32], fused: &mut [f32]) -> Result<()> {
        let (h, w) = (self.shapes.fused.height() as usize, self.shapes.fused.width() as usize);
        for p in 0..h * w {
            for k in 0..fused.len() / (h * w) {
                let mut terms = self.basis.vectors[k].iter().zip(&self.basis.mean);
                let mut sum = 0.0;
                for n in 0..self.shapes.layers.len() {
                    for (index, (v, mean)) in self.cell(n, p / w, p % w).zip(&mut terms) {
                        sum += v * (layer(n)[index] - mean);
                    }
                }
                fused[k * h * w + p] = sum;
            }
        }
        if self.spoils() {
            fused[fused.len() - 1] = f32::NAN;
        }
        Ok(())
    }
}

impl RestorationModel for Network {
    fn restore(&mut self, fused: &[f32], take: &mut dyn FnMut(usize, &[f32])) -> Result<()> {
        let (h, w) = (self.shapes.fused.height() as usize, self.shapes.fused.width() as usize);
        let mut offset = 0;
        for n in 0..self.layers.len() {
            let mut layer = std::mem::take(&mut self.layers[n]);
            let mut size = 0;
            // Backwards: of a value that padding repeats, the first in its cell counts, which is the value itself.
            for p in (0..h * w).rev() {
                size = self.cell(n, p / w, p % w).count();
                for d in (0..size).rev() {
                    let index = self.cell(n, p / w, p % w).nth(d).unwrap();
                    let vectors = self.basis.vectors.iter().enumerate();
                    let sum: f32 = vectors.map(|(k, v)| fused[k * h * w + p] * v[offset + d]).sum();
                    layer[index] = self.basis.mean[offset + d] + sum;
                }
            }
            offset += size;
            self.layers[n] = layer;
        }
        if self.spoils() {
            *self.layers.last_mut().unwrap().last_mut().unwrap() = f32::NAN;
        }
        self.layers.iter().enumerate().for_each(|(n, layer)| take(n, layer));
        Ok(())
    }
}
