//! Scenes as folders in the layout of MOTChallenge: `img1/000001.jpg` …, `gt/gt.txt`, `seqinfo.ini`.
//!
//! A row of `gt.txt` is frame, id, left, top, width, height, counts, class, visibility. Frames and ids count from 1. Boxes are in
//! pixels from the picture's upper left corner, which is 0, 0. `counts` is 1, or 0 for objects that are hidden too much
//! ([`fcm_scenes::MIN_VISIBILITY`]). Classes are 1 pedestrian and 3 car.

use anyhow::{Context, Result};
use fcm_scenes::{Object, Scene, SceneConfig};
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// How pictures are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pictures {
    /// JPEG of a quality from 1 to 100.
    Jpeg(u8),
    /// PNG: larger, without loss.
    Png,
}

impl Pictures {
    fn extension(self) -> &'static str {
        match self {
            Self::Jpeg(_) => "jpg",
            Self::Png => "png",
        }
    }

    fn write(self, path: &Path, picture: &[u8], width: u32, height: u32) -> Result<()> {
        let mut bytes = Vec::new();
        match self {
            Self::Jpeg(quality) => {
                JpegEncoder::new_with_quality(&mut bytes, quality).write_image(
                    picture,
                    width,
                    height,
                    ExtendedColorType::Rgb8,
                )?;
            }
            Self::Png => image::codecs::png::PngEncoder::new(&mut bytes).write_image(
                picture,
                width,
                height,
                ExtendedColorType::Rgb8,
            )?,
        }
        fs::write(path, bytes).with_context(|| path.display().to_string())
    }
}

/// One row of `gt.txt`, for a frame counted from 1.
pub fn ground_truth_row(frame: u32, o: &Object) -> String {
    let (id, counts, class) = (o.id, u32::from(o.counts()), o.kind.class());
    format!("{frame},{id},{},{},{},{},{counts},{class},{:.3}\n", o.left, o.top, o.width, o.height, o.visibility)
}

/// Writes every `step`-th frame of a scene into a folder, which is made; files that are there are replaced.
pub fn write(folder: &Path, name: &str, seed: u64, config: &SceneConfig, step: u32, pictures: Pictures) -> Result<()> {
    let mut scene = Scene::new(seed, config.clone())?;
    for part in ["img1", "gt"] {
        let part = folder.join(part);
        fs::create_dir_all(&part).with_context(|| format!("{} cannot be made", part.display()))?;
    }
    let mut picture = vec![0; config.picture_bytes()];
    let mut rows = String::new();
    let mut written = 0;
    for frame in (0..config.frames).step_by(step.max(1) as usize) {
        written += 1;
        for object in scene.frame(frame, &mut picture)? {
            rows.push_str(&ground_truth_row(written, &object));
        }
        let path = folder.join("img1").join(format!("{written:06}.{}", pictures.extension()));
        pictures.write(&path, &picture, config.width, config.height)?;
    }
    let put = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| path.display().to_string())
    };
    put("gt/gt.txt", &rows)?;
    let mut info = format!("[Sequence]\nname={name}\nimDir=img1\n");
    let rate = f64::from(config.rate) / f64::from(step.max(1));
    let (w, h) = (config.width, config.height);
    write!(
        info,
        "frameRate={rate}\nseqLength={written}\nimWidth={w}\nimHeight={h}\nimExt=.{}\n",
        pictures.extension()
    )?;
    put("seqinfo.ini", &info)
}
