//! Headers of `.npy` arrays, the members of `.npz` files (NumPy Enhancement Proposal 1): read and written.
//!
//! The header is a Python dictionary of three known keys. Only that is parsed, with no recursion and no arithmetic on what it says.

use anyhow::{Context, Result, bail, ensure};
use std::io::Read;

/// NumPy's own bound on the text of a header.
const MAX_TEXT: usize = 10_000;
/// More dimensions than NumPy has.
const MAX_RANK: usize = 64;

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NpyHeader {
    /// Type of the values, such as `<f2`.
    pub descr: String,
    /// Whether the first index runs fastest.
    pub fortran_order: bool,
    /// Lengths along the axes.
    pub shape: Vec<u64>,
}

impl NpyHeader {
    /// Reads a header from the start of an array; returns it with its length in bytes.
    ///
    /// # Errors
    /// When the bytes are no header, or one of a version or type that this does not know.
    pub fn read(source: &mut impl Read) -> Result<(Self, u64)> {
        let mut fixed = [0; 8];
        source.read_exact(&mut fixed).context("it is shorter than a .npy header")?;
        ensure!(fixed[..6] == *b"\x93NUMPY", "it does not begin as a .npy array does");
        let mut length = [0; 4];
        let digits = match fixed[6] {
            1 => 2,
            2 | 3 => 4,
            version => bail!("its .npy version is {version}, legal are 1 to 3"),
        };
        source.read_exact(&mut length[..digits]).context("it ends inside its .npy header")?;
        let length = u32::from_le_bytes(length) as usize;
        ensure!(length <= MAX_TEXT, "its .npy header has {length} bytes, the longest legal one {MAX_TEXT}");
        let mut text = vec![0; length];
        source.read_exact(&mut text).context("it ends inside its .npy header")?;
        let header = Parser { text: &text, at: 0 }.header().context("its .npy header cannot be read")?;
        Ok((header, (8 + digits + length) as u64))
    }

    /// The bytes of this header, padded so that the values begin at a multiple of 64 as NumPy's do.
    pub fn to_bytes(&self) -> Vec<u8> {
        let comma = if self.shape.len() == 1 { "," } else { "" };
        let shape = self.shape.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let order = if self.fortran_order { "True" } else { "False" };
        let text = format!("{{'descr': '{}', 'fortran_order': {order}, 'shape': ({shape}{comma}), }}", self.descr);
        let length = (10 + text.len() + 1).next_multiple_of(64) - 10;
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend_from_slice(&(length as u16).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
        bytes.resize(10 + length - 1, b' ');
        bytes.push(b'\n');
        bytes
    }
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn header(mut self) -> Result<NpyHeader> {
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        self.expect(b'{')?;
        while self.peek() != Some(b'}') {
            let key = self.string()?;
            self.expect(b':')?;
            match key.as_str() {
                "descr" if matches!(self.peek(), Some(b'[' | b'(')) => bail!("its values are records, not numbers"),
                "descr" => descr = Some(self.string()?),
                "fortran_order" => fortran_order = Some(self.boolean()?),
                "shape" => shape = Some(self.shape()?),
                other => bail!("it has the key {other:?}, legal are descr, fortran_order and shape"),
            }
            if self.peek() == Some(b',') {
                self.at += 1;
            } else {
                break;
            }
        }
        self.expect(b'}')?;
        Ok(NpyHeader {
            descr: descr.context("descr is missing")?,
            fortran_order: fortran_order.context("fortran_order is missing")?,
            shape: shape.context("shape is missing")?,
        })
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Result<()> {
        let found = self.peek();
        ensure!(found == Some(byte), "byte {} should be {:?}", self.at, char::from(byte));
        self.at += 1;
        Ok(())
    }

    fn run(&mut self, belongs: impl Fn(&u8) -> bool) -> String {
        let start = self.at;
        while self.text.get(self.at).is_some_and(&belongs) {
            self.at += 1;
        }
        String::from_utf8_lossy(&self.text[start..self.at]).into_owned()
    }

    fn string(&mut self) -> Result<String> {
        let quote = self.peek();
        ensure!(matches!(quote, Some(b'\'' | b'"')), "byte {} should begin a string", self.at);
        self.at += 1;
        let string = self.run(|&b| Some(b) != quote && b != b'\\');
        ensure!(self.text.get(self.at).copied() == quote, "the string at byte {} has no end", self.at);
        self.at += 1;
        Ok(string)
    }

    fn boolean(&mut self) -> Result<bool> {
        self.peek();
        match self.run(u8::is_ascii_alphabetic).as_str() {
            "True" => Ok(true),
            "False" => Ok(false),
            other => bail!("fortran_order is {other:?}, legal are True and False"),
        }
    }

    fn shape(&mut self) -> Result<Vec<u64>> {
        self.expect(b'(')?;
        let mut shape = Vec::new();
        while self.peek() != Some(b')') {
            let digits = self.run(u8::is_ascii_digit);
            shape.push(digits.parse().with_context(|| format!("a length of {digits:?} at byte {}", self.at))?);
            ensure!(shape.len() <= MAX_RANK, "more than {MAX_RANK} dimensions");
            // NumPy under Python 2 wrote 3L.
            self.run(|&b| b == b'L');
            if self.peek() == Some(b',') {
                self.at += 1;
            } else {
                break;
            }
        }
        self.expect(b')')?;
        Ok(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<NpyHeader> {
        Parser { text: text.as_bytes(), at: 0 }.header()
    }

    #[test]
    fn written_headers_are_read_back_and_aligned() -> Result<()> {
        for shape in [vec![], vec![7], vec![96, 64, 76, 136], vec![u64::MAX; 4]] {
            let header = NpyHeader { descr: "<f2".into(), fortran_order: false, shape };
            let bytes = header.to_bytes();
            assert_eq!((bytes.len() % 64, bytes.last()), (0, Some(&b'\n')));
            assert_eq!(NpyHeader::read(&mut bytes.as_slice())?, (header, bytes.len() as u64));
        }
        Ok(())
    }

    #[test]
    fn other_spellings_of_python_are_read() -> Result<()> {
        let header = parse("{\"shape\":(3L,4L),'fortran_order' : True ,'descr':'>f4'}")?;
        assert_eq!(header, NpyHeader { descr: ">f4".into(), fortran_order: true, shape: vec![3, 4] });
        Ok(())
    }

    #[test]
    fn broken_headers_are_refused() {
        let cases = [
            ("", "'{'"),
            ("{'descr': '<f2'", "'}'"),
            ("{'descr': '<f2', 'fortran_order': False, }", "shape is missing"),
            ("{'descr': '<f2', 'fortran_order': Maybe, 'shape': (3,), }", "\"Maybe\""),
            ("{'descr': '<f2', 'fortran_order': False, 'shape': (-3,), }", "a length of \"\""),
            ("{'descr': '<f2', 'fortran_order': False, 'shape': (99999999999999999999,), }", "99999999999999999999"),
            ("{'descr': '<f2', 'fortran_order': False, 'shape': (3", "')'"),
            ("{'descr': [('a', '<f2')], 'fortran_order': False, 'shape': (3,), }", "records"),
            ("{'descr': '<f2", "no end"),
            ("{'other': 1}", "\"other\""),
        ];
        for (text, expected) in cases {
            let error = format!("{:#}", parse(text).expect_err(text));
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn absurd_header_lengths_are_refused_before_memory_is_taken() {
        let bytes = b"\x93NUMPY\x02\x00\xff\xff\xff\xff";
        let error = NpyHeader::read(&mut bytes.as_slice()).expect_err("a length of 4 GiB").to_string();
        assert!(error.contains("4294967295"), "{error}");
    }
}
