//! The text files of MOTChallenge: ground truth, results, `seqinfo.ini`.
//!
//! A line is `frame,id,left,top,width,height,confidence`, then either `class,visibility` (nine fields: since MOT16) or
//! three coordinates in the world (ten fields: the older 2D format, which has pedestrians only). Frames begin at 1.

use crate::geometry::Rect;
use crate::tracking::Tracked;
use crate::{Error, Result};
use std::fmt::Write;

/// Most frames of a sequence.
pub const MAX_FRAMES: u32 = 10_000_000;
/// The class of pedestrians in ground truth since MOT16.
pub const PEDESTRIAN: u16 = 1;

/// One line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry {
    /// Number of the frame, from 1.
    pub frame: u32,
    /// Number of the object; −1 for detections.
    pub id: i64,
    /// Where. Left and top as they are written: MOTChallenge counts pixels from 1 where others count from 0.
    pub rect: Rect,
    /// Of ground truth, 0 says: do not consider this one. Else a score.
    pub confidence: f32,
    /// Class, since MOT16.
    pub class: Option<u16>,
    /// Share that is visible, 0 to 1, since MOT16.
    pub visibility: Option<f32>,
}

impl Entry {
    /// Whether ground truth wants this one to be found: it is to be considered, and a pedestrian if it says its class.
    pub fn counts(&self) -> bool {
        self.confidence != 0.0 && self.class.is_none_or(|class| class == PEDESTRIAN)
    }
}

/// An object in a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Object {
    /// Number of the object.
    pub id: i64,
    /// Where.
    pub rect: Rect,
}

fn wrong(line: usize, message: String) -> Error {
    Error::Text { line, message }
}

fn parse_line(line: usize, text: &str) -> Result<Entry> {
    let mut fields = [0f64; 10];
    let mut count = 0;
    for field in text.split(',') {
        let Some(slot) = fields.get_mut(count) else {
            return Err(wrong(line, format!("more than {} fields", fields.len())));
        };
        let value: f64 = field.trim().parse().map_err(|_| wrong(line, format!("{:?} is no number", field.trim())))?;
        // What follows the confidence may be anything as long as nothing reads it.
        if !value.is_finite() {
            return Err(wrong(line, format!("{value}, finite numbers are legal")));
        }
        *slot = value;
        count += 1;
    }
    if count < 6 {
        return Err(wrong(line, format!("{count} fields, at least 6 are needed: frame,id,left,top,width,height")));
    }
    let whole = |what: &str, value: f64, least: f64, most: f64| {
        if value.fract() == 0.0 && (least..=most).contains(&value) {
            Ok(value)
        } else {
            Err(wrong(line, format!("{what} {value}, legal are whole numbers from {least} to {most}")))
        }
    };
    let (class, visibility) = if count == 9 {
        // Results have −1 there.
        let class = if fields[7] < 0.0 { None } else { Some(whole("class", fields[7], 0.0, 65535.0)? as u16) };
        (class, Some(fields[8] as f32).filter(|&v| v >= 0.0))
    } else {
        (None, None)
    };
    let rect = Rect::new(fields[2] as f32, fields[3] as f32, fields[4] as f32, fields[5] as f32);
    Ok(Entry {
        frame: whole("frame", fields[0], 1.0, f64::from(MAX_FRAMES))? as u32,
        id: whole("id", fields[1], -1.0, 9_007_199_254_740_992.0)? as i64,
        rect,
        confidence: if count > 6 { fields[6] as f32 } else { 1.0 },
        class,
        visibility,
    })
}

/// Reads lines in any order; empty ones are skipped.
///
/// # Errors
/// `Text` with the number of the line and what is wrong with it.
pub fn parse(text: &str) -> Result<Vec<Entry>> {
    let lines = text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty());
    lines.map(|(n, text)| parse_line(n + 1, text)).collect()
}

/// Objects of every frame from 1 to `frames`; later ones are left out.
pub fn by_frame<'a>(entries: impl IntoIterator<Item = &'a Entry>, frames: u32) -> Vec<Vec<Object>> {
    let mut out = vec![Vec::new(); frames.min(MAX_FRAMES) as usize];
    for entry in entries {
        if let Some(frame) = (entry.frame as usize).checked_sub(1).and_then(|n| out.get_mut(n)) {
            frame.push(Object { id: entry.id, rect: entry.rect });
        }
    }
    out
}

/// Appends the line of a tracked object: `frame,id,left,top,width,height,score,-1,-1,-1`.
pub fn write_line(out: &mut String, frame: u32, tracked: &Tracked) {
    let Tracked { id, rect: Rect { x, y, width, height }, score, .. } = tracked;
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{frame},{id},{x:.2},{y:.2},{width:.2},{height:.2},{score:.4},-1,-1,-1");
}

/// What `seqinfo.ini` says of a sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct SequenceInfo {
    /// Its name.
    pub name: String,
    /// Folder of the pictures, `img1` unless it says another.
    pub image_dir: String,
    /// Ending of the pictures' names with its dot, `.jpg` unless it says another.
    pub image_extension: String,
    /// Frames a second.
    pub frame_rate: f64,
    /// Number of frames.
    pub length: u32,
    /// Width of the pictures in pixels.
    pub width: u32,
    /// Height of the pictures in pixels.
    pub height: u32,
}

impl SequenceInfo {
    /// Reads a `seqinfo.ini`.
    ///
    /// # Errors
    /// `Text` naming the line, `Missing` naming what is not there.
    pub fn parse(text: &str) -> Result<Self> {
        let find = |key: &str| {
            text.lines().enumerate().find_map(|(n, line)| {
                let (found, value) = line.split_once('=')?;
                found.trim().eq_ignore_ascii_case(key).then(|| (n + 1, value.trim()))
            })
        };
        let need = |key: &str| find(key).ok_or_else(|| Error::Missing(format!("no {key} in the sequence information")));
        let number = |key: &str, most: f64| {
            let (line, value) = need(key)?;
            match value.parse::<f64>() {
                Ok(number) if number > 0.0 && number <= most => Ok((line, number)),
                _ => Err(wrong(line, format!("{key}={value}, legal are numbers above 0 up to {most}"))),
            }
        };
        let whole = |key: &str, most: u32| match number(key, f64::from(most))? {
            (_, number) if number.fract() == 0.0 => Ok(number as u32),
            (line, number) => Err(wrong(line, format!("{key}={number}, legal are whole numbers"))),
        };
        let text = |key: &str, default: &str| find(key).map_or(default, |(_, value)| value).to_owned();
        Ok(Self {
            name: need("name")?.1.to_owned(),
            image_dir: text("imDir", "img1"),
            image_extension: text("imExt", ".jpg"),
            frame_rate: number("frameRate", 1e6)?.1,
            length: whole("seqLength", MAX_FRAMES)?,
            width: whole("imWidth", 1 << 16)?,
            height: whole("imHeight", 1 << 16)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_read() {
        let text = "1,9,499,158,31.03,75.17,1,-4.1554,-7.3591,0\r\n\n2,3,912.5,484,97,109,0,7,0.25\n 3, 4,1,2,3,4\n";
        let entries = parse(text).unwrap();
        let expected = |frame, id, rect: [f32; 4], confidence, class, visibility| Entry {
            frame,
            id,
            rect: Rect::new(rect[0], rect[1], rect[2], rect[3]),
            confidence,
            class,
            visibility,
        };
        assert_eq!(
            entries,
            [
                expected(1, 9, [499.0, 158.0, 31.03, 75.17], 1.0, None, None),
                expected(2, 3, [912.5, 484.0, 97.0, 109.0], 0.0, Some(7), Some(0.25)),
                expected(3, 4, [1.0, 2.0, 3.0, 4.0], 1.0, None, None),
            ]
        );
        assert_eq!(entries.iter().map(Entry::counts).collect::<Vec<_>>(), [true, false, true]);
        let other_class = Entry { confidence: 1.0, class: Some(3), ..entries[1] };
        assert!(!other_class.counts());
        assert!(Entry { class: Some(PEDESTRIAN), ..other_class }.counts());
    }

    #[test]
    fn wrong_lines_are_named() {
        let error = |text: &str| parse(text).unwrap_err().to_string();
        assert_eq!(error("1,1,0,0,5,5\n1,x,0,0,5,5"), "line 2: \"x\" is no number");
        assert!(error("1,1,0,0,5").starts_with("line 1: 5 fields"));
        assert!(error("\n\n0,1,0,0,5,5").starts_with("line 3: frame 0, legal are whole numbers from 1 to"));
        assert!(error("1.5,1,0,0,5,5").contains("frame 1.5"));
        assert!(error("99999999999,1,0,0,5,5").contains("frame 99999999999"));
        assert!(error("1,1,0,NaN,5,5").contains("NaN"));
        assert!(error("1,1,0,0,5,5,1,1,1,1,1").contains("more than 10 fields"));
        assert!(error("1,1,0,0,5,5,1,70000,1").contains("class 70000"));
    }

    #[test]
    fn objects_are_sorted_into_frames() {
        let entries = parse("3,1,0,0,5,5\n1,2,0,0,5,5\n3,2,1,0,5,5\n4,9,0,0,5,5").unwrap();
        let frames = by_frame(&entries, 3);
        assert_eq!(
            frames.iter().map(|f| f.iter().map(|o| o.id).collect()).collect::<Vec<Vec<_>>>(),
            [vec![2], vec![], vec![1, 2]]
        );
    }

    #[test]
    fn written_results_are_read_back() {
        let tracked = Tracked { id: 12, rect: Rect::new(1.25, -2.5, 30.0, 61.125), score: 0.875, class: 0 };
        let mut text = String::new();
        write_line(&mut text, 7, &tracked);
        assert_eq!(text, "7,12,1.25,-2.50,30.00,61.12,0.8750,-1,-1,-1\n");
        let entry = parse(&text).unwrap()[0];
        assert_eq!((entry.frame, entry.id, entry.confidence, entry.class), (7, 12, 0.875, None));
    }

    #[test]
    fn sequence_information_is_read_and_what_is_missing_named() {
        let text =
            "[Sequence]\r\nname=TUD\r\nimDir=pictures\nframeRate=25\nseqLength = 71\nimWidth=640\nimHeight=480\n";
        let info = SequenceInfo::parse(text).unwrap();
        assert_eq!((info.name.as_str(), info.length, info.width, info.height), ("TUD", 71, 640, 480));
        assert_eq!(
            (info.image_dir.as_str(), info.image_extension.as_str(), info.frame_rate),
            ("pictures", ".jpg", 25.0)
        );
        let error = |text: &str| SequenceInfo::parse(text).unwrap_err().to_string();
        assert!(error("[Sequence]").contains("no name"));
        assert!(error(&text.replace("71", "7.5")).contains("line 5: seqLength=7.5"));
        assert!(error(&text.replace("640", "-1")).contains("line 6: imWidth=-1"));
    }
}
