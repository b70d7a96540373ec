//! From the codec's errors to GStreamer's: one table.

use fcm_codec::{Error, ErrorKind};
use gst::subclass::prelude::*;

/// GStreamer's class of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// An error of a library that the element uses.
    Library(gst::LibraryError),
    /// An error of the stream.
    Stream(gst::StreamError),
    /// An error of a resource.
    Resource(gst::ResourceError),
    /// Anything else.
    Core(gst::CoreError),
}

/// What GStreamer calls an error of this kind.
pub fn class(kind: ErrorKind) -> Class {
    match kind {
        ErrorKind::InvalidConfig => Class::Library(gst::LibraryError::Settings),
        ErrorKind::InvalidInput => Class::Stream(gst::StreamError::Encode),
        ErrorKind::Unsupported => Class::Stream(gst::StreamError::NotImplemented),
        ErrorKind::Compatibility => Class::Stream(gst::StreamError::Format),
        ErrorKind::Corruption | ErrorKind::InsufficientData => Class::Stream(gst::StreamError::Decode),
        ErrorKind::LimitExceeded => Class::Resource(gst::ResourceError::NoSpaceLeft),
        ErrorKind::Transform => Class::Resource(gst::ResourceError::NotFound),
        _ => Class::Core(gst::CoreError::Failed),
    }
}

/// Whether the stream can go on at its next random access point after such an error of one access unit.
pub fn costs_only_frames(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Corruption | ErrorKind::InsufficientData | ErrorKind::LimitExceeded)
}

/// Posts `error` on the bus as an element error; `what` says what was being done. Call it with no lock held.
pub fn post<T: ElementImpl>(imp: &T, what: &str, error: &Error) {
    let text = format!("{what}: {error}");
    match class(error.kind()) {
        Class::Library(e) => gst::element_imp_error!(imp, e, ("{text}")),
        Class::Stream(e) => gst::element_imp_error!(imp, e, ("{text}")),
        Class::Resource(e) => gst::element_imp_error!(imp, e, ("{text}")),
        Class::Core(e) => gst::element_imp_error!(imp, e, ("{text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_damage_of_one_unit_is_survived() {
        let all = [
            (ErrorKind::InvalidConfig, false),
            (ErrorKind::InvalidInput, false),
            (ErrorKind::Unsupported, false),
            (ErrorKind::Compatibility, false),
            (ErrorKind::Corruption, true),
            (ErrorKind::InsufficientData, true),
            (ErrorKind::LimitExceeded, true),
            (ErrorKind::Transform, false),
        ];
        for (kind, survived) in all {
            assert_eq!(costs_only_frames(kind), survived, "{kind:?}");
            assert_ne!(class(kind), Class::Core(gst::CoreError::Failed), "{kind:?} has no row in the table");
        }
    }
}
