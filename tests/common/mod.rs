//! What the element tests share: the plugin, feature sets made by a formula, harnesses, and watching the bus.
#![allow(dead_code, reason = "every test program uses a part of this")]

pub mod live;

use fcm_codec::{ChannelOrder, Dtype, Layer, Layout, Limits, Shape, TensorRef};
use gst::prelude::*;
use half::f16;
use std::sync::Once;

/// Frame duration of the test streams: 25 frames a second.
pub const FRAME: gst::ClockTime = gst::ClockTime::from_mseconds(40);

pub fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::init().expect("GStreamer starts");
        gstfcm::plugin_register_static().expect("the plugin registers");
    });
}

/// A feature set whose values a formula gives: drifting waves around a mean of each layer, and a little noise.
#[derive(Clone)]
pub struct Features {
    pub layers: Vec<(Shape, Dtype)>,
    pub order: ChannelOrder,
    pub names: Vec<String>,
}

impl Features {
    /// Two maps of different size and type, and a vector.
    pub fn small() -> Self {
        Self::new(vec![
            (Shape::chw(8, 12, 16), Dtype::F32),
            (Shape::chw(12, 6, 8), Dtype::F16),
            (Shape::vector(24), Dtype::F32),
        ])
    }

    pub fn one(shape: Shape) -> Self {
        Self::new(vec![(shape, Dtype::F32)])
    }

    pub fn new(layers: Vec<(Shape, Dtype)>) -> Self {
        Self { layers, order: ChannelOrder::Chw, names: Vec::new() }
    }

    /// As the element makes it of the caps.
    pub fn layout(&self) -> Layout {
        let layers = self.layers.iter().enumerate().map(|(n, &(shape, dtype))| Layer {
            name: self.names.get(n).cloned().unwrap_or_default(),
            shape,
            dtype,
            order: if shape.is_vector() { ChannelOrder::Chw } else { self.order },
        });
        Layout::new(layers.collect(), &Limits::default()).expect("the test's layout is legal")
    }

    pub fn dimensions(&self, n: usize) -> String {
        let s = self.layers[n].0;
        match self.order {
            _ if s.is_vector() => s.channels().to_string(),
            ChannelOrder::Chw => format!("{}:{}:{}", s.width(), s.height(), s.channels()),
            ChannelOrder::Hwc => format!("{}:{}:{}", s.channels(), s.width(), s.height()),
        }
    }

    pub fn caps(&self) -> gst::Caps {
        self.caps_at(gst::Fraction::new(25, 1))
    }

    pub fn caps_at(&self, framerate: gst::Fraction) -> gst::Caps {
        let join = |f: &dyn Fn(usize) -> String| (0..self.layers.len()).map(f).collect::<Vec<_>>().join(",");
        gst::Caps::builder("other/tensors")
            .field("format", "static")
            .field("num_tensors", self.layers.len() as i32)
            .field("types", join(&|n| if self.layers[n].1 == Dtype::F16 { "float16".into() } else { "float32".into() }))
            .field("dimensions", join(&|n| self.dimensions(n)))
            .field("framerate", framerate)
            .build()
    }

    /// Values of frame `t`, one vector a layer, in the order of memory.
    pub fn values(&self, t: usize) -> Vec<Vec<f32>> {
        let layer = |(n, &(shape, dtype)): (usize, &(Shape, Dtype))| {
            let mut seed =
                0x9e37_79b9u32 ^ (n as u32 + 1).wrapping_mul(0x85eb_ca6b) ^ (t as u32).wrapping_mul(0xc2b2_ae35);
            let mut noise = move || {
                seed ^= seed << 13;
                seed ^= seed >> 17;
                seed ^= seed << 5;
                seed as f32 / u32::MAX as f32 - 0.5
            };
            let (c, h, w) = (shape.channels() as usize, shape.height() as usize, shape.width() as usize);
            let mut values = vec![0.0; c * h * w];
            for ch in 0..c {
                for y in 0..h {
                    for x in 0..w {
                        let phase = 0.7 * ch as f32 + 0.05 * t as f32;
                        let wave = (0.4 * x as f32 + phase).sin() + (0.3 * y as f32 - phase).cos();
                        let value = 0.3 * (n as f32 + 1.0) + (1.0 + 0.1 * ch as f32).recip() * wave + 0.05 * noise();
                        let at = match self.order {
                            ChannelOrder::Chw => (ch * h + y) * w + x,
                            ChannelOrder::Hwc => (y * w + x) * c + ch,
                        };
                        values[at] = if dtype == Dtype::F16 { f16::from_f32(value).to_f32() } else { value };
                    }
                }
            }
            values
        };
        self.layers.iter().enumerate().map(layer).collect()
    }

    /// Bytes of frame `t`, one vector a layer.
    pub fn bytes(&self, t: usize) -> Vec<Vec<u8>> {
        let convert = |(values, &(_, dtype)): (Vec<f32>, &(Shape, Dtype))| to_bytes(&values, dtype);
        self.values(t).into_iter().zip(&self.layers).map(convert).collect()
    }

    /// Frame `t` with one memory a layer (or one for all when there are more than a buffer can have).
    pub fn buffer(&self, t: usize) -> gst::Buffer {
        let bytes = self.bytes(t);
        if bytes.len() <= 16 { stamped(bytes, t) } else { stamped(vec![bytes.concat()], t) }
    }

    /// The values of a raw buffer of this feature set, whatever its memories.
    pub fn read(&self, buffer: &gst::BufferRef) -> Vec<Vec<f32>> {
        let map = buffer.map_readable().expect("mappable");
        let mut rest = map.as_slice();
        let layers = self.layers.iter().map(|&(shape, dtype)| {
            let (bytes, after) = rest.split_at(shape.elements() as usize * dtype.size());
            rest = after;
            from_bytes(bytes, dtype)
        });
        let values = layers.collect();
        assert!(rest.is_empty(), "{} bytes too many", rest.len());
        values
    }
}

pub fn to_bytes(values: &[f32], dtype: Dtype) -> Vec<u8> {
    match dtype {
        Dtype::F16 => values.iter().flat_map(|&v| f16::from_f32(v).to_ne_bytes()).collect(),
        Dtype::F32 => values.iter().flat_map(|v| v.to_ne_bytes()).collect(),
    }
}

pub fn from_bytes(bytes: &[u8], dtype: Dtype) -> Vec<f32> {
    match dtype {
        Dtype::F16 => bytes.chunks_exact(2).map(|b| f16::from_ne_bytes([b[0], b[1]]).to_f32()).collect(),
        Dtype::F32 => bytes.chunks_exact(4).map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]])).collect(),
    }
}

/// A buffer of these memories with the time of frame `t`.
pub fn stamped(memories: Vec<Vec<u8>>, t: usize) -> gst::Buffer {
    let mut buffer = gst::Buffer::new();
    let unshared = buffer.get_mut().expect("new");
    for memory in memories {
        unshared.append_memory(gst::Memory::from_mut_slice(memory));
    }
    unshared.set_pts(FRAME * t as u64);
    unshared.set_duration(FRAME);
    buffer
}

/// A header of a flexible tensor with its values behind it.
pub fn flexible(dimensions: &[u32], type_number: u32, values: &[u8]) -> Vec<u8> {
    let mut words = [0u32; 32];
    (words[0], words[1], words[2]) = (0xfeed_cced, 0xde00_1000, type_number);
    words[3..3 + dimensions.len()].copy_from_slice(dimensions);
    (words[19], words[20]) = (1, 4);
    let mut bytes: Vec<u8> = words.iter().flat_map(|w| w.to_ne_bytes()).collect();
    bytes.extend_from_slice(values);
    bytes
}

/// An element in a harness, and its bus.
pub struct Bench {
    pub harness: gst_check::Harness,
    pub bus: gst::Bus,
}

impl Bench {
    pub fn new(element: gst::Element) -> Self {
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        Self { harness: gst_check::Harness::with_element(&element, Some("sink"), Some("src")), bus }
    }

    pub fn element(&self) -> gst::Element {
        self.harness.element().expect("the harness has its element")
    }

    pub fn stats(&self) -> gst::Structure {
        self.element().property("stats")
    }

    pub fn count(&self, name: &str) -> u64 {
        self.stats().get(name).unwrap_or_else(|e| panic!("stats have no {name}: {e}"))
    }

    /// Texts of all errors posted so far. The core sends refused caps again before the next event, so that their error
    /// comes more than once; repetitions are left out.
    pub fn errors(&self) -> Vec<String> {
        let mut errors = self.messages(gst::MessageType::Error);
        errors.dedup();
        errors
    }

    /// Texts of all warnings posted so far.
    pub fn warnings(&self) -> Vec<String> {
        self.messages(gst::MessageType::Warning)
    }

    /// Texts of all information posted so far.
    pub fn advice(&self) -> Vec<String> {
        self.messages(gst::MessageType::Info)
    }

    fn messages(&self, kind: gst::MessageType) -> Vec<String> {
        std::iter::from_fn(|| self.bus.pop_filtered(&[kind]))
            .map(|message| match message.view() {
                gst::MessageView::Error(e) => e.error().to_string(),
                gst::MessageView::Warning(w) => w.error().to_string(),
                gst::MessageView::Info(i) => i.error().to_string(),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    /// All buffers that came out so far.
    pub fn pull_all(&mut self) -> Vec<gst::Buffer> {
        std::iter::from_fn(|| self.harness.try_pull()).collect()
    }

    /// All downstream events so far.
    pub fn events(&mut self) -> Vec<gst::Event> {
        std::iter::from_fn(|| self.harness.try_pull_event()).collect()
    }

    /// All upstream events so far.
    pub fn upstream_events(&mut self) -> Vec<gst::Event> {
        std::iter::from_fn(|| self.harness.try_pull_upstream_event()).collect()
    }

    pub fn src_caps(&self) -> Option<gst::Caps> {
        self.element().static_pad("src").expect("src").current_caps()
    }
}

pub fn element(name: &str, properties: &[(&str, &str)]) -> gst::Element {
    init();
    let element = gst::ElementFactory::make(name).build().unwrap_or_else(|_| panic!("no element {name}"));
    for (name, value) in properties {
        element.set_property_from_str(name, value);
    }
    element
}

/// Property of `fcmenc` for tests that tell frames by their content: small changes are coded, whatever they cost.
pub const EVERY_CHANGE: (&str, &str) = ("rd-strength", "0");
/// Predicts from the same place, so that frames of moving scenes are large enough for several slices.
pub const STANDING: (&str, &str) = ("motion-compensation", "false");

/// `fcmenc` with its caps set.
pub fn encoder(features: &Features, properties: &[(&str, &str)]) -> Bench {
    let mut bench = Bench::new(element("fcmenc", properties));
    bench.harness.set_src_caps(features.caps());
    bench
}

/// Coded caps and the access units of frames 0 to `frames`.
pub fn encode(features: &Features, frames: usize, properties: &[(&str, &str)]) -> (gst::Caps, Vec<gst::Buffer>) {
    let mut bench = encoder(features, properties);
    for t in 0..frames {
        bench.harness.push(features.buffer(t)).unwrap_or_else(|e| panic!("frame {t}: {e}, {:?}", bench.errors()));
    }
    let units = bench.pull_all();
    assert_eq!(units.len(), frames);
    (bench.src_caps().expect("coded caps"), units)
}

/// `fcmdec` with its caps set.
pub fn decoder(caps: &gst::Caps, properties: &[(&str, &str)]) -> Bench {
    let mut bench = Bench::new(element("fcmdec", properties));
    bench.harness.set_src_caps(caps.clone());
    bench
}

/// Caps without what a decoder could learn the raw caps from.
pub fn bare(caps: &gst::CapsRef) -> gst::Caps {
    let mut s = caps.structure(0).expect("one structure").to_owned();
    s.remove_fields(["codec_data", "original-caps", "framerate"]);
    gst::Caps::from(s)
}

pub fn is_delta(buffer: &gst::BufferRef) -> bool {
    buffer.flags().contains(gst::BufferFlags::DELTA_UNIT)
}

pub fn is_discont(buffer: &gst::BufferRef) -> bool {
    buffer.flags().contains(gst::BufferFlags::DISCONT)
}

/// Changes the bytes of a unit, everything else stays.
pub fn tampered(unit: &gst::BufferRef, change: impl FnOnce(&mut Vec<u8>)) -> gst::Buffer {
    let mut bytes = unit.map_readable().expect("mappable").to_vec();
    change(&mut bytes);
    let mut buffer = gst::Buffer::from_mut_slice(bytes);
    let copied = gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS | gst::BufferCopyFlags::META;
    unit.copy_into(buffer.get_mut().expect("new"), copied, ..).expect("metadata");
    buffer
}

/// Squared error over variance.
pub fn nmse(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let mean = a.iter().map(|&v| f64::from(v)).sum::<f64>() / a.len() as f64;
    let error: f64 = a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
    let variance: f64 = a.iter().map(|&a| (f64::from(a) - mean).powi(2)).sum();
    error / variance
}

pub fn mean_and_deviation(values: &[f32]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
    (mean, variance.sqrt())
}

/// Views of `bytes`, as the codec takes them.
pub fn with_refs<R>(features: &Features, values: &[Vec<f32>], f: impl FnOnce(&[TensorRef<'_>]) -> R) -> R {
    let halves: Vec<Vec<f16>> = values.iter().map(|v| v.iter().map(|&v| f16::from_f32(v)).collect()).collect();
    let refs: Vec<TensorRef<'_>> = features
        .layers
        .iter()
        .enumerate()
        .map(
            |(n, &(_, dtype))| {
                if dtype == Dtype::F16 { TensorRef::F16(&halves[n]) } else { TensorRef::F32(&values[n]) }
            },
        )
        .collect();
    f(&refs)
}

/// A transform in a file of its own, gone when this is.
pub struct TransformFile {
    pub path: std::path::PathBuf,
    pub id: fcm_codec::TransformId,
}

impl TransformFile {
    /// For one map of four channels: sums and differences of the channels. `mean` makes different ones.
    pub fn of_four_channels(mean: f32) -> Self {
        let signs = [[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, -1.0, -1.0], [1.0, -1.0, -1.0, 1.0], [1.0, -1.0, 1.0, -1.0f32]];
        let basis = signs.concat().iter().map(|s| s / 2.0).collect();
        let cell = fcm_codec::reduction::CellShape { channels: 4, rows: 1, cols: 1, laid_out: false };
        let variances = vec![4.0, 1.0, 0.5, 0.25];
        let transform = fcm_codec::Transform::new(vec![cell], vec![mean; 4], basis, variances, 5.75, 1000)
            .expect("the test's transform is legal");
        let path = std::env::temp_dir().join(format!("fcm-test-{}-{}.fcmt", std::process::id(), transform.id()));
        std::fs::write(&path, transform.to_bytes()).expect("a temporary file");
        Self { path, id: transform.id() }
    }

    pub fn path(&self) -> &str {
        self.path.to_str().expect("temporary paths are UTF-8 here")
    }
}

impl Drop for TransformFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
