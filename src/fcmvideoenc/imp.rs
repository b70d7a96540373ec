//! The bin `fcmvideoenc`: `fcmpack` and `fcmmux` are always in it; encoder and parser from NULL to READY on, when it is known which.

use super::encoders::{self, Rate};
use crate::caps;
use crate::fcmmux::FcmMux;
use crate::fcmpack::FcmPack;
use crate::properties;
use fcm_codec::picture::WriterConfig;
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::sync::{LazyLock, Mutex};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("fcmvideoenc", gst::DebugColorFlags::empty(), Some("Features through a video encoder"))
});

/// Properties of the two elements that are always there.
const OF_PACK: [&str; 8] =
    ["statistics", "restoration-strength", "transform", "components", "bit-depth", "threads", "layout", "tensor-names"];
const OF_MUX: [&str; 3] = ["stats-period", "stats-threshold", "stats"];

/// What the user wishes of the encoder.
#[derive(Debug, Clone)]
struct Settings {
    encoder: String,
    qp: u32,
    bitrate: u32,
    key_int_max: u32,
    properties: Option<gst::Structure>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { encoder: "x265enc".into(), qp: 30, bitrate: 0, key_int_max: 32, properties: None }
    }
}

impl Settings {
    fn rate(&self) -> Rate {
        if self.bitrate > 0 { Rate::Bitrate(self.bitrate) } else { Rate::Qp(self.qp) }
    }
}

/// The element.
pub struct FcmVideoEnc {
    sinkpad: gst::GhostPad,
    srcpad: gst::GhostPad,
    pack: FcmPack,
    mux: FcmMux,
    settings: Mutex<Settings>,
    /// Encoder, and parser where there is one, in order.
    video: Mutex<Vec<gst::Element>>,
}

impl FcmVideoEnc {
    /// Makes and links the encoder.
    fn add_encoder(&self) -> Result<(), gst::ErrorMessage> {
        let settings = self.settings.lock().unwrap().clone();
        let missing = |name: &str| {
            gst::error_msg!(gst::CoreError::MissingPlugin, ["there is no element {name}: is its plugin installed?"])
        };
        let factory = gst::ElementFactory::find(&settings.encoder).ok_or_else(|| missing(&settings.encoder))?;
        let encoder = factory.create().build().map_err(|_| missing(&settings.encoder))?;
        configure(&encoder, &factory, &settings)?;
        let templates = factory.static_pad_templates();
        let source = templates.iter().find(|t| t.direction() == gst::PadDirection::Src).map(|t| t.caps());
        let parser = source.and_then(|caps| caps.structure(0).and_then(|s| encoders::parser(s.name())));
        let mut video = vec![encoder];
        match parser.map(|name| gst::ElementFactory::make(name).property("config-interval", -1).build()) {
            Some(Ok(parser)) => video.push(parser),
            Some(Err(_)) => {
                gst::info!(CAT, imp = self, "no parser is installed; the encoder's access units go on as they are")
            }
            None => {}
        }
        let obj = self.obj();
        let failed =
            |e: glib::BoolError| gst::error_msg!(gst::CoreError::Pad, ["cannot link {}: {e}", settings.encoder]);
        obj.add_many(&video).map_err(failed)?;
        let chain = [&[self.pack.clone().upcast()][..], &video, &[self.mux.clone().upcast()]].concat();
        let linked = gst::Element::link_many(&chain);
        *self.video.lock().unwrap() = video;
        linked.map_err(failed)
    }

    fn remove_encoder(&self) {
        let video = std::mem::take(&mut *self.video.lock().unwrap());
        for element in &video {
            let _ = element.set_state(gst::State::Null);
        }
        let _ = self.obj().remove_many(&video);
    }
}

/// Gives the encoder its options.
fn configure(
    encoder: &gst::Element,
    factory: &gst::ElementFactory,
    settings: &Settings,
) -> Result<(), gst::ErrorMessage> {
    let name = factory.name();
    let options = encoders::known(&name, settings.rate(), settings.key_int_max);
    let known = options.is_some();
    for (property, value) in options.unwrap_or_else(|| encoders::usual(settings.rate(), settings.key_int_max)) {
        if let Some(pspec) = encoder.find_property(property) {
            match glib::Value::deserialize_with_pspec(&value, &pspec) {
                Ok(value) => set_checked(encoder, &pspec, &value, &name)?,
                Err(_) if !known => gst::debug!(CAT, "{name} does not take {property}={value}"),
                Err(_) => gst::warning!(CAT, "{name} does not take {property}={value}"),
            }
        }
    }
    for (property, value) in settings.properties.iter().flat_map(|s| s.iter()) {
        let Some(pspec) = encoder.find_property(property) else {
            return Err(gst::error_msg!(gst::LibraryError::Settings, ["{name} has no property {property}"]));
        };
        // A structure holds numbers and text; enumerations are named by text.
        let text = match value.get::<Option<String>>() {
            Ok(text) => text.unwrap_or_default(),
            Err(_) => value.serialize().map(|text| text.to_string()).unwrap_or_default(),
        };
        let value = glib::Value::deserialize_with_pspec(&text, &pspec);
        let value = value
            .map_err(|_| gst::error_msg!(gst::LibraryError::Settings, ["{name} does not take {property}={text}"]))?;
        set_checked(encoder, &pspec, &value, &name)?;
    }
    Ok(())
}

/// Sets a property to a value of its type; GObject would silently change one out of range.
fn set_checked(
    encoder: &gst::Element,
    pspec: &glib::ParamSpec,
    value: &glib::Value,
    name: &str,
) -> Result<(), gst::ErrorMessage> {
    let outside = |value: i64, low: i64, high: i64| (!(low..=high).contains(&value)).then_some((value, low, high));
    let range = if let Some(p) = pspec.downcast_ref::<glib::ParamSpecUInt>() {
        value.get::<u32>().ok().and_then(|v| outside(v.into(), p.minimum().into(), p.maximum().into()))
    } else if let Some(p) = pspec.downcast_ref::<glib::ParamSpecInt>() {
        value.get::<i32>().ok().and_then(|v| outside(v.into(), p.minimum().into(), p.maximum().into()))
    } else {
        None
    };
    if let Some((value, low, high)) = range {
        let property = pspec.name();
        return Err(gst::error_msg!(
            gst::LibraryError::Settings,
            ["{property}={value} for {name}, legal are {low} to {high}"]
        ));
    }
    encoder.set_property_from_value(pspec.name(), value);
    Ok(())
}

#[glib::object_subclass]
impl ObjectSubclass for FcmVideoEnc {
    const NAME: &'static str = "GstFcmVideoEnc";
    type Type = super::FcmVideoEnc;
    type ParentType = gst::Bin;

    fn with_class(class: &Self::Class) -> Self {
        let pad = |name| {
            let template = class.pad_template(name).expect("the class has both templates");
            gst::GhostPad::builder_from_template(&template).name(name).build()
        };
        Self {
            sinkpad: pad("sink"),
            srcpad: pad("src"),
            pack: glib::Object::new(),
            mux: glib::Object::new(),
            settings: Mutex::default(),
            video: Mutex::default(),
        }
    }
}

impl ObjectImpl for FcmVideoEnc {
    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        obj.add(&self.pack).expect("a new bin is empty");
        obj.add(&self.mux).expect("a new bin has no second element");
        let target = |element: &gst::Element, name| element.static_pad(name).expect("both elements have both pads");
        self.sinkpad.set_target(Some(&target(self.pack.upcast_ref(), "sink"))).expect("the pads are new");
        self.srcpad.set_target(Some(&target(self.mux.upcast_ref(), "src"))).expect("the pads are new");
        obj.add_pad(&self.sinkpad).expect("a new element has no pads");
        obj.add_pad(&self.srcpad).expect("a new element has no source pad");
    }

    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let default = Settings::default();
            vec![
                glib::ParamSpecString::builder("encoder")
                    .nick("Encoder")
                    .blurb("Name of the video encoder element")
                    .default_value(Some(default.encoder.as_str()))
                    .mutable_ready()
                    .build(),
                glib::ParamSpecUInt::builder("qp")
                    .nick("Quantiser")
                    .blurb("Quantiser when bitrate is 0, in the scale of the encoder")
                    .maximum(255)
                    .default_value(default.qp)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecUInt::builder("bitrate")
                    .nick("Bit Rate")
                    .blurb("Average bit rate of the video in kbit/s (0 = constant qp)")
                    .maximum(10_000_000)
                    .default_value(default.bitrate)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecUInt::builder("key-int-max")
                    .nick("Key Interval")
                    .blurb("Most frames from one key frame to the next (0 = only the first frame is one)")
                    .default_value(default.key_int_max)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecBoxed::builder::<gst::Structure>("encoder-properties")
                    .nick("Encoder Properties")
                    .blurb("Further properties of the encoder, set after all others: \"name,property=value,...\"")
                    .mutable_ready()
                    .build(),
                properties::statistics(),
                properties::restoration_strength(),
                properties::transform(),
                properties::components(),
                glib::ParamSpecUInt::builder("bit-depth")
                    .nick("Bit Depth")
                    .blurb("Bits of a sample, 8 or 10 (0 = 10 where the encoder takes it)")
                    .maximum(10)
                    .mutable_ready()
                    .build(),
                properties::threads("Worker threads for all but the video encoder", 1),
                properties::layout(),
                properties::tensor_names(),
                properties::stats_period(WriterConfig::default().stats_period),
                properties::stats_threshold(WriterConfig::default().stats_threshold),
                glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                    .nick("Stats")
                    .blurb("Those of fcmmux")
                    .read_only()
                    .build(),
            ]
        });
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        const TYPE: &str = "GObject checks the type of a property";
        let name = pspec.name();
        if OF_PACK.contains(&name) {
            return self.pack.set_property_from_value(name, value);
        }
        if OF_MUX.contains(&name) {
            return self.mux.set_property_from_value(name, value);
        }
        let mut settings = self.settings.lock().unwrap();
        match name {
            "encoder" => {
                let name = value.get::<Option<String>>().expect(TYPE);
                settings.encoder = name.unwrap_or_else(|| Settings::default().encoder);
            }
            "qp" => settings.qp = value.get().expect(TYPE),
            "bitrate" => settings.bitrate = value.get().expect(TYPE),
            "key-int-max" => settings.key_int_max = value.get().expect(TYPE),
            "encoder-properties" => settings.properties = value.get().expect(TYPE),
            name => unreachable!("property {name} is not writable"),
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        let name = pspec.name();
        if OF_PACK.contains(&name) {
            return self.pack.property_value(name);
        }
        if OF_MUX.contains(&name) {
            return self.mux.property_value(name);
        }
        let settings = self.settings.lock().unwrap();
        match name {
            "encoder" => settings.encoder.to_value(),
            "qp" => settings.qp.to_value(),
            "bitrate" => settings.bitrate.to_value(),
            "key-int-max" => settings.key_int_max.to_value(),
            "encoder-properties" => settings.properties.to_value(),
            name => unreachable!("there is no property {name}"),
        }
    }
}

impl GstObjectImpl for FcmVideoEnc {}

impl ElementImpl for FcmVideoEnc {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Feature tensor video encoder",
                "Codec/Encoder/Metadata/Bin",
                "Codes the feature tensors of a split neural network with a video encoder",
                env!("CARGO_PKG_NAME"),
            )
        });
        Some(&*METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> =
            LazyLock::new(|| crate::coding_element::templates(caps::raw_template(), caps::coded_template()));
        &TEMPLATES
    }

    fn change_state(&self, transition: gst::StateChange) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::NullToReady
            && let Err(error) = self.add_encoder()
        {
            self.remove_encoder();
            self.post_error_message(error);
            return Err(gst::StateChangeError);
        }
        let result = self.parent_change_state(transition);
        if transition == gst::StateChange::ReadyToNull
            || (transition == gst::StateChange::NullToReady && result.is_err())
        {
            self.remove_encoder();
        }
        result
    }
}

impl BinImpl for FcmVideoEnc {}
