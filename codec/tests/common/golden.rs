//! What tests of golden streams share: how these are read and written, their access units, and descriptions that are compared.

use crate::common::mean_std;
use fcm_codec::bitstream::stream::{Scan, scan};
use fcm_codec::{Layer, Limits, StreamFormat, Transform};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A transform, and the name of its file.
pub type Named = (String, Arc<Transform>);

/// A golden stream as it was committed.
pub struct Vector {
    pub name: String,
    /// What it is for and what decoding gave.
    pub text: String,
    pub transform: Option<Named>,
    pub bytes: Vec<u8>,
    /// Decoded values, four bytes each.
    pub recorded: Vec<[u8; 4]>,
}

/// The folder of the vectors.
pub fn directory() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "vectors"].iter().collect()
}

/// The vectors in a folder, by name.
pub fn read(directory: &Path) -> Result<Vec<Vector>, Box<dyn Error>> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(directory)?.map(|e| Ok(e?.path())).collect::<std::io::Result<_>>()?;
    files.sort();
    let streams = files.iter().filter(|f| f.extension().is_some_and(|e| e == "fcm"));
    let vector = |file: &PathBuf| {
        let text = std::fs::read_to_string(file.with_extension("txt"))?;
        let transform = match entry(&text, "transform") {
            Some(name) => {
                let bytes = std::fs::read(directory.join(name))?;
                Some((name.to_owned(), Arc::new(Transform::from_bytes(&bytes, &Limits::default())?)))
            }
            None => None,
        };
        let recorded = std::fs::read(file.with_extension("rec"))?;
        Ok(Vector {
            name: file.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            text,
            transform,
            bytes: std::fs::read(file)?,
            recorded: recorded.chunks_exact(4).map(|b| [b[0], b[1], b[2], b[3]]).collect(),
        })
    };
    streams.map(vector).collect()
}

/// Writes the files of a new vector.
pub fn write(directory: &Path, vector: &Vector) -> std::io::Result<()> {
    let path = |extension: &str| directory.join(format!("{}.{extension}", vector.name));
    std::fs::create_dir_all(directory)?;
    if let Some((file, transform)) = &vector.transform {
        std::fs::write(directory.join(file), transform.to_bytes())?;
    }
    std::fs::write(path("rec"), vector.recorded.concat())?;
    std::fs::write(path("txt"), &vector.text)?;
    std::fs::write(path("fcm"), &vector.bytes)
}

/// The line of a description about a restored layer.
pub fn layer_line(layer: &Layer, values: &[f32]) -> String {
    let (mean, std_dev) = mean_std(values);
    format!("layer {} {:?} mean {mean:.6e} std {std_dev:.6e}", layer.shape, layer.dtype)
}

/// Access units of a sound stream.
pub fn split(bytes: &[u8], format: StreamFormat) -> Vec<&[u8]> {
    let (mut at, mut units) = (0, Vec::new());
    while at < bytes.len() {
        match scan(&bytes[at..], format, true, true, &Limits::default()) {
            Scan::AccessUnit { len, .. } => {
                units.push(&bytes[at..at + len]);
                at += len;
            }
            other => panic!("{other:?} at byte {at}"),
        }
    }
    units
}

/// Fails with the first line in which two descriptions differ; numbers with an exponent may differ by 1e-4 of the deviation.
pub fn compare(name: &str, got: &str, expected: &str) {
    assert_eq!(got.lines().count(), expected.lines().count(), "{name}: lines");
    for (n, (got, expected)) in got.lines().zip(expected.lines()).enumerate() {
        let statistics = |line: &str| -> Option<(f64, f64)> {
            let (_, rest) = line.split_once(" mean ")?;
            let (mean, std_dev) = rest.split_once(" std ")?;
            Some((mean.parse().ok()?, std_dev.parse().ok()?))
        };
        match (statistics(got), statistics(expected)) {
            (Some((mean, std_dev)), Some((to_mean, to_std_dev))) => {
                let tolerance = 1e-4 * to_std_dev.abs().max(to_mean.abs()) + 1e-9;
                assert!((mean - to_mean).abs() < tolerance, "{name}, line {}: {got}, expected {expected}", n + 1);
                assert!((std_dev - to_std_dev).abs() < tolerance, "{name}, line {}: {got}, expected {expected}", n + 1);
                assert_eq!(got.split(" mean ").next(), expected.split(" mean ").next(), "{name}, line {}", n + 1);
            }
            _ => assert_eq!(got, expected, "{name}, line {}", n + 1),
        }
    }
}

/// The value behind `key` in a description.
pub fn entry<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(' '))
}
