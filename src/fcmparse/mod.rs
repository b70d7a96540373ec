//! `fcmparse`: finds access units in a coded feature stream, whatever the pieces it arrives in.

/**
 * SECTION:element-fcmparse
 * @title: fcmparse
 * @short_description: Cuts a coded feature stream into access units
 *
 * Takes `application/x-fcm` in pieces of any size (a file, a TCP connection) or in whole access units, and gives
 * one access unit a buffer with complete caps, timestamps, and the DELTA_UNIT flag on predicted frames. It converts
 * between the two framings: `byte-stream` marks random access points, so that a reader may begin anywhere;
 * `packetized` does not, for transports and containers that keep access units whole. If downstream takes both, the
 * framing stays as it is.
 *
 * A stream may be joined at any point: everything before the first random access point is dropped. So is a damaged
 * access unit with all that depends on it; the next buffer then carries DISCONT, a warning message is posted, and
 * #GstFcmParse:stats counts it.
 *
 * Timestamps of upstream are kept. Where there are none (files), they follow from the frame rate in the stream
 * and from the frame numbers, so that lost frames leave a hole instead of shifting what comes after them.
 *
 * ## Example pipelines
 * |[
 * gst-launch-1.0 filesrc location=features.fcm ! fcmparse ! fcmdec ! filesink location=features.raw
 * ]| Reads a file and decodes it.
 * |[
 * gst-launch-1.0 filesrc location=features.fcm ! decodebin caps=other/tensors ! filesink location=features.raw
 * ]| The same without naming the elements. `decodebin` has to be told that tensors are what is wanted: by itself it
 * knows only sound, pictures and text as ends of its search.
 * |[
 * gst-launch-1.0 tcpclientsrc host=camera port=5000 ! fcmparse ! application/x-fcm,stream-format=packetized ! fakesink dump=true
 * ]| Joins a running stream and repacks it.
 */
use gst::glib;
use gst::prelude::*;

mod imp;
mod state;

glib::wrapper! {
    /// The element `fcmparse`.
    pub struct FcmParse(ObjectSubclass<imp::FcmParse>) @extends gst_base::BaseParse, gst::Element, gst::Object;
}

/// Registers the element with `plugin`.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    // Above the primary decoders, as every parser: autoplugging must parse before it decodes.
    gst::Element::register(Some(plugin), "fcmparse", gst::Rank::PRIMARY + 1, FcmParse::static_type())
}
