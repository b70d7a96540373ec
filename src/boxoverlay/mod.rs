/**
 * SECTION:element-boxoverlay
 * @short_description: Draws boxes on pictures
 *
 * `boxoverlay` has two sink pads: `video` takes pictures, `boxes` what `tensordetect` or `boxtrack` send. Boxes belong to the
 * picture of the same running time (within 1 ms), and are drawn on it with their number, name and score.
 *
 * Where a picture has no boxes of its own, the last ones are drawn as long as they are not older than `max-age`, else none.
 * Boxes of pictures that are gone are skipped. The stream ends with the pictures; the boxes may end before.
 *
 * In a pipeline that is not live, a picture waits until its boxes or later ones are there. In a live one it waits for
 * the latency of the pipeline only; raise the property `latency` by the time that the network needs. A live source
 * allows no latency at all unless a queue comes after it.
 *
 * **Both branches need a queue** where pictures and boxes come from one source through a `tee`: a frame whose boxes never
 * come, because it was lost on the way, holds its picture back until later boxes are there, and those are only made
 * when the source can go on. The queue before `video` must hold as many pictures as the other branch is behind.
 *
 * ## Example pipeline
 * |[
 * … ! tee name=t
 *   t. ! queue max-size-buffers=200 max-size-bytes=0 max-size-time=0 ! overlay.video
 *   t. ! queue ! … network … ! tensordetect … ! boxtrack ! overlay.boxes
 *   boxoverlay name=overlay ! videoconvert ! autovideosink
 * ]| Shows a camera's pictures with what the network follows in them.
 *
 * Since: 0.1.0
 */
use gst::glib;
use gst::prelude::*;

mod canvas;
mod drawing;
mod imp;
mod settings;

glib::wrapper! {
    /// The element `boxoverlay`.
    pub struct BoxOverlay(ObjectSubclass<imp::BoxOverlay>) @extends gst_base::Aggregator, gst::Element, gst::Object;
}

/// Registers the element.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "boxoverlay", gst::Rank::NONE, BoxOverlay::static_type())
}
