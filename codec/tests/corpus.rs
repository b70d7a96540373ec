//! Replays the corpus of every fuzz target, seeds and finds alike, without a fuzzer.

#![allow(dead_code, reason = "the seeds use a part of the common modules")]

mod common;
#[path = "common/networks.rs"]
mod networks;
#[path = "common/streams.rs"]
mod streams;
#[path = "../../fuzz/src/lib.rs"]
mod targets;

use common::Random;
use fcm_codec::bitstream::VERSION;
use fcm_codec::reduction::relevance::Probe;
use fcm_codec::{Restoration, RestorationGain, RestorationStrength, Transform};
use std::path::PathBuf;

fn corpus(target: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../fuzz/corpus", target].iter().collect()
}

/// Runs every file of the corpus of `target`; a panic tells which.
fn replay(target: &str, run: fn(&[u8])) -> std::io::Result<()> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(corpus(target))?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    files.sort();
    assert!(files.len() >= 5, "{} files in the corpus of {target}", files.len());
    for file in files {
        let bytes = std::fs::read(&file)?;
        let result = std::panic::catch_unwind(|| run(&bytes));
        assert!(result.is_ok(), "{} fails", file.display());
    }
    Ok(())
}

#[test]
fn corpus_of_decode() -> std::io::Result<()> {
    replay("decode", targets::decode)
}

#[test]
fn corpus_of_header_then_tail() -> std::io::Result<()> {
    replay("header_then_tail", targets::header_then_tail)
}

#[test]
fn corpus_of_chunked() -> std::io::Result<()> {
    replay("chunked", targets::chunked)
}

#[test]
fn corpus_of_roundtrip() -> std::io::Result<()> {
    replay("roundtrip", targets::roundtrip)
}

#[test]
fn corpus_of_transform() -> std::io::Result<()> {
    replay("transform", targets::transform)
}

#[test]
fn corpus_of_packets() -> std::io::Result<()> {
    replay("packets", targets::packets)
}

#[test]
fn corpus_of_pictures() -> std::io::Result<()> {
    replay("pictures", targets::pictures)
}

/// Random inputs for the targets that make something legal of any bytes: a short fuzzing session in every test run.
#[test]
fn random_settings_shapes_and_values_go_round() {
    let mut random = Random(2024);
    for _ in 0..400 {
        let bytes: Vec<u8> = (0..random.next() % 700).map(|_| random.next() as u8).collect();
        targets::roundtrip(&bytes);
        targets::header_then_tail(&bytes);
        targets::packets(&[&[1], &bytes[..]].concat());
        let bytes: Vec<u8> = (0..random.next() % 3000).map(|_| random.next() as u8).collect();
        targets::pictures(&bytes);
    }
}

/// The packets of a stream, as the target `packets` reads them.
fn packets_of(stream: &streams::Stream, capacity: usize) -> Vec<u8> {
    use fcm_codec::bitstream::stream;
    let limits = fcm_codec::Limits::default();
    let (mut bytes, mut spans, mut cut) = (vec![0], Vec::new(), Vec::new());
    for unit in &stream.units {
        let unit = unit.strip_prefix(&stream::MARKER).unwrap_or(unit);
        let (kind, _) = stream::split(unit, &limits, &mut spans).unwrap();
        targets::rtp::packet::cut(&spans, kind, capacity, None, &mut cut).unwrap();
        for (n, packet) in cut.iter().enumerate() {
            let mut payload = vec![0; packet.header.size()];
            packet.header.write(&mut payload);
            payload.extend_from_slice(&unit[packet.body.clone()]);
            let control = u8::from(n + 1 == cut.len()) | u8::from(n == 0) << 1;
            bytes.extend([control, payload.len() as u8, (payload.len() >> 8) as u8]);
            bytes.extend(payload);
        }
    }
    bytes
}

/// Writes the seeds: `cargo test -p fcm-codec --test corpus -- --ignored write_seeds`. Existing files are kept.
#[test]
#[ignore = "writes files"]
fn write_seeds() -> std::io::Result<()> {
    let put = |target: &str, name: &str, bytes: &[u8]| {
        std::fs::create_dir_all(corpus(target))?;
        let path = corpus(target).join(name);
        // Most streams are those of the version before.
        let mut files = std::fs::read_dir(corpus(target))?;
        let there = files.any(|file| file.and_then(|f| std::fs::read(f.path())).is_ok_and(|b| b == bytes));
        if there || path.exists() { Ok(()) } else { std::fs::write(path, bytes) }
    };
    for (n, stream) in streams::all().iter().enumerate() {
        let bytes = stream.bytes();
        // Seeds of earlier versions have other names.
        put("decode", &format!("stream-{VERSION}-{n}"), &bytes)?;
        put("decode", &format!("unit-{VERSION}-{n}"), &stream.units[0])?;
        put("chunked", &format!("stream-{VERSION}-{n}"), &[&[3, 1, 7, 30], &bytes[..]].concat())?;
        let shifted = [&[1, 50, 0xFC, 0x46], &bytes[bytes.len() / 3..]].concat();
        put("chunked", &format!("late-{VERSION}-{n}"), &shifted)?;
    }
    for n in 0..12u64 {
        let mut random = Random(n + 1);
        let bytes: Vec<u8> = (0..150 + 30 * n).map(|_| random.next() as u8).collect();
        put("roundtrip", &format!("random-{n}"), &bytes)?;
        put("header_then_tail", &format!("random-{n}"), &bytes)?;
        let cells = [(1 + n as u32 % 3, 1 + n as u16 % 2, 2, n % 4 == 3), (1, 1, 1, n % 2 == 1)];
        let file = streams::transform(&cells[..1 + n as usize % 2], 1 + n as usize % 2, n).to_bytes();
        put("transform", &format!("random-{n}"), &file)?;
        put("packets", &format!("random-{n}"), &[&[1], &bytes[..]].concat())?;
        let longer: Vec<u8> = (0..300 + 200 * n).map(|_| random.next() as u8).collect();
        put("pictures", &format!("random-{n}"), &longer)?;
    }
    let basis = streams::Basis::new(&[(2, 2, 1, false), (1, 1, 1, true)], 2, 1);
    let learned = networks::pair(&basis, networks::SOUND, networks::SOUND);
    put("transform", "learned-3", &learned.to_bytes())?;
    put("transform", "learned-probe-3", &learned.with_probe(Probe::new(1.0, vec![0.5]).unwrap()).unwrap().to_bytes())?;
    let restored = Transform::clone(&streams::transform(&[(2, 2, 2, false)], 3, 5))
        .with_restoration(RestorationStrength::new(3).unwrap().into());
    put("transform", "restored-5", &restored.to_bytes())?;
    let predicted = restored.with_intra_weights(vec![[64, -3, 0], [1, 2, -128], [127, 0, 0]]).unwrap();
    put("transform", "predicted-6", &predicted.to_bytes())?;
    put("transform", "predicted-full-6", &predicted.clone().with_restoration(Restoration::default()).to_bytes())?;
    let gain = Restoration { gain: RestorationGain::new(24).unwrap(), ..predicted.restoration() };
    put("transform", "gained-7", &predicted.with_restoration(gain).to_bytes())?;
    for (n, stream) in streams::all().iter().enumerate() {
        put("packets", &format!("stream-{n}"), &packets_of(stream, [20, 60, 1200][n % 3]))?;
    }
    Ok(())
}
