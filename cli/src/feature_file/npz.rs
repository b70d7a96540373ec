//! `.npz` files (NumPy's archives of arrays): where the values of each array are, and writing them.
//!
//! The zip crate reads the directory; values are read past it, because all members are read side by side.

use super::npy::NpyHeader;
use super::{Array, SpooledLayer};
use anyhow::{Context, Result, bail, ensure};
use fcm_codec::{Dtype, Limits};
use flate2::read::DeflateDecoder;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// Bytes read at a time from each member.
const CHUNK: usize = 1 << 18;

/// What the directory says of a member.
struct Member {
    name: String,
    start: u64,
    packed: u64,
    size: u64,
    crc: u32,
    deflated: bool,
}

/// The arrays of the file at `path`, in the order of its directory.
///
/// # Errors
/// When the file is no whole zip file, or holds anything but arrays of finite-precision numbers in C order.
pub fn open(path: &Path, limits: &Limits) -> Result<Vec<Array>> {
    let members = directory(path, limits)?;
    members
        .into_iter()
        .map(|m| {
            let name = m.name.clone();
            array(path, m).with_context(|| format!("array {name:?}"))
        })
        .collect()
}

fn directory(path: &Path, limits: &Limits) -> Result<Vec<Member>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut archive = ZipArchive::new(BufReader::new(file)).context("it is not a whole .npz (zip) file")?;
    let (count, most) = (archive.len(), limits.max_layers as usize);
    ensure!(count <= most, "it holds {count} arrays, legal are 1 to {most}");
    let mut members: Vec<Member> = Vec::with_capacity(count);
    for i in 0..count {
        let file = archive.by_index_raw(i).with_context(|| format!("member {i} of the zip file"))?;
        let file_name = file.name().with_context(|| format!("the name of member {i} of the zip file"))?.into_owned();
        let name = file_name
            .strip_suffix(".npy")
            .with_context(|| format!("its member {file_name:?} is not an array (.npy)"))?
            .to_owned();
        ensure!(!file.encrypted(), "array {name:?} is encrypted");
        let deflated = match file.compression() {
            CompressionMethod::Stored => false,
            CompressionMethod::DEFLATE => true,
            other => bail!("array {name:?} is packed with {other}, legal are stored and deflated"),
        };
        let start = file.data_start().with_context(|| format!("array {name:?} has no data"))?;
        let (packed, size, crc) = (file.compressed_size(), file.size(), file.crc32());
        let within = start.checked_add(packed).is_some_and(|end| end <= length);
        ensure!(within, "array {name:?} should have {packed} bytes from byte {start} on, the file has {length}");
        ensure!(deflated || packed == size, "array {name:?} is stored in {packed} bytes but has {size}");
        ensure!(members.iter().all(|m| m.name != name), "it holds two arrays of the name {name:?}");
        members.push(Member { name, start, packed, size, crc, deflated });
    }
    Ok(members)
}

fn array(path: &Path, member: Member) -> Result<Array> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(member.start))?;
    let packed = BufReader::with_capacity(CHUNK, file.take(member.packed));
    let unpacked: Box<dyn Read> =
        if member.deflated { Box::new(DeflateDecoder::new(packed)) } else { Box::new(packed) };
    let mut data = Checked { source: unpacked, left: member.size, crc: member.crc, hasher: crc32fast::Hasher::new() };
    let (header, header_length) = NpyHeader::read(&mut data)?;
    let (dtype, big_endian) = match header.descr.as_str() {
        "<f2" => (Dtype::F16, false),
        ">f2" => (Dtype::F16, true),
        "<f4" => (Dtype::F32, false),
        ">f4" => (Dtype::F32, true),
        other if other.contains('O') => {
            bail!("it holds pickled Python objects ({other}), legal are f16 and f32 numbers")
        }
        other => bail!("its values are of type {other:?}, legal are f16 and f32 (<f2, <f4, >f2, >f4)"),
    };
    ensure!(
        !header.fortran_order,
        "it is in Fortran order, whose frames do not lie one after the other; save numpy.ascontiguousarray(…) of it"
    );
    let promised = header
        .shape
        .iter()
        .try_fold(dtype.size() as u64, |bytes, n| bytes.checked_mul(*n))
        .and_then(|bytes| bytes.checked_add(header_length));
    ensure!(
        promised == Some(member.size),
        "its shape {:?} does not agree with its {} bytes",
        header.shape,
        member.size
    );
    let swap = big_endian != cfg!(target_endian = "big");
    Ok(Array { name: member.name, dims: header.shape, dtype, swap, data: Box::new(data) })
}

/// The bytes of a member, checked against the directory's checksum as the last of them are read.
struct Checked<R> {
    source: R,
    left: u64,
    crc: u32,
    hasher: crc32fast::Hasher,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.source.read(&mut buffer[..most])?;
        self.hasher.update(&buffer[..read]);
        self.left -= read as u64;
        if self.left == 0 && read > 0 {
            let crc = self.hasher.clone().finalize();
            if crc != self.crc {
                let message = format!("checksum {crc:08x}, the directory says {:08x}", self.crc);
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        }
        Ok(read)
    }
}

/// Writes spooled layers of `frames` frames as stored members, as `numpy.savez` does.
///
/// # Errors
/// When something cannot be written.
pub fn write(layers: Vec<SpooledLayer>, frames: u64, out: impl Write + Seek) -> Result<()> {
    let mut zip = ZipWriter::new(out);
    for layer in layers {
        let descr = match layer.dtype {
            Dtype::F16 => "<f2",
            Dtype::F32 => "<f4",
        };
        let header = NpyHeader { descr: descr.into(), fortran_order: false, shape: layer.dims(frames) }.to_bytes();
        let (bytes, mut values) = layer.finish()?;
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .large_file(bytes + header.len() as u64 > u64::from(u32::MAX));
        zip.start_file(format!("{}.npy", layer.name), options)?;
        zip.write_all(&header)?;
        io::copy(&mut values, &mut zip)?;
    }
    zip.finish()?.flush()?;
    Ok(())
}
