//! `GstFcmStatisticsMeta`: the statistics of a frame on its buffer (docs/caps.md, "Statistics meta").
//!
//! A GStreamer custom meta, so that any language reads it without this plugin's headers. It is copied with the buffer.

use fcm_codec::{FrameStatistics, Layout, MeanStd};
use gst::buffer::BufferMetaForeachAction;
use gst::meta::CustomMeta;
use std::ops::ControlFlow;
use std::sync::Once;

/// Name of the meta.
pub const NAME: &str = "GstFcmStatisticsMeta";
/// Caps feature of raw caps whose buffers all carry the meta.
pub const FEATURE: &str = "meta:GstFcmStatisticsMeta";

/// Content of the meta.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// Names of the layers in order; empty for unnamed ones.
    pub names: Vec<String>,
    /// Mean and standard deviation of every layer and of the fused tensor.
    pub values: FrameStatistics,
    /// Whether the access unit of the frame carried statistics.
    pub refreshed: bool,
}

/// Makes the meta known to GStreamer. Any number of calls.
pub fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Another copy of this plugin in the process may have been faster; registering twice is an error of GLib.
        if !CustomMeta::is_registered(NAME) {
            CustomMeta::register(NAME, &[]);
        }
    });
}

/// Puts the statistics of a frame on its buffer, in place of any that it has.
pub fn attach(buffer: &mut gst::BufferRef, layout: &Layout, statistics: &FrameStatistics, refreshed: bool) {
    remove(buffer);
    let names = gst::Array::new(layout.layers().iter().map(|layer| layer.name.as_str()));
    let means = gst::Array::new(statistics.layers.iter().map(|s| s.mean));
    let deviations = gst::Array::new(statistics.layers.iter().map(|s| s.std_dev));
    // Fails only for an unregistered meta, and the plugin registers it before any element exists.
    if let Ok(mut meta) = CustomMeta::add(buffer, NAME) {
        let structure = meta.mut_structure();
        structure.set("layers", names);
        structure.set("means", means);
        structure.set("std-devs", deviations);
        structure.set("fused-mean", statistics.fused.mean);
        structure.set("fused-std-dev", statistics.fused.std_dev);
        structure.set("refreshed", refreshed);
    }
}

/// Notes in the statistics of a decoded frame how many frames, up to this one, are not exactly what was coded; 0 = this one is.
pub fn note_damage(buffer: &mut gst::BufferRef, frames: u32) {
    if let Ok(mut meta) = CustomMeta::from_mut_buffer(buffer, NAME) {
        meta.mut_structure().set("frames-since-exact", frames);
    }
}

/// How many frames up to this one are not exactly what was coded; `None` on a buffer that no decoder sent.
pub fn damage(buffer: &gst::BufferRef) -> Option<u32> {
    CustomMeta::from_buffer(buffer, NAME).ok()?.structure().get("frames-since-exact").ok()
}

/// Takes the meta off a buffer, if it is there.
pub fn remove(buffer: &mut gst::BufferRef) {
    buffer.foreach_meta_mut(|meta| {
        let ours = meta.try_as_custom_meta().is_some_and(|meta| meta.has_name(NAME));
        ControlFlow::Continue(if ours { BufferMetaForeachAction::Remove } else { BufferMetaForeachAction::Keep })
    });
}

/// The statistics on a buffer.
pub fn get(buffer: &gst::BufferRef) -> Option<Statistics> {
    let meta = CustomMeta::from_buffer(buffer, NAME).ok()?;
    let structure = meta.structure();
    let numbers = |field: &str| -> Option<Vec<f64>> {
        structure.get::<gst::Array>(field).ok()?.iter().map(|v| v.get::<f64>().ok()).collect()
    };
    let names = structure.get::<gst::Array>("layers").ok()?;
    let layers = numbers("means")?
        .into_iter()
        .zip(numbers("std-devs")?)
        .map(|(mean, std_dev)| MeanStd { mean, std_dev })
        .collect();
    let fused = MeanStd { mean: structure.get("fused-mean").ok()?, std_dev: structure.get("fused-std-dev").ok()? };
    Some(Statistics {
        names: names.iter().map(|v| v.get::<String>().ok()).collect::<Option<_>>()?,
        values: FrameStatistics { layers, fused },
        refreshed: structure.get("refreshed").ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fcm_codec::{Dtype, Layer, Limits, Shape};

    fn example() -> (Layout, FrameStatistics) {
        let layers =
            vec![Layer::new("p3", Shape::chw(2, 3, 4), Dtype::F32), Layer::new("", Shape::vector(5), Dtype::F16)];
        let statistics = FrameStatistics {
            layers: vec![MeanStd { mean: 0.5, std_dev: 2.0 }, MeanStd { mean: -1.25, std_dev: 0.0 }],
            fused: MeanStd { mean: 0.125, std_dev: 3.0 },
        };
        (Layout::new(layers, &Limits::default()).unwrap(), statistics)
    }

    #[test]
    fn statistics_survive_on_the_buffer_and_its_copy() {
        gst::init().unwrap();
        register();
        register();
        let (layout, values) = example();
        let mut buffer = gst::Buffer::with_size(4).unwrap();
        attach(buffer.get_mut().unwrap(), &layout, &values, true);
        let expected = Statistics { names: vec!["p3".into(), String::new()], values, refreshed: true };
        assert_eq!(get(&buffer).as_ref(), Some(&expected));
        assert_eq!(get(&buffer.copy()).as_ref(), Some(&expected));
    }

    #[test]
    fn a_second_set_replaces_the_first() {
        gst::init().unwrap();
        register();
        let (layout, mut values) = example();
        let mut buffer = gst::Buffer::new();
        attach(buffer.get_mut().unwrap(), &layout, &values, true);
        values.fused.mean = 7.0;
        attach(buffer.get_mut().unwrap(), &layout, &values, false);
        assert_eq!(buffer.iter_meta::<gst::Meta>().count(), 1);
        let read = get(&buffer).unwrap();
        assert_eq!((read.values.fused.mean, read.refreshed), (7.0, false));
        remove(buffer.get_mut().unwrap());
        assert_eq!(get(&buffer), None);
    }
}
