//! An allocator that counts, per thread: allocations made, and bytes held with their peak. Counts are of the calling
//! thread alone, so tests that run beside it do not disturb.
#![allow(dead_code, reason = "each test file uses its part")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static HELD: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

/// The system's allocator with counters.
pub struct Counting;

fn count(bytes: i64) {
    // A thread that is being torn down has no counters any more.
    let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + u64::from(bytes > 0)));
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches thread-local cells only and does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's contract is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's contract is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: the caller's contract is passed on.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size as i64);
        count(-(layout.size() as i64));
        // SAFETY: the caller's contract is passed on.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

/// Allocations of this thread so far.
pub fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

/// A place from which the peak of memory held is measured.
pub struct Mark(i64);

/// Starts to measure the peak.
pub fn peak_since_here() -> Mark {
    let held = HELD.with(Cell::get);
    PEAK.with(|peak| peak.set(held));
    Mark(held)
}

impl Mark {
    /// Most bytes held since, over those held at the mark.
    pub fn bytes(&self) -> i64 {
        PEAK.with(Cell::get) - self.0
    }
}
