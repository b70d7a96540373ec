//! The bin `fcmvideodec`: `fcmdemux` and `fcmunpack` are always in it; the decoder comes between them when the stream says which it needs.

use super::decoders;
use crate::caps;
use crate::fcmdemux::FcmDemux;
use crate::fcmunpack::FcmUnpack;
use crate::properties;
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::sync::{LazyLock, Mutex};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("fcmvideodec", gst::DebugColorFlags::empty(), Some("Features through a video decoder"))
});

/// Properties of `fcmunpack`.
const OF_UNPACK: [&str; 2] = ["transform", "threads"];

/// What is between the two.
#[derive(Default)]
struct Video {
    elements: Vec<gst::Element>,
    media_type: String,
}

/// The element.
pub struct FcmVideoDec {
    sinkpad: gst::GhostPad,
    srcpad: gst::GhostPad,
    demux: FcmDemux,
    unpack: FcmUnpack,
    decoder: Mutex<Option<String>>,
    video: Mutex<Video>,
}

impl FcmVideoDec {
    /// Puts the decoder of video with these caps in, unless it is there. Called by the streaming thread, before the caps go on.
    fn choose_decoder(&self, caps: &gst::Caps) -> Result<(), gst::ErrorMessage> {
        let media_type = caps.structure(0).map(|s| s.name().to_string()).unwrap_or_default();
        if self.video.lock().unwrap().media_type == media_type {
            return Ok(());
        }
        self.remove_decoder();
        let name = self.decoder.lock().unwrap().clone();
        let elements = decoders::elements(caps, name.as_deref())
            .map_err(|what| gst::error_msg!(gst::CoreError::MissingPlugin, ["{what}"]))?;
        gst::debug!(CAT, imp = self, "{caps} is decoded by {elements:?}");
        let failed = |e: glib::BoolError| gst::error_msg!(gst::CoreError::Pad, ["cannot link the decoder: {e}"]);
        self.obj().add_many(&elements).map_err(failed)?;
        let chain = [&[self.demux.clone().upcast()][..], &elements, &[self.unpack.clone().upcast()]].concat();
        let linked = gst::Element::link_many(&chain).map_err(failed);
        for element in elements.iter().rev() {
            let started = element.sync_state_with_parent();
            started
                .map_err(|e| gst::error_msg!(gst::CoreError::StateChange, ["cannot start {}: {e}", element.name()]))?;
        }
        *self.video.lock().unwrap() = Video { elements, media_type };
        linked
    }

    fn remove_decoder(&self) {
        let video = std::mem::take(&mut *self.video.lock().unwrap());
        for element in &video.elements {
            let _ = element.set_state(gst::State::Null);
        }
        let _ = self.obj().remove_many(&video.elements);
    }
}

#[glib::object_subclass]
impl ObjectSubclass for FcmVideoDec {
    const NAME: &'static str = "GstFcmVideoDec";
    type Type = super::FcmVideoDec;
    type ParentType = gst::Bin;

    fn with_class(class: &Self::Class) -> Self {
        let pad = |name| {
            let template = class.pad_template(name).expect("the class has both templates");
            gst::GhostPad::builder_from_template(&template).name(name).build()
        };
        Self {
            sinkpad: pad("sink"),
            srcpad: pad("src"),
            demux: glib::Object::new(),
            unpack: glib::Object::new(),
            decoder: Mutex::default(),
            video: Mutex::default(),
        }
    }
}

impl ObjectImpl for FcmVideoDec {
    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        obj.add(&self.demux).expect("a new bin is empty");
        obj.add(&self.unpack).expect("a new bin has no second element");
        let target = |element: &gst::Element, name| element.static_pad(name).expect("both elements have both pads");
        self.sinkpad.set_target(Some(&target(self.demux.upcast_ref(), "sink"))).expect("the pads are new");
        self.srcpad.set_target(Some(&target(self.unpack.upcast_ref(), "src"))).expect("the pads are new");
        obj.add_pad(&self.sinkpad).expect("a new element has no pads");
        obj.add_pad(&self.srcpad).expect("a new element has no source pad");
        let weak = self.downgrade();
        let video = target(self.demux.upcast_ref(), "src");
        video.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            let caps = info.event().and_then(|event| match event.view() {
                gst::EventView::Caps(e) => Some(e.caps_owned()),
                _ => None,
            });
            if let Some((imp, caps)) = weak.upgrade().zip(caps)
                && let Err(error) = imp.choose_decoder(&caps)
            {
                // The pad is not linked then, which ends the stream.
                imp.post_error_message(error);
            }
            gst::PadProbeReturn::Ok
        });
    }

    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            vec![
                glib::ParamSpecString::builder("decoder")
                    .nick("Decoder")
                    .blurb("Name of the video decoder element (none = one that the stream needs)")
                    .mutable_ready()
                    .build(),
                properties::transforms(),
                properties::threads("Worker threads for all but the video decoder", 1),
                glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                    .nick("Stats")
                    .blurb("Those of fcmdemux")
                    .read_only()
                    .build(),
            ]
        });
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        match pspec.name() {
            name if OF_UNPACK.contains(&name) => self.unpack.set_property_from_value(name, value),
            _ => {
                let name = value.get::<Option<String>>().expect("GObject checks the type of a property");
                *self.decoder.lock().unwrap() = name.filter(|name| !name.is_empty());
            }
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            name if OF_UNPACK.contains(&name) => self.unpack.property_value(name),
            "stats" => self.demux.property_value("stats"),
            _ => self.decoder.lock().unwrap().to_value(),
        }
    }
}

impl GstObjectImpl for FcmVideoDec {}

impl ElementImpl for FcmVideoDec {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Feature tensor video decoder",
                "Codec/Decoder/Metadata/Bin",
                "Decodes the feature tensors of a split neural network that a video encoder coded",
                env!("CARGO_PKG_NAME"),
            )
        });
        Some(&*METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> =
            LazyLock::new(|| crate::coding_element::templates(caps::coded_template(), caps::raw_template()));
        &TEMPLATES
    }

    fn change_state(&self, transition: gst::StateChange) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        let result = self.parent_change_state(transition);
        if transition == gst::StateChange::PausedToReady {
            self.remove_decoder();
        }
        result
    }
}

impl BinImpl for FcmVideoDec {}
