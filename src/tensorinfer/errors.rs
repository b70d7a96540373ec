//! From the errors of inference and of tensors in buffers to GStreamer's: one table.

use crate::error::Class;
use fcm_infer::Error;
use gst::subclass::prelude::*;
use std::io::ErrorKind;

/// What GStreamer calls an error of the model or its runtime.
fn class(error: &Error) -> Class {
    match error {
        Error::Library(_) => Class::Library(gst::LibraryError::Init),
        Error::Unreadable { source, .. } if source.kind() == ErrorKind::NotFound => {
            Class::Resource(gst::ResourceError::NotFound)
        }
        Error::Unreadable { .. } | Error::Model { .. } => Class::Resource(gst::ResourceError::OpenRead),
        Error::UnknownTensor { .. } | Error::Cut { .. } | Error::Setting(_) => {
            Class::Library(gst::LibraryError::Settings)
        }
        Error::Shape(_) => Class::Stream(gst::StreamError::Format),
        _ => Class::Library(gst::LibraryError::Failed),
    }
}

/// Posts an error of the model or its runtime. Call it with no lock held.
pub(super) fn post<T: ElementImpl>(imp: &T, what: &str, error: &Error) {
    let text = format!("{what}: {error}");
    match class(error) {
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
    fn every_kind_of_error_has_its_class() {
        let unreadable =
            |kind: ErrorKind| Error::Unreadable { path: "m.onnx".into(), source: std::io::Error::from(kind) };
        let near = vec![];
        let all = [
            (unreadable(ErrorKind::NotFound), Class::Resource(gst::ResourceError::NotFound)),
            (unreadable(ErrorKind::PermissionDenied), Class::Resource(gst::ResourceError::OpenRead)),
            (Error::Library(String::new()), Class::Library(gst::LibraryError::Init)),
            (
                Error::UnknownTensor { path: "m.onnx".into(), name: "x".into(), near },
                Class::Library(gst::LibraryError::Settings),
            ),
            (Error::Shape(String::new()), Class::Stream(gst::StreamError::Format)),
            (Error::Runtime(String::new()), Class::Library(gst::LibraryError::Failed)),
        ];
        for (error, expected) in all {
            assert_eq!(class(&error), expected, "{error:?}");
        }
    }
}
