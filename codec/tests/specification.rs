//! The worked example of docs/bitstream.md §10 is what the encoder writes and the decoder reads.

mod common;

use common::layout;
use fcm_codec::{
    Decoded, Decoder, DecoderConfig, Dtype, Encoder, EncoderConfig, FrameRequest, RateControl, Result, Shape,
    TensorMut, TensorRef,
};

/// Hexadecimal bytes of the lines of the document between two headings that begin with four spaces.
fn bytes_of(document: &str, from: &str) -> Vec<u8> {
    let section = document.split(from).nth(1).expect(from);
    let block = section.split("```").nth(1).expect("a code block");
    let words = block.lines().flat_map(|l| l.split('|').next().unwrap_or("").split_whitespace());
    words.map(|w| u8::from_str_radix(w, 16).expect(w)).collect()
}

#[test]
fn the_worked_example_is_what_the_encoder_writes() -> Result<()> {
    let document = include_str!("../../docs/bitstream.md");
    let layout = layout(&[(Shape::chw(1, 2, 2), Dtype::F32)]);
    let config = EncoderConfig {
        rate_control: RateControl::ConstantQp(12),
        framerate: (25, 1),
        rd_strength: 0.0,
        ..EncoderConfig::default()
    };
    let mut encoder = Encoder::new(config, layout)?;
    let mut decoder = Decoder::new(DecoderConfig::default())?;
    let frames = [[1.0f32, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.5]];
    for (values, name) in frames.iter().zip(["First access unit", "Second access unit"]) {
        let mut unit = Vec::new();
        encoder.encode(&[TensorRef::F32(values)], FrameRequest::default(), &mut unit)?;
        assert_eq!(unit, bytes_of(document, name), "{name}: {unit:02x?}");
        let Decoded::Frame(mut frame) = decoder.decode(&unit)? else { panic!("awaiting") };
        let mut out = [0f32; 4];
        frame.write(0, TensorMut::F32(&mut out))?;
        println!("{:?} {:?} scale {}", decoder.reconstruction(), out, encoder.reference_scale());
        assert_eq!(decoder.reconstruction(), encoder.reconstruction());
    }
    Ok(())
}
