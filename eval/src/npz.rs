//! Writing features as .npz, one array a layer, for the `fcm` command and for NumPy.

use crate::features::{FeatureFile, Frame, dims};
use crate::output::OutputFile;
use crate::progress::Progress;
use anyhow::{Context, Result};
use std::io::Write;
use std::path::Path;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Writes the features as binary16 arrays `[T, C, H, W]` (vectors `[T, C]`), not compressed, as `numpy.savez` does.
///
/// # Errors
/// When a file cannot be read or written, or on an interrupt.
pub fn write(features: &FeatureFile, path: &Path) -> Result<()> {
    let context = || format!("cannot write {}", path.display());
    let layers = features.layout().layers();
    let progress = Progress::frames("writing", features.frames() * layers.len() as u64);
    let mut file = OutputFile::create(path)?;
    let mut zip = ZipWriter::new(file.writer());
    let mut frame = Frame::default();
    let mut bytes = Vec::new();
    for (n, layer) in layers.iter().enumerate() {
        let header = header(features.frames(), &dims(layer.shape));
        let size = layer.bytes() * features.frames() + header.len() as u64;
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .large_file(size > u64::from(u32::MAX));
        zip.start_file(format!("{}.npy", layer.name), options).with_context(context)?;
        zip.write_all(&header).with_context(context)?;
        for t in 0..features.frames() {
            features.read(t, &mut frame)?;
            bytes.clear();
            bytes.extend(frame.layers[n].iter().flat_map(|v| v.to_le_bytes()));
            zip.write_all(&bytes).with_context(context)?;
            progress.frame()?;
        }
    }
    zip.finish().with_context(context)?;
    file.commit()
}

/// The head of an array, padded so that the values begin at a multiple of 64.
fn header(frames: u64, dims: &[u32]) -> Vec<u8> {
    let shape: Vec<String> =
        std::iter::once(frames).chain(dims.iter().map(|&d| d.into())).map(|d| d.to_string()).collect();
    let text = format!("{{'descr': '<f2', 'fortran_order': False, 'shape': ({}), }}", shape.join(", "));
    let length = (10 + text.len() + 1).next_multiple_of(64) - 10;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend_from_slice(&(length as u16).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes.resize(10 + length - 1, b' ');
    bytes.push(b'\n');
    bytes
}
