//! What the choice of levels promises, measured with the coder itself.

use super::RateDistortion;
use crate::inner::native::planes::{BACKGROUND, Levels, PlaneCoder};
use crate::inner::native::range_coder::Meter;
use crate::inner::native::tables::Syntax;
use crate::quantiser::{Quantiser, Steps, step};

const SYNTAX: Syntax = Syntax { regions: 1, grouped: true, independent: true, motion: false };
const WIDTH: usize = 12;
const HEIGHT: usize = 7;
const K: usize = 90;
const QP: u8 = 12;

fn coder() -> PlaneCoder {
    PlaneCoder::new(K, HEIGHT, WIDTH, SYNTAX, u64::MAX)
}

fn quantiser(lambda: f32) -> Quantiser {
    let chooser = RateDistortion::new(lambda, coder().costs(), K, WIDTH * HEIGHT, WIDTH);
    Quantiser::new(K, (HEIGHT, WIDTH), (lambda > 0.0).then_some(chooser), false, Vec::new())
}

/// Components that fall with their index, stronger in the middle of the grid; in steps of [`QP`].
fn planes(seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let unit = step(QP) as f32 / 1024.0;
    let strength = |c: usize, p: usize| if (4..8).contains(&(p % WIDTH)) { 9.0 } else { 2.0 } / (c as f32 + 1.0).sqrt();
    let values = (0..K * WIDTH * HEIGHT).map(|i| {
        let laplacian: f32 = (0..4).map(|_| random()).sum::<f32>() * random().abs() * 4.0;
        laplacian * strength(i / (WIDTH * HEIGHT), i % (WIDTH * HEIGHT)) * unit
    });
    values.collect()
}

/// Squared error in squared steps of a random access frame, and bits as the coder makes them.
fn measure(lambda: f32, planes: &[f32]) -> (f64, f64) {
    let (mut quantiser, mut coder, mut levels) = (quantiser(lambda), coder(), Levels::new(K, HEIGHT, WIDTH));
    quantiser.quantise(planes, 1.0, Some(Steps::new(QP, 0)), true, &mut levels);
    let error = |(&r, &v): (&i32, &f32)| ((f64::from(r) - f64::from(v) * 1024.0) / f64::from(step(QP))).powi(2);
    let error = quantiser.reconstruction().iter().zip(planes).map(error).sum();
    let mut meter = Meter::default();
    coder.begin(true);
    coder.code_positions(&mut meter, &mut levels, true, false);
    (0..coder.groups()).for_each(|group| coder.code_group(&mut meter, &mut levels, group).unwrap());
    (error, meter.bits)
}

#[test]
fn what_is_minimised_is_less_than_with_rounding_and_bits_fall_with_their_price() {
    for strength in [1.0, 0.5, 0.25] {
        let planes: Vec<f32> = planes(1).iter().map(|v| v * strength).collect();
        let (error, bits) = measure(0.0, &planes);
        let mut before = f64::INFINITY;
        for lambda in [0.02, 0.1, 0.3] {
            let (chosen_error, chosen_bits) = measure(lambda, &planes);
            let (rounded, chosen) = (error + f64::from(lambda) * bits, chosen_error + f64::from(lambda) * chosen_bits);
            assert!(chosen < rounded, "strength {strength}, {lambda}: {chosen}, rounded {rounded}");
            assert!(chosen_bits < before, "strength {strength}, {lambda}: {chosen_bits} bits");
            before = chosen_bits;
        }
    }
}

#[test]
fn bits_that_are_all_but_free_buy_the_nearest_levels() {
    let planes = planes(3);
    let (mut quantiser, mut levels) = (quantiser(1e-6), Levels::new(K, HEIGHT, WIDTH));
    quantiser.quantise(&planes, 1.0, Some(Steps::new(QP, 0)), true, &mut levels);
    for (&r, &v) in quantiser.reconstruction().iter().zip(&planes) {
        let rest = (r as f32 - v * 1024.0) / step(QP) as f32;
        assert!(rest.abs() < 0.501, "{rest} steps");
    }
}

#[test]
fn a_level_is_the_nearest_or_none_whatever_bits_cost() {
    let planes = planes(5);
    let (mut quantiser, mut levels) = (quantiser(0.3), Levels::new(K, HEIGHT, WIDTH));
    quantiser.quantise(&planes, 1.0, Some(Steps::new(QP, 0)), true, &mut levels);
    let nearest = |v: &f32| (v * 1024.0 / step(QP) as f32).round() as i32;
    let (large, none): (Vec<_>, Vec<_>) = levels.levels.iter().zip(&planes).partition(|&(&l, _)| l != 0);
    assert!(large.iter().all(|&(&l, v)| l == nearest(v)));
    assert!(large.iter().any(|&(&l, _)| l.abs() > 1) && none.iter().any(|&(_, v)| nearest(v) != 0));
}

#[test]
fn a_position_with_nothing_worth_its_bits_becomes_empty_and_a_strong_one_stays() {
    let unit = step(QP) as f32 / 1024.0;
    let mut planes = vec![0.0; K * WIDTH * HEIGHT];
    // Level 1 by rounding, far down in a position of its own; and something worth a lot.
    (planes[80 * WIDTH * HEIGHT + 30], planes[2 * WIDTH * HEIGHT + 50]) = (0.9 * unit, 7.8 * unit);
    let mut levels = Levels::new(K, HEIGHT, WIDTH);
    quantiser(0.0).quantise(&planes, 1.0, Some(Steps::new(QP, 0)), true, &mut levels);
    assert_eq!((levels.levels[80 * WIDTH * HEIGHT + 30], levels.levels[2 * WIDTH * HEIGHT + 50]), (1, 8));
    quantiser(0.1).quantise(&planes, 1.0, Some(Steps::new(QP, 0)), true, &mut levels);
    assert_eq!((levels.levels[80 * WIDTH * HEIGHT + 30], levels.levels[2 * WIDTH * HEIGHT + 50]), (0, 8));
    assert_eq!(levels.levels.iter().filter(|&&l| l != 0).count(), 1);
}

#[test]
fn the_background_is_weighed_in_its_own_steps() {
    let unit = step(QP) as f32 / 1024.0;
    let mut planes = vec![0.0; K * WIDTH * HEIGHT];
    (planes[10], planes[40]) = (12.0 * unit, 12.0 * unit);
    let mut levels = Levels::new(K, HEIGHT, WIDTH);
    levels.relevance[40] = BACKGROUND;
    let mut quantiser = quantiser(0.1);
    quantiser.quantise(&planes, 1.0, Some(Steps::new(QP, 6)), true, &mut levels);
    assert_eq!((levels.levels[10], levels.levels[40]), (12, 6));
    assert_eq!((quantiser.reconstruction()[10], quantiser.reconstruction()[40]), (12 * step(QP), 6 * step(QP + 6)));
}
