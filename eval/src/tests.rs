//! What several tests need: a folder, features and pictures that are made up, and a far side that keeps what it gets.

use crate::chains::{FarSide, Input, Pictures};
use crate::features::{FeatureFile, FeatureWriter, layout};
pub use crate::folder::Folder;
use anyhow::Result;
use half::f16;
use image::{Rgb, RgbImage};
use std::path::Path;

/// A value that depends on where it is, smoothly enough to be coded.
pub fn value(frame: u64, layer: usize, at: usize) -> f32 {
    ((at as f32) * 0.13 + layer as f32 + frame as f32 * 0.05).sin() * 2.0 + 0.3
}

/// A file of two layers.
pub fn features(path: &Path, frames: u64) -> FeatureFile {
    let layout = layout(&[("a".into(), vec![1, 4, 8, 10]), ("b".into(), vec![1, 6, 4, 5])]).unwrap();
    let mut writer = FeatureWriter::create(path, &layout).unwrap();
    for t in 0..frames {
        let a: Vec<f32> = (0..320).map(|i| value(t, 0, i)).collect();
        let b: Vec<f32> = (0..120).map(|i| value(t, 1, i)).collect();
        writer.write(&[&a, &b]).unwrap();
    }
    writer.commit().unwrap();
    FeatureFile::open(path).unwrap()
}

/// Those features, without a transform and without pictures.
pub fn input(features: &FeatureFile) -> Input<'_> {
    Input { features, framerate: (25, 1), transform: None, pictures: &Moving { size: (16, 16) } }
}

/// A picture of something that moves from frame to frame.
pub struct Moving {
    pub size: (u32, u32),
}

impl Pictures for Moving {
    fn picture(&self, n: u64) -> Result<RgbImage> {
        let x0 = (n * 3) as u32 % self.size.0;
        Ok(RgbImage::from_fn(self.size.0, self.size.1, |x, y| {
            let texture = (128.0 + 60.0 * ((x as f32) * 0.2).sin() * ((y as f32) * 0.15).cos()) as u8;
            if x.abs_diff(x0) < 20 && y.abs_diff(60) < 25 { Rgb([230, 220, 210]) } else { Rgb([texture, texture, 90]) }
        }))
    }

    fn scaled(&self) -> (u32, u32) {
        self.size
    }
}

/// A far side that keeps what arrives.
#[derive(Default)]
pub struct Collected {
    pub features: Vec<Vec<Vec<f16>>>,
    pub pictures: Vec<RgbImage>,
}

impl FarSide for Collected {
    fn features(&mut self, layers: &[Vec<f16>]) -> Result<()> {
        self.features.push(layers.to_vec());
        Ok(())
    }

    fn picture(&mut self, picture: &RgbImage) -> Result<()> {
        self.pictures.push(picture.clone());
        Ok(())
    }
}

/// A sequence of a bright block that moves over a dark ground: a person by its ground truth.
pub fn write_sequence(folder: &Path, frames: u32) {
    std::fs::create_dir_all(folder.join("img1")).unwrap();
    std::fs::create_dir_all(folder.join("gt")).unwrap();
    let info = format!(
        "[Sequence]\nname=block\nimDir=img1\nframeRate=25\nseqLength={frames}\nimWidth=64\nimHeight=48\nimExt=.png\n"
    );
    std::fs::write(folder.join("seqinfo.ini"), info).unwrap();
    let mut truth = String::new();
    for n in 1..=frames {
        let left = 2 * n;
        let picture = RgbImage::from_fn(64, 48, |x, y| {
            if (left..left + 12).contains(&x) && (8..40).contains(&y) {
                Rgb([240, 240, 240])
            } else {
                Rgb([20, 20, 20])
            }
        });
        picture.save(folder.join(format!("img1/{n:06}.png"))).unwrap();
        truth += &format!("{n},1,{left},8,12,32,1,1,1\n{n},2,1,1,5,5,1,3,1\n{n},3,30,30,5,5,0,1,1\n");
    }
    std::fs::write(folder.join("gt/gt.txt"), truth).unwrap();
}
