//! Emotions over the course of a recording: the windows that are looked at, what is read in each, and spans of the same.

use std::ops::RangeInclusive;

use crate::features::FrontEnd;
use crate::scores::Scores;
use crate::window::Cut;
use crate::{Error, Result};

/// The shortest window, seconds: a few syllables. In less nobody, human or network, hears an emotion reliably.
pub const MIN_WINDOW_S: f64 = 0.5;

/// The shortest hop, seconds. Windows that lie closer together say the same.
pub const MIN_HOP_S: f64 = 0.1;

/// The longest time over which readings are smoothed, seconds.
pub const MAX_SMOOTHING_S: f64 = 60.0;

/// The window of a model that takes windows of any length, if nothing else is asked for, seconds: about a short sentence.
pub const DEFAULT_WINDOW_S: f64 = 3.0;

/// The hop if nothing else is asked for, seconds.
pub const DEFAULT_HOP_S: f64 = 1.0;

/// The stretches in which a recording is looked at.
///
/// Each window makes one [`Reading`], which speaks for the time around the window's middle, as long as the hop; the first
/// also for what lies before, the last, which ends with the recording, for what lies behind.
///
/// The reference network has one window, 130 frames or 3 s, and no other length fits. An encoder takes any from
/// [`MIN_WINDOW_S`] to the length that it was trained with.
///
/// ```
/// use intone::Window;
/// let window = Window::seconds(3.0).hop(0.5).smoothing(0.0);
/// # let _ = window;
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// `None`: the model's own.
    seconds: Option<f64>,
    /// `None`: [`DEFAULT_HOP_S`], or the window if that is shorter.
    hop_s: Option<f64>,
    smoothing_s: f64,
}

impl Default for Window {
    /// The model's own window (up to [`DEFAULT_WINDOW_S`]), a hop of [`DEFAULT_HOP_S`], smoothed over 1 s.
    fn default() -> Window {
        Window { seconds: None, hop_s: None, smoothing_s: 1.0 }
    }
}

impl Window {
    /// Windows of this length, with the other defaults.
    pub fn seconds(seconds: f64) -> Window {
        Window { seconds: Some(seconds), ..Window::default() }
    }

    /// With this distance between two windows, seconds, in [`MIN_HOP_S`] to the length of the window.
    pub fn hop(self, hop_s: f64) -> Window {
        Window { hop_s: Some(hop_s), ..self }
    }

    /// With probabilities that follow the windows with this time constant, seconds, in 0 (not at all) to
    /// [`MAX_SMOOTHING_S`]: a reading counts `1 - exp(-hop / smoothing)`, the readings before it the rest. Nothing is
    /// carried over a gap.
    pub fn smoothing(self, smoothing_s: f64) -> Window {
        Window { smoothing_s, ..self }
    }

    /// What this is with one model.
    pub(crate) fn fit(self, front_end: &FrontEnd) -> Result<Fitted> {
        let rate = f64::from(front_end.sample_rate_hz);
        let frames_per_s = rate / front_end.hop_length as f64;
        let frames_of = |seconds: f64| front_end.frames_of((seconds * rate).round() as usize);
        let lengths_s = lengths_s(front_end);
        let (least_s, longest_s) = (*lengths_s.start(), *lengths_s.end());
        let fixed = least_s == longest_s;
        let takes = |seconds: f64| match fixed {
            true => (0.0..1e6).contains(&seconds) && frames_of(seconds) == front_end.n_frames,
            false => lengths_s.contains(&seconds),
        };
        let seconds = match self.seconds {
            Some(seconds) => seconds,
            None if takes(DEFAULT_WINDOW_S) => DEFAULT_WINDOW_S,
            None => longest_s,
        };
        if !takes(seconds) {
            let expected = match fixed {
                true => format!("{longest_s:.2} s, the one length that this model takes"),
                false => format!("{least_s} to {longest_s:.2} s, which this model takes"),
            };
            return Err(Error::OutOfRange { what: "window", expected, actual: format!("{seconds} s") });
        }
        let least_s = MIN_HOP_S.max(1.0 / frames_per_s).min(seconds);
        let hop_s = self.hop_s.unwrap_or(DEFAULT_HOP_S.min(seconds));
        within("hop", least_s, seconds, hop_s)?;
        within("smoothing", 0.0, MAX_SMOOTHING_S, self.smoothing_s)?;
        let cut = Cut { n_frames: frames_of(seconds), hop_frames: (hop_s * frames_per_s).max(1.0) };
        Ok(Fitted { cut, seconds, hop_s, smoothing_s: self.smoothing_s })
    }
}

/// The windows that a model takes, seconds; one only where their length is fixed.
pub(crate) fn lengths_s(front_end: &FrontEnd) -> RangeInclusive<f64> {
    if !front_end.makes_shorter_windows() {
        let seconds = front_end.min_samples() as f64 / f64::from(front_end.sample_rate_hz);
        return seconds..=seconds;
    }
    let longest_s = front_end.frames_s(front_end.n_frames);
    MIN_WINDOW_S.min(longest_s)..=longest_s
}

/// Windows that fit a model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fitted {
    pub(crate) cut: Cut,
    pub(crate) seconds: f64,
    pub(crate) hop_s: f64,
    pub(crate) smoothing_s: f64,
}

impl Fitted {
    /// Where the reading of window `k` ends, unless the recording does.
    pub(crate) fn end_s(&self, k: usize) -> f64 {
        (k as f64 + 0.5) * self.hop_s + 0.5 * self.seconds
    }

    /// Where window `k` ends: what follows has no say in its reading.
    pub(crate) fn known_s(&self, k: usize) -> f64 {
        k as f64 * self.hop_s + self.seconds
    }

    /// How much a reading counts against those before it, in (0, 1].
    pub(crate) fn weight(&self) -> f64 {
        if self.smoothing_s > 0.0 { 1.0 - (-self.hop_s / self.smoothing_s).exp() } else { 1.0 }
    }
}

fn within(what: &'static str, least_s: f64, most_s: f64, actual_s: f64) -> Result<()> {
    // NaN lies in no range.
    if (least_s..=most_s).contains(&actual_s) {
        return Ok(());
    }
    let expected = format!("{least_s} to {most_s} s");
    Err(Error::OutOfRange { what, expected, actual: format!("{actual_s} s") })
}

/// What is to be heard in one stretch of a recording.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Reading {
    /// Where the stretch begins, seconds from the beginning of the recording: where the one before it ends.
    pub start_s: f64,
    /// Where it ends.
    pub end_s: f64,
    /// Share of the stretch in which something rises above the background, in [0, 1].
    pub voice: f32,
    /// The emotions in the window around it; [`Scores::silence`] where nobody speaks. Their
    /// [`duration_s`](Scores::duration_s) is the length of the stretch.
    pub scores: Scores,
}

impl Reading {
    fn length_s(&self) -> f64 {
        self.end_s - self.start_s
    }

    /// Whether both say the same.
    fn agrees(&self, other: &Reading) -> bool {
        self.scores.label() == other.scores.label()
    }

    /// Takes in the next stretch: the means, weighted by length.
    fn extend(&mut self, next: &Reading) {
        let length_s = self.length_s() + next.length_s();
        let share = if length_s > 0.0 { next.length_s() / length_s } else { 0.5 };
        self.voice = (f64::from(self.voice) * (1.0 - share) + f64::from(next.voice) * share) as f32;
        self.scores.mix(&next.scores, share);
        self.scores.n_windows += next.scores.n_windows;
        self.scores.n_silent += next.scores.n_silent;
        self.end_s = next.end_s;
        self.scores.duration_s = self.length_s();
    }
}

/// Joins readings as they come: neighbours with the same label, or with none, become one.
#[derive(Debug, Clone, Default)]
pub struct Spans {
    open: Option<Reading>,
}

impl Spans {
    /// Takes the next reading, and gives the span before it if that is complete now.
    pub fn push(&mut self, reading: Reading) -> Option<Reading> {
        match &mut self.open {
            Some(open) if open.agrees(&reading) => {
                open.extend(&reading);
                None
            }
            _ => self.open.replace(reading),
        }
    }

    /// The last span, if there was any reading.
    pub fn finish(self) -> Option<Reading> {
        self.open
    }
}

/// Joins the readings of a whole recording, see [`Spans`].
pub fn join(readings: impl IntoIterator<Item = Reading>) -> Vec<Reading> {
    let mut spans = Spans::default();
    let mut joined: Vec<Reading> = readings.into_iter().filter_map(|reading| spans.push(reading)).collect();
    joined.extend(spans.finish());
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(window: Window, front_end: &FrontEnd) -> String {
        window.fit(front_end).unwrap_err().to_string()
    }

    #[test]
    fn the_reference_network_has_one_window() {
        let front_end = FrontEnd::reference();
        for window in [Window::default(), Window::seconds(3.0), Window::seconds(3.01)] {
            let fitted = window.fit(&front_end).unwrap();
            assert_eq!(fitted.cut.n_frames, 130, "{window:?}");
            assert!((fitted.cut.hop_frames - 43.066).abs() < 1e-3, "{fitted:?}");
        }
        for seconds in [2.9, 3.1, 5.0, 0.0, -3.0, f64::NAN, f64::INFINITY, 1e300] {
            let message = message(Window::seconds(seconds), &front_end);
            let expected =
                format!("window: expected 3.00 s, the one length that this model takes, got {seconds} s");
            assert_eq!(message, expected);
        }
    }

    #[test]
    fn an_encoder_takes_windows_up_to_its_own() {
        let front_end = FrontEnd::whisper();
        assert_eq!(Window::default().fit(&front_end).unwrap().cut, Cut { n_frames: 300, hop_frames: 100.0 });
        for (seconds, n_frames) in [(0.5, 50), (1.234, 124), (5.0, 500)] {
            let fitted = Window::seconds(seconds).hop(0.5).fit(&front_end).unwrap();
            assert_eq!(fitted.cut, Cut { n_frames, hop_frames: 50.0 });
        }
        assert_eq!(
            message(Window::seconds(6.0), &front_end),
            "window: expected 0.5 to 5.00 s, which this model takes, got 6 s"
        );
        assert!(Window::seconds(f64::NAN).fit(&front_end).is_err());
    }

    #[test]
    fn hops_and_smoothing_that_cannot_be_are_refused_by_name() {
        let front_end = FrontEnd::reference();
        let window = Window::seconds(3.0);
        assert_eq!(message(window.hop(4.0), &front_end), "hop: expected 0.1 to 3 s, got 4 s");
        assert_eq!(message(window.hop(0.0), &front_end), "hop: expected 0.1 to 3 s, got 0 s");
        assert!(window.hop(f64::NAN).fit(&front_end).is_err());
        assert_eq!(message(window.smoothing(-1.0), &front_end), "smoothing: expected 0 to 60 s, got -1 s");
        assert_eq!(window.smoothing(0.0).fit(&front_end).unwrap().weight(), 1.0);
        let weight = window.hop(1.0).smoothing(1.0).fit(&front_end).unwrap().weight();
        assert!((weight - (1.0 - (-1.0f64).exp())).abs() < 1e-12);
    }
}
