//! Arguments that are no recordings. One of another type than expected is an `ArgumentError`, not whatever exception a failed
//! conversion makes.

use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;

use crate::error::wrong_type;

/// A number of workers, whole; any that is too large for a number here is the largest one.
pub(crate) fn workers(value: &Bound<'_, PyAny>) -> PyResult<Option<i64>> {
    if value.is_none() {
        return Ok(None);
    }
    match value.extract() {
        Ok(n) => Ok(Some(n)),
        Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => {
            Ok(Some(if value.lt(0)? { i64::MIN } else { i64::MAX }))
        }
        Err(_) => Err(wrong_type("workers", "a whole number", value)),
    }
}

/// A time.
pub(crate) fn seconds(value: &Bound<'_, PyAny>) -> PyResult<f64> {
    number(value, "a time", "a number of seconds")
}

/// A time, or `None`.
pub(crate) fn optional_seconds(value: &Bound<'_, PyAny>) -> PyResult<Option<f64>> {
    if value.is_none() { Ok(None) } else { seconds(value).map(Some) }
}

/// A level, or `None`.
pub(crate) fn optional_decibels(value: &Bound<'_, PyAny>) -> PyResult<Option<f32>> {
    if value.is_none() {
        return Ok(None);
    }
    number(value, "trim_db", "a number of dB").map(|number| Some(number as f32))
}

/// The name of a front end.
pub(crate) fn front_end(value: &Bound<'_, PyAny>) -> PyResult<String> {
    value.extract().map_err(|_| wrong_type("front_end", "reference or whisper", value))
}

/// Yes or no.
pub(crate) fn spans(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    value.extract().map_err(|_| wrong_type("spans", "True or False", value))
}

fn number(value: &Bound<'_, PyAny>, what: &str, expected: &str) -> PyResult<f64> {
    match value.extract() {
        Ok(number) => Ok(number),
        // A whole number beyond all floats.
        Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => Ok(f64::INFINITY),
        Err(_) => Err(wrong_type(what, expected, value)),
    }
}
