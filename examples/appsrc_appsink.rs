//! Feature tensors of an application through the codec and back: appsrc ! fcmenc ! fcmdec ! appsink.
//!
//! `cargo run --example appsrc_appsink` prints, for every frame, what it took and how close it came back. The features here
//! are waves made on the spot; a real application hands over the output of its network the same way.

use anyhow::{Context, Result, anyhow};
use gst::prelude::*;
use ndarray::{Array3, ArrayView3};

// One feature map of 32 channels of 12 rows × 16 columns. Dimensions in caps are innermost first: W:H:C:1.
const CHANNELS: usize = 32;
const ROWS: usize = 12;
const COLUMNS: usize = 16;
const FRAMES: u64 = 50;
const FRAME_TIME: gst::ClockTime = gst::ClockTime::from_mseconds(40);

/// What the first part of a network would give for frame `t`: an array of [channels, rows, columns].
fn features(t: u64) -> Array3<f32> {
    Array3::from_shape_fn((CHANNELS, ROWS, COLUMNS), |(channel, y, x)| {
        let phase = 0.1 * t as f32 + channel as f32;
        (0.5 * x as f32 + phase).sin() * (0.4 * y as f32 - phase).cos() + 0.2
    })
}

/// A buffer with the values of `array`; its memory is the array's own.
fn to_buffer(array: Array3<f32>) -> gst::Buffer {
    struct Values(Vec<f32>);
    impl AsRef<[u8]> for Values {
        fn as_ref(&self) -> &[u8] {
            bytemuck::cast_slice(&self.0)
        }
    }
    gst::Buffer::from_slice(Values(array.into_raw_vec_and_offset().0))
}

fn main() -> Result<()> {
    gst::init()?;
    // Links the plugin into this program. With the plugin installed this line is not needed.
    gstfcm::plugin_register_static()?;

    let pipeline = gst::parse::launch(
        "appsrc name=in ! fcmenc qp=8 tensor-names=backbone ! fcmdec ! appsink name=out sync=false",
    )?
    .downcast::<gst::Pipeline>()
    .map_err(|_| anyhow!("the description is not a pipeline"))?;

    let source = pipeline.by_name("in").and_downcast::<gst_app::AppSrc>().context("no appsrc")?;
    source.set_caps(Some(
        &gst::Caps::builder("other/tensors")
            .field("format", "static")
            .field("num_tensors", 1)
            .field("types", "float32")
            .field("dimensions", format!("{COLUMNS}:{ROWS}:{CHANNELS}:1"))
            .field("framerate", gst::Fraction::new(25, 1))
            .build(),
    ));
    // Buffers carry times, and the source waits when the codec is behind.
    source.set_format(gst::Format::Time);
    source.set_block(true);

    let sink = pipeline.by_name("out").and_downcast::<gst_app::AppSink>().context("no appsink")?;
    pipeline.set_state(gst::State::Playing)?;

    for t in 0..FRAMES {
        let original = features(t);
        let mut buffer = to_buffer(original.clone());
        let unshared = buffer.get_mut().context("a new buffer is not shared")?;
        unshared.set_pts(FRAME_TIME * t);
        unshared.set_duration(FRAME_TIME);
        source.push_buffer(buffer)?;

        // One in, one out: the frame can be waited for right away.
        let Ok(sample) = sink.pull_sample() else { break };
        let buffer = sample.buffer().context("a sample without a buffer")?;
        let memory = buffer.map_readable()?;
        let values: &[f32] = bytemuck::try_cast_slice(&memory).map_err(|e| anyhow!("memory of a tensor: {e}"))?;
        let restored = ArrayView3::from_shape(original.dim(), values)?;
        let error = (&original - &restored).mapv(|v| v * v).sum();
        let energy = original.mapv(|v| v * v).sum();

        // Mean and standard deviation of every layer come with the buffer.
        let statistics = gstfcm::statistics_meta::get(buffer).context("no statistics")?;
        for (name, layer) in statistics.names.iter().zip(&statistics.values.layers) {
            println!(
                "frame {t:2}: {name} mean {:+.4}, standard deviation {:.4}, relative error {:.5}",
                layer.mean,
                layer.std_dev,
                error / energy
            );
        }
    }
    source.end_of_stream()?;

    // Whatever went wrong anywhere in the pipeline is on the bus.
    let bus = pipeline.bus().context("no bus")?;
    while let Some(message) = bus.timed_pop(gst::ClockTime::from_seconds(10)) {
        match message.view() {
            gst::MessageView::Eos(_) => break,
            gst::MessageView::Error(e) => {
                pipeline.set_state(gst::State::Null)?;
                return Err(anyhow!("{}: {}", e.src().map(|s| s.path_string()).unwrap_or_default(), e.error()));
            }
            _ => {}
        }
    }
    let encoder = pipeline
        .iterate_all_by_element_factory_name("fcmenc")
        .into_iter()
        .next()
        .and_then(Result::ok)
        .context("no encoder")?;
    let stats = encoder.property::<gst::Structure>("stats");
    println!("{} bytes became {}", stats.get::<u64>("bytes-in")?, stats.get::<u64>("bytes-out")?);
    pipeline.set_state(gst::State::Null)?;
    Ok(())
}
