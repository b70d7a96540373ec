//! Filled rectangles on pictures of any 8-bit format.

use gst_video::prelude::*;
use gst_video::{VideoFormat, VideoFrameRef};

/// Formats that can be drawn on: 8 bits a component, one byte after the other.
pub(super) const FORMATS: [VideoFormat; 22] = [
    VideoFormat::I420,
    VideoFormat::Nv12,
    VideoFormat::Rgba,
    VideoFormat::Bgra,
    VideoFormat::Argb,
    VideoFormat::Abgr,
    VideoFormat::Rgbx,
    VideoFormat::Bgrx,
    VideoFormat::Xrgb,
    VideoFormat::Xbgr,
    VideoFormat::Rgb,
    VideoFormat::Bgr,
    VideoFormat::Yv12,
    VideoFormat::Nv21,
    VideoFormat::Y42b,
    VideoFormat::Y444,
    VideoFormat::Yuy2,
    VideoFormat::Uyvy,
    VideoFormat::Yvyu,
    VideoFormat::Ayuv,
    VideoFormat::Gbr,
    VideoFormat::Gray8,
];

/// A colour: red, green, blue.
pub(super) type Colour = [u8; 3];

/// A writable picture.
pub(super) struct Canvas<'a> {
    frame: VideoFrameRef<&'a mut gst::BufferRef>,
    width: i32,
    height: i32,
}

/// Components of a colour in the order of the format. BT.601 in video range for all pictures: what is drawn need not have
/// an exact shade.
fn components(colour: Colour, rgb: bool) -> [u8; 4] {
    if rgb {
        return [colour[0], colour[1], colour[2], 255];
    }
    let [r, g, b] = colour.map(f32::from);
    let y = 16.0 + 0.257 * r + 0.504 * g + 0.098 * b;
    let u = 128.0 - 0.148 * r - 0.291 * g + 0.439 * b;
    let v = 128.0 + 0.439 * r - 0.368 * g - 0.071 * b;
    [y as u8, u as u8, v as u8, 255]
}

impl<'a> Canvas<'a> {
    /// A canvas on a mapped picture.
    pub fn new(frame: VideoFrameRef<&'a mut gst::BufferRef>) -> Self {
        let side = |side: u32| i32::try_from(side).unwrap_or(i32::MAX);
        let (width, height) = (side(frame.width()), side(frame.height()));
        Self { frame, width, height }
    }

    /// Width in pixels.
    pub fn width(&self) -> i32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> i32 {
        self.height
    }

    /// Fills the pixels from (left, top) up to but without (right, bottom), as far as they are on the picture.
    /// Where several pixels share a colour, as in 4:2:0, all of those get it.
    pub fn fill(&mut self, left: i32, top: i32, right: i32, bottom: i32, colour: Colour) {
        let (left, right) = (left.clamp(0, self.width) as usize, right.clamp(0, self.width) as usize);
        let (top, bottom) = (top.clamp(0, self.height) as usize, bottom.clamp(0, self.height) as usize);
        if left >= right || top >= bottom {
            return;
        }
        let format = self.frame.format_info();
        let values = components(colour, format.is_rgb());
        for component in 0..self.frame.n_components() {
            let n = component as usize;
            let (w_sub, h_sub) = (format.w_sub()[n], format.h_sub()[n]);
            let step = self.frame.comp_pstride(component).max(1) as usize;
            let stride = self.frame.comp_stride(component).max(0) as usize;
            let offset = self.frame.comp_poffset(component) as usize;
            let plane = self.frame.comp_plane(component);
            let Ok(plane) = self.frame.plane_data_mut(plane) else { continue };
            let columns = (left >> w_sub)..((right - 1) >> w_sub) + 1;
            for row in (top >> h_sub)..((bottom - 1) >> h_sub) + 1 {
                let start = row * stride + offset + columns.start * step;
                let end = row * stride + offset + (columns.end - 1) * step + 1;
                if let Some(pixels) = plane.get_mut(start..end) {
                    pixels.iter_mut().step_by(step).for_each(|pixel| *pixel = values[n]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gst_video::VideoInfo;

    fn filled(format: VideoFormat, colour: Colour) -> (VideoInfo, gst::Buffer) {
        let info = VideoInfo::builder(format, 16, 8).build().unwrap();
        let mut buffer = gst::Buffer::from_mut_slice(vec![7u8; info.size()]);
        let frame = VideoFrameRef::from_buffer_ref_writable(buffer.get_mut().unwrap(), &info).unwrap();
        Canvas::new(frame).fill(4, 2, 10, 6, colour);
        (info, buffer)
    }

    #[test]
    fn every_format_is_filled_where_it_should_and_nowhere_else() {
        gst::init().unwrap();
        for format in FORMATS {
            let (info, buffer) = filled(format, [200, 100, 50]);
            let frame = VideoFrameRef::from_buffer_ref_readable(&buffer, &info).unwrap();
            let rgb = frame.format_info().is_rgb();
            let expected = components([200, 100, 50], rgb);
            for c in 0..frame.n_components() {
                let (w_sub, h_sub) = (frame.format_info().w_sub()[c as usize], frame.format_info().h_sub()[c as usize]);
                let data = frame.plane_data(frame.comp_plane(c)).unwrap();
                for (x, y) in (0..16usize).flat_map(|x| (0..8usize).map(move |y| (x, y))) {
                    let at = (y >> h_sub) * frame.comp_stride(c) as usize
                        + (x >> w_sub) * frame.comp_pstride(c) as usize
                        + frame.comp_poffset(c) as usize;
                    let inside = (4..10).contains(&x) && (2..6).contains(&y);
                    let value = if inside { expected[c as usize] } else { 7 };
                    assert_eq!(data[at], value, "{format:?} component {c} at {x}, {y}");
                }
            }
        }
    }

    #[test]
    fn colours_come_out_as_bt601_in_video_range() {
        assert_eq!(components([255, 255, 255], false)[0], 235);
        assert_eq!(components([0, 0, 0], false), [16, 128, 128, 255]);
        assert_eq!(components([255, 0, 0], true), [255, 0, 0, 255]);
        assert_eq!(components([255, 0, 0], false), [81, 90, 239, 255]);
    }

    #[test]
    fn nothing_is_drawn_beside_the_picture() {
        gst::init().unwrap();
        let info = VideoInfo::builder(VideoFormat::I420, 15, 7).build().unwrap();
        let mut buffer = gst::Buffer::from_mut_slice(vec![0u8; info.size()]);
        let frame = VideoFrameRef::from_buffer_ref_writable(buffer.get_mut().unwrap(), &info).unwrap();
        let mut canvas = Canvas::new(frame);
        for (l, t, r, b) in [(i32::MIN, -5, 0, 9), (15, 0, i32::MAX, 9), (5, 3, 5, 9), (9, 9, 2, 2)] {
            canvas.fill(l, t, r, b, [255; 3]);
        }
        drop(canvas);
        assert!(buffer.map_readable().unwrap().iter().all(|&b| b == 0));
        let frame = VideoFrameRef::from_buffer_ref_writable(buffer.get_mut().unwrap(), &info).unwrap();
        Canvas::new(frame).fill(i32::MIN, i32::MIN, i32::MAX, i32::MAX, [255; 3]);
        let frame = VideoFrameRef::from_buffer_ref_readable(&buffer, &info).unwrap();
        assert_eq!(frame.plane_data(0).unwrap()[6 * frame.plane_stride()[0] as usize + 14], 235);
    }
}
