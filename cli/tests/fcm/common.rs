//! What the tests of the command share: running it, and feature files made by hand (not by the code under test).

use anyhow::{Context, Result, ensure};
use half::f16;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// A folder that goes away with its files, in which the command is run.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs `fcm` with the words of `line`.
    pub fn run(&self, line: &str) -> Result<Run> {
        let output = Command::new(env!("CARGO_BIN_EXE_fcm"))
            .args(line.split_whitespace())
            .current_dir(self.0.path())
            .output()?;
        Ok(Run { line: line.into(), output })
    }

    /// Runs `fcm` and reads the one JSON object that it must print.
    pub fn json(&self, line: &str) -> Result<Value> {
        self.run(&format!("{line} --json"))?.ok()?.json()
    }

    /// Names of the files in the folder, sorted.
    pub fn files(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.0.path())? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }
}

/// A finished run.
pub struct Run {
    line: String,
    output: Output,
}

impl Run {
    pub fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    pub fn ok(self) -> Result<Self> {
        ensure!(self.code() == Some(0), "fcm {} ended with {:?}: {}", self.line, self.code(), self.stderr());
        Ok(self)
    }

    pub fn json(&self) -> Result<Value> {
        let stdout = self.stdout();
        ensure!(stdout.trim_end().lines().count() == 1, "fcm {} printed more than one line: {stdout}", self.line);
        serde_json::from_str(&stdout).with_context(|| format!("fcm {} printed {stdout}", self.line))
    }
}

/// An array as it goes into a `.npz` file, byte for byte.
#[derive(Clone)]
pub struct Npy {
    pub name: String,
    pub descr: &'static str,
    pub fortran: bool,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

impl Npy {
    pub fn f32(name: &str, shape: &[usize], values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self { name: name.into(), descr: "<f4", fortran: false, shape: shape.to_vec(), bytes }
    }

    pub fn f16(name: &str, shape: &[usize], values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
        Self { name: name.into(), descr: "<f2", fortran: false, shape: shape.to_vec(), bytes }
    }

    /// The same values in the other byte order.
    pub fn big_endian(mut self) -> Self {
        let size = if self.descr == "<f2" { 2 } else { 4 };
        self.bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        self.descr = if size == 2 { ">f2" } else { ">f4" };
        self
    }

    pub fn file(&self) -> Vec<u8> {
        let shape: String = self.shape.iter().map(|n| format!("{n},")).collect();
        let fortran = if self.fortran { "True" } else { "False" };
        let text = format!("{{'descr': '{}', 'fortran_order': {fortran}, 'shape': ({shape}), }}\n", self.descr);
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend_from_slice(&(text.len() as u16).to_le_bytes());
        file.extend_from_slice(text.as_bytes());
        file.extend_from_slice(&self.bytes);
        file
    }

    pub fn values(&self) -> Vec<f32> {
        match self.descr {
            "<f2" => self.bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            _ => self.bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        }
    }
}

pub fn write_npz(path: &Path, arrays: &[Npy], method: CompressionMethod) -> Result<()> {
    let mut zip = ZipWriter::new(File::create(path)?);
    for array in arrays {
        zip.start_file(format!("{}.npy", array.name), SimpleFileOptions::default().compression_method(method))?;
        zip.write_all(&array.file())?;
    }
    zip.finish()?;
    Ok(())
}

/// Reads a `.npz` file as the command must have written it: stored, in C order, little endian.
pub fn read_npz(path: &Path) -> Result<Vec<Npy>> {
    let mut zip = ZipArchive::new(File::open(path)?)?;
    let mut arrays = Vec::new();
    for i in 0..zip.len() {
        let mut file = zip.by_index(i)?;
        ensure!(file.compression() == CompressionMethod::Stored);
        let name = file.name()?.strip_suffix(".npy").context("no .npy")?.to_owned();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        let header = std::str::from_utf8(&bytes[10..10 + length])?;
        ensure!(bytes[..8] == *b"\x93NUMPY\x01\x00" && header.contains("'fortran_order': False"));
        let descr = if header.contains("'<f2'") { "<f2" } else { "<f4" };
        let (_, shape) = header.split_once('(').context("no shape")?;
        let (shape, _) = shape.split_once(')').context("no shape")?;
        let shape =
            shape.split(',').filter(|n| !n.trim().is_empty()).map(|n| n.trim().parse()).collect::<Result<_, _>>()?;
        arrays.push(Npy { name, descr, fortran: false, shape, bytes: bytes[10 + length..].to_vec() });
    }
    Ok(arrays)
}

/// Smooth values that move from frame to frame, with a little seeded noise.
pub fn values(seed: u64, frames: usize, channels: usize, height: usize, width: usize) -> Vec<f32> {
    let mut state = seed;
    let mut values = Vec::with_capacity(frames * channels * height * width);
    for t in 0..frames {
        for c in 0..channels {
            for y in 0..height {
                for x in 0..width {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    let noise = (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
                    let (x, y) = (x as f32 / width as f32, y as f32 / height as f32);
                    let wave = (5.0 * x + 0.2 * t as f32 + c as f32).sin() + (3.0 * y - c as f32).cos();
                    values.push(0.5 + wave * (1.0 + 0.2 * c as f32) + 0.1 * noise);
                }
            }
        }
    }
    values
}

/// Three layers whose names are not in the order of the alphabet: two maps and a vector.
pub fn features(frames: usize) -> Vec<Npy> {
    vec![
        Npy::f16("pan/p3:0", &[frames, 4, 16, 24], &values(1, frames, 4, 16, 24)),
        Npy::f32("backbone", &[frames, 8, 8, 12], &values(2, frames, 8, 8, 12)),
        Npy::f32("embedding", &[frames, 48], &values(3, frames, 48, 1, 1)),
    ]
}
