//! ONNX Runtime for elements: where its library may lie, and running learned transforms.

use fcm_codec::reduction::learned::InferenceRuntime;
use gst::prelude::*;
use std::sync::Arc;

/// Where the library of ONNX Runtime may lie besides the usual places: where the plugin does.
#[cfg(feature = "infer")]
pub fn library_dirs(element: &impl IsA<gst::Element>) -> Vec<std::path::PathBuf> {
    let plugin = element.as_ref().factory().and_then(|factory| factory.plugin());
    let directory = plugin.and_then(|plugin| plugin.filename()).and_then(|path| path.parent().map(Into::into));
    directory.into_iter().collect()
}

/// What runs learned transforms; `None` in a build without inference. Nothing is loaded before one of them is used.
pub fn runtime(element: &impl IsA<gst::Element>) -> Option<Arc<dyn InferenceRuntime>> {
    #[cfg(feature = "infer")]
    return Some(Arc::new(fcm_infer::OnnxRuntime { library: None, library_dirs: library_dirs(element) }));
    #[cfg(not(feature = "infer"))]
    {
        let _ = element;
        None
    }
}
