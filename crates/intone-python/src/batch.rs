//! Many recordings at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use intone::Recognizer;
use pyo3::prelude::*;

use crate::answers::Answer;
use crate::error::{Failure, is_ours, out_of_range};
use crate::source::Source;
use crate::threads::{self, pool_of};

/// The most workers. More threads than that are a mistake.
const MAX_WORKERS: usize = 1_024;

/// What every worker shares.
struct Work {
    recognizer: Recognizer,
    /// The recordings that no worker has taken yet, with their places among all that were given.
    sources: Mutex<std::vec::IntoIter<(usize, Source)>>,
    stop: AtomicBool,
}

/// The answers for all `items`, in their order: `Recognition`s, and exceptions in the places of those that have none.
///
/// # Errors
/// Those of Python: of the iterator that was given, and of signal handlers.
pub(crate) fn recognize<'py>(
    py: Python<'py>,
    recognizer: &Recognizer,
    items: &Bound<'py, PyAny>,
    n_workers: Option<usize>,
    finish: impl Fn(Answer) -> Result<Answer, Failure>,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let mut answers: Vec<Option<Bound<'py, PyAny>>> = Vec::new();
    let mut sources = Vec::new();
    for item in items.try_iter()? {
        match Source::of(&item?) {
            Ok(source) => {
                sources.push((answers.len(), source));
                answers.push(None);
            }
            Err(error) => answers.push(Some(in_place(py, error)?)),
        }
    }
    let pools = pools(n_workers, sources.len())?;
    let (sources, stop) = (Mutex::new(sources.into_iter()), AtomicBool::new(false));
    let work = Arc::new(Work { recognizer: recognizer.clone(), sources, stop });
    let (results, mut arrived) = mpsc::channel();
    for pool in pools {
        let (work, results) = (work.clone(), results.clone());
        pool.spawn(move || work.work(&results));
    }
    drop(results);
    while let Some((place, result)) = threads::receive(py, &mut arrived, &work.stop)? {
        answers[place] = Some(match result.and_then(&finish) {
            Ok(answer) => answer.to_python(py)?,
            Err(failure) => in_place(py, failure.into_exception(py))?,
        });
    }
    let missing = || in_place(py, Failure::Panic.into_exception(py));
    answers.into_iter().map(|answer| answer.map_or_else(missing, Ok)).collect()
}

/// How many workers there shall be.
///
/// # Errors
/// `IntoneError` for a number that cannot be.
pub(crate) fn n_workers(py: Python<'_>, workers: Option<i64>) -> PyResult<Option<usize>> {
    let Some(workers) = workers else { return Ok(None) };
    match usize::try_from(workers) {
        Ok(n @ 1..=MAX_WORKERS) => Ok(Some(n)),
        _ => Err(out_of_range(py, "workers", format!("1 to {MAX_WORKERS}"), workers)),
    }
}

/// A pool for each recording that is worked on at the same time, so that no thread waits for another; together they have as
/// many threads as there are workers.
fn pools(n_workers: Option<usize>, n_items: usize) -> PyResult<Vec<rayon::ThreadPool>> {
    let n_threads = match n_workers {
        Some(n) => n,
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let n_pools = n_threads.min(n_items);
    (0..n_pools).map(|_| pool_of(n_threads / n_pools)).collect()
}

/// The exception as a value, if it is about a recording.
fn in_place(py: Python<'_>, error: PyErr) -> PyResult<Bound<'_, PyAny>> {
    match is_ours(py, &error) {
        true => Ok(error.into_value(py).into_bound(py).into_any()),
        false => Err(error),
    }
}

impl Work {
    /// Takes one recording after the other until there is none, or nobody waits for the answers.
    fn work(&self, results: &mpsc::Sender<(usize, Result<Answer, Failure>)>) {
        while !self.stop.load(Ordering::Relaxed) {
            // Whatever happened elsewhere, the iterator is whole: nothing is done in here but taking.
            let next = self.sources.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((place, source)) = next else { return };
            let result = threads::caught(|| source.recognize(&self.recognizer, &self.stop));
            if matches!(result, Err(Failure::Stopped)) || results.send((place, result)).is_err() {
                return;
            }
        }
    }
}
