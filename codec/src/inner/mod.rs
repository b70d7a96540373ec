//! Inner codecs: what turns the quantised fused tensor into bytes and back.
//!
//! Today there is one, [`native`]: it codes the planes of the fused tensor directly, with no delay. An inner codec knows
//! integers only; steps, statistics and tensors are the business of the layers above.

pub mod native;
