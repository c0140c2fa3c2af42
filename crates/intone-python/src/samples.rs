//! From numpy arrays to mono samples.

use intone::SampleRate;
use intone::audio::{MAX_SAMPLE_RATE_HZ, MIN_SAMPLE_RATE_HZ, mix};
use numpy::{
    Element, PyArrayDescrMethods, PyArrayDyn, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods,
};
use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::error::{out_of_range, unusable_samples, wrong_type};

/// The most channels of an array. Microphone arrays have dozens; an array with more columns is one that has its channels in
/// rows, and would become noise.
const MAX_CHANNELS: usize = 256;

/// Full scale of 16-bit samples, as it is in files.
const FULL_SCALE: f32 = 32_768.0;

/// The mono samples of a numpy array, `[n]` or `[n, channels]`, full scale 1: float32 and float64 as they are, int16 divided
/// by 2^15, several channels as their mean.
///
/// # Errors
/// `ArgumentError` for what is no array, `AudioError` for another type or shape. What is not finite passes.
pub(crate) fn mono(array: &Bound<'_, PyAny>) -> PyResult<Vec<f32>> {
    let Ok(untyped) = array.cast::<PyUntypedArray>() else {
        return Err(wrong_type("samples", "a numpy array", array));
    };
    let n_channels = match *untyped.shape() {
        [_] => 1,
        [_, n_channels] if n_channels <= MAX_CHANNELS => n_channels,
        ref shape => {
            let hint = if shape.len() == 2 { "; transpose it" } else { "" };
            return Err(unusable_samples(format!(
                "samples: expected shape [n] or [n, channels] with at most {MAX_CHANNELS} channels, got {shape:?}{hint}"
            )));
        }
    };
    let dtype = untyped.dtype();
    let interleaved = if dtype.is_equiv_to(&f32::get_dtype(array.py())) {
        values(array, |x: f32| x)?
    } else if dtype.is_equiv_to(&f64::get_dtype(array.py())) {
        values(array, |x: f64| x as f32)?
    } else if dtype.is_equiv_to(&i16::get_dtype(array.py())) {
        values(array, |x: i16| f32::from(x) / FULL_SCALE)?
    } else {
        return Err(unusable_samples(format!(
            "samples: expected dtype float32, float64 or int16, got {}",
            dtype.str()?
        )));
    };
    if n_channels == 1 {
        return Ok(interleaved);
    }
    let mut mono = Vec::new();
    mix(&interleaved, n_channels, &mut mono);
    Ok(mono)
}

/// All values in the order of rows, each converted.
fn values<T: Element + Copy>(array: &Bound<'_, PyAny>, convert: impl Fn(T) -> f32) -> PyResult<Vec<f32>> {
    static REQUIRE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    // A view or a field of a record need not lie in order, nor where a processor wants it.
    let require = REQUIRE.import(array.py(), "numpy", "require")?;
    let array = require.call1((array, array.py().None(), ["C", "A"]))?;
    let array = array.cast::<PyArrayDyn<T>>()?.try_readonly().map_err(|error| {
        unusable_samples(format!("samples: expected an array that nobody writes to, got one in use: {error}"))
    })?;
    Ok(array.as_slice()?.iter().map(|&x| convert(x)).collect())
}

/// A sample rate: a whole number of Hz of any type.
///
/// # Errors
/// `ArgumentError` for what is no number, `IntoneError` for a rate that cannot be.
pub(crate) fn sample_rate(value: &Bound<'_, PyAny>) -> PyResult<SampleRate> {
    let rate_hz = match value.extract::<f64>() {
        Ok(rate_hz) => rate_hz,
        // A whole number beyond all floats.
        Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => f64::INFINITY,
        Err(_) => return Err(wrong_type("sample rate", "a whole number of Hz", value)),
    };
    // As a u32 where it is one; NaN lies in no range.
    if rate_hz.fract() == 0.0
        && (f64::from(MIN_SAMPLE_RATE_HZ)..=f64::from(MAX_SAMPLE_RATE_HZ)).contains(&rate_hz)
    {
        return Ok(SampleRate(rate_hz as u32));
    }
    let expected = format!("{MIN_SAMPLE_RATE_HZ} to {MAX_SAMPLE_RATE_HZ} Hz");
    let whole = if rate_hz.fract() == 0.0 || !rate_hz.is_finite() { "" } else { ", a whole number" };
    Err(out_of_range(value.py(), "sample rate", expected + whole, format!("{rate_hz} Hz")))
}
