//! Answers, as the classes of `intone.answers`.

use intone::{Reading, Scores};
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

/// What was recognised in one recording, and what was wrong with it although it could be decoded.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) scores: Scores,
    pub(crate) warnings: Vec<String>,
}

impl Answer {
    /// An `intone.Recognition`.
    pub(crate) fn to_python<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let fields = fields(py, &self.scores)?;
        fields.set_item("duration_s", self.scores.duration_s)?;
        fields.set_item("n_windows", self.scores.n_windows)?;
        fields.set_item("n_silent", self.scores.n_silent)?;
        fields.set_item("warnings", PyTuple::new(py, &self.warnings)?)?;
        fields.set_item("embedding", PyArray1::from_slice(py, self.scores.embedding()))?;
        CLASS.import(py, "intone.answers", "Recognition")?.call((), Some(&fields))
    }
}

/// `intone.Reading`s.
pub(crate) fn readings_to_python<'py>(
    py: Python<'py>,
    readings: &[Reading],
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    readings.iter().map(|reading| reading_to_python(py, reading)).collect()
}

fn reading_to_python<'py>(py: Python<'py>, reading: &Reading) -> PyResult<Bound<'py, PyAny>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let fields = fields(py, &reading.scores)?;
    fields.set_item("start_s", reading.start_s)?;
    fields.set_item("end_s", reading.end_s)?;
    fields.set_item("voice", reading.voice)?;
    CLASS.import(py, "intone.answers", "Reading")?.call((), Some(&fields))
}

/// The fields that both have.
fn fields<'py>(py: Python<'py>, scores: &Scores) -> PyResult<Bound<'py, PyDict>> {
    let by_label = PyDict::new(py);
    for (label, probability) in scores.iter() {
        by_label.set_item(label, probability)?;
    }
    let fields = PyDict::new(py);
    fields.set_item("label", scores.label())?;
    fields.set_item("scores", by_label)?;
    fields.set_item("silence", scores.silence)?;
    fields.set_item("uncertain", scores.uncertain())?;
    Ok(fields)
}
