//! What stands on the street and hides others: lamp posts, trees, bins, boards. None of it is an object of the ground truth.

use crate::numbers::{Random, noise, scale3};
use crate::raster::{Layer, Paint, Point};
use crate::traffic::Road;
use crate::view::{Place, View};

#[derive(Clone)]
enum Kind {
    Lamp,
    Tree { crown: f32, salt: u32 },
    Bin,
    Board([f32; 3]),
    Bollard,
}

/// One thing at its place on the ground.
#[derive(Clone)]
pub struct Furniture {
    pub at: Point,
    kind: Kind,
    colour: [f32; 3],
}

impl Furniture {
    /// Metres: half the width of the foot, for its shadow.
    pub fn half_width(&self) -> f32 {
        match self.kind {
            Kind::Board(_) => 0.6,
            Kind::Bin => 0.35,
            _ => 0.2,
        }
    }

    pub fn draw(&self, layer: &mut Layer, place: Place) {
        let s = place.scale;
        let at = |x: f32, y: f32| -> Point { [place.foot[0] + x * s, place.foot[1] - y * s] };
        let paint = |c: [f32; 3]| Paint { slope: 0.4 / s, origin: place.foot, ..Paint::flat(c) };
        match self.kind {
            Kind::Lamp => {
                layer.reset(at(-0.3, 5.2), at(1.0, 0.0));
                layer.block(at(-0.07, 5.0), at(0.07, 0.0), 0.0, &paint(self.colour));
                layer.block(at(-0.12, 0.9), at(0.12, 0.0), 0.02 * s, &paint(scale3(self.colour, 0.8)));
                layer.limb(at(0.0, 5.0), at(0.8, 5.1), [0.06 * s, 0.1 * s], &paint(self.colour));
            }
            Kind::Tree { crown, salt } => {
                layer.reset(at(-1.6 * crown, 3.4 + 2.0 * crown), at(1.6 * crown, 0.0));
                layer.limb(at(0.0, 0.1), at(0.05, 3.0), [0.17 * s, 0.11 * s], &paint([72.0, 58.0, 45.0]));
                for (k, (x, y, r)) in
                    [(0.0, 3.4, 0.85), (-0.45, 3.1, 0.6), (0.5, 3.2, 0.6), (0.1, 3.9, 0.7)].into_iter().enumerate()
                {
                    let fray = |u: f32, v: f32| noise(u / s * 3.0 + 31.0 * k as f32, v / s * 3.0, salt);
                    let shade = [0.75, 0.9, 1.0, 1.12][k];
                    layer.cloud(
                        at(x * crown, y + 0.6 * crown),
                        r * crown * s,
                        fray,
                        &paint(scale3(self.colour, shade)),
                    );
                }
            }
            Kind::Bin => {
                layer.reset(at(-0.4, 1.1), at(0.4, 0.0));
                layer.block(at(-0.3, 1.0), at(0.3, 0.0), 0.08 * s, &paint(self.colour));
                layer.block(at(-0.33, 1.06), at(0.33, 0.9), 0.04 * s, &paint(scale3(self.colour, 0.7)));
            }
            Kind::Board(picture) => {
                layer.reset(at(-0.7, 2.3), at(0.7, 0.0));
                layer.block(at(-0.1, 0.5), at(0.1, 0.0), 0.0, &paint([50.0, 50.0, 52.0]));
                layer.block(at(-0.6, 2.2), at(0.6, 0.4), 0.06 * s, &paint([58.0, 58.0, 60.0]));
                layer.block(at(-0.52, 2.1), at(0.52, 0.5), 0.0, &paint(self.colour));
                layer.ellipse(at(0.1, 1.4), [0.3 * s, 0.45 * s], &paint(picture));
            }
            Kind::Bollard => {
                layer.reset(at(-0.15, 1.0), at(0.15, 0.0));
                layer.block(at(-0.08, 0.95), at(0.08, 0.0), 0.06 * s, &paint(self.colour));
                layer.block(at(-0.08, 0.85), at(0.08, 0.75), 0.0, &paint([215.0, 215.0, 210.0]));
            }
        }
    }
}

/// The furniture of a scene: three to seven things on the pavements.
pub fn furniture(view: &View, road: Road, r: &mut Random) -> Vec<Furniture> {
    let nearest = view.scaled(62.0).min((view.height - view.horizon) / view.eye);
    (0..r.whole(3, 7))
        .map(|_| {
            let scale = match r.unit() {
                p if p < 0.35 => road.far * r.between(0.9, 0.99),
                p if p < 0.7 => road.near * r.between(1.02, 1.12),
                _ => r.between(road.near * 1.1, nearest.max(road.near * 1.15)),
            };
            let at = view.ground(view.width * r.between(-0.03, 1.03), scale);
            let grey = r.between(30.0, 110.0);
            let (kind, colour) = match r.whole(0, 9) {
                0..=2 => (Kind::Lamp, [grey; 3]),
                3 | 4 => {
                    let green = [r.between(35.0, 75.0), r.between(75.0, 115.0), r.between(25.0, 50.0)];
                    (Kind::Tree { crown: r.between(0.9, 1.5), salt: r.bits() }, green)
                }
                5 | 6 => (Kind::Bin, r.colour(30.0, 130.0)),
                7 => (Kind::Board(r.colour(20.0, 230.0)), r.colour(90.0, 230.0)),
                _ => (Kind::Bollard, [grey, grey * 0.95, grey * 0.9]),
            };
            Furniture { at, kind, colour }
        })
        .collect()
}
