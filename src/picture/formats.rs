//! Raw pictures: which formats carry features, and their planes.

use fcm_codec::picture::{Chroma, Plane, PlaneMut, Sample};
use fcm_codec::{Error, ErrorKind, Result};
use gst_video::prelude::*;
use gst_video::{VideoFormat, VideoFrameRef, VideoInfo};

/// A format of raw pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// GStreamer's name for it.
    pub video: VideoFormat,
    /// Bits of a sample.
    pub depth: u8,
    /// Chroma planes.
    pub chroma: Chroma,
    sample: Sample,
}

const fn format(video: VideoFormat, depth: u8, sample: Sample, chroma: Chroma) -> Format {
    Format { video, depth, chroma, sample }
}

/// All, most precise first; planar before interleaved, since software encoders convert the latter.
pub const FORMATS: [Format; 7] = [
    format(VideoFormat::I42010le, 10, Sample::U16, Chroma::Flat420),
    format(VideoFormat::P01010le, 10, Sample::U16High, Chroma::Flat420),
    format(VideoFormat::Gray8, 8, Sample::U8, Chroma::None),
    format(VideoFormat::I420, 8, Sample::U8, Chroma::Flat420),
    format(VideoFormat::Yv12, 8, Sample::U8, Chroma::Flat420),
    format(VideoFormat::Nv12, 8, Sample::U8, Chroma::Flat420),
    format(VideoFormat::Nv21, 8, Sample::U8, Chroma::Flat420),
];

/// Pad template of raw pictures.
pub fn template() -> gst::Caps {
    gst_video::VideoCapsBuilder::new().format_list(FORMATS.map(|f| f.video)).build()
}

/// The first format that `peer` takes, of `depth` bits unless that is 0.
pub fn choose(peer: &gst::CapsRef, depth: u8) -> Option<Format> {
    FORMATS.into_iter().filter(|f| depth == 0 || f.depth == depth).find(|f| {
        let ours = gst_video::VideoCapsBuilder::new().format(f.video).build();
        ours.can_intersect(peer)
    })
}

impl Format {
    /// The format of pictures in these caps.
    ///
    /// # Errors
    /// `InvalidInput` when they are of none of ours.
    pub fn of(info: &VideoInfo) -> Result<Self> {
        FORMATS.into_iter().find(|f| f.video == info.format()).ok_or_else(|| {
            let message = format!("pictures in format {}, of which no features can be read", info.format());
            Error::new(ErrorKind::InvalidInput, message)
        })
    }

    /// The luma plane of a mapped picture.
    ///
    /// # Errors
    /// `InvalidInput` when there is none.
    pub fn luma<'a>(&self, frame: &'a VideoFrameRef<&gst::BufferRef>) -> Result<Plane<'a>> {
        let stride = stride(frame.plane_stride().first())?;
        let data = frame.plane_data(0).map_err(|e| unmapped(&e))?;
        Ok(Plane { data, stride, sample: self.sample })
    }

    /// The luma plane of a picture to be written.
    ///
    /// # Errors
    /// As [`Self::luma`].
    pub fn luma_mut<'a>(&self, frame: &'a mut VideoFrameRef<&mut gst::BufferRef>) -> Result<PlaneMut<'a>> {
        let stride = stride(frame.plane_stride().first())?;
        let data = frame.plane_data_mut(0).map_err(|e| unmapped(&e))?;
        Ok(PlaneMut { data, stride, sample: self.sample })
    }

    /// Makes chroma say nothing.
    ///
    /// # Errors
    /// As [`Self::luma`].
    pub fn flatten_chroma(&self, frame: &mut VideoFrameRef<&mut gst::BufferRef>) -> Result<()> {
        let (width, height) = (frame.width().div_ceil(2) as usize, frame.height().div_ceil(2) as usize);
        let planes = frame.n_planes();
        for plane in 1..planes {
            let stride = stride(frame.plane_stride().get(plane as usize))?;
            let data = frame.plane_data_mut(plane).map_err(|e| unmapped(&e))?;
            // Two planes in one where there are only two in all.
            let samples = if planes == 2 { 2 * width } else { width };
            PlaneMut { data, stride, sample: self.sample }.fill(self.depth, samples, height, 1 << (self.depth - 1))?;
        }
        Ok(())
    }
}

fn stride(stride: Option<&i32>) -> Result<usize> {
    stride
        .and_then(|&s| usize::try_from(s).ok())
        .ok_or_else(|| Error::new(ErrorKind::InvalidInput, format!("a picture with rows {stride:?} bytes apart")))
}

fn unmapped(error: &gst::glib::BoolError) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("the picture has no such plane: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr;

    #[test]
    fn ten_bits_are_preferred_and_eight_taken_where_there_is_no_more() {
        gst::init().unwrap();
        let choose = |caps: &str, depth| choose(&gst::Caps::from_str(caps).unwrap(), depth).map(|f| f.video);
        let x265 = "video/x-raw,format={I420,I420_10LE,Y444}";
        assert_eq!(choose(x265, 0), Some(VideoFormat::I42010le));
        assert_eq!(choose(x265, 8), Some(VideoFormat::I420));
        assert_eq!(choose("video/x-raw,format={NV12,I420}", 0), Some(VideoFormat::I420));
        assert_eq!(choose("video/x-raw,format={NV12,I420}", 10), None);
        assert_eq!(choose("video/x-raw(memory:DMABuf),format=NV12", 0), None);
        assert_eq!(choose("ANY", 0), Some(VideoFormat::I42010le));
    }

    #[test]
    fn luma_comes_back_and_chroma_is_flat_in_every_format() {
        gst::init().unwrap();
        for format in FORMATS {
            let info = VideoInfo::builder(format.video, 66, 70).build().unwrap();
            let mut buffer = gst::Buffer::with_size(info.size()).unwrap();
            {
                let mut frame = VideoFrameRef::from_buffer_ref_writable(buffer.get_mut().unwrap(), &info).unwrap();
                format.flatten_chroma(&mut frame).unwrap();
                format.luma_mut(&mut frame).unwrap().fill(format.depth, 66, 70, 200).unwrap();
            }
            let frame = VideoFrameRef::from_buffer_ref_readable(&buffer, &info).unwrap();
            let luma = format.luma(&frame).unwrap();
            let (last, _) = luma.data[69 * luma.stride + 65 * (info.comp_pstride(0) as usize)..]
                .split_at(info.comp_pstride(0) as usize);
            let expected: &[u8] = match format.depth {
                8 => &[200],
                _ if format.video == VideoFormat::P01010le => &[0, 50],
                _ => &[200, 0],
            };
            assert_eq!(last, expected, "{:?}", format.video);
            let converted = |plane: u32| frame.plane_data(plane).unwrap().to_vec();
            for plane in 1..frame.n_planes() {
                let middle: u8 = match format.depth {
                    8 => 128,
                    _ if format.video == VideoFormat::P01010le => 128,
                    _ => 2,
                };
                assert!(converted(plane).contains(&middle), "{:?}", format.video);
            }
        }
    }
}
