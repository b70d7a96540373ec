//! Reading `.fcm` files: access units one after the other, in bounded memory, over damage.

use anyhow::{Context, Result};
use fcm_codec::bitstream::stream::{Scan, scan};
use fcm_codec::{Limits, StreamFormat};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Bytes asked of the file at a time.
const CHUNK: usize = 1 << 20;

/// What comes next in a stream.
pub enum Item<'a> {
    /// A whole access unit whose checks passed.
    AccessUnit {
        /// Its bytes.
        bytes: &'a [u8],
        /// Frame number, modulo 64.
        number: u32,
        /// Place of its first byte in the file.
        offset: u64,
    },
    /// Bytes that no access unit could be read from.
    Damage {
        /// Place of the first of them in the file.
        offset: u64,
        /// How many.
        bytes: u64,
    },
}

/// Splits a byte stream into access units.
pub struct StreamReader {
    file: File,
    path: PathBuf,
    limits: Limits,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were used up.
    used: usize,
    /// Place in the file of the buffer's first byte.
    base: u64,
    synced: bool,
    at_end: bool,
    length: u64,
}

impl StreamReader {
    /// Opens a `.fcm` file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(path: &Path, limits: Limits) -> Result<Self> {
        let context = || format!("cannot read {}", path.display());
        let file = File::open(path).with_context(context)?;
        let length = file.metadata().with_context(context)?.len();
        Ok(Self {
            file,
            path: path.to_owned(),
            limits,
            buffer: Vec::new(),
            used: 0,
            base: 0,
            synced: false,
            at_end: false,
            length,
        })
    }

    /// Bytes of the file.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The next access unit, or damage before it; `None` at the end. End-of-stream units are passed over: files
    /// may be joined.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn next(&mut self) -> Result<Option<Item<'_>>> {
        let mut damage = 0;
        loop {
            let rest = &self.buffer[self.used..];
            if rest.is_empty() && self.at_end {
                return Ok(self.take_damage(damage));
            }
            let seen = if rest.is_empty() {
                Scan::NeedMore { at_least: 1 }
            } else {
                scan(rest, StreamFormat::ByteStream, self.synced, self.at_end, &self.limits)
            };
            match seen {
                Scan::AccessUnit { len, number, .. } => {
                    if damage > 0 {
                        return Ok(self.take_damage(damage));
                    }
                    let offset = self.base + self.used as u64;
                    let start = self.used;
                    self.used += len;
                    self.synced = true;
                    return Ok(Some(Item::AccessUnit { bytes: &self.buffer[start..start + len], number, offset }));
                }
                Scan::EndOfStream { len } => {
                    if damage > 0 {
                        return Ok(self.take_damage(damage));
                    }
                    self.used += len;
                    self.synced = true;
                }
                Scan::Skip { len } => {
                    let len = len.clamp(1, rest.len());
                    self.used += len;
                    damage += len as u64;
                    self.synced = false;
                }
                // What is wanted cannot come: the rest belongs to no access unit.
                Scan::NeedMore { .. } if self.at_end => {
                    damage += rest.len() as u64;
                    self.used = self.buffer.len();
                    self.synced = false;
                }
                Scan::NeedMore { at_least } => self.fill(at_least)?,
            }
        }
    }

    fn take_damage(&self, bytes: u64) -> Option<Item<'_>> {
        (bytes > 0).then(|| Item::Damage { offset: self.base + self.used as u64 - bytes, bytes })
    }

    /// Reads on until the unused bytes are `at_least`, or the file ends.
    fn fill(&mut self, at_least: usize) -> Result<()> {
        self.buffer.drain(..self.used);
        self.base += self.used as u64;
        self.used = 0;
        let wanted = at_least.max(self.buffer.len() + 1);
        while self.buffer.len() < wanted && !self.at_end {
            // Memory is taken as bytes really come, whatever a header promises.
            let read = (&self.file)
                .take(CHUNK as u64)
                .read_to_end(&mut self.buffer)
                .with_context(|| format!("cannot read {}", self.path.display()))?;
            self.at_end = read < CHUNK;
        }
        Ok(())
    }
}
