//! Rectangles, and how a picture lies in the input of a network.

use crate::{Error, Result};

/// A rectangle, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rect {
    /// Left edge.
    pub x: f32,
    /// Upper edge.
    pub y: f32,
    /// Width; a rectangle whose width is not above 0 is empty.
    pub width: f32,
    /// Height; a rectangle whose height is not above 0 is empty.
    pub height: f32,
}

impl Rect {
    /// A rectangle from its left and upper edges and its size.
    pub const fn new(x: f32, y: f32, width: f32, height: f32) -> Self {
        Self { x, y, width, height }
    }

    /// A rectangle from its four edges.
    pub fn from_edges(left: f32, top: f32, right: f32, bottom: f32) -> Self {
        Self { x: left, y: top, width: right - left, height: bottom - top }
    }

    /// Right edge.
    pub fn right(&self) -> f32 {
        self.x + self.width
    }

    /// Lower edge.
    pub fn bottom(&self) -> f32 {
        self.y + self.height
    }

    /// Area in square pixels; 0 for an empty rectangle.
    pub fn area(&self) -> f64 {
        if self.width > 0.0 && self.height > 0.0 { f64::from(self.width) * f64::from(self.height) } else { 0.0 }
    }

    /// Whether all four numbers are finite.
    pub fn is_finite(&self) -> bool {
        [self.x, self.y, self.width, self.height].iter().all(|v| v.is_finite())
    }

    /// Intersection over union, 0 to 1. It is 0 where both are empty or a number is not finite.
    ///
    /// Computed as binary64, so that thresholds fall the same way as in tools that compute so.
    pub fn iou(&self, other: &Self) -> f64 {
        if !(self.is_finite() && other.is_finite()) {
            return 0.0;
        }
        let overlap = |a: f32, b: f32, a_size: f32, b_size: f32| {
            let (a, b) = (f64::from(a), f64::from(b));
            (a + f64::from(a_size)).min(b + f64::from(b_size)) - a.max(b)
        };
        let width = overlap(self.x, other.x, self.width, other.width);
        let height = overlap(self.y, other.y, self.height, other.height);
        if !(width > 0.0 && height > 0.0) {
            return 0.0;
        }
        let common = width * height;
        common / (self.area() + other.area() - common)
    }
}

/// How a picture is brought to the size of a network's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scaling {
    /// Width and height each to the input's; the aspect ratio changes.
    Stretch,
    /// The aspect ratio stays, the picture is at the top left, and what is left at the right and at the bottom is padded.
    #[default]
    Letterbox,
    /// The aspect ratio stays, the picture is in the middle, and both sides are padded.
    LetterboxCentred,
}

/// Where a picture lies in a network's input, and the way back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placement {
    /// Input pixels a picture pixel, horizontally.
    pub scale_x: f32,
    /// Input pixels a picture pixel, vertically.
    pub scale_y: f32,
    /// Padding at the left, in whole input pixels.
    pub left: f32,
    /// Padding at the top, in whole input pixels.
    pub top: f32,
    /// Width of the scaled picture, in input pixels.
    pub width: u32,
    /// Height of the scaled picture, in input pixels.
    pub height: u32,
}

impl Placement {
    /// Places a picture in an input, both (width, height).
    ///
    /// With a letterbox the ratio is the smaller of the two, the sides of the scaled picture are rounded to whole
    /// pixels (at least one), and the scales are those of the rounded sides, because that is how it was resampled.
    ///
    /// # Errors
    /// A side of 0.
    pub fn new(scaling: Scaling, picture: (u32, u32), input: (u32, u32)) -> Result<Self> {
        for (what, (width, height)) in [("picture", picture), ("network input", input)] {
            if width == 0 || height == 0 {
                return Err(Error::Setting(format!("{what} of {width}x{height} pixels, legal are sides above 0")));
            }
        }
        let ratio_x = f64::from(input.0) / f64::from(picture.0);
        let ratio_y = f64::from(input.1) / f64::from(picture.1);
        let side = |side: u32, input: u32| ((f64::from(side) * ratio_x.min(ratio_y)).round() as u32).clamp(1, input);
        let (width, height) = match scaling {
            Scaling::Stretch => input,
            Scaling::Letterbox | Scaling::LetterboxCentred => (side(picture.0, input.0), side(picture.1, input.1)),
        };
        let (left, top) = match scaling {
            Scaling::Stretch | Scaling::Letterbox => (0, 0),
            Scaling::LetterboxCentred => ((input.0 - width) / 2, (input.1 - height) / 2),
        };
        Ok(Self {
            scale_x: (f64::from(width) / f64::from(picture.0)) as f32,
            scale_y: (f64::from(height) / f64::from(picture.1)) as f32,
            left: left as f32,
            top: top as f32,
            width,
            height,
        })
    }

    /// A rectangle of the network's input as one of the picture.
    pub fn to_picture(&self, rect: Rect) -> Rect {
        Rect {
            x: (rect.x - self.left) / self.scale_x,
            y: (rect.y - self.top) / self.scale_y,
            width: rect.width / self.scale_x,
            height: rect.height / self.scale_y,
        }
    }

    /// A rectangle of the picture as one of the network's input.
    pub fn to_input(&self, rect: Rect) -> Rect {
        Rect {
            x: rect.x * self.scale_x + self.left,
            y: rect.y * self.scale_y + self.top,
            width: rect.width * self.scale_x,
            height: rect.height * self.scale_y,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iou_is_the_common_share() {
        let a = Rect::new(0.0, 0.0, 10.0, 10.0);
        assert_eq!(a.iou(&a), 1.0);
        assert_eq!(a.iou(&Rect::new(5.0, 0.0, 10.0, 10.0)), 50.0 / 150.0);
        assert_eq!(a.iou(&Rect::new(10.0, 0.0, 10.0, 10.0)), 0.0);
        assert_eq!(a.iou(&Rect::from_edges(2.0, 2.0, 4.0, 7.0)), 0.1);
    }

    #[test]
    fn empty_and_not_finite_rectangles_overlap_nothing() {
        let a = Rect::new(0.0, 0.0, 10.0, 10.0);
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        for odd in [
            (0.0, 0.0, 0.0, 5.0),
            (1.0, 1.0, -3.0, 5.0),
            (nan, 0.0, 1.0, 1.0),
            (0.0, 0.0, inf, nan),
            (0.0, 0.0, inf, inf),
        ] {
            let odd = Rect::new(odd.0, odd.1, odd.2, odd.3);
            assert_eq!(a.iou(&odd), 0.0, "{odd:?}");
            assert_eq!(odd.iou(&odd), 0.0, "{odd:?}");
        }
    }

    #[test]
    fn letterboxes_keep_the_aspect_ratio_and_pad_where_they_say() {
        let at = Placement::new(Scaling::Letterbox, (640, 480), (1088, 608)).unwrap();
        assert_eq!((at.width, at.height, at.left, at.top), (811, 608, 0.0, 0.0));
        let at = Placement::new(Scaling::LetterboxCentred, (640, 480), (1088, 608)).unwrap();
        assert_eq!((at.width, at.height, at.left, at.top), (811, 608, 138.0, 0.0));
        let at = Placement::new(Scaling::LetterboxCentred, (1920, 1080), (416, 416)).unwrap();
        assert_eq!((at.width, at.height, at.left, at.top), (416, 234, 0.0, 91.0));
        let at = Placement::new(Scaling::Stretch, (640, 480), (320, 480)).unwrap();
        assert_eq!((at.scale_x, at.scale_y), (0.5, 1.0));
    }

    #[test]
    fn the_way_back_is_the_inverse() {
        for scaling in [Scaling::Stretch, Scaling::Letterbox, Scaling::LetterboxCentred] {
            for (picture, input) in [((768, 576), (416, 416)), ((1, 4000), (64, 32)), ((640, 480), (1088, 608))] {
                let at = Placement::new(scaling, picture, input).unwrap();
                let rect = Rect::new(3.5, 100.0, 20.0, 41.0);
                let back = at.to_picture(at.to_input(rect));
                for (a, b) in [(back.x, rect.x), (back.y, rect.y), (back.width, rect.width), (back.height, rect.height)]
                {
                    assert!((a - b).abs() < 1e-2, "{scaling:?} {back:?} {rect:?}");
                }
                let whole = at.to_input(Rect::new(0.0, 0.0, picture.0 as f32, picture.1 as f32));
                assert!(whole.right() <= input.0 as f32 + 0.01 && whole.bottom() <= input.1 as f32 + 0.01);
            }
        }
    }

    #[test]
    fn sides_of_zero_are_refused_by_name() {
        let error = |picture, input| Placement::new(Scaling::Stretch, picture, input).unwrap_err().to_string();
        assert_eq!(error((0, 5), (1, 1)), "picture of 0x5 pixels, legal are sides above 0");
        assert!(error((3, 5), (1, 0)).contains("network input of 1x0"));
        assert!(Placement::new(Scaling::Letterbox, (u32::MAX, 1), (1, u32::MAX)).is_ok());
    }
}
