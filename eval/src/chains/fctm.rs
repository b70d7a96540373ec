//! The chain of MPEG's reference software: fused tensor, 10-bit tiles of a picture, a video codec; with statistics restored.

use super::stage::Stage;
use super::{Chain, FarSide, Input, KEY_INT_MAX, Sent, Setting, Wanted, number, runtime};
use crate::features::Frame;
use anyhow::{Context, Result, bail, ensure};
use fcm_codec::bitstream::stream::end_of_stream;
use fcm_codec::picture::{
    PackerConfig, PicturePacker, PictureReader, PictureUnpacker, PictureWriter, Plane, PlaneMut, Read, Sample,
    WriterConfig,
};
use fcm_codec::{DecoderConfig, Limits, StatisticsMode, TensorMut, TensorRef};
use gst::prelude::*;
use half::f16;
use serde_json::{Value, json};
use std::time::Instant;

/// Components where the name does not say how many: what MPEG's chain is usually given, and no worse than others (docs/evaluation.md).
const COMPONENTS: u32 = 128;
/// Bits of a sample.
const DEPTH: u8 = 10;
const CAPS: &str = "video/x-h265,stream-format=byte-stream,alignment=au";
const DECODER: &str = "avdec_h265 max-threads=1";

/// Features as pictures through x265, with preset medium and without delay. Bytes are those of the `.fcm` file that `fcmpack`, this
/// encoder and `fcmmux` write.
pub struct Fctm {
    name: String,
    components: u32,
    statistics: StatisticsMode,
}

fn encoder(qp: u8) -> String {
    format!(
        "x265enc qp={qp} tune=zerolatency speed-preset=medium key-int-max={KEY_INT_MAX} \
         option-string=bframes=0:scenecut=0:open-gop=0:pools=none:log-level=none"
    )
}

impl Fctm {
    /// `fctm-x265`, `fctm-x265-k256` with so many components, `fctm-x265-none` with other statistics; the number before the mode.
    ///
    /// # Errors
    /// When `name` is none of these.
    pub fn by_name(name: &str) -> Result<Self> {
        let mut chain = Self { name: name.to_owned(), components: COMPONENTS, statistics: StatisticsMode::default() };
        let mut rest = name.strip_prefix("fctm-x265").filter(|rest| rest.is_empty() || rest.starts_with('-'));
        if let Some(after) = rest.and_then(|rest| rest.strip_prefix("-k")) {
            let (count, mode) = after.split_at(after.find('-').unwrap_or(after.len()));
            chain.components = number(count, 1, 1 << 22)?;
            rest = Some(mode);
        }
        match rest {
            Some("") => Ok(chain),
            Some(mode) => {
                chain.statistics = mode.trim_start_matches('-').parse()?;
                Ok(chain)
            }
            None => bail!(
                "chain {name:?}, legal are fctm-x265 and fctm-x265-kN, and either followed by -none, -ecs, -simplified or -z-score"
            ),
        }
    }
}

/// A picture in GStreamer's layout of I420_10LE: rows are multiples of 4 bytes.
struct Picture {
    width: usize,
    height: usize,
}

impl Picture {
    fn stride(&self) -> usize {
        (2 * self.width).next_multiple_of(4)
    }

    fn chroma_stride(&self) -> usize {
        self.width.next_multiple_of(4)
    }

    fn luma_bytes(&self) -> usize {
        self.stride() * self.height
    }

    fn bytes(&self) -> usize {
        self.luma_bytes() + self.chroma_stride() * self.height
    }

    fn caps(&self, media: &str, (n, d): (u32, u32)) -> String {
        format!("{media},width={},height={},framerate={n}/{d}", self.width, self.height)
    }
}

impl Chain for Fctm {
    fn name(&self) -> &str {
        &self.name
    }

    fn default_points(&self) -> Vec<Setting> {
        [20, 23, 26, 29, 33].map(Setting::Qp).to_vec()
    }

    fn parse_point(&self, text: &str) -> Result<Setting> {
        number(text, 0, 50).map(Setting::Qp)
    }

    fn identity(&self) -> Result<Value> {
        gst::init()?;
        let mut versions = Vec::new();
        for (element, package) in [("x265enc", "gstreamer1.0-plugins-bad"), ("avdec_h265", "gstreamer1.0-libav")] {
            let factory = gst::ElementFactory::find(element);
            let factory = factory.with_context(|| format!("there is no element {element} (Debian: {package})"))?;
            versions.push(factory.plugin().map(|p| p.version().to_string()));
        }
        Ok(json!({"codec": env!("FCM_EVAL_CODEC"), "encoder": encoder(0), "versions": versions}))
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
        let mut writer = PictureWriter::new(WriterConfig::default())?;
        let mut reader = PictureReader::new(Limits::default());
        let transforms = input.transform.iter().cloned().collect();
        let config = DecoderConfig { transforms, runtime: runtime(), ..DecoderConfig::default() };
        let mut unpacker = PictureUnpacker::new(config)?;
        let picture = Picture { width: packer.format().width as usize, height: packer.format().height as usize };
        let raw = picture.caps("video/x-raw,format=I420_10LE", input.framerate);
        let mut encoder = Stage::start(&raw, &encoder(qp), CAPS)?;
        let coded = picture.caps(CAPS, input.framerate);
        let mut decoder = Stage::start(&coded, DECODER, "video/x-raw,format=I420_10LE")?;

        let mut sent = Sent::default();
        let mut frame = Frame::default();
        let mut decoded: Vec<Vec<f16>> = Vec::new();
        let mut unit = Vec::new();
        for n in 0..input.features.frames() {
            input.features.read(n, &mut frame)?;
            let clock = Instant::now();
            let mut bytes = vec![0u8; picture.bytes()];
            let (luma, chroma) = bytes.split_at_mut(picture.luma_bytes());
            let tensors: Vec<TensorRef<'_>> = frame.layers.iter().map(|l| TensorRef::F16(l)).collect();
            let record =
                packer.pack(&tensors, PlaneMut { data: luma, stride: picture.stride(), sample: Sample::U16 })?;
            chroma.as_chunks_mut::<2>().0.fill((1u16 << (DEPTH - 1)).to_le_bytes());
            let mut buffer = gst::Buffer::from_mut_slice(bytes);
            stamp(&mut buffer, n, input.framerate);
            sent.encoding += clock.elapsed();
            let video = one(encoder.push(buffer)?)?;

            let clock = Instant::now();
            unit.clear();
            let random_access = !video.flags().contains(gst::BufferFlags::DELTA_UNIT);
            let map = video.map_readable().context("the coded picture cannot be read")?;
            writer.write(&record, &map, random_access, &mut unit)?.context("the first picture is no key frame")?;
            drop(map);
            sent.encoding += clock.elapsed();
            sent.bytes += unit.len() as u64;

            let clock = Instant::now();
            let Read::Picture(read) = reader.read(&unit)? else { bail!("picture {n} of a whole stream is missing") };
            let mut video = gst::Buffer::from_slice(read.video.to_vec());
            stamp(&mut video, n, input.framerate);
            sent.decoding += clock.elapsed();
            let shown = one(decoder.push(video)?)?;

            let clock = Instant::now();
            let map = shown.map_readable().context("the picture cannot be read")?;
            ensure!(
                map.len() == picture.bytes(),
                "a picture of {} bytes, {} were expected",
                map.len(),
                picture.bytes()
            );
            unpacker.unpack(&read.info, Plane { data: &map, stride: picture.stride(), sample: Sample::U16 })?;
            decoded.resize_with(frame.layers.len(), Vec::new);
            for (n, (to, from)) in decoded.iter_mut().zip(&frame.layers).enumerate() {
                to.resize(from.len(), f16::ZERO);
                unpacker.write(n, TensorMut::F16(to))?;
            }
            sent.decoding += clock.elapsed();
            far.features(&decoded)?;
        }
        ensure!(encoder.finish()?.is_empty() && decoder.finish()?.is_empty(), "pictures are left");
        sent.encoding += encoder.busy;
        sent.decoding += decoder.busy;
        // A file ends with this unit.
        sent.bytes += end_of_stream().len() as u64;
        Ok(sent)
    }
}

fn one(samples: std::collections::VecDeque<gst::Sample>) -> Result<gst::Buffer> {
    let sample = samples.into_iter().next().context("no picture came out")?;
    sample.buffer_owned().context("a sample without a picture")
}

fn stamp(buffer: &mut gst::Buffer, n: u64, (rate_n, rate_d): (u32, u32)) {
    let time = |n: u64| gst::ClockTime::SECOND.mul_div_floor(n * u64::from(rate_d), rate_n.into());
    if let Some(b) = buffer.get_mut() {
        b.set_pts(time(n));
        b.set_duration(time(1));
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
        for bad in ["fctm-x264", "fctm-x265k", "fctm-x265-k0", "fctm-x265-kx", "fctm-x265-nothing"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn features_come_through_x265_at_the_rate_its_qp_asks_for() {
        let chain = Fctm::by_name("fctm-x265-k22").unwrap();
        if let Err(e) = chain.identity() {
            eprintln!("skipped: {e:#}");
            return;
        }
        let folder = Folder::new();
        let file = features(&folder.path().join("a.f16"), 40);
        let mut results = Vec::new();
        for qp in [8, 34] {
            let mut far = Collected::default();
            let sent = chain.send(&input(&file), Setting::Qp(qp), &mut far).unwrap();
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
}
