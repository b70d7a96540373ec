//! Streams of pictures (docs/bitstream.md §11) from fuzzed settings and features, whole, with lost and with wild units.

use super::planes::row;
use super::source::Source;
use super::units::{PICTURE, PREDICTED, RANDOM_ACCESS, join, split};
use super::{limits, write_layers};
use fcm_codec::picture::{
    Chroma, CodedPicture, PackerConfig, PictureFormat, PicturePacker, PictureReader, PictureUnpacker, PictureWriter,
    Plane, PlaneMut, Read, VideoCodec, WriterConfig,
};
use fcm_codec::{DecoderConfig, ErrorKind, FrameKind};

/// Fates of a unit; with others it arrives.
const LOST: u8 = 2;
const WILD: u8 = 3;

/// What a writer writes a reader reads: the same video, kind and number; of a unit that is lost, or wild with a right check, nothing is made up.
/// An unpacker takes any samples.
pub fn pictures(data: &[u8]) {
    let mut source = Source::new(data);
    let (config, layout) = source.config();
    let flags = source.u8();
    let packer = PackerConfig {
        statistics: config.statistics,
        restoration_strength: config.restoration_strength,
        transform: config.transform.clone(),
        components: config.components,
        depth: if flags & 1 == 0 { 10 } else { 8 },
        chroma: if flags & 2 == 0 { Chroma::Flat420 } else { Chroma::None },
        framerate: config.framerate,
        limits: limits(),
        ..PackerConfig::default()
    };
    let mut packer = match PicturePacker::new(packer, layout.clone()) {
        Ok(packer) => packer,
        // A picture is at least 64 x 64 and has tiles for all components, which may be more samples than the limit.
        Err(e) => return assert_eq!(e.kind(), ErrorKind::LimitExceeded, "{e}"),
    };
    let writer = WriterConfig {
        codec: VideoCodec::ALL[usize::from(flags >> 2) % VideoCodec::ALL.len()],
        format: config.format,
        stats_period: config.stats_period,
        stats_threshold: config.stats_threshold,
        limits: limits(),
    };
    let mut writer = PictureWriter::new(writer).expect("a legal threshold");
    let mut reader = PictureReader::new(limits());
    let transforms = config.transform.iter().cloned().collect();
    let decoder = DecoderConfig { transforms, limits: limits(), ..DecoderConfig::default() };
    let mut unpacker = PictureUnpacker::new(decoder).expect("a legal config");
    let format = *packer.format();
    let mut plane = vec![0; row(&format).0 * format.height as usize];
    // Whether the reader has all that the next predicted picture is predicted from.
    let mut follows = false;
    for n in 0..8 {
        let control = source.u8();
        let features = source.features(&layout);
        let (stride, sample) = row(&format);
        let out = PlaneMut { data: &mut plane, stride, sample };
        let record = match packer.pack(&features.tensors(), out) {
            Ok(record) => record,
            Err(e) => {
                let expected = if features.finite() { ErrorKind::LimitExceeded } else { ErrorKind::InvalidInput };
                assert_eq!(e.kind(), expected, "{e}");
                continue;
            }
        };
        let video = [&[control], &source.take(usize::from(control >> 4))[..]].concat();
        let random_access = control & 3 == 3;
        let mut unit = Vec::new();
        let Some(written) = writer.write(&record, &video, random_access, &mut unit).expect("a picture of this stream")
        else {
            assert!(!random_access, "picture {n} was not written");
            continue;
        };
        match control >> 2 & 3 {
            LOST => {
                follows = false;
                continue;
            }
            WILD => {
                unit = wild(&mut source, &unit);
                if let Ok(Read::Picture(picture)) = reader.read(&unit) {
                    unpack(&mut unpacker, &picture, &plane, &format);
                }
                // What it was taken for is not known here, so neither is what its successors are predicted from.
                reader.reset();
                follows = false;
                continue;
            }
            _ => {}
        }
        follows |= written.kind == FrameKind::RandomAccess;
        match reader.read(&unit).expect("what a writer wrote") {
            Read::Picture(picture) => {
                assert!(follows, "picture {n} is predicted from what is missing");
                assert_eq!(
                    (picture.video, picture.kind, u64::from(picture.presentation), picture.refreshed),
                    (&video[..], written.kind, record.number % 256, written.refreshed)
                );
                assert!(unpack(&mut unpacker, &picture, &plane, &format), "picture {n} cannot be restored");
            }
            Read::AwaitingRandomAccess { .. } => assert!(!follows, "picture {n} was withheld"),
        }
        if source.is_empty() {
            break;
        }
    }
}

/// The same unit, or with a few other bytes in its statistics and its picture, or with none of theirs; with right checks.
fn wild(source: &mut Source<'_>, unit: &[u8]) -> Vec<u8> {
    let (marked, mut units) = split(unit);
    for unit in units.iter_mut().filter(|u| [PICTURE, RANDOM_ACCESS, PREDICTED].contains(&u.unit_type())) {
        match source.u8() {
            size @ 0..32 => unit.payload = source.take(usize::from(size)),
            pokes => {
                for _ in 0..pokes % 4 {
                    let (at, byte) = (usize::from(source.u8()), source.u8());
                    // Statistics of mode none are no bytes.
                    let at = at % unit.payload.len().max(1);
                    unit.payload.get_mut(at).into_iter().for_each(|b| *b = byte);
                }
            }
        }
    }
    join(marked, &units)
}

/// Restores a picture whose samples are `plane`, as far as there are enough, and writes all layers. Returns whether it could be restored.
fn unpack(unpacker: &mut PictureUnpacker, picture: &CodedPicture<'_>, plane: &[u8], format: &PictureFormat) -> bool {
    let (stride, sample) = row(format);
    if unpacker.unpack(&picture.info, Plane { data: plane, stride, sample }).is_err() {
        return false;
    }
    let layout = unpacker.layout().expect("the layout of a restored picture").clone();
    write_layers(&layout, |n, out| unpacker.write(n, out));
    true
}
