//! Tests of the `fcm` command as its users run it.

mod bad_input;
mod common;
mod roundtrip;
