//! `fcm-eval tracker`: from which score on a network's boxes should begin tracks.

use super::{CacheOptions, NetworkOptions, SequenceOptions, cores, print};
use crate::accuracy::{self, Part, Thresholds};
use crate::calibration::Calibration;
use crate::chains;
use crate::evaluate::{self, Run};
use crate::sequence::Reading;
use anyhow::{Context, Result};
use serde::Serialize;
use std::fmt::Write;

/// Try thresholds of the tracker on what a network finds in uncompressed features.
///
/// The best one belongs into the network's description, and to `boxtrack` as `high-score`. Choose it on other sequences than those that are
/// reported: where it is best, small changes of scores matter least.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    sequences: SequenceOptions,
    #[command(flatten)]
    network: NetworkOptions,
    #[command(flatten)]
    cache: CacheOptions,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Measures of tracking, all sequences together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Trial {
    high: f32,
    #[serde(rename = "MOTA")]
    mota: Option<f64>,
    #[serde(rename = "IDF1")]
    idf1: Option<f64>,
    #[serde(rename = "HOTA")]
    hota: Option<f64>,
}

#[derive(Serialize)]
struct Trials {
    network: String,
    low: f32,
    trials: Vec<Trial>,
    /// The threshold of the highest MOTA, the lower one of two.
    best: Option<f32>,
}

/// Runs the command.
///
/// # Errors
/// When something cannot be read, or the network fails.
pub fn run(arguments: &Arguments) -> Result<()> {
    let network = arguments.network.network()?;
    let cache = arguments.cache.cache();
    let threads = cores();
    let prepared =
        arguments.sequences.prepare(Reading::default(), &Calibration::None, &[], &network, threads, &cache)?;
    let chain = chains::by_name("uncompressed")?;
    let runs = [Run { settings: chain.default_points(), chain }];
    let outcomes = evaluate::outcomes(&network, &prepared, &runs, threads, &cache)?;
    let detections: Vec<_> = outcomes.iter().flatten().flatten().map(|outcome| outcome.detections()).collect();
    let parts: Vec<Part<'_>> =
        prepared.iter().zip(&detections).map(|(p, detections)| Part { detections, truth: &p.sequence.truth }).collect();
    let described = network.tracker();
    let mut trials = Vec::new();
    for high in thresholds(described.low) {
        let accuracy = accuracy::measure(&parts, Thresholds { high, ..described })
            .with_context(|| format!("a threshold of {high}"))?;
        trials.push(Trial { high, mota: accuracy.mota, idf1: accuracy.idf1, hota: accuracy.hota });
    }
    let trials = Trials { network: network.name().into(), low: described.low, best: best(&trials), trials };
    print(&if arguments.json { serde_json::to_string(&trials)? } else { trials.markdown() })
}

/// Multiples of .05 from `low` to .9.
fn thresholds(low: f32) -> impl Iterator<Item = f32> {
    (1..=18u8).map(|n| f32::from(n) / 20.0).filter(move |&high| high >= low)
}

fn best(trials: &[Trial]) -> Option<f32> {
    let known = trials.iter().filter_map(|t| Some((t.mota?, t.high)));
    known.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, high)| high)
}

impl Trials {
    fn markdown(&self) -> String {
        let mut text = format!("{}, uncompressed features, low = {}\n\n", self.network, self.low);
        text += "| high | MOTA | IDF1 | HOTA |\n|---|---|---|---|\n";
        for t in &self.trials {
            let [mota, idf1, hota] =
                [t.mota, t.idf1, t.hota].map(|v| v.map_or_else(|| "–".into(), |v| format!("{v:.3}")));
            // Writing to a string cannot fail.
            let _ = writeln!(text, "| {:.2} | {mota} | {idf1} | {hota} |", t.high);
        }
        let best = self.best.map_or_else(|| "nobody to track".into(), |high| format!("best MOTA: high = {high:.2}"));
        text + "\n" + &best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_of_two_equally_good_thresholds_is_best() {
        let trial = |high, mota| Trial { high, mota, idf1: None, hota: None };
        let trials = [trial(0.3, None), trial(0.4, Some(-0.5)), trial(0.5, Some(0.25)), trial(0.6, Some(0.25))];
        assert_eq!(best(&trials), Some(0.5));
        assert_eq!(best(&trials[..1]), None);
    }

    #[test]
    fn no_threshold_lies_below_the_low_one() {
        let all: Vec<f32> = thresholds(0.15).collect();
        assert_eq!((all[0], all.len(), all[15]), (0.15, 16, 0.9));
    }
}
