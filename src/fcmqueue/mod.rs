//! `fcmqueue`: a queue that gives up what matters least when it fills.

/**
 * SECTION:element-fcmqueue
 * @title: fcmqueue
 * @short_description: Queue for coded feature streams that degrades by priority instead of blocking
 *
 * A queue with a thread of its own, as `queue`, for access units of `fcmenc` or `fcmparse` before a link that may be too slow. It never blocks
 * upstream. When it fills, it drops what matters least, in this order:
 *
 * 1. above #GstFcmQueue:degrade-percent of a limit, the weaker slices of the units in it: priority 3, 2, 1, of each first in
 *    predicted, then in random access frames, each at a higher mark. What is left of a unit is a frame still; `fcmdec` decodes it and flags it CORRUPTED;
 * 2. above the limit, whole predicted frames: first those right before a queued random access unit, which nothing else needs, then the oldest. In
 *    streams that are not error resilient, all up to the next random access unit;
 * 3. random access units, if there is a newer one.
 *
 * What waited for longer than #GstFcmQueue:max-size-time goes as soon as a random access unit follows it. The last unit always stays.
 *
 * The unit after a dropped frame has the flag DISCONT. #GstFcmQueue:stats counts what was dropped, and the element posts messages:
 * `fcm-queue-degraded`, at most one a second, with what was dropped since the last (`dropped-slices-1`, `-2`, `-3` by priority, `dropped-frames`,
 * `dropped-random-access-frames` of them, `dropped-bytes`) and the level (`current-level-buffers`, `-bytes`, `-time`); and
 * `fcm-queue-recovered` with the sums, when nothing was dropped for a second and the level is low, or the stream ended.
 *
 * With #GstFcmQueue:max-bitrate the queue itself sends no faster than that, and so fits a stream to a known rate before a sink that never blocks, as
 * `udpsink`. Access units are not cut: each goes at once, and the next waits until it would have gone through.
 *
 * Sources must be in real time, as cameras are: a file that is read as fast as possible overruns any queue that does not block. `identity sync=true`
 * stands for a camera. Streams with slices come from `fcmenc error-resilient=true` with a #GstFcmEnc:slice-size; other streams lose frames only.
 *
 * ## Example pipelines
 * |[
 * gst-launch-1.0 -m filesrc location=features.fcm ! fcmparse ! identity sync=true ! fcmqueue ! tcpclientsink host=server port=5000
 * ]| Sends over a TCP connection that may stall; `-m` shows the messages.
 * |[
 * gst-launch-1.0 filesrc location=features.fcm ! fcmparse ! identity sync=true ! fcmqueue max-bitrate=100 ! rtpfcmpay ! udpsink host=127.0.0.1 port=5004
 * ]| Fits a stream to 100 kbit/s.
 *
 * Since: 0.2.0
 */
use gst::glib;
use gst::prelude::*;

mod imp;
mod input;
mod pacer;
mod policy;
mod report;
mod settings;

glib::wrapper! {
    /// The element `fcmqueue`.
    pub struct FcmQueue(ObjectSubclass<imp::FcmQueue>) @extends gst::Element, gst::Object;
}

/// Registers the element with `plugin`; nothing chooses it by itself.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "fcmqueue", gst::Rank::NONE, FcmQueue::static_type())
}
