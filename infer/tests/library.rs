//! The library of ONNX Runtime: a missing one is an error that says what to do, and the next attempt can succeed.

mod common;

use common::*;
use fcm_infer::{Error, Model, library};
use prost::Message;

#[test]
fn missing_or_wrong_library_is_an_error_with_advice_and_no_end() {
    let model = File::new("model.onnx", &chain().encode_to_vec());
    let text = File::new("libonnxruntime.so", b"this is no library");
    for path in ["no/such/libonnxruntime.so".into(), text.path().to_owned()] {
        let mut wanted = options(&[], &[]);
        wanted.library = Some(path.clone());
        let Err(Error::Library(error)) = Model::open(model.path(), &wanted) else { panic!("{path:?} was loaded") };
        for part in [&*path.to_string_lossy(), "make deps", "pip: onnxruntime", "ORT_DYLIB_PATH", "setting library"] {
            assert!(error.contains(part), "{part} is not in: {error}");
        }
        assert_eq!(library::loaded(), None);
    }
    // The failure is not remembered.
    Model::open(model.path(), &options(&[], &[])).unwrap();
    let loaded = library::loaded().expect("a model is open");
    // The library cannot be changed any more; asking for the same one again is fine.
    let mut wanted = options(&[], &[]);
    wanted.library = Some(text.path().to_owned());
    let error = Model::open(model.path(), &wanted).unwrap_err().to_string();
    assert!(error.contains("this process uses"), "{error}");
    wanted.library = Some(loaded);
    Model::open(model.path(), &wanted).unwrap();
}
