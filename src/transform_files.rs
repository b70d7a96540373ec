//! The calibrated transforms that a property names.

use fcm_codec::{Error, ErrorKind, Limits, Transform};
use std::path::Path;
use std::sync::Arc;

/// `error` with the files that the property `transform` names behind it, if it is about a transform.
pub fn with_files(error: Error, property: Option<&Path>) -> Error {
    match property {
        Some(files) if error.kind() == ErrorKind::Transform => {
            Error::new(ErrorKind::Transform, format!("{error} (transform={})", files.display()))
        }
        _ => error,
    }
}

/// Reads one `.fcmt` file.
///
/// # Errors
/// The message names the file: `Transform` when it cannot be read, else as [`Transform::from_bytes`].
pub fn load(path: &Path, limits: &Limits) -> Result<Arc<Transform>, Error> {
    let fail = |kind, what: String| Error::new(kind, format!("{}: {what}", path.display()));
    let unreadable = |e: std::io::Error| fail(ErrorKind::Transform, e.to_string());
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > limits.max_transform {
        let message = format!("the file has {size} bytes, the limit is {}", limits.max_transform);
        return Err(fail(ErrorKind::LimitExceeded, message));
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    Transform::from_bytes(&bytes, limits).map(Arc::new).map_err(|e| fail(e.kind(), e.to_string()))
}
