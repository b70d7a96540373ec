//! Limits: each bound bites before memory is taken, names what was asked for and what is allowed; the largest shapes of
//! the project's design pass the defaults.

mod common;
#[path = "common/counting.rs"]
mod counting;
#[path = "common/streams.rs"]
mod streams;
#[path = "common/units.rs"]
mod units;

use common::{Features, Random, frame, layout};
use fcm_codec::bitstream::stream::{Inspector, Scan, scan};
use fcm_codec::{
    Decoded, Decoder, DecoderConfig, Dtype, Encoder, EncoderConfig, Error, ErrorKind, FrameRequest, Layer, Layout,
    Limits, RateControl, Result, Shape, StatisticsMode, StreamFormat, Transform,
};
use units::{PICTURE, RANDOM_ACCESS, RawUnit, SEQUENCE, join, split};

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// Requires `LimitExceeded` with exactly this message.
#[track_caller]
fn expect_limit<T>(result: Result<T>, message: &str) {
    let error = result.err().expect("over a limit");
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::LimitExceeded, message.to_owned()));
}

fn varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A random access unit of a few bytes that claims layers of these shapes: mode none, block DCT.
fn claim(layers: &[(u32, u32, u32)], components: u32, data: &[u8]) -> Vec<u8> {
    let mut sequence = vec![7, 3, 22];
    varint(&mut sequence, layers.len() as u32);
    for &(c, h, w) in layers {
        sequence.push(1);
        [c, h, w].into_iter().for_each(|v| varint(&mut sequence, v));
        sequence.push(0);
    }
    varint(&mut sequence, components);
    sequence.extend_from_slice(&[0, 1, 0]);
    join(
        true,
        &[
            RawUnit::new(SEQUENCE, false, 0, &sequence),
            RawUnit::new(PICTURE, false, 1, &1f32.to_le_bytes()),
            RawUnit::new(RANDOM_ACCESS, true, 0, &[&[30, last_group(components) << 3], data].concat()),
        ],
    )
}

/// The last group of this many components (docs/bitstream.md §7.3).
fn last_group(components: u32) -> u8 {
    [3, 10, 25, 40, 63, 101, 161].iter().filter(|&&start| start < components).count() as u8
}

fn decoder(limits: Limits) -> Decoder {
    Decoder::new(DecoderConfig { limits, ..DecoderConfig::default() }).expect("a decoder")
}

fn decode(limits: Limits, unit: &[u8]) -> Result<()> {
    match decoder(limits).decode(unit)? {
        Decoded::Frame(mut frame) => {
            streams::write_all(&mut frame);
            Ok(())
        }
        Decoded::AwaitingRandomAccess { .. } => panic!("a random access unit"),
    }
}

#[test]
fn a_claim_of_a_small_frame_is_decoded() -> Result<()> {
    decode(Limits::default(), &claim(&[(2, 4, 4), (3, 2, 2)], 5, &[0xFF; 8]))
}

#[test]
fn the_number_of_layers_is_bounded() {
    let limits = Limits { max_layers: 3, ..Limits::default() };
    let layers = vec![(1, 2, 2); 4];
    expect_limit(decode(limits.clone(), &claim(&layers, 1, &[])), "number of layers is 4, the limit is 3");
    let layers = vec![(1, 2, 2); 257];
    let more = Limits { max_layers: 1000, ..Limits::default() };
    expect_limit(decode(more.clone(), &claim(&layers, 1, &[])), "number of layers is 257, the limit is 256");
    let layers = |n| (0..n).map(|_| Layer::new("", Shape::vector(1), Dtype::F32)).collect::<Vec<_>>();
    expect_limit(Layout::new(layers(4), &limits), "number of layers is 4, the limit is 3");
    expect_limit(Layout::new(layers(257), &more), "number of layers is 257, the limit is 256");
    assert!(Layout::new(layers(256), &more).is_ok());
}

#[test]
fn the_number_of_values_is_bounded() -> Result<()> {
    let limits = Limits { max_elements: 100, ..Limits::default() };
    expect_limit(
        decode(limits.clone(), &claim(&[(4, 5, 5), (1, 1, 1)], 1, &[])),
        "number of values in a frame is 101, the limit is 100",
    );
    decode(limits.clone(), &claim(&[(4, 5, 5)], 1, &[0xFF; 8]))?;
    let large = layout(&[(Shape::vector(101), Dtype::F32)]);
    let config = EncoderConfig { limits, ..EncoderConfig::default() };
    expect_limit(Encoder::new(config, large), "number of values in a frame is 101, the limit is 100");
    Ok(())
}

#[test]
fn padding_counts_towards_the_bound_on_the_fused_tensor() {
    // 9 rows over a grid of 2 make cells of 5 rows: 2 x 10 values for 18.
    let limits = Limits { max_fused: 25, ..Limits::default() };
    let shapes = [(2, 9, 1), (3, 2, 1)];
    expect_limit(
        decode(limits.clone(), &claim(&shapes, 1, &[])),
        "number of values in the fused tensor is 26, the limit is 25",
    );
    let layers = shapes.map(|(c, h, w)| (Shape::chw(c, h, w), Dtype::F32));
    let config = EncoderConfig { limits, ..EncoderConfig::default() };
    expect_limit(Encoder::new(config, layout(&layers)), "number of values in the fused tensor is 26, the limit is 25");
    // Two layers of few values whose grid would be enormous when padded.
    let wide = claim(&[(1000, 1, 3000), (1000, 3000, 1)], 1, &[]);
    let mark = counting::peak_since_here();
    expect_limit(
        decode(Limits { max_fused: 1 << 20, ..Limits::default() }, &wide),
        "number of values in the fused tensor is 3000000, the limit is 1048576",
    );
    assert!(mark.bytes() < 1 << 16, "{} bytes", mark.bytes());
}

#[test]
fn the_number_of_components_is_bounded() {
    let limits = Limits { max_components: 7, ..Limits::default() };
    let unit = claim(&[(8, 2, 2)], 8, &[]);
    expect_limit(decode(limits.clone(), &unit), "number of components is 8, the limit is 7");
    let shapes = [(Shape::chw(8, 2, 2), Dtype::F32)];
    let config = EncoderConfig { limits, ..EncoderConfig::default() };
    expect_limit(Encoder::new(config.clone(), layout(&shapes)), "number of components is 8, the limit is 7");
    assert!(Encoder::new(EncoderConfig { components: Some(7), ..config }, layout(&shapes)).is_ok());
    let error = decode(Limits::default(), &claim(&[(8, 2, 2)], 9, &[])).expect_err("9 of 8 components");
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Corruption, "9 components, legal are 1 to 8".into()));
}

#[test]
fn the_bytes_of_an_access_unit_are_bounded_in_every_reader() -> Result<()> {
    let shapes = layout(&[(Shape::chw(4, 8, 8), Dtype::F32)]);
    let config = EncoderConfig { rate_control: RateControl::ConstantQp(2), ..EncoderConfig::default() };
    let mut unit = Vec::new();
    Encoder::new(config, shapes.clone())?.encode(
        &frame(&shapes, 1, 0).tensors(),
        FrameRequest::default(),
        &mut unit,
    )?;
    let total = unit.len() as u64;
    let with = |max_access_unit| Limits { max_access_unit, ..Limits::default() };
    for format in [StreamFormat::ByteStream, StreamFormat::Packetized] {
        let unit = &unit[if format == StreamFormat::Packetized { 4 } else { 0 }..];
        let total = unit.len() as u64;
        decode(with(total), unit)?;
        let message = format!("number of bytes in an access unit is {total}, the limit is {}", total - 1);
        expect_limit(decode(with(total - 1), unit), &message);
        expect_limit(Inspector::new(with(total - 1)).inspect(unit), &message);
        assert!(matches!(scan(unit, format, true, false, &with(total)), Scan::AccessUnit { .. }));
        assert!(matches!(scan(unit, format, true, false, &with(total - 1)), Scan::Skip { .. }));
    }
    // A length of 4 GiB is refused as soon as it is read, not waited for.
    let huge = [0xFC, 0x46, 0x43, 0x4D, 0x20, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F];
    expect_limit(decode(with(total), &huge), &format!("number of bytes in a unit is 4294967295, the limit is {total}"));
    assert!(matches!(scan(&huge, StreamFormat::ByteStream, true, false, &with(total)), Scan::Skip { .. }));
    Ok(())
}

#[test]
fn an_encoder_never_writes_an_access_unit_that_a_decoder_with_the_same_limits_refuses() -> Result<()> {
    let shapes = layout(&[(Shape::chw(4, 8, 8), Dtype::F32)]);
    let mut sizes = Vec::new();
    let mut refused = 0;
    for max_access_unit in 1..700 {
        let limits = Limits { max_access_unit, ..Limits::default() };
        let rate_control = RateControl::ConstantQp(20);
        let mut encoder = Encoder::new(
            EncoderConfig { rate_control, limits: limits.clone(), ..EncoderConfig::default() },
            shapes.clone(),
        )?;
        let mut decoder = decoder(limits);
        for t in 0..2 {
            let mut unit = vec![7];
            match encoder.encode(&frame(&shapes, 1, t).tensors(), FrameRequest::default(), &mut unit) {
                Ok(encoded) => {
                    sizes.push(encoded.bytes);
                    let decoded = decoder.decode(&unit[1..]);
                    assert!(matches!(decoded, Ok(Decoded::Frame(_))), "{} bytes of {max_access_unit}", encoded.bytes);
                }
                Err(e) => {
                    assert_eq!(e.kind(), ErrorKind::LimitExceeded);
                    assert_eq!(unit, [7], "bytes were left behind");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 20 && sizes.len() > 20, "{refused} refused, {} written", sizes.len());
    Ok(())
}

#[test]
fn decoding_time_is_bounded_by_decisions() -> Result<()> {
    // Nothing but non-zero levels of the largest magnitudes: the most decisions a value can take.
    let shapes = layout(&[(Shape::chw(16, 8, 8), Dtype::F32)]);
    let mut random = Random(3);
    let noise = Features::new(&shapes, vec![(0..1024).map(|_| random.signed() * 1e6).collect()]);
    let config = EncoderConfig {
        rate_control: RateControl::ConstantQp(0),
        reference_scale: Some(1.0),
        statistics: StatisticsMode::None,
        ..EncoderConfig::default()
    };
    let mut unit = Vec::new();
    Encoder::new(config, shapes)?.encode(&noise.tensors(), FrameRequest::default(), &mut unit)?;
    let with = |max_decisions| Limits { max_decisions, ..Limits::default() };
    decode(with(1 << 20), &unit)?;
    // Each of the 1024 values takes over 20 decisions.
    let error = decode(with(20 * 1024), &unit).expect_err("over the limit");
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    let message = error.to_string();
    assert!(message.starts_with("number of decisions in an access unit is "), "{message}");
    assert!(message.ends_with(", the limit is 20480"), "{message}");
    Ok(())
}

#[test]
fn a_header_takes_memory_in_proportion_to_the_limits_at_most() {
    let limits = Limits { max_elements: 1 << 16, max_fused: 1 << 17, ..Limits::default() };
    let many: Vec<_> = (0..256).map(|n| (1 + n % 3, 8 + n % 5, 8)).collect();
    type Claim = (&'static str, Vec<(u32, u32, u32)>, u32);
    let cases: Vec<Claim> = vec![
        ("one column", vec![(1, 1 << 16, 1)], 1),
        ("one row", vec![(1, 1, 1 << 16)], 1),
        ("a long cell", vec![(1, 1, 2), (1, 60_000, 1)], 1),
        ("a wide cell", vec![(1, 2, 1), (1, 1, 60_000)], 1),
        ("many long cells", [vec![(1, 1, 2)], vec![(1, 250, 1); 255]].concat(), 1),
        ("one vector", vec![(1 << 16, 1, 1)], 1 << 16),
        ("a vector over a large grid", vec![(1, 250, 250), (3000, 1, 1)], 1),
        ("channels", vec![(1 << 14, 2, 2)], 1 << 14),
        ("many layers", many, 500),
        ("a square", vec![(1, 256, 256)], 1),
    ];
    for (name, layers, components) in cases {
        for data in [&[][..], &[0xFF; 40], &[0x55; 4000]] {
            let unit = claim(&layers, components, data);
            let mark = counting::peak_since_here();
            let mut decoder = decoder(limits.clone());
            let result = decoder.decode(&unit).map(|_| ());
            let peak = mark.bytes();
            let bound = 96 * (1 << 17) + (4 << 20);
            assert!(peak < bound, "{name}: {peak} bytes of {bound}, {result:?}");
        }
    }
}

#[test]
fn cells_too_long_for_tables_of_the_dct_are_refused_by_name() {
    let limits = Limits { max_fused: 1 << 20, ..Limits::default() };
    let unit = claim(&[(1, 1, 2), (1, 2000, 1)], 1, &[]);
    let message = "number of values in the tables of the block DCT is 4000006, the limit is 1048576";
    expect_limit(decode(limits.clone(), &unit), message);
    let shapes = layout(&[(Shape::chw(1, 1, 2), Dtype::F32), (Shape::chw(1, 2000, 1), Dtype::F32)]);
    expect_limit(Encoder::new(EncoderConfig { limits, ..EncoderConfig::default() }, shapes), message);
}

#[test]
fn a_transform_file_is_bounded() -> std::result::Result<(), Error> {
    let file = streams::transform(&[(2, 2, 2, false)], 3, 1).to_bytes();
    let limits = Limits { max_transform: file.len() as u64 - 1, ..Limits::default() };
    expect_limit(
        Transform::from_bytes(&file, &limits),
        &format!("number of bytes in a transform is {}, the limit is {}", file.len(), file.len() - 1),
    );
    Transform::from_bytes(&file, &Limits { max_transform: file.len() as u64, ..Limits::default() })?;
    let mut many = file.clone();
    many[8..12].copy_from_slice(&300u32.to_le_bytes());
    expect_limit(Transform::from_bytes(&many, &Limits::default()), "number of layers is 300, the limit is 256");
    Ok(())
}

#[test]
fn sequence_parameters_of_the_test_claims_are_those_that_an_encoder_writes() -> Result<()> {
    // So that the claims above test what they mean to.
    let layers = vec![Layer::new("", Shape::chw(2, 4, 4), Dtype::F32), Layer::new("", Shape::chw(3, 2, 2), Dtype::F32)];
    let config = EncoderConfig { statistics: StatisticsMode::None, components: Some(5), ..EncoderConfig::default() };
    let header = Encoder::new(config, Layout::new(layers, &Limits::default())?)?.sequence_header();
    assert_eq!(split(&header).1[0], split(&claim(&[(2, 4, 4), (3, 2, 2)], 5, &[])).1[0]);
    Ok(())
}

fn largest_design_shapes() -> Layout {
    layout(
        &[(256, 192, 336), (256, 96, 168), (256, 48, 84), (256, 24, 42)]
            .map(|(c, h, w)| (Shape::chw(c, h, w), Dtype::F32)),
    )
}

#[test]
fn the_largest_design_shapes_pass_the_default_limits() -> Result<()> {
    let layout = largest_design_shapes();
    assert_eq!(layout.elements(), 21_934_080);
    // Reading the claim of such a stream takes no memory for the values.
    let layers = [(256, 192, 336), (256, 96, 168), (256, 48, 84), (256, 24, 42)];
    let unit = claim(&layers, 21_760, &[]);
    let info = Inspector::new(Limits::default()).inspect(&unit)?;
    assert_eq!(info.bytes, unit.len());
    assert!(Encoder::new(EncoderConfig::default(), layout).is_ok());
    Ok(())
}

#[test]
#[ignore = "takes seconds and 1 GB of memory"]
fn a_frame_of_the_largest_design_shapes_is_coded_and_decoded() -> Result<()> {
    let layout = largest_design_shapes();
    let values: Vec<Vec<f32>> = layout
        .layers()
        .iter()
        .map(|l| (0..l.shape.elements()).map(|i| ((i % 336) as f32 * 0.02).sin() + (i % 7) as f32 * 0.01).collect())
        .collect();
    let features = Features::new(&layout, values);
    let mut encoder = Encoder::new(EncoderConfig::default(), layout)?;
    let mut decoder = Decoder::new(DecoderConfig::default())?;
    for _ in 0..2 {
        let start = std::time::Instant::now();
        let mut unit = Vec::new();
        encoder.encode(&features.tensors(), FrameRequest::default(), &mut unit)?;
        let encoded = start.elapsed();
        let Decoded::Frame(mut frame) = decoder.decode(&unit)? else { panic!("a frame was expected") };
        streams::write_all(&mut frame);
        println!("{} bytes, encoded in {encoded:?}, decoded in {:?}", unit.len(), start.elapsed() - encoded);
        assert!(start.elapsed().as_secs() < 60);
        assert!(encoder.reconstruction() == decoder.reconstruction());
    }
    Ok(())
}
