//! Truth and results frame by frame, with consecutive numbers instead of any.

use crate::mot::Object;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Consecutive numbers for ids.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    known: HashMap<i64, usize>,
}

impl Numbers {
    fn number(&mut self, id: i64) -> usize {
        let next = self.known.len();
        match self.known.entry(id) {
            Entry::Occupied(found) => *found.get(),
            Entry::Vacant(new) => *new.insert(next),
        }
    }
}

/// One frame: numbers of the objects and of the results, and the IoU of each with each, row by row.
pub(super) struct Frame {
    pub truth: Vec<usize>,
    pub results: Vec<usize>,
    iou: Vec<f64>,
}

impl Frame {
    /// IoU of an object with a result, by their places in the frame.
    pub fn iou(&self, object: usize, result: usize) -> f64 {
        self.iou[object * self.results.len() + result]
    }
}

/// A sequence.
#[derive(Default)]
pub(super) struct Pairs {
    pub frames: Vec<Frame>,
    /// How often each object occurs.
    pub truth_counts: Vec<u64>,
    /// How often each result occurs.
    pub result_counts: Vec<u64>,
}

/// Objects of a frame by consecutive numbers, doubles left out.
fn numbered<'a>(objects: &'a [Object], numbers: &mut Numbers, counts: &mut Vec<u64>) -> (Vec<usize>, Vec<&'a Object>) {
    let (mut ids, mut kept) = (Vec::with_capacity(objects.len()), Vec::with_capacity(objects.len()));
    for object in objects {
        let number = numbers.number(object.id);
        if !ids.contains(&number) {
            counts.resize(counts.len().max(number + 1), 0);
            counts[number] += 1;
            ids.push(number);
            kept.push(object);
        }
    }
    (ids, kept)
}

fn at(frames: &[Vec<Object>], n: usize) -> &[Object] {
    frames.get(n).map_or(&[], Vec::as_slice)
}

impl Pairs {
    pub fn new(truth: &[Vec<Object>], results: &[Vec<Object>]) -> Self {
        let (mut truth_numbers, mut result_numbers) = (Numbers::default(), Numbers::default());
        let mut pairs = Self::default();
        for n in 0..truth.len().max(results.len()) {
            let (truth_ids, objects) = numbered(at(truth, n), &mut truth_numbers, &mut pairs.truth_counts);
            let (result_ids, found) = numbered(at(results, n), &mut result_numbers, &mut pairs.result_counts);
            let iou = objects.iter().flat_map(|a| found.iter().map(|b| a.rect.iou(&b.rect))).collect();
            pairs.frames.push(Frame { truth: truth_ids, results: result_ids, iou });
        }
        pairs
    }
}
