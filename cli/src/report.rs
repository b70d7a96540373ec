//! What commands print on standard output: one JSON object, or text with aligned tables.

use anyhow::Result;
use serde::Serialize;
use std::fmt::Write as _;
use std::io::{self, Write as _};

/// Prints `report` as one line of JSON, or `text(report)`. Nothing else is ever printed on standard output.
///
/// # Errors
/// When standard output cannot be written to. A reader that went away is no error.
pub fn print<T: Serialize>(json: bool, report: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
    let mut output = if json { serde_json::to_string(report)? } else { text(report) };
    if !output.ends_with('\n') {
        output.push('\n');
    }
    let mut stdout = io::stdout().lock();
    match stdout.write_all(output.as_bytes()).and_then(|()| stdout.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}

/// A table: the first column is text, the others are numbers and set to the right.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these heads of columns.
    pub fn new<const N: usize>(heads: [&str; N]) -> Self {
        Self { rows: vec![heads.map(str::to_owned).to_vec()] }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.to_vec());
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |c: usize| self.rows.iter().filter_map(|r| r.get(c)).map(|s| s.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (c, (cell, width)) in row.iter().zip(&widths).enumerate() {
                if c == 0 {
                    write!(line, "{cell:<width$}")?;
                } else {
                    write!(line, "  {cell:>width$}")?;
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// A number with four significant digits.
pub fn number(x: f64) -> String {
    if x == 0.0 {
        return "0".into();
    }
    let digits = x.abs().log10().floor();
    if !(-4.0..7.0).contains(&digits) {
        return format!("{x:.3e}");
    }
    format!("{x:.*}", (3.0 - digits).max(0.0) as usize)
}

/// A share as a percentage.
pub fn percent(part: f64, whole: f64) -> String {
    if whole > 0.0 { format!("{:.2} %", 100.0 * part / whole) } else { "–".into() }
}

/// A number of bytes with a unit.
pub fn bytes(n: u64) -> String {
    indicatif::HumanBytes(n).to_string()
}

/// Kilobits a second of `bytes` in `frames` frames at a frame rate; `None` when the rate is unknown.
pub fn kbit_per_second(bytes: u64, frames: u64, framerate: (u32, u32)) -> Option<f64> {
    let (n, d) = framerate;
    (n > 0 && d > 0 && frames > 0).then(|| bytes as f64 * 8.0 / 1000.0 / frames as f64 * f64::from(n) / f64::from(d))
}
