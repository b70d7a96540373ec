//! Rendered street scenes with ground truth: people walk and stand in groups, vehicles drive and park, they hide each other and
//! pass behind posts and trees, under a camera that may shake or turn, changing light and sensor noise.
//!
//! Everything comes from a seed; no picture of the real world is used. [`Scene::frame`] draws any frame in any order.
//!
//! **What is promised:** the same seed and [`SceneConfig`] give the same pixels and boxes on every machine with IEEE 754
//! arithmetic. Only additions, multiplications, divisions and square roots are used, whose results that standard fixes; sines
//! are computed from these. A new version of this crate may draw differently; files compressed with JPEG depend on the encoder too.
//!
//! ```
//! let mut scene = fcm_scenes::Scene::new(7, fcm_scenes::SceneConfig::default())?;
//! let mut picture = vec![0; scene.config().picture_bytes()];
//! let objects = scene.frame(0, &mut picture)?;
//! assert!(objects.iter().any(|o| o.kind == fcm_scenes::Kind::Person));
//! # Ok::<(), fcm_scenes::SceneError>(())
//! ```
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod background;
mod config;
mod furniture;
mod numbers;
mod person;
mod raster;
mod scene;
mod sensor;
mod traffic;
mod vehicle;
mod view;

pub use config::{Camera, SceneConfig, SceneError};
pub use scene::{Kind, MIN_VISIBILITY, Object, Scene};
