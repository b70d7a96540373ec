//! NNStreamer's dimensions: innermost first, `:` between them, rank-padded or not (docs/caps.md, "Dimensions").
//!
//! `3:224:224` and `3:224:224:1` are different strings but the same dimensions, and compare equal here.

use fcm_codec::{ChannelOrder, Error, ErrorKind, Result, Shape};

/// Most dimensions that NNStreamer knows.
pub const MAX_RANK: usize = 16;

/// Dimensions of one tensor, innermost first; those past the rank are 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Dimensions([u32; MAX_RANK]);

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

impl Dimensions {
    /// Dimensions from numbers, innermost first. A 0 ends them, as in NNStreamer.
    ///
    /// # Errors
    /// `InvalidInput` for none, for more than 16, and for a number after a 0.
    pub fn new(dims: &[u32]) -> Result<Self> {
        if dims.len() > MAX_RANK {
            return Err(invalid(format!("{} dimensions, the most is {MAX_RANK}", dims.len())));
        }
        let rank = dims.iter().position(|&d| d == 0).unwrap_or(dims.len());
        if rank == 0 {
            return Err(invalid("dimensions that begin with 0 describe an empty tensor".into()));
        }
        if let Some(after) = dims[rank..].iter().find(|&&d| d != 0) {
            return Err(invalid(format!("dimension {after} after dimension {} of 0, which ends them", rank + 1)));
        }
        let mut padded = [1; MAX_RANK];
        padded[..rank].copy_from_slice(&dims[..rank]);
        Ok(Self(padded))
    }

    /// Dimensions of `shape` as they lie in memory.
    pub fn from_shape(shape: &Shape, order: ChannelOrder) -> Self {
        let (c, h, w) = (shape.channels(), shape.height(), shape.width());
        let mut dims = [1; MAX_RANK];
        match order {
            _ if shape.is_vector() => dims[0] = c,
            ChannelOrder::Chw => dims[..3].copy_from_slice(&[w, h, c]),
            ChannelOrder::Hwc => dims[..3].copy_from_slice(&[c, w, h]),
        }
        Self(dims)
    }

    /// The shape: a vector when only the innermost dimension is above 1, else a feature map in `order`.
    ///
    /// # Errors
    /// `InvalidInput` for a batch other than 1 and for further dimensions.
    pub fn shape(&self, order: ChannelOrder) -> Result<Shape> {
        let d = &self.0;
        if d[3] != 1 {
            return Err(invalid(format!("dimensions {self} have batch {}, only batch 1 is legal", d[3])));
        }
        if let Some(n) = (4..MAX_RANK).find(|&n| d[n] != 1) {
            return Err(invalid(format!(
                "dimension {} of {self} is {}, all dimensions past the third must be 1",
                n + 1,
                d[n]
            )));
        }
        Ok(match order {
            _ if d[1] == 1 && d[2] == 1 => Shape::vector(d[0]),
            ChannelOrder::Chw => Shape::chw(d[2], d[1], d[0]),
            ChannelOrder::Hwc => Shape::chw(d[0], d[2], d[1]),
        })
    }

    /// How many dimensions there are up to the last that is not 1; at least 1.
    pub fn rank(&self) -> usize {
        self.0.iter().rposition(|&d| d != 1).map_or(1, |n| n + 1)
    }

    /// The string with at least `rank` dimensions (and never fewer than [`Dimensions::rank`]).
    pub fn spelling(&self, rank: usize) -> String {
        let rank = rank.clamp(self.rank(), MAX_RANK);
        self.0[..rank].iter().map(u32::to_string).collect::<Vec<_>>().join(":")
    }

    /// All 16 numbers, innermost first, 1 past the rank.
    pub fn as_array(&self) -> &[u32; MAX_RANK] {
        &self.0
    }
}

impl std::fmt::Display for Dimensions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.spelling(0))
    }
}

impl std::str::FromStr for Dimensions {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        let numbers = s
            .split(':')
            .map(|d| {
                d.trim()
                    .parse()
                    .map_err(|_| invalid(format!("dimension {d:?} in {s:?} is not a number from 0 to {}", u32::MAX)))
            })
            .collect::<Result<Vec<u32>>>()?;
        Self::new(&numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dims(s: &str) -> Dimensions {
        s.parse().unwrap()
    }

    #[test]
    fn padded_and_unpadded_spellings_are_equal() {
        assert_eq!(dims("3:224:224"), dims("3:224:224:1"));
        assert_eq!(dims("3:224:224"), dims("3:224:224:1:1:1:1:1"));
        assert_eq!(dims("512"), dims("512:1:1:1"));
        assert_eq!(dims("3:224:224:0:0"), dims("3:224:224"));
        assert_ne!(dims("3:224:224"), dims("224:224:3"));
    }

    #[test]
    fn order_decides_which_dimension_is_the_channel() {
        assert_eq!(dims("136:76:64").shape(ChannelOrder::Chw).unwrap(), Shape::chw(64, 76, 136));
        assert_eq!(dims("64:136:76:1").shape(ChannelOrder::Hwc).unwrap(), Shape::chw(64, 76, 136));
        assert_eq!(dims("512:1:1:1").shape(ChannelOrder::Chw).unwrap(), Shape::vector(512));
        assert_eq!(dims("512").shape(ChannelOrder::Hwc).unwrap(), Shape::vector(512));
        assert_eq!(dims("1:1:512").shape(ChannelOrder::Chw).unwrap(), Shape::chw(512, 1, 1));
    }

    #[test]
    fn shapes_survive_the_way_there_and_back() {
        for order in [ChannelOrder::Chw, ChannelOrder::Hwc] {
            for shape in [Shape::chw(64, 76, 136), Shape::chw(1, 3, 5), Shape::vector(512), Shape::vector(1)] {
                assert_eq!(Dimensions::from_shape(&shape, order).shape(order).unwrap(), shape);
            }
        }
    }

    #[test]
    fn spelling_pads_to_the_rank_asked_for() {
        assert_eq!(dims("10:5").spelling(4), "10:5:1:1");
        assert_eq!(dims("10:5:1:1").spelling(1), "10:5");
        assert_eq!(dims("1").spelling(1), "1");
    }

    #[test]
    fn bad_dimensions_are_named() {
        let error = |s: &str| s.parse::<Dimensions>().unwrap_err().to_string();
        assert!(error("3:x:2").contains("\"x\""), "{}", error("3:x:2"));
        assert!(error("").contains("not a number"), "{}", error(""));
        assert!(error("0:2").contains("begin with 0"), "{}", error("0:2"));
        assert!(error("2:0:3").contains("after dimension 2 of 0"), "{}", error("2:0:3"));
        assert!(error("1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1").contains("17 dimensions"));
        assert!(error("4294967296").contains("not a number from 0"));
        let batch = dims("3:4:5:2").shape(ChannelOrder::Chw).unwrap_err().to_string();
        assert_eq!(batch, "dimensions 3:4:5:2 have batch 2, only batch 1 is legal");
        let deep = dims("3:4:5:1:7").shape(ChannelOrder::Chw).unwrap_err().to_string();
        assert!(deep.contains("dimension 5 of 3:4:5:1:7 is 7"), "{deep}");
    }
}
