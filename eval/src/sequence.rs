//! Sequences with ground truth, in the layout of MOTChallenge: `seqinfo.ini`, `img1/`, `gt/gt.txt`.

use crate::accuracy::Truth;
use crate::cache::hash_files;
use anyhow::{Context, Result, ensure};
use fcm_analytics::mot::{self, Object, SequenceInfo};
use image::RgbImage;
use std::path::{Path, PathBuf};

/// How a sequence is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reading {
    /// Frame rate instead of its own.
    pub framerate: Option<(u32, u32)>,
    /// Only annotated truth is read.
    pub truth: Truth,
}

/// A sequence, or its first frames.
pub struct Sequence {
    /// Its name, without any path.
    pub name: String,
    /// Frames a second, as a fraction.
    pub framerate: (u32, u32),
    /// Width and height of the pictures.
    pub size: (u32, u32),
    /// Persons of every frame; none where they are to be found in uncompressed features.
    pub truth: Vec<Vec<Object>>,
    /// Hash of the pictures.
    pub hash: String,
    pictures: Vec<PathBuf>,
}

impl Sequence {
    /// Opens a sequence; `frames` limits how many of it.
    ///
    /// # Errors
    /// When something is missing, or there is no ground truth for persons in these frames.
    pub fn open(folder: &Path, frames: Option<usize>, reading: Reading) -> Result<Self> {
        let (info, pictures) = pictures(folder)?;
        let count = frames.unwrap_or(usize::MAX).min(pictures.len());
        let truth = match reading.truth {
            Truth::Annotated => annotated(folder, count)?,
            Truth::Uncompressed => vec![Vec::new(); count],
        };
        let pictures = pictures[..count].to_vec();
        Ok(Self {
            name: info.name,
            framerate: reading.framerate.unwrap_or_else(|| fraction(info.frame_rate)),
            size: (info.width, info.height),
            truth,
            hash: hash_files(&pictures)?,
            pictures,
        })
    }

    /// Number of frames.
    pub fn frames(&self) -> u64 {
        self.pictures.len() as u64
    }

    /// Picture `n`, from 0.
    ///
    /// # Errors
    /// When it cannot be read or has another size than `seqinfo.ini` says.
    pub fn picture(&self, n: u64) -> Result<RgbImage> {
        let path = usize::try_from(n).ok().and_then(|n| self.pictures.get(n));
        let path = path.with_context(|| format!("picture {n} of {}", self.frames()))?;
        let picture = open_picture(path)?;
        ensure!(
            picture.dimensions() == self.size,
            "{}: {}x{} pixels, seqinfo.ini says {}x{}",
            path.display(),
            picture.width(),
            picture.height(),
            self.size.0,
            self.size.1
        );
        Ok(picture)
    }
}

/// Persons of the first `count` frames by the ground truth.
fn annotated(folder: &Path, count: usize) -> Result<Vec<Vec<Object>>> {
    let path = folder.join("gt/gt.txt");
    let entries = mot::parse(&read(&path)?).with_context(|| path.display().to_string())?;
    let truth = mot::by_frame(entries.iter().filter(|e| e.counts()), count as u32);
    ensure!(truth.iter().any(|f| !f.is_empty()), "{}: no persons in frames 1 to {count}", path.display());
    Ok(truth)
}

/// What `seqinfo.ini` says, and the pictures in the order of their numbers.
///
/// # Errors
/// When something is missing.
pub fn pictures(folder: &Path) -> Result<(SequenceInfo, Vec<PathBuf>)> {
    let path = folder.join("seqinfo.ini");
    let info = SequenceInfo::parse(&read(&path)?).with_context(|| path.display().to_string())?;
    let images = folder.join(&info.image_dir);
    let entries = std::fs::read_dir(&images).with_context(|| format!("cannot read {}", images.display()))?;
    let number = |path: &Path| path.file_stem()?.to_str()?.parse::<u32>().ok();
    let wanted = |path: &Path| {
        path.extension().is_some_and(|e| ["jpg", "jpeg", "png"].iter().any(|x| e.eq_ignore_ascii_case(x)))
    };
    let mut numbered: Vec<(u32, PathBuf)> =
        entries.flatten().map(|e| e.path()).filter(|p| wanted(p)).filter_map(|p| Some((number(&p)?, p))).collect();
    numbered.sort();
    numbered.truncate(info.length as usize);
    ensure!(!numbered.is_empty(), "{}: no pictures called NUMBER.jpg or NUMBER.png", images.display());
    for (n, (number, path)) in numbered.iter().enumerate() {
        // Ground truth names frames by these numbers.
        ensure!(*number as usize == n + 1, "{}: frame {} is missing before it", path.display(), n + 1);
    }
    Ok((info, numbered.into_iter().map(|(_, path)| path).collect()))
}

/// Reads a picture.
///
/// # Errors
/// When it cannot be read.
pub fn open_picture(path: &Path) -> Result<RgbImage> {
    let picture = image::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(picture.into_rgb8())
}

/// A frame rate as a fraction: whole ones exactly, others to thousandths.
pub fn fraction(rate: f64) -> (u32, u32) {
    let whole = rate.round();
    if (rate - whole).abs() < 1e-6 {
        (whole.max(1.0) as u32, 1)
    } else {
        ((rate * 1000.0).round().max(1.0) as u32, 1000)
    }
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{Folder, write_sequence};

    #[test]
    fn pictures_and_persons_are_read_up_to_the_frame_asked_for() {
        let folder = Folder::new().unwrap();
        write_sequence(folder.path(), 12);
        let sequence = Sequence::open(folder.path(), Some(5), Reading::default()).unwrap();
        assert_eq!((sequence.frames(), sequence.framerate, sequence.size), (5, (25, 1), (64, 48)));
        assert_eq!(sequence.truth.len(), 5);
        // The vehicle (class 3) and what is not to be considered are not persons.
        assert!(sequence.truth.iter().all(|f| f.len() == 1 && f[0].id == 1));
        assert_eq!(sequence.picture(4).unwrap().dimensions(), (64, 48));
        assert!(sequence.picture(5).is_err());
        let other =
            Sequence::open(folder.path(), Some(6), Reading { framerate: Some((30000, 1001)), ..Reading::default() })
                .unwrap();
        assert_eq!(other.framerate, (30000, 1001));
        assert_ne!(other.hash, sequence.hash);
    }

    #[test]
    fn a_missing_picture_is_named() {
        let folder = Folder::new().unwrap();
        write_sequence(folder.path(), 4);
        std::fs::remove_file(folder.path().join("img1/000002.png")).unwrap();
        let error = Sequence::open(folder.path(), None, Reading::default()).err().unwrap().to_string();
        assert!(error.contains("frame 2 is missing"), "{error}");
    }

    #[test]
    fn frame_rates_are_fractions() {
        assert_eq!([25.0, 7.0, 29.97].map(fraction), [(25, 1), (7, 1), (29970, 1000)]);
    }
}
