//! From one recording of any length to the windows that the network looks at.
//!
//! A window is one input of the network, [`Cut::n_frames`] frames. Windows follow each other at [`Cut::hop_frames`],
//! for one answer at half their length; the last one ends with the recording, so that nothing of it is ignored. A
//! recording shorter than one window is padded with silence at its end, or makes a shorter window, as the front end
//! has it. Where it trims, and has shorter windows, the network is not shown a window's silent [`Ends`].

use std::ops::Range;

use crate::Result;
use crate::audio::SampleRate;
use crate::blocks::{Block, Blocks};
use crate::ends::Ends;
use crate::features::{Extractor, FrameStream, Frames, FrontEnd};
use crate::voice::{Hearing, Voice};

/// A window is silent if the lowest and the highest sample of the recording in its time lie no more than twice
/// this apart: 60 dB below full scale, whatever constant offset the recording has.
///
/// Conversation recorded at a sensible level peaks 10 to 30 dB below full scale, whispers and quiet phrases at
/// about -45 dB; the noise of 16-bit dither lies at -90 dB, that of a quiet room in a good microphone at
/// -65 dB and less.
pub(crate) const SILENCE_PEAK: f32 = 0.001;

/// How a recording is cut into windows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cut {
    /// Frames of a window; [`FrontEnd::n_frames`], or fewer where the front end has shorter windows.
    pub(crate) n_frames: usize,
    /// Distance between the beginnings of two windows, frames, at least 1. Window `k` begins at the frame nearest to
    /// `k` times this.
    pub(crate) hop_frames: f64,
}

impl Cut {
    /// Whole windows that overlap by half.
    pub(crate) fn by_half(front_end: &FrontEnd) -> Cut {
        Cut { n_frames: front_end.n_frames, hop_frames: (front_end.n_frames / 2).max(1) as f64 }
    }
}

/// Cuts the windows of one recording, whose samples arrive in pieces.
///
/// Any division into pieces gives the same windows, bit for bit. Holds one window and a half of frames.
pub(crate) struct Windows {
    extractor: Extractor,
    /// `None`: the recording is over.
    stream: Option<FrameStream>,
    frames: Frames,
    loudness: Loudness,
    voice: Voice,
    /// `None`: windows keep their silent ends.
    ends: Option<Ends>,
    cut: Cut,
    /// Windows that were given out.
    n_cut: usize,
    /// Where the last window that was given out started: frames.
    last_start: Option<usize>,
}

/// One window that was cut.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Window {
    /// Its first frame, counted from the beginning of the recording.
    pub(crate) start_frame: usize,
    /// The part of its frames that the network is shown: all, or those without silent ends, see [`Ends`].
    pub(crate) shown: Range<usize>,
    /// What is to be heard in it; nothing also where it is as quiet as [`SILENCE_PEAK`].
    pub(crate) hearing: Hearing,
}

impl Windows {
    /// No windows yet of a recording at `sample_rate`.
    pub(crate) fn new(extractor: &Extractor, sample_rate: SampleRate, cut: Cut) -> Windows {
        let front_end = extractor.front_end();
        Windows {
            cut,
            n_cut: 0,
            stream: Some(extractor.stream()),
            frames: Frames::new(front_end.n_mels),
            loudness: Loudness::new(sample_rate, front_end),
            voice: Voice::new(sample_rate),
            ends: Ends::new(front_end),
            extractor: extractor.clone(),
            last_start: None,
        }
    }

    /// Takes the next samples as they are in the recording, to judge by them what is silent: a resampler rings at
    /// the ends of a recording that has a constant offset.
    pub(crate) fn listen(&mut self, original: &[f32]) {
        self.loudness.blocks.push(original);
        self.voice.listen(original);
    }

    /// What of the recording is voice. What lies before the window that was given out last is forgotten.
    pub(crate) fn voice(&self) -> &Voice {
        &self.voice
    }

    /// Passes over `n` samples at the front end's rate.
    pub(crate) fn skip(&mut self, n: usize) {
        self.loudness.n_skipped += n as u64;
    }

    /// Takes the next samples, at the front end's rate; [`Windows::listen`] must have had the original ones. Call
    /// [`Windows::next`] until it gives nothing before pushing more, so that the memory stays bounded.
    pub(crate) fn push(&mut self, samples: &[f32]) {
        if let Some(stream) = &mut self.stream {
            stream.push(samples, &mut self.frames);
        }
        if let Some(ends) = &mut self.ends {
            ends.push(samples);
        }
    }

    /// Leaves the windows' silent ends as they are. To be called before the first samples.
    pub(crate) fn keep_ends(&mut self) {
        self.ends = None;
    }

    /// Ends the recording: [`Windows::next`] now gives the last windows.
    pub(crate) fn finish(&mut self) {
        if let Some(stream) = self.stream.take() {
            stream.finish(&mut self.frames);
            self.loudness.blocks.finish();
            self.voice.finish();
            self.ends.iter_mut().for_each(Ends::finish);
        }
    }

    /// Writes what is shown of the next window to the beginning of `out`, `[n_mels, window.shown.len()]`, and says which it
    /// is; nothing where more samples are needed first, or where the recording is over. `out` has room for a whole window.
    pub(crate) fn next(&mut self, out: &mut [f32]) -> Result<Option<Window>> {
        let Some(start_frame) = self.ready() else { return Ok(None) };
        let front_end = self.extractor.front_end();
        // A recording that is shorter than a window may make a shorter one.
        let n_frames = self.cut.n_frames.min(self.frames.range().end - start_frame);
        let all = start_frame..start_frame + n_frames;
        let (start_s, end_s) = (self.seconds(all.start), self.seconds(all.end));
        let shown = match &self.ends {
            None => all,
            Some(ends) => ends.trimmed(all, self.voice.floor_db(end_s)),
        };
        self.frames.window(front_end, shown.start, &mut out[..shown.len() * front_end.n_mels])?;
        let hearing = match self.loudness.swing(self.times(start_frame)) < 2.0 * SILENCE_PEAK {
            true => Hearing::Nothing,
            false => self.voice.in_window(start_s, end_s),
        };
        self.last_start = Some(start_frame);
        self.n_cut += 1;
        // The next window starts later than this one, and possibly by a single frame.
        self.frames.drop_before(start_frame);
        self.loudness.drop_before(self.times(start_frame).start);
        // A stream asks for the background before the time that the frame stands for.
        self.voice.drop_before(start_s, end_s - front_end.frames_s(1));
        self.ends.iter_mut().for_each(|ends| ends.drop_before(start_frame));
        Ok(Some(Window { start_frame, shown, hearing }))
    }

    /// Whether the recording is over and the window that was given out last ends with it.
    pub(crate) fn are_over(&self) -> bool {
        let end = self.frames.range().end;
        self.stream.is_none() && self.last_start.is_some_and(|start| start + self.cut.n_frames >= end)
    }

    /// Makes [`Windows::next`] give the last window again where the recording is [over](Windows::are_over).
    pub(crate) fn repeat_last(&mut self) {
        if self.are_over() {
            self.last_start = None;
        }
    }

    /// When the centre of a frame is heard, seconds from the beginning of the recording.
    fn seconds(&self, frame: usize) -> f64 {
        let front_end = self.extractor.front_end();
        let skipped_s = self.loudness.n_skipped as f64 / f64::from(front_end.sample_rate_hz);
        skipped_s + front_end.frames_s(frame)
    }

    /// The start of the window that can be cut now.
    fn ready(&self) -> Option<usize> {
        let n_frames = self.cut.n_frames;
        let next_start = (self.n_cut as f64 * self.cut.hop_frames).round() as usize;
        let next_end = next_start + n_frames;
        let (end, finished) = (self.frames.range().end, self.stream.is_none());
        let heard = finished
            || self.loudness.knows(self.times(next_start))
                && self.voice.knows(self.seconds(next_end))
                && self.ends.as_ref().is_none_or(|ends| ends.knows(next_end));
        if next_end <= end && heard {
            return Some(next_start);
        }
        let covered = self.last_start.map_or(0, |start| start + n_frames);
        (finished && covered < end).then(|| end.saturating_sub(n_frames))
    }

    /// The samples at the front end's rate that decide whether a window is silent: from the centre of its first
    /// frame to that of its last.
    fn times(&self, start_frame: usize) -> Range<u64> {
        let hop_length = self.extractor.front_end().hop_length;
        let end_frame = start_frame + (self.cut.n_frames - 1).max(1);
        (start_frame * hop_length) as u64..(end_frame * hop_length) as u64
    }
}

/// Lowest and highest sample of each block of a recording, at its own sample rate. A block is about as long as
/// the hop between two frames.
struct Loudness {
    /// The recording's sample rate and the front end's, Hz.
    from: u64,
    to: u64,
    /// Samples at the front end's rate that lie before what the windows count from.
    n_skipped: u64,
    blocks: Blocks<Extremes>,
}

/// Lowest and highest of some samples.
#[derive(Debug, Clone, Copy)]
struct Extremes(f32, f32);

impl Default for Extremes {
    /// Those of no samples.
    fn default() -> Extremes {
        Extremes(f32::INFINITY, f32::NEG_INFINITY)
    }
}

impl Block for Extremes {
    type Kept = Extremes;

    fn push(&mut self, samples: &[f32]) {
        *self = samples.iter().fold(*self, |all, &x| Extremes(all.0.min(x), all.1.max(x)));
    }

    fn close(self) -> Extremes {
        self
    }
}

impl Loudness {
    fn new(sample_rate: SampleRate, front_end: &FrontEnd) -> Loudness {
        let (from, to) = (u64::from(sample_rate.0), u64::from(front_end.sample_rate_hz));
        let n_block = (front_end.hop_length as u64 * from / to).max(1) as usize;
        Loudness { from, to, n_skipped: 0, blocks: Blocks::new(n_block) }
    }

    /// The blocks that hold these samples at the front end's rate.
    fn blocks(&self, samples: Range<u64>) -> Range<usize> {
        let original = |sample: u64| (sample + self.n_skipped) * self.from / self.to;
        let (start, end) = (original(samples.start), original(samples.end));
        let n_block = self.blocks.n_block() as u64;
        (start / n_block) as usize..end.div_ceil(n_block) as usize
    }

    /// Whether the blocks with these samples are complete.
    fn knows(&self, samples: Range<u64>) -> bool {
        self.blocks(samples).end <= self.blocks.n_complete()
    }

    /// Distance between the lowest and the highest of these samples; 0 where there are none.
    fn swing(&self, samples: Range<u64>) -> f32 {
        let blocks = self.blocks.get(self.blocks(samples));
        let Extremes(low, high) =
            blocks.fold(Extremes::default(), |all, block| Extremes(all.0.min(block.0), all.1.max(block.1)));
        (high - low).max(0.0)
    }

    /// Forgets what lies before this sample at the front end's rate.
    fn drop_before(&mut self, sample: u64) {
        self.blocks.drop_before(self.blocks(sample..sample).start);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::features::Style;
    use crate::testing::noise;

    /// Two frames of 16 samples make a block of 8; a window has 6 frames.
    fn small() -> FrontEnd {
        FrontEnd {
            sample_rate_hz: 8_000,
            n_fft: 16,
            hop_length: 8,
            n_mels: 4,
            fmax_hz: 4_000.0,
            n_frames: 6,
            ..FrontEnd::reference()
        }
    }

    /// All windows of a recording that comes in pieces.
    fn cut(extractor: &Extractor, pieces: &[&[f32]]) -> Vec<(Window, Vec<u32>)> {
        let front_end = extractor.front_end();
        let cut = Cut::by_half(front_end);
        let mut windows = Windows::new(extractor, SampleRate(front_end.sample_rate_hz), cut);
        let mut out = vec![0.0; extractor.front_end().window_len()];
        let mut all = Vec::new();
        let mut take = |windows: &mut Windows| {
            while let Some(window) = windows.next(&mut out).expect("a window within the frames") {
                all.push((window, out.iter().map(|x| x.to_bits()).collect()));
            }
        };
        for piece in pieces {
            windows.listen(piece);
            windows.push(piece);
            take(&mut windows);
        }
        windows.finish();
        take(&mut windows);
        all
    }

    fn starts(n_samples: usize) -> Vec<usize> {
        let extractor = Extractor::new(&small()).expect("a valid front end");
        cut(&extractor, &[&noise(n_samples, 1)]).iter().map(|(window, _)| window.start_frame).collect()
    }

    #[test]
    fn windows_overlap_by_half_and_the_last_ends_with_the_recording() {
        // n samples have 1 + n / 8 frames.
        assert_eq!(starts(0), [0]);
        assert_eq!(starts(39), [0]);
        assert_eq!(starts(40), [0], "exactly six frames");
        assert_eq!(starts(48), [0, 1], "seven");
        assert_eq!(starts(64), [0, 3], "nine: the second window fits exactly");
        assert_eq!(starts(72), [0, 3, 4]);
        assert_eq!(starts(8 * 17), [0, 3, 6, 9, 12]);
        assert_eq!(starts(8 * 18), [0, 3, 6, 9, 12, 13]);
    }

    #[test]
    fn each_window_is_the_one_of_the_whole_recording() {
        let extractor = Extractor::new(&small()).unwrap();
        let samples = noise(500, 1);
        let frames = extractor.frames(&samples);
        let mut expected = vec![0.0; small().window_len()];
        let windows = cut(&extractor, &[&samples]);
        assert_eq!(windows.len(), 20);
        for (window, values) in windows {
            frames.window(&small(), window.start_frame, &mut expected).unwrap();
            assert_eq!(values, expected.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), "{window:?}");
        }
    }

    #[test]
    fn silence_is_judged_window_by_window() {
        let extractor = Extractor::new(&small()).unwrap();
        let silent = |samples: &[f32]| -> Vec<bool> {
            cut(&extractor, &[samples]).iter().map(|(window, _)| window.hearing == Hearing::Nothing).collect()
        };
        // Windows start at frames 0, 3, 6, 9, 11 (the last), that is at samples 0, 24, 48, 72, 88, and reach over
        // 40 samples.
        let mut samples = vec![0.0; 128];
        assert_eq!(silent(&samples), [true; 5]);
        samples[70] = 0.1;
        assert_eq!(silent(&samples), [true, true, false, true, true]);
        samples[70] = 1.9 * SILENCE_PEAK;
        assert_eq!(silent(&samples), [true; 5], "within the threshold on both sides of its middle");
        samples[71] = -0.2 * SILENCE_PEAK;
        assert_eq!(silent(&samples), [true, true, false, true, true]);
    }

    #[test]
    fn a_constant_offset_is_silent_and_what_is_no_number_too() {
        let extractor = Extractor::new(&small()).unwrap();
        for value in [0.3, -1.0, f32::NAN] {
            let windows = cut(&extractor, &[&[value; 200]]);
            assert!(windows.iter().all(|(window, _)| window.hearing == Hearing::Nothing), "{value}");
        }
        assert_eq!(cut(&extractor, &[&[]])[0].0.hearing, Hearing::Nothing);
        assert_ne!(
            cut(&extractor, &[&[0.5, -0.5]])[0].0.hearing,
            Hearing::Nothing,
            "two samples are enough to be heard"
        );
    }

    proptest! {
        #[test]
        fn any_pieces_give_the_same_windows(
            n_samples in 0usize..1_000,
            cuts in prop::collection::vec(0usize..1_000, 0..30),
            n_fft in (8usize..=32).prop_map(|half| 2 * half),
            hop in 1usize..=16,
            n_frames in 1usize..=7,
            quiet in prop::collection::vec(0usize..1_000, 0..4),
            style in prop_oneof![Just(Style::Librosa), Just(Style::Whisper)],
            trim_top_db in prop_oneof![Just(None), Just(Some(30.0))],
        ) {
            let front_end = FrontEnd { n_fft, hop_length: hop, n_frames, style, trim_top_db, ..small() };
            let extractor = Extractor::new(&front_end).unwrap();
            let mut samples = noise(n_samples, 1);
            for from in quiet {
                samples.iter_mut().skip(from).take(200).for_each(|x| *x = 0.0);
            }
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(n_samples)).chain([0, n_samples]).collect();
            cuts.sort_unstable();
            let pieces: Vec<&[f32]> = cuts.windows(2).map(|w| &samples[w[0]..w[1]]).collect();
            prop_assert_eq!(cut(&extractor, &pieces), cut(&extractor, &[&samples]));
        }
    }
}
