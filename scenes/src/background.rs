//! What stays the same behind everybody: house fronts, pavements and the road. Drawn once a scene, larger than the picture by as
//! much as the camera moves.

use crate::numbers::{Purpose, Random, lattice, mix, mix3, noise, scale3};
use crate::raster::{Canvas, Point};
use crate::traffic::Road;
use crate::view::View;

/// Scale of the house fronts, in pixels of a metre in pictures of 288 rows: just behind the farthest persons.
const FRONT_SCALE: f32 = 13.8;

pub struct Background {
    colours: Vec<[f32; 3]>,
    width: usize,
    height: usize,
    /// Columns and rows on each side of the picture.
    margin: (usize, usize),
}

struct House {
    /// Left edge and width in metres.
    left: f32,
    width: f32,
    wall: [f32; 3],
    frame: [f32; 3],
    glass: [f32; 3],
    shop: [f32; 3],
    /// Metres between windows, across and up.
    pitch: Point,
    /// Share of the pitch that is window.
    share: Point,
    gap: bool,
    bricks: bool,
}

struct Ground {
    pavement: [f32; 3],
    tile: f32,
    asphalt: [f32; 3],
    markings: bool,
    kerb: [f32; 3],
    /// Strength of the patches of light.
    patches: f32,
}

impl Background {
    pub fn new(view: &View, road: Road, seed: u64, r: &mut Random) -> Self {
        let reach = view.reach();
        let margin = (reach.0.ceil() as usize + 2, reach.1.ceil() as usize + 2);
        let (width, height) = (view.width as usize + 2 * margin.0, view.height as usize + 2 * margin.1);
        let salt = Random::new(seed, Purpose::Texture, 0).bits();
        let houses = houses(view, r);
        let grey = r.between(85.0, 165.0);
        let asphalt = r.between(60.0, 110.0);
        let ground = Ground {
            pavement: [grey * r.between(0.97, 1.06), grey, grey * r.between(0.9, 1.02)],
            tile: r.between(0.5, 1.4),
            asphalt: [asphalt, asphalt, asphalt * 1.04],
            markings: r.chance(0.75),
            kerb: [grey * 1.15; 3],
            patches: r.between(0.03, 0.22),
        };
        let front = view.scaled(FRONT_SCALE);
        let base = view.horizon + view.eye * front;
        let mut colours = Vec::with_capacity(width * height);
        for row in 0..height {
            let y = row as f32 + 0.5 - margin.1 as f32;
            for column in 0..width {
                let x = column as f32 + 0.5 - margin.0 as f32;
                let colour = if y < base {
                    facade(&houses, (x - view.width / 2.0) / front, (base - y) / front, front, salt)
                } else {
                    let scale = (y - view.horizon) / view.eye;
                    ground.at(view.ground(x, scale), scale, road, salt)
                };
                // Grain that does not move, in every picture's own resolution.
                let grain = 9.0 * (lattice(column as i32, row as i32, salt ^ 5) - 0.5)
                    + 5.0 * noise(x * 0.31, y * 0.31, salt ^ 6);
                colours.push(colour.map(|v| (v + grain).clamp(2.0, 250.0)));
            }
        }
        Self { colours, width, height, margin }
    }

    /// Fills the canvas with the background as it is when the picture has moved by `offset`.
    pub fn show(&self, canvas: &mut Canvas, offset: Point) {
        canvas.owners.fill(0);
        let start = |margin: usize, offset: f32, most: usize| {
            let v = (margin as f32 - offset).clamp(0.0, most as f32);
            (v.floor() as usize, v - v.floor())
        };
        let (left, fx) = start(self.margin.0, offset[0], self.width - canvas.width - 1);
        let (top, fy) = start(self.margin.1, offset[1], self.height - canvas.height - 1);
        for (y, out) in canvas.colours.chunks_exact_mut(canvas.width).enumerate() {
            let line = |k: usize| &self.colours[(top + y + k) * self.width + left..][..out.len() + 1];
            let (a, b) = (line(0), line(1));
            if fx == 0.0 && fy == 0.0 {
                out.copy_from_slice(&a[..out.len()]);
                continue;
            }
            for (x, p) in out.iter_mut().enumerate() {
                *p = mix3(mix3(a[x], a[x + 1], fx), mix3(b[x], b[x + 1], fx), fy);
            }
        }
    }
}

fn houses(view: &View, r: &mut Random) -> Vec<House> {
    let reach = (view.width / 2.0 + view.reach().0) / view.scaled(FRONT_SCALE) + 2.0;
    let mut all = Vec::new();
    let mut left = -reach - r.between(0.0, 6.0);
    while left < reach {
        let gap = r.chance(0.18);
        let width = if gap { r.between(2.0, 6.0) } else { r.between(5.0, 13.0) };
        let tone = r.between(70.0, 190.0);
        let shine = r.between(0.5, 1.2);
        all.push(House {
            left,
            width,
            wall: if gap {
                [r.between(30.0, 60.0), r.between(55.0, 90.0), r.between(25.0, 45.0)]
            } else {
                [tone * r.between(0.95, 1.15), tone * r.between(0.9, 1.0), tone * r.between(0.75, 1.0)]
            },
            frame: [r.between(120.0, 230.0); 3],
            glass: [45.0 * shine, 55.0 * shine, 66.0 * shine],
            shop: r.colour(40.0, 200.0),
            pitch: [r.between(1.5, 2.8), r.between(2.6, 3.3)],
            share: [r.between(0.4, 0.7), r.between(0.45, 0.65)],
            gap,
            bricks: r.chance(0.4),
        });
        left += width;
    }
    all
}

/// A house front at a point in metres, `x` across and `y` above the ground.
fn facade(houses: &[House], x: f32, y: f32, scale: f32, salt: u32) -> [f32; 3] {
    let i = houses.partition_point(|h| h.left <= x).saturating_sub(1);
    let house = &houses[i];
    let salt = salt.wrapping_add(i as u32);
    if house.gap {
        let leaves = noise(x * 3.5, y * 3.5, salt) + 0.6 * noise(x * 9.0, y * 9.0, salt ^ 1);
        return scale3(house.wall, 1.0 + 0.35 * leaves);
    }
    let mut colour = scale3(house.wall, 1.0 + 0.07 * noise(x * 0.6, y * 0.6, salt));
    if house.bricks {
        let row = (y * 4.0).floor();
        let brick = lattice((x * 2.0 + 0.5 * row).floor() as i32, row as i32, salt);
        colour = scale3(colour, 0.88 + 0.22 * brick);
    }
    let from_left = x - house.left;
    if from_left < 0.12 || house.width - from_left < 0.12 {
        return scale3(colour, 0.7);
    }
    if y < 3.0 {
        // The ground floor: shop windows with a sign above, or doors.
        let bay = (from_left / 2.4).floor();
        let u = from_left - bay * 2.4;
        let what = lattice(bay as i32, 7, salt);
        if y > 2.45 {
            return if what < 0.75 { mix3(house.shop, colour, 0.1) } else { colour };
        }
        let pane = u > 0.2 && u < 2.2 && y > 0.45 && y < 2.35;
        if what < 0.55 && pane {
            let inside = noise(x * 2.3, y * 1.7, salt ^ 2);
            return scale3(house.glass, 1.15 + 0.5 * inside);
        }
        if what > 0.8 && u > 0.6 && u < 1.7 && y < 2.2 {
            return scale3(house.shop, 0.55);
        }
        return colour;
    }
    let (cx, cy) = (from_left / house.pitch[0], (y - 3.0) / house.pitch[1]);
    let (u, v) = ((cx - cx.floor() - 0.5).abs() * 2.0, (cy - cy.floor() - 0.5).abs() * 2.0);
    let edge = 2.0 / (house.pitch[0] * scale);
    if u < house.share[0] && v < house.share[1] {
        let lit = lattice(cx.floor() as i32, cy.floor() as i32, salt ^ 3);
        let sky = 0.8 + 0.9 * (cy - cy.floor()) * lit;
        scale3(house.glass, sky + 0.15 * noise(x * 2.0, y * 2.0, salt ^ 4))
    } else if u < house.share[0] + edge && v < house.share[1] + edge {
        house.frame
    } else {
        colour
    }
}

impl Ground {
    fn at(&self, [x, z]: Point, scale: f32, road: Road, salt: u32) -> [f32; 3] {
        let light = 1.0 + self.patches * (1.6 * noise(x * 0.35, z * 0.35, salt ^ 8)).clamp(-1.0, 1.0);
        let colour = if scale > road.far && scale < road.near {
            self.road(x, z, scale, road, salt)
        } else {
            self.pavement(x, z, scale, road, salt)
        };
        scale3(colour, light)
    }

    fn road(&self, x: f32, z: f32, scale: f32, road: Road, salt: u32) -> [f32; 3] {
        let worn = 1.0 + 0.1 * noise(x * 0.25, z * 1.6, salt ^ 9) + 0.06 * noise(x * 5.0, z * 5.0, salt ^ 10);
        let middle = road.lane(0.54);
        let dash = x * 0.25;
        if self.markings && (scale / middle - 1.0).abs() < 0.018 && dash - dash.floor() < 0.5 {
            return scale3([205.0, 205.0, 196.0], worn);
        }
        scale3(self.asphalt, worn)
    }

    fn pavement(&self, x: f32, z: f32, scale: f32, road: Road, salt: u32) -> [f32; 3] {
        if (scale > road.far * 0.975 && scale < road.far) || (scale > road.near && scale < road.near * 1.03) {
            return scale3(self.kerb, 0.95 + 0.06 * noise(x * 2.0, z * 2.0, salt ^ 12));
        }
        let (u, v) = (x / self.tile, z / self.tile);
        let tile = lattice(u.floor() as i32, v.floor() as i32, salt ^ 11);
        let joint = |p: f32, wide: f32| {
            let d = (p - p.floor()).min(p.ceil() - p) * self.tile;
            (1.0 - d / wide).clamp(0.0, 1.0)
        };
        // Joints are two centimetres wide; further away than a pixel shows they fade instead of flickering.
        let wide = (1.2 / scale).max(0.02);
        let dark = joint(u, wide).max(joint(v, 2.5 * wide)) * (0.02 / wide).clamp(0.15, 1.0);
        let dirt = 0.08 * noise(x * 1.1, z * 1.1, salt ^ 13);
        scale3(self.pavement, mix(0.94, 1.05, tile) + dirt - 0.3 * dark)
    }
}
