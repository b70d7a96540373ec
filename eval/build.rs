//! Hashes of the sources that decide results, so that a result in the cache is used only while the code that made it stands.

use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

fn main() {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let sources: [(&str, &[&str]); 4] = [
        ("FCM_EVAL_CODEC", &["../codec/src"]),
        (
            "FCM_EVAL_NETWORK",
            &["../infer/src", "../analytics/src/detection", "../analytics/src/geometry.rs", "src/network.rs"],
        ),
        (
            "FCM_EVAL_CALIBRATION",
            &["src/calibration.rs", "src/calibration", "src/patchwork.rs", "../analytics/src/metrics"],
        ),
        ("FCM_EVAL_CHAINS", &["src/chains"]),
    ];
    for (name, places) in sources {
        let mut hash = Sha256::new();
        for place in places {
            let place = root.join(place);
            println!("cargo::rerun-if-changed={}", place.display());
            for file in files(&place) {
                // Outside the repository (a published crate) there is nothing to hash but the version.
                hash.update(std::fs::read(file).unwrap_or_default());
            }
        }
        hash.update(std::env::var("CARGO_PKG_VERSION").unwrap_or_default());
        let hex: String = hash.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect();
        println!("cargo::rustc-env={name}={hex}");
    }
    println!("cargo::rustc-env=FCM_EVAL_COMMIT={}", commit(&root));
}

/// The files at or below `place`, in a fixed order.
fn files(place: &Path) -> Vec<PathBuf> {
    if place.is_file() {
        return vec![place.to_owned()];
    }
    let Ok(entries) = std::fs::read_dir(place) else { return Vec::new() };
    let mut entries: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    entries.sort();
    entries.iter().flat_map(|e| files(e)).collect()
}

/// The commit the sources are at, and whether what decides results was changed since.
fn commit(root: &Path) -> String {
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git").args(arguments).current_dir(root).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    // HEAD itself names a branch; its log changes with every commit.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={}", root.join(log).display());
    }
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".into() };
    let places = ["../codec", "../infer", "../analytics", "."];
    let changed = git(&[&["status", "--porcelain", "--untracked-files=no", "--"][..], &places].concat());
    if changed.is_some_and(|c| !c.is_empty()) { format!("{commit} with uncommitted changes") } else { commit }
}
