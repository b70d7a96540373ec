//! What is sent: raw caps, and the buffers that frames are written to.

use super::{CAT, Failure, FcmDec, Output};
use crate::caps::{self, CodedCaps, Framerate, TensorFormat, TensorInfo};
use crate::tensor_io::{self, pool::TensorPool};
use fcm_codec::{Error, ErrorKind, Layout};
use gst::prelude::*;
use gst::subclass::prelude::*;

/// What is sent at present.
pub(super) struct Sent {
    caps: gst::Caps,
    pub format: TensorFormat,
    tensors: Vec<TensorInfo>,
    framerate: Framerate,
}

/// The downstream side of the stream.
#[derive(Default)]
pub(super) struct Downstream {
    pub sent: Option<Sent>,
    pool: Option<(Vec<usize>, TensorPool)>,
    /// Sticky events and gaps that came before the raw caps could be known.
    pub waiting: Vec<gst::Event>,
}

impl Downstream {
    /// A buffer for a frame of this layout.
    pub fn buffer(&mut self, layout: &Layout, format: TensorFormat) -> Result<gst::Buffer, Failure> {
        let sizes = tensor_io::memory_sizes(layout, format);
        if self.pool.as_ref().is_none_or(|(of, _)| *of != sizes) {
            self.close();
        }
        let pool = match &mut self.pool {
            Some((_, pool)) => pool,
            none => {
                let pool = TensorPool::new(sizes.clone()).map_err(|e| {
                    Error::new(ErrorKind::LimitExceeded, format!("no pool of raw buffers could be made: {e}"))
                })?;
                &mut none.insert((sizes, pool)).1
            }
        };
        pool.acquire_buffer(None).map_err(Failure::Flow)
    }

    /// Lets the pool go.
    pub fn close(&mut self) {
        if let Some((_, pool)) = self.pool.take() {
            let _ = pool.set_active(false);
        }
    }
}

impl FcmDec {
    /// Chooses raw caps for these tensors, unless those sent say the same already and downstream did not ask anew.
    pub(super) fn negotiate(
        &self,
        downstream: &mut Downstream,
        input: Option<&CodedCaps>,
        tensors: Vec<TensorInfo>,
        framerate: Framerate,
        anew: bool,
        out: &mut Vec<Output>,
    ) -> Result<(), Failure> {
        let same = |sent: &Sent| sent.tensors == tensors && sent.framerate == framerate;
        if !anew && downstream.sent.as_ref().is_some_and(same) {
            return Ok(());
        }
        let original = input.and_then(|input| input.original.as_deref());
        let preferred =
            original.and_then(|caps| caps::parse_raw(caps).ok()).map_or(TensorFormat::Static, |raw| raw.format);
        self.state.lock().unwrap().offer = Some((tensors.clone(), framerate));
        let peer = self.srcpad.peer_query_caps(None);
        let Some((chosen, format)) = caps::fixate_raw(&tensors, framerate, preferred, original, &peer) else {
            let ours = caps::raw_caps(&caps::RawCaps { format: preferred, tensors, framerate });
            return Err(Failure::NotNegotiated(format!("the stream holds {ours}, downstream takes {peer}")));
        };
        gst::debug!(CAT, imp = self, "sending {chosen}");
        if downstream.sent.as_ref().is_none_or(|sent| sent.caps != chosen) {
            out.push(Output::Event(gst::event::Caps::new(&chosen)));
        }
        downstream.sent = Some(Sent { caps: chosen, format, tensors, framerate });
        out.extend(downstream.waiting.drain(..).map(Output::Event));
        Ok(())
    }

    /// Raw caps that could be sent now.
    pub(super) fn offer(&self, filter: Option<&gst::CapsRef>) -> gst::Caps {
        let offer = self.state.lock().unwrap().offer.clone();
        let caps = match &offer {
            Some((tensors, framerate)) => caps::raw_offer(tensors, *framerate),
            None => caps::raw_template(),
        };
        let Some(filter) = filter else { return caps };
        let common = caps::filter_offer(&caps, filter);
        match offer {
            // The filter may spell the same dimensions in yet another way.
            Some((tensors, framerate)) if common.is_empty() => {
                caps::fixate_raw(&tensors, framerate, TensorFormat::Static, None, filter)
                    .map_or(common, |(caps, _)| caps)
            }
            _ => common,
        }
    }
}
