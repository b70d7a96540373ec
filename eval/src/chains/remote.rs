//! Remote inference: the picture itself goes through a video encoder, and the far side runs the whole network.

use super::stage::{Stage, versions};
use super::{Chain, FarSide, Input, KEY_INT_MAX, Sent, Setting, number};
use crate::video::{buffer, picture};
use anyhow::{Context, Result, bail, ensure};
use image::imageops::FilterType;
use serde_json::{Value, json};
use std::collections::VecDeque;

/// A video encoder and its decoder, as pipeline descriptions.
struct Coder {
    name: &'static str,
    /// Elements that must be there, with the Debian packages that have them.
    elements: [(&'static str, &'static str); 2],
    encoder: fn(qp: u8) -> String,
    caps: &'static str,
    decoder: &'static str,
    /// Quantisers from where accuracy is that of the pictures to where it has clearly fallen.
    points: [u8; 5],
}

/// The picture, scaled to what the network sees of it, through a video encoder without delay.
pub struct Remote(Coder);

impl Remote {
    /// H.264 by x264.
    pub fn x264() -> Self {
        Self(Coder {
            name: "remote-x264",
            elements: [("x264enc", "gstreamer1.0-plugins-ugly"), ("avdec_h264", "gstreamer1.0-libav")],
            // One thread: tune=zerolatency would cut every picture into a slice for each thread, which costs rate.
            encoder: |qp| {
                format!(
                    "x264enc pass=quant quantizer={qp} tune=zerolatency speed-preset=medium bframes=0 threads=1 \
                     key-int-max={KEY_INT_MAX} byte-stream=true option-string=scenecut=0"
                )
            },
            caps: "video/x-h264,stream-format=byte-stream,alignment=au",
            decoder: "avdec_h264 max-threads=1",
            points: [31, 36, 41, 46, 50],
        })
    }

    /// H.265 by x265.
    pub fn x265() -> Self {
        Self(Coder {
            name: "remote-x265",
            elements: [("x265enc", "gstreamer1.0-plugins-bad"), ("avdec_h265", "gstreamer1.0-libav")],
            encoder: |qp| {
                format!(
                    "x265enc qp={qp} tune=zerolatency speed-preset=medium key-int-max={KEY_INT_MAX} \
                     option-string=bframes=0:scenecut=0:pools=none:log-level=none"
                )
            },
            caps: "video/x-h265,stream-format=byte-stream,alignment=au",
            decoder: "avdec_h265 max-threads=1",
            points: [30, 35, 40, 45, 50],
        })
    }
}

impl Chain for Remote {
    fn name(&self) -> &str {
        self.0.name
    }

    fn default_points(&self) -> Vec<Setting> {
        self.0.points.map(Setting::Qp).to_vec()
    }

    fn parse_point(&self, text: &str) -> Result<Setting> {
        number(text, 0, 50).map(Setting::Qp)
    }

    fn identity(&self) -> Result<Value> {
        let versions = versions(&self.0.elements)?;
        Ok(json!({"encoder": (self.0.encoder)(0), "versions": versions}))
    }

    fn send(&self, input: &Input<'_>, setting: Setting, far: &mut dyn FarSide) -> Result<Sent> {
        let Setting::Qp(qp) = setting else { bail!("setting {setting:?}, legal are qp") };
        let frames = input.features.frames();
        let first = input.pictures.picture(0)?;
        // Chroma has half the sides; an odd one would have to be made up.
        let (width, height) = input.pictures.scaled();
        let size = ((width & !1).max(2), (height & !1).max(2));
        let rgb = format!("video/x-raw,format=RGB,width={},height={}", size.0, size.1);
        let coded = format!("{},width={},height={}", self.0.caps, size.0, size.1);
        let rate = input.framerate;
        let mut encoder = Stage::start(&rgb, rate, &format!("videoconvert ! {}", (self.0.encoder)(qp)), self.0.caps)?;
        let mut decoder =
            Stage::start(&coded, rate, &format!("{} ! videoconvert", self.0.decoder), "video/x-raw,format=RGB")?;

        let mut sent = Sent::default();
        let mut arrived = 0;
        let mut take = |units: VecDeque<gst::Sample>, end: bool, decoder: &mut Stage| -> Result<()> {
            let mut shown = VecDeque::new();
            for unit in units {
                let bytes = unit.buffer_owned().context("an access unit without bytes")?;
                sent.bytes += bytes.size() as u64;
                shown.extend(decoder.push(bytes)?);
            }
            if end {
                shown.extend(decoder.finish()?);
            }
            for sample in shown {
                arrived += 1;
                far.picture(&picture(&sample)?)?;
            }
            Ok(())
        };
        for n in 0..frames {
            let original = if n == 0 { first.clone() } else { input.pictures.picture(n)? };
            ensure!(original.dimensions() == first.dimensions(), "picture {n} has another size than the first");
            let scaled = image::imageops::resize(&original, size.0, size.1, FilterType::Triangle);
            let units = encoder.push(buffer(&scaled))?;
            take(units, false, &mut decoder)?;
        }
        let units = encoder.finish()?;
        take(units, true, &mut decoder)?;
        ensure!(arrived == frames, "{arrived} of {frames} pictures came out of the decoder");
        (sent.encoding, sent.decoding) = (encoder.busy, decoder.busy);
        Ok(sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chains::Pictures;
    use crate::tests::{Collected, Folder, Moving, features};

    /// Real encoders; where they are not installed the test says so.
    fn run(chain: &Remote, qps: [u8; 2]) {
        if let Err(e) = chain.identity() {
            eprintln!("SKIPPED: {e:#}");
            return;
        }
        let folder = Folder::new().unwrap();
        let file = features(&folder.path().join("a.f16"), 40);
        let pictures = Moving { size: (161, 121) };
        let input = Input { features: &file, framerate: (25, 1), transform: None, pictures: &pictures };
        let mut results = Vec::new();
        for qp in qps {
            let mut far = Collected::default();
            let sent = chain.send(&input, Setting::Qp(qp), &mut far).unwrap();
            assert_eq!(far.pictures.len(), 40);
            let mut error = 0.0;
            for (n, got) in far.pictures.iter().enumerate() {
                assert_eq!(got.dimensions(), (160, 120));
                let original = pictures.picture(n as u64).unwrap();
                let expected = image::imageops::resize(&original, 160, 120, FilterType::Triangle);
                let squares: f64 =
                    got.as_raw().iter().zip(expected.as_raw()).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
                let mse = squares / got.as_raw().len() as f64;
                // The picture moves: one that came late or twice would be far off.
                assert!(mse < 300.0, "qp {qp}, frame {n}: mean squared error {mse}");
                error += mse / 40.0;
            }
            results.push((sent.bytes, error));
        }
        assert!(results[0].0 > 2 * results[1].0, "rates {results:?}");
        assert!(results[0].1 < results[1].1, "errors {results:?}");
    }

    #[test]
    fn x264_gives_every_picture_back_in_order_at_the_rate_its_qp_asks_for() {
        run(&Remote::x264(), [20, 38]);
    }

    #[test]
    fn x265_gives_every_picture_back_in_order_at_the_rate_its_qp_asks_for() {
        run(&Remote::x265(), [20, 38]);
    }
}
