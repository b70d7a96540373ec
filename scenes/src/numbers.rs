//! Random numbers and trigonometry that are the same on every machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What random numbers are drawn for: each purpose has numbers of its own, so that a change of one leaves the others as they are.
#[derive(Clone, Copy)]
pub enum Purpose {
    Street = 1,
    Traffic = 2,
    Sensor = 3,
    Frame = 4,
    Texture = 5,
}

/// Random numbers from a seed.
pub struct Random(ChaCha8Rng);

impl Random {
    /// `index`: a number below 2³² that tells apart uses for one purpose (the frame, for instance).
    pub fn new(seed: u64, purpose: Purpose, index: u32) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream((purpose as u64) << 32 | u64::from(index));
        Self(generator)
    }

    pub fn bits(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// Uniform in [0, 1).
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// Uniform between two bounds.
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// A whole number from `low` to `high`, both included.
    pub fn whole(&mut self, low: u32, high: u32) -> u32 {
        low + ((u64::from(self.bits()) * (u64::from(high - low) + 1)) >> 32) as u32
    }

    pub fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    pub fn sign(&mut self) -> f32 {
        if self.bits() & 1 == 0 { -1.0 } else { 1.0 }
    }

    /// Nearly normal, mean 0 and standard deviation 1: a sum of uniform numbers, which needs no logarithm.
    pub fn normal(&mut self) -> f32 {
        let sum: i32 = (0..4).map(|_| (self.bits() >> 16) as i32).sum();
        (sum - 131_070) as f32 * (1.732_050_8 / 65_536.0)
    }

    /// A colour as paint and cloth have it: drawn towards grey, some more than others.
    pub fn colour(&mut self, low: f32, high: f32) -> [f32; 3] {
        let c = [self.between(low, high), self.between(low, high), self.between(low, high)];
        let grey = (c[0] + c[1] + c[2]) / 3.0;
        mix3(c, [grey; 3], self.between(0.0, 0.7))
    }
}

/// A hash of a lattice point, in [0, 1): noise that needs no memory.
pub fn lattice(x: i32, y: i32, salt: u32) -> f32 {
    let mut h =
        (x as u32).wrapping_mul(0x9e37_79b1) ^ (y as u32).wrapping_mul(0x85eb_ca6b) ^ salt.wrapping_mul(0xc2b2_ae35);
    h = (h ^ h >> 15).wrapping_mul(0x2c1b_3c6d);
    h = (h ^ h >> 12).wrapping_mul(0x297a_2d39);
    ((h ^ h >> 15) >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// Smooth noise in −1 to 1: lattice values, interpolated.
pub fn noise(x: f32, y: f32, salt: u32) -> f32 {
    let (fx, fy) = (x.floor(), y.floor());
    let (ix, iy) = (fx as i32, fy as i32);
    let ease = |v: f32| v * v * (3.0 - 2.0 * v);
    let (u, v) = (ease(x - fx), ease(y - fy));
    let at = |dx, dy| lattice(ix.wrapping_add(dx), iy.wrapping_add(dy), salt);
    2.0 * mix(mix(at(0, 0), at(1, 0), u), mix(at(0, 1), at(1, 1), u), v) - 1.0
}

pub fn mix(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

pub fn mix3(a: [f32; 3], b: [f32; 3], t: f32) -> [f32; 3] {
    [mix(a[0], b[0], t), mix(a[1], b[1], t), mix(a[2], b[2], t)]
}

pub fn scale3(a: [f32; 3], t: f32) -> [f32; 3] {
    a.map(|v| v * t)
}

/// Sine of an angle in turns (1 = 360°), to 10⁻⁴, from multiplications alone.
pub fn sin_turn(turns: f32) -> f32 {
    let x = turns - (turns + 0.5).floor(); // −0.5 to 0.5
    let folded = if x > 0.25 {
        0.5 - x
    } else if x < -0.25 {
        -0.5 - x
    } else {
        x
    };
    let a = folded * std::f32::consts::TAU;
    let s = a * a;
    a * (1.0 - s * (1.0 / 6.0 - s * (1.0 / 120.0 - s * (1.0 / 5040.0))))
}

pub fn cos_turn(turns: f32) -> f32 {
    sin_turn(turns + 0.25)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sine_is_close_to_the_library_s() {
        for k in -2000..2000 {
            let t = k as f32 * 0.003;
            assert!((f64::from(sin_turn(t)) - (f64::from(t) * std::f64::consts::TAU).sin()).abs() < 2e-4, "{t}");
        }
    }

    #[test]
    fn normal_numbers_have_mean_0_and_deviation_1() {
        let mut r = Random::new(1, Purpose::Sensor, 0);
        let v: Vec<f32> = (0..100_000).map(|_| r.normal()).collect();
        let mean = v.iter().sum::<f32>() / v.len() as f32;
        let variance = v.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / v.len() as f32;
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    }

    #[test]
    fn purposes_and_indices_have_numbers_of_their_own() {
        let first = |seed, purpose, index| Random::new(seed, purpose, index).bits();
        let all = [
            first(1, Purpose::Street, 0),
            first(2, Purpose::Street, 0),
            first(1, Purpose::Traffic, 0),
            first(1, Purpose::Street, 1),
        ];
        for i in 0..all.len() {
            assert!(!all[..i].contains(&all[i]));
        }
    }
}
