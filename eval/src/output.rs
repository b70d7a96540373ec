//! Files that appear whole or not at all.

use anyhow::{Context, Result};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

static SERIAL: AtomicU64 = AtomicU64::new(0);

/// A file that is written under another name beside its place and moved there by [`OutputFile::commit`]; dropped without
/// that, it leaves nothing behind.
pub struct OutputFile {
    file: Option<BufWriter<File>>,
    temporary: PathBuf,
    target: PathBuf,
}

impl OutputFile {
    /// Starts the file that will be `path`, and makes its folder.
    ///
    /// # Errors
    /// When the folder cannot be made or written to.
    pub fn create(path: &Path) -> Result<Self> {
        let context = || format!("cannot write {}", path.display());
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        std::fs::create_dir_all(&folder).with_context(context)?;
        // Two runs at once, or two threads of one, may make the same file.
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let temporary = folder.join(format!(".fcm-eval-{}-{serial}", std::process::id()));
        let file = BufWriter::with_capacity(1 << 18, File::create(&temporary).with_context(context)?);
        Ok(Self { file: Some(file), temporary, target: path.to_owned() })
    }

    /// Moves the finished file to its place.
    ///
    /// # Errors
    /// When the last bytes cannot be written or the file cannot be moved.
    pub fn commit(mut self) -> Result<()> {
        let context = || format!("cannot write {}", self.target.display());
        if let Some(mut file) = self.file.take() {
            file.flush().with_context(context)?;
        }
        std::fs::rename(&self.temporary, &self.target).with_context(context)
    }

    /// The file as a writer that can also seek.
    pub fn writer(&mut self) -> &mut BufWriter<File> {
        self.file.as_mut().expect("only commit takes it, which ends the life of self")
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        // After a commit there is nothing of that name any more.
        let _ = std::fs::remove_file(&self.temporary);
    }
}

/// Writes a whole file.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = OutputFile::create(path)?;
    file.writer().write_all(bytes).with_context(|| format!("cannot write {}", path.display()))?;
    file.commit()
}
