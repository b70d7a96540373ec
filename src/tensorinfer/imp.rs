//! The machine of `tensorinfer`: one picture or set of tensors in, one run of the model, one buffer of tensors out.
//!
//! Locks as in `fcmenc`: the streaming thread takes the [`Stream`] out of its mutex while it works.

use super::errors;
use super::formats::{self, VIDEO};
use super::settings::{self, Settings};
use super::stats::Stats;
use crate::caps::{self, Framerate, TensorFormat, TensorInfo};
use crate::coding_element::{self, CodingElement};
use crate::tensor_io::{self, MappedFrame, pool::TensorPool};
use crate::{error, inference, statistics_meta};
use fcm_codec::{ChannelOrder, Dtype, Error, ErrorKind, Layout, Limits, TensorMut, TensorRef};
use fcm_infer::{Model, Picture, PictureFormat, PictureInput, TensorSpec};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_video::prelude::*;
use half::slice::HalfFloatSliceExt;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("tensorinfer", gst::DebugColorFlags::empty(), Some("Neural network inference"))
});

/// What the caps of both pads follow from.
#[derive(Debug)]
struct Offer {
    /// The tensors that go in, with values of either type.
    inputs: [Vec<TensorInfo>; 2],
    outputs: Vec<TensorInfo>,
    /// Whether pictures can go in.
    pictures: bool,
}

/// What threads other than the streaming thread read or write.
#[derive(Debug, Default)]
struct State {
    stats: Stats,
    offer: Option<Arc<Offer>>,
    /// Frame rate of what comes in.
    framerate: Framerate,
}

/// What comes in at present.
enum Input {
    Pictures(gst_video::VideoInfo, PictureFormat),
    Static(Layout),
    Flexible,
}

/// What the streaming thread keeps from frame to frame.
struct Stream {
    model: Model,
    offer: Arc<Offer>,
    /// The output tensors as they lie in buffers.
    layout: Layout,
    limits: Limits,
    picture: Result<PictureInput, fcm_infer::Error>,
    /// Values of binary16 inputs, converted.
    wide: Vec<Vec<f32>>,
    input: Option<Input>,
    framerate: Framerate,
    sent: Option<(gst::Caps, TensorFormat)>,
    pool: Option<(Vec<usize>, TensorPool)>,
}

/// Why a buffer or caps gave no tensors.
enum Failure {
    NotNegotiated(String),
    Flow(gst::FlowError),
    Tensors(Error),
    Inference(fcm_infer::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Tensors(error)
    }
}

impl From<fcm_infer::Error> for Failure {
    fn from(error: fcm_infer::Error) -> Self {
        Failure::Inference(error)
    }
}

/// The element.
pub struct TensorInfer {
    sinkpad: gst::Pad,
    srcpad: gst::Pad,
    settings: Mutex<Settings>,
    state: Mutex<State>,
    stream: Mutex<Option<Stream>>,
}

fn infos(specs: &[TensorSpec], dtype: Dtype) -> Result<Vec<TensorInfo>, Error> {
    specs.iter().map(|spec| formats::tensor_info(spec, dtype)).collect()
}

impl Stream {
    fn new(settings: &Settings, library_dirs: Vec<PathBuf>) -> Result<Self, Failure> {
        let Some(path) = &settings.model else {
            let message = "no model: the property model names an .onnx file".to_owned();
            return Err(fcm_infer::Error::Setting(message).into());
        };
        let preprocess = settings.preprocess()?;
        let model = Model::open(path, &settings.model_options(library_dirs))?;
        let limits = Limits::default();
        let outputs = infos(model.outputs(), Dtype::F32)?;
        let names: Vec<String> = model.outputs().iter().map(|spec| spec.name.clone()).collect();
        let layout = tensor_io::layout(&outputs, ChannelOrder::Chw, &names, &limits).map_err(|error| {
            Error::new(ErrorKind::Unsupported, format!("the model's outputs cannot be put in other/tensors: {error}"))
        })?;
        let inputs = [infos(model.inputs(), Dtype::F32)?, infos(model.inputs(), Dtype::F16)?];
        let picture = match model.inputs() {
            [spec] => PictureInput::new(spec, preprocess),
            several => {
                Err(fcm_infer::Error::Shape(format!("the model has {} inputs, pictures need one", several.len())))
            }
        };
        if let Err(error @ fcm_infer::Error::Setting(_)) = picture {
            return Err(error.into());
        }
        let offer = Arc::new(Offer { inputs, outputs, pictures: picture.is_ok() });
        let wide = vec![Vec::new(); model.inputs().len()];
        Ok(Self { model, offer, layout, limits, picture, wide, input: None, framerate: (0, 1), sent: None, pool: None })
    }

    /// Fails when tensors are not those that the model takes.
    fn check(&self, tensors: &[TensorInfo]) -> Result<(), Failure> {
        let dimensions = |tensors: &[TensorInfo]| tensors.iter().map(|t| t.dimensions).collect::<Vec<_>>();
        if dimensions(tensors) == dimensions(&self.offer.inputs[0]) {
            return Ok(());
        }
        let names: Vec<String> = self.model.inputs().iter().map(TensorSpec::to_string).collect();
        Err(Failure::NotNegotiated(format!(
            "tensors of {} came, the model takes {} ({})",
            formats::listed(tensors),
            formats::listed(&self.offer.inputs[0]),
            names.join(", ")
        )))
    }

    /// What fixed caps announce.
    fn read_caps(&self, caps: &gst::CapsRef) -> Result<(Input, Framerate), Failure> {
        if caps.structure(0).is_some_and(|s| s.name() == VIDEO) {
            if let Err(why) = &self.picture {
                return Err(Failure::NotNegotiated(format!("pictures came, but {why}")));
            }
            let wrong = || Failure::NotNegotiated(format!("{caps} are no pictures that can be read"));
            let info = gst_video::VideoInfo::from_caps(caps).map_err(|_| wrong())?;
            let format = formats::picture_format(info.format()).ok_or_else(wrong)?;
            let framerate = caps::framerate_of(info.fps());
            return Ok((Input::Pictures(info, format), framerate));
        }
        let raw = caps::parse_raw(caps)?;
        let input = match raw.format {
            TensorFormat::Flexible => Input::Flexible,
            TensorFormat::Static => {
                self.check(&raw.tensors)?;
                Input::Static(tensor_io::layout(&raw.tensors, ChannelOrder::Chw, &[], &self.limits)?)
            }
        };
        Ok((input, raw.framerate))
    }

    /// Runs the model on a buffer and writes what comes out into `target`. Gives the times of preparing and of the run.
    fn run(
        &mut self,
        buffer: &gst::BufferRef,
        format: TensorFormat,
        target: &mut gst::BufferRef,
    ) -> Result<[Duration; 2], Failure> {
        let started = Instant::now();
        let unmapped = |what: &dyn std::fmt::Display| {
            Error::new(ErrorKind::InvalidInput, format!("the buffer is no picture of the size in the caps: {what}"))
        };
        match &self.input {
            None => Err(Failure::NotNegotiated("buffers came before their caps".into())),
            Some(Input::Pictures(info, picture_format)) => {
                let frame =
                    gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, info).map_err(|e| unmapped(&e))?;
                let data = frame.plane_data(0).map_err(|e| unmapped(&e))?;
                let stride = usize::try_from(frame.plane_stride()[0]).map_err(|e| unmapped(&e))?;
                let picture = Picture::new(*picture_format, frame.width(), frame.height(), stride, data)?;
                let Ok(converter) = &mut self.picture else { return Err(Failure::Flow(gst::FlowError::NotNegotiated)) };
                let values = converter.convert(&picture)?;
                infer(&mut self.model, &[values], &self.layout, format, target, started)
            }
            Some(Input::Static(layout)) => {
                let frame = MappedFrame::map_static(buffer, layout)?;
                let values = floats(&frame, &mut self.wide)?;
                infer(&mut self.model, &values, &self.layout, format, target, started)
            }
            Some(Input::Flexible) => {
                let (frame, tensors) = MappedFrame::map_flexible(buffer, &self.limits)?;
                self.check(&tensors)?;
                let values = floats(&frame, &mut self.wide)?;
                infer(&mut self.model, &values, &self.layout, format, target, started)
            }
        }
    }
}

/// The values of all tensors as f32; those of binary16 converted into `wide`.
fn floats<'a>(frame: &'a MappedFrame<'_>, wide: &'a mut [Vec<f32>]) -> Result<Vec<&'a [f32]>, Error> {
    let tensors = frame.tensors()?;
    for (tensor, wide) in tensors.iter().zip(wide.iter_mut()) {
        if let TensorRef::F16(values) = tensor {
            wide.resize(values.len(), 0.0);
            values.convert_to_f32_slice(wide);
        }
    }
    let wide: &'a [Vec<f32>] = wide;
    let values = tensors.into_iter().zip(wide).map(|(tensor, wide)| match tensor {
        TensorRef::F32(values) => values,
        TensorRef::F16(_) => wide.as_slice(),
    });
    Ok(values.collect())
}

/// One run of the model, what comes out written into `target`.
fn infer(
    model: &mut Model,
    inputs: &[&[f32]],
    layout: &Layout,
    format: TensorFormat,
    target: &mut gst::BufferRef,
    started: Instant,
) -> Result<[Duration; 2], Failure> {
    let prepared = Instant::now();
    let outputs = model.run(inputs)?;
    let inference = prepared.elapsed();
    tensor_io::write_tensors(target, layout, format, |n, tensor| match (tensor, outputs.get(n)) {
        (TensorMut::F32(target), Some(values)) if target.len() == values.len() => {
            target.copy_from_slice(values);
            Ok(())
        }
        _ => Err(Error::new(ErrorKind::InvalidInput, format!("output {n} is not what the model announced"))),
    })?;
    Ok([prepared - started, inference])
}

impl TensorInfer {
    /// Lends the stream to `f`, with no lock held meanwhile; `None` when the element is stopped. Only the streaming
    /// thread calls this, and pads are deactivated before the stream is dropped.
    fn with_stream<R>(&self, f: impl FnOnce(&mut Stream) -> R) -> Option<R> {
        let mut stream = self.stream.lock().unwrap().take()?;
        let result = f(&mut stream);
        *self.stream.lock().unwrap() = Some(stream);
        Some(result)
    }

    /// Chooses the raw caps; gives the event to send when they are new.
    fn negotiate(&self, stream: &mut Stream) -> Result<Option<gst::Event>, Failure> {
        self.srcpad.check_reconfigure();
        let (outputs, framerate) = (&stream.offer.outputs, stream.framerate);
        let peer = self.srcpad.peer_query_caps(None);
        let Some((chosen, format)) = caps::fixate_raw(outputs, framerate, TensorFormat::Static, None, &peer) else {
            self.srcpad.mark_reconfigure();
            let (format, tensors) = (TensorFormat::Static, outputs.clone());
            let ours = caps::raw_caps(&caps::RawCaps { format, tensors, framerate });
            return Err(Failure::NotNegotiated(format!("the model gives {ours}, downstream takes {peer}")));
        };
        let new = stream.sent.as_ref().is_none_or(|(sent, _)| *sent != chosen);
        let event = new.then(|| gst::event::Caps::new(&chosen));
        if new {
            gst::debug!(CAT, imp = self, "sending {chosen}");
        }
        stream.sent = Some((chosen, format));
        Ok(event)
    }

    fn set_caps(&self, stream: &mut Stream, caps: &gst::CapsRef) -> Result<Option<gst::Event>, Failure> {
        let (input, framerate) = stream.read_caps(caps)?;
        stream.input = Some(input);
        stream.framerate = framerate;
        self.state.lock().unwrap().framerate = framerate;
        self.negotiate(stream)
    }

    /// One buffer; gives the caps to send before it, if they are new, and what came out.
    fn process(&self, stream: &mut Stream, buffer: &gst::Buffer) -> Result<(Option<gst::Event>, gst::Buffer), Failure> {
        let event = if self.srcpad.check_reconfigure() || stream.sent.is_none() {
            if stream.input.is_none() {
                return Err(Failure::NotNegotiated("buffers came before their caps".into()));
            }
            self.negotiate(stream)?
        } else {
            None
        };
        let Some(&(_, format)) = stream.sent.as_ref() else { return Err(Failure::Flow(gst::FlowError::NotNegotiated)) };
        let sizes = tensor_io::memory_sizes(&stream.layout, format);
        let pool = match &mut stream.pool {
            Some((of, pool)) if *of == sizes => pool,
            other => {
                if let Some((_, pool)) = other.take() {
                    let _ = pool.set_active(false);
                }
                let pool = TensorPool::new(sizes.clone()).map_err(|e| {
                    Error::new(ErrorKind::LimitExceeded, format!("no pool of raw buffers could be made: {e}"))
                })?;
                &mut other.insert((sizes, pool)).1
            }
        };
        let mut raw = pool.acquire_buffer(None).map_err(Failure::Flow)?;
        let unshared = raw.make_mut();
        let [preprocess, inference] = stream.run(buffer, format, unshared)?;
        // Metas that describe the memory of pictures stay behind: the memory is another one.
        let copied = gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS | gst::BufferCopyFlags::META;
        if let Err(error) = buffer.copy_into(unshared, copied, ..) {
            gst::warning!(CAT, imp = self, "not all metadata could be copied: {error}");
        }
        // They were those of the tensors that came in.
        statistics_meta::remove(unshared);
        let frame = {
            let stats = &mut self.state.lock().unwrap().stats;
            stats.frames += 1;
            stats.preprocess_time += preprocess;
            stats.inference_time += inference;
            stats.frames
        };
        gst::log!(CAT, imp = self, "frame {frame}: prepared in {preprocess:?}, run in {inference:?}");
        Ok((event, raw))
    }

    /// Posts what a failure is and says what the pad returns.
    fn fail(&self, what: &str, failure: Failure) -> gst::FlowError {
        match failure {
            Failure::NotNegotiated(why) => {
                gst::element_imp_error!(self, gst::CoreError::Negotiation, ("cannot agree on caps: {why}"));
                gst::FlowError::NotNegotiated
            }
            Failure::Flow(flow) => flow,
            Failure::Tensors(error) if error.kind() == ErrorKind::InvalidInput => {
                gst::element_imp_error!(self, gst::StreamError::Format, ("{what}: {error}"));
                gst::FlowError::Error
            }
            Failure::Tensors(error) => {
                error::post(self, what, &error);
                gst::FlowError::Error
            }
            Failure::Inference(error) => {
                errors::post(self, what, &error);
                gst::FlowError::Error
            }
        }
    }

    /// Opens the model and says what it takes and gives.
    fn start(&self) -> Result<(), gst::StateChangeError> {
        let settings = self.settings.lock().unwrap().clone();
        let stream = Stream::new(&settings, inference::library_dirs(&*self.obj())).map_err(|failure| {
            let _ = self.fail("cannot start", failure);
            gst::StateChangeError
        })?;
        let names = |specs: &[TensorSpec]| gst::Array::new(specs.iter().map(TensorSpec::to_string));
        let structure = gst::Structure::builder("tensorinfer-model")
            .field("inputs", names(stream.model.inputs()))
            .field("outputs", names(stream.model.outputs()))
            .field_if_some("library", fcm_infer::library::loaded().map(|path| path.to_string_lossy().into_owned()))
            .build();
        gst::debug!(CAT, imp = self, "{structure}");
        *self.state.lock().unwrap() = State { offer: Some(stream.offer.clone()), ..State::default() };
        *self.stream.lock().unwrap() = Some(stream);
        let _ = self.obj().post_message(gst::message::Element::builder(structure).src(&*self.obj()).build());
        Ok(())
    }

    /// Tensors in both formats and every spelling that passes the filter.
    fn tensors(tensors: &[TensorInfo], rate: Framerate, filter: Option<&gst::CapsRef>) -> gst::Caps {
        let offer = caps::raw_offer(tensors, rate);
        let Some(filter) = filter else { return offer };
        let common = caps::filter_offer(&offer, filter);
        if !common.is_empty() {
            return common;
        }
        // The filter may spell the same dimensions in yet another way.
        caps::fixate_raw(tensors, rate, TensorFormat::Static, None, filter).map_or(common, |(caps, _)| caps)
    }

    /// What could be sent now.
    fn src_caps(&self, filter: Option<&gst::CapsRef>) -> gst::Caps {
        let (offer, framerate) = {
            let state = self.state.lock().unwrap();
            (state.offer.clone(), state.framerate)
        };
        match (offer, filter) {
            (Some(offer), filter) => Self::tensors(&offer.outputs, framerate, filter),
            (None, Some(filter)) => filter.intersect_with_mode(&caps::raw_template(), gst::CapsIntersectMode::First),
            (None, None) => caps::raw_template(),
        }
    }

    /// What could be taken now. What goes out has the frame rate of what comes in, so downstream's wish holds upstream too.
    fn sink_caps(&self, filter: Option<&gst::CapsRef>) -> gst::Caps {
        let offer = self.state.lock().unwrap().offer.clone();
        let mut all = match offer {
            None => formats::sink_template(),
            Some(offer) => {
                let mut all = if offer.pictures { formats::pictures() } else { gst::Caps::new_empty() };
                for inputs in &offer.inputs {
                    all.make_mut().append(Self::tensors(inputs, (0, 1), filter));
                }
                all
            }
        };
        if let Some(rates) = wished_rates(&self.srcpad.peer_query_caps(None)) {
            let mut rated = gst::Caps::new_empty();
            for (structure, features) in all.iter_with_features() {
                for rate in &rates {
                    let mut structure = structure.to_owned();
                    structure.set_value("framerate", rate.clone());
                    rated.make_mut().append_structure_full(structure, Some(features.to_owned()));
                }
            }
            all = rated;
        }
        match filter {
            Some(filter) => filter.intersect_with_mode(&all, gst::CapsIntersectMode::First),
            None => all,
        }
    }
}

/// The frame rates that caps allow; `None` when they allow any.
fn wished_rates(peer: &gst::CapsRef) -> Option<Vec<glib::SendValue>> {
    if peer.is_any() {
        return None;
    }
    let mut rates: Vec<glib::SendValue> = Vec::new();
    for structure in peer.iter().filter(|s| s.name() == caps::RAW) {
        let rate = structure.value("framerate").ok()?;
        let known = |other: &glib::SendValue| other.compare(rate) == Some(std::cmp::Ordering::Equal);
        if !rates.iter().any(known) {
            rates.push(rate.clone());
        }
    }
    (!rates.is_empty()).then_some(rates)
}

impl CodingElement for TensorInfer {
    fn chain(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        if buffer.size() == 0 && buffer.flags().contains(gst::BufferFlags::GAP) {
            // An empty buffer that stands for "nothing at this time" is what a gap event says.
            if let Some(pts) = buffer.pts() {
                self.srcpad.push_event(gst::event::Gap::builder(pts).duration(buffer.duration()).build());
            }
            return Ok(gst::FlowSuccess::Ok);
        }
        match self.with_stream(|stream| self.process(stream, &buffer)) {
            Some(Ok((caps, raw))) => {
                drop(buffer);
                if let Some(caps) = caps {
                    // Why caps were refused shows in the result of the buffer after them.
                    self.srcpad.push_event(caps);
                }
                self.srcpad.push(raw)
            }
            Some(Err(failure)) => Err(self.fail("cannot run the model", failure)),
            None => Err(gst::FlowError::Flushing),
        }
    }

    fn sink_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        gst::log!(CAT, obj = pad, "{event:?}");
        match event.view() {
            gst::EventView::Caps(e) => match self.with_stream(|stream| self.set_caps(stream, e.caps())) {
                Some(Ok(Some(caps))) => self.srcpad.push_event(caps),
                Some(Ok(None)) => true,
                Some(Err(failure)) => {
                    let _ = self.fail("cannot take the caps", failure);
                    false
                }
                None => false,
            },
            _ => gst::Pad::event_default(pad, Some(&*self.obj()), event),
        }
    }

    fn src_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        gst::log!(CAT, obj = pad, "{event:?}");
        // A wish for new caps goes on too: it may be one for another frame rate.
        gst::Pad::event_default(pad, Some(&*self.obj()), event)
    }

    fn query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        use gst::QueryViewMut;
        let is_sink = *pad == self.sinkpad;
        match query.view_mut() {
            QueryViewMut::Caps(q) => {
                let caps = if is_sink { self.sink_caps(q.filter()) } else { self.src_caps(q.filter()) };
                q.set_result(&caps);
                true
            }
            QueryViewMut::Allocation(q) => {
                // Rows of pictures may lie as they like.
                q.add_allocation_meta::<gst_video::VideoMeta>(None);
                true
            }
            // Bytes on the two sides have nothing in common.
            QueryViewMut::Position(q) if q.format() == gst::Format::Bytes => false,
            QueryViewMut::Duration(q) if q.format() == gst::Format::Bytes => false,
            _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
    }
}

#[glib::object_subclass]
impl ObjectSubclass for TensorInfer {
    const NAME: &'static str = "GstFcmTensorInfer";
    type Type = super::TensorInfer;
    type ParentType = gst::Element;

    fn new() -> Self {
        // Caps that spell dimensions in a rare way, or that do not fit the model, are looked at when they come: the message then
        // says what is wrong.
        let flags = gst::PadFlags::ACCEPT_INTERSECT | gst::PadFlags::ACCEPT_TEMPLATE;
        let (sinkpad, srcpad) = coding_element::pads::<Self>(flags);
        Self { sinkpad, srcpad, settings: Mutex::default(), state: Mutex::default(), stream: Mutex::default() }
    }
}

impl ObjectImpl for TensorInfer {
    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        obj.add_pad(&self.sinkpad).expect("a new element has no pads");
        obj.add_pad(&self.srcpad).expect("a new element has no source pad");
    }

    fn properties() -> &'static [glib::ParamSpec] {
        settings::properties()
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        self.settings.lock().unwrap().set(pspec.name(), value);
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "stats" => self.state.lock().unwrap().stats.structure().to_value(),
            name => self.settings.lock().unwrap().get(name),
        }
    }
}

impl GstObjectImpl for TensorInfer {}

impl ElementImpl for TensorInfer {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Neural network inference",
                "Filter/Analyzer/Video",
                "Runs an ONNX model, or the part of one between named tensors, on pictures or tensors",
                env!("CARGO_PKG_NAME"),
            )
        });
        Some(&*METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> =
            LazyLock::new(|| coding_element::templates(formats::sink_template(), caps::raw_template()));
        &TEMPLATES
    }

    fn change_state(&self, transition: gst::StateChange) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::ReadyToPaused {
            self.start()?;
        }
        let result = self.parent_change_state(transition)?;
        if transition == gst::StateChange::PausedToReady {
            // The pads are inactive now: the streaming thread is out. Counts stay readable until the next start.
            let stream = self.stream.lock().unwrap().take();
            if let Some((_, pool)) = stream.and_then(|stream| stream.pool) {
                let _ = pool.set_active(false);
            }
            let mut state = self.state.lock().unwrap();
            state.offer = None;
            state.framerate = (0, 1);
        }
        Ok(result)
    }
}
