//! Tells GStreamer that bytes are a coded feature stream: `filesrc ! typefind` and `decodebin` then know `.fcm`.
//! The marker alone is four bytes that other data may hold by chance, so what follows it must be plausible too.

use fcm_codec::bitstream::stream::{self, MARKER, Scan};
use fcm_codec::{Limits, StreamFormat};
use gst::{TypeFind, TypeFindProbability, glib};

/// Bytes looked at, if there are as many: they hold the parameter sets of almost every stream and small access
/// units whole.
const WINDOWS: [u32; 4] = [65536, 4096, 512, 64];

/// Registers the typefinder with `plugin`.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    let caps = gst::Caps::new_empty_simple("application/x-fcm");
    TypeFind::register(Some(plugin), "application/x-fcm", gst::Rank::PRIMARY, Some("fcm"), Some(&caps), find)
}

fn find(typefind: &mut TypeFind) {
    if typefind.peek(0, MARKER.len() as u32) != Some(&MARKER[..]) {
        return;
    }
    // A peek past the end gives nothing at all, so the length must fit; sources that do not know theirs are probed.
    let length = typefind.length().filter(|length| *length <= u64::from(WINDOWS[0]));
    let exact = length.and_then(|length| u32::try_from(length).ok());
    let probability = exact
        .into_iter()
        .chain(WINDOWS)
        .find_map(|size| typefind.peek(0, size).map(|bytes| judge(bytes, exact == Some(size))))
        .unwrap_or(TypeFindProbability::Possible);
    let caps = gst::Caps::builder("application/x-fcm").field("stream-format", "byte-stream").build();
    typefind.suggest(probability, &caps);
}

fn judge(bytes: &[u8], at_end: bool) -> TypeFindProbability {
    match stream::scan(bytes, StreamFormat::ByteStream, false, at_end, &Limits::default()) {
        Scan::AccessUnit { .. } | Scan::EndOfStream { .. } => TypeFindProbability::Maximum,
        Scan::NeedMore { .. } => TypeFindProbability::NearlyCertain,
        // The marker with something broken behind it: a damaged file, or a coincidence.
        Scan::Skip { .. } => TypeFindProbability::Possible,
    }
}
