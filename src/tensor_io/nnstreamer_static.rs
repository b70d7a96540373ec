//! `format=static`: dense tensors without any header, whose shapes are in the caps.
//!
//! One memory a tensor. A buffer has at most 16 memories: NNStreamer packs the sixteenth tensor and all after it into
//! one memory behind a block of its own; transports that know no memories merge all of them into one.

use fcm_codec::{Error, ErrorKind, Layout, Result};
use std::ops::Range;

/// First word of the block that NNStreamer puts before tensors 15 and up.
const EXTRA_MAGIC: u32 = 0xf00d_c0de;
/// Smallest block: its fixed fields. Its real size depends on NNStreamer's version and machine.
const EXTRA_MIN: u64 = 24;
/// Memories of a buffer that has such a block.
const EXTRA_MEMORIES: usize = 16;

/// Where the tensors of a buffer are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// Tensor `n` is memory `n`.
    PerMemory,
    /// All tensors follow each other; the ranges are of the whole buffer.
    Concatenated(Vec<Range<usize>>),
    /// Tensors 0 to 14 are memories of their own; the others are at these ranges of memory 15.
    Extra(Vec<Range<usize>>),
}

/// Where tensors of `sizes` bytes lie, one after the other from `start`.
fn consecutive(start: usize, sizes: &[u64]) -> Vec<Range<usize>> {
    let mut at = start;
    sizes
        .iter()
        .map(|&size| {
            let range = at..at + size as usize;
            at = range.end;
            range
        })
        .collect()
}

/// Finds the tensors of `layout` in a buffer whose memories have `memories` bytes. `head_of_last` gives the first
/// bytes of the last memory; it is asked only when that may be NNStreamer's block.
///
/// # Errors
/// `InvalidInput` with the sizes found and wanted.
pub fn locate(memories: &[usize], layout: &Layout, head_of_last: impl FnOnce() -> Vec<u8>) -> Result<Location> {
    let sizes: Vec<u64> = layout.layers().iter().map(|l| l.bytes()).collect();
    let total: u64 = memories.iter().map(|&m| m as u64).sum();
    if memories.len() == sizes.len() && memories.iter().zip(&sizes).all(|(&m, &s)| m as u64 == s) {
        return Ok(Location::PerMemory);
    }
    if total == layout.bytes() {
        return Ok(Location::Concatenated(consecutive(0, &sizes)));
    }
    let split = EXTRA_MEMORIES - 1;
    if sizes.len() > EXTRA_MEMORIES
        && memories.len() == EXTRA_MEMORIES
        && memories.iter().zip(&sizes[..split]).all(|(&m, &s)| m as u64 == s)
    {
        let payload: u64 = sizes[split..].iter().sum();
        let last = memories[split] as u64;
        if last >= payload + EXTRA_MIN && is_extra_block(&head_of_last(), sizes.len()) {
            return Ok(Location::Extra(consecutive((last - payload) as usize, &sizes[split..])));
        }
    }
    let listed = |sizes: &mut dyn Iterator<Item = String>| sizes.take(16).collect::<Vec<_>>().join(", ");
    Err(Error::new(
        ErrorKind::InvalidInput,
        format!(
            "the buffer has {} memories of {} bytes ({total} in all), the caps promise {} tensors of {} bytes ({} in all)",
            memories.len(),
            listed(&mut memories.iter().map(usize::to_string)),
            sizes.len(),
            listed(&mut sizes.iter().map(u64::to_string)),
            layout.bytes(),
        ),
    ))
}

/// Whether `head` begins NNStreamer's block for a set of `tensors` tensors. Only its first three words are looked at:
/// the rest is a copy of C structures whose size and pointers depend on the machine that wrote it.
fn is_extra_block(head: &[u8], tensors: usize) -> bool {
    let word = |n: usize| head.get(4 * n..4 * n + 4).and_then(|b| b.try_into().ok()).map(u32::from_ne_bytes);
    word(0) == Some(EXTRA_MAGIC) && word(1) == Some(0) && word(2) == Some((tensors - EXTRA_MEMORIES) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fcm_codec::{Dtype, Layer, Limits, Shape};

    fn layout(lengths: &[u32]) -> Layout {
        let layers = lengths.iter().map(|&n| Layer::new("", Shape::vector(n), Dtype::F32)).collect();
        Layout::new(layers, &Limits::default()).unwrap()
    }

    fn no_head() -> Vec<u8> {
        panic!("nothing to look at here")
    }

    #[test]
    fn one_memory_a_tensor() {
        assert_eq!(locate(&[4, 8, 12], &layout(&[1, 2, 3]), no_head).unwrap(), Location::PerMemory);
    }

    #[test]
    fn merged_memories_are_cut_by_the_caps() {
        let ranges = Location::Concatenated(vec![0..4, 4..12, 12..24]);
        assert_eq!(locate(&[24], &layout(&[1, 2, 3]), no_head).unwrap(), ranges);
        assert_eq!(locate(&[12, 12], &layout(&[1, 2, 3]), no_head).unwrap(), ranges);
    }

    #[test]
    fn tensors_past_the_fifteenth_lie_behind_the_extra_block() {
        let mut memories = vec![4; 16];
        memories[15] = 40 + 3 * 4;
        let head = || [EXTRA_MAGIC, 0, 2].iter().flat_map(|w| w.to_ne_bytes()).collect();
        let found = locate(&memories, &layout(&[1; 18]), head).unwrap();
        assert_eq!(found, Location::Extra(vec![40..44, 44..48, 48..52]));
        let wrong = || [EXTRA_MAGIC, 0, 3].iter().flat_map(|w| w.to_ne_bytes()).collect();
        assert_eq!(locate(&memories, &layout(&[1; 18]), wrong).unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn wrong_sizes_are_named() {
        let message = locate(&[4, 7], &layout(&[1, 2]), no_head).unwrap_err().to_string();
        assert_eq!(
            message,
            "the buffer has 2 memories of 4, 7 bytes (11 in all), the caps promise 2 tensors of 4, 8 bytes (12 in all)"
        );
        assert!(locate(&[], &layout(&[1]), no_head).is_err());
    }
}
