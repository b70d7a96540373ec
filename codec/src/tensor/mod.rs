//! What a feature set is: layers, their shapes and types, and borrowed views of their values.

#[cfg(feature = "ndarray")]
mod arrays;
pub(crate) mod value;

use crate::error::{Error, Result};
use crate::limits::{self, Limits};
use half::f16;

/// Type of the values of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// IEEE 754 binary16.
    F16,
    /// IEEE 754 binary32.
    F32,
}

impl Dtype {
    /// Bytes of one value.
    pub const fn size(self) -> usize {
        match self {
            Dtype::F16 => 2,
            Dtype::F32 => 4,
        }
    }
}

/// How the values of a layer lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ChannelOrder {
    /// Channel by channel, each in raster order (`[C][H][W]`, PyTorch and ONNX).
    #[default]
    Chw,
    /// Position by position, the channels of one together (`[H][W][C]`, TensorFlow Lite).
    Hwc,
}

/// Shape of a layer, batch 1: `C × H × W`, or a vector of `C` values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    channels: u32,
    height: u32,
    width: u32,
    vector: bool,
}

impl Shape {
    /// A feature map of `channels` planes of `height × width`. Each must be at least 1
    /// ([`Layout::new`] refuses zero).
    pub const fn chw(channels: u32, height: u32, width: u32) -> Self {
        Self { channels, height, width, vector: false }
    }

    /// A rank-1 feature of `length` values, such as a re-identification embedding.
    pub const fn vector(length: u32) -> Self {
        Self { channels: length, height: 1, width: 1, vector: true }
    }

    /// Channels (or the length of a vector).
    pub const fn channels(&self) -> u32 {
        self.channels
    }

    /// Rows; 1 for a vector.
    pub const fn height(&self) -> u32 {
        self.height
    }

    /// Columns; 1 for a vector.
    pub const fn width(&self) -> u32 {
        self.width
    }

    /// Whether this is a rank-1 feature.
    pub const fn is_vector(&self) -> bool {
        self.vector
    }

    /// Number of values; saturates instead of overflowing.
    pub const fn elements(&self) -> u64 {
        (self.channels as u64).saturating_mul(self.height as u64).saturating_mul(self.width as u64)
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.vector {
            write!(f, "{}", self.channels)
        } else {
            write!(f, "{}x{}x{}", self.channels, self.height, self.width)
        }
    }
}

/// One layer of a feature set.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Layer {
    /// Name, usually that of the network's tensor; at most 255 bytes of UTF-8, may be empty.
    pub name: String,
    /// Shape of one frame of it.
    pub shape: Shape,
    /// Type of its values.
    pub dtype: Dtype,
    /// How the values lie in memory.
    pub order: ChannelOrder,
}

impl Layer {
    /// A layer in `[C][H][W]` order.
    pub fn new(name: impl Into<String>, shape: Shape, dtype: Dtype) -> Self {
        Self { name: name.into(), shape, dtype, order: ChannelOrder::Chw }
    }

    /// Bytes of one frame of this layer, dense.
    pub fn bytes(&self) -> u64 {
        self.shape.elements().saturating_mul(self.dtype.size() as u64)
    }
}

/// The layers of a feature set in their fixed order; checked against limits when made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Layout {
    layers: Vec<Layer>,
}

impl Layout {
    /// Checks `layers` and makes a layout of them.
    ///
    /// # Errors
    /// `InvalidInput` for no layers, a zero dimension or a name over 255 bytes;
    /// `LimitExceeded` for more layers or values than `limits` allow.
    pub fn new(layers: Vec<Layer>, limits: &Limits) -> Result<Self> {
        if layers.is_empty() {
            return Err(Error::input("a feature set of 0 layers, 1 to 256 are legal"));
        }
        limits::check("number of layers", layers.len() as u64, u64::from(limits.max_layers.min(256)))?;
        let mut total = 0u64;
        for (n, layer) in layers.iter().enumerate() {
            let s = layer.shape;
            if s.elements() == 0 {
                return Err(Error::input(format!("layer {n} ({:?}) has the empty shape {s}", layer.name)));
            }
            if layer.name.len() > 255 {
                return Err(Error::input(format!(
                    "the name of layer {n} is {} bytes, the longest is 255",
                    layer.name.len()
                )));
            }
            total = total.saturating_add(s.elements());
        }
        limits::check("number of values in a frame", total, limits.max_elements)?;
        Ok(Self { layers })
    }

    /// The layers in order.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Whether `tensors` have these layers' numbers of values and types.
    ///
    /// # Errors
    /// `InvalidInput` with the first layer that differs.
    pub(crate) fn check(&self, tensors: &[TensorRef<'_>]) -> Result<()> {
        if tensors.len() != self.layers.len() {
            return Err(Error::input(format!(
                "{} tensors, the layout has {} layers",
                tensors.len(),
                self.layers.len()
            )));
        }
        for (n, (tensor, layer)) in tensors.iter().zip(&self.layers).enumerate() {
            let expected = layer.shape.elements();
            if tensor.len() as u64 != expected || tensor.dtype() != layer.dtype {
                return Err(Error::input(format!(
                    "layer {n} ({:?}) with {} values of {:?}, {expected} of {:?} ({}) were announced",
                    layer.name,
                    tensor.len(),
                    tensor.dtype(),
                    layer.dtype,
                    layer.shape
                )));
            }
        }
        Ok(())
    }

    /// Values in one frame, all layers together.
    pub fn elements(&self) -> u64 {
        self.layers.iter().map(|l| l.shape.elements()).sum()
    }

    /// Bytes of one raw frame, all layers together.
    pub fn bytes(&self) -> u64 {
        self.layers.iter().map(Layer::bytes).sum()
    }
}

/// A borrowed, dense tensor of one frame.
#[derive(Debug, Clone, Copy)]
pub enum TensorRef<'a> {
    /// binary16 values.
    F16(&'a [f16]),
    /// binary32 values.
    F32(&'a [f32]),
}

impl<'a> TensorRef<'a> {
    /// Views native-endian `bytes` as values of `dtype` without copying.
    ///
    /// # Errors
    /// `InvalidInput` when the length is not a multiple of the value's size or the bytes are not aligned to it.
    pub fn from_bytes(dtype: Dtype, bytes: &'a [u8]) -> Result<Self> {
        let fail = |e| Error::input(format!("{} bytes cannot be viewed as {dtype:?} values: {e}", bytes.len()));
        Ok(match dtype {
            Dtype::F16 => TensorRef::F16(bytemuck::try_cast_slice(bytes).map_err(fail)?),
            Dtype::F32 => TensorRef::F32(bytemuck::try_cast_slice(bytes).map_err(fail)?),
        })
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            TensorRef::F16(v) => v.len(),
            TensorRef::F32(v) => v.len(),
        }
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Type of the values.
    pub fn dtype(&self) -> Dtype {
        match self {
            TensorRef::F16(_) => Dtype::F16,
            TensorRef::F32(_) => Dtype::F32,
        }
    }
}

/// A borrowed, dense tensor to be written.
#[derive(Debug)]
pub enum TensorMut<'a> {
    /// binary16 values.
    F16(&'a mut [f16]),
    /// binary32 values.
    F32(&'a mut [f32]),
}

impl<'a> TensorMut<'a> {
    /// Views native-endian `bytes` as values of `dtype` without copying.
    ///
    /// # Errors
    /// As [`TensorRef::from_bytes`].
    pub fn from_bytes(dtype: Dtype, bytes: &'a mut [u8]) -> Result<Self> {
        let len = bytes.len();
        let fail = |e| Error::input(format!("{len} bytes cannot be viewed as {dtype:?} values: {e}"));
        Ok(match dtype {
            Dtype::F16 => TensorMut::F16(bytemuck::try_cast_slice_mut(bytes).map_err(fail)?),
            Dtype::F32 => TensorMut::F32(bytemuck::try_cast_slice_mut(bytes).map_err(fail)?),
        })
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            TensorMut::F16(v) => v.len(),
            TensorMut::F32(v) => v.len(),
        }
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Type of the values.
    pub fn dtype(&self) -> Dtype {
        match self {
            TensorMut::F16(_) => Dtype::F16,
            TensorMut::F32(_) => Dtype::F32,
        }
    }
}
