//! GStreamer elements for Feature Coding for Machines.
//!
//! Registration and the list of modules; the elements translate between GStreamer and the crates `fcm_codec` and
//! `fcm_analytics`, which do the work. Media types and promises: docs/caps.md.
#![forbid(unsafe_code)]
// The element pages of gst-inspect and of the documentation are doc comments that rustdoc does not know.
#![allow(unused_doc_comments)]

pub mod boxes;
pub mod boxoverlay;
pub mod boxtrack;
pub mod caps;
mod coding_element;
mod error;
pub mod fcmdec;
pub mod fcmdemux;
pub mod fcmenc;
pub mod fcmmux;
pub mod fcmpack;
pub mod fcmparse;
pub mod fcmqueue;
pub mod fcmunpack;
pub mod fcmvideodec;
pub mod fcmvideoenc;
mod force_key_unit;
mod inference;
mod picture;
mod properties;
pub mod rtp;
pub mod rtpfcmdepay;
pub mod rtpfcmpay;
pub mod statistics_meta;
mod tensor_io;
pub mod tensordetect;
#[cfg(feature = "infer")]
pub mod tensorinfer;
mod transform_files;
mod typefind;
mod warnings;

use gst::glib;

fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    statistics_meta::register();
    fcmenc::register(plugin)?;
    fcmdec::register(plugin)?;
    fcmparse::register(plugin)?;
    fcmqueue::register(plugin)?;
    fcmpack::register(plugin)?;
    fcmmux::register(plugin)?;
    fcmdemux::register(plugin)?;
    fcmunpack::register(plugin)?;
    fcmvideoenc::register(plugin)?;
    fcmvideodec::register(plugin)?;
    rtpfcmpay::register(plugin)?;
    rtpfcmdepay::register(plugin)?;
    tensordetect::register(plugin)?;
    boxtrack::register(plugin)?;
    boxoverlay::register(plugin)?;
    #[cfg(feature = "infer")]
    tensorinfer::register(plugin)?;
    typefind::register(plugin)
}

gst::plugin_define!(
    fcm,
    env!("CARGO_PKG_DESCRIPTION"),
    plugin_init,
    concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")),
    "MIT/X11",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    env!("BUILD_REL_DATE")
);
