//! The machine of `tensordetect`: one buffer of tensors in, one line of boxes out.

use super::settings::{self, Settings};
use crate::boxes::Numbering;
use crate::boxes::caps::{self as box_caps, BoxFormat};
use crate::caps::{self, RawCaps, TensorFormat, TensorInfo};
use crate::tensor_io::dimensions::MAX_RANK;
use crate::tensor_io::{self, MappedFrame};
use fcm_analytics::detection::{Detector, Tensor};
use fcm_analytics::geometry::Placement;
use fcm_analytics::json;
use fcm_codec::{ChannelOrder, Layout, Limits, TensorRef};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::base_transform::{BaseTransformMode, GenerateOutputSuccess};
use gst_base::subclass::prelude::*;
use half::slice::HalfFloatSliceExt;
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("tensordetect", gst::DebugColorFlags::empty(), Some("Boxes from detector outputs"))
});

/// What the property `stats` counts since the element was started.
#[derive(Debug, Clone, Default)]
struct Stats {
    frames: u64,
    objects: u64,
    time: Duration,
}

/// The tensors of the input.
struct Input {
    raw: RawCaps,
    /// Static tensors.
    layout: Option<Layout>,
}

/// What is kept from frame to frame.
struct Stream {
    detector: Detector,
    placement: Option<Placement>,
    names: Vec<String>,
    limits: Limits,
    input: Option<Input>,
    numbering: Numbering,
    frame: json::Frame,
    line: Vec<u8>,
    /// Values that came as binary16.
    converted: Vec<Vec<f32>>,
}

/// The element.
#[derive(Default)]
pub struct TensorDetect {
    settings: Mutex<Settings>,
    stats: Mutex<Stats>,
    stream: Mutex<Option<Stream>>,
}

impl Stream {
    fn new(settings: &Settings) -> Result<Self, String> {
        let detector = Detector::new(settings.detector()?).map_err(|error| error.to_string())?;
        let (width, height) = settings.frame();
        Ok(Self {
            detector,
            placement: settings.placement()?,
            names: settings.names()?,
            limits: Limits::default(),
            input: None,
            numbering: Numbering::default(),
            frame: json::Frame { width, height, ..json::Frame::default() },
            line: Vec::new(),
            converted: Vec::new(),
        })
    }

    fn set_caps(&mut self, caps: &gst::CapsRef) -> Result<(), fcm_codec::Error> {
        let raw = caps::parse_raw(caps)?;
        let layout = match raw.format {
            TensorFormat::Static => Some(tensor_io::layout(&raw.tensors, ChannelOrder::Chw, &[], &self.limits)?),
            TensorFormat::Flexible => None,
        };
        self.input = Some(Input { raw, layout });
        Ok(())
    }

    /// The line of boxes of a frame and how many there are.
    fn detect(&mut self, buffer: &gst::BufferRef) -> Result<(&[u8], usize), String> {
        let text = |error: fcm_codec::Error| error.to_string();
        let Some(input) = &self.input else { return Err("tensors came before their caps".into()) };
        let flexible;
        let (mapped, infos) = match &input.layout {
            Some(layout) => (MappedFrame::map_static(buffer, layout).map_err(text)?, &input.raw.tensors),
            None => {
                let (mapped, infos) = MappedFrame::map_flexible(buffer, &self.limits).map_err(text)?;
                flexible = infos;
                (mapped, &flexible)
            }
        };
        let values = mapped.tensors().map_err(text)?;
        self.converted.resize_with(values.len(), Vec::new);
        for (tensor, converted) in values.iter().zip(&mut self.converted) {
            if let TensorRef::F16(values) = tensor {
                converted.resize(values.len(), 0.0);
                values.convert_to_f32_slice(converted);
            }
        }
        // Outermost first, as networks count them; at least three, as theirs are.
        let outermost_first = |info: &TensorInfo| {
            let mut dims = info.dimensions.as_array().map(|dim| dim as usize);
            dims.reverse();
            (dims, MAX_RANK - info.dimensions.rank().max(3))
        };
        let dims: Vec<_> = infos.iter().map(outermost_first).collect();
        let tensors: Vec<_> = values
            .iter()
            .zip(&self.converted)
            .zip(&dims)
            .map(|((tensor, converted), dims)| {
                let values = match tensor {
                    TensorRef::F32(values) => values,
                    TensorRef::F16(_) => converted.as_slice(),
                };
                Tensor { dims: &dims.0[dims.1..], values }
            })
            .collect();
        let found = self.detector.decode(&tensors).map_err(|error| error.to_string())?;

        let rate = gst::Fraction::new(input.raw.framerate.0 as i32, input.raw.framerate.1 as i32);
        self.frame.frame = self.numbering.number(buffer.pts(), rate);
        self.frame.pts = buffer.pts().map(gst::ClockTime::nseconds);
        self.frame.objects.clear();
        self.frame.objects.extend(found.iter().map(|detection| {
            let mut detection = *detection;
            if let Some(placement) = &self.placement {
                detection.rect = placement.to_picture(detection.rect);
            }
            let name = self.names.get(usize::from(detection.class)).filter(|name| !name.is_empty());
            json::Object::from_detection(&detection, name.map(String::as_str))
        }));
        self.line.clear();
        self.frame.write(&mut self.line);
        Ok((&self.line, self.frame.objects.len()))
    }
}

impl TensorDetect {
    fn with_stream<R>(&self, f: impl FnOnce(&mut Stream) -> R) -> Option<R> {
        self.stream.lock().unwrap().as_mut().map(f)
    }
}

#[glib::object_subclass]
impl ObjectSubclass for TensorDetect {
    const NAME: &'static str = "GstFcmTensorDetect";
    type Type = super::TensorDetect;
    type ParentType = gst_base::BaseTransform;
}

impl ObjectImpl for TensorDetect {
    fn properties() -> &'static [glib::ParamSpec] {
        settings::properties()
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        self.settings.lock().unwrap().set(pspec.name(), value);
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "stats" => {
                let stats = self.stats.lock().unwrap().clone();
                gst::Structure::builder("application/x-tensordetect-stats")
                    .field("frames", stats.frames)
                    .field("objects", stats.objects)
                    .field("time", stats.time.as_nanos() as u64)
                    .build()
                    .to_value()
            }
            name => self.settings.lock().unwrap().get(name),
        }
    }
}

impl GstObjectImpl for TensorDetect {}

impl ElementImpl for TensorDetect {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Detector outputs to boxes",
                "Converter/Metadata",
                "Turns the output tensors of YOLOX, NanoDet or PicoDet into boxes",
                env!("CARGO_PKG_NAME"),
            )
        });
        Some(&*METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            crate::coding_element::templates(caps::raw_template(), box_caps::template(&[BoxFormat::Json]))
        });
        &TEMPLATES
    }
}

impl BaseTransformImpl for TensorDetect {
    const MODE: BaseTransformMode = BaseTransformMode::NeverInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = self.settings.lock().unwrap().clone();
        let stream = Stream::new(&settings)
            .map_err(|why| gst::error_msg!(gst::LibraryError::Settings, ["cannot start: {why}"]))?;
        *self.stats.lock().unwrap() = Stats::default();
        *self.stream.lock().unwrap() = Some(stream);
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *self.stream.lock().unwrap() = None;
        Ok(())
    }

    fn transform_caps(
        &self,
        direction: gst::PadDirection,
        caps: &gst::Caps,
        filter: Option<&gst::Caps>,
    ) -> Option<gst::Caps> {
        let other = if direction == gst::PadDirection::Sink {
            let (width, height) = self.settings.lock().unwrap().frame();
            let boxes = |s: &gst::StructureRef| {
                let mut boxes = box_caps::structure_like(BoxFormat::Json, s);
                boxes.set("width", width as i32);
                boxes.set("height", height as i32);
                boxes
            };
            caps.iter().map(boxes).collect()
        } else {
            let mut other = gst::Caps::new_empty();
            let template = caps::raw_template();
            for (tensors, features) in template.iter_with_features() {
                for boxes in caps.iter() {
                    let mut tensors = tensors.to_owned();
                    if let Ok(rate) = boxes.value("framerate") {
                        tensors.set_value("framerate", rate.clone());
                    }
                    other.make_mut().append_structure_full(tensors, Some(features.to_owned()));
                }
            }
            other
        };
        Some(box_caps::filtered(other, filter))
    }

    fn set_caps(&self, incaps: &gst::Caps, outcaps: &gst::Caps) -> Result<(), gst::LoggableError> {
        gst::debug!(CAT, imp = self, "{incaps} to {outcaps}");
        if let Some(Err(error)) = self.with_stream(|stream| stream.set_caps(incaps)) {
            crate::error::post(self, "cannot take these tensors", &error);
            return Err(gst::loggable_error!(CAT, "{error}"));
        }
        Ok(())
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        match event.view() {
            gst::EventView::Segment(e) => {
                self.with_stream(|stream| stream.numbering.set_segment(e.segment()));
            }
            gst::EventView::StreamStart(_) | gst::EventView::FlushStop(_) => {
                self.with_stream(|stream| stream.numbering.restart());
            }
            _ => {}
        }
        self.parent_sink_event(event)
    }

    fn generate_output(&self) -> Result<GenerateOutputSuccess, gst::FlowError> {
        let Some(buffer) = self.take_queued_buffer() else { return Ok(GenerateOutputSuccess::NoOutput) };
        if buffer.size() == 0 && buffer.flags().contains(gst::BufferFlags::GAP) {
            // An empty buffer that stands for "nothing at this time" is what a gap event says.
            if let Some(pts) = buffer.pts() {
                self.obj().src_pad().push_event(gst::event::Gap::builder(pts).duration(buffer.duration()).build());
            }
            return Ok(GenerateOutputSuccess::NoOutput);
        }
        let started = Instant::now();
        let result = self.with_stream(|stream| {
            stream.detect(&buffer).map(|(line, count)| (gst::Buffer::from_slice(line.to_vec()), count))
        });
        let (mut boxes, count) = match result {
            Some(Ok(found)) => found,
            Some(Err(why)) => {
                gst::element_imp_error!(self, gst::StreamError::Decode, ("cannot find boxes: {why}"));
                return Err(gst::FlowError::Error);
            }
            None => return Err(gst::FlowError::Flushing),
        };
        let unshared = boxes.make_mut();
        unshared.set_pts(buffer.pts());
        unshared.set_dts(buffer.dts());
        unshared.set_duration(buffer.duration());
        unshared.set_flags(buffer.flags() & gst::BufferFlags::DISCONT);
        {
            let mut stats = self.stats.lock().unwrap();
            stats.frames += 1;
            stats.objects += count as u64;
            stats.time += started.elapsed();
        }
        gst::log!(CAT, imp = self, "{count} boxes at {:?}", buffer.pts());
        Ok(GenerateOutputSuccess::Buffer(boxes))
    }
}
