//! `intone.log_mel`.

use intone::Audio;
use intone::features::{Extractor, FrontEnd};
use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;

use crate::error::{exception, out_of_range};
use crate::{arguments, samples, threads};

/// Log-mel frames of a whole recording, float32, ``[n_mels, n_frames]``, the lowest band first.
///
/// The reference front end gives what librosa 0.11 gives with ``power_to_db(melspectrogram(y=y, sr=22050), ref=np.max)``: 128
/// bands, a frame each 512 samples at 22,050 Hz, dB relative to the recording's peak, in [-80, 0]. ``"whisper"`` gives what
/// Whisper's ``log_mel_spectrogram`` gives of the recording alone: 80 bands, a frame each 10 ms at 16 kHz.
///
/// Args:
///     samples: float32 or float64 (full scale 1) or int16, ``[n]`` or ``[n, channels]``; channels become their mean.
///     rate: Samples per second, Hz, 1,000 to 768,000. They are resampled to the front end's rate.
///     front_end: ``"reference"`` or ``"whisper"``.
///     trim_db: Trim both ends of what is more than this below the loudest part first, as ``librosa.effects.trim``.
///
/// Raises:
///     IntoneError: Where the samples, the rate or the front end are not as above.
#[pyfunction]
#[pyo3(signature = (samples, rate, *, front_end = "reference".to_owned(), trim_db = None), text_signature = "(samples, rate, *, front_end='reference', trim_db=None)")]
pub(crate) fn log_mel<'py>(
    py: Python<'py>,
    samples: &Bound<'py, PyAny>,
    rate: &Bound<'py, PyAny>,
    #[pyo3(from_py_with = arguments::front_end)] front_end: String,
    #[pyo3(from_py_with = arguments::optional_decibels)] trim_db: Option<f32>,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let front_end = match front_end.as_str() {
        "reference" => FrontEnd::reference(),
        "whisper" => FrontEnd::whisper(),
        other => return Err(out_of_range(py, "front_end", "reference or whisper", other)),
    };
    let front_end = FrontEnd { trim_top_db: trim_db, ..front_end };
    let extractor = Extractor::new(&front_end).map_err(|error| exception(py, &error))?;
    let rate = samples::sample_rate(rate)?;
    let samples = samples::mono(samples)?;
    let log_mel = threads::run(py, move |_| {
        let audio = Audio::new(samples, rate)?.resample(intone::SampleRate(front_end.sample_rate_hz))?;
        Ok(extractor.log_mel(&front_end.trimmed(audio.samples())))
    })?;
    let shape = [log_mel.n_mels(), log_mel.n_frames()];
    PyArray1::from_vec(py, log_mel.into_data()).reshape(shape)
}
