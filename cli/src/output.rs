//! Files that appear whole or not at all.

use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A file that is written beside its final place and moved there by [`OutputFile::commit`]. Dropped without
/// that it leaves nothing behind, and a file that was there before stays as it was.
pub struct OutputFile {
    file: BufWriter<NamedTempFile>,
    target: PathBuf,
    /// Whether the target is a device or pipe, which is written to, not replaced.
    special: bool,
}

impl OutputFile {
    /// Starts the file that will be `path`.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn create(path: &Path) -> Result<Self> {
        let context = || format!("cannot write {}", path.display());
        let special = fs::metadata(path).is_ok_and(|m| !m.is_file() && !m.is_dir());
        // A link is followed, as opening the file for writing would.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if target.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory)).with_context(context);
        }
        let folder = if special { std::env::temp_dir() } else { folder_of(&target) };
        let file = BufWriter::with_capacity(1 << 18, temporary(&folder).with_context(context)?);
        Ok(Self { file, target, special })
    }

    /// The folder that holds the unfinished file.
    pub fn folder(&self) -> PathBuf {
        folder_of(self.file.get_ref().path())
    }

    /// Moves the finished file to its place.
    ///
    /// # Errors
    /// When the last bytes cannot be written or the file cannot be moved.
    pub fn commit(self) -> Result<()> {
        let target = self.target;
        let context = || format!("cannot write {}", target.display());
        let mut file = self.file.into_inner().map_err(io::IntoInnerError::into_error).with_context(context)?;
        if self.special {
            file.rewind().with_context(context)?;
            let mut device = File::options().write(true).open(&target).with_context(context)?;
            io::copy(file.as_file_mut(), &mut device).with_context(context)?;
        } else {
            file.persist(&target).map_err(|e| e.error).with_context(context)?;
        }
        Ok(())
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for OutputFile {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(unix)]
fn temporary(folder: &Path) -> io::Result<NamedTempFile> {
    use std::os::unix::fs::PermissionsExt;
    // The usual permissions of a new file (less the umask); temporary files are private by default.
    tempfile::Builder::new().prefix(".fcm-").permissions(fs::Permissions::from_mode(0o666)).tempfile_in(folder)
}

#[cfg(not(unix))]
fn temporary(folder: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix(".fcm-").tempfile_in(folder)
}
