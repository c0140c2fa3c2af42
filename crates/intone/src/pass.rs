//! The way of one recording through the recogniser, which ends in one answer.

use crate::audio::{Resampler, SampleRate};
use crate::recognizer::{N_PIECE, Seen};
use crate::scores::{Scores, Votes};
use crate::voice::Hearing;
use crate::window::{Cut, Window, Windows};
use crate::{Recognizer, Result};

/// The most windows that go through the network at once. More are not faster, and each takes nine megabytes
/// of activations in the reference network.
pub(crate) const MAX_BATCH: usize = 4;

/// The largest batch in numbers, for models with huge windows: 64 MiB.
const MAX_BATCH_VALUES: usize = 1 << 24;

/// A recording on its way.
pub(crate) struct Pass<'a> {
    recognizer: &'a Recognizer,
    sample_rate: SampleRate,
    n_samples: u64,
    resampler: Resampler,
    resampled: Vec<f32>,
    /// The recording so far, as long as it may yet be trimmed.
    held: Option<Vec<f32>>,
    windows: Windows,
    batch: Batch<'a>,
}

impl<'a> Pass<'a> {
    pub(crate) fn new(recognizer: &'a Recognizer, sample_rate: SampleRate) -> Result<Pass<'a>> {
        let front_end = recognizer.extractor().front_end();
        Ok(Pass {
            recognizer,
            sample_rate,
            n_samples: 0,
            resampler: Resampler::new(sample_rate, SampleRate(front_end.sample_rate_hz))?,
            resampled: Vec::new(),
            held: front_end.trim_top_db.map(|_| Vec::new()),
            windows: Windows::new(recognizer.extractor(), sample_rate, Cut::by_half(front_end)),
            batch: Batch::new(recognizer),
        })
    }

    pub(crate) fn push(&mut self, samples: &[f32]) -> Result<()> {
        for piece in samples.chunks(N_PIECE) {
            self.n_samples += piece.len() as u64;
            self.resampled.clear();
            self.windows.listen(piece);
            self.resampler.push(piece, &mut self.resampled);
            self.take_resampled()?;
        }
        Ok(())
    }

    /// Keeps note of the windows that have a say.
    pub(crate) fn note_windows(&mut self) {
        self.batch.noted = Some(Vec::new());
    }

    /// The answer.
    pub(crate) fn finish(self) -> Result<Scores> {
        Ok(self.finish_noted()?.0)
    }

    /// The answer, and the windows that have a say where they were [noted](Pass::note_windows).
    pub(crate) fn finish_noted(mut self) -> Result<(Scores, Vec<Seen>)> {
        self.resampled.clear();
        self.resampler.finish(&mut self.resampled);
        self.take_resampled()?;
        if let Some(mut held) = self.held.take() {
            let front_end = self.recognizer.extractor().front_end();
            let kept = front_end.kept(&mut held);
            self.windows.skip(kept.start);
            if front_end.frames_of(kept.len()) <= front_end.n_frames {
                // Trimmed once, and not once more by a finer hop.
                self.windows.keep_ends();
            }
            self.look_at(&held[kept])?;
        }
        self.windows.finish();
        self.cut_windows()?;
        self.batch.classify()?;
        let scores = self.recognizer.scores(&self.batch.votes, self.duration_s());
        Ok((scores, self.batch.noted.unwrap_or_default()))
    }

    /// Length of the recording so far, seconds.
    pub(crate) fn duration_s(&self) -> f64 {
        self.n_samples as f64 / f64::from(self.sample_rate.0)
    }

    /// What was resampled is held back as long as it may be trimmed, else looked at.
    fn take_resampled(&mut self) -> Result<()> {
        let resampled = std::mem::take(&mut self.resampled);
        match &mut self.held {
            None => self.look_at(&resampled)?,
            Some(held) => {
                held.extend_from_slice(&resampled);
                if held.len() > self.recognizer.extractor().front_end().max_trimmed() {
                    let held = self.held.take().unwrap_or_default();
                    self.look_at(&held)?;
                }
            }
        }
        self.resampled = resampled;
        Ok(())
    }

    fn look_at(&mut self, samples: &[f32]) -> Result<()> {
        for piece in samples.chunks(N_PIECE) {
            self.windows.push(piece);
            self.cut_windows()?;
        }
        Ok(())
    }

    fn cut_windows(&mut self) -> Result<()> {
        while let Some(window) = self.windows.next(self.batch.room())? {
            self.batch.keep(&window)?;
        }
        Ok(())
    }
}

/// Windows that wait to go through the network together, and what the network said of those before.
struct Batch<'a> {
    recognizer: &'a Recognizer,
    /// `[capacity, n_mels, n_frames]`, with room for one whole window behind those that wait.
    windows: Vec<f32>,
    n_whole: usize,
    /// What is to be heard in those that wait.
    hearings: Vec<Hearing>,
    /// Values of each of them, which are equally long.
    n_window: usize,
    /// Whether there was a voice in any window.
    voice: bool,
    votes: Votes,
    /// Those that have a say so far, where that is to be noted.
    noted: Option<Vec<Seen>>,
}

impl<'a> Batch<'a> {
    fn new(recognizer: &'a Recognizer) -> Batch<'a> {
        let n_whole = recognizer.extractor().front_end().window_len();
        Batch {
            recognizer,
            windows: Vec::new(),
            n_whole,
            hearings: Vec::new(),
            n_window: 0,
            voice: false,
            votes: recognizer.votes(),
            noted: None,
        }
    }

    /// Where the next window is to be written.
    fn room(&mut self) -> &mut [f32] {
        let start = self.hearings.len() * self.n_window;
        if self.windows.len() < start + self.n_whole {
            self.windows.resize(start + self.n_whole, 0.0);
        }
        &mut self.windows[start..start + self.n_whole]
    }

    /// Keeps the window that was written last, to be classified when there are enough, or when one of another length comes.
    fn keep(&mut self, window: &Window) -> Result<()> {
        let hearing = window.hearing;
        let Some(weight) = hearing.weight(self.voice) else {
            self.votes.add_silent();
            return Ok(());
        };
        let is_first_voice = hearing.is_voice() && !self.voice;
        self.voice |= is_first_voice;
        if let Some(noted) = &mut self.noted {
            if is_first_voice {
                noted.clear();
            }
            noted.push(Seen { frames: window.shown.clone(), weight });
        }
        let n_window = self.recognizer.extractor().front_end().n_mels * window.shown.len();
        if n_window != self.n_window {
            let start = self.hearings.len() * self.n_window;
            self.classify()?;
            self.windows.copy_within(start..start + n_window, 0);
            self.n_window = n_window;
        }
        self.hearings.push(hearing);
        let capacity = (MAX_BATCH_VALUES / self.n_window).clamp(1, MAX_BATCH);
        if self.hearings.len() == capacity { self.classify() } else { Ok(()) }
    }

    fn classify(&mut self) -> Result<()> {
        let hearings = std::mem::take(&mut self.hearings);
        if hearings.is_empty() {
            return Ok(());
        }
        self.recognizer.vote(&self.windows[..hearings.len() * self.n_window], &hearings, &mut self.votes)
    }
}
