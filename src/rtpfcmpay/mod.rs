//! `rtpfcmpay`: puts access units into RTP packets.

/**
 * SECTION:element-rtpfcmpay
 * @title: rtpfcmpay
 * @short_description: Payload-encodes coded feature streams into RTP packets
 *
 * Puts the access units of `fcmenc` or `fcmparse` into RTP packets of at most `mtu` bytes, in the payload format of docs/rtp.md: small
 * units share a packet, large ones are cut. The clock is 90 kHz, the marker bit is on the last packet of every access unit.
 *
 * The parameters of the stream are in the caps as `sprop-parameter-sets`, and by default in every random access unit too, so that a receiver
 * can join without knowing the caps; #GstRtpFcmPay:config-interval changes that.
 *
 * A receiver's PLI or FIR comes through `rtpsession` as a force-key-unit event, which goes on to `fcmenc`.
 *
 * ## Example pipelines
 * |[
 * gst-launch-1.0 filesrc location=features.fcm ! fcmparse ! rtpfcmpay mtu=1200 ! udpsink host=127.0.0.1 port=5004
 * ]| Sends a file at its frame rate.
 * |[
 * gst-launch-1.0 rtpbin name=rtp filesrc location=features.fcm ! fcmparse ! rtpfcmpay ! rtp.send_rtp_sink_0 rtp.send_rtp_src_0 ! udpsink port=5004 rtp.send_rtcp_src_0 ! udpsink port=5005 sync=false async=false udpsrc port=5006 ! rtp.recv_rtcp_sink_0
 * ]| The same with RTCP.
 *
 * Since: 0.2.0
 */
use gst::glib;
use gst::prelude::*;

mod imp;
mod settings;

glib::wrapper! {
    /// The element `rtpfcmpay`.
    pub struct RtpFcmPay(ObjectSubclass<imp::RtpFcmPay>) @extends gst_rtp::RTPBasePayload, gst::Element, gst::Object;
}

/// Registers the element with `plugin`, with the rank that other payloaders have.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "rtpfcmpay", gst::Rank::SECONDARY, RtpFcmPay::static_type())
}
