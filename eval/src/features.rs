//! Features of a sequence in a file: binary16, frame by frame, so that any number of threads can read any frame.

use crate::output::OutputFile;
use anyhow::{Context, Result, bail, ensure};
use fcm_codec::{ChannelOrder, Dtype, Layer, Layout, Limits, Shape};
use half::f16;
use half::slice::HalfFloatSliceExt;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

const MAGIC: &[u8; 8] = b"FCMEVAL1";
/// The head of a file is this long.
const HEAD: usize = 16384;

#[derive(Serialize, Deserialize)]
struct Head {
    frames: u64,
    layers: Vec<HeadLayer>,
}

#[derive(Serialize, Deserialize)]
struct HeadLayer {
    name: String,
    /// `[C]` or `[C, H, W]`.
    shape: Vec<u32>,
}

/// A layout of binary16 layers from names and shapes, as a network gives them: `[1, C, H, W]`, `[C, H, W]`, `[1, C]` or `[C]`.
///
/// # Errors
/// When a shape is none of these.
pub fn layout(layers: &[(String, Vec<usize>)]) -> Result<Layout> {
    let layers = layers.iter().map(|(name, dims)| {
        let sides: Vec<u32> = dims.iter().map(|&d| u32::try_from(d)).collect::<Result<_, _>>()?;
        let shape = match sides[..] {
            [1, c, h, w] | [c, h, w] => Shape::chw(c, h, w),
            [1, n] | [n] => Shape::vector(n),
            _ => bail!("tensor {name:?} has the shape {dims:?}, legal are [1, C, H, W], [C, H, W], [1, C] and [C]"),
        };
        Ok(Layer::new(name.clone(), shape, Dtype::F16))
    });
    Ok(Layout::new(layers.collect::<Result<_>>()?, &Limits::default())?)
}

/// Features on their way into a file.
pub struct FeatureWriter {
    file: OutputFile,
    layout: Layout,
    frames: u64,
    narrow: Vec<f16>,
}

impl FeatureWriter {
    /// Starts the file `path` of binary16 layers.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(path: &Path, layout: &Layout) -> Result<Self> {
        let mut file = OutputFile::create(path)?;
        // Its place; the number of frames is known at the end.
        file.writer().write_all(&[0; HEAD])?;
        Ok(Self { file, layout: layout.clone(), frames: 0, narrow: Vec::new() })
    }

    /// Adds one frame, the layers in order; values are rounded to binary16.
    ///
    /// # Errors
    /// When the layers do not have the sizes of the layout, a value is too large for binary16, or writing fails.
    pub fn write(&mut self, layers: &[&[f32]]) -> Result<()> {
        ensure!(
            layers.len() == self.layout.layers().len(),
            "{} layers instead of {}",
            layers.len(),
            self.layout.layers().len()
        );
        for (layer, values) in self.layout.layers().iter().zip(layers) {
            ensure!(
                values.len() as u64 == layer.shape.elements(),
                "layer {:?} has {} values, its shape {} has {}",
                layer.name,
                values.len(),
                layer.shape,
                layer.shape.elements()
            );
            self.narrow.resize(values.len(), f16::ZERO);
            self.narrow.convert_from_f32_slice(values);
            if let Some(at) = self.narrow.iter().position(|v| !v.is_finite()) {
                bail!(
                    "frame {}, layer {:?}: the value {} at index {at} is none that binary16 holds",
                    self.frames,
                    layer.name,
                    values[at]
                );
            }
            self.file.writer().write_all(&le_bytes(&self.narrow))?;
        }
        self.frames += 1;
        Ok(())
    }

    /// Finishes the file.
    ///
    /// # Errors
    /// When writing fails or the description of the layers is too long.
    pub fn commit(mut self) -> Result<()> {
        let layers = self.layout.layers().iter().map(|l| HeadLayer { name: l.name.clone(), shape: dims(l.shape) });
        let text = serde_json::to_vec(&Head { frames: self.frames, layers: layers.collect() })?;
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&(text.len() as u32).to_le_bytes());
        head.extend_from_slice(&text);
        ensure!(head.len() <= HEAD, "the names of the layers take {} bytes, there is room for {HEAD}", head.len());
        self.file.writer().flush()?;
        self.file.writer().get_ref().write_all_at(&head, 0)?;
        self.file.commit()
    }
}

/// `[C]` or `[C, H, W]`.
pub fn dims(shape: Shape) -> Vec<u32> {
    if shape.is_vector() { vec![shape.channels()] } else { vec![shape.channels(), shape.height(), shape.width()] }
}

fn le_bytes(values: &[f16]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// A file of features, opened for reading.
pub struct FeatureFile {
    file: File,
    layout: Layout,
    frames: u64,
}

/// One frame of features as binary16, and room for reading it.
#[derive(Default)]
pub struct Frame {
    bytes: Vec<u8>,
    /// The layers in order.
    pub layers: Vec<Vec<f16>>,
}

impl FeatureFile {
    /// Opens a file that [`FeatureWriter`] made.
    ///
    /// # Errors
    /// When it cannot be read, is none, or is not as long as it says.
    pub fn open(path: &Path) -> Result<Self> {
        let context = || format!("cannot read the features in {}", path.display());
        let mut file = File::open(path).with_context(context)?;
        let mut head = vec![0; HEAD];
        file.read_exact(&mut head).with_context(context)?;
        let length = u32::from_le_bytes([head[8], head[9], head[10], head[11]]) as usize;
        ensure!(head.starts_with(MAGIC) && length <= HEAD - 12, "{}: not a file of features", context());
        let parsed: Head = serde_json::from_slice(&head[12..12 + length]).with_context(context)?;
        let layers = parsed.layers.into_iter().map(|l| {
            let shape = match l.shape[..] {
                [c, h, w] => Shape::chw(c, h, w),
                [n] => Shape::vector(n),
                _ => bail!("{}: a layer of the shape {:?}", context(), l.shape),
            };
            Ok(Layer { name: l.name, shape, dtype: Dtype::F16, order: ChannelOrder::Chw })
        });
        let layout = Layout::new(layers.collect::<Result<_>>()?, &Limits::default()).with_context(context)?;
        let expected = layout.bytes().checked_mul(parsed.frames).and_then(|b| b.checked_add(HEAD as u64));
        let found = file.metadata().with_context(context)?.len();
        ensure!(expected == Some(found), "{}: {found} bytes, {} frames need {expected:?}", context(), parsed.frames);
        Ok(Self { file, layout, frames: parsed.frames })
    }

    /// The layers, of binary16 values.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Number of frames.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Reads frame `n`, from 0.
    ///
    /// # Errors
    /// When there is no such frame or reading fails.
    pub fn read(&self, n: u64, frame: &mut Frame) -> Result<()> {
        ensure!(n < self.frames, "frame {n} of {}", self.frames);
        let size = self.layout.bytes();
        frame.bytes.resize(size as usize, 0);
        self.file.read_exact_at(&mut frame.bytes, HEAD as u64 + n * size).context("cannot read features")?;
        frame.layers.resize_with(self.layout.layers().len(), Vec::new);
        let mut rest = &frame.bytes[..];
        for (layer, values) in self.layout.layers().iter().zip(&mut frame.layers) {
            let (bytes, after) = rest.split_at(layer.bytes() as usize);
            rest = after;
            values.clear();
            values.extend(bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]])));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{Folder, features};

    #[test]
    fn any_frame_reads_back_as_written() {
        let folder = Folder::new().unwrap();
        let file = features(&folder.path().join("a.f16"), 5);
        assert_eq!(file.frames(), 5);
        assert_eq!(file.layout().layers()[1].shape, Shape::chw(6, 4, 5));
        let mut frame = Frame::default();
        for n in [3, 0, 4] {
            file.read(n, &mut frame).unwrap();
            assert_eq!(frame.layers[0][7], f16::from_f32(crate::tests::value(n, 0, 7)), "frame {n}");
            assert_eq!(frame.layers[1][119], f16::from_f32(crate::tests::value(n, 1, 119)), "frame {n}");
        }
        assert!(file.read(5, &mut frame).is_err());
    }

    #[test]
    fn a_file_that_was_cut_is_refused() {
        let folder = Folder::new().unwrap();
        let path = folder.path().join("a.f16");
        drop(features(&path, 3));
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(FeatureFile::open(&path).err().unwrap().to_string().contains("3 frames need"));
    }

    #[test]
    fn a_value_beyond_binary16_is_named() {
        let folder = Folder::new().unwrap();
        let layout = layout(&[("x".into(), vec![1, 2])]).unwrap();
        let mut writer = FeatureWriter::create(&folder.path().join("a.f16"), &layout).unwrap();
        let error = writer.write(&[&[1.0, 70000.0]]).unwrap_err().to_string();
        assert!(error.contains("\"x\"") && error.contains("70000 at index 1"), "{error}");
        drop(writer);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "it left something behind");
    }
}
