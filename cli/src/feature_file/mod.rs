//! Files of features: one array a layer, frames along the first axis, read and written frame by frame.
//!
//! The number of axes says what an array is: `[T, C, H, W]` frames of a feature map, `[C, H, W]` one frame, `[T, C]` vectors of
//! T frames, `[C]` one vector. All layers must have the same T.

mod npy;
mod npz;
mod safetensors;

use crate::output::OutputFile;
use anyhow::{Context, Result, anyhow, bail, ensure};
use fcm_codec::{ChannelOrder, Dtype, Layer, Layout, Limits, Shape, TensorMut, TensorRef};
use half::f16;
use half::slice::HalfFloatSliceExt;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// Container of the arrays, chosen by the extension of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Npz,
    Safetensors,
}

impl Container {
    fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase).as_deref() {
            Some("npz") => Ok(Self::Npz),
            Some("safetensors") => Ok(Self::Safetensors),
            _ => bail!("{}: the name of a feature file must end in .npz or .safetensors", path.display()),
        }
    }
}

/// One array of a file, its values still to be read.
struct Array {
    name: String,
    dims: Vec<u64>,
    dtype: Dtype,
    /// Whether the bytes of each value are in the other order than this machine's.
    swap: bool,
    data: Box<dyn Read>,
}

/// The values of one layer of one frame, in their own type.
#[derive(Debug, Clone)]
pub enum Values {
    /// binary16 values.
    F16(Vec<f16>),
    /// binary32 values.
    F32(Vec<f32>),
}

impl Values {
    /// Zeros, as many as `layer` has values.
    pub fn of(layer: &Layer) -> Self {
        let n = layer.shape.elements() as usize;
        match layer.dtype {
            Dtype::F16 => Self::F16(vec![f16::ZERO; n]),
            Dtype::F32 => Self::F32(vec![0.0; n]),
        }
    }

    /// As a tensor to be read.
    pub fn tensor(&self) -> TensorRef<'_> {
        match self {
            Self::F16(v) => TensorRef::F16(v),
            Self::F32(v) => TensorRef::F32(v),
        }
    }

    /// As a tensor to be written.
    pub fn tensor_mut(&mut self) -> TensorMut<'_> {
        match self {
            Self::F16(v) => TensorMut::F16(v),
            Self::F32(v) => TensorMut::F32(v),
        }
    }

    /// The values in binary32, in `out`.
    pub fn to_f32(&self, out: &mut Vec<f32>) {
        match self {
            Self::F16(v) => {
                out.resize(v.len(), 0.0);
                v.convert_to_f32_slice(out);
            }
            Self::F32(v) => {
                out.clear();
                out.extend_from_slice(v);
            }
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::F16(v) => bytemuck::cast_slice_mut(v),
            Self::F32(v) => bytemuck::cast_slice_mut(v),
        }
    }

    fn swap_bytes(&mut self) {
        let size = match self {
            Self::F16(_) => 2,
            Self::F32(_) => 4,
        };
        self.bytes_mut().chunks_exact_mut(size).for_each(<[u8]>::reverse);
    }

    fn transposed(&self, shape: Shape) -> Self {
        fn transpose<T: Copy>(v: &[T], shape: Shape) -> Vec<T> {
            let (channels, positions) = (shape.channels() as usize, v.len() / shape.channels() as usize);
            (0..v.len()).map(|i| v[i % positions * channels + i / positions]).collect()
        }
        match self {
            Self::F16(v) => Self::F16(transpose(v, shape)),
            Self::F32(v) => Self::F32(transpose(v, shape)),
        }
    }
}

/// Reads the frames of a feature file one after the other.
pub struct FeatureReader {
    path: PathBuf,
    layout: Layout,
    frames: u64,
    /// Frames read so far.
    read: u64,
    sources: Vec<(Box<dyn Read>, bool)>,
    values: Vec<Values>,
}

impl FeatureReader {
    /// Opens a `.npz` or `.safetensors` file. No memory is taken for values that the file does not have or `limits` do not allow.
    ///
    /// # Errors
    /// When the file cannot be read, breaks its format, or holds arrays that are no features; the array is named.
    pub fn open(path: &Path, limits: &Limits) -> Result<Self> {
        let container = Container::of(path)?;
        Self::open_as(container, path, limits).with_context(|| format!("cannot read {}", path.display()))
    }

    fn open_as(container: Container, path: &Path, limits: &Limits) -> Result<Self> {
        let arrays = match container {
            Container::Npz => npz::open(path, limits)?,
            Container::Safetensors => safetensors::open(path, limits)?,
        };
        let mut layers = Vec::with_capacity(arrays.len());
        let mut sources = Vec::with_capacity(arrays.len());
        let mut first: Option<(String, u64)> = None;
        for array in arrays {
            let (frames, shape) = frames_and_shape(&array.dims).with_context(|| format!("array {:?}", array.name))?;
            match &first {
                Some((name, n)) => ensure!(
                    *n == frames,
                    "array {:?} has {frames} frames, array {name:?} has {n}; all layers must have the same number",
                    array.name
                ),
                None => first = Some((array.name.clone(), frames)),
            }
            layers.push(Layer::new(array.name, shape, array.dtype));
            sources.push((array.data, array.swap));
        }
        let (_, frames) = first.ok_or_else(|| anyhow!("it holds no array, at least 1 is needed"))?;
        ensure!(frames > 0, "it holds 0 frames, at least 1 is needed");
        let layout = Layout::new(layers, limits)?;
        let values = layout.layers().iter().map(Values::of).collect();
        Ok(Self { path: path.to_owned(), layout, frames, read: 0, sources, values })
    }

    /// The layers of every frame.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Frames in the file.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Reads the next frame: one entry a layer; `None` after the last.
    ///
    /// # Errors
    /// When the file cannot be read or a checksum in it does not match; file and array are named.
    pub fn next(&mut self) -> Result<Option<&[Values]>> {
        if self.read == self.frames {
            return Ok(None);
        }
        for (((source, swap), values), layer) in self.sources.iter_mut().zip(&mut self.values).zip(self.layout.layers())
        {
            source.read_exact(values.bytes_mut()).with_context(|| {
                format!("cannot read frame {} of array {:?} of {}", self.read, layer.name, self.path.display())
            })?;
            if *swap {
                values.swap_bytes();
            }
        }
        self.read += 1;
        Ok(Some(&self.values))
    }
}

/// The number of frames and the shape of one of them, of an array's lengths.
fn frames_and_shape(dims: &[u64]) -> Result<(u64, Shape)> {
    let side = |n: u64| u32::try_from(n).map_err(|_| anyhow!("it has a length of {n}, legal are 1 to {}", u32::MAX));
    Ok(match *dims {
        [t, c, h, w] => (t, Shape::chw(side(c)?, side(h)?, side(w)?)),
        [c, h, w] => (1, Shape::chw(side(c)?, side(h)?, side(w)?)),
        [t, c] => (t, Shape::vector(side(c)?)),
        [c] => (1, Shape::vector(side(c)?)),
        _ => bail!("it has {} dimensions, legal are [T,C,H,W], [C,H,W], [T,C] and [C]", dims.len()),
    })
}

/// The values of one layer of all frames, in an unnamed temporary file until all are known.
struct SpooledLayer {
    name: String,
    shape: Shape,
    order: ChannelOrder,
    dtype: Dtype,
    spool: BufWriter<File>,
}

impl SpooledLayer {
    fn dims(&self, frames: u64) -> Vec<u64> {
        let s = &self.shape;
        if s.is_vector() {
            vec![frames, s.channels().into()]
        } else {
            vec![frames, s.channels().into(), s.height().into(), s.width().into()]
        }
    }

    /// The number of bytes and the bytes from the first on.
    fn finish(&self) -> Result<(u64, impl Read)> {
        let mut file = self.spool.get_ref();
        file.rewind()?;
        Ok((file.metadata()?.len(), BufReader::with_capacity(1 << 18, file)))
    }
}

/// Writes a feature file frame by frame: `[T, C, H, W]` arrays, `[T, C]` for vectors. Memory does not grow with the
/// number of frames; the disk holds the values twice until the end.
pub struct FeatureWriter {
    container: Container,
    output: OutputFile,
    layers: Vec<SpooledLayer>,
    frames: u64,
    /// Bytes of one value after the other, little endian.
    bytes: Vec<u8>,
}

impl FeatureWriter {
    /// Starts the file that will be `path`.
    ///
    /// # Errors
    /// When the extension is not known or the folder cannot be written to.
    pub fn create(path: &Path) -> Result<Self> {
        let container = Container::of(path)?;
        Ok(Self { container, output: OutputFile::create(path)?, layers: Vec::new(), frames: 0, bytes: Vec::new() })
    }

    /// Sets the layers before the first frame; values are written as `dtype`, `None` = the layer's own type.
    ///
    /// # Errors
    /// When no temporary file can be made.
    pub fn set_layout(&mut self, layout: &Layout, dtype: Option<Dtype>) -> Result<()> {
        let folder = self.output.folder();
        self.layers = layout
            .layers()
            .iter()
            .enumerate()
            .map(|(n, l)| {
                let file = tempfile::tempfile_in(&folder)
                    .with_context(|| format!("cannot make a temporary file in {}", folder.display()))?;
                let name = if l.name.is_empty() { format!("arr_{n}") } else { l.name.clone() };
                Ok(SpooledLayer {
                    name,
                    shape: l.shape,
                    order: l.order,
                    dtype: dtype.unwrap_or(l.dtype),
                    spool: BufWriter::with_capacity(1 << 18, file),
                })
            })
            .collect::<Result<_>>()?;
        Ok(())
    }

    /// Frames written so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Adds a frame; `values` has one entry a layer, in the layer's memory order.
    ///
    /// # Errors
    /// When the disk is full, or a value does not fit the type asked for.
    pub fn write(&mut self, values: &[Values]) -> Result<()> {
        for (layer, values) in self.layers.iter_mut().zip(values) {
            let transposed;
            let values = match layer.order {
                ChannelOrder::Hwc => {
                    transposed = values.transposed(layer.shape);
                    &transposed
                }
                ChannelOrder::Chw => values,
            };
            self.bytes.clear();
            match (values, layer.dtype) {
                (Values::F16(v), Dtype::F16) => self.bytes.extend(v.iter().flat_map(|v| v.to_le_bytes())),
                (Values::F32(v), Dtype::F32) => self.bytes.extend(v.iter().flat_map(|v| v.to_le_bytes())),
                (Values::F16(v), Dtype::F32) => self.bytes.extend(v.iter().flat_map(|v| v.to_f32().to_le_bytes())),
                (Values::F32(v), Dtype::F16) => {
                    if let Some(v) = v.iter().find(|v| v.is_finite() && f16::from_f32(**v).is_infinite()) {
                        bail!(
                            "frame {} of layer {:?} has the value {v}, f16 holds -65504 to 65504",
                            self.frames,
                            layer.name
                        );
                    }
                    self.bytes.extend(v.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()));
                }
            }
            layer.spool.write_all(&self.bytes).context("cannot write a temporary file")?;
        }
        self.frames += 1;
        Ok(())
    }

    /// Puts the file together and in its place.
    ///
    /// # Errors
    /// When it cannot be written; nothing is left behind then.
    pub fn commit(mut self) -> Result<()> {
        for layer in &mut self.layers {
            layer.spool.flush().context("cannot write a temporary file")?;
        }
        match self.container {
            Container::Npz => npz::write(self.layers, self.frames, &mut self.output)?,
            Container::Safetensors => safetensors::write(self.layers, self.frames, &mut self.output)?,
        }
        self.output.commit()
    }
}
