//! What elements with one sink and one source pad share: the pads, their functions, and which events wait for caps.

use gst::prelude::*;
use gst::subclass::prelude::*;

/// An element with one sink and one source pad. Each function is called with panics caught and posted as errors.
pub trait CodingElement: ElementImpl {
    /// A buffer came to the sink pad.
    fn chain(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError>;

    /// An event came to the sink pad, from upstream.
    fn sink_event(&self, pad: &gst::Pad, event: gst::Event) -> bool;

    /// An event came to the source pad, from downstream.
    fn src_event(&self, pad: &gst::Pad, event: gst::Event) -> bool;

    /// A query came to either pad.
    fn query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool;
}

/// An element whose source caps may come after events that must go behind them.
pub trait EventsBehindCaps: CodingElement {
    /// The source pad.
    fn src_pad(&self) -> &gst::Pad;

    /// Keeps an event for later if the caps of the source pad are not known yet; returns whether it did.
    fn hold(&self, event: &gst::Event) -> bool;

    /// Passes an event from upstream on, or keeps it until the caps are known, which must go first.
    fn forward(&self, event: gst::Event) -> bool {
        // A gap is no sticky event, but it needs the segment that waits before it.
        let waits = event.is_sticky() || event.type_() == gst::EventType::Gap;
        let keep = event.is_serialized() && waits && event.type_() != gst::EventType::StreamStart;
        (keep && self.hold(&event)) || self.src_pad().push_event(event)
    }
}

/// Adds `event` to those that wait, if `waits`; returns that.
pub fn hold_if(waits: bool, waiting: &mut Vec<gst::Event>, event: &gst::Event) -> bool {
    if waits {
        waiting.push(event.clone());
    }
    waits
}

/// Templates of the two pads, sink first.
pub fn templates(sink: gst::Caps, src: gst::Caps) -> Vec<gst::PadTemplate> {
    let pad = |name, direction, caps| {
        gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps).expect("the caps are legal")
    };
    vec![pad("sink", gst::PadDirection::Sink, sink), pad("src", gst::PadDirection::Src, src)]
}

/// The two pads of a new element, sink first, from its [`templates`]; `sink_flags` are set on the sink pad.
pub fn pads<T: CodingElement>(sink_flags: gst::PadFlags) -> (gst::Pad, gst::Pad) {
    let [sink, src] = T::pad_templates() else {
        unreachable!("the templates are those of one sink and one source pad")
    };
    let sinkpad = gst::Pad::builder_from_template(sink)
        .chain_function(|_, parent, buffer| {
            T::catch_panic_pad_function(parent, || Err(gst::FlowError::Error), |this| this.chain(buffer))
        })
        .event_function(|pad, parent, event| {
            T::catch_panic_pad_function(parent, || false, |this| this.sink_event(pad, event))
        })
        .query_function(|pad, parent, query| {
            T::catch_panic_pad_function(parent, || false, |this| CodingElement::query(this, pad, query))
        })
        .flags(sink_flags)
        .build();
    let srcpad = gst::Pad::builder_from_template(src)
        .event_function(|pad, parent, event| {
            T::catch_panic_pad_function(parent, || false, |this| this.src_event(pad, event))
        })
        .query_function(|pad, parent, query| {
            T::catch_panic_pad_function(parent, || false, |this| CodingElement::query(this, pad, query))
        })
        .build();
    (sinkpad, srcpad)
}
