//! `intone.Stream`.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;

use crate::answers::readings_to_python;
use crate::error::{Failure, refused};
use crate::{samples, threads};

/// Audio that is recognised while it arrives, in chunks of any size. Made by :meth:`Recognizer.stream`.
///
/// However a signal is divided into chunks, the readings are the same, and they are those of :meth:`Recognizer.timeline`. A
/// reading comes as soon as its window is complete.
#[pyclass(module = "intone", frozen)]
pub(crate) struct Stream {
    /// `None`: it was finished.
    state: Mutex<Option<intone::Stream>>,
    /// Samples per second of what is pushed, Hz.
    #[pyo3(get)]
    rate: u32,
    /// Length of a window, seconds.
    #[pyo3(get)]
    window_s: f64,
    /// Distance between two windows, seconds.
    #[pyo3(get)]
    hop_s: f64,
}

impl Stream {
    pub(crate) fn new(stream: intone::Stream) -> Stream {
        Stream {
            rate: stream.sample_rate().0,
            window_s: stream.window_s(),
            hop_s: stream.hop_s(),
            state: Mutex::new(Some(stream)),
        }
    }

    /// What `work` does to the stream, with the interpreter released. A stream on which it panics is finished.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Option<intone::Stream>) -> intone::Result<T> + Send,
    ) -> PyResult<T> {
        let pool = threads::pool()?;
        // The lock is taken with the interpreter released: whoever holds it never waits for the interpreter.
        let result = py.detach(|| {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let only: &mut Option<intone::Stream> = &mut state;
            let result = threads::caught(|| Ok(pool.install(|| work(only))?));
            if matches!(result, Err(Failure::Panic)) {
                *state = None;
            }
            result
        });
        result.map_err(|failure| failure.into_exception(py))
    }
}

#[pymethods]
impl Stream {
    /// Takes the next samples and gives the readings that they complete.
    ///
    /// Args:
    ///     samples: float32 or float64 (full scale 1) or int16, ``[n]`` or ``[n, channels]``, none or more.
    ///
    /// Raises:
    ///     IntoneError: For samples that are not as above or not finite, of which none are taken then; after :meth:`finish`.
    fn push<'py>(&self, samples: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let py = samples.py();
        let samples = samples::mono(samples)?;
        let readings =
            self.with(py, |state| state.as_mut().map(|stream| stream.push(&samples)).transpose())?;
        readings_to_python(py, &readings.ok_or_else(finished)?)
    }

    /// Ends the audio and gives the last readings, the last of which ends with it; none where there was no audio.
    ///
    /// Raises:
    ///     IntoneError: When called twice.
    fn finish<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let readings = self.with(py, |state| state.take().map(intone::Stream::finish).transpose())?;
        readings_to_python(py, &readings.ok_or_else(finished)?)
    }

    fn __repr__(&self) -> String {
        format!("Stream(rate={}, window_s={}, hop_s={})", self.rate, self.window_s, self.hop_s)
    }
}

fn finished() -> PyErr {
    refused("the stream is finished; begin another".to_owned())
}
