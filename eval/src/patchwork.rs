//! Patchworks of the pictures that a transform learns from. What is near and large in these is small in the patchwork, as what is far away in
//! a wide view, so that a transform serves views that its pictures do not show.

use image::imageops::{self, FilterType};
use image::{GenericImageView, RgbImage};

/// Pictures that patches are cut of, an even sample of all so far.
const POOL: usize = 24;
/// Patches in a row and in a column of successive patchworks.
const SIDES: [u32; 2] = [2, 3];
/// Least part of a picture, in width and height, that a patch shows.
const WINDOW: f64 = 0.5;

/// Makes patchworks of the pictures shown to it: of the same pictures always the same.
#[derive(Debug)]
pub struct Patchworks {
    size: (u32, u32),
    pool: Vec<RgbImage>,
    shown: usize,
    made: usize,
    random: u64,
}

impl Patchworks {
    /// Patchworks of a width and a height, those of the network's input.
    pub fn new(size: (u32, u32)) -> Self {
        Self { size, pool: Vec::new(), shown: 0, made: 0, random: 0 }
    }

    /// Takes a picture in.
    pub fn show(&mut self, picture: &RgbImage) {
        self.shown += 1;
        // Sampling with a reservoir: each picture so far is in the pool as likely as any other.
        let place = if self.shown <= POOL { self.shown - 1 } else { self.draw(self.shown) };
        if place >= POOL {
            return;
        }
        // A window is shrunk less than the whole, so the whole needs no more pixels than the network would see of it.
        let (width, height) = picture.dimensions();
        let shrink = ratio(self.size.0, width).max(ratio(self.size.1, height)).min(1.0);
        let side = |pixels: u32| ((f64::from(pixels) * shrink).round() as u32).max(1);
        let small = imageops::resize(picture, side(width), side(height), FilterType::Triangle);
        if place == self.pool.len() { self.pool.push(small) } else { self.pool[place] = small }
    }

    /// The next patchwork; black before any picture was shown.
    pub fn make(&mut self) -> RgbImage {
        let (side, (width, height)) = (SIDES[self.made % SIDES.len()], self.size);
        self.made += 1;
        let mut out = RgbImage::new(width, height);
        let edges = |n: u32, pixels: u32| (n * pixels / side, (n + 1) * pixels / side);
        for (row, column) in (0..side).flat_map(|row| (0..side).map(move |column| (row, column))) {
            let ((left, right), (top, bottom)) = (edges(column, width), edges(row, height));
            if !self.pool.is_empty() && left < right && top < bottom {
                let patch = self.patch(right - left, bottom - top);
                imageops::replace(&mut out, &patch, left.into(), top.into());
            }
        }
        out
    }

    /// A window of one of the pictures, of the patch's shape, mirrored or not.
    fn patch(&mut self, width: u32, height: u32) -> RgbImage {
        let (chosen, mirrored) = (self.draw(self.pool.len()), self.draw(2) == 1);
        let (w, h) = self.pool[chosen].dimensions();
        let zoom = 1.0 - (1.0 - WINDOW) * self.draw(256) as f64 / 256.0;
        let scale = ratio(w, width).min(ratio(h, height)) * zoom;
        let side = |pixels: u32, most: u32| ((f64::from(pixels) * scale).round() as u32).clamp(1, most);
        let window = (side(width, w), side(height, h));
        let (left, top) = (self.draw_u32(w - window.0 + 1), self.draw_u32(h - window.1 + 1));
        let view = self.pool[chosen].view(left, top, window.0, window.1);
        let patch = imageops::resize(&*view, width, height, FilterType::Triangle);
        if mirrored { imageops::flip_horizontal(&patch) } else { patch }
    }

    /// A number below `count`, by a linear congruential generator: chance has to be the same everywhere (constants: Knuth, MMIX).
    fn draw(&mut self, count: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) as usize % count
    }

    fn draw_u32(&mut self, count: u32) -> u32 {
        self.draw(count as usize) as u32
    }
}

fn ratio(a: u32, b: u32) -> f64 {
    f64::from(a) / f64::from(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    /// Brighter (red) to the right, so that a mirrored one can be told; the blue says which one it is.
    fn picture(blue: u8) -> RgbImage {
        RgbImage::from_fn(80, 60, |x, _| Rgb([3 * x as u8, 0, blue]))
    }

    #[test]
    fn four_then_nine_windows_of_the_pictures_shown_some_of_them_mirrored() {
        let mut patchworks = Patchworks::new((96, 72));
        for blue in 0..100 {
            patchworks.show(&picture(100 + blue));
        }
        let mut mirrored = Vec::new();
        for side in [2, 3, 2, 3] {
            let made = patchworks.make();
            assert_eq!(made.dimensions(), (96, 72));
            let (width, height) = (96 / side, 72 / side);
            let mut blues = Vec::new();
            for n in 0..side * side {
                let patch = made.view(n % side * width, n / side * height, width, height);
                let (first, last) = (patch.get_pixel(0, 0), patch.get_pixel(width - 1, height - 1));
                // One picture in each, of those that were shown.
                assert!(patch.pixels().all(|(_, _, p)| p[2] == first[2]) && (100..200).contains(&first[2]));
                blues.push(first[2]);
                mirrored.push(first[0] > last[0]);
            }
            assert!(blues.iter().any(|blue| *blue != blues[0]), "{blues:?}");
        }
        assert!(mirrored.contains(&true) && mirrored.contains(&false));
    }

    #[test]
    fn the_pool_is_a_sample_of_all_pictures() {
        let mut patchworks = Patchworks::new((8, 8));
        for blue in 0..200 {
            patchworks.show(&picture(blue));
        }
        assert_eq!(patchworks.pool.len(), POOL);
        let early = patchworks.pool.iter().filter(|p| p.get_pixel(0, 0)[2] < 100).count();
        assert!((6..=18).contains(&early), "{early} of {POOL} from the first half");
    }

    #[test]
    fn the_same_pictures_make_the_same_patchworks_and_odd_sizes_fit() {
        let run = |size| {
            let mut patchworks = Patchworks::new(size);
            patchworks.show(&picture(9));
            [patchworks.make(), patchworks.make()]
        };
        assert_eq!(run((33, 17)), run((33, 17)));
        assert_eq!(run((1, 1))[1].dimensions(), (1, 1));
        assert!(Patchworks::new((4, 4)).make().pixels().all(|p| p.0 == [0; 3]));
    }
}
