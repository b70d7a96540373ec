//! Access units as messages of a broker: a header of [`HEADER`] bytes, numbers big-endian, then the access unit.
//!
//! | bytes | |
//! |---|---|
//! | 0–3 | `FCMM` |
//! | 4 | version, 1 |
//! | 5 | bit 0: random access unit; bits 1, 2, 3: PTS, duration, capture time are there |
//! | 6–7 | 0 |
//! | 8–11 | session: another one each time the publisher starts |
//! | 12–15 | number of the access unit in its session, from 0, modulo 2³² |
//! | 16–23 | PTS in the publisher's pipeline, nanoseconds |
//! | 24–31 | duration, nanoseconds |
//! | 32–39 | capture time, nanoseconds since 1970-01-01 UTC |

use anyhow::{Result, ensure};

/// Bytes before the access unit.
pub const HEADER: usize = 40;
const MAGIC: &[u8; 4] = b"FCMM";
const VERSION: u8 = 1;

/// Topics of one camera below its own topic.
#[derive(Debug, Clone)]
pub struct Topics {
    /// Caps of the stream, text; retained, so that who subscribes late has them at once.
    pub caps: String,
    /// Access units.
    pub units: String,
    /// Whoever publishes here, anything, asks for a random access point.
    pub requests: String,
    /// `online` or `offline`; retained, and the publisher's last will.
    pub state: String,
}

impl Topics {
    /// Topics below `topic`.
    ///
    /// # Errors
    /// When `topic` cannot be published to.
    pub fn new(topic: &str) -> Result<Self> {
        let legal = !topic.is_empty() && !topic.contains(['+', '#', '\0']) && !topic.ends_with('/');
        ensure!(legal, "topic \"{topic}\": legal are levels with / between them, without + and #");
        let below = |name: &str| format!("{topic}/{name}");
        Ok(Self { caps: below("caps"), units: below("units"), requests: below("requests"), state: below("state") })
    }
}

/// One access unit and what GStreamer knows of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    pub session: u32,
    pub number: u32,
    pub random_access: bool,
    pub pts: Option<u64>,
    pub duration: Option<u64>,
    pub captured: Option<u64>,
    pub unit: &'a [u8],
}

impl<'a> Message<'a> {
    /// The message's bytes.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + self.unit.len());
        bytes.extend_from_slice(MAGIC);
        let times = [self.pts, self.duration, self.captured];
        let flags = times
            .iter()
            .enumerate()
            .fold(u8::from(self.random_access), |flags, (n, time)| flags | u8::from(time.is_some()) << (n + 1));
        bytes.extend_from_slice(&[VERSION, flags, 0, 0]);
        bytes.extend_from_slice(&self.session.to_be_bytes());
        bytes.extend_from_slice(&self.number.to_be_bytes());
        for time in times {
            bytes.extend_from_slice(&time.unwrap_or(0).to_be_bytes());
        }
        bytes.extend_from_slice(self.unit);
        bytes
    }

    /// Reads a message.
    ///
    /// # Errors
    /// When it is none, or of a later version.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        ensure!(bytes.len() > HEADER, "a message of {} bytes, the header alone has {HEADER}", bytes.len());
        let (header, unit) = bytes.split_at(HEADER);
        ensure!(header.starts_with(MAGIC), "a message that begins with {:02x?}, legal is {MAGIC:02x?}", &header[..4]);
        ensure!(header[4] == VERSION, "a message of version {}, legal is {VERSION}", header[4]);
        let short = |at: usize| u32::from_be_bytes(std::array::from_fn(|n| header[at + n]));
        let long = |at: usize| u64::from_be_bytes(std::array::from_fn(|n| header[at + n]));
        let time = |n: usize| (header[5] >> (n + 1) & 1 == 1).then(|| long(16 + 8 * n));
        Ok(Self {
            session: short(8),
            number: short(12),
            random_access: header[5] & 1 == 1,
            pts: time(0),
            duration: time(1),
            captured: time(2),
            unit,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_back_as_it_was() {
        for bits in 0..16u64 {
            let time = |bit: u64| (bits >> bit & 1 == 1).then_some(u64::MAX - bit);
            let message = Message {
                session: 0x0102_0304,
                number: u32::MAX,
                random_access: bits & 1 == 1,
                pts: time(1),
                duration: time(2),
                captured: time(3),
                unit: &[7; 3],
            };
            let bytes = message.to_bytes();
            assert_eq!(bytes.len(), HEADER + 3);
            assert_eq!(Message::parse(&bytes).unwrap(), message);
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let bytes = Message {
            session: 1,
            number: 2,
            random_access: true,
            pts: None,
            duration: None,
            captured: None,
            unit: b"x",
        }
        .to_bytes();
        assert!(Message::parse(&bytes[..HEADER]).is_err(), "no access unit in it");
        for (at, value) in [(0, b'G'), (4, 2)] {
            let mut other = bytes.clone();
            other[at] = value;
            assert!(Message::parse(&other).is_err(), "byte {at}");
        }
    }

    #[test]
    fn topics_that_would_match_others_are_refused() {
        assert_eq!(Topics::new("site/gate-1").unwrap().units, "site/gate-1/units");
        for topic in ["", "a/+", "#", "a/"] {
            assert!(Topics::new(topic).is_err(), "{topic}");
        }
    }
}
