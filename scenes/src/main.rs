//! The command `fcm-scenes`: renders street scenes with ground truth into MOTChallenge folders.

mod motchallenge;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use fcm_scenes::{Camera, SceneConfig};
use motchallenge::Pictures;
use std::path::PathBuf;
use std::time::Instant;

/// Renders street scenes with ground truth, one MOTChallenge folder a seed: OUT/scene-SEED/{img1,gt,seqinfo.ini}
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Folder for the scenes; it is made
    #[arg(short, long)]
    out: PathBuf,
    /// First seed. The project keeps 1-99 for measuring and showing, 500-999 for calibration, 10000-19999 for training and
    /// 20000-20999 for validation
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of scenes, of seeds that follow each other
    #[arg(long, default_value_t = 1)]
    scenes: u32,
    /// Frames of a scene
    #[arg(long, default_value_t = 100)]
    frames: u32,
    /// Write only every STEP-th frame, from the first
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    step: u32,
    /// Width of the pictures
    #[arg(long, default_value_t = 512)]
    width: u32,
    /// Height of the pictures
    #[arg(long, default_value_t = 288)]
    height: u32,
    /// Frames a second
    #[arg(long, default_value_t = 25)]
    rate: u32,
    /// How the camera moves; without it every seed decides for itself
    #[arg(long)]
    camera: Option<Movement>,
    /// JPEG quality
    #[arg(long, default_value_t = 92, value_parser = clap::value_parser!(u8).range(1..=100), conflicts_with = "png")]
    quality: u8,
    /// Write PNG instead of JPEG
    #[arg(long)]
    png: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Movement {
    Still,
    Shake,
    Pan,
}

fn main() -> Result<()> {
    let a = Arguments::parse();
    ensure!(a.scenes >= 1, "--scenes is 0, must be 1 or more");
    let last = a.seed.checked_add(u64::from(a.scenes) - 1).context("the seeds exceed 2^64 - 1")?;
    let camera = a.camera.map(|c| match c {
        Movement::Still => Camera::Still,
        Movement::Shake => Camera::Shake,
        Movement::Pan => Camera::Pan,
    });
    let config = SceneConfig {
        width: a.width,
        height: a.height,
        frames: a.frames,
        rate: a.rate,
        camera,
        ..SceneConfig::default()
    };
    let pictures = if a.png { Pictures::Png } else { Pictures::Jpeg(a.quality) };
    let start = Instant::now();
    for (k, seed) in (a.seed..=last).enumerate() {
        let name = format!("scene-{seed:05}");
        motchallenge::write(&a.out.join(&name), &name, seed, &config, a.step, pictures)
            .with_context(|| format!("seed {seed}"))?;
        let seconds = start.elapsed().as_secs_f64();
        let frames = (k as u64 + 1) * u64::from(a.frames.div_ceil(a.step));
        println!("{name}: {} of {} scenes, {frames} frames, {seconds:.1} s", k + 1, a.scenes);
    }
    Ok(())
}
