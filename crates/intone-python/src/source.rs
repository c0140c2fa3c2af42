//! What a recording can be: a path, the bytes of a file, or samples with their rate.

use std::io::Cursor;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use intone::{Audio, AudioStream, Reading, Recognizer, SampleRate, Window};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyByteArray, PyBytes, PyTuple};

use crate::answers::Answer;
use crate::error::{Failure, wrong_argument, wrong_type};
use crate::samples;

/// What a recording can be, for messages.
const EXPECTED: &str = "a path, bytes, or a tuple (samples, rate)";

/// Samples of an array after which a timeline looks whether it shall stop.
const N_PIECE: usize = 1 << 16;

/// A recording that was given, not opened yet.
pub(crate) enum Source {
    Path(PathBuf),
    Bytes(PyBackedBytes),
    Samples(Py<PyAny>, SampleRate),
}

impl Source {
    /// What was given.
    ///
    /// # Errors
    /// `ArgumentError` for what is no recording, `IntoneError` for a rate that cannot be.
    pub(crate) fn of(value: &Bound<'_, PyAny>) -> PyResult<Source> {
        if let Ok(pair) = value.cast::<PyTuple>() {
            if pair.len() != 2 {
                return Err(wrong_argument(&format!(
                    "recording: expected {EXPECTED}, got a tuple of {}",
                    pair.len()
                )));
            }
            let rate = samples::sample_rate(&pair.get_item(1)?)?;
            return Ok(Source::Samples(pair.get_item(0)?.unbind(), rate));
        }
        if value.is_instance_of::<PyBytes>() || value.is_instance_of::<PyByteArray>() {
            return Ok(Source::Bytes(value.extract()?));
        }
        match value.extract() {
            Ok(path) => Ok(Source::Path(path)),
            Err(_) => Err(wrong_type("recording", EXPECTED, value)),
        }
    }

    /// Begins to decode it.
    fn open(self) -> Result<Sound, Failure> {
        Ok(match self {
            Source::Path(path) => Sound::Stream(AudioStream::open(path)?.into()),
            Source::Bytes(bytes) => Sound::Stream(AudioStream::from_reader(Cursor::new(bytes))?.into()),
            Source::Samples(array, rate) => {
                let samples = Python::attach(|py| samples::mono(array.bind(py)))?;
                Sound::Audio(Audio::new(samples, rate)?)
            }
        })
    }

    /// The emotions in it.
    ///
    /// # Errors
    /// What is wrong with the recording; [`Failure::Stopped`] where `stop` was set on the way.
    pub(crate) fn recognize(self, recognizer: &Recognizer, stop: &AtomicBool) -> Result<Answer, Failure> {
        match self.open()? {
            Sound::Audio(audio) => {
                let scores = recognizer.recognize_audio_while(&audio, |_| !stop.load(Ordering::Relaxed))?;
                Ok(Answer { scores: scores.ok_or(Failure::Stopped)?, warnings: Vec::new() })
            }
            Sound::Stream(mut stream) => {
                let scores = recognizer.recognize_while(&mut stream, |_| !stop.load(Ordering::Relaxed))?;
                let warnings = stream.warnings().iter().map(ToString::to_string).collect();
                Ok(Answer { scores: scores.ok_or(Failure::Stopped)?, warnings })
            }
        }
    }

    /// The emotions over its course.
    ///
    /// # Errors
    /// As [`Source::recognize`], and for a window that does not fit the model.
    pub(crate) fn timeline(
        self,
        recognizer: &Recognizer,
        window: Window,
        stop: &AtomicBool,
    ) -> Result<Vec<Reading>, Failure> {
        let mut sound = self.open()?;
        let mut stream = recognizer.stream_of(sound.sample_rate(), window)?;
        let mut readings = Vec::new();
        let mut push = |samples: &[f32]| {
            readings.extend(stream.push(samples)?);
            if stop.load(Ordering::Relaxed) { Err(Failure::Stopped) } else { Ok(()) }
        };
        match &mut sound {
            Sound::Audio(audio) => audio.samples().chunks(N_PIECE).try_for_each(&mut push)?,
            Sound::Stream(sound) => {
                while let Some(samples) = sound.next_chunk()? {
                    push(samples)?;
                }
            }
        }
        readings.extend(stream.finish()?);
        Ok(readings)
    }
}

/// A recording that can be listened to.
enum Sound {
    Stream(Box<AudioStream>),
    Audio(Audio),
}

impl Sound {
    fn sample_rate(&self) -> SampleRate {
        match self {
            Sound::Stream(stream) => stream.sample_rate(),
            Sound::Audio(audio) => audio.sample_rate(),
        }
    }
}
