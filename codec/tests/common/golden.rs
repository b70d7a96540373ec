//! What tests of golden streams share: where these lie, their access units, and descriptions that are compared.

use fcm_codec::bitstream::stream::{Scan, scan};
use fcm_codec::{Limits, StreamFormat};
use std::path::PathBuf;

/// The folder of the vectors.
pub fn directory() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "vectors"].iter().collect()
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
