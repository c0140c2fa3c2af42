//! Silent ends of windows: a network that learned from trimmed clips is shown trimmed windows.

use std::ops::Range;

use crate::blocks::Blocks;
use crate::features::{FRAME_LENGTH, FrontEnd, loud};
use crate::moments::Moments;

/// How loud a recording is from frame to frame, whose samples arrive in pieces, and which frames of a window are its silent ends.
///
/// It is done as [`trim`](crate::features::trim) does with a whole clip, but for a finer hop: that of the front end.
pub(crate) struct Ends {
    top_db: f32,
    /// Hops before the centre of a frame of [`trim`](crate::features::trim), and behind it.
    reach: usize,
    /// For each frame the samples from its centre to that of the next.
    hops: Blocks<Moments>,
}

impl Ends {
    /// `None` where the front end does not trim, or where the network takes whole windows only.
    pub(crate) fn new(front_end: &FrontEnd) -> Option<Ends> {
        let top_db = front_end.trim_top_db.filter(|_| front_end.makes_shorter_windows())?;
        let reach = (FRAME_LENGTH / 2).div_ceil(front_end.hop_length);
        Some(Ends { top_db, reach, hops: Blocks::new(front_end.hop_length) })
    }

    /// Takes the next samples, at the front end's rate.
    pub(crate) fn push(&mut self, samples: &[f32]) {
        self.hops.push(samples);
    }

    /// Ends the recording: its last hop need not be whole.
    pub(crate) fn finish(&mut self) {
        self.hops.finish();
    }

    /// Whether everything before the centre of this frame was heard.
    pub(crate) fn knows(&self, frame: usize) -> bool {
        frame <= self.hops.n_complete()
    }

    /// These frames without those at both ends that are silent: more than `top_db` below the loudest, or no louder than
    /// `floor_db` below full scale, which does not count where all of them are so quiet. One is left at least. What lies around
    /// the frames has no say.
    pub(crate) fn trimmed(&self, frames: Range<usize>, floor_db: f32) -> Range<usize> {
        let hops: Vec<Moments> = self.hops.get(frames.clone()).collect();
        let power = |t: usize| {
            let around = t.saturating_sub(self.reach)..(t + self.reach).min(hops.len());
            hops[around].iter().copied().sum::<Moments>().power()
        };
        let mut powers: Vec<f64> = (0..hops.len()).map(power).collect();
        let floor = 10f64.powf(f64::from(floor_db) / 10.0);
        if powers.iter().any(|power| *power > floor) {
            powers.iter_mut().filter(|power| **power <= floor).for_each(|power| *power = 0.0);
        }
        let loud = loud(&powers, self.top_db);
        if loud.is_empty() { frames } else { frames.start + loud.start..frames.start + loud.end }
    }

    /// Forgets what lies before the centre of this frame.
    pub(crate) fn drop_before(&mut self, frame: usize) {
        self.hops.drop_before(frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::Style;
    use crate::testing::noise;

    /// Hops of 256 samples; a frame of `trim` reaches over eight of them.
    fn ends(samples: &[f32]) -> Ends {
        let front_end =
            FrontEnd { hop_length: 256, n_fft: 512, trim_top_db: Some(30.0), ..FrontEnd::whisper() };
        let mut ends = Ends::new(&front_end).expect("windows of any length, and a threshold");
        ends.push(samples);
        ends.finish();
        ends
    }

    /// 100 hops, of which those from 40 to 60 are this loud, the others less by so much.
    fn island(amplitude: f32, below_db: f32) -> Vec<f32> {
        let quiet = amplitude * 10f32.powf(-below_db / 20.0);
        let scale = |n: usize| if (40..60).contains(&(n / 256)) { amplitude } else { quiet };
        noise(25_600, 1).into_iter().enumerate().map(|(n, x)| scale(n) * x).collect()
    }

    #[test]
    fn silent_ends_of_a_window_go_whatever_lies_around_it() {
        let ends = ends(&island(0.1, 40.0));
        // Half a frame of `trim` more at either end, as there.
        for (window, expected) in [(0..100, 37..64), (20..55, 37..55), (50..90, 50..64)] {
            let got = ends.trimmed(window.clone(), -120.0);
            assert!(
                got.start.abs_diff(expected.start) <= 1 && got.end.abs_diff(expected.end) <= 1,
                "{got:?}"
            );
        }
        assert_eq!(ends.trimmed(70..95, -120.0), 70..95, "all equally quiet");
    }

    #[test]
    fn what_is_no_louder_than_the_background_goes_too() {
        // The background is at -44.8 dB, 20 dB below the sound.
        let ends = ends(&island(0.1, 20.0));
        assert_eq!(ends.trimmed(0..100, -120.0), 0..100);
        let got = ends.trimmed(0..100, -40.0);
        assert!(got.start.abs_diff(37) <= 1 && got.end.abs_diff(64) <= 1, "{got:?}");
        assert_eq!(ends.trimmed(0..30, -40.0), 0..30, "there is nothing else");
        assert_eq!(ends.trimmed(0..100, 0.0), 0..100);
    }

    #[test]
    fn odd_recordings_keep_a_frame_at_least() {
        for samples in [vec![], vec![0.5], vec![0.0; 3_000], vec![0.3; 3_000], vec![f32::NAN; 3_000]] {
            let n = samples.len().div_ceil(256).max(1);
            for floor_db in [-120.0, -40.0, f32::INFINITY, f32::NAN] {
                assert_eq!(ends(&samples).trimmed(0..n, floor_db), 0..n, "{floor_db}");
            }
        }
        let reference = FrontEnd { trim_top_db: Some(30.0), ..FrontEnd::reference() };
        assert!(Ends::new(&reference).is_none(), "whole windows only");
        assert!(Ends::new(&FrontEnd::whisper()).is_none() && reference.style == Style::Librosa);
    }

    #[test]
    fn what_is_forgotten_was_not_needed() {
        let samples = island(0.1, 40.0);
        let (whole, mut short) = (ends(&samples), ends(&samples));
        short.drop_before(30);
        assert_eq!(short.hops.len(), 70);
        assert_eq!(short.trimmed(30..80, -40.0), whole.trimmed(30..80, -40.0));
        assert!(short.knows(100) && !short.knows(101));
    }
}
