//! Pictures to the input tensors of networks: scaling, channel order, mean and standard deviation.
//!
//! Scaling is bilinear without a filter against aliasing, which is what networks for OpenCV's `INTER_LINEAR` were trained with; the
//! values differ from OpenCV's by rounding at most.

use crate::model::TensorSpec;
use crate::{Error, Result};
use fcm_analytics::geometry::{Placement, Scaling};

/// Longest side of a picture in pixels.
pub const MAX_SIDE: u32 = 1 << 15;

/// How the three colours lie in a packed 8-bit picture; x is a byte that means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum PictureFormat {
    Rgb,
    Bgr,
    Rgbx,
    Bgrx,
    Xrgb,
    Xbgr,
}

impl PictureFormat {
    /// Bytes of a pixel.
    pub const fn bytes_per_pixel(self) -> usize {
        match self {
            PictureFormat::Rgb | PictureFormat::Bgr => 3,
            _ => 4,
        }
    }

    /// Where red, green and blue are in a pixel.
    pub const fn offsets(self) -> [usize; 3] {
        match self {
            PictureFormat::Rgb | PictureFormat::Rgbx => [0, 1, 2],
            PictureFormat::Bgr | PictureFormat::Bgrx => [2, 1, 0],
            PictureFormat::Xrgb => [1, 2, 3],
            PictureFormat::Xbgr => [3, 2, 1],
        }
    }
}

/// A packed 8-bit picture in memory.
#[derive(Debug, Clone, Copy)]
pub struct Picture<'a> {
    format: PictureFormat,
    width: u32,
    height: u32,
    stride: usize,
    data: &'a [u8],
}

impl<'a> Picture<'a> {
    /// A picture of `width` × `height` pixels whose rows begin `stride` bytes apart in `data`.
    ///
    /// # Errors
    /// [`Error::Shape`] for sides of 0 or above [`MAX_SIDE`], for a stride shorter than a row, and for too little data.
    pub fn new(format: PictureFormat, width: u32, height: u32, stride: usize, data: &'a [u8]) -> Result<Self> {
        let wrong = |what: String| Error::Shape(format!("picture of {width} × {height} pixels: {what}"));
        if ![width, height].iter().all(|side| (1..=MAX_SIDE).contains(side)) {
            return Err(wrong(format!("sides of 1 to {MAX_SIDE} pixels are legal")));
        }
        let row = width as usize * format.bytes_per_pixel();
        if stride < row {
            return Err(wrong(format!("a stride of {stride} bytes, a row has {row}")));
        }
        let needed = stride.checked_mul(height as usize - 1).and_then(|size| size.checked_add(row));
        if needed.is_none_or(|needed| data.len() < needed) {
            return Err(wrong(format!("{} bytes are too few for rows {stride} bytes apart", data.len())));
        }
        Ok(Self { format, width, height, stride, data })
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    fn row(&self, y: usize) -> &'a [u8] {
        let row = self.width as usize * self.format.bytes_per_pixel();
        &self.data[y * self.stride..][..row]
    }
}

/// The order of the channels that a network was trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChannelOrder {
    /// Red first.
    #[default]
    Rgb,
    /// Blue first.
    Bgr,
}

/// How the input tensor lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TensorLayout {
    /// A plane a channel: 1 × 3 × height × width.
    Nchw,
    /// Channels side by side: 1 × height × width × 3.
    Nhwc,
}

/// What is done to a picture. The default is RGB from 0 to 255, letterboxed.
#[derive(Debug, Clone, PartialEq)]
pub struct Preprocess {
    /// How the picture is brought to size.
    pub scaling: Scaling,
    /// What is around the picture, before mean and standard deviation are applied.
    pub pad_value: u8,
    /// Order of the network's channels.
    pub channel_order: ChannelOrder,
    /// Subtracted from the values 0 to 255 of each channel, in the network's order.
    pub mean: [f32; 3],
    /// Then divided by this, in the network's order; finite and not 0.
    pub std_dev: [f32; 3],
}

impl Default for Preprocess {
    fn default() -> Self {
        Self {
            scaling: Scaling::default(),
            pad_value: 114,
            channel_order: ChannelOrder::default(),
            mean: [0.0; 3],
            std_dev: [1.0; 3],
        }
    }
}

/// Turns pictures into the input tensor of one network, in a buffer that is reused.
pub struct PictureInput {
    preprocess: Preprocess,
    layout: TensorLayout,
    width: u32,
    height: u32,
    values: Vec<f32>,
    /// What the padding in `values` surrounds.
    inside: Option<Placement>,
    scaler: Scaler,
}

impl std::fmt::Debug for PictureInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { preprocess, layout, width, height, .. } = self;
        write!(f, "PictureInput({preprocess:?} to {layout:?} {width}×{height})")
    }
}

impl PictureInput {
    /// For the input `spec` of a network: 1 × 3 × height × width or 1 × height × width × 3.
    ///
    /// # Errors
    /// [`Error::Shape`] for another shape, [`Error::Setting`] for a mean or standard deviation out of range.
    pub fn new(spec: &TensorSpec, preprocess: Preprocess) -> Result<Self> {
        let (layout, height, width) = match spec.dims[..] {
            [1, 3, height, width] => (TensorLayout::Nchw, height, width),
            [1, height, width, 3] => (TensorLayout::Nhwc, height, width),
            _ => {
                let message = format!("the input {spec} takes no pictures, 1×3×height×width and 1×height×width×3 do");
                return Err(Error::Shape(message));
            }
        };
        let side = |n: usize| u32::try_from(n).ok().filter(|side| (1..=MAX_SIDE).contains(side));
        let (Some(width), Some(height)) = (side(width), side(height)) else {
            return Err(Error::Shape(format!(
                "the input {spec} is too large for pictures, the most is {MAX_SIDE} pixels"
            )));
        };
        if let Some(mean) = preprocess.mean.iter().find(|mean| !mean.is_finite()) {
            return Err(Error::Setting(format!("mean {mean}, finite numbers are legal")));
        }
        if let Some(std) = preprocess.std_dev.iter().find(|std| !std.is_finite() || **std == 0.0) {
            return Err(Error::Setting(format!("standard deviation {std}, finite numbers other than 0 are legal")));
        }
        Ok(Self {
            preprocess,
            layout,
            width,
            height,
            values: vec![0.0; spec.elements()],
            inside: None,
            scaler: Scaler::default(),
        })
    }

    /// Width and height of the network's input in pixels.
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// Where a picture of this width and height will lie in the input.
    ///
    /// # Errors
    /// As [`Placement::new`].
    pub fn placement(&self, picture: (u32, u32)) -> Result<Placement> {
        Ok(Placement::new(self.preprocess.scaling, picture, self.size())?)
    }

    /// The values of the input tensor for a picture, until the next.
    ///
    /// # Errors
    /// As [`Placement::new`].
    pub fn convert(&mut self, picture: &Picture<'_>) -> Result<&[f32]> {
        let inside = self.placement(picture.size())?;
        if self.inside.replace(inside) != Some(inside) {
            self.pad();
        }
        match picture.format.bytes_per_pixel() {
            3 => self.convert_pixels::<3>(picture, inside),
            _ => self.convert_pixels::<4>(picture, inside),
        }
        Ok(&self.values)
    }

    /// The same for pixels of `SIZE` bytes: known to the compiler, the loops need no bounds checks.
    fn convert_pixels<const SIZE: usize>(&mut self, picture: &Picture<'_>, inside: Placement) {
        let scaled = (inside.width, inside.height);
        let mut scaler = std::mem::take(&mut self.scaler);
        scaler.configure(picture.size(), scaled);
        for y in 0..scaled.1 as usize {
            let row = if scaled == picture.size() { picture.row(y) } else { scaler.row::<SIZE>(picture, y) };
            self.write_row::<SIZE>(row, picture.format, inside, y);
        }
        self.scaler = scaler;
    }

    /// What becomes of a value of channel `channel`, in the network's order.
    fn normalise(&self, channel: usize) -> impl Fn(u8) -> f32 + use<> {
        let (mean, std_dev) = (self.preprocess.mean[channel], self.preprocess.std_dev[channel]);
        move |value| (f32::from(value) - mean) / std_dev
    }

    /// Fills the whole input with padding.
    fn pad(&mut self) {
        let padding: [f32; 3] = std::array::from_fn(|channel| self.normalise(channel)(self.preprocess.pad_value));
        match self.layout {
            TensorLayout::Nchw => {
                let plane = self.width as usize * self.height as usize;
                self.values.chunks_exact_mut(plane).zip(padding).for_each(|(plane, value)| plane.fill(value));
            }
            TensorLayout::Nhwc => self.values.as_chunks_mut::<3>().0.fill(padding),
        }
    }

    /// Writes row `y` of the scaled picture where it belongs.
    fn write_row<const SIZE: usize>(&mut self, row: &[u8], format: PictureFormat, inside: Placement, y: usize) {
        let mut offsets = format.offsets();
        if self.preprocess.channel_order == ChannelOrder::Bgr {
            offsets.reverse();
        }
        let (width, plane) = (self.width as usize, self.width as usize * self.height as usize);
        let (first, used) = ((inside.top as usize + y) * width + inside.left as usize, inside.width as usize);
        let pixels = row.as_chunks::<SIZE>().0;
        for (channel, offset) in offsets.into_iter().enumerate() {
            let (offset, normalise) = (offset.min(SIZE - 1), self.normalise(channel));
            match self.layout {
                TensorLayout::Nchw => {
                    let target = &mut self.values[channel * plane + first..][..used];
                    target.iter_mut().zip(pixels).for_each(|(value, pixel)| *value = normalise(pixel[offset]));
                }
                TensorLayout::Nhwc => {
                    let target = self.values[3 * first..][..3 * used].as_chunks_mut::<3>().0;
                    target.iter_mut().zip(pixels).for_each(|(value, pixel)| value[channel] = normalise(pixel[offset]));
                }
            }
        }
    }
}

/// Bits of the weights of the two taps in a direction: two products of 8-bit values stay below 2^31.
const WEIGHT_BITS: u32 = 11;
const ONE: i32 = 1 << WEIGHT_BITS;

/// The two pixels or rows that a scaled one lies between.
#[derive(Debug, Clone, Copy)]
struct Tap {
    first: usize,
    second: usize,
    /// Weight of the second; that of the first is the rest to [`ONE`].
    weight: i32,
}

/// Bilinear scaling, a row at a time.
#[derive(Debug, Default)]
struct Scaler {
    from: (u32, u32),
    to: (u32, u32),
    columns: Vec<Tap>,
    rows: Vec<Tap>,
    /// Two rows of the picture, blended; with [`WEIGHT_BITS`] bits of fraction.
    blended: Vec<i32>,
    row: Vec<u8>,
}

/// The taps of every pixel along one side: centres of pixels are mapped, and beyond the border is the last pixel.
fn taps(from: u32, to: u32) -> Vec<Tap> {
    let last = from as usize - 1;
    let tap = |n: u32| {
        let place = ((f64::from(n) + 0.5) * f64::from(from) / f64::from(to) - 0.5).clamp(0.0, last as f64);
        let first = place as usize;
        Tap { first, second: (first + 1).min(last), weight: (place.fract() * f64::from(ONE)).round() as i32 }
    };
    (0..to).map(tap).collect()
}

impl Scaler {
    fn configure(&mut self, from: (u32, u32), to: (u32, u32)) {
        if from != to && (from, to) != (self.from, self.to) {
            (self.from, self.to) = (from, to);
            self.columns = taps(from.0, to.0);
            self.rows = taps(from.1, to.1);
        }
    }

    /// Row `y` of the scaled picture, pixels of `SIZE` bytes.
    fn row<const SIZE: usize>(&mut self, picture: &Picture<'_>, y: usize) -> &[u8] {
        let Tap { first, second, weight } = self.rows[y];
        let (above, below) = (picture.row(first), picture.row(second));
        self.blended.resize(above.len(), 0);
        self.row.resize(self.columns.len() * SIZE, 0);
        for ((blended, &above), &below) in self.blended.iter_mut().zip(above).zip(below) {
            *blended = i32::from(above) * (ONE - weight) + i32::from(below) * weight;
        }
        let blended = self.blended.as_chunks::<SIZE>().0;
        for (pixel, tap) in self.row.as_chunks_mut::<SIZE>().0.iter_mut().zip(&self.columns) {
            let (left, right) = (&blended[tap.first], &blended[tap.second]);
            for ((value, &left), &right) in pixel.iter_mut().zip(left).zip(right) {
                let sum = left * (ONE - tap.weight) + right * tap.weight;
                *value = ((sum + (1 << (2 * WEIGHT_BITS - 1))) >> (2 * WEIGHT_BITS)) as u8;
            }
        }
        &self.row
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Dtype;

    fn spec(dims: &[usize]) -> TensorSpec {
        TensorSpec { name: "images".into(), dtype: Dtype::F32, dims: dims.to_vec() }
    }

    /// A picture whose values jump about, rows `stride` bytes apart, rubbish between them.
    fn picture(width: usize, height: usize, size: usize, stride: usize) -> Vec<u8> {
        let mut data = vec![0xee; stride * height];
        for y in 0..height {
            for n in 0..width * size {
                data[y * stride + n] = ((n * 37 + y * 91 + n * n * y * 13) % 256) as u8;
            }
        }
        data
    }

    /// Bilinear interpolation by its definition: centres of pixels are mapped, what lies outside is the nearest pixel.
    fn bilinear(
        data: &[u8],
        stride: usize,
        size: usize,
        from: (usize, usize),
        to: (usize, usize),
        at: [usize; 3],
    ) -> f64 {
        let [x, y, channel] = at;
        let axis = |n: usize, from: usize, to: usize| {
            let place = ((n as f64 + 0.5) * from as f64 / to as f64 - 0.5).clamp(0.0, from as f64 - 1.0);
            (place.floor() as usize, (place.floor() as usize + 1).min(from - 1), place.fract())
        };
        let (x0, x1, fx) = axis(x, from.0, to.0);
        let (y0, y1, fy) = axis(y, from.1, to.1);
        let v = |x: usize, y: usize| f64::from(data[y * stride + x * size + channel]);
        let upper = v(x0, y0) * (1.0 - fx) + v(x1, y0) * fx;
        let lower = v(x0, y1) * (1.0 - fx) + v(x1, y1) * fx;
        upper * (1.0 - fy) + lower * fy
    }

    const FORMATS: [PictureFormat; 6] = [
        PictureFormat::Rgb,
        PictureFormat::Bgr,
        PictureFormat::Rgbx,
        PictureFormat::Bgrx,
        PictureFormat::Xrgb,
        PictureFormat::Xbgr,
    ];

    #[test]
    fn scaling_is_bilinear_to_rounding_in_every_format_up_and_down() {
        for format in FORMATS {
            for (from, to) in [((31, 17), (50, 40)), ((31, 17), (11, 9)), ((64, 48), (32, 24)), ((7, 5), (7, 10))] {
                let size = format.bytes_per_pixel();
                let stride = from.0 * size + 5;
                let data = picture(from.0, from.1, size, stride);
                let picture = Picture::new(format, from.0 as u32, from.1 as u32, stride, &data).unwrap();
                let mut input = PictureInput::new(
                    &spec(&[1, 3, to.1, to.0]),
                    Preprocess { scaling: Scaling::Stretch, ..Preprocess::default() },
                )
                .unwrap();
                let values = input.convert(&picture).unwrap();
                for (n, &value) in values.iter().enumerate() {
                    let (channel, y, x) = (n / (to.0 * to.1), n / to.0 % to.1, n % to.0);
                    let at = [x, y, format.offsets()[channel]];
                    let expected = bilinear(&data, stride, size, from, to, at);
                    let off = (f64::from(value) - expected).abs();
                    assert!(off <= 0.6, "{format:?} {from:?} to {to:?} at {at:?}: {value}, not {expected}");
                }
            }
        }
    }

    #[test]
    fn pictures_of_the_right_size_come_through_exactly() {
        for format in FORMATS {
            let size = format.bytes_per_pixel();
            let stride = 5 * size + 3;
            let data = picture(5, 4, size, stride);
            let picture = Picture::new(format, 5, 4, stride, &data).unwrap();
            for (dims, order) in [
                ([1, 3, 4, 5], ChannelOrder::Rgb),
                ([1, 3, 4, 5], ChannelOrder::Bgr),
                ([1, 4, 5, 3], ChannelOrder::Bgr),
            ] {
                let mean = [103.53, 116.28, 123.675];
                let std_dev = [57.375, 57.12, 58.395];
                let preprocess = Preprocess { channel_order: order, mean, std_dev, ..Preprocess::default() };
                let mut input = PictureInput::new(&spec(&dims), preprocess).unwrap();
                let values = input.convert(&picture).unwrap();
                for (x, y, c) in (0..60).map(|n| (n % 5, n / 5 % 4, n / 20)) {
                    let colour = if order == ChannelOrder::Bgr { 2 - c } else { c };
                    let raw = f32::from(data[y * stride + x * size + format.offsets()[colour]]);
                    let at = if dims[1] == 3 { c * 20 + y * 5 + x } else { (y * 5 + x) * 3 + c };
                    assert_eq!(values[at], (raw - mean[c]) / std_dev[c], "{format:?} {order:?} {dims:?} {x} {y} {c}");
                }
            }
        }
    }

    #[test]
    fn letterboxes_pad_where_they_say() {
        let data = vec![200; 40 * 20 * 3];
        let picture = Picture::new(PictureFormat::Rgb, 40, 20, 120, &data).unwrap();
        for (scaling, first, last) in [(Scaling::Letterbox, 0, 5), (Scaling::LetterboxCentred, 1, 6)] {
            let preprocess = Preprocess { scaling, ..Preprocess::default() };
            let mut input = PictureInput::new(&spec(&[1, 3, 8, 10]), preprocess).unwrap();
            let values = input.convert(&picture).unwrap();
            for (n, &value) in values.iter().enumerate() {
                let y = n / 10 % 8;
                let expected = if (first..last).contains(&y) { 200.0 } else { 114.0 };
                assert_eq!(value, expected, "{scaling:?} row {y}");
            }
            let placement = input.placement((40, 20)).unwrap();
            let expected =
                Placement { scale_x: 0.25, scale_y: 0.25, left: 0.0, top: first as f32, width: 10, height: 5 };
            assert_eq!(placement, expected);
        }
    }

    #[test]
    fn padding_follows_when_the_size_of_pictures_changes() {
        let preprocess = Preprocess { scaling: Scaling::Letterbox, ..Preprocess::default() };
        let mut input = PictureInput::new(&spec(&[1, 3, 8, 8]), preprocess).unwrap();
        let data = vec![9; 16 * 16 * 3];
        let count = |values: &[f32]| values.iter().filter(|&&v| v == 114.0).count();
        let mut padding = |width: u32, height: u32| {
            let picture = Picture::new(PictureFormat::Rgb, width, height, width as usize * 3, &data).unwrap();
            count(input.convert(&picture).unwrap())
        };
        assert_eq!([padding(16, 8), padding(8, 16), padding(16, 16), padding(16, 8)], [96, 96, 0, 96]);
    }

    #[test]
    fn extreme_pictures_keep_at_least_a_pixel() {
        for scaling in [Scaling::Stretch, Scaling::Letterbox, Scaling::LetterboxCentred] {
            for size in [(1, 1), (1, 4000), (4000, 1)] {
                let data = vec![77; 4000 * 3];
                let picture = Picture::new(PictureFormat::Bgr, size.0, size.1, size.0 as usize * 3, &data).unwrap();
                let preprocess = Preprocess { scaling, ..Preprocess::default() };
                let mut input = PictureInput::new(&spec(&[1, 3, 6, 9]), preprocess).unwrap();
                let values = input.convert(&picture).unwrap();
                assert!(values.contains(&77.0), "{scaling:?} {size:?}");
                assert!(values.iter().all(|&v| v == 77.0 || v == 114.0), "{scaling:?} {size:?}");
            }
        }
    }

    #[test]
    fn impossible_pictures_and_settings_are_named() {
        let new = |width, height, stride, len: usize| {
            Picture::new(PictureFormat::Rgb, width, height, stride, &vec![0; len]).unwrap_err().to_string()
        };
        assert!(new(0, 4, 12, 48).contains("picture of 0 × 4"));
        assert!(new(4, 40_000, 12, 48).contains("1 to 32768"));
        assert!(new(4, 4, 11, 48).contains("a stride of 11 bytes, a row has 12"));
        assert!(new(4, 4, 12, 47).contains("47 bytes are too few"));
        assert!(new(4, 4, usize::MAX / 2, 48).contains("too few"));
        let input = |dims: &[usize], preprocess| PictureInput::new(&spec(dims), preprocess).unwrap_err().to_string();
        assert!(input(&[1, 64, 4, 4], Preprocess::default()).contains("images: f32 1×64×4×4 takes no pictures"));
        let std_dev = [1.0, 0.0, 1.0];
        assert!(input(&[1, 3, 4, 4], Preprocess { std_dev, ..Preprocess::default() }).contains("deviation 0"));
        let mean = [f32::NAN; 3];
        assert!(input(&[1, 3, 4, 4], Preprocess { mean, ..Preprocess::default() }).contains("mean NaN"));
    }
}
