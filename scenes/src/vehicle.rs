//! A vehicle seen from its side: car, estate, van or lorry.

use crate::numbers::{Random, scale3};
use crate::raster::{Layer, Paint, Point};
use crate::view::Place;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Saloon,
    Estate,
    Van,
    Lorry,
}

/// What stays the same about a vehicle.
#[derive(Clone)]
pub struct Body {
    /// Metres.
    pub length: f32,
    pub height: f32,
    kind: Kind,
    colour: [f32; 3],
    second: [f32; 3],
    glass: [f32; 3],
    light: f32,
}

impl Body {
    pub fn new(r: &mut Random) -> Self {
        let (kind, length, height) = match r.whole(0, 9) {
            0 => (Kind::Lorry, r.between(5.5, 6.5), r.between(2.4, 2.8)),
            1 | 2 => (Kind::Van, r.between(4.7, 5.4), r.between(1.9, 2.2)),
            3..=5 => (Kind::Estate, r.between(3.9, 4.6), r.between(1.45, 1.65)),
            _ => (Kind::Saloon, r.between(3.9, 4.6), r.between(1.38, 1.5)),
        };
        let g = r.between(20.0, 225.0);
        let colour = if r.chance(0.55) {
            [g, g * r.between(0.95, 1.05), g * r.between(0.95, 1.1)]
        } else {
            r.colour(20.0, 220.0)
        };
        let shine = r.between(0.6, 1.3);
        let second = if r.chance(0.5) { scale3(colour, 0.8) } else { r.colour(60.0, 230.0) };
        Self {
            length,
            height,
            kind,
            colour,
            second,
            glass: [52.0 * shine, 66.0 * shine, 80.0 * shine],
            light: r.between(-0.1, 0.1),
        }
    }

    /// Draws the vehicle, which faces right for `facing` +1 and left for −1.
    pub fn draw(&self, layer: &mut Layer, place: Place, facing: f32) {
        let (l, h) = (self.length * place.scale, self.height * place.scale);
        let [x, foot] = place.foot;
        layer.reset([x - 0.55 * l, foot - 1.05 * h], [x + 0.55 * l, foot + 0.08 * h]);
        // From shares of the length (+ = front) and of the height.
        let at = |u: f32, v: f32| -> Point { [x + facing * u * l, foot - v * h] };
        let paint =
            |colour: [f32; 3]| Paint { slope: self.light / (0.5 * l), origin: [x, foot], ..Paint::flat(colour) };
        let block = |layer: &mut Layer, u: [f32; 2], v: [f32; 2], round: f32, colour| {
            let (a, b) = (at(u[0], v[1]), at(u[1], v[0]));
            layer.block([a[0].min(b[0]), a[1]], [a[0].max(b[0]), b[1]], round * h, &paint(colour));
        };
        let dark = [28.0, 28.0, 31.0];
        let belt = match self.kind {
            Kind::Saloon | Kind::Estate => {
                let rear = if self.kind == Kind::Saloon { -0.3 } else { -0.46 };
                layer.polygon(
                    [at(rear - 0.03, 0.6), at(0.3, 0.6), at(0.14, 1.0), at(rear + 0.1, 1.0)],
                    &paint(scale3(self.colour, 0.93)),
                );
                layer.polygon(
                    [at(rear + 0.02, 0.6), at(-0.08, 0.6), at(-0.08, 0.94), at(rear + 0.11, 0.94)],
                    &paint(self.glass),
                );
                layer.polygon([at(-0.05, 0.6), at(0.25, 0.6), at(0.13, 0.94), at(-0.05, 0.94)], &paint(self.glass));
                block(layer, [-0.5, 0.49], [0.18, 0.64], 0.12, self.colour);
                0.64
            }
            Kind::Van => {
                block(layer, [-0.5, 0.3], [0.14, 1.0], 0.07, self.colour);
                layer.polygon([at(0.2, 1.0), at(0.28, 1.0), at(0.44, 0.55), at(0.2, 0.55)], &paint(self.colour));
                layer.polygon([at(0.1, 0.9), at(0.27, 0.9), at(0.38, 0.58), at(0.1, 0.58)], &paint(self.glass));
                block(layer, [0.1, 0.5], [0.14, 0.56], 0.08, self.colour);
                0.56
            }
            Kind::Lorry => {
                block(layer, [-0.5, 0.22], [0.28, 1.0], 0.02, self.second);
                block(layer, [0.24, 0.5], [0.16, 0.86], 0.07, self.colour);
                layer.polygon([at(0.33, 0.8), at(0.46, 0.8), at(0.49, 0.52), at(0.33, 0.52)], &paint(self.glass));
                0.48
            }
        };
        block(layer, [-0.49, 0.49], [0.12, 0.24], 0.04, dark);
        block(layer, [0.45, 0.5], [belt * 0.6, belt * 0.82], 0.02, [240.0, 235.0, 205.0]);
        block(layer, [-0.5, -0.47], [belt * 0.62, belt * 0.9], 0.02, [190.0, 35.0, 30.0]);
        block(layer, [-0.005, 0.002], [0.2, belt], 0.0, scale3(self.colour, 0.6));
        block(layer, [-0.14, -0.07], [belt * 0.84, belt * 0.89], 0.0, dark);
        let radius = 0.33 * place.scale;
        for u in [-0.3, 0.31] {
            let hub = [at(u, 0.0)[0], foot - radius];
            layer.ellipse(hub, [1.18 * radius; 2], &paint([14.0, 14.0, 16.0]));
            layer.ellipse(hub, [radius; 2], &paint(dark));
            layer.ellipse(hub, [0.55 * radius; 2], &paint([130.0, 132.0, 136.0]));
        }
    }
}
