//! Golden streams of pictures (docs/bitstream.md §11): what this build makes of streams that earlier builds wrote.
//!
//! As in vectors.rs, but in codec/tests/vectors/pictures/, and the video in them is the luma plane as it was packed: a video codec that loses
//! nothing. NAME.rec holds the restored layers, binary32, least significant byte first, picture after picture in the order of decoding.

mod common;
#[path = "common/golden.rs"]
mod golden;
#[path = "common/planes.rs"]
mod planes;
#[path = "common/streams.rs"]
mod streams;

use common::layers::write_all;
use common::{frame, layout, mean_std};
use fcm_codec::bitstream::InnerCodec;
use fcm_codec::picture::{
    Chroma, PackerConfig, PicturePacker, PictureReader, PictureUnpacker, PictureWriter, Plane, PlaneMut, Read,
    VideoCodec, WriterConfig,
};
use fcm_codec::{DecoderConfig, Dtype, FrameKind, Layout, Limits, Shape, StatisticsMode, StreamFormat};
use golden::{Named, Vector, compare, entry, layer_line, split};
use planes::row;
use std::error::Error;
use std::fmt::Write;
use std::path::PathBuf;

/// How far a restored value may be off, in standard deviations of its layer: floats are summed in other orders elsewhere.
const TOLERANCE: f64 = 1e-4;

/// Values of one layer of one picture.
type Restored = (Dtype, Vec<f32>);

fn directory() -> PathBuf {
    golden::directory().join("pictures")
}

/// Decodes a vector; the text that describes it, and the values of all layers of all pictures.
fn describe(reason: &str, transform: Option<&Named>, bytes: &[u8]) -> Result<(String, Vec<Restored>), Box<dyn Error>> {
    let mut text = format!("reason {reason}\n");
    if let Some((file, _)) = transform {
        writeln!(text, "transform {file}")?;
    }
    let transforms = transform.into_iter().map(|(_, t)| t.clone()).collect();
    let mut reader = PictureReader::new(Limits::default());
    let mut unpacker = PictureUnpacker::new(DecoderConfig { transforms, ..DecoderConfig::default() })?;
    let mut values = Vec::new();
    for unit in split(bytes, StreamFormat::ByteStream) {
        let Read::Picture(picture) = reader.read(unit)? else { panic!("a picture was expected") };
        let InnerCodec::Picture(format) = picture.info.sequence().inner else { panic!("a stream of pictures") };
        let kind = if picture.kind == FrameKind::RandomAccess { "random-access" } else { "predicted" };
        let (number, presentation, refreshed) = (picture.number, picture.presentation, picture.refreshed);
        writeln!(text, "picture {number} presented {presentation} {kind} refreshed {refreshed}")?;
        let (stride, sample) = row(&format);
        unpacker.unpack(&picture.info, Plane { data: picture.video, stride, sample })?;
        let layers = unpacker.layout().ok_or("a layout")?.layers().to_vec();
        for (layer, wide) in layers.iter().zip(write_all(&layers, |n, out| unpacker.write(n, out))?) {
            writeln!(text, "{}", layer_line(layer, &wide))?;
            values.push((layer.dtype, wide));
        }
    }
    Ok((text, values))
}

#[test]
fn every_vector_of_pictures_is_restored_to_the_values_it_was_made_with() -> Result<(), Box<dyn Error>> {
    let vectors = golden::read(&directory())?;
    for Vector { name, text: expected, transform, bytes, recorded } in &vectors {
        let reason = entry(expected, "reason").unwrap_or_default();
        let (text, layers) = describe(reason, transform.as_ref(), bytes)?;
        compare(name, &text, expected);

        let mut recorded = recorded.iter().copied().map(f32::from_le_bytes);
        for (n, (dtype, layer)) in layers.iter().enumerate() {
            let (_, std_dev) = mean_std(layer);
            // What lies between two values of binary16 may become either.
            let rounding = if *dtype == Dtype::F16 { 1e-3 } else { 1e-6 };
            for (at, &value) in layer.iter().enumerate() {
                let expected = recorded.next().ok_or_else(|| format!("{name}: values of layer {n} are missing"))?;
                let difference = f64::from(value - expected).abs();
                let most = TOLERANCE * std_dev + rounding * f64::from(expected).abs();
                assert!(difference <= most, "{name}: layer {n} at index {at} is {value}, expected {expected}");
            }
        }
        assert_eq!(recorded.next(), None, "{name}: values too few");
    }
    assert!(vectors.len() >= sources().len(), "{} vectors: see write_new_vectors", vectors.len());
    Ok(())
}

/// What a new vector is made of.
struct Source {
    name: &'static str,
    reason: &'static str,
    packer: PackerConfig,
    writer: WriterConfig,
    layout: Layout,
    /// Pictures by number in the order of decoding, and where random access points are.
    order: &'static [(u32, bool)],
}

/// Streams that new vectors are made of; the name of a vector tells its content and must be new.
fn sources() -> Vec<Source> {
    const PLAIN: &[(u32, bool)] = &[(0, true), (1, false), (2, false), (3, true)];
    const REORDERED: &[(u32, bool)] = &[(0, true), (4, false), (2, false), (1, false), (3, false)];
    let maps = || layout(&[(Shape::chw(2, 8, 12), Dtype::F32), (Shape::chw(3, 4, 6), Dtype::F16)]);
    let mixed = || layout(&[(Shape::chw(2, 5, 7), Dtype::F32), (Shape::vector(40), Dtype::F16)]);
    let klt = streams::transform(&[(2, 2, 2, false), (3, 1, 1, false)], 6, 3);
    let packer = |statistics| PackerConfig { statistics, framerate: (25, 1), ..PackerConfig::default() };
    let writer = |codec| WriterConfig { codec, ..WriterConfig::default() };
    vec![
        Source {
            name: "hevc-dct-2",
            reason: "version 2, block DCT, all defaults",
            packer: packer(StatisticsMode::ZScore),
            writer: WriterConfig { stats_period: 2, ..writer(VideoCodec::Hevc) },
            layout: maps(),
            order: PLAIN,
        },
        Source {
            name: "avc-8-bit-range-2",
            reason: "version 2, 8 bits without chroma, mode none: minimum and maximum of each picture",
            packer: PackerConfig { depth: 8, chroma: Chroma::None, ..packer(StatisticsMode::None) },
            writer: writer(VideoCodec::Avc),
            layout: mixed(),
            order: PLAIN,
        },
        Source {
            name: "av1-klt-reordered-2",
            reason: "version 2, a calibrated transform, pictures decoded in another order than presented, simplified",
            packer: PackerConfig { transform: Some(klt.clone()), ..packer(StatisticsMode::Simplified) },
            writer: writer(VideoCodec::Av1),
            layout: maps(),
            order: REORDERED,
        },
        Source {
            name: "vvc-ecs-2",
            reason: "version 2, mode ecs: peaks with every picture",
            packer: PackerConfig { components: Some(5), ..packer(StatisticsMode::Ecs) },
            writer: writer(VideoCodec::Vvc),
            layout: maps(),
            order: PLAIN,
        },
        Source {
            name: "hevc-partial-5",
            reason: "version 5, layers restored in part",
            packer: PackerConfig {
                transform: Some(klt),
                restoration_strength: Some(0.5),
                ..packer(StatisticsMode::ZScore)
            },
            writer: writer(VideoCodec::Hevc),
            layout: maps(),
            order: PLAIN,
        },
    ]
}

/// The stream of a source.
fn write(source: &Source) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut packer = PicturePacker::new(source.packer.clone(), source.layout.clone())?;
    let format = *packer.format();
    let (stride, sample) = row(&format);
    let mut pictures = Vec::new();
    for t in 0..source.order.len() as u32 {
        let mut plane = vec![0; stride * format.height as usize];
        let features = frame(&source.layout, 11, t);
        let record = packer.pack(&features.tensors(), PlaneMut { data: &mut plane, stride, sample })?;
        pictures.push((record, plane));
    }
    let mut writer = PictureWriter::new(source.writer.clone())?;
    let mut bytes = Vec::new();
    for &(number, random_access) in source.order {
        let (record, plane) = &pictures[number as usize];
        writer.write(record, plane, random_access, &mut bytes)?.ok_or("a stream begins with a random access point")?;
    }
    Ok(bytes)
}

/// Makes the vectors that are not there yet: `cargo test -p fcm-codec --test picture_vectors -- --ignored`. Existing files are left alone.
#[test]
#[ignore = "writes files"]
fn write_new_vectors() -> Result<(), Box<dyn Error>> {
    for source in sources() {
        if directory().join(format!("{}.fcm", source.name)).exists() {
            continue;
        }
        let transform = source.packer.transform.clone().map(|t| (format!("{}.fcmt", source.name), t));
        let bytes = write(&source)?;
        let (text, layers) = describe(source.reason, transform.as_ref(), &bytes)?;
        let recorded = layers.iter().flat_map(|(_, values)| values).map(|v| v.to_le_bytes()).collect();
        golden::write(&directory(), &Vector { name: source.name.to_owned(), text, transform, bytes, recorded })?;
    }
    Ok(())
}
