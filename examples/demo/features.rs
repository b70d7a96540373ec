//! Feature files for the demo: `.npz` with one float16 array a layer, `[frames, channels, height, width]`.

use anyhow::{Context, Result, bail, ensure};
use fcm_codec::{Dtype, Layer, Layout, Limits, Shape};
use half::f16;
use npyz::{NpyFile, Order};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// All frames of one feature file.
pub struct Features {
    pub layout: Layout,
    pub frames: usize,
    /// One vector a layer: all frames after another.
    values: Vec<Vec<f16>>,
}

impl Features {
    pub fn read(path: &Path) -> Result<Self> {
        read(path).with_context(|| path.display().to_string())
    }

    /// Values of one layer in one frame.
    pub fn tensor(&self, layer: usize, frame: usize) -> &[f16] {
        let n = self.values[layer].len() / self.frames;
        &self.values[layer][frame * n..(frame + 1) * n]
    }

    pub fn bytes_per_frame(&self) -> u64 {
        self.layout.bytes()
    }
}

fn read(path: &Path) -> Result<Features> {
    let mut archive = zip::ZipArchive::new(BufReader::new(File::open(path)?))?;
    let (mut layers, mut values, mut frames) = (Vec::new(), Vec::new(), None);
    for i in 0..archive.len() {
        let member = archive.by_index(i)?;
        let Some(name) = npyz::npz::array_name_from_file_name(&member.name()?).map(str::to_owned) else { continue };
        let array = NpyFile::new(member)?;
        let shape = array.shape().to_vec();
        let &[t, c, h, w] = shape.as_slice() else {
            bail!("array {name:?} has the shape {shape:?}, expected [frames, channels, height, width]");
        };
        ensure!(array.order() == Order::C, "array {name:?} is in Fortran order");
        ensure!(t > 0 && *frames.get_or_insert(t) == t, "array {name:?} has {t} frames, unlike those before it");
        let side = |v: u64| u32::try_from(v).with_context(|| format!("array {name:?} has a side of {v}"));
        layers.push(Layer::new(&name, Shape::chw(side(c)?, side(h)?, side(w)?), Dtype::F16));
        values.push(array.into_vec::<f16>().with_context(|| format!("array {name:?} is not float16"))?);
    }
    let frames = frames.context("no arrays in the file")? as usize;
    Ok(Features { layout: Layout::new(layers, &Limits::default())?, frames, values })
}
