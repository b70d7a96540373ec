/**
 * SECTION:element-boxtrack
 * @short_description: Joins boxes of successive frames to tracks
 *
 * `boxtrack` gives boxes numbers that stay the same as long as an object is followed, in the manner of ByteTrack: sure
 * detections are joined to tracks first, then unsure ones to the tracks that are left. A Kalman filter of constant velocity
 * predicts where a track goes on.
 *
 * Out come lines of JSON, or with `format=mot` lines of MOTChallenge results: `frame,id,left,top,width,height,score,-1,-1,-1`,
 * frames from 1, ready for a file.
 *
 * ## Example pipelines
 * |[
 * … ! tensordetect … ! boxtrack ! filesink location=tracks.json
 * ]| Writes tracks as JSON.
 * |[
 * … ! tensordetect … ! boxtrack format=mot max-lost=50 ! filesink location=tracks.txt
 * ]| Writes a result file of MOTChallenge.
 *
 * Since: 0.1.0
 */
use gst::glib;
use gst::prelude::*;

mod imp;
mod settings;

glib::wrapper! {
    /// The element `boxtrack`.
    pub struct BoxTrack(ObjectSubclass<imp::BoxTrack>) @extends gst_base::BaseTransform, gst::Element, gst::Object;
}

/// How tracks are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstFcmTrackFormat")]
pub enum TrackFormat {
    /// As downstream wishes.
    #[default]
    #[enum_value(name = "As downstream wishes, JSON if it takes both", nick = "auto")]
    Auto = 0,
    /// JSON.
    #[enum_value(name = "A line of JSON a frame", nick = "json")]
    Json = 1,
    /// MOTChallenge.
    #[enum_value(name = "A line of MOTChallenge results a box", nick = "mot")]
    Mot = 2,
}

/// Registers the element and the type of its property.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    #[cfg(feature = "doc")]
    TrackFormat::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
    gst::Element::register(Some(plugin), "boxtrack", gst::Rank::NONE, BoxTrack::static_type())
}
