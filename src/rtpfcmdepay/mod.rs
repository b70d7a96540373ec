//! `rtpfcmdepay`: gets access units out of RTP packets.

/**
 * SECTION:element-rtpfcmdepay
 * @title: rtpfcmdepay
 * @short_description: Extracts coded feature streams from RTP packets
 *
 * Puts together what `rtpfcmpay` cut, in the payload format of docs/rtp.md. Only whole access units come out, every check of them passed;
 * one lost packet costs its access unit. The access unit after a loss has the DISCONT flag, predicted ones have DELTA_UNIT.
 *
 * On loss, and while a receiver that joined waits for its first random access point, the element asks upstream for one
 * (#GstRtpFcmDepay:request-keyframe); `rtpsession` makes a PLI or FIR of that if the caps have `rtcp-fb-nack-pli` or
 * `rtcp-fb-ccm-fir`. With #GstRtpFcmDepay:wait-for-keyframe, predicted access units after a loss are not sent: `fcmdec` could
 * not use them, and a file is not the worse for it.
 *
 * The caps need no `sprop-parameter-sets` unless the sender leaves the parameters out of the stream; with them the caps downstream are known before
 * the first packet.
 *
 * ## Example pipelines
 * |[
 * gst-launch-1.0 udpsrc port=5004 caps="application/x-rtp,media=application,clock-rate=90000,encoding-name=FCM,payload=96" ! rtpjitterbuffer do-lost=true ! rtpfcmdepay ! fcmdec ! fakesink
 * ]| Receives and decodes.
 * |[
 * gst-launch-1.0 -e udpsrc port=5004 caps="application/x-rtp,media=application,clock-rate=90000,encoding-name=FCM,payload=96" ! rtpjitterbuffer ! rtpfcmdepay wait-for-keyframe=true ! filesink location=received.fcm
 * ]| Records without decoding.
 *
 * Since: 0.2.0
 */
use gst::glib;
use gst::prelude::*;

mod imp;
mod settings;

glib::wrapper! {
    /// The element `rtpfcmdepay`.
    pub struct RtpFcmDepay(ObjectSubclass<imp::RtpFcmDepay>) @extends gst_rtp::RTPBaseDepayload, gst::Element, gst::Object;
}

/// Registers the element with `plugin`, with the rank that other depayloaders have.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "rtpfcmdepay", gst::Rank::SECONDARY, RtpFcmDepay::static_type())
}
