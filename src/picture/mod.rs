//! What the elements of the picture family share: caps of pictures and of coded video, and what must be known of a picture on its way past a
//! video encoder or decoder.
//!
//! Video elements pass serialized events on, each before the picture that followed it, whatever they do with the order, the times
//! and the metas of buffers. So what is known of a picture goes ahead of it as an event that names its running time.

pub mod beside;
pub mod formats;
pub mod video;
