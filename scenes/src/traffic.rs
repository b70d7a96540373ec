//! Who is on the street and when: persons and vehicles, each on its way from one edge of the view to another.

use crate::config::SceneConfig;
use crate::numbers::Random;
use crate::person::Look;
use crate::raster::Point;
use crate::vehicle::Body;
use crate::view::View;

/// Scale (pixels of a metre, in pictures of 288 rows) of the farthest and the nearest persons: 25 and about 125 pixels high.
const PERSON_SCALES: (f32, f32) = (14.8, 71.0);

/// A straight way over the ground, with a stop.
#[derive(Clone)]
pub struct Way {
    from: Point,
    /// Unit vector.
    pub heading: Point,
    length: f32,
    /// Metres a second.
    pub speed: f32,
    /// When it starts, in seconds of the scene; may be before its first frame.
    start: f32,
    /// After how many seconds it stops, and for how long.
    stop: (f32, f32),
}

/// A moment on a way.
#[derive(Clone, Copy)]
pub struct Moment {
    pub at: Point,
    /// Metres covered.
    pub covered: f32,
    /// Whether it stands.
    pub stands: bool,
}

impl Way {
    fn new(from: Point, to: Point, speed: f32, start: f32) -> Self {
        let (dx, dz) = (to[0] - from[0], to[1] - from[1]);
        let length = (dx * dx + dz * dz).sqrt().max(1e-3);
        Self { from, heading: [dx / length, dz / length], length, speed, start, stop: (0.0, 0.0) }
    }

    /// A place where something stays for good.
    fn parked(at: Point, towards: f32) -> Self {
        Self { from: at, heading: [towards, 0.0], length: f32::MAX, speed: 0.0, start: 0.0, stop: (0.0, 0.0) }
    }

    fn end(&self) -> f32 {
        self.start + self.length / self.speed + self.stop.1
    }

    /// Where it is, or `None` before its start and after its end.
    pub fn moment(&self, seconds: f32) -> Option<Moment> {
        if self.speed == 0.0 {
            return Some(Moment { at: self.from, covered: 0.0, stands: true });
        }
        let t = seconds - self.start;
        let stood = (t - self.stop.0).clamp(0.0, self.stop.1);
        let covered = self.speed * (t - stood);
        let at = [self.from[0] + covered * self.heading[0], self.from[1] + covered * self.heading[1]];
        (covered >= 0.0 && covered <= self.length).then_some(Moment {
            at,
            covered,
            stands: stood > 0.0 && stood < self.stop.1,
        })
    }
}

/// What an actor looks like.
#[derive(Clone)]
pub enum Role {
    Person(Look),
    Vehicle(Body),
}

/// Somebody or something that moves, or could.
#[derive(Clone)]
pub struct Actor {
    pub role: Role,
    pub way: Way,
}

impl Actor {
    /// Metres from the middle to the side, at most.
    pub fn half_width(&self) -> f32 {
        match &self.role {
            Role::Person(look) => 0.5 * look.height,
            Role::Vehicle(body) => 0.6 * body.length,
        }
    }
}

/// The road: scales of its far and its near edge.
#[derive(Clone, Copy)]
pub struct Road {
    pub far: f32,
    pub near: f32,
}

impl Road {
    pub fn new(view: &View, r: &mut Random) -> Self {
        let far = if r.chance(0.2) { r.between(26.0, 32.0) } else { r.between(17.5, 21.0) };
        Self { far: view.scaled(far), near: view.scaled(far * r.between(1.45, 1.75)) }
    }

    /// Scale of a lane: 0 = the far edge, 1 = the near edge, even steps on the ground.
    pub fn lane(&self, share: f32) -> f32 {
        1.0 / ((1.0 - share) / self.far + share / self.near)
    }
}

/// All actors of a scene, in the order of their identities.
pub fn actors(config: &SceneConfig, view: &View, road: Road, r: &mut Random) -> Vec<Actor> {
    let length = config.frames as f32 / config.rate as f32;
    let mut all = Vec::new();
    let many = r.whole(config.persons.0, config.persons.1);
    let mut placed = 0;
    while placed < many {
        let members = if r.chance(0.25) { r.whole(2, 3).min(many - placed) } else { 1 };
        placed += members;
        walkers(view, road, length, members, r, &mut all);
    }
    for (lane, towards) in [(0.3, -1.0), (0.78, 1.0)] {
        lane_of_vehicles(view, road.lane(lane), towards, length, r, &mut all);
    }
    parked_vehicles(view, road, r, &mut all);
    all
}

/// The scale at which somebody walks: the far pavement, the near one, or the road.
fn person_scale(view: &View, road: Road, r: &mut Random) -> f32 {
    let nearest = ((view.height * 1.03 - view.horizon) / view.eye).min(view.scaled(PERSON_SCALES.1));
    let farthest = view.scaled(PERSON_SCALES.0);
    let u = r.unit();
    match r.unit() {
        p if p < 0.3 => r.between(farthest, road.far),
        p if p < 0.88 => road.near + (nearest - road.near) * u * (0.55 + 0.45 * u),
        _ => r.between(road.far, road.near),
    }
}

/// A person or a group, and those who follow when it has left, until the scene ends.
fn walkers(view: &View, road: Road, length: f32, members: u32, r: &mut Random, all: &mut Vec<Actor>) {
    let margin = |scale: f32| 0.45 * scale + view.reach().0 + 2.0;
    let column = |side: f32, scale: f32| view.width / 2.0 + side * (view.width / 2.0 + margin(scale));
    let mut start = None;
    loop {
        let first = person_scale(view, road, r);
        let straight = r.chance(0.6);
        let last = if straight { first * r.between(0.9, 1.1) } else { person_scale(view, road, r) };
        let side = r.sign();
        let back = !straight && r.chance(0.2);
        let (from, to) =
            (view.ground(column(side, first), first), view.ground(column(if back { side } else { -side }, last), last));
        let speed = if r.chance(0.07) { r.between(2.4, 3.4) } else { r.between(0.7, 1.8) };
        let mut way = Way::new(from, to, speed, 0.0);
        let walk = way.length / speed;
        if r.chance(0.3) {
            way.stop = (walk * r.between(0.15, 0.85), r.between(3.0, 25.0));
        }
        // The first ones are somewhere on their way when the scene begins; a stop makes it likelier that it is there.
        way.start = start.unwrap_or_else(|| -(walk + way.stop.1) * r.between(0.02, 0.95));
        for k in 0..members {
            let mut own = way.clone();
            if k > 0 {
                let beside = 0.55 * k as f32 + r.between(-0.1, 0.15);
                own.from[0] += r.between(-0.5, 0.5);
                own.from[1] += beside * if k % 2 == 0 { 1.0 } else { -1.0 };
            }
            all.push(Actor { role: Role::Person(Look::new(r)), way: own });
        }
        let next = way.end() + r.between(0.0, 1.5);
        if next > length {
            return;
        }
        start = Some(next);
    }
}

fn lane_of_vehicles(view: &View, scale: f32, towards: f32, length: f32, r: &mut Random, all: &mut Vec<Actor>) {
    let speed = r.between(2.0, 8.0);
    let edge = (view.width / 2.0 + view.reach().0) / scale + 4.0;
    let z = view.ground(0.0, scale)[1];
    let mut start = -2.0 * edge / speed + r.between(0.0, 8.0) / speed;
    while start < length {
        let body = Body::new(r);
        let occupied = body.length + r.between(2.5, 16.0);
        all.push(Actor {
            role: Role::Vehicle(body),
            way: Way::new([-towards * edge, z], [towards * edge, z], speed, start),
        });
        start += occupied / speed;
    }
}

fn parked_vehicles(view: &View, road: Road, r: &mut Random, all: &mut Vec<Actor>) {
    for (share, towards, chance) in [(0.02, -1.0, 0.55), (0.99, 1.0, 0.3)] {
        let scale = road.lane(share);
        if r.chance(chance) {
            let at = view.ground(view.width * r.between(0.05, 0.95), scale);
            all.push(Actor { role: Role::Vehicle(Body::new(r)), way: Way::parked(at, towards) });
        }
    }
}
