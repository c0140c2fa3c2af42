//! Threads that work while Python waits.
//!
//! Python programs fork (`multiprocessing` does so by default before Python 3.14), and threads do not survive that. Rayon's
//! global pool would then wait for ever in the child; so each process has a pool of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::Failure;

/// How often the main thread looks whether Ctrl-C was pressed.
const PATIENCE: Duration = Duration::from_millis(50);

/// A pool of so many threads; 0 for one for each processor.
pub(crate) fn pool_of(n_threads: usize) -> PyResult<ThreadPool> {
    ThreadPoolBuilder::new()
        .num_threads(n_threads)
        .thread_name(|index| format!("intone-{index}"))
        .build()
        .map_err(|error| PyRuntimeError::new_err(format!("cannot start threads: {error}")))
}

/// The pool of this process, one thread for each processor.
pub(crate) fn pool() -> PyResult<Arc<ThreadPool>> {
    static POOL: Mutex<Option<(u32, Arc<ThreadPool>)>> = Mutex::new(None);
    let mut known = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let process = std::process::id();
    match &*known {
        Some((owner, pool)) if *owner == process => Ok(pool.clone()),
        _ => {
            let pool = Arc::new(pool_of(0)?);
            // The parent's pool has no threads here that its end could be told to.
            std::mem::forget(known.replace((process, pool.clone())));
            Ok(pool)
        }
    }
}

/// Does `job` with all threads of this process while Python is free, and waits for it. Its argument tells it to stop.
///
/// # Errors
/// The job's; `KeyboardInterrupt` and what else signal handlers raise.
pub(crate) fn run<T: Send + 'static>(
    py: Python<'_>,
    job: impl FnOnce(&AtomicBool) -> Result<T, Failure> + Send + 'static,
) -> PyResult<T> {
    let stop = Arc::new(AtomicBool::new(false));
    let (result, mut arrived) = mpsc::channel();
    let stopped = stop.clone();
    pool()?.spawn(move || {
        // Nobody listens any more where the waiting was interrupted.
        let _ = result.send(caught(|| job(&stopped)));
    });
    match receive(py, &mut arrived, &stop)? {
        Some(result) => result.map_err(|failure| failure.into_exception(py)),
        None => Err(Failure::Panic.into_exception(py)),
    }
}

/// What `work` gives, also where it panics.
pub(crate) fn caught<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    // Decoders are large and read hostile bytes. None is known to panic; if one does, nothing that is shared was changed.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(Failure::Panic))
}

/// The next result while Python is free; `None` where no more will come.
///
/// # Errors
/// What signal handlers raise, `KeyboardInterrupt` above all; `stop` is set then.
pub(crate) fn receive<T: Send>(
    py: Python<'_>,
    arrived: &mut Receiver<T>,
    stop: &AtomicBool,
) -> PyResult<Option<T>> {
    loop {
        // Only as a whole may the receiver be used where the interpreter is released.
        let only = &mut *arrived;
        let waited = py.detach(move || only.recv_timeout(PATIENCE));
        py.check_signals().inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
        match waited {
            Ok(result) => return Ok(Some(result)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
        }
    }
}
