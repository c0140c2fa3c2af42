//! Log-mel frames in time order, and the network's inputs cut from them.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::features::{FrontEnd, Style};

/// Log-mel frames, `[n_frames, n_mels]`, time-major, absolute: `10 * log10(max(amin, power))` dB.
///
/// Frames are counted from the beginning of the audio. Old ones can be dropped, so that an endless stream
/// needs only as much memory as the windows that are still to be cut.
#[derive(Debug, Clone, PartialEq)]
pub struct Frames {
    n_mels: usize,
    /// Frames that were dropped from the front and are no longer in `values`.
    dropped: usize,
    /// Frames in `values` that were dropped as well, but whose memory is not yet given back.
    stale: usize,
    values: Vec<f32>,
}

impl Frames {
    /// No frames yet, of `n_mels` bands each.
    pub fn new(n_mels: usize) -> Frames {
        Frames { n_mels, dropped: 0, stale: 0, values: Vec::new() }
    }

    /// Frames from stored `values`, `[n_frames, n_mels]`, as [`values`](Frames::values) gave them.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] where their number is no multiple of `n_mels`.
    pub fn from_values(n_mels: usize, values: Vec<f32>) -> Result<Frames> {
        if n_mels == 0 || !values.len().is_multiple_of(n_mels) {
            return Err(Error::OutOfRange {
                what: "number of log-mel values",
                expected: format!("a multiple of {n_mels} bands"),
                actual: values.len().to_string(),
            });
        }
        Ok(Frames { n_mels, dropped: 0, stale: 0, values })
    }

    /// Number of mel bands in a frame.
    pub fn n_mels(&self) -> usize {
        self.n_mels
    }

    /// The frames that are here: its end is the number of all frames so far, its start the number of those
    /// that were dropped.
    pub fn range(&self) -> Range<usize> {
        let start = self.dropped + self.stale;
        start..self.dropped + self.values.len() / self.n_mels.max(1)
    }

    /// The frames that are here, `[range().len(), n_mels]`, dB; infinite where a window is [filled up](super::Filling::Peak) with its
    /// peak.
    pub fn values(&self) -> &[f32] {
        &self.values[self.stale * self.n_mels..]
    }

    /// Writes one input of the network, the frames from `start_frame` on, to `out`: `[n_mels, n_frames]`, row-major.
    ///
    /// In [`Style::Librosa`] each window is relative to its own maximum and in [0, 1]: 1 is the window's peak, 0 is
    /// `top_db` below it or less. For a clip of at most one window this is librosa's `power_to_db(ref=np.max,
    /// top_db=top_db)` of the clip padded with zeros, scaled by `(dB + top_db) / top_db`. As there, a window that is
    /// silent throughout has its peak everywhere: all values are 1.
    ///
    /// In [`Style::Whisper`] values are Whisper's, and a window may have fewer than `front_end.n_frames` frames.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] where `out` is not as long as a window, the bands differ in number, or the window reaches
    /// beyond [`range`](Frames::range).
    pub fn window(&self, front_end: &FrontEnd, start_frame: usize, out: &mut [f32]) -> Result<()> {
        let frames = self.window_values(front_end, start_frame, out.len())?;
        let (top_db, n_frames) = (front_end.top_db, out.len() / self.n_mels);
        let peak_db = peak(frames);
        let value = |db: f32| match front_end.style {
            Style::Librosa => (below_peak(db, peak_db, top_db) + top_db) / top_db,
            Style::Whisper => whisper_value(db, peak_db, top_db),
        };
        put_columns(frames, self.n_mels, 0, n_frames, out, value);
        Ok(())
    }

    /// Forgets the frames before `frame` and gives their memory back in time. Frames that are still to come
    /// cannot be dropped.
    pub fn drop_before(&mut self, frame: usize) {
        let range = self.range();
        self.stale += frame.clamp(range.start, range.end) - range.start;
        // Moving the rest is worth it once at least half of the memory is stale: constant cost a frame.
        if self.stale * self.n_mels * 2 >= self.values.len() {
            self.values.drain(..self.stale * self.n_mels);
            self.dropped += self.stale;
            self.stale = 0;
        }
    }

    /// Room for `n` frames more, `[n, n_mels]`, to be filled by the caller.
    pub(super) fn extend(&mut self, n: usize) -> &mut [f32] {
        let held = self.values.len();
        self.values.resize(held + n * self.n_mels, 0.0);
        &mut self.values[held..]
    }

    fn window_values(&self, front_end: &FrontEnd, start_frame: usize, out_len: usize) -> Result<&[f32]> {
        let refuse =
            |what, expected: String, actual: String| Err(Error::OutOfRange { what, expected, actual });
        if front_end.n_mels != self.n_mels {
            return refuse("mel bands", self.n_mels.to_string(), front_end.n_mels.to_string());
        }
        let n_frames = out_len / self.n_mels;
        if n_frames * self.n_mels != out_len || n_frames != front_end.window_frames(n_frames) {
            return refuse("length of the window", front_end.window_len().to_string(), out_len.to_string());
        }
        let range = self.range();
        if start_frame < range.start || range.end.saturating_sub(start_frame) < n_frames {
            let expected = format!("{n_frames} frames within {}..{}", range.start, range.end);
            return refuse("window", expected, format!("from frame {start_frame} on"));
        }
        Ok(&self.values()[(start_frame - range.start) * self.n_mels..][..n_frames * self.n_mels])
    }
}

/// The loudest value, but for what fills a window up; negative infinity where there is none.
pub(super) fn peak(db: &[f32]) -> f32 {
    // Several running maxima, as vectors like it.
    const LANES: usize = 16;
    let mut peaks = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = db.as_chunks::<LANES>();
    let mut hear = |values: &[f32]| {
        for (peak, &db) in peaks.iter_mut().zip(values) {
            let db = if db < f32::INFINITY { db } else { f32::NEG_INFINITY };
            *peak = if db > *peak { db } else { *peak };
        }
    };
    chunks.iter().for_each(|chunk| hear(chunk));
    hear(rest);
    peaks.into_iter().fold(f32::NEG_INFINITY, f32::max)
}

/// Writes a value for each of `frames`, `[n, n_mels]`, to the columns of `out`, `[n_mels, n_frames]`, from the `first` one on: a
/// block of frames at a time, so that both sides stay in the cache.
pub(super) fn put_columns(
    frames: &[f32],
    n_mels: usize,
    first: usize,
    n_frames: usize,
    out: &mut [f32],
    value: impl Fn(f32) -> f32,
) {
    const BLOCK: usize = 16;
    for (block, frames) in frames.chunks(BLOCK * n_mels).enumerate() {
        for (mel, row) in out.chunks_exact_mut(n_frames).enumerate() {
            let columns = frames.iter().skip(mel).step_by(n_mels);
            for (out, &db) in row[first + block * BLOCK..].iter_mut().zip(columns) {
                *out = value(db);
            }
        }
    }
}

/// Decibels relative to the peak, in [-top_db, 0]. Only what fills a window up lies above its peak.
pub(super) fn below_peak(db: f32, peak_db: f32, top_db: f32) -> f32 {
    (db - peak_db).max(-top_db).min(0.0)
}

/// Whisper's `(max(log10, peak - 8) + 4) / 4`, of decibels.
pub(super) fn whisper_value(db: f32, peak_db: f32, top_db: f32) -> f32 {
    (db.max(peak_db - top_db) + 40.0) / 40.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::Filling;

    /// Three bands, two frames in a window.
    fn small() -> FrontEnd {
        FrontEnd { n_mels: 3, n_frames: 2, ..FrontEnd::reference() }
    }

    #[test]
    fn a_window_is_transposed_relative_to_its_peak_and_clamped() {
        let frames =
            Frames::from_values(3, vec![0.0, -40.0, -20.0, -10.0, -95.0, -90.0, 7.0, 7.0, 7.0]).unwrap();
        let mut out = [f32::NAN; 6];
        frames.window(&small(), 0, &mut out).unwrap();
        assert_eq!(out, [1.0, 70.0 / 80.0, 0.5, 0.0, 60.0 / 80.0, 0.0]);
        frames.window(&small(), 1, &mut out).unwrap();
        assert_eq!(out, [63.0 / 80.0, 1.0, 0.0, 1.0, 0.0, 1.0]);
    }

    #[test]
    fn what_fills_a_window_up_is_its_peak() {
        let filled = FrontEnd { filling: Filling::Peak, ..small() };
        let values = [vec![-50.0, -90.0, -140.0], vec![f32::INFINITY; 3]].concat();
        let mut out = [f32::NAN; 6];
        Frames::from_values(3, values).unwrap().window(&filled, 0, &mut out).unwrap();
        assert_eq!(out, [1.0, 1.0, 0.5, 1.0, 0.0, 1.0]);
    }

    #[test]
    fn dropping_keeps_the_count_and_the_values() {
        let numbered = |n: usize| (0..n * 3).map(|i| i as f32).collect::<Vec<_>>();
        for drops in [vec![0], vec![1], vec![1, 2, 3], vec![7], vec![100], vec![4, 2, 9, 10]] {
            let mut frames = Frames::from_values(3, numbered(10)).unwrap();
            for &drop in &drops {
                frames.drop_before(drop);
            }
            let start = drops.iter().copied().max().unwrap().min(10);
            assert_eq!(frames.range(), start..10, "{drops:?}");
            assert_eq!(frames.values(), &numbered(10)[start * 3..], "{drops:?}");
            frames.extend(2).fill(-1.0);
            assert_eq!(frames.range(), start..12, "{drops:?}");
        }
    }

    #[test]
    fn windows_out_of_range_are_refused() {
        let mut frames = Frames::from_values(3, vec![0.0; 30]).unwrap();
        frames.drop_before(2);
        let mut out = [0.0; 6];
        for start in [0, 1, 9, 10, usize::MAX] {
            assert!(frames.window(&small(), start, &mut out).is_err(), "{start}");
        }
        assert!(frames.window(&small(), 2, &mut out).is_ok());
        assert!(frames.window(&small(), 8, &mut out).is_ok());
        assert!(frames.window(&small(), 2, &mut out[..5]).is_err());
        assert!(frames.window(&FrontEnd { n_mels: 2, ..small() }, 2, &mut out[..4]).is_err());
        assert!(Frames::from_values(3, vec![0.0; 4]).is_err());
        assert!(Frames::from_values(0, vec![]).is_err());
    }

    #[test]
    fn values_that_no_sound_has_stay_in_range() {
        let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 3.0, f32::MAX, f32::MIN];
        let mut out = [f32::NAN; 6];
        Frames::from_values(3, odd.to_vec()).unwrap().window(&small(), 0, &mut out).unwrap();
        assert!(out.iter().all(|value| (0.0..=1.0).contains(value)), "{out:?}");
    }
}
