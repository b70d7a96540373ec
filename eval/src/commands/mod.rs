//! The subcommands, and the options that several have.

pub mod calibrate;
pub mod compare;
pub mod features;
pub mod run;
pub mod tracker;

use crate::cache::Cache;
use crate::calibration::Calibration;
use crate::chains::Wanted;
use crate::evaluate::Prepared;
use crate::network::{Description, Network};
use crate::sequence::{Reading, Sequence};
use anyhow::{Result, bail};
use std::io::Write;
use std::path::PathBuf;

/// Where measuring data are, unless the variable FCM_DATA says otherwise.
const DATA: &str = "../shared/data";

/// Which network.
#[derive(clap::Args)]
pub struct NetworkOptions {
    /// Description of the network (.toml, .json): files, pictures, head; see docs/evaluation.md
    #[arg(long, value_name = "FILE", required_unless_present_any = ["front", "model"], conflicts_with_all = ["front", "model"])]
    network: Option<PathBuf>,
    /// Model of the front half, instead of a description; the network is one like YOLOX then
    #[arg(long, value_name = "FRONT.onnx", requires = "back", conflicts_with = "model")]
    front: Option<PathBuf>,
    /// Model of the back half
    #[arg(long, value_name = "BACK.onnx", requires = "front")]
    back: Option<PathBuf>,
    /// Whole model, to be cut at --cut
    #[arg(long, value_name = "WHOLE.onnx", requires = "cut")]
    model: Option<PathBuf>,
    /// Tensors to cut the whole model at
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', requires = "model")]
    cut: Vec<String>,
    /// Folder of model files, looked into after that of the description [default: $FCM_DATA/models, ../shared/data/models]
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
    /// Shared library of ONNX Runtime [default: it is looked for, see docs/inference.md]
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
}

impl NetworkOptions {
    /// The network that was asked for.
    ///
    /// # Errors
    /// When its description or a file of it is missing.
    pub fn network(&self) -> Result<Network> {
        let mut folders: Vec<PathBuf> = self.models.iter().cloned().collect();
        folders.extend(std::env::var_os("FCM_DATA").map(|data| PathBuf::from(data).join("models")));
        folders.push(PathBuf::from(DATA).join("models"));
        if let Some(path) = &self.network {
            return Network::read(path, &folders, self.library.clone());
        }
        let Some(first) = self.front.as_ref().or(self.model.as_ref()) else { bail!("no network was named") };
        let name = first.file_stem().unwrap_or(first.as_os_str()).to_string_lossy();
        let description = Description {
            name: name.into_owned(),
            front: self.front.clone(),
            back: self.back.clone(),
            model: self.model.clone(),
            cut: self.cut.clone(),
            picture: Default::default(),
            head: Default::default(),
            tracker: Default::default(),
        };
        folders.insert(0, PathBuf::new());
        Network::new(description, &folders, self.library.clone())
    }
}

/// Which sequences.
#[derive(clap::Args)]
pub struct SequenceOptions {
    /// Sequences: folders with seqinfo.ini, img1/ and, where it is needed, gt/gt.txt
    #[arg(required = true, value_name = "SEQUENCE")]
    sequences: Vec<PathBuf>,
    /// Use the first N frames of each sequence
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    frames: Option<u32>,
}

impl SequenceOptions {
    /// All of them with their features, and the transforms that are `wanted`.
    ///
    /// # Errors
    /// When one cannot be read, or the network fails.
    fn prepare(
        &self,
        reading: Reading,
        calibration: &Calibration,
        wanted: &[Wanted],
        network: &Network,
        threads: usize,
        cache: &Cache,
    ) -> Result<Vec<Prepared>> {
        let frames = self.frames.map(|n| n as usize);
        // All are opened first, so that a wrong one is named before the long work begins.
        let sequences: Result<Vec<Sequence>> =
            self.sequences.iter().map(|folder| Sequence::open(folder, frames, reading)).collect();
        let prepare = |(sequence, folder): (Sequence, &PathBuf)| {
            let calibrated = calibration.get(folder, wanted, network, threads, cache)?;
            Prepared::new(sequence, calibrated, network, threads, cache)
        };
        sequences?.into_iter().zip(&self.sequences).map(prepare).collect()
    }
}

/// Threads that pay: one for each core.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Where results are kept.
#[derive(clap::Args)]
pub struct CacheOptions {
    /// Folder of results, features and transforms that are kept for the next run
    #[arg(long, value_name = "DIR", default_value = ".cache/fcm-eval")]
    cache: PathBuf,
}

impl CacheOptions {
    /// The cache.
    pub fn cache(&self) -> Cache {
        Cache::new(&self.cache)
    }
}

/// Prints on standard output, nothing else does. A reader that went away is no error.
///
/// # Errors
/// When it cannot be written to.
fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    let written = writeln!(stdout, "{}", text.trim_end()).and_then(|()| stdout.flush());
    match written {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}

/// The command line, with nothing but the last part of every path.
fn command_line() -> String {
    let arguments = std::env::args().skip(1).map(|a| without_paths(&a));
    std::iter::once("fcm-eval".to_owned()).chain(arguments).collect::<Vec<_>>().join(" ")
}

fn without_paths(argument: &str) -> String {
    let (option, value) = match argument.split_once('=') {
        Some((option, value)) if option.starts_with("--") => (format!("{option}="), value),
        _ => (String::new(), argument),
    };
    let last = value.trim_end_matches('/').rsplit('/').next().unwrap_or(value);
    format!("{option}{last}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn reports_name_no_paths() {
        let cases = [
            ("run", "run"),
            ("/a/b/TUD-Campus/", "TUD-Campus"),
            ("../x/TUD-Campus:2", "TUD-Campus:2"),
            ("--network=/a/n.toml", "--network=n.toml"),
            ("fcm=26,29", "fcm=26,29"),
        ];
        for (argument, expected) in cases {
            assert_eq!(super::without_paths(argument), expected);
        }
    }
}
