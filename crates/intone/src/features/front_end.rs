//! The parameters of the way from samples to the network's input.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::features::mel::mel_corners_hz;
use crate::features::trim;
use crate::recognizer::MAX_TRIMMED_S;

/// In whose manner frames are made where there is no parameter for it.
///
/// | | [`Librosa`](Style::Librosa) | [`Whisper`](Style::Whisper) |
/// |---|---|---|
/// | before the first sample | silence | the recording, mirrored |
/// | frames of `n` samples | `1 + n / hop_length` | `n / hop_length`, rounded up |
/// | values of a window | 0 to 1, from `top_db` below its peak to its peak | `(dB + 40) / 40`, at least `top_db` below its peak |
/// | a recording shorter than a window | is filled up, see [`Filling`] | makes a shorter window |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Style {
    /// `librosa.feature.melspectrogram` and `librosa.power_to_db(ref=np.max)`: the loudness of a recording is lost.
    #[default]
    Librosa,
    /// `log_mel_spectrogram` of Whisper's `audio.py` (Radford et al. 2022), of the recording alone: Whisper itself
    /// fills up with silence to 30 s.
    Whisper,
}

impl Style {
    /// The name, as it stands in model files and configurations.
    pub fn name(self) -> &'static str {
        match self {
            Style::Librosa => "librosa",
            Style::Whisper => "whisper",
        }
    }

    fn is_default(&self) -> bool {
        *self == Style::default()
    }
}

/// What a recording that is shorter than a window is filled up with at its end, in [`Style::Librosa`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filling {
    /// Silence.
    #[default]
    Silence,
    /// The window's peak, in all bands of the frames that the recording does not have: what becomes of a picture in dB
    /// relative to its peak that is filled up with zeros. A recording that is to be trimmed is filled up with silence
    /// before, so that an end which breaks off keeps its last frames.
    Peak,
}

impl Filling {
    fn is_default(&self) -> bool {
        *self == Filling::default()
    }
}

/// Every parameter of the way from samples to the network's input. It travels in the model file, so that
/// training and inference cannot differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrontEnd {
    /// Sample rate that the audio is brought to, Hz.
    pub sample_rate_hz: u32,
    /// Length of the Fourier transform and of the Hann window, samples.
    pub n_fft: usize,
    /// Distance between two frames, samples.
    pub hop_length: usize,
    /// Number of mel bands (Slaney scale, Slaney normalisation).
    pub n_mels: usize,
    /// Lower edge of the lowest band, Hz.
    pub fmin_hz: f32,
    /// Upper edge of the highest band, Hz.
    pub fmax_hz: f32,
    /// Powers below this count as this much, before the logarithm.
    pub amin: f32,
    /// Values more than this below the window's peak are raised to it, dB.
    pub top_db: f32,
    /// Frames in one input of the network.
    pub n_frames: usize,
    /// Trim leading and trailing parts that are more than this below the clip's loudest frame, dB
    /// (`librosa.effects.trim` with its default frame of 2048 and hop of 512 samples, of what is left without a constant
    /// offset, see [`trim`]). `None`: no trimming.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trim_top_db: Option<f32>,
    /// In whose manner.
    #[serde(default, skip_serializing_if = "Style::is_default")]
    pub style: Style,
    /// What a short recording is filled up with.
    #[serde(default, skip_serializing_if = "Filling::is_default")]
    pub filling: Filling,
}

/// The limits of [`FrontEnd::validate`]: they keep a hostile model file from asking for more memory or work
/// than any real front end needs.
mod limits {
    /// Telephone speech is sampled at 8 kHz, ultrasonic recorders at 384 kHz.
    pub(super) const SAMPLE_RATE_HZ: std::ops::RangeInclusive<u32> = 1_000..=384_000;
    /// 16 samples are 2 ms at 8 kHz, 32,768 are 85 ms at 384 kHz.
    pub(super) const N_FFT: std::ops::RangeInclusive<usize> = 16..=32_768;
    /// Published front ends have 13 to 256 bands.
    pub(super) const N_MELS: std::ops::RangeInclusive<usize> = 1..=1_024;
    /// 16,384 frames are 6 minutes at the reference hop.
    pub(super) const N_FRAMES: std::ops::RangeInclusive<usize> = 1..=16_384;
    /// 24-bit audio spans 144 dB; beyond 1,000 dB nothing is left in single precision.
    pub(super) const DB: std::ops::RangeInclusive<f32> = 0.1..=1_000.0;
    /// The smallest normal single-precision number, and full scale.
    pub(super) const AMIN: std::ops::RangeInclusive<f32> = f32::MIN_POSITIVE..=1.0;
}

impl FrontEnd {
    /// The reference design's front end: 3 s at 22,050 Hz become 128 mel bands x 130 frames.
    ///
    /// The values are the defaults of `librosa.feature.melspectrogram` and `librosa.power_to_db` (0.11), with
    /// `ref=np.max`. The 130 frames are `1 + 66150 / 512`.
    pub fn reference() -> FrontEnd {
        FrontEnd {
            sample_rate_hz: 22_050,
            n_fft: 2_048,
            hop_length: 512,
            n_mels: 128,
            fmin_hz: 0.0,
            fmax_hz: 11_025.0,
            amin: 1e-10,
            top_db: 80.0,
            n_frames: 130,
            trim_top_db: None,
            style: Style::Librosa,
            filling: Filling::Silence,
        }
    }

    /// The front end of Whisper's encoders with 80 bands (all sizes but large-v3): 16 kHz, a frame each 10 ms. A window
    /// is 5 s long, or as long as a recording that is shorter.
    pub fn whisper() -> FrontEnd {
        FrontEnd {
            sample_rate_hz: 16_000,
            n_fft: 400,
            hop_length: 160,
            n_mels: 80,
            fmin_hz: 0.0,
            fmax_hz: 8_000.0,
            amin: 1e-10,
            top_db: 80.0,
            n_frames: 500,
            trim_top_db: None,
            style: Style::Whisper,
            filling: Filling::Silence,
        }
    }

    /// Checks that every value is one that a front end can have.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] with the name of the first value that is not.
    pub fn validate(&self) -> Result<()> {
        check("sample_rate_hz", limits::SAMPLE_RATE_HZ, self.sample_rate_hz)?;
        check("n_fft", limits::N_FFT, self.n_fft)?;
        if !self.n_fft.is_multiple_of(2) {
            return Err(out_of_range("n_fft", "an even number", self.n_fft));
        }
        check("hop_length", 1..=self.n_fft, self.hop_length)?;
        check("n_mels", limits::N_MELS, self.n_mels)?;
        let nyquist_hz = self.sample_rate_hz as f32 / 2.0;
        check("fmax_hz", f32::MIN_POSITIVE..=nyquist_hz, self.fmax_hz)?;
        if !(0.0..self.fmax_hz).contains(&self.fmin_hz) {
            return Err(out_of_range(
                "fmin_hz",
                format_args!("0 to below fmax_hz = {}", self.fmax_hz),
                self.fmin_hz,
            ));
        }
        check("amin", limits::AMIN, self.amin)?;
        check("top_db", limits::DB, self.top_db)?;
        check("n_frames", limits::N_FRAMES, self.n_frames)?;
        if let Some(top_db) = self.trim_top_db {
            check("trim_top_db", limits::DB, top_db)?;
        }
        Ok(())
    }

    /// Frames of a recording of `n_samples`; one at least.
    pub fn frames_of(&self, n_samples: usize) -> usize {
        match self.style {
            Style::Librosa => 1 + n_samples / self.hop_length,
            Style::Whisper => n_samples.div_ceil(self.hop_length).max(1),
        }
    }

    /// Frames of the first window of a recording that has `n_frames`.
    pub fn window_frames(&self, n_frames: usize) -> usize {
        match self.style {
            Style::Librosa => self.n_frames,
            Style::Whisper => n_frames.clamp(1, self.n_frames),
        }
    }

    /// Whether a recording that is shorter than a window makes a shorter one, and is not filled up.
    pub fn makes_shorter_windows(&self) -> bool {
        self.window_frames(1) < self.n_frames
    }

    /// How far so many frames reach, seconds.
    pub fn frames_s(&self, n_frames: usize) -> f64 {
        (n_frames * self.hop_length) as f64 / f64::from(self.sample_rate_hz)
    }

    /// Number of values in one whole input of the network, `n_mels * n_frames`.
    pub fn window_len(&self) -> usize {
        self.n_mels * self.n_frames
    }

    /// The fewest samples whose frames fill one input of the network: `(n_frames - 1) * hop_length`, and one more in
    /// [`Style::Whisper`].
    pub fn min_samples(&self) -> usize {
        let n_before_last = (self.n_frames - 1) * self.hop_length;
        match self.style {
            Style::Librosa => n_before_last,
            Style::Whisper => n_before_last + 1,
        }
    }

    /// The corner frequencies of the mel bands, Hz, `n_mels + 2` of them: band `m` rises from the corner `m` to its
    /// centre, the corner `m + 1`, and falls to the corner `m + 2`.
    pub fn mel_corners_hz(&self) -> Vec<f64> {
        mel_corners_hz(self.n_mels, f64::from(self.fmin_hz), f64::from(self.fmax_hz))
    }

    /// The part of a whole recording that the front end looks at: all of it, or what [`trim`] leaves where
    /// [`trim_top_db`](FrontEnd::trim_top_db) is set; with [`Filling::Peak`] a short recording is filled up before. Call it
    /// before [`Extractor`](super::Extractor). A [`Recognizer`](crate::Recognizer) does so for recordings of up to
    /// [`max_trimmed`](FrontEnd::max_trimmed) samples.
    pub fn trimmed(&self, samples: &[f32]) -> Vec<f32> {
        let mut samples = samples.to_vec();
        let kept = self.kept(&mut samples);
        samples.truncate(kept.end);
        samples.drain(..kept.start);
        samples
    }

    /// The longest recording that a [`Recognizer`](crate::Recognizer) trims, samples at
    /// [`sample_rate_hz`](FrontEnd::sample_rate_hz): [`MAX_TRIMMED_S`].
    pub fn max_trimmed(&self) -> usize {
        (MAX_TRIMMED_S * f64::from(self.sample_rate_hz)) as usize
    }

    /// Where [`trimmed`](FrontEnd::trimmed) lies in `samples`, which are filled up where they have to be.
    pub fn kept(&self, samples: &mut Vec<f32>) -> Range<usize> {
        let Some(top_db) = self.trim_top_db else { return 0..samples.len() };
        if self.filling == Filling::Peak {
            samples.resize(samples.len().max(self.min_samples()), 0.0);
        }
        trim(samples, top_db)
    }
}

impl Default for FrontEnd {
    fn default() -> Self {
        FrontEnd::reference()
    }
}

/// NaN lies in no range, and so is refused.
fn check<T: PartialOrd + std::fmt::Display>(
    what: &'static str,
    range: std::ops::RangeInclusive<T>,
    value: T,
) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(out_of_range(what, format_args!("{} to {}", range.start(), range.end()), value))
}

fn out_of_range(what: &'static str, expected: impl ToString, actual: impl ToString) -> Error {
    Error::OutOfRange { what, expected: expected.to_string(), actual: actual.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_is_valid_and_survives_json() {
        let reference = FrontEnd::reference();
        reference.validate().unwrap();
        assert_eq!(reference.window_len(), 128 * 130);
        assert_eq!(reference.min_samples(), 66_048);
        let json = serde_json::to_string(&reference).unwrap();
        assert_eq!(serde_json::from_str::<FrontEnd>(&json).unwrap(), reference);
        assert!(!["trim_top_db", "style", "filling"].iter().any(|key| json.contains(key)), "{json}");
        assert!(serde_json::from_str::<FrontEnd>(&json.replace("n_mels", "n_bands")).is_err());
        let whisper = FrontEnd::whisper();
        whisper.validate().unwrap();
        assert_eq!(whisper.min_samples(), 79_841);
        let json = serde_json::to_string(&whisper).unwrap();
        assert!(json.contains(r#""style":"whisper""#), "{json}");
        assert_eq!(serde_json::from_str::<FrontEnd>(&json).unwrap(), whisper);
    }

    #[test]
    fn no_fewer_samples_fill_an_input() {
        for front_end in [FrontEnd::reference(), FrontEnd::whisper()] {
            for n_frames in [1, 2, front_end.n_frames] {
                let front_end = FrontEnd { n_frames, ..front_end.clone() };
                let n_samples = front_end.min_samples();
                assert_eq!(front_end.frames_of(n_samples), n_frames, "{front_end:?}");
                assert!(n_frames == 1 || front_end.frames_of(n_samples - 1) < n_frames, "{front_end:?}");
            }
        }
    }

    #[test]
    fn impossible_values_are_refused_by_name() {
        type Change = fn(&mut FrontEnd);
        let cases: [(&str, Change); 22] = [
            ("sample_rate_hz", |f| f.sample_rate_hz = 0),
            ("sample_rate_hz", |f| f.sample_rate_hz = 10_000_000),
            ("n_fft", |f| f.n_fft = 0),
            ("n_fft", |f| f.n_fft = 2_047),
            ("n_fft", |f| f.n_fft = usize::MAX - 1),
            ("hop_length", |f| f.hop_length = 0),
            ("hop_length", |f| f.hop_length = 2_049),
            ("n_mels", |f| f.n_mels = 0),
            ("n_mels", |f| f.n_mels = usize::MAX),
            ("fmin_hz", |f| f.fmin_hz = -1.0),
            ("fmin_hz", |f| f.fmin_hz = 11_025.0),
            ("fmin_hz", |f| f.fmin_hz = f32::NAN),
            ("fmax_hz", |f| f.fmax_hz = 11_026.0),
            ("fmax_hz", |f| f.fmax_hz = 0.0),
            ("fmax_hz", |f| f.fmax_hz = f32::NAN),
            ("amin", |f| f.amin = 0.0),
            ("amin", |f| f.amin = f32::NAN),
            ("top_db", |f| f.top_db = 0.0),
            ("top_db", |f| f.top_db = f32::INFINITY),
            ("n_frames", |f| f.n_frames = 0),
            ("n_frames", |f| f.n_frames = usize::MAX),
            ("trim_top_db", |f| f.trim_top_db = Some(-1.0)),
        ];
        for (name, change) in cases {
            let mut front_end = FrontEnd::reference();
            change(&mut front_end);
            match front_end.validate() {
                Err(Error::OutOfRange { what, .. }) => assert_eq!(what, name, "{front_end:?}"),
                other => panic!("{name}: expected an error, got {other:?} for {front_end:?}"),
            }
        }
    }
}
