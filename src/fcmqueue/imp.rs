//! The machine of `fcmqueue`: upstream's thread puts in, a task on the source pad takes out; what is dropped says [`policy`].
//!
//! Locks: `input` is upstream's thread's alone; `state` is held for moments, never while anything is pushed, posted or asked; no two are held together.

use super::input::Input;
use super::pacer::Pacer;
use super::policy::{Dropped, Entry, Queue, Unit};
use super::report::{Counters, Notice, Report};
use super::settings::{self, Settings};
use crate::caps;
use crate::coding_element;
use crate::force_key_unit;
use fcm_codec::FrameKind;
use fcm_codec::bitstream::stream;
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard};
use std::time::{Duration, Instant};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("fcmqueue", gst::DebugColorFlags::empty(), Some("Queue for coded feature streams"))
});

/// Least time between two requests for a random access unit.
const REQUEST_INTERVAL: Duration = Duration::from_secs(1);

/// What waits in the queue.
enum Item {
    Buffer(gst::Buffer),
    /// A serialized event.
    Event(gst::Event),
    /// A serialized query that upstream's thread waits to ask; its number.
    Query(u64),
}

/// What both threads share.
struct State {
    queue: Queue<Item>,
    /// What the task's last push gave; flushing while the task does not run.
    flow: Result<gst::FlowSuccess, gst::FlowError>,
    /// The end of the stream is in the queue or went through.
    eos: bool,
    /// Number of the query that upstream's thread waits to ask.
    asking: Option<u64>,
    /// It is that query's turn: the task waits until it was asked.
    turn: bool,
    queries: u64,
    pacer: Pacer,
    /// The most bit/s, 0 = no limit.
    rate: u64,
    counters: Counters,
    report: Report,
    requests: force_key_unit::Pacer,
}

impl Default for State {
    fn default() -> Self {
        Self {
            queue: Queue::default(),
            flow: Err(gst::FlowError::Flushing),
            eos: false,
            asking: None,
            turn: false,
            queries: 0,
            pacer: Pacer::default(),
            rate: 0,
            counters: Counters::default(),
            report: Report::default(),
            requests: force_key_unit::Pacer::default(),
        }
    }
}

/// What is to be said, with no lock held.
#[derive(Default)]
struct News {
    message: Option<gst::Structure>,
    request: Option<gst::Event>,
}

/// The element.
pub struct FcmQueue {
    sinkpad: gst::Pad,
    srcpad: gst::Pad,
    settings: Mutex<Settings>,
    input: Mutex<Input>,
    state: Mutex<State>,
    /// Something in `state` changed that a thread may wait for.
    changed: Condvar,
}

impl State {
    /// Counts what was dropped, and says what is to be said of it.
    fn account(&mut self, dropped: &Dropped, settings: &Settings) -> News {
        let (now, level) = (Instant::now(), self.queue.level());
        self.counters.dropped.add(dropped);
        let degraded = self.report.degraded();
        let notice = self.report.note(now, dropped, settings.limits.well(&level));
        self.counters.degradations += u64::from(!degraded && self.report.degraded());
        let ask = dropped.frames() > 0 && settings.request_keyframe;
        let request = ask.then(|| self.requests.ask(true, REQUEST_INTERVAL)).flatten();
        self.counters.keyframe_requests += u64::from(request.is_some());
        News { message: notice.map(|notice| notice.structure(&level)), request }
    }

    /// The last thing to be said of a stream.
    fn conclude(&mut self) -> News {
        let level = self.queue.level();
        News { message: self.report.end().as_ref().map(|notice: &Notice| notice.structure(&level)), request: None }
    }

    fn running(&self) -> bool {
        self.flow.is_ok()
    }

    /// Counts an access unit that goes out.
    fn sent(&mut self, now: Instant, unit: &Unit) {
        self.pacer.sent(now, unit.bytes(), self.rate);
        self.counters.sent_access_units += 1;
        self.counters.sent_bytes += unit.bytes() as u64;
        self.counters.shortened_access_units += u64::from(unit.shortened().is_some());
    }
}

impl FcmQueue {
    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap()
    }

    /// Says what is to be said. No lock is held.
    fn tell(&self, news: News) {
        if let Some(structure) = news.message {
            gst::info!(CAT, imp = self, "{structure}");
            let obj = self.obj();
            let _ = obj.post_message(gst::message::Element::builder(structure).src(&*obj).build());
        }
        if let Some(event) = news.request {
            gst::debug!(CAT, imp = self, "asking for a random access unit");
            self.sinkpad.push_event(event);
        }
    }

    fn chain(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        let settings = *self.settings.lock().unwrap();
        let unit = self.input.lock().unwrap().look(&buffer);
        let news = {
            let mut state = self.state.lock().unwrap();
            state.flow?;
            if state.eos {
                return Err(gst::FlowError::Eos);
            }
            if unit.kind == FrameKind::RandomAccess {
                state.requests.recovered();
            }
            state.counters.access_units += 1;
            state.counters.bytes += unit.bytes() as u64;
            let dropped = state.queue.push(unit, Item::Buffer(buffer), &settings.limits);
            gst::trace!(CAT, imp = self, "{:?}, dropped {dropped:?}", state.queue.level());
            state.account(&dropped, &settings)
        };
        self.changed.notify_all();
        self.tell(news);
        Ok(gst::FlowSuccess::Ok)
    }

    /// New settings hold for what is in the queue as well.
    fn apply(&self, settings: &Settings) {
        let news = {
            let mut state = self.state.lock().unwrap();
            state.rate = settings.rate;
            let dropped = state.queue.relieve(&settings.limits);
            state.account(&dropped, settings)
        };
        self.changed.notify_all();
        self.tell(news);
    }

    /// Sends the next thing in the queue, once there is one.
    fn send(&self) {
        let Some(entry) = self.next() else { return };
        let flow = match entry {
            Entry::Unit(unit, Item::Buffer(buffer)) => {
                gst::trace!(CAT, imp = self, "sending {buffer:?}");
                self.srcpad.push(finished(&unit, buffer))
            }
            Entry::Other(Item::Event(event)) => {
                gst::debug!(CAT, imp = self, "sending {:?}", event.type_());
                // Why it was refused shows in the result of the next buffer.
                self.srcpad.push_event(event);
                return;
            }
            Entry::Unit(..) | Entry::Other(_) => return,
        };
        let Err(error) = flow else { return };
        gst::debug!(CAT, imp = self, "downstream says {error}");
        let ended = {
            let mut state = self.state.lock().unwrap();
            // A flush may have come meanwhile, which has a result of its own.
            if state.running() {
                state.flow = Err(error);
            }
            state.eos
        };
        self.changed.notify_all();
        // Upstream has sent its last: nobody else would say it.
        if ended && error != gst::FlowError::Flushing && error != gst::FlowError::Eos {
            self.stopped(error);
            self.srcpad.push_event(gst::event::Eos::new());
        }
    }

    fn stopped(&self, error: gst::FlowError) {
        gst::element_imp_error!(
            self,
            gst::StreamError::Failed,
            ("the stream cannot go on"),
            ["downstream says {error}"]
        );
    }

    /// Takes the next thing to send, and waits until there is one and the rate allows it. `None`: the task is to pause.
    fn next(&self) -> Option<Entry<Item>> {
        let mut state = self.state.lock().unwrap();
        loop {
            match state.flow {
                Err(gst::FlowError::Flushing) => {
                    // Still locked: who ends the flush starts the task after this.
                    let _ = self.srcpad.pause_task();
                    return None;
                }
                Err(_) => {
                    state = self.wait(state);
                    continue;
                }
                Ok(_) => {}
            }
            match state.queue.front() {
                None => state = self.wait(state),
                Some(Entry::Other(Item::Query(number))) => {
                    state.turn = state.asking == Some(*number);
                    state.queue.pop();
                    self.changed.notify_all();
                    while state.turn && state.running() {
                        state = self.wait(state);
                    }
                    state.turn = false;
                }
                Some(Entry::Other(_)) => return state.queue.pop(),
                Some(&Entry::Unit(unit, _)) => {
                    let now = Instant::now();
                    if let Some(wait) = state.pacer.wait(now, state.rate) {
                        // It may get shorter meanwhile, or be dropped.
                        state = self.changed.wait_timeout(state, wait).unwrap().0;
                        continue;
                    }
                    state.sent(now, &unit);
                    return state.queue.pop();
                }
            }
        }
    }

    /// Puts a serialized event into the queue, or says why it cannot be.
    fn enqueue(&self, event: gst::Event) -> bool {
        let kind = event.type_();
        let restarts = matches!(kind, gst::EventType::StreamStart | gst::EventType::Segment);
        self.input.lock().unwrap().note_event(&event);
        let (news, refused) = {
            let mut state = self.state.lock().unwrap();
            if restarts && state.flow == Err(gst::FlowError::Eos) {
                state.flow = Ok(gst::FlowSuccess::Ok);
            }
            state.eos &= !restarts;
            // Sticky events are kept by the pads and cause a better error with the next buffer; after the end there is none.
            let refused = state.flow.err().filter(|_| !event.is_sticky() || kind == gst::EventType::Eos);
            if refused.is_none() && state.eos {
                return false;
            }
            state.eos |= kind == gst::EventType::Eos;
            let news = if kind == gst::EventType::Eos { state.conclude() } else { News::default() };
            if refused.is_none() {
                state.queue.push_other(Item::Event(event));
            }
            (news, refused)
        };
        self.changed.notify_all();
        self.tell(news);
        match refused {
            Some(error)
                if kind == gst::EventType::Eos && error != gst::FlowError::Flushing && error != gst::FlowError::Eos =>
            {
                self.stopped(error);
            }
            _ => {}
        }
        refused.is_none()
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        match event.view() {
            gst::EventView::FlushStart(_) => {
                let result = self.srcpad.push_event(event);
                self.halt();
                // Waits until the task has returned; it may be this very thread, where downstream asked for a flush while it was pushed to.
                let _ = self.srcpad.pause_task();
                result
            }
            gst::EventView::FlushStop(_) => {
                let result = self.srcpad.push_event(event);
                self.clear();
                self.input.lock().unwrap().flush();
                if self.srcpad.is_active() { self.start().is_ok() && result } else { result }
            }
            _ if event.is_serialized() => self.enqueue(event),
            _ => self.srcpad.push_event(event),
        }
    }

    fn src_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        if event.type_() == gst::EventType::Reconfigure {
            let mut state = self.state.lock().unwrap();
            if state.flow == Err(gst::FlowError::NotLinked) {
                state.flow = Ok(gst::FlowSuccess::Ok);
                self.changed.notify_all();
            }
        }
        gst::Pad::event_default(pad, Some(&*self.obj()), event)
    }

    fn sink_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        if !query.is_serialized() {
            return gst::Pad::query_default(pad, Some(&*self.obj()), query);
        }
        // This thread asks, when all before it has been sent and the task stands still.
        let number = {
            let mut state = self.state.lock().unwrap();
            if !state.running() || state.eos {
                return false;
            }
            state.queries += 1;
            let number = state.queries;
            state.asking = Some(number);
            state.queue.push_other(Item::Query(number));
            number
        };
        self.changed.notify_all();
        let mut state = self.state.lock().unwrap();
        while state.running() && !state.turn {
            state = self.wait(state);
        }
        let turn = state.turn && state.running() && state.asking == Some(number);
        drop(state);
        let result = turn && self.srcpad.peer_query(query);
        let mut state = self.state.lock().unwrap();
        state.asking = None;
        state.turn = false;
        drop(state);
        self.changed.notify_all();
        result
    }

    fn src_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Latency(q) => {
                let mut peer = gst::query::Latency::new();
                if !self.sinkpad.peer_query(&mut peer) {
                    return false;
                }
                let (live, min, max) = peer.result();
                let most = self.settings.lock().unwrap().limits.most.time;
                // As `queue`: it delays nothing that need not wait, and may hold so much.
                let room = (most > 0).then(|| gst::ClockTime::from_nseconds(most));
                q.set(live, min, max.zip(room).map(|(max, room)| max.saturating_add(room)));
                true
            }
            _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
    }

    /// Ends all waiting; the task pauses.
    fn halt(&self) {
        self.state.lock().unwrap().flow = Err(gst::FlowError::Flushing);
        self.changed.notify_all();
    }

    /// Empties the queue. Sticky events stay on the pad, but those that a flush ends.
    fn clear(&self) {
        let mut state = self.state.lock().unwrap();
        let entries: Vec<_> = state.queue.clear().collect();
        state.eos = false;
        state.pacer.reset();
        drop(state);
        for entry in entries {
            if let Entry::Other(Item::Event(event)) = entry
                && event.is_sticky()
                && !matches!(event.type_(), gst::EventType::Segment | gst::EventType::Eos)
            {
                let _ = self.srcpad.store_sticky_event(&event);
            }
        }
    }

    /// Starts the task.
    fn start(&self) -> Result<(), glib::BoolError> {
        self.state.lock().unwrap().flow = Ok(gst::FlowSuccess::Ok);
        let weak = self.downgrade();
        self.srcpad.start_task(move || {
            if let Some(this) = weak.upgrade() {
                this.send();
            }
        })
    }

    fn activate_src(&self, active: bool) -> Result<(), gst::LoggableError> {
        if active {
            self.start()
        } else {
            self.halt();
            self.srcpad.stop_task()
        }
        .map_err(|error| {
            gst::loggable_error!(CAT, "cannot {} the task: {error}", if active { "start" } else { "stop" })
        })
    }

    fn activate_sink(&self, active: bool) {
        if !active {
            self.halt();
            self.clear();
        }
    }
}

/// The buffer to send for an access unit: without the slices that were dropped, flagged if something before it was.
fn finished(unit: &Unit, mut buffer: gst::Buffer) -> gst::Buffer {
    if let Some(slices) = unit.shortened()
        && let Some(shorter) = shortened(&buffer, slices, unit.bytes())
    {
        buffer = shorter;
    }
    if unit.after_drop && !buffer.flags().contains(gst::BufferFlags::DISCONT) {
        buffer.make_mut().set_flags(gst::BufferFlags::DISCONT);
    }
    buffer
}

/// `None` cannot be: what is whole when it comes is whole when it goes.
fn shortened(buffer: &gst::BufferRef, slices: usize, bytes: usize) -> Option<gst::Buffer> {
    let mut out = Vec::with_capacity(bytes);
    {
        let map = buffer.map_readable().ok()?;
        stream::shorten(&map, slices, &fcm_codec::Limits::default(), &mut Vec::new(), &mut out).ok()?;
    }
    let mut shorter = gst::Buffer::from_mut_slice(out);
    let copied = gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS | gst::BufferCopyFlags::META;
    buffer.copy_into(shorter.get_mut()?, copied, ..).ok()?;
    Some(shorter)
}

#[glib::object_subclass]
impl ObjectSubclass for FcmQueue {
    const NAME: &'static str = "GstFcmQueue";
    type Type = super::FcmQueue;
    type ParentType = gst::Element;

    fn with_class(_: &Self::Class) -> Self {
        let [sink, src] = Self::pad_templates() else {
            unreachable!("the templates are those of one sink and one source pad")
        };
        let flags = gst::PadFlags::PROXY_CAPS | gst::PadFlags::PROXY_ALLOCATION;
        let sinkpad = gst::Pad::builder_from_template(sink)
            .chain_function(|_, parent, buffer| {
                Self::catch_panic_pad_function(parent, || Err(gst::FlowError::Error), |this| this.chain(buffer))
            })
            .event_function(|_, parent, event| {
                Self::catch_panic_pad_function(parent, || false, |this| this.sink_event(event))
            })
            .query_function(|pad, parent, query| {
                Self::catch_panic_pad_function(parent, || false, |this| this.sink_query(pad, query))
            })
            .activatemode_function(|_, parent, _, active| {
                let failed = || Err(gst::loggable_error!(CAT, "panic"));
                Self::catch_panic_pad_function(parent, failed, |this| {
                    this.activate_sink(active);
                    Ok(())
                })
            })
            .flags(flags)
            .build();
        let srcpad = gst::Pad::builder_from_template(src)
            .event_function(|pad, parent, event| {
                Self::catch_panic_pad_function(parent, || false, |this| this.src_event(pad, event))
            })
            .query_function(|pad, parent, query| {
                Self::catch_panic_pad_function(parent, || false, |this| this.src_query(pad, query))
            })
            .activatemode_function(|_, parent, mode, active| {
                let failed = || Err(gst::loggable_error!(CAT, "panic"));
                Self::catch_panic_pad_function(parent, failed, |this| match mode {
                    gst::PadMode::Push => this.activate_src(active),
                    _ => Err(gst::loggable_error!(CAT, "only push mode")),
                })
            })
            .flags(flags)
            .build();
        Self {
            sinkpad,
            srcpad,
            settings: Mutex::default(),
            input: Mutex::default(),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }
}

impl ObjectImpl for FcmQueue {
    fn properties() -> &'static [glib::ParamSpec] {
        settings::properties()
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        let settings = {
            let mut settings = self.settings.lock().unwrap();
            settings.set(pspec.name(), value);
            *settings
        };
        self.apply(&settings);
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        let level = || self.state.lock().unwrap().queue.level();
        match pspec.name() {
            "current-level-buffers" => u32::try_from(level().units).unwrap_or(u32::MAX).to_value(),
            "current-level-bytes" => u32::try_from(level().bytes).unwrap_or(u32::MAX).to_value(),
            "current-level-time" => level().time.to_value(),
            "stats" => self.state.lock().unwrap().counters.structure().to_value(),
            name => self.settings.lock().unwrap().get(name),
        }
    }

    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        for pad in [&self.sinkpad, &self.srcpad] {
            obj.add_pad(pad).expect("a new element has no pads of these names");
        }
    }
}

impl GstObjectImpl for FcmQueue {}

impl ElementImpl for FcmQueue {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Feature stream queue",
                "Generic/Network",
                "Queue for coded feature streams that drops by priority when it fills, instead of blocking",
                "The gst-plugin-fcm developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let mut coded = caps::coded_template();
            coded.make_mut().set("parsed", true);
            coding_element::templates(coded.clone(), coded)
        });
        &TEMPLATES
    }

    fn change_state(&self, transition: gst::StateChange) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::ReadyToPaused {
            *self.input.lock().unwrap() = Input::default();
            let rate = self.settings.lock().unwrap().rate;
            *self.state.lock().unwrap() = State { rate, ..State::default() };
        }
        self.parent_change_state(transition)
    }
}
