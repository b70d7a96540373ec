//! `.safetensors` files: where the values of each tensor are, and writing them.

use super::{Array, SpooledLayer};
use anyhow::{Context, Result, bail, ensure};
use fcm_codec::{Dtype, Limits};
use safetensors::tensor::{Metadata, TensorInfo};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Longest header read: 256 layers with names of 255 bytes fit a hundred times.
const MAX_HEADER: u64 = 16 << 20;
/// Bytes read at a time from each tensor.
const CHUNK: usize = 1 << 18;

/// The tensors of the file at `path`, in the order of their bytes.
///
/// # Errors
/// When the file breaks the format, or holds anything but f16 and f32 tensors.
pub fn open(path: &Path, limits: &Limits) -> Result<Vec<Array>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut word = [0; 8];
    file.read_exact(&mut word).context("it is shorter than a .safetensors header")?;
    let header_length = u64::from_le_bytes(word);
    ensure!(header_length <= MAX_HEADER, "its header has {header_length} bytes, legal are at most {MAX_HEADER}");
    let data_start = 8 + header_length;
    ensure!(data_start <= length, "its header has {header_length} bytes, the file {length}");
    let mut header = vec![0; header_length as usize];
    file.read_exact(&mut header)?;
    let metadata: Metadata = serde_json::from_slice(&header).context("its header cannot be read")?;
    let promised = (metadata.data_len() as u64).saturating_add(data_start);
    ensure!(promised == length, "its header promises a file of {promised} bytes, it has {length}");
    let names = metadata.offset_keys();
    let (count, most) = (names.len(), limits.max_layers as usize);
    ensure!(count <= most, "it holds {count} tensors, legal are 1 to {most}");
    names
        .into_iter()
        .map(|name| {
            let info = metadata.info(&name).with_context(|| format!("tensor {name:?} has no entry"))?;
            let dtype = match info.dtype {
                safetensors::Dtype::F16 => Dtype::F16,
                safetensors::Dtype::F32 => Dtype::F32,
                other => bail!("tensor {name:?} is of type {other:?}, legal are F16 and F32"),
            };
            let (start, end) = info.data_offsets;
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(data_start + start as u64))?;
            let data = Box::new(BufReader::with_capacity(CHUNK, file.take((end - start) as u64)));
            let dims = info.shape.iter().map(|&n| n as u64).collect();
            Ok(Array { name, dims, dtype, swap: cfg!(target_endian = "big"), data })
        })
        .collect()
}

/// Writes spooled layers of `frames` frames in their order.
///
/// # Errors
/// When something cannot be written.
pub fn write(layers: Vec<SpooledLayer>, frames: u64, mut out: impl Write) -> Result<()> {
    let mut start = 0;
    let mut infos = Vec::with_capacity(layers.len());
    for layer in &layers {
        let dtype = match layer.dtype {
            Dtype::F16 => safetensors::Dtype::F16,
            Dtype::F32 => safetensors::Dtype::F32,
        };
        let shape: Vec<usize> = layer.dims(frames).into_iter().map(usize::try_from).collect::<Result<_, _>>()?;
        let end = start + shape.iter().product::<usize>() * layer.dtype.size();
        infos.push((layer.name.clone(), TensorInfo { dtype, shape, data_offsets: (start, end) }));
        start = end;
    }
    let mut header = serde_json::to_vec(&Metadata::new(None, infos)?)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    for layer in layers {
        let (_, mut values) = layer.finish()?;
        io::copy(&mut values, &mut out)?;
    }
    out.flush()?;
    Ok(())
}
