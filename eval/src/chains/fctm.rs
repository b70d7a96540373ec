//! The chain of MPEG's reference software: fused tensor, 10-bit tiles of a picture, a video codec; with statistics restored.

use super::coder::{Coder, Picture, Unit};
use super::program::{Programs, SVT_AV1, VVENC};
use super::stage::{Stage, versions};
use super::{Chain, FarSide, Input, KEY_INT_MAX, Sent, Setting, Wanted, number, runtime};
use crate::features::Frame;
use anyhow::{Context, Result, bail, ensure};
use fcm_codec::bitstream::stream::end_of_stream;
use fcm_codec::picture::{
    PackerConfig, PictureInfo, PicturePacker, PictureReader, PictureRecord, PictureUnpacker, PictureWriter, Plane,
    PlaneMut, Read, Sample, VideoCodec, WriterConfig,
};
use fcm_codec::{DecoderConfig, Limits, StatisticsMode, TensorMut, TensorRef};
use half::f16;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// Components where the name does not say how many: what MPEG's chain is usually given, and no worse than others (docs/evaluation.md).
const COMPONENTS: u32 = 128;
/// Bits of a sample.
const DEPTH: u8 = 10;

/// A video encoder and its decoder.
struct Video {
    name: &'static str,
    codec: VideoCodec,
    /// Quantisers from where accuracy is nearly that of the features to where it has clearly fallen.
    points: [u8; 5],
    qps: RangeInclusive<u8>,
    by: By,
}

/// Who codes.
enum By {
    Elements,
    Programs(Programs),
}

static VIDEOS: [Video; 3] = [
    Video { name: "x265", codec: VideoCodec::Hevc, points: [20, 23, 26, 29, 33], qps: 0..=50, by: By::Elements },
    Video {
        name: "svtav1",
        codec: VideoCodec::Av1,
        points: [20, 27, 34, 41, 49],
        qps: 1..=63,
        by: By::Programs(SVT_AV1),
    },
    Video { name: "vvenc", codec: VideoCodec::Vvc, points: [16, 20, 24, 28, 32], qps: 0..=63, by: By::Programs(VVENC) },
];

const H265: &str = "video/x-h265,stream-format=byte-stream,alignment=au";
const RAW: &str = "video/x-raw,format=I420_10LE";
const H265_DECODER: &str = "avdec_h265 max-threads=1";

fn x265(qp: u8) -> String {
    format!(
        "x265enc qp={qp} tune=zerolatency speed-preset=medium key-int-max={KEY_INT_MAX} \
         option-string=bframes=0:scenecut=0:open-gop=0:pools=none:log-level=none"
    )
}

impl Video {
    fn identity(&self) -> Result<Value> {
        match &self.by {
            By::Elements => {
                let elements = [("x265enc", "gstreamer1.0-plugins-bad"), ("avdec_h265", "gstreamer1.0-libav")];
                Ok(json!({"encoder": x265(0), "versions": versions(&elements)?}))
            }
            By::Programs(programs) => programs.identity(),
        }
    }

    /// How pictures lie: in GStreamer rows are multiples of 4 bytes.
    fn picture(&self, (width, height): (u32, u32), framerate: (u32, u32)) -> Picture {
        let alignment = if matches!(self.by, By::Elements) { 4 } else { 1 };
        Picture { width: width as usize, height: height as usize, depth: DEPTH, alignment, framerate }
    }

    fn start(&self, picture: &Picture, qp: u8) -> Result<(Box<dyn Coder>, Box<dyn Coder>)> {
        Ok(match &self.by {
            By::Elements => {
                let caps = |media: &str| format!("{media},width={},height={}", picture.width, picture.height);
                let encoder = Stage::start(&caps(RAW), picture.framerate, &x265(qp), H265)?;
                let decoder = Stage::start(&caps(H265), picture.framerate, H265_DECODER, RAW)?;
                (Box::new(encoder), Box::new(decoder))
            }
            By::Programs(programs) => (Box::new(programs.encoder(picture, qp)?), Box::new(programs.decoder(picture)?)),
        })
    }
}

/// Features as pictures through a video encoder, without delay. Bytes are those of the `.fcm` file that `fcmpack`, this encoder and
/// `fcmmux` write.
pub struct Fctm {
    name: String,
    video: &'static Video,
    components: u32,
    statistics: StatisticsMode,
}

impl Fctm {
    /// `fctm-x265` and others by their video encoder, `fctm-x265-k256` with so many components, `fctm-x265-none` with other statistics;
    /// the number before the mode.
    ///
    /// # Errors
    /// When `name` is none of these.
    pub fn by_name(name: &str) -> Result<Self> {
        let (video, mut rest) = video(name).with_context(|| {
            let names: Vec<String> = VIDEOS.iter().map(|v| format!("fctm-{}", v.name)).collect();
            format!(
                "chain {name:?}, legal are {}, each also followed by -kN, and then by -none, -ecs, -simplified or -z-score",
                names.join(", ")
            )
        })?;
        let mut components = COMPONENTS;
        if let Some(after) = rest.strip_prefix("-k") {
            let (count, mode) = after.split_at(after.find('-').unwrap_or(after.len()));
            components = number(count, 1, 1 << 22)?;
            rest = mode;
        }
        let statistics = match rest {
            "" => StatisticsMode::default(),
            mode => mode.trim_start_matches('-').parse()?,
        };
        Ok(Self { name: name.to_owned(), video, components, statistics })
    }
}

/// The video encoder in a chain's name, and what comes after it.
fn video(name: &str) -> Option<(&'static Video, &str)> {
    let rest = name.strip_prefix("fctm-")?;
    VIDEOS.iter().find_map(|video| {
        let rest = rest.strip_prefix(video.name)?;
        (rest.is_empty() || rest.starts_with('-')).then_some((video, rest))
    })
}

impl Chain for Fctm {
    fn name(&self) -> &str {
        &self.name
    }

    fn default_points(&self) -> Vec<Setting> {
        self.video.points.map(Setting::Qp).to_vec()
    }

    fn parse_point(&self, text: &str) -> Result<Setting> {
        number(text, *self.video.qps.start(), *self.video.qps.end()).map(Setting::Qp)
    }

    fn identity(&self) -> Result<Value> {
        Ok(json!({"codec": env!("FCM_EVAL_CODEC"), "video": self.video.identity()?}))
    }

    fn wanted(&self) -> Wanted {
        Wanted::Any
    }

    fn send(&self, input: &Input<'_>, setting: Setting, far: &mut dyn FarSide) -> Result<Sent> {
        let Setting::Qp(qp) = setting else { bail!("setting {setting:?}, legal are qp") };
        let available = input.transform.as_ref().map_or(u32::MAX, |t| t.components());
        let config = PackerConfig {
            statistics: self.statistics,
            transform: input.transform.clone(),
            runtime: runtime(),
            components: Some(self.components.min(available)),
            depth: DEPTH,
            framerate: input.framerate,
            ..PackerConfig::default()
        };
        let mut packer = PicturePacker::new(config, input.features.layout().clone())?;
        let picture = self.video.picture((packer.format().width, packer.format().height), input.framerate);
        let (mut encoder, mut decoder) = self.video.start(&picture, qp)?;
        let mut road = Road::new(self.video.codec)?;
        let mut shown = Shown::new(input, picture, far)?;

        let mut packing = Duration::ZERO;
        let mut frame = Frame::default();
        // Records of pictures in the encoder.
        let mut records = VecDeque::new();
        for n in 0..input.features.frames() {
            input.features.read(n, &mut frame)?;
            let clock = Instant::now();
            let (record, samples) = pack(&mut packer, &frame, &picture)?;
            packing += clock.elapsed();
            records.push_back(record);
            encoder.push(samples, &mut |unit| road.travel(unit, &mut records, &mut *decoder, &mut shown))?;
        }
        encoder.finish(&mut |unit| road.travel(unit, &mut records, &mut *decoder, &mut shown))?;
        decoder.finish(&mut |unit| shown.show(&unit))?;
        ensure!(
            records.is_empty() && shown.infos.is_empty(),
            "{} pictures stay in the encoder, {} in the decoder",
            records.len(),
            shown.infos.len()
        );
        Ok(Sent {
            // A file ends with this unit.
            bytes: road.sent.bytes + end_of_stream().len() as u64,
            encoding: packing + encoder.busy() + road.sent.encoding,
            decoding: road.sent.decoding + decoder.busy() + shown.unpacking,
        })
    }
}

fn pack(packer: &mut PicturePacker, frame: &Frame, picture: &Picture) -> Result<(PictureRecord, Vec<u8>)> {
    let mut samples = vec![0u8; picture.bytes()];
    let (luma, chroma) = samples.split_at_mut(picture.luma_bytes());
    let tensors: Vec<TensorRef<'_>> = frame.layers.iter().map(|l| TensorRef::F16(l)).collect();
    let record = packer.pack(&tensors, PlaneMut { data: luma, stride: picture.stride(), sample: Sample::U16 })?;
    chroma.as_chunks_mut::<2>().0.fill((1u16 << (DEPTH - 1)).to_le_bytes());
    Ok((record, samples))
}

/// From the video encoder to the video decoder, in our access units.
struct Road {
    writer: PictureWriter,
    reader: PictureReader,
    unit: Vec<u8>,
    sent: Sent,
}

impl Road {
    fn new(codec: VideoCodec) -> Result<Self> {
        Ok(Self {
            writer: PictureWriter::new(WriterConfig { codec, ..WriterConfig::default() })?,
            reader: PictureReader::new(Limits::default()),
            unit: Vec::new(),
            sent: Sent::default(),
        })
    }

    fn travel(
        &mut self,
        coded: Unit<'_>,
        records: &mut VecDeque<PictureRecord>,
        decoder: &mut dyn Coder,
        shown: &mut Shown<'_>,
    ) -> Result<()> {
        let record = records.pop_front().context("the encoder gave more pictures than it got")?;
        let clock = Instant::now();
        self.unit.clear();
        let written = self.writer.write(&record, coded.data, coded.random_access, &mut self.unit)?;
        written.context("the first picture is no key frame")?;
        self.sent.encoding += clock.elapsed();
        self.sent.bytes += self.unit.len() as u64;

        let clock = Instant::now();
        let Read::Picture(read) = self.reader.read(&self.unit)? else {
            bail!("a picture of a whole stream is missing")
        };
        shown.infos.push_back(read.info);
        let video = read.video.to_vec();
        self.sent.decoding += clock.elapsed();
        decoder.push(video, &mut |unit| shown.show(&unit))
    }
}

/// From the pictures of the video decoder to the far side.
struct Shown<'a> {
    picture: Picture,
    /// Of pictures in the decoder.
    infos: VecDeque<PictureInfo>,
    unpacker: PictureUnpacker,
    layers: Vec<Vec<f16>>,
    far: &'a mut dyn FarSide,
    unpacking: Duration,
}

impl<'a> Shown<'a> {
    fn new(input: &Input<'_>, picture: Picture, far: &'a mut dyn FarSide) -> Result<Self> {
        let transforms = input.transform.iter().cloned().collect();
        let config = DecoderConfig { transforms, runtime: runtime(), ..DecoderConfig::default() };
        let layers = input.features.layout().layers().iter();
        Ok(Self {
            picture,
            infos: VecDeque::new(),
            unpacker: PictureUnpacker::new(config)?,
            layers: layers.map(|l| vec![f16::ZERO; l.shape.elements() as usize]).collect(),
            far,
            unpacking: Duration::ZERO,
        })
    }

    fn show(&mut self, decoded: &Unit<'_>) -> Result<()> {
        let (bytes, expected) = (decoded.data.len(), self.picture.bytes());
        ensure!(bytes == expected, "a picture of {bytes} bytes, {expected} were expected");
        let info = self.infos.pop_front().context("the decoder gave more pictures than it got")?;
        let clock = Instant::now();
        let stride = self.picture.stride();
        self.unpacker.unpack(&info, Plane { data: decoded.data, stride, sample: Sample::U16 })?;
        for (n, layer) in self.layers.iter_mut().enumerate() {
            self.unpacker.write(n, TensorMut::F16(layer))?;
        }
        self.unpacking += clock.elapsed();
        self.far.features(&self.layers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{Collected, Folder, features, input};

    #[test]
    fn names_say_components_and_statistics() {
        let of = |name: &str| Fctm::by_name(name).map(|c| (c.components, c.statistics));
        assert_eq!(of("fctm-x265").unwrap(), (COMPONENTS, StatisticsMode::ZScore));
        assert_eq!(of("fctm-x265-k256").unwrap(), (256, StatisticsMode::ZScore));
        assert_eq!(of("fctm-x265-none").unwrap(), (COMPONENTS, StatisticsMode::None));
        assert_eq!(of("fctm-x265-k64-ecs").unwrap(), (64, StatisticsMode::Ecs));
        assert_eq!(of("fctm-svtav1-k64-simplified").unwrap(), (64, StatisticsMode::Simplified));
        assert_eq!(of("fctm-x264").unwrap_err().to_string().matches("fctm-").count(), 1 + VIDEOS.len());
        for bad in
            ["fctm-x264", "fctm-", "fctm-svtav10", "fctm-x265k", "fctm-x265-k0", "fctm-x265-kx", "fctm-x265-nothing"]
        {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    /// A real encoder and a real decoder; where they are not installed the test says so.
    fn run(name: &str, qps: [u8; 2]) {
        let chain = Fctm::by_name(name).unwrap();
        if let Err(e) = chain.identity() {
            eprintln!("SKIPPED: {e:#}");
            return;
        }
        let folder = Folder::new().unwrap();
        let file = features(&folder.path().join("a.f16"), 40);
        let mut results = Vec::new();
        for qp in qps {
            let mut far = Collected::default();
            // A frame rate that clocks of 90 kHz and 27 MHz do not divide.
            let input = Input { framerate: (7, 1), ..input(&file) };
            let sent = chain.send(&input, Setting::Qp(qp), &mut far).unwrap();
            assert_eq!(far.features.len(), 40);
            let mut frame = Frame::default();
            let mut error = 0.0;
            for (n, got) in far.features.iter().enumerate() {
                file.read(n as u64, &mut frame).unwrap();
                let pairs = frame.layers.iter().flatten().zip(got.iter().flatten());
                error += pairs.map(|(a, b)| f64::from(a.to_f32() - b.to_f32()).powi(2)).sum::<f64>();
            }
            results.push((sent.bytes, error / (40.0 * 440.0)));
        }
        assert!(results[0].0 > results[1].0 && results[0].1 < results[1].1, "{results:?}");
        // The features have a variance of about 2.
        assert!(results[0].1 < 0.02, "{results:?}");
    }

    #[test]
    fn features_come_through_x265_at_the_rate_its_qp_asks_for() {
        run("fctm-x265-k22", [8, 34]);
    }

    #[test]
    fn features_come_through_svt_av1_at_the_rate_its_qp_asks_for() {
        run("fctm-svtav1-k22", [8, 50]);
    }

    #[test]
    fn features_come_through_vvenc_at_the_rate_its_qp_asks_for() {
        run("fctm-vvenc-k22", [10, 36]);
    }
}
