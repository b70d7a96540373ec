//! Caps of pictures, and a model's tensors in the terms of caps.

use crate::caps::{self, TensorInfo};
use crate::tensor_io::dimensions::Dimensions;
use fcm_codec::{Dtype, Error, ErrorKind};
use fcm_infer::{PictureFormat, TensorSpec};
use gst_video::VideoFormat;

/// Media type of pictures.
pub(super) const VIDEO: &str = "video/x-raw";

/// The formats of pictures that are taken, with the library's names.
const FORMATS: [(VideoFormat, PictureFormat); 6] = [
    (VideoFormat::Rgb, PictureFormat::Rgb),
    (VideoFormat::Bgr, PictureFormat::Bgr),
    (VideoFormat::Rgbx, PictureFormat::Rgbx),
    (VideoFormat::Bgrx, PictureFormat::Bgrx),
    (VideoFormat::Xrgb, PictureFormat::Xrgb),
    (VideoFormat::Xbgr, PictureFormat::Xbgr),
];

/// The library's name for a format of pictures.
pub(super) fn picture_format(format: VideoFormat) -> Option<PictureFormat> {
    FORMATS.iter().find(|(video, _)| *video == format).map(|&(_, picture)| picture)
}

/// Caps of all pictures that are taken.
pub(super) fn pictures() -> gst::Caps {
    let most = fcm_infer::picture::MAX_SIDE as i32;
    gst_video::VideoCapsBuilder::new()
        .format_list(FORMATS.map(|(video, _)| video))
        .width_range(1..=most)
        .height_range(1..=most)
        .build()
}

/// Pad template of the sink pad: pictures and tensors.
pub(super) fn sink_template() -> gst::Caps {
    let mut caps = pictures();
    caps.make_mut().append(caps::raw_template());
    caps
}

/// A tensor of the model as caps describe it, with values of `dtype`.
///
/// # Errors
/// `Unsupported` for more than 16 dimensions.
pub(super) fn tensor_info(spec: &TensorSpec, dtype: Dtype) -> Result<TensorInfo, Error> {
    let unsupported = |why: &dyn std::fmt::Display| {
        Error::new(ErrorKind::Unsupported, format!("the model's tensor {spec} is none for other/tensors: {why}"))
    };
    let dims = spec.dims.iter().rev().map(|&d| u32::try_from(d)).collect::<Result<Vec<_>, _>>();
    let dims = dims.map_err(|e| unsupported(&e))?;
    // A single value has no dimensions in a model, one in caps.
    let dimensions = if dims.is_empty() { Dimensions::new(&[1]) } else { Dimensions::new(&dims) };
    Ok(TensorInfo { dimensions: dimensions.map_err(|e| unsupported(&e))?, dtype })
}

/// Tensors in words, for messages.
pub(super) fn listed(tensors: &[TensorInfo]) -> String {
    let one = |t: &TensorInfo| format!("{} {}", caps::type_name(t.dtype), t.dimensions);
    tensors.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(dims: &[usize]) -> TensorSpec {
        TensorSpec { name: "t".into(), dtype: fcm_infer::Dtype::F32, dims: dims.to_vec() }
    }

    #[test]
    fn dimensions_of_models_turn_round() {
        for (dims, expected) in [
            (vec![1, 64, 76, 136], "136:76:64"),
            (vec![1, 13566, 85], "85:13566"),
            (vec![1, 512], "512"),
            (vec![], "1"),
        ] {
            let info = tensor_info(&spec(&dims), Dtype::F32).unwrap();
            assert_eq!(info.dimensions, expected.parse().unwrap(), "{dims:?}");
        }
        let error = tensor_info(&spec(&[2; 17]), Dtype::F32).unwrap_err().to_string();
        assert!(error.contains("17 dimensions"), "{error}");
    }

    #[test]
    fn the_template_takes_pictures_and_tensors() {
        gst::init().unwrap();
        for taken in [
            "video/x-raw,format=RGB,width=640,height=480,framerate=25/1",
            "video/x-raw,format=xBGR,width=1,height=1,framerate=0/1",
            "other/tensors,format=static,num_tensors=1,types=float32,dimensions=(string)16:12:32,framerate=25/1",
            "other/tensors,format=flexible,framerate=0/1",
        ] {
            let caps: gst::Caps = taken.parse().unwrap();
            assert!(caps.can_intersect(&sink_template()), "{taken}");
        }
        let other: gst::Caps = "video/x-raw,format=I420,width=640,height=480".parse().unwrap();
        assert!(!other.can_intersect(&sink_template()));
    }
}
