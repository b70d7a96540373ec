//! Results and intermediate files by the hash of everything that decides them.
//!
//! A key is a JSON value that names all of it: hashes of files and sources, settings, numbers of frames. What is in the cache
//! under the hash of a key is therefore still right, and an interrupted run finds what it had finished.

use crate::output;
use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A folder of results.
pub struct Cache {
    folder: PathBuf,
}

/// A stored result with the key that it belongs to, so that the folder explains itself.
#[derive(Serialize, Deserialize)]
struct Entry<T> {
    key: Value,
    value: T,
}

impl Cache {
    /// A cache in `folder`, which is made when the first result comes.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Where a file of kind `kind` (also its extension) under `key` belongs.
    pub fn path(&self, kind: &str, key: &Value) -> PathBuf {
        self.folder.join(format!("{kind}/{}.{kind}", hash(key.to_string().as_bytes())))
    }

    /// The result under `key`, if there is a readable one.
    pub fn get<T: DeserializeOwned>(&self, key: &Value) -> Option<T> {
        let text = std::fs::read(self.path("json", key)).ok()?;
        // One that cannot be read (another version, a full disk) is made again.
        let entry: Entry<T> = serde_json::from_slice(&text).ok()?;
        (entry.key == *key).then_some(entry.value)
    }

    /// Stores a result.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put<T: Serialize>(&self, key: &Value, value: &T) -> Result<()> {
        let entry = Entry { key: key.clone(), value };
        output::write(&self.path("json", key), &serde_json::to_vec(&entry)?)
    }
}

/// The first 64 bits of the SHA-256 of `bytes`, in hexadecimal.
pub fn hash(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes).as_slice())
}

/// The same of a file's bytes.
///
/// # Errors
/// When it cannot be read.
pub fn hash_file(path: &Path) -> Result<String> {
    hash_files([path])
}

/// The same of several files, one after the other.
///
/// # Errors
/// When one cannot be read.
pub fn hash_files<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Result<String> {
    let mut all = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    for path in paths {
        let context = || format!("cannot read {}", path.as_ref().display());
        let mut file = File::open(path.as_ref()).with_context(context)?;
        let mut one = Sha256::new();
        loop {
            let read = file.read(&mut buffer).with_context(context)?;
            if read == 0 {
                break;
            }
            one.update(&buffer[..read]);
        }
        // A hash of hashes: bytes cannot move from one file to the next unseen.
        all.update(one.finalize());
    }
    Ok(hex(all.finalize().as_slice()))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().take(8).map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::Folder;
    use serde_json::json;

    #[test]
    fn a_result_comes_back_under_its_own_key_only() {
        let folder = Folder::new().unwrap();
        let cache = Cache::new(folder.path());
        let key = json!({"chain": "fcm", "setting": 32, "codec": "abc"});
        assert_eq!(cache.get::<Vec<u32>>(&key), None);
        cache.put(&key, &vec![1u32, 2]).unwrap();
        assert_eq!(cache.get::<Vec<u32>>(&key), Some(vec![1, 2]));
        for (name, other) in [("setting", json!(33)), ("codec", json!("abd")), ("chain", json!("f16"))] {
            let mut changed = key.clone();
            changed[name] = other;
            assert_eq!(cache.get::<Vec<u32>>(&changed), None, "{name} does not decide");
        }
    }

    #[test]
    fn the_order_in_which_a_key_was_built_does_not_matter() {
        let cache = Cache::new(Path::new("x"));
        assert_eq!(cache.path("json", &json!({"a": 1, "b": 2})), cache.path("json", &json!({"b": 2, "a": 1})));
    }

    #[test]
    fn a_damaged_result_counts_as_absent() {
        let folder = Folder::new().unwrap();
        let cache = Cache::new(folder.path());
        let key = json!("k");
        cache.put(&key, &7).unwrap();
        let path = cache.path("json", &key);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 2]).unwrap();
        assert_eq!(cache.get::<i32>(&key), None);
    }

    #[test]
    fn the_hash_of_files_sees_where_one_ends() {
        let folder = Folder::new().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&a, "xy").unwrap();
        std::fs::write(&b, "z").unwrap();
        let before = hash_files([&a, &b]).unwrap();
        std::fs::write(&a, "x").unwrap();
        std::fs::write(&b, "yz").unwrap();
        assert_ne!(before, hash_files([&a, &b]).unwrap());
        assert!(hash_file(&folder.path().join("c")).unwrap_err().to_string().contains("cannot read"));
    }
}
