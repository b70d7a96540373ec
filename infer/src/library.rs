//! Finds and loads the shared library of ONNX Runtime, once a process.
//!
//! In this order: the path that [`crate::ModelOptions::library`] gives; the path in the environment variable
//! `ORT_DYLIB_PATH`; the directories that [`crate::ModelOptions::library_dirs`] adds and that of the program, each with
//! `lib` beside it and `.cache/onnxruntime` above it, where `make deps` puts the library; the system's directories. The
//! first two are taken at their word: where they name no usable library, nothing else is tried.

use crate::{Error, Result};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The environment variable with the path of the library.
pub const VARIABLE: &str = "ORT_DYLIB_PATH";

/// The directory, relative to the repository, into which `make deps` puts the library.
const CACHE: &str = ".cache/onnxruntime";
/// How far above a directory the repository is looked for: a program lies in target/debug/deps.
const MOST_ANCESTORS: usize = 6;
/// What to do where there is none.
const ADVICE: &str = "\"make deps\" in the repository of gst-plugin-fcm fetches it; or install it (Debian: libonnxruntime-dev; \
     pip: onnxruntime) and set ORT_DYLIB_PATH or the property library to the path of libonnxruntime.so";

/// The environment of ONNX Runtime and where its library came from. There is one a process, and it is never taken down:
/// ONNX Runtime cannot start again after that.
static LOADED: Mutex<Option<(ort::environment::Environment, PathBuf)>> = Mutex::new(None);

/// Whether `name` is that of the library, with or without a version behind it.
fn is_library(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| {
        name.strip_prefix("libonnxruntime.")
            .is_some_and(|rest| rest == "dylib" || rest.ends_with(".dylib") || rest == "so" || rest.starts_with("so."))
    })
}

/// Numbers in a file name, to order versions by.
fn version(path: &Path) -> Vec<u64> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect()
}

/// The libraries in a directory, the newest first.
fn libraries_in(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut found: Vec<PathBuf> =
        entries.flatten().filter(|entry| is_library(&entry.file_name())).map(|entry| entry.path()).collect();
    found.sort_by_key(|path| std::cmp::Reverse(version(path)));
    found
}

/// Directories in which the library may be, in the order in which they are tried.
fn directories(extra: &[PathBuf]) -> Vec<PathBuf> {
    let program = std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_owned));
    let mut all = Vec::new();
    for directory in extra.iter().cloned().chain(program) {
        all.push(directory.clone());
        all.extend(directory.parent().map(|parent| parent.join("lib")));
        all.extend(directory.ancestors().take(MOST_ANCESTORS).map(|ancestor| ancestor.join(CACHE)));
    }
    let multiarch = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    all.extend(["/usr/local/lib", &multiarch, "/usr/lib64", "/usr/lib", "/opt/homebrew/lib"].map(PathBuf::from));
    all
}

/// Loads one library and makes the environment.
fn load(path: &Path) -> std::result::Result<ort::environment::Environment, String> {
    // A missing file is asked for first: the loader's own message about it is long. A bare name is for the loader to find.
    if path.components().count() > 1 && !path.is_file() {
        return Err(format!("{}: no such file", path.display()));
    }
    // Not by way of ort's own search: it panics where there is no library.
    let builder = ort::init_from(path).map_err(|error| error.to_string())?;
    let environment = builder
        .with_name("fcm")
        .with_telemetry(false)
        .build()
        .map_err(|error| format!("{}: {}", path.display(), error.message()))?;
    // Whatever it would print comes back as an error.
    environment.set_log_level(ort::logging::LogLevel::Fatal);
    Ok(environment)
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

/// The environment, its library loaded now or before.
pub(crate) fn environment(explicit: Option<&Path>, extra: &[PathBuf]) -> Result<ort::environment::Environment> {
    // A panic while the lock was held leaves no half-made value behind.
    let mut loaded = LOADED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some((environment, path)) = &*loaded {
        if let Some(asked) = explicit.filter(|asked| !same_file(asked, path)) {
            return Err(Error::Library(format!(
                "the library {} is asked for, but this process uses {} already and can have only one",
                asked.display(),
                path.display()
            )));
        }
        return Ok(environment.clone());
    }
    let variable = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    let (candidates, origin): (Vec<PathBuf>, &str) = match (explicit, variable) {
        (Some(path), _) => (vec![path.to_owned()], " (asked for by the setting library)"),
        (None, Some(path)) => (vec![path], " (asked for by the environment variable ORT_DYLIB_PATH)"),
        (None, None) => {
            let mut all: Vec<PathBuf> = directories(extra).iter().flat_map(|d| libraries_in(d)).collect();
            all.push(if cfg!(target_os = "macos") { "libonnxruntime.dylib" } else { "libonnxruntime.so" }.into());
            (all, "")
        }
    };
    let mut failures = Vec::new();
    for path in candidates {
        match load(&path) {
            Ok(environment) => {
                *loaded = Some((environment.clone(), path));
                return Ok(environment);
            }
            Err(failure) => failures.push(failure),
        }
    }
    Err(Error::Library(format!(
        "no usable library of ONNX Runtime 1.{} or newer{origin}: {}. {ADVICE}",
        ort::MINOR_VERSION,
        failures.join("; ")
    )))
}

/// Where the library that this process uses came from; `None` before the first model.
pub fn loaded() -> Option<PathBuf> {
    let loaded = LOADED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    loaded.as_ref().map(|(_, path)| path.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_library_itself_is_taken_for_it() {
        for (name, is) in [
            ("libonnxruntime.so", true),
            ("libonnxruntime.so.1.22.0", true),
            ("libonnxruntime.1.22.0.dylib", true),
            ("libonnxruntime.dylib", true),
            ("libonnxruntime_providers_shared.so", false),
            ("libonnxruntime.a", false),
            ("onnxruntime.so", false),
        ] {
            assert_eq!(is_library(OsStr::new(name)), is, "{name}");
        }
    }

    #[test]
    fn newer_versions_come_first() {
        let mut paths: Vec<PathBuf> =
            ["libonnxruntime.so.1.9.0", "libonnxruntime.so.1.22.0", "libonnxruntime.so"].map(PathBuf::from).into();
        paths.sort_by_key(|path| std::cmp::Reverse(version(path)));
        assert_eq!(paths[0], Path::new("libonnxruntime.so.1.22.0"));
    }
}
