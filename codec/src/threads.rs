//! Worker threads of encoder and decoder.

use crate::error::{Error, Result};

/// Most threads that can be asked for.
const MAX_THREADS: usize = 64;

/// Workers for `threads` threads; none for one.
pub fn pool(threads: usize) -> Result<Option<rayon::ThreadPool>> {
    if threads > MAX_THREADS {
        return Err(Error::config(format!("{threads} threads, legal are 0 (one a core) to {MAX_THREADS}")));
    }
    let threads = if threads == 0 { std::thread::available_parallelism().map_or(1, |n| n.get()) } else { threads };
    if threads == 1 {
        return Ok(None);
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.min(MAX_THREADS)).build();
    pool.map(Some).map_err(|e| Error::config(format!("{threads} threads cannot be started: {e}")))
}
