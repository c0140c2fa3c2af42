//! `intone.Recognizer`.

use intone::Window;
use intone::timeline::join;
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyByteArray, PyBytes, PyString};

use crate::answers::{Answer, readings_to_python};
use crate::error::{Failure, exception, refused, wrong_type};
use crate::source::Source;
use crate::stream::Stream;
use crate::{arguments, batch, samples, threads};

/// A trained model, ready to recognise.
///
/// A recording is a path (``str`` or ``os.PathLike``), the bytes of a file, or a tuple ``(samples, rate)`` with a numpy array:
/// float32 or float64 (full scale 1) or int16, ``[n]`` or ``[n, channels]``, and its samples per second. WAV, FLAC, Ogg
/// Vorbis, MP3, AAC and M4A, AIFF and Matroska are decoded, in bounded memory whatever their length; the content says what a
/// file is. The scores are those of ``intone predict``, bit for bit.
///
/// One recognizer serves any number of threads; while it works, the interpreter is released. It can be pickled, and used after a
/// fork.
///
/// Args:
///     model: A model file: its path or its bytes. ``None``: the model that is part of the package.
///
/// Raises:
///     ModelError: For a file that is no usable model.
///     FileError: For a file that cannot be read.
#[pyclass(module = "intone", frozen)]
pub(crate) struct Recognizer {
    recognizer: intone::Recognizer,
    /// What it was made from.
    model: Py<PyAny>,
}

#[pymethods]
impl Recognizer {
    #[new]
    #[pyo3(signature = (model = None))]
    fn new(py: Python<'_>, model: Option<Bound<'_, PyAny>>) -> PyResult<Recognizer> {
        let Some(model) = model else {
            let recognizer = read(py, intone::Recognizer::embedded)?;
            return Ok(Recognizer { recognizer, model: py.None() });
        };
        let recognizer = if model.is_instance_of::<PyBytes>() || model.is_instance_of::<PyByteArray>() {
            let bytes: PyBackedBytes = model.extract()?;
            read(py, || intone::Recognizer::from_bytes(&bytes))?
        } else {
            let path = model.extract::<std::path::PathBuf>();
            let path = path.map_err(|_| wrong_type("model", "a path or bytes", &model))?;
            read(py, || intone::Recognizer::open(path))?
        };
        Ok(Recognizer { recognizer, model: model.unbind() })
    }

    /// The classes, in the order of all scores.
    #[getter]
    fn labels(&self) -> Vec<String> {
        self.recognizer.labels().to_vec()
    }

    /// What the model file says about the model: its architecture, front end, calibration and provenance.
    #[getter]
    fn meta<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let json = serde_json::to_string(self.recognizer.meta());
        let json = json.map_err(|error| refused(format!("metadata: {error}")))?;
        py.import("json")?.call_method1("loads", (json,))
    }

    /// The shortest and the longest window of a timeline, seconds.
    #[getter]
    fn window_range_s(&self) -> (f64, f64) {
        self.recognizer.window_s().into_inner()
    }

    /// Recognises the emotions in one recording.
    ///
    /// Args:
    ///     recording: A path, the bytes of a file, or ``(samples, rate)``.
    ///     classes: Choose among these only; their probabilities then sum to 1. An answer that is uncertain among all classes stays
    ///         so.
    ///
    /// Raises:
    ///     IntoneError: With what is wrong: :class:`AudioError` for what is no usable audio, :class:`FileError` for what cannot
    ///         be read, :class:`ArgumentError` for what is no recording.
    #[pyo3(signature = (recording, *, classes = None))]
    fn recognize<'py>(
        &self,
        recording: &Bound<'py, PyAny>,
        classes: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = recording.py();
        let classes = self.classes(py, classes)?;
        restricted(self.answer(recording)?, classes.as_deref())
            .map_err(|failure| failure.into_exception(py))?
            .to_python(py)
    }

    /// Recognises the emotions in many recordings.
    ///
    /// Args:
    ///     recordings: Paths, bytes, tuples ``(samples, rate)``, in any mixture.
    ///     workers: Recordings that are worked on at the same time, each by one thread, 1 to 1,024. ``None``: as many as there
    ///         are processors, and all of those for fewer recordings.
    ///     classes: As in :meth:`recognize`.
    ///
    /// Returns:
    ///     For each recording, in their order, a :class:`Recognition`, or the :class:`IntoneError` that says why there is none:
    ///     an object, not raised, so that one bad recording never costs the others.
    ///
    /// Raises:
    ///     IntoneError: For ``workers`` and ``classes`` that cannot be, and what is no collection of recordings.
    #[pyo3(signature = (recordings, *, workers = None, classes = None))]
    fn recognize_batch<'py>(
        &self,
        recordings: &Bound<'py, PyAny>,
        #[pyo3(from_py_with = arguments::workers)] workers: Option<i64>,
        classes: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let py = recordings.py();
        let classes = self.classes(py, classes)?;
        let n_workers = batch::n_workers(py, workers)?;
        let is_one = recordings.is_instance_of::<PyString>()
            || recordings.is_instance_of::<PyBytes>()
            || recordings.is_instance_of::<PyByteArray>();
        if is_one || recordings.try_iter().is_err() {
            return Err(wrong_type("recordings", "a list of recordings", recordings));
        }
        let finish = |answer| restricted(answer, classes.as_deref());
        batch::recognize(py, &self.recognizer, recordings, n_workers, finish)
    }

    /// What is to be heard over the course of a recording.
    ///
    /// Args:
    ///     recording: A path, the bytes of a file, or ``(samples, rate)``.
    ///     window_s: Length of a window, seconds, in :attr:`window_range_s`. ``None``: 3 s, or the model's own.
    ///     hop_s: Distance between two windows, seconds, from 0.1 to the length of the window. ``None``: 1 s.
    ///     smoothing_s: Time over which the readings are smoothed, seconds, 0 (not at all) to 60.
    ///     spans: Join neighbours with the same label, or with none.
    ///
    /// Returns:
    ///     Readings from the beginning to the end, without gaps: where nobody speaks there is a reading that says so.
    ///
    /// Raises:
    ///     IntoneError: As :meth:`recognize`, and for windows that do not fit the model.
    #[pyo3(signature = (recording, *, window_s = None, hop_s = None, smoothing_s = 1.0, spans = false))]
    fn timeline<'py>(
        &self,
        recording: &Bound<'py, PyAny>,
        #[pyo3(from_py_with = arguments::optional_seconds)] window_s: Option<f64>,
        #[pyo3(from_py_with = arguments::optional_seconds)] hop_s: Option<f64>,
        #[pyo3(from_py_with = arguments::seconds)] smoothing_s: f64,
        #[pyo3(from_py_with = arguments::spans)] spans: bool,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let py = recording.py();
        let source = Source::of(recording)?;
        let window = window(window_s, hop_s, smoothing_s);
        let recognizer = self.recognizer.clone();
        let readings = threads::run(py, move |stop| source.timeline(&recognizer, window, stop))?;
        let readings = if spans { join(readings) } else { readings };
        readings_to_python(py, &readings)
    }

    /// What the network makes of a recording before it decides, float32, ``[n_embedding]``: the input for a classifier of
    /// one's own. Zeros for silence.
    ///
    /// Args:
    ///     recording: A path, the bytes of a file, or ``(samples, rate)``.
    ///
    /// Raises:
    ///     IntoneError: As :meth:`recognize`.
    fn embed<'py>(&self, recording: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let answer = self.answer(recording)?;
        Ok(PyArray1::from_slice(recording.py(), answer.scores.embedding()))
    }

    /// Recognises audio while it arrives.
    ///
    /// Args:
    ///     rate: Samples per second of what will be pushed, Hz, 1,000 to 768,000.
    ///     window_s, hop_s, smoothing_s: As in :meth:`timeline`.
    ///
    /// Raises:
    ///     IntoneError: For a rate that cannot be, or windows that do not fit the model.
    #[pyo3(signature = (rate, *, window_s = None, hop_s = None, smoothing_s = 1.0))]
    fn stream(
        &self,
        rate: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = arguments::optional_seconds)] window_s: Option<f64>,
        #[pyo3(from_py_with = arguments::optional_seconds)] hop_s: Option<f64>,
        #[pyo3(from_py_with = arguments::seconds)] smoothing_s: f64,
    ) -> PyResult<Stream> {
        let window = window(window_s, hop_s, smoothing_s);
        let stream = self.recognizer.stream_of(samples::sample_rate(rate)?, window);
        stream.map(Stream::new).map_err(|error| exception(rate.py(), &error))
    }

    /// Pickles as the model that it was made from: none, a path, or bytes.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> (Bound<'py, PyAny>, (Py<PyAny>,)) {
        (slf.get_type().into_any(), (slf.get().model.clone_ref(slf.py()),))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let model = self.model.bind(py);
        let model = match model.cast::<PyBytes>() {
            Ok(bytes) => format!("<{} bytes>", bytes.as_bytes().len()),
            Err(_) => model.repr()?.to_string(),
        };
        Ok(format!("Recognizer({model}): {}", self.recognizer.labels().join(", ")))
    }
}

impl Recognizer {
    fn answer(&self, recording: &Bound<'_, PyAny>) -> PyResult<Answer> {
        let source = Source::of(recording)?;
        let recognizer = self.recognizer.clone();
        threads::run(recording.py(), move |stop| source.recognize(&recognizer, stop))
    }

    /// The classes to choose among, if any were asked for.
    fn classes(&self, py: Python<'_>, classes: Option<Bound<'_, PyAny>>) -> PyResult<Option<Vec<String>>> {
        let Some(classes) = classes else { return Ok(None) };
        let names = match classes.is_instance_of::<PyString>() {
            true => None,
            false => classes.try_iter().and_then(|names| names.map(|name| name?.extract()).collect()).ok(),
        };
        let names: Vec<String> = names.ok_or_else(|| wrong_type("classes", "a list of labels", &classes))?;
        intone::scores::check_classes(&names, self.recognizer.labels())
            .map_err(|error| exception(py, &error))?;
        Ok(Some(names))
    }
}

/// Reads a model with the interpreter released, its matrices in parallel.
fn read(
    py: Python<'_>,
    read: impl FnOnce() -> intone::Result<intone::Recognizer> + Send,
) -> PyResult<intone::Recognizer> {
    let pool = threads::pool()?;
    let read = py.detach(|| threads::caught(|| Ok(pool.install(read)?)));
    read.map_err(|failure| failure.into_exception(py))
}

/// The answer if only these classes were possible.
fn restricted(answer: Answer, classes: Option<&[String]>) -> Result<Answer, Failure> {
    match classes {
        Some(classes) => Ok(Answer { scores: answer.scores.restrict(classes)?, ..answer }),
        None => Ok(answer),
    }
}

fn window(window_s: Option<f64>, hop_s: Option<f64>, smoothing_s: f64) -> Window {
    let window = window_s.map_or_else(Window::default, Window::seconds).smoothing(smoothing_s);
    hop_s.map_or(window, |hop_s| window.hop(hop_s))
}
