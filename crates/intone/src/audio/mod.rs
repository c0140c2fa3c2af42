//! Decoding, downmixing and resampling: from a file of any common format to mono samples.
//!
//! [`Audio`] is a recording in memory, [`AudioStream`] decodes one of any length piece by piece, and
//! [`Resampler`] brings samples to another rate. The content decides what a file is, never its name.

mod aiff;
mod flac;
mod mp3;
mod mp4;
mod pcm;
mod probe;
mod resample;
mod stream;
mod warning;
mod wav;

use std::fmt;
use std::io::{Read, Seek};
use std::path::Path;

pub use resample::Resampler;
pub use stream::{AudioStream, mix};
pub use warning::Warning;

use crate::{Error, Result};

/// The lowest sample rate that is accepted, Hz. Speech needs 3 kHz of bandwidth to be understood; a lower
/// rate than this is a damaged header, and its resampling would inflate a small file enormously.
pub const MIN_SAMPLE_RATE_HZ: u32 = 1_000;

/// The highest sample rate that is accepted, Hz: the fastest audio converters on sale. A higher one is a
/// damaged header.
pub const MAX_SAMPLE_RATE_HZ: u32 = 768_000;

/// The most samples that an [`Audio`] holds: 1 GiB of them, 93 minutes at 48 kHz or 4.6 hours at 16 kHz.
/// Longer recordings are for [`AudioStream`].
pub const MAX_SAMPLES_IN_MEMORY: usize = 1 << 28;

/// The largest magnitude of a sample that is accepted. Full scale is 1; files that hold unscaled 32-bit
/// integers as floats reach 2.1e9. Far larger ones are damage, and their power would overflow an `f32`.
pub const MAX_AMPLITUDE: f32 = 1e10;

/// Samples per second, Hz.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SampleRate(pub u32);

impl SampleRate {
    /// The rate itself if it lies in [`MIN_SAMPLE_RATE_HZ`]..=[`MAX_SAMPLE_RATE_HZ`].
    ///
    /// # Errors
    /// [`Error::OutOfRange`] otherwise.
    pub fn validate(self) -> Result<SampleRate> {
        if (MIN_SAMPLE_RATE_HZ..=MAX_SAMPLE_RATE_HZ).contains(&self.0) {
            return Ok(self);
        }
        Err(Error::OutOfRange {
            what: "sample rate",
            expected: format!("{MIN_SAMPLE_RATE_HZ} to {MAX_SAMPLE_RATE_HZ} Hz"),
            actual: self.to_string(),
        })
    }
}

impl fmt::Display for SampleRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} Hz", self.0)
    }
}

/// A recording in memory: mono samples at the rate of its file.
///
/// Integer formats of `b` bits are scaled by 2^-(b-1) into [-1, 1); floats are taken as they are. Several
/// channels become one by their mean. What encoders add at both ends is removed where the file says how
/// much that is.
#[derive(Clone, PartialEq)]
pub struct Audio {
    samples: Vec<f32>,
    sample_rate: SampleRate,
    warnings: Vec<Warning>,
}

impl Audio {
    /// A recording from mono samples, full scale 1.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a rate that cannot be, [`Error::NoSamples`], [`Error::BadSample`] for one
    /// that is not finite or beyond [`MAX_AMPLITUDE`], [`Error::TooLong`] beyond [`MAX_SAMPLES_IN_MEMORY`].
    pub fn new(samples: Vec<f32>, sample_rate: SampleRate) -> Result<Audio> {
        sample_rate.validate()?;
        if samples.is_empty() {
            return Err(Error::NoSamples);
        }
        if samples.len() > MAX_SAMPLES_IN_MEMORY {
            return Err(too_long(sample_rate));
        }
        check_samples(&samples, 0)?;
        Ok(Audio { samples, sample_rate, warnings: Vec::new() })
    }

    /// Decodes a file. Its content says what it is; its name does not matter.
    ///
    /// # Errors
    /// What [`AudioStream`] reports, with the path; [`Error::TooLong`] beyond [`MAX_SAMPLES_IN_MEMORY`].
    pub fn open(path: impl AsRef<Path>) -> Result<Audio> {
        let path = path.as_ref();
        Audio::from_stream(AudioStream::open(path)?).map_err(|error| error.in_file(path))
    }

    /// Decodes the bytes of a file.
    ///
    /// # Errors
    /// As [`Audio::open`].
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Result<Audio> {
        Audio::from_stream(AudioStream::from_bytes(bytes)?)
    }

    /// Decodes what a reader holds, from its beginning on.
    ///
    /// # Errors
    /// As [`Audio::open`].
    pub fn from_reader(reader: impl Read + Seek + Send + Sync + 'static) -> Result<Audio> {
        Audio::from_stream(AudioStream::from_reader(reader)?)
    }

    /// Decodes the rest of a stream into memory.
    ///
    /// # Errors
    /// As [`Audio::open`].
    pub fn from_stream(stream: AudioStream) -> Result<Audio> {
        Audio::collect(stream, MAX_SAMPLES_IN_MEMORY)
    }

    fn collect(mut stream: AudioStream, max_samples: usize) -> Result<Audio> {
        let sample_rate = stream.sample_rate();
        let mut samples = Vec::new();
        while let Some(chunk) = stream.next_chunk()? {
            if samples.len() + chunk.len() > max_samples {
                return Err(too_long(sample_rate));
            }
            samples.extend_from_slice(chunk);
        }
        if samples.is_empty() {
            return Err(Error::NoSamples);
        }
        Ok(Audio { samples, sample_rate, warnings: stream.warnings().to_vec() })
    }

    /// The samples, mono, full scale 1. Never empty, always finite.
    pub fn samples(&self) -> &[f32] {
        &self.samples
    }

    /// Samples per second.
    pub fn sample_rate(&self) -> SampleRate {
        self.sample_rate
    }

    /// Length, seconds.
    pub fn duration_s(&self) -> f64 {
        self.samples.len() as f64 / f64::from(self.sample_rate.0)
    }

    /// What was wrong with the file although it could be decoded: missing or damaged parts.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The same recording at another rate, `round(n * to / from)` samples long and at least one. See
    /// [`Resampler`].
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a rate that cannot be, [`Error::TooLong`] where the result exceeds
    /// [`MAX_SAMPLES_IN_MEMORY`].
    pub fn resample(&self, to: SampleRate) -> Result<Audio> {
        let n_samples = resample::output_len(self.samples.len() as u64, self.sample_rate, to.validate()?);
        if n_samples > MAX_SAMPLES_IN_MEMORY as u64 {
            return Err(too_long(to));
        }
        let samples = resample::resample(&self.samples, self.sample_rate, to)?;
        Ok(Audio { samples, sample_rate: to, warnings: self.warnings.clone() })
    }
}

impl fmt::Debug for Audio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audio")
            .field("n_samples", &self.samples.len())
            .field("sample_rate", &self.sample_rate)
            .field("warnings", &self.warnings)
            .finish()
    }
}

/// The first of `samples` that no recording can hold is an error; `first` is the index of `samples[0]`.
pub(crate) fn check_samples(samples: &[f32], first: u64) -> Result<()> {
    // A range, because NaN lies in none.
    match samples.iter().position(|x| !(-MAX_AMPLITUDE..=MAX_AMPLITUDE).contains(x)) {
        None => Ok(()),
        Some(at) => Err(Error::BadSample { index: first + at as u64, value: samples[at] }),
    }
}

fn too_long(sample_rate: SampleRate) -> Error {
    Error::TooLong { limit_s: MAX_SAMPLES_IN_MEMORY as f64 / f64::from(sample_rate.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_knows_its_length() {
        let audio = Audio::new(vec![0.0; 8_000], SampleRate(16_000)).unwrap();
        assert_eq!((audio.samples().len(), audio.duration_s()), (8_000, 0.5));
        assert_eq!(
            format!("{audio:?}"),
            "Audio { n_samples: 8000, sample_rate: SampleRate(16000), warnings: [] }"
        );
    }

    #[test]
    fn everything_may_move_between_threads() {
        fn check<T: Send + Sync>() {}
        check::<Audio>();
        check::<AudioStream>();
        check::<Resampler>();
    }

    #[test]
    fn memory_is_limited() {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 16_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
        (0..50_000).for_each(|i| writer.write_sample(i as i16).unwrap());
        writer.finalize().unwrap();

        let bytes = bytes.into_inner();
        let collect = |limit| Audio::collect(AudioStream::from_bytes(bytes.clone()).unwrap(), limit);
        assert_eq!(collect(50_000).unwrap().samples().len(), 50_000);
        assert_eq!(
            collect(49_999).unwrap_err().to_string(),
            "the audio is longer than the 16777 s that are held in memory; decode it as an AudioStream"
        );
    }

    #[test]
    fn impossible_recordings_are_refused_by_name() {
        let message =
            |samples: Vec<f32>, rate| Audio::new(samples, SampleRate(rate)).unwrap_err().to_string();
        assert_eq!(message(vec![0.0], 0), "sample rate: expected 1000 to 768000 Hz, got 0 Hz");
        assert_eq!(
            message(vec![0.0], 10_000_000),
            "sample rate: expected 1000 to 768000 Hz, got 10000000 Hz"
        );
        assert_eq!(message(vec![], 16_000), "the audio holds no samples");
        assert_eq!(message(vec![0.0, f32::NAN], 16_000), "sample 1 is not a finite number (NaN)");
        assert_eq!(
            message(vec![0.0, 0.0, f32::NEG_INFINITY], 16_000),
            "sample 2 is not a finite number (-inf)"
        );
        assert_eq!(
            message(vec![1e30], 16_000),
            "sample 0 is 1e30, and more than 1e10 in magnitude is taken for damage (full scale is 1)"
        );
        assert!(Audio::new(vec![-MAX_AMPLITUDE, MAX_AMPLITUDE], SampleRate(16_000)).is_ok());
    }
}
