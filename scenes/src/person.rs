//! A person: clothes and build from random numbers, limbs that move with the way they cover.

use crate::numbers::{Random, cos_turn, scale3, sin_turn};
use crate::raster::{Layer, Paint, Point};
use crate::traffic::Moment;
use crate::view::Place;

#[derive(Clone, Copy)]
enum Below {
    Trousers,
    Shorts,
    Skirt,
}

/// What stays the same about a person.
#[derive(Clone)]
pub struct Look {
    /// Metres.
    pub height: f32,
    build: f32,
    coat: [f32; 3],
    sleeves: [f32; 3],
    legs: [f32; 3],
    skin: [f32; 3],
    hair: [f32; 3],
    shoes: [f32; 3],
    below: Below,
    long_hair: bool,
    hat: bool,
    pack: Option<[f32; 3]>,
    bag: Option<[f32; 3]>,
    /// Stripes of the coat: height as a share of the person's, strength.
    stripes: (f32, f32),
    /// Of the gait, in turns; and how wide the arms and legs swing.
    phase: f32,
    swing: f32,
    light: f32,
}

impl Look {
    pub fn new(r: &mut Random) -> Self {
        let child = r.chance(0.07);
        let tone = r.between(0.3, 1.08);
        let grey = r.between(15.0, 120.0);
        let coat = if r.chance(0.45) {
            [grey, grey * r.between(0.9, 1.1), grey * r.between(0.9, 1.2)]
        } else {
            r.colour(15.0, 235.0)
        };
        let legs = if r.chance(0.6) {
            let g = r.between(15.0, 90.0);
            [g, g * r.between(0.9, 1.1), g * r.between(1.0, 1.7)]
        } else {
            r.colour(30.0, 200.0)
        };
        Self {
            height: if child { r.between(1.15, 1.4) } else { r.between(1.58, 1.86) },
            build: r.between(0.85, 1.25),
            coat,
            sleeves: scale3(coat, r.between(0.65, 0.95)),
            legs,
            skin: [205.0 * tone, 160.0 * tone, 132.0 * tone],
            hair: if r.chance(0.7) {
                scale3([60.0, 42.0, 30.0], r.between(0.3, 1.4))
            } else {
                scale3([190.0, 165.0, 120.0], r.between(0.6, 1.1))
            },
            shoes: r.colour(15.0, 70.0),
            below: match r.whole(0, 9) {
                0 => Below::Shorts,
                1 | 2 => Below::Skirt,
                _ => Below::Trousers,
            },
            long_hair: r.chance(0.3),
            hat: r.chance(0.15),
            pack: r.chance(0.25).then(|| r.colour(20.0, 200.0)),
            bag: r.chance(0.2).then(|| r.colour(20.0, 200.0)),
            stripes: if r.chance(0.25) { (r.between(0.05, 0.12), r.between(0.1, 0.4)) } else { (0.0, 0.0) },
            phase: r.unit(),
            swing: r.between(0.8, 1.15),
            light: r.between(-0.25, 0.25),
        }
    }

    /// Draws the person, who walks in direction `heading` (unit vector over the ground).
    pub fn draw(&self, layer: &mut Layer, place: Place, heading: Point, moment: Moment, seconds: f32) {
        let h = self.height * place.scale;
        let [x, foot] = place.foot;
        layer.reset([x - 0.45 * h, foot - 1.06 * h], [x + 0.45 * h, foot + 0.06 * h]);
        let pose = Pose::new(self, heading, moment, seconds, place, h);
        pose.draw(self, layer);
    }
}

/// Where the parts of the body are at a moment. Lengths are shares of the height; `v` goes up from the ground.
struct Pose {
    x: f32,
    foot: f32,
    h: f32,
    /// How much of the swing, and of the width, is seen from here.
    along: f32,
    across: f32,
    /// +1 when the face is to the right.
    facing: f32,
    away: bool,
    step: f32,
    swing: f32,
    bob: f32,
    lean: f32,
}

impl Pose {
    fn new(look: &Look, heading: Point, moment: Moment, seconds: f32, place: Place, h: f32) -> Self {
        let step = moment.covered / (0.85 * look.height) + look.phase;
        let swing = if moment.stands { 0.12 } else { look.swing };
        let sway = if moment.stands { 0.008 * sin_turn(0.23 * seconds + look.phase) } else { 0.0 };
        let facing = if heading[0] < 0.0 { -1.0 } else { 1.0 };
        Self {
            x: place.foot[0],
            foot: place.foot[1],
            h,
            along: heading[0].abs(),
            across: heading[1].abs(),
            facing,
            away: heading[1] > 0.35,
            // Somebody who stands keeps the pose in which he stopped, nearly: the small swing brings the feet together.
            step,
            swing,
            bob: 0.012 * swing * cos_turn(2.0 * step).abs(),
            lean: 0.02 * facing * heading[0].abs() * swing + sway,
        }
    }

    fn at(&self, u: f32, v: f32) -> Point {
        [self.x + u * self.h, self.foot - v * self.h]
    }

    fn paint(&self, look: &Look, colour: [f32; 3]) -> Paint {
        let width = 0.2 * self.h;
        Paint { slope: look.light / width, origin: [self.x, self.foot], ..Paint::flat(colour) }
    }

    /// Half of the shoulders' width, as seen.
    fn half(&self, look: &Look) -> f32 {
        look.build * (0.075 + 0.045 * self.across)
    }

    fn draw(&self, look: &Look, layer: &mut Layer) {
        if !self.away {
            self.pack(look, layer);
        }
        self.arm(look, layer, -1.0);
        self.leg(look, layer, -1.0, 0.82);
        self.leg(look, layer, 1.0, 1.0);
        self.torso(look, layer);
        self.head(look, layer);
        self.arm(look, layer, 1.0);
        if self.away {
            self.pack(look, layer);
        }
    }

    /// `side`: +1 the leg nearer to the camera.
    fn leg(&self, look: &Look, layer: &mut Layer, side: f32, light: f32) {
        let phase = self.step + if side > 0.0 { 0.0 } else { 0.5 };
        let thigh = 0.075 * self.swing * sin_turn(phase); // in turns: 27 degrees
        let bend = 0.02 + 0.1 * self.swing * (0.5 + 0.5 * sin_turn(phase - 0.2));
        let apart = 0.042 * side * self.across * look.build;
        let forward = self.facing * self.along;
        let hip = [self.lean * 0.5 + apart, 0.5 + self.bob];
        let knee = [hip[0] + forward * 0.245 * sin_turn(thigh), hip[1] - 0.245 * cos_turn(thigh)];
        let shin = thigh - bend;
        // A foot that swings towards the camera is seen lower.
        let nearer = 0.05 * self.across * sin_turn(thigh) * if self.away { 1.0 } else { -1.0 };
        let ankle = [knee[0] + forward * 0.235 * sin_turn(shin), knee[1] - 0.225 * cos_turn(shin) + nearer];
        let skin = self.paint(look, scale3(look.skin, light));
        let cloth = self.paint(look, scale3(look.legs, light));
        let (upper, lower) = match look.below {
            Below::Trousers => (&cloth, &cloth),
            Below::Shorts => (&cloth, &skin),
            Below::Skirt => (&skin, &skin),
        };
        let r = look.build * self.h;
        layer.limb(self.at(knee[0], knee[1]), self.at(ankle[0], ankle[1]), [0.042 * r, 0.03 * r], lower);
        layer.limb(self.at(hip[0], hip[1]), self.at(knee[0], knee[1]), [0.06 * r, 0.045 * r], upper);
        let toe = [ankle[0] + self.facing * (0.015 + 0.06 * self.along), ankle[1] - 0.012];
        layer.limb(
            self.at(ankle[0], ankle[1] - 0.005),
            self.at(toe[0], toe[1]),
            [0.028 * self.h; 2],
            &self.paint(look, look.shoes),
        );
    }

    fn torso(&self, look: &Look, layer: &mut Layer) {
        let half = self.half(look);
        let (hip, neck) = (0.47 + self.bob, 0.83 + self.bob);
        let mut coat = self.paint(look, look.coat);
        coat.stripes = (look.stripes.0 * self.h, look.stripes.1);
        if let Below::Skirt = look.below {
            let w = 1.3 * half;
            let corners = [
                self.at(-half * 0.8, hip + 0.06),
                self.at(half * 0.8, hip + 0.06),
                self.at(w, 0.29),
                self.at(-w, 0.29),
            ];
            layer.polygon(corners, &self.paint(look, look.legs));
        }
        layer.limb(
            self.at(self.lean, neck),
            self.at(self.lean, neck + 0.04),
            [0.03 * self.h; 2],
            &self.paint(look, look.skin),
        );
        let from = self.at(self.lean * 0.5 - half, neck);
        let to = self.at(self.lean * 0.5 + half, hip - 0.01);
        layer.block(from, to, 0.055 * self.h, &coat);
    }

    fn head(&self, look: &Look, layer: &mut Layer) {
        let (u, v) = (1.4 * self.lean, 0.925 + self.bob);
        let hair = self.paint(look, look.hair);
        if look.long_hair {
            layer.ellipse(
                self.at(u - 0.022 * self.facing * self.along, v - 0.025),
                [0.058 * self.h, 0.085 * self.h],
                &hair,
            );
        }
        layer.ellipse(self.at(u, v), [0.05 * self.h, 0.066 * self.h], &hair);
        if !self.away {
            let face = self.at(u + 0.016 * self.facing * self.along, v - 0.014);
            layer.ellipse(face, [0.04 * self.h, 0.052 * self.h], &self.paint(look, look.skin));
        }
        if look.hat {
            let hat = self.paint(look, scale3(look.coat, 0.7));
            layer.ellipse(self.at(u, v + 0.04), [0.055 * self.h, 0.036 * self.h], &hat);
            layer.limb(
                self.at(u - 0.05, v + 0.026),
                self.at(u + 0.05 + 0.03 * self.facing, v + 0.026),
                [0.012 * self.h; 2],
                &hat,
            );
        }
    }

    fn arm(&self, look: &Look, layer: &mut Layer, side: f32) {
        let phase = self.step + if side > 0.0 { 0.5 } else { 0.0 };
        let swing = 0.07 * self.swing * sin_turn(phase);
        let forward = self.facing * self.along;
        let shoulder = [self.lean + side * self.half(look) * self.across * 0.95, 0.79 + self.bob];
        let out = 0.025 * side * self.across;
        let elbow = [shoulder[0] + out + forward * 0.165 * sin_turn(swing), shoulder[1] - 0.165 * cos_turn(swing)];
        let bent = swing + 0.05 + 0.03 * self.swing * (1.0 + sin_turn(phase));
        let hand = [elbow[0] + forward * 0.15 * sin_turn(bent), elbow[1] - 0.15 * cos_turn(bent)];
        let sleeve = self.paint(look, scale3(look.sleeves, if side > 0.0 { 1.0 } else { 0.8 }));
        let r = look.build * self.h;
        if let (Some(colour), true) = (look.bag, side > 0.0) {
            let size = 0.055;
            let (from, to) = (self.at(hand[0] - size, hand[1] - 0.01), self.at(hand[0] + size, hand[1] - 0.13));
            layer.block(from, to, 0.01 * self.h, &self.paint(look, colour));
        }
        layer.limb(self.at(shoulder[0], shoulder[1]), self.at(elbow[0], elbow[1]), [0.036 * r, 0.03 * r], &sleeve);
        layer.limb(self.at(elbow[0], elbow[1]), self.at(hand[0], hand[1]), [0.029 * r, 0.022 * r], &sleeve);
        layer.ellipse(self.at(hand[0], hand[1]), [0.022 * self.h; 2], &self.paint(look, look.skin));
    }

    fn pack(&self, look: &Look, layer: &mut Layer) {
        let Some(colour) = look.pack else { return };
        let half = self.half(look);
        let u = -self.facing * self.along * (half + 0.02);
        let wide = 0.045 + 0.04 * self.across;
        layer.block(
            self.at(u - wide, 0.8 + self.bob),
            self.at(u + wide, 0.56 + self.bob),
            0.04 * self.h,
            &self.paint(look, colour),
        );
    }
}
