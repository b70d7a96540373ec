//! Tests of the `fcm` command as its users run it.

mod bad_input;
mod common;
mod learned;
#[path = "../../../infer/tests/common/mod.rs"]
mod onnx;
mod roundtrip;
