//! What a scene promises to those who train on it and measure with it.

use fcm_scenes::{Camera, Kind, MIN_VISIBILITY, Object, Scene, SceneConfig, SceneError};
use std::collections::HashMap;

fn config() -> SceneConfig {
    SceneConfig { frames: 200, ..SceneConfig::default() }
}

fn draw(seed: u64, config: &SceneConfig, frame: u32) -> (Vec<u8>, Vec<Object>) {
    let mut scene = Scene::new(seed, config.clone()).unwrap();
    let mut picture = vec![0; config.picture_bytes()];
    let objects = scene.frame(frame, &mut picture).unwrap();
    (picture, objects)
}

#[test]
fn the_same_seed_gives_the_same_pixels_and_boxes() {
    for camera in [Camera::Still, Camera::Shake, Camera::Pan] {
        let config = SceneConfig { camera: Some(camera), ..config() };
        assert!(draw(3, &config, 40) == draw(3, &config, 40), "{camera:?}");
    }
}

#[test]
fn frames_do_not_depend_on_the_order_they_are_drawn_in() {
    let mut scene = Scene::new(5, config()).unwrap();
    let mut picture = vec![0; scene.config().picture_bytes()];
    for frame in [90, 2, 150, 33] {
        let objects = scene.frame(frame, &mut picture).unwrap();
        assert!((picture.clone(), objects) == draw(5, &config(), frame), "frame {frame}");
    }
}

#[test]
fn different_seeds_and_different_frames_differ() {
    let (a, boxes_a) = draw(1, &config(), 0);
    let (b, boxes_b) = draw(2, &config(), 0);
    let far = a.iter().zip(&b).filter(|(a, b)| a.abs_diff(**b) > 16).count();
    assert!(far > a.len() / 3, "{far} of {} bytes", a.len());
    assert_ne!(boxes_a, boxes_b);
    assert_ne!(boxes_a, draw(1, &config(), 1).1);
}

#[test]
fn objects_without_a_picture_are_those_of_the_picture() {
    let mut scene = Scene::new(4, config()).unwrap();
    assert_eq!(scene.objects(77).unwrap(), draw(4, &config(), 77).1);
}

#[test]
fn boxes_are_clipped_to_the_picture_and_hold_the_person() {
    let config = config();
    for seed in 1..6 {
        for o in draw(seed, &config, 10).1 {
            assert!(o.left >= 0.0 && o.top >= 0.0 && o.width >= 1.0 && o.height >= 1.0, "{o:?}");
            assert!(o.left + o.width <= config.width as f32 && o.top + o.height <= config.height as f32, "{o:?}");
            assert!((0.0..=1.0).contains(&o.visibility), "{o:?}");
        }
    }
}

/// Under a still camera nothing but objects and their shadows moves: what changes between two frames lies in a box of one of them.
#[test]
fn boxes_contain_the_pixels_that_move() {
    let config = SceneConfig { camera: Some(Camera::Still), ..config() };
    let (width, height) = (config.width as i32, config.height as i32);
    let (mut inside, mut outside) = (0u32, 0u32);
    for seed in 30..36 {
        let ((a, boxes_a), (b, boxes_b)) = (draw(seed, &config, 50), draw(seed, &config, 53));
        let covered = |x: i32, y: i32| {
            // Three pixels for the soft edge, the blur, and the shadow at the feet.
            boxes_a.iter().chain(&boxes_b).any(|o| {
                let (x, y) = (x as f32 + 0.5, y as f32 + 0.5);
                x > o.left - 3.0
                    && x < o.left + o.width + 3.0
                    && y > o.top - 3.0
                    && y < o.top + o.height + 3.0 + 0.06 * o.height
            })
        };
        for y in 0..height {
            for x in 0..width {
                let at = 3 * (y * width + x) as usize;
                let change: u32 = (0..3).map(|k| u32::from(a[at + k].abs_diff(b[at + k]))).sum();
                // More than noise and the light make.
                if change > 120 {
                    *if covered(x, y) { &mut inside } else { &mut outside } += 1;
                }
            }
        }
    }
    assert!(inside > 2000, "{inside}");
    assert!(outside * 500 < inside, "{outside} outside, {inside} inside");
}

#[test]
fn ids_stay_with_their_objects() {
    let config = config();
    for seed in 1..5 {
        let mut scene = Scene::new(seed, SceneConfig { camera: Some(Camera::Still), ..config.clone() }).unwrap();
        let mut last: HashMap<u32, Object> = HashMap::new();
        let mut kept = 0;
        for frame in 0..60 {
            let now = scene.objects(frame).unwrap();
            for o in &now {
                let Some(before) = last.get(&o.id) else { continue };
                assert_eq!(before.kind, o.kind);
                // Feet move by the way walked, and limbs change the box: a quarter of the height in a 25th of a second is plenty.
                let moved = (o.left + o.width / 2.0 - before.left - before.width / 2.0).abs();
                assert!(moved < 6.0 + 0.25 * o.height, "id {} moved {moved} in frame {frame} of seed {seed}", o.id);
                kept += 1;
            }
            last = now.into_iter().map(|o| (o.id, o)).collect();
        }
        assert!(kept > 300, "{kept}");
    }
}

#[test]
fn ids_are_unique_within_a_frame_and_not_used_again() {
    let config = SceneConfig { frames: 600, ..config() };
    let mut scene = Scene::new(9, config).unwrap();
    let mut gone: HashMap<u32, u32> = HashMap::new();
    for frame in (0..600).step_by(20) {
        let ids: Vec<u32> = scene.objects(frame).unwrap().iter().map(|o| o.id).collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        for id in ids {
            let seen = gone.insert(id, frame);
            // A way is walked once: with a still or moving camera nobody is out of sight for ten seconds and back.
            assert!(seen.is_none_or(|f| frame - f < 250), "id {id} came back");
        }
    }
    assert!(gone.len() > 20, "{} actors in 24 s", gone.len());
}

#[test]
fn the_hidden_are_marked_and_the_others_are_not() {
    let (mut hidden, mut full, mut some) = (0, 0, 0);
    for seed in 1..12 {
        for o in draw(seed, &config(), 60).1 {
            assert_eq!(o.counts(), o.visibility >= MIN_VISIBILITY);
            hidden += u32::from(!o.counts());
            full += u32::from(o.visibility == 1.0);
            some += u32::from(o.counts() && o.visibility < 0.9);
        }
    }
    assert!(hidden > 5 && full > 20 && some > 20, "{hidden} {full} {some}");
}

#[test]
fn streets_are_crowded_with_persons_of_the_promised_sizes() {
    let (mut persons, mut vehicles, mut heights) = (0, 0, Vec::new());
    for seed in 1..21 {
        for o in draw(seed, &config(), 30).1.iter().filter(|o| o.counts()) {
            match o.kind {
                Kind::Person => {
                    persons += 1;
                    if o.visibility == 1.0 {
                        heights.push(o.height);
                    }
                }
                Kind::Vehicle => vehicles += 1,
            }
        }
    }
    assert!((8 * 20..16 * 20).contains(&persons), "{persons}");
    assert!((2 * 20..6 * 20).contains(&vehicles), "{vehicles}");
    // Children are smaller than the 25 pixels of the farthest grown-up.
    assert!(heights.iter().all(|h| (15.0..=140.0).contains(h)), "{heights:?}");
    assert!(heights.iter().any(|h| *h > 80.0) && heights.iter().any(|h| *h < 32.0));
}

#[test]
fn other_sizes_show_the_same_street() {
    let half = SceneConfig { width: 256, height: 144, camera: Some(Camera::Still), ..config() };
    let whole = SceneConfig { camera: Some(Camera::Still), ..config() };
    let (small, large) = (draw(6, &half, 20).1, draw(6, &whole, 20).1);
    let mut compared = 0;
    for o in &small {
        if let Some(big) = large.iter().find(|b| b.id == o.id && b.visibility == 1.0 && b.height > 40.0) {
            assert!(
                (big.height / o.height - 2.0).abs() < 0.2 && (big.left - 2.0 * o.left).abs() < 6.0,
                "{o:?} {big:?}"
            );
            compared += 1;
        }
    }
    assert!(compared >= 3, "{compared}");
}

#[test]
fn what_cannot_be_drawn_is_refused_by_name() {
    let refused = |change: fn(&mut SceneConfig)| {
        let mut c = SceneConfig::default();
        change(&mut c);
        Scene::new(1, c).err().expect("must be refused").to_string()
    };
    assert_eq!(refused(|c| c.width = 5000), "width is 5000, must be 64 to 4096");
    assert_eq!(refused(|c| c.height = 0), "height is 0, must be 64 to 4096");
    assert_eq!(refused(|c| c.frames = 0), "number of frames is 0, must be 1 to 1000000");
    assert_eq!(refused(|c| c.rate = 0), "frame rate is 0, must be 1 to 240");
    assert_eq!(refused(|c| c.persons = (9, 3)), "fewest persons is 9, must be 1 to 3");
    let mut scene = Scene::new(1, SceneConfig::default()).unwrap();
    assert_eq!(scene.objects(100), Err(SceneError::NoSuchFrame { frame: 100, frames: 100 }));
    assert_eq!(scene.frame(0, &mut [0; 3]), Err(SceneError::WrongBuffer { expected: 442_368, actual: 3 }));
}
