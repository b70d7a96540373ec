//! Drawing: shapes by signed distance with smooth edges, first on a layer of their own, then the layer onto the canvas.
//!
//! A layer holds one whole thing, also where it is outside the picture: so the thing's mask, its box and the share of it that can be
//! seen follow from the very pixels that are drawn.

use crate::numbers::scale3;

/// A point or an extent in pixels of the picture, x then y.
pub type Point = [f32; 2];

/// How a shape is coloured: a flat colour, shaded across, with stripes.
#[derive(Clone, Copy)]
pub struct Paint {
    pub colour: [f32; 3],
    /// Brightness added for every pixel to the right of `origin`.
    pub slope: f32,
    pub origin: Point,
    /// Height of a pair of stripes in pixels, 0 = none, and their strength.
    pub stripes: (f32, f32),
}

impl Paint {
    pub fn flat(colour: [f32; 3]) -> Self {
        Self { colour, slope: 0.0, origin: [0.0; 2], stripes: (0.0, 0.0) }
    }

    fn at(&self, x: f32, y: f32) -> [f32; 3] {
        let mut light = 1.0 + self.slope * (x - self.origin[0]);
        if self.stripes.0 > 0.0 {
            let v = (y - self.origin[1]) / self.stripes.0;
            light += if v - v.floor() < 0.5 { self.stripes.1 } else { -self.stripes.1 };
        }
        scale3(self.colour, light.clamp(0.4, 1.6))
    }
}

/// A window that shapes are drawn on: premultiplied colour and coverage.
#[derive(Default)]
pub struct Layer {
    left: i32,
    top: i32,
    width: usize,
    height: usize,
    pixels: Vec<[f32; 4]>,
}

impl Layer {
    /// Empties the layer and places it; it will hold what lies within these bounds in pixels.
    pub fn reset(&mut self, from: Point, to: Point) {
        self.left = from[0].floor() as i32 - 1;
        self.top = from[1].floor() as i32 - 1;
        self.width = (to[0].ceil() as i32 + 1 - self.left).clamp(0, 16_384) as usize;
        self.height = (to[1].ceil() as i32 + 1 - self.top).clamp(0, 16_384) as usize;
        self.pixels.clear();
        self.pixels.resize(self.width * self.height, [0.0; 4]);
    }

    /// Draws where `distance` (to the edge in pixels, negative inside) says; it falls from opaque to nothing over a pixel.
    fn fill(&mut self, from: Point, to: Point, distance: impl Fn(f32, f32) -> f32, paint: &Paint) {
        let span = |low: f32, high: f32, start: i32, n: usize| {
            let a = (low.floor() as i32 - 1 - start).clamp(0, n as i32);
            (a as usize, (high.ceil() as i32 + 1 - start).clamp(a, n as i32) as usize)
        };
        let (x0, x1) = span(from[0], to[0], self.left, self.width);
        let (y0, y1) = span(from[1], to[1], self.top, self.height);
        for row in y0..y1 {
            let y = (self.top + row as i32) as f32 + 0.5;
            for column in x0..x1 {
                let x = (self.left + column as i32) as f32 + 0.5;
                let a = (0.5 - distance(x, y)).clamp(0.0, 1.0);
                if a > 0.0 {
                    let p = &mut self.pixels[row * self.width + column];
                    let c = paint.at(x, y);
                    for k in 0..3 {
                        p[k] += a * (c[k] - p[k]);
                    }
                    p[3] += a * (1.0 - p[3]);
                }
            }
        }
    }

    pub fn ellipse(&mut self, centre: Point, radii: Point, paint: &Paint) {
        let [rx, ry] = radii.map(|r| r.max(0.3));
        let small = rx.min(ry);
        let distance = |x: f32, y: f32| {
            let (u, v) = ((x - centre[0]) / rx, (y - centre[1]) / ry);
            ((u * u + v * v).sqrt() - 1.0) * small
        };
        self.fill([centre[0] - rx, centre[1] - ry], [centre[0] + rx, centre[1] + ry], distance, paint);
    }

    /// A line with round ends whose radius changes from one end to the other.
    pub fn limb(&mut self, a: Point, b: Point, radii: [f32; 2], paint: &Paint) {
        let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
        let inverse = 1.0 / (dx * dx + dy * dy + 1e-6);
        let r = radii[0].max(radii[1]);
        let distance = |x: f32, y: f32| {
            let k = (((x - a[0]) * dx + (y - a[1]) * dy) * inverse).clamp(0.0, 1.0);
            let (u, v) = (x - a[0] - k * dx, y - a[1] - k * dy);
            (u * u + v * v).sqrt() - (radii[0] + k * (radii[1] - radii[0]))
        };
        let from = [a[0].min(b[0]) - r, a[1].min(b[1]) - r];
        self.fill(from, [a[0].max(b[0]) + r, a[1].max(b[1]) + r], distance, paint);
    }

    /// A box with rounded corners.
    pub fn block(&mut self, from: Point, to: Point, round: f32, paint: &Paint) {
        let (cx, cy) = ((from[0] + to[0]) / 2.0, (from[1] + to[1]) / 2.0);
        let (hx, hy) = (((to[0] - from[0]) / 2.0).max(0.3), ((to[1] - from[1]) / 2.0).max(0.3));
        let round = round.min(hx).min(hy);
        let distance = |x: f32, y: f32| {
            let (u, v) = ((x - cx).abs() - hx + round, (y - cy).abs() - hy + round);
            let (p, q) = (u.max(0.0), v.max(0.0));
            (p * p + q * q).sqrt() + u.max(v).min(0.0) - round
        };
        self.fill(from, to, distance, paint);
    }

    /// A convex polygon; its corners go round either way.
    pub fn polygon<const N: usize>(&mut self, corners: [Point; N], paint: &Paint) {
        let mut area = 0.0;
        let (mut from, mut to) = (corners[0], corners[0]);
        for i in 0..N {
            let (a, b) = (corners[i], corners[(i + 1) % N]);
            area += a[0] * b[1] - b[0] * a[1];
            from = [from[0].min(a[0]), from[1].min(a[1])];
            to = [to[0].max(a[0]), to[1].max(a[1])];
        }
        let way = if area < 0.0 { -1.0 } else { 1.0 };
        let edges: [[f32; 3]; N] = std::array::from_fn(|i| {
            let (a, b) = (corners[i], corners[(i + 1) % N]);
            let (nx, ny) = ((b[1] - a[1]) * way, (a[0] - b[0]) * way);
            let length = (nx * nx + ny * ny).sqrt().max(1e-6);
            [nx / length, ny / length, (nx * a[0] + ny * a[1]) / length]
        });
        let distance = |x: f32, y: f32| edges.iter().fold(f32::MIN, |m, e| m.max(e[0] * x + e[1] * y - e[2]));
        self.fill(from, to, distance, paint);
    }

    /// A round shape whose edge is frayed: foliage.
    pub fn cloud(&mut self, centre: Point, radius: f32, fray: impl Fn(f32, f32) -> f32, paint: &Paint) {
        let r = radius * 1.35;
        let distance = |x: f32, y: f32| {
            let (u, v) = (x - centre[0], y - centre[1]);
            (u * u + v * v).sqrt() - radius * (1.0 + 0.35 * fray(x - centre[0], y - centre[1]))
        };
        self.fill([centre[0] - r, centre[1] - r], [centre[0] + r, centre[1] + r], distance, paint);
    }
}

/// Pixels that count as a thing's own: at least half covered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mask {
    /// All of them, also outside the picture.
    pub pixels: u32,
    /// Those inside the picture, and their bounds there: left, top, right, bottom (exclusive).
    pub inside: u32,
    pub bounds: [i32; 4],
}

/// The picture while it is drawn, in linear floats, with the thing that is in front at every pixel.
pub struct Canvas {
    pub width: usize,
    pub height: usize,
    pub colours: Vec<[f32; 3]>,
    /// Number of the thing in front, 0 = none that counts.
    pub owners: Vec<u16>,
}

impl Canvas {
    pub fn new(width: usize, height: usize) -> Self {
        Self { width, height, colours: vec![[0.0; 3]; width * height], owners: vec![0; width * height] }
    }

    /// Puts a layer in front of everything so far, as the thing `owner`.
    pub fn compose(&mut self, layer: &Layer, owner: u16) -> Mask {
        let mut mask = Mask { bounds: [i32::MAX, i32::MAX, i32::MIN, i32::MIN], ..Mask::default() };
        for (row, line) in layer.pixels.chunks_exact(layer.width.max(1)).enumerate() {
            let y = layer.top + row as i32;
            let inside_rows = y >= 0 && (y as usize) < self.height;
            for (column, p) in line.iter().enumerate() {
                if p[3] <= 0.0 {
                    continue;
                }
                let own = p[3] >= 0.5;
                mask.pixels += u32::from(own);
                let x = layer.left + column as i32;
                if !inside_rows || x < 0 || x as usize >= self.width {
                    continue;
                }
                let i = y as usize * self.width + x as usize;
                let below = &mut self.colours[i];
                for k in 0..3 {
                    below[k] += p[k] - p[3] * below[k];
                }
                if own {
                    self.owners[i] = owner;
                    mask.inside += 1;
                    let b = &mut mask.bounds;
                    *b = [b[0].min(x), b[1].min(y), b[2].max(x + 1), b[3].max(y + 1)];
                }
            }
        }
        mask
    }

    /// Darkens an ellipse softly: the shadow that a thing throws on the ground.
    pub fn shade(&mut self, centre: Point, radii: Point, strength: f32) {
        let span = |c: f32, r: f32, n: usize| {
            ((c - r).floor().clamp(0.0, n as f32) as usize, (c + r).ceil().clamp(0.0, n as f32) as usize)
        };
        let ((x0, x1), (y0, y1)) = (span(centre[0], radii[0], self.width), span(centre[1], radii[1], self.height));
        for y in y0..y1 {
            let v = (y as f32 + 0.5 - centre[1]) / radii[1];
            for x in x0..x1 {
                let u = (x as f32 + 0.5 - centre[0]) / radii[0];
                let dark = 1.0 - strength * (1.5 * (1.0 - u * u - v * v)).clamp(0.0, 1.0);
                let i = y * self.width + x;
                self.colours[i] = scale3(self.colours[i], dark);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_counts_what_is_outside_and_bounds_what_is_inside() {
        let mut layer = Layer::default();
        layer.reset([-4.0, 2.0], [4.0, 8.0]);
        layer.block([-4.0, 2.0], [4.0, 8.0], 0.0, &Paint::flat([255.0; 3]));
        let mut canvas = Canvas::new(16, 16);
        let mask = canvas.compose(&layer, 3);
        assert_eq!((mask.pixels, mask.inside, mask.bounds), (48, 24, [0, 2, 4, 8]));
        assert_eq!(canvas.owners.iter().filter(|&&o| o == 3).count(), 24);
        assert_eq!(canvas.colours[2 * 16], [255.0; 3]);
        assert_eq!(canvas.colours[2 * 16 + 4], [0.0; 3]);
    }

    #[test]
    fn polygons_do_not_care_which_way_round_they_are() {
        let corners = [[2.0, 2.0], [12.0, 2.0], [10.0, 9.0], [4.0, 9.0]];
        let mut turned = corners;
        turned.reverse();
        let draw = |c| {
            let mut layer = Layer::default();
            layer.reset([0.0, 0.0], [16.0, 16.0]);
            layer.polygon(c, &Paint::flat([1.0; 3]));
            layer.pixels
        };
        assert_eq!(draw(corners), draw(turned));
        assert!(draw(corners).iter().any(|p| p[3] == 1.0));
    }
}
