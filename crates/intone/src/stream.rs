//! Recognising audio while it arrives.

use std::fmt;

use crate::audio::{Resampler, SampleRate, check_samples};
use crate::scores::Scores;
use crate::timeline::{Fitted, Reading, Window};
use crate::voice::{Hearing, MIN_VOICE_S};
use crate::window::Windows;
use crate::{Recognizer, Result};

/// Samples that are taken at a time, so that the memory for their frames stays small.
const N_PIECE: usize = 1 << 14;

/// Audio that is recognised while it arrives, in chunks of any size: from a microphone, or from a recording that is too
/// long for memory.
///
/// However a signal is divided into chunks, the readings are the same, and they are those of
/// [`Recognizer::timeline`]. A reading comes as soon as its window is complete: behind the window's end by half a
/// transform of the front end and what a [`Resampler`] holds back, together less than a tenth of a second at the usual rates.
///
/// ```
/// use intone::{Recognizer, SampleRate};
///
/// let recognizer = Recognizer::embedded()?;
/// let mut stream = recognizer.stream(SampleRate(48_000))?;
/// for chunk in [[0.0; 480]; 500] {
///     for reading in stream.push(&chunk)? {
///         println!("{:.1} s: {}", reading.end_s, reading.scores.label().unwrap_or("nobody speaks"));
///     }
/// }
/// let last = stream.finish()?;
/// assert_eq!(last.last().map(|reading| reading.end_s), Some(5.0));
/// # Ok::<(), intone::Error>(())
/// ```
pub struct Stream {
    recognizer: Recognizer,
    sample_rate: SampleRate,
    window: Fitted,
    n_samples: u64,
    resampler: Resampler,
    resampled: Vec<f32>,
    windows: Windows,
    /// One input of the network.
    input: Vec<f32>,
    /// Readings that were given out, and where the last of them ends.
    n_readings: usize,
    told_until_s: f64,
    /// The last reading's scores.
    last: Option<Scores>,
}

impl Stream {
    pub(crate) fn new(recognizer: &Recognizer, sample_rate: SampleRate, window: Window) -> Result<Stream> {
        let extractor = recognizer.extractor();
        let front_end = extractor.front_end();
        let window = window.fit(front_end)?;
        Ok(Stream {
            sample_rate: sample_rate.validate()?,
            n_samples: 0,
            resampler: Resampler::new(sample_rate, SampleRate(front_end.sample_rate_hz))?,
            resampled: Vec::new(),
            windows: Windows::new(extractor, sample_rate, window.cut),
            input: vec![0.0; front_end.window_len()],
            n_readings: 0,
            told_until_s: 0.0,
            last: None,
            window,
            recognizer: recognizer.clone(),
        })
    }

    /// Samples per second of what is pushed.
    pub fn sample_rate(&self) -> SampleRate {
        self.sample_rate
    }

    /// Length of a window, seconds.
    pub fn window_s(&self) -> f64 {
        self.window.seconds
    }

    /// Distance between two windows, seconds.
    pub fn hop_s(&self) -> f64 {
        self.window.hop_s
    }

    /// Length of what was pushed, seconds.
    pub fn duration_s(&self) -> f64 {
        self.n_samples as f64 / f64::from(self.sample_rate.0)
    }

    /// Takes the next samples, mono, full scale 1, and gives the readings that they complete.
    ///
    /// # Errors
    /// [`Error::BadSample`](crate::Error::BadSample) for one that is not finite or beyond
    /// [`MAX_AMPLITUDE`](crate::audio::MAX_AMPLITUDE); nothing of the chunk is taken then.
    /// [`Error::Model`](crate::Error::Model) where the network does not answer with numbers.
    pub fn push(&mut self, samples: &[f32]) -> Result<Vec<Reading>> {
        check_samples(samples, self.n_samples)?;
        let mut readings = Vec::new();
        for piece in samples.chunks(N_PIECE) {
            self.n_samples += piece.len() as u64;
            self.windows.listen(piece);
            self.resampled.clear();
            self.resampler.push(piece, &mut self.resampled);
            self.windows.push(&self.resampled);
            self.read(&mut readings, false)?;
        }
        Ok(readings)
    }

    /// Ends the audio and gives the last readings, the last of which ends with it. None where there was no audio.
    ///
    /// # Errors
    /// [`Error::Model`](crate::Error::Model) where the network does not answer with numbers.
    pub fn finish(mut self) -> Result<Vec<Reading>> {
        let mut readings = Vec::new();
        if self.n_samples == 0 {
            return Ok(readings);
        }
        self.resampled.clear();
        self.resampler.finish(&mut self.resampled);
        self.windows.push(&self.resampled);
        self.windows.finish();
        self.read(&mut readings, true)?;
        // With frames that are shorter than their hop the last window may have been complete before the end was known.
        if self.duration_s() - self.told_until_s > 1e-6 {
            self.windows.repeat_last();
            self.read(&mut readings, true)?;
        }
        Ok(readings)
    }

    /// Reads the windows that are complete.
    fn read(&mut self, readings: &mut Vec<Reading>, finished: bool) -> Result<()> {
        while finished || self.windows.voice().knows(self.window.known_s(self.n_readings)) {
            let Some(window) = self.windows.next(&mut self.input)? else { break };
            let known_s = self.window.known_s(self.n_readings);
            let mut end_s = self.window.end_s(self.n_readings);
            if finished {
                let is_last = self.windows.are_over();
                end_s = if is_last { self.duration_s() } else { end_s.min(self.duration_s()) };
            }
            let start_s = self.told_until_s;
            if end_s <= start_s && self.n_readings > 0 {
                continue;
            }
            let voice_s = self.windows.voice().in_stretch(start_s, end_s, known_s.max(end_s));
            let mut votes = self.recognizer.votes();
            if window.hearing == Hearing::Nothing || voice_s < MIN_VOICE_S.min(0.5 * (end_s - start_s)) {
                votes.add_silent();
            } else {
                let n = window.shown.len() * self.recognizer.extractor().front_end().n_mels;
                self.recognizer.vote(&self.input[..n], &[Hearing::Voice(voice_s)], &mut votes)?;
            }
            let scores = self.smoothed(self.recognizer.scores(&votes, end_s - start_s));
            let voice = (voice_s / (end_s - start_s)).min(1.0) as f32;
            readings.push(Reading { start_s, end_s, voice, scores: scores.clone() });
            self.last = Some(scores);
            self.n_readings += 1;
            self.told_until_s = end_s;
        }
        Ok(())
    }

    /// Scores that follow those before them slowly, but not across a gap.
    fn smoothed(&self, mut scores: Scores) -> Scores {
        match &self.last {
            Some(last) if !last.silence && !scores.silence => scores.mix(last, 1.0 - self.window.weight()),
            _ => {}
        }
        scores
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("sample_rate", &self.sample_rate)
            .field("window", &self.window)
            .field("n_samples", &self.n_samples)
            .field("n_readings", &self.n_readings)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
