//! A scene: the street, its actors, the camera and its sensor put together.

use crate::background::Background;
use crate::config::{SceneConfig, SceneError};
use crate::furniture::{Furniture, furniture};
use crate::numbers::{Purpose, Random};
use crate::raster::{Canvas, Layer, Mask, Point};
use crate::sensor::Sensor;
use crate::traffic::{Actor, Moment, Road, Role, actors};
use crate::view::View;

/// Objects that are seen by less than this share of their pixels are marked in the ground truth as not to be counted.
pub const MIN_VISIBILITY: f32 = 0.25;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Somebody on foot.
    Person,
    /// A car, a van or a lorry, driving or parked.
    Vehicle,
}

impl Kind {
    /// The number of its class in MOTChallenge files: 1 pedestrian, 3 car.
    pub fn class(self) -> u32 {
        match self {
            Self::Person => 1,
            Self::Vehicle => 3,
        }
    }
}

/// An object in a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Tells it from all others of the scene, from 1.
    pub id: u32,
    /// What it is.
    pub kind: Kind,
    /// Left edge of its box in pixels, from the picture's left edge (0). The box holds all of the object that the picture would
    /// show if nothing hid it, and ends with the picture.
    pub left: f32,
    /// Upper edge of its box in pixels.
    pub top: f32,
    /// Width of the box in pixels.
    pub width: f32,
    /// Height of the box in pixels.
    pub height: f32,
    /// Share of its pixels that can be seen, 0 to 1: not hidden and not outside the picture.
    pub visibility: f32,
}

impl Object {
    /// Whether it can be seen well enough to be asked for: at least [`MIN_VISIBILITY`].
    pub fn counts(&self) -> bool {
        self.visibility >= MIN_VISIBILITY
    }
}

/// What is drawn in one frame, sorted from the far to the near.
#[derive(Clone, Copy)]
enum Item<'a> {
    Actor(usize, &'a Actor, Moment),
    Furniture(&'a Furniture),
}

impl Item<'_> {
    fn at(&self) -> Point {
        match self {
            Self::Actor(_, _, moment) => moment.at,
            Self::Furniture(f) => f.at,
        }
    }
}

/// A street scene. Frames can be drawn in any order; each depends on nothing but the seed, the configuration and its number.
pub struct Scene {
    config: SceneConfig,
    view: View,
    background: Background,
    furniture: Vec<Furniture>,
    actors: Vec<Actor>,
    sensor: Sensor,
    canvas: Canvas,
    layer: Layer,
    shadow: f32,
}

impl Scene {
    /// Builds the scene of a seed.
    pub fn new(seed: u64, config: SceneConfig) -> Result<Self, SceneError> {
        config.check()?;
        let (width, height) = (config.width as usize, config.height as usize);
        let mut r = Random::new(seed, Purpose::Street, 0);
        let view = View::new(&config, seed, &mut r);
        let road = Road::new(&view, &mut r);
        let shadow = r.between(0.1, 0.55);
        let background = Background::new(&view, road, seed, &mut r);
        let furniture = furniture(&view, road, &mut r);
        let actors = actors(&config, &view, road, &mut Random::new(seed, Purpose::Traffic, 0));
        let (sensor, canvas) = (Sensor::new(seed, width, height), Canvas::new(width, height));
        Ok(Self { config, view, background, furniture, actors, sensor, canvas, layer: Layer::default(), shadow })
    }

    /// What the scene was built with.
    pub fn config(&self) -> &SceneConfig {
        &self.config
    }

    /// Draws frame `frame`, counted from 0, as packed RGB, and tells the objects in it, ordered by id.
    pub fn frame(&mut self, frame: u32, picture: &mut [u8]) -> Result<Vec<Object>, SceneError> {
        let expected = self.config.picture_bytes();
        if picture.len() != expected {
            return Err(SceneError::WrongBuffer { expected, actual: picture.len() });
        }
        let objects = self.objects(frame)?;
        self.sensor.expose(&self.canvas, frame, frame as f32 / self.config.rate as f32, picture);
        Ok(objects)
    }

    /// The objects in frame `frame`, ordered by id, without the picture. What can be seen of them is measured by drawing them.
    pub fn objects(&mut self, frame: u32) -> Result<Vec<Object>, SceneError> {
        if frame >= self.config.frames {
            return Err(SceneError::NoSuchFrame { frame, frames: self.config.frames });
        }
        let seconds = frame as f32 / self.config.rate as f32;
        let offset = self.view.offset(frame, seconds);
        self.background.show(&mut self.canvas, offset);
        let present = |(i, a): (usize, &'_ Actor)| a.way.moment(seconds).map(|m| (i, m));
        let mut items: Vec<Item<'_>> = self.furniture.iter().map(Item::Furniture).collect();
        items.extend(
            self.actors.iter().enumerate().filter_map(present).map(|(i, m)| Item::Actor(i, &self.actors[i], m)),
        );
        items.sort_by(|a, b| b.at()[1].total_cmp(&a.at()[1]));
        let mut masks: Vec<(usize, Mask)> = Vec::new();
        for item in items {
            let mut place = self.view.place(item.at());
            place.foot = [place.foot[0] + offset[0], place.foot[1] + offset[1]];
            // Half as wide as it can be; what lies outside the picture with that need not be drawn.
            let half = match item {
                Item::Actor(_, actor, _) => actor.half_width(),
                Item::Furniture(_) => 3.0,
            };
            if (place.foot[0] - self.view.width / 2.0).abs() > self.view.width / 2.0 + half * place.scale + 2.0 {
                continue;
            }
            let ground = match item {
                Item::Actor(_, Actor { role: Role::Person(_), .. }, _) => [0.32, 0.09],
                Item::Actor(_, Actor { role: Role::Vehicle(body), .. }, _) => [0.54 * body.length, 0.25],
                Item::Furniture(f) => [1.3 * f.half_width(), 0.09],
            };
            self.canvas.shade(place.foot, ground.map(|m| m * place.scale), self.shadow);
            match item {
                Item::Furniture(f) => {
                    f.draw(&mut self.layer, place);
                    self.canvas.compose(&self.layer, 0);
                }
                Item::Actor(index, actor, moment) => {
                    let heading = actor.way.heading;
                    match &actor.role {
                        Role::Person(look) => look.draw(&mut self.layer, place, heading, moment, seconds),
                        Role::Vehicle(body) => body.draw(&mut self.layer, place, heading[0]),
                    }
                    masks.push((index, self.canvas.compose(&self.layer, masks.len() as u16 + 1)));
                }
            }
        }
        Ok(seen(&self.canvas, &self.actors, masks))
    }
}

/// The objects with a pixel in the picture, whether hidden or not.
fn seen(canvas: &Canvas, actors: &[Actor], masks: Vec<(usize, Mask)>) -> Vec<Object> {
    let mut visible = vec![0u32; masks.len() + 1];
    for &owner in &canvas.owners {
        visible[usize::from(owner)] += 1;
    }
    let object = |(&(index, mask), &visible): (&(usize, Mask), &u32)| {
        let [left, top, right, bottom] = mask.bounds.map(|v| v as f32);
        Object {
            id: index as u32 + 1,
            kind: match actors[index].role {
                Role::Person(_) => Kind::Person,
                Role::Vehicle(_) => Kind::Vehicle,
            },
            left,
            top,
            width: right - left,
            height: bottom - top,
            visibility: visible as f32 / mask.pixels as f32,
        }
    };
    let mut objects: Vec<Object> =
        masks.iter().zip(&visible[1..]).filter(|((_, m), _)| m.inside > 0).map(object).collect();
    objects.sort_by_key(|o| o.id);
    objects
}
