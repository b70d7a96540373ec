//! Raw tensors in buffers: NNStreamer's `other/tensors` memories to the codec's views and back.
//!
//! The only place that knows how tensors lie in memories. The caps side of the same format is in `caps`.

pub mod dimensions;
pub mod flexible;
pub mod nnstreamer_static;
pub mod pool;

use crate::caps::{TensorFormat, TensorInfo};
use fcm_codec::{ChannelOrder, Dtype, Error, ErrorKind, Layout, Limits, Result, TensorMut, TensorRef};
use flexible::HEADER_SIZE;
use nnstreamer_static::Location;
use std::ops::Range;

/// A memory, or all memories of a buffer as one, mapped for reading.
enum Map<'a> {
    Memory(gst::MemoryMap<'a, gst::memory::Readable>),
    Buffer(gst::BufferMap<'a, gst::buffer::Readable>),
}

impl Map<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Map::Memory(map) => map.as_slice(),
            Map::Buffer(map) => map.as_slice(),
        }
    }
}

/// Values copied because they did not lie where their type may lie.
enum Aligned {
    F16(Vec<half::f16>),
    F32(Vec<f32>),
}

impl Aligned {
    fn copy(dtype: Dtype, bytes: &[u8]) -> Self {
        let count = bytes.len() / dtype.size();
        let bytes = &bytes[..count * dtype.size()];
        match dtype {
            Dtype::F16 => {
                let mut values = vec![half::f16::ZERO; count];
                bytemuck::cast_slice_mut(&mut values).copy_from_slice(bytes);
                Aligned::F16(values)
            }
            Dtype::F32 => {
                let mut values = vec![0f32; count];
                bytemuck::cast_slice_mut(&mut values).copy_from_slice(bytes);
                Aligned::F32(values)
            }
        }
    }
}

/// Where the values of one tensor are.
struct Piece {
    map: usize,
    range: Range<usize>,
    dtype: Dtype,
    copy: Option<Aligned>,
}

/// A raw buffer mapped for reading, its tensors found.
pub struct MappedFrame<'a> {
    maps: Vec<Map<'a>>,
    pieces: Vec<Piece>,
}

fn unmapped(error: gst::glib::BoolError) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("the buffer cannot be mapped for reading: {error}"))
}

fn map_memories(buffer: &gst::BufferRef) -> Result<Vec<Map<'_>>> {
    buffer.iter_memories().map(|memory| memory.map_readable().map(Map::Memory).map_err(unmapped)).collect()
}

impl<'a> MappedFrame<'a> {
    /// Finds the tensors of a static buffer.
    ///
    /// # Errors
    /// `InvalidInput` when the memories are not those of `layout`.
    pub fn map_static(buffer: &'a gst::BufferRef, layout: &Layout) -> Result<Self> {
        let sizes: Vec<usize> = buffer.iter_memories().map(gst::MemoryRef::size).collect();
        let head_of_last = || {
            let last = sizes.len().checked_sub(1).map(|n| buffer.peek_memory(n));
            let map = last.and_then(|memory| memory.map_readable().ok());
            map.map_or_else(Vec::new, |map| map.as_slice().iter().copied().take(24).collect())
        };
        let location = nnstreamer_static::locate(&sizes, layout, head_of_last)?;
        let maps = match location {
            Location::Concatenated(_) => vec![Map::Buffer(buffer.map_readable().map_err(unmapped)?)],
            Location::PerMemory | Location::Extra(_) => map_memories(buffer)?,
        };
        let place = |n: usize| match &location {
            Location::PerMemory => (n, 0..sizes[n]),
            Location::Concatenated(ranges) => (0, ranges[n].clone()),
            Location::Extra(ranges) => match n.checked_sub(sizes.len() - 1) {
                None => (n, 0..sizes[n]),
                Some(extra) => (sizes.len() - 1, ranges[extra].clone()),
            },
        };
        let pieces = layout.layers().iter().enumerate().map(|(n, layer)| {
            let (map, range) = place(n);
            Piece { map, range, dtype: layer.dtype, copy: None }
        });
        Ok(Self { pieces: pieces.collect(), maps }.align())
    }

    /// Finds the tensors of a flexible buffer and what they are.
    ///
    /// # Errors
    /// `InvalidInput` for a bad header, for missing values and for no tensors.
    pub fn map_flexible(buffer: &'a gst::BufferRef, limits: &Limits) -> Result<(Self, Vec<TensorInfo>)> {
        let maps = map_memories(buffer)?;
        let mut pieces = Vec::new();
        let mut infos = Vec::new();
        for (map, bytes) in maps.iter().enumerate() {
            let most = limits.max_layers as usize - infos.len().min(limits.max_layers as usize);
            for (header, range) in flexible::walk(bytes.bytes(), most)? {
                infos.push(TensorInfo { dimensions: header.dimensions, dtype: header.dtype });
                pieces.push(Piece { map, range, dtype: header.dtype, copy: None });
            }
        }
        Ok((Self { maps, pieces }.align(), infos))
    }

    /// Copies the tensors that do not lie aligned to their type (behind others of odd length, for example).
    fn align(mut self) -> Self {
        for piece in &mut self.pieces {
            let bytes = &self.maps[piece.map].bytes()[piece.range.clone()];
            if TensorRef::from_bytes(piece.dtype, bytes).is_err() {
                piece.copy = Some(Aligned::copy(piece.dtype, bytes));
            }
        }
        self
    }

    /// The tensors in order.
    ///
    /// # Errors
    /// `InvalidInput` when the size of one is not a multiple of its type's.
    pub fn tensors(&self) -> Result<Vec<TensorRef<'_>>> {
        self.pieces
            .iter()
            .map(|piece| match &piece.copy {
                Some(Aligned::F16(values)) => Ok(TensorRef::F16(values)),
                Some(Aligned::F32(values)) => Ok(TensorRef::F32(values)),
                None => TensorRef::from_bytes(piece.dtype, &self.maps[piece.map].bytes()[piece.range.clone()]),
            })
            .collect()
    }
}

/// The layout of tensors described in caps or headers. `names` may be shorter than `infos`: the rest stay unnamed.
///
/// # Errors
/// `InvalidInput` naming the tensor; `LimitExceeded`.
pub fn layout(infos: &[TensorInfo], order: ChannelOrder, names: &[String], limits: &Limits) -> Result<Layout> {
    let layers = infos.iter().enumerate().map(|(n, info)| {
        let shape =
            info.dimensions.shape(order).map_err(|error| Error::new(error.kind(), format!("tensor {n}: {error}")))?;
        let name = names.get(n).cloned().unwrap_or_default();
        Ok(fcm_codec::Layer {
            name,
            shape,
            dtype: info.dtype,
            order: if shape.is_vector() { ChannelOrder::Chw } else { order },
        })
    });
    Layout::new(layers.collect::<Result<_>>()?, limits)
}

/// Sizes of the memories of a raw buffer: one a tensor, or a single one when there are more tensors than a buffer
/// can have memories.
pub fn memory_sizes(layout: &Layout, format: TensorFormat) -> Vec<usize> {
    let header = header_size(format);
    let each = layout.layers().iter().map(|layer| layer.bytes() as usize + header);
    if layout.layers().len() <= gst::BufferRef::max_memory() { each.collect() } else { vec![each.sum()] }
}

fn header_size(format: TensorFormat) -> usize {
    match format {
        TensorFormat::Static => 0,
        TensorFormat::Flexible => HEADER_SIZE,
    }
}

/// Lets `write` fill every tensor of `layout` in a buffer of [`memory_sizes`].
///
/// # Errors
/// Those of `write`; `InvalidInput` when the buffer has other memories or cannot be mapped.
pub fn write_tensors(
    buffer: &mut gst::BufferRef,
    layout: &Layout,
    format: TensorFormat,
    mut write: impl FnMut(usize, TensorMut<'_>) -> Result<()>,
) -> Result<()> {
    let fail = |e: gst::glib::BoolError| Error::new(ErrorKind::InvalidInput, format!("cannot write the tensors: {e}"));
    let short = || Error::new(ErrorKind::InvalidInput, "the buffer is too small for its tensors");
    let mut layers = layout.layers().iter().enumerate().peekable();
    for memory in 0..buffer.n_memory() {
        let mut map = buffer.peek_memory_mut(memory).map_err(fail)?.map_writable().map_err(|_| short())?;
        let mut rest = map.as_mut_slice();
        while !rest.is_empty() {
            let (n, layer) = layers.next().ok_or_else(short)?;
            let size = layer.bytes() as usize + header_size(format);
            let (mut bytes, after) = rest.split_at_mut_checked(size).ok_or_else(short)?;
            rest = after;
            if format == TensorFormat::Flexible {
                let (header, values) = bytes.split_first_chunk_mut::<HEADER_SIZE>().ok_or_else(short)?;
                let info = TensorInfo::from(layer);
                flexible::Header { dimensions: info.dimensions, dtype: info.dtype }.write(header);
                bytes = values;
            }
            write_tensor(bytes, layer.dtype, |tensor| write(n, tensor))?;
        }
    }
    if layers.peek().is_some() { Err(short()) } else { Ok(()) }
}

/// Writes straight into `bytes` where their alignment allows, else by way of a copy.
fn write_tensor(bytes: &mut [u8], dtype: Dtype, write: impl FnOnce(TensorMut<'_>) -> Result<()>) -> Result<()> {
    if bytes.as_ptr().cast::<f32>().is_aligned() {
        return write(TensorMut::from_bytes(dtype, bytes)?);
    }
    match dtype {
        Dtype::F16 => {
            let mut values = vec![half::f16::ZERO; bytes.len() / dtype.size()];
            write(TensorMut::F16(&mut values))?;
            bytes.copy_from_slice(bytemuck::cast_slice(&values));
        }
        Dtype::F32 => {
            let mut values = vec![0f32; bytes.len() / dtype.size()];
            write(TensorMut::F32(&mut values))?;
            bytes.copy_from_slice(bytemuck::cast_slice(&values));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fcm_codec::{Layer, Shape};

    fn mixed(layers: usize) -> Layout {
        let layers = (0..layers).map(|n| {
            let dtype = if n % 2 == 0 { Dtype::F16 } else { Dtype::F32 };
            Layer::new(format!("layer{n}"), Shape::chw(1 + n as u32 % 3, 3, 1), dtype)
        });
        Layout::new(layers.collect(), &Limits::default()).unwrap()
    }

    fn fill(n: usize, tensor: TensorMut<'_>) -> Result<()> {
        match tensor {
            TensorMut::F16(values) => values.fill(half::f16::from_f32(n as f32)),
            TensorMut::F32(values) => values.fill(n as f32),
        }
        Ok(())
    }

    fn filled(layout: &Layout, format: TensorFormat) -> gst::Buffer {
        let mut buffer = gst::Buffer::new();
        for size in memory_sizes(layout, format) {
            buffer.get_mut().unwrap().append_memory(gst::Memory::with_size(size));
        }
        write_tensors(buffer.get_mut().unwrap(), layout, format, fill).unwrap();
        buffer
    }

    fn assert_filled(frame: &MappedFrame<'_>, layout: &Layout) {
        let tensors = frame.tensors().unwrap();
        assert_eq!(tensors.len(), layout.layers().len());
        for (n, (tensor, layer)) in tensors.iter().zip(layout.layers()).enumerate() {
            assert_eq!(tensor.len() as u64, layer.shape.elements());
            match tensor {
                TensorRef::F16(values) => assert!(values.iter().all(|v| v.to_f32() == n as f32), "tensor {n}"),
                TensorRef::F32(values) => assert!(values.iter().all(|&v| v == n as f32), "tensor {n}"),
            }
        }
    }

    #[test]
    fn written_tensors_are_found_again() {
        gst::init().unwrap();
        for layers in [1, 3, 16, 17, 40, 256] {
            let layout = mixed(layers);
            let buffer = filled(&layout, TensorFormat::Static);
            assert_eq!(buffer.n_memory(), if layers <= 16 { layers } else { 1 });
            assert_filled(&MappedFrame::map_static(&buffer, &layout).unwrap(), &layout);
            let buffer = filled(&layout, TensorFormat::Flexible);
            let (frame, infos) = MappedFrame::map_flexible(&buffer, &Limits::default()).unwrap();
            assert_filled(&frame, &layout);
            assert_eq!(infos, layout.layers().iter().map(TensorInfo::from).collect::<Vec<_>>());
        }
    }

    #[test]
    fn merged_memories_read_the_same() {
        gst::init().unwrap();
        let layout = mixed(5);
        for format in [TensorFormat::Static, TensorFormat::Flexible] {
            let bytes = filled(&layout, format).map_readable().unwrap().to_vec();
            let merged = gst::Buffer::from_slice(bytes);
            let frame = match format {
                TensorFormat::Static => MappedFrame::map_static(&merged, &layout).unwrap(),
                TensorFormat::Flexible => MappedFrame::map_flexible(&merged, &Limits::default()).unwrap().0,
            };
            assert_filled(&frame, &layout);
        }
    }

    #[test]
    fn buffer_of_other_size_is_refused_on_both_ways() {
        gst::init().unwrap();
        let layout = mixed(3);
        let buffer = filled(&mixed(2), TensorFormat::Static);
        assert!(MappedFrame::map_static(&buffer, &layout).is_err());
        assert!(MappedFrame::map_static(&gst::Buffer::new(), &layout).is_err());
        let mut small = gst::Buffer::with_size(3).unwrap();
        assert!(write_tensors(small.get_mut().unwrap(), &layout, TensorFormat::Static, fill).is_err());
        let mut none = gst::Buffer::new();
        assert!(write_tensors(none.get_mut().unwrap(), &layout, TensorFormat::Static, fill).is_err());
        let mut large = gst::Buffer::with_size(4096).unwrap();
        assert!(write_tensors(large.get_mut().unwrap(), &layout, TensorFormat::Static, fill).is_err());
    }

    #[test]
    fn tensors_above_the_limit_are_refused() {
        gst::init().unwrap();
        let buffer = filled(&mixed(5), TensorFormat::Flexible);
        let limits = Limits { max_layers: 4, ..Limits::default() };
        assert!(MappedFrame::map_flexible(&buffer, &limits).is_err());
    }
}
