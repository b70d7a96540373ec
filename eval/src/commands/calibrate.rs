//! `fcm-eval calibrate`: a transform for a split network from pictures, fitted to what its back half finds.

use super::{CacheOptions, NetworkOptions, cores, print};
use crate::calibration::{Recipe, Source, learn};
use crate::output;
use anyhow::Result;
use fcm_codec::Restoration;
use serde_json::json;
use std::path::PathBuf;

/// Learn a transform (.fcmt) for a split network from pictures, fitted to what its back half finds.
///
/// Nothing has to be labelled. The same with `--plain` needs less time and is what `fcm calibrate` makes of features.
#[derive(clap::Args)]
pub struct Arguments {
    /// Folders of pictures (img1/, or as `run` takes them) or videos, with `:n` every n-th picture of each
    #[arg(required = true, value_name = "SOURCE[:n]")]
    sources: Vec<Source>,
    #[command(flatten)]
    network: NetworkOptions,
    /// Components kept [default: 192, with --plain 640, or the dimension if that is less]
    #[arg(short = 'K', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    components: Option<u32>,
    /// Patchworks of four or nine pictures learnt from besides each picture, so that what is far away is learnt too; 0 = none
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(..=16))]
    patchworks: u32,
    /// The Karhunen–Loève transform of the features, whatever the back half makes of them
    #[arg(long)]
    plain: bool,
    /// For cameras that see what the pictures do not show: layers restored in full and components enlarged, whatever suits the pictures best
    #[arg(long)]
    unseen: bool,
    /// Transform to write
    #[arg(short, long, value_name = "T.fcmt")]
    output: PathBuf,
    #[command(flatten)]
    cache: CacheOptions,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When something cannot be read or written, or the network fails.
pub fn run(arguments: &Arguments) -> Result<()> {
    let network = arguments.network.network()?;
    let threads = cores();
    let Arguments { sources, patchworks, components, .. } = arguments;
    let restoration = arguments.unseen.then_some(Restoration::UNSEEN);
    let recipe = Recipe { sources: sources.clone(), patchworks: *patchworks, components: *components, restoration };
    let task = !arguments.plain;
    let transform = learn(&recipe, task, &network, threads, &arguments.cache.cache())?;
    output::write(&arguments.output, &transform.to_bytes())?;
    let (id, components, energy) = (transform.id().to_string(), transform.components(), transform.energy(u32::MAX));
    let restoration = transform.restoration();
    let (strength, gain) = (restoration.strength.share(), restoration.gain.factor());
    print(&if arguments.json {
        let (output, relevance) = (&arguments.output, transform.probe().is_some());
        json!({"output": output, "id": id, "components": components, "energy": energy, "task": task, "relevance": relevance, "restoration_strength": strength, "restoration_gain": gain})
            .to_string()
    } else {
        let output = arguments.output.display();
        let energy = 100.0 * energy;
        format!(
            "{output}: {id}, {components} components, {energy:.2} % of the variance, restoration strength {strength}, gain {gain}"
        )
    })
}
