//! The extractor: a front end made ready to work, on whole clips and on streams.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Result;
use crate::features::decibel::powers_to_db;
use crate::features::frames::{below_peak, peak, put_columns, whisper_value};
use crate::features::mel::MelBank;
use crate::features::spectrum::{self, Spectrum};
use crate::features::{Filling, Frames, FrontEnd, Style};
use crate::nn::{Vectorised, vectorised};
use crate::parallel::share_out;

/// A front end made ready to work: a planned Fourier transform, its window and its filter bank.
///
/// Cheap to clone and free of state, so that one serves any number of threads. All functions take mono samples
/// at the front end's sample rate; none trims (see [`FrontEnd::trimmed`]).
///
/// Frame `t` is centred on sample `t * hop_length`; beyond the end of the audio there is silence, and before it what
/// the [`Style`] says. Samples that are not numbers give frames of silence.
#[derive(Clone)]
pub struct Extractor {
    plan: Arc<Plan>,
}

/// What is computed once for all frames.
struct Plan {
    front_end: FrontEnd,
    spectrum: Spectrum,
    bank: MelBank,
}

impl Extractor {
    /// Plans the work for a front end.
    ///
    /// # Errors
    /// [`Error::OutOfRange`](crate::Error::OutOfRange) where [`FrontEnd::validate`] refuses it.
    pub fn new(front_end: &FrontEnd) -> Result<Extractor> {
        front_end.validate()?;
        let FrontEnd { sample_rate_hz, n_fft, n_mels, fmin_hz, fmax_hz, .. } = *front_end;
        let plan = Plan {
            front_end: front_end.clone(),
            spectrum: Spectrum::new(n_fft),
            bank: MelBank::new(sample_rate_hz, n_fft, n_mels, f64::from(fmin_hz), f64::from(fmax_hz)),
        };
        Ok(Extractor { plan: Arc::new(plan) })
    }

    /// The parameters that this extractor was planned for.
    pub fn front_end(&self) -> &FrontEnd {
        &self.plan.front_end
    }

    /// The log-mel picture of a whole clip, [`FrontEnd::frames_of`] its length.
    pub fn log_mel(&self, samples: &[f32]) -> LogMel {
        let front_end = &self.plan.front_end;
        let (n_mels, n_frames) = (front_end.n_mels, front_end.frames_of(samples.len()));
        let mut db = vec![0.0; n_mels * n_frames];
        self.plan.columns(samples, n_frames, &mut db);
        LogMel::from_db(db, n_mels, n_frames, front_end)
    }

    /// The frames of a whole clip, absolute: at least as many as its first window has, a shorter clip being filled up at
    /// its end.
    pub fn frames(&self, samples: &[f32]) -> Frames {
        let front_end = &self.plan.front_end;
        let n_frames = front_end.frames_of(samples.len());
        let mut frames = Frames::new(front_end.n_mels);
        let at_least = front_end.window_frames(n_frames);
        self.plan.filled(samples, 0, 0..n_frames, at_least, &mut self.plan.scratch(), &mut frames);
        frames
    }

    /// The same frames as [`frames`](Extractor::frames), bit for bit, for audio that arrives in pieces.
    pub fn stream(&self) -> FrameStream {
        FrameStream {
            extractor: self.clone(),
            scratch: self.plan.scratch(),
            pending: Vec::new(),
            pending_from: 0,
            n_frames: 0,
        }
    }
}

impl fmt::Debug for Extractor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extractor").field("front_end", &self.plan.front_end).finish_non_exhaustive()
    }
}

/// Log-mel frames, `[n_mels, n_frames]`, row-major, in the manner of a [`Style`]: dB relative to the peak, in
/// [-top_db, 0], as `librosa.power_to_db(ref=np.max, top_db=top_db)`; or Whisper's values.
#[derive(Debug, Clone, PartialEq)]
pub struct LogMel {
    n_mels: usize,
    n_frames: usize,
    style: Style,
    data: Vec<f32>,
}

impl LogMel {
    /// The values, `[n_mels, n_frames]`, row-major. The first row is the lowest band.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The values, as [`data`](LogMel::data) shows them.
    pub fn into_data(self) -> Vec<f32> {
        self.data
    }

    /// Number of mel bands (rows).
    pub fn n_mels(&self) -> usize {
        self.n_mels
    }

    /// Number of frames (columns).
    pub fn n_frames(&self) -> usize {
        self.n_frames
    }

    /// The values in dB relative to the peak, whatever the style.
    pub fn relative_db(&self) -> Vec<f32> {
        match self.style {
            Style::Librosa => self.data.clone(),
            Style::Whisper => {
                let peak = peak(&self.data);
                self.data.iter().map(|value| 40.0 * (value - peak)).collect()
            }
        }
    }

    /// The picture of absolute frames, all that are in `frames`.
    pub fn from_frames(frames: &Frames, front_end: &FrontEnd) -> LogMel {
        let (n_mels, n_frames) = (frames.n_mels(), frames.range().len());
        let mut db = vec![0.0; n_mels * n_frames];
        put_columns(frames.values(), n_mels, 0, n_frames, &mut db, |db| db);
        LogMel::from_db(db, n_mels, n_frames, front_end)
    }

    /// The picture of absolute decibels, `[n_mels, n_frames]`.
    fn from_db(mut data: Vec<f32>, n_mels: usize, n_frames: usize, front_end: &FrontEnd) -> LogMel {
        let (style, top_db, peak_db) = (front_end.style, front_end.top_db, peak(&data));
        match style {
            Style::Librosa => data.iter_mut().for_each(|db| *db = below_peak(*db, peak_db, top_db)),
            Style::Whisper => data.iter_mut().for_each(|db| *db = whisper_value(*db, peak_db, top_db)),
        }
        LogMel { n_mels, n_frames, style, data }
    }
}

/// Turns audio that arrives in pieces into frames, with memory for one transform. Made by
/// [`Extractor::stream`].
#[derive(Clone)]
pub struct FrameStream {
    extractor: Extractor,
    scratch: Scratch,
    /// Samples that frames to come still need.
    pending: Vec<f32>,
    /// Index of the first of them, counted from the beginning of the audio.
    pending_from: usize,
    /// Frames that were given out.
    n_frames: usize,
}

impl FrameStream {
    /// Takes the next samples and appends the frames that they complete, each as soon as half a transform
    /// after its centre is known.
    ///
    /// # Panics
    /// Where `frames` has another number of mel bands than the front end.
    pub fn push(&mut self, samples: &[f32], frames: &mut Frames) {
        let plan = &*self.extractor.plan;
        let FrontEnd { n_fft, hop_length, .. } = plan.front_end;
        // Some frames for each thread at a time, so that the memory does not grow with what is pushed.
        for piece in samples.chunks(n_fft + 8 * FRAMES_IN_A_PIECE * hop_length) {
            self.pending.extend_from_slice(piece);
            let n_samples = self.pending_from + self.pending.len();
            let complete = match n_samples.checked_sub(n_fft / 2) {
                Some(last_centre) => 1 + last_centre / hop_length,
                None => 0,
            };
            if complete > self.n_frames {
                plan.frames(
                    &self.pending,
                    self.pending_from,
                    self.n_frames..complete,
                    &mut self.scratch,
                    frames,
                );
                self.n_frames = complete;
            }
            let needed_from = (self.n_frames * hop_length).saturating_sub(n_fft / 2);
            let done = needed_from.saturating_sub(self.pending_from).min(self.pending.len());
            self.pending.drain(..done);
            self.pending_from += done;
        }
    }

    /// Ends the audio and appends the last frames, up to at least one window: all of them are those of
    /// [`Extractor::frames`].
    ///
    /// # Panics
    /// Where `frames` has another number of mel bands than the front end.
    pub fn finish(self, frames: &mut Frames) {
        let front_end = &self.extractor.plan.front_end;
        let n_frames = front_end.frames_of(self.pending_from + self.pending.len());
        let at_least = front_end.window_frames(n_frames);
        self.finish_at(at_least, frames);
    }

    /// Ends the audio and appends the last frames that have some of it, without padding a short clip:
    /// [`LogMel::from_frames`] of them all is [`Extractor::log_mel`].
    ///
    /// # Panics
    /// Where `frames` has another number of mel bands than the front end.
    pub fn finish_unpadded(self, frames: &mut Frames) {
        self.finish_at(0, frames);
    }

    fn finish_at(mut self, at_least: usize, frames: &mut Frames) {
        let plan = &*self.extractor.plan;
        let n_frames = plan.front_end.frames_of(self.pending_from + self.pending.len());
        let left = self.n_frames..n_frames;
        plan.filled(&self.pending, self.pending_from, left, at_least, &mut self.scratch, frames);
    }
}

impl fmt::Debug for FrameStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameStream")
            .field("extractor", &self.extractor)
            .field("n_samples", &(self.pending_from + self.pending.len()))
            .field("n_frames", &self.n_frames)
            .finish_non_exhaustive()
    }
}

/// Frames that one thread makes at a time. Twice as many or more are shared out.
const FRAMES_IN_A_PIECE: usize = 16;

/// Memory that every frame uses again.
#[derive(Clone)]
struct Scratch {
    spectrum: spectrum::Scratch,
    power: Vec<f32>,
}

impl Plan {
    fn scratch(&self) -> Scratch {
        let power = vec![0.0; MelBank::power_len(self.front_end.n_fft)];
        Scratch { spectrum: self.spectrum.scratch(), power }
    }

    /// Writes the first `n_frames` frames of a whole clip to the columns of `out`, `[n_mels, n_frames]`.
    fn columns(&self, samples: &[f32], n_frames: usize, out: &mut [f32]) {
        let n_mels = self.front_end.n_mels;
        let out = Mutex::new(out);
        let piece = |(scratch, frames): &mut (Scratch, Vec<f32>), first: usize| {
            let range = first..(first + FRAMES_IN_A_PIECE).min(n_frames);
            let frames = &mut frames[..range.len() * n_mels];
            vectorised(Piece { plan: self, samples, from: 0, range, scratch, out: frames });
            let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
            put_columns(frames, n_mels, first, n_frames, &mut out, |db| db);
        };
        let state = || (self.scratch(), vec![0.0; FRAMES_IN_A_PIECE * n_mels]);
        let pieces = (0..n_frames).step_by(FRAMES_IN_A_PIECE);
        if n_frames < 2 * FRAMES_IN_A_PIECE {
            let mut state = state();
            pieces.for_each(|first| piece(&mut state, first));
        } else {
            share_out(pieces, state, piece);
        }
    }

    /// Appends the frames `range`, the last of a clip, and what fills it up to `at_least` frames.
    fn filled(
        &self,
        samples: &[f32],
        from: usize,
        range: Range<usize>,
        at_least: usize,
        scratch: &mut Scratch,
        out: &mut Frames,
    ) {
        let end = range.end.max(at_least);
        match self.front_end.filling {
            Filling::Silence => self.frames(samples, from, range.start..end, scratch, out),
            Filling::Peak => {
                self.frames(samples, from, range.clone(), scratch, out);
                out.extend(end - range.end).fill(f32::INFINITY);
            }
        }
    }

    /// Appends the frames `range`. `samples` are those from index `from` on; around them is silence.
    fn frames(
        &self,
        samples: &[f32],
        from: usize,
        range: Range<usize>,
        scratch: &mut Scratch,
        out: &mut Frames,
    ) {
        assert_eq!(out.n_mels(), self.front_end.n_mels, "frames of another front end");
        let piece = |range: Range<usize>, scratch: &mut Scratch, out: &mut [f32]| {
            vectorised(Piece { plan: self, samples, from, range, scratch, out });
        };
        let out = out.extend(range.len());
        if range.len() < 2 * FRAMES_IN_A_PIECE {
            return piece(range, scratch, out);
        }
        share_out(
            out.chunks_mut(FRAMES_IN_A_PIECE * self.front_end.n_mels).enumerate(),
            || self.scratch(),
            |scratch, (i, out)| piece(range.start + i * FRAMES_IN_A_PIECE..range.end, scratch, out),
        );
    }

    /// One frame: `before` zeros, `samples`, and zeros up to `n_fft` become `n_mels` values in dB.
    #[inline(always)]
    fn frame(&self, before: usize, samples: &[f32], scratch: &mut Scratch, out: &mut [f32]) {
        if samples.is_empty() {
            out.fill(0.0);
        } else {
            self.spectrum.power(before, samples, &mut scratch.spectrum, &mut scratch.power);
            self.bank.apply(&scratch.power, out);
        }
        powers_to_db(out, self.front_end.amin);
    }
}

/// The frames `range` of a clip, of which `samples` are those from index `from` on.
struct Piece<'a> {
    plan: &'a Plan,
    samples: &'a [f32],
    from: usize,
    range: Range<usize>,
    scratch: &'a mut Scratch,
    out: &'a mut [f32],
}

impl Vectorised for Piece<'_> {
    #[inline(always)]
    fn run(self) {
        let Piece { plan, samples, from, range, scratch, out } = self;
        let FrontEnd { n_fft, hop_length, n_mels, style, .. } = plan.front_end;
        for (t, frame) in range.zip(out.chunks_exact_mut(n_mels)) {
            // In samples counted from half a transform before the audio, so that nothing is negative.
            let (first, origin) = (t * hop_length, from + n_fft / 2);
            let before = origin.saturating_sub(first).min(n_fft);
            let start = first.saturating_sub(origin).min(samples.len());
            let end = (first + n_fft).saturating_sub(origin).min(samples.len());
            let mirrored_samples;
            let (before, own) = if style == Style::Whisper && before > 0 && from == 0 {
                mirrored_samples = mirrored(&samples[..end], before, n_fft);
                (0, mirrored_samples.as_slice())
            } else {
                (before, &samples[start..end])
            };
            plan.frame(before, own, scratch, frame);
        }
    }
}

/// A frame of `n_fft` samples that begins `before` samples before the audio: what is there mirrors what follows.
fn mirrored(samples: &[f32], before: usize, n_fft: usize) -> Vec<f32> {
    let at = |i: usize| samples.get(i).copied().unwrap_or(0.0);
    (0..n_fft).map(|i| if i < before { at(before - i) } else { at(i - before) }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::noise;

    fn small() -> FrontEnd {
        FrontEnd { n_fft: 64, hop_length: 24, n_mels: 6, n_frames: 8, ..FrontEnd::reference() }
    }

    #[test]
    fn three_seconds_are_130_frames_and_a_shorter_clip_fills_its_window() {
        let extractor = Extractor::new(&FrontEnd::reference()).unwrap();
        for (n_samples, log_mel_frames, frames) in
            [(0, 1, 130), (1, 1, 130), (511, 1, 130), (512, 2, 130), (66_047, 129, 130), (66_150, 130, 130)]
        {
            let samples = noise(n_samples, 1);
            let log_mel = extractor.log_mel(&samples);
            assert_eq!((log_mel.n_mels(), log_mel.n_frames()), (128, log_mel_frames), "{n_samples}");
            assert_eq!(log_mel.data().len(), 128 * log_mel_frames);
            assert_eq!(extractor.frames(&samples).range(), 0..frames, "{n_samples}");
        }
        assert_eq!(extractor.frames(&noise(100_000, 1)).range(), 0..196);
    }

    #[test]
    fn a_short_clip_may_be_filled_up_with_its_peak() {
        let front_end = FrontEnd { filling: Filling::Peak, ..small() };
        let (filled, plain) = (Extractor::new(&front_end).unwrap(), Extractor::new(&small()).unwrap());
        // Eight frames of six bands; n samples have 1 + n / 24 of their own.
        for (n_samples, n_own) in [(0, 1), (23, 1), (24, 2), (100, 5), (167, 7), (168, 8), (300, 13)] {
            let samples = noise(n_samples, 1);
            let frames = filled.frames(&samples);
            assert_eq!(frames.range(), 0..n_own.max(8), "{n_samples}");
            let (own, filling) = frames.values().split_at(6 * n_own);
            assert_eq!(own, &plain.frames(&samples).values()[..6 * n_own]);
            assert!(filling.iter().all(|db| *db == f32::INFINITY));
            let mut streamed = Frames::new(6);
            let mut stream = filled.stream();
            samples.chunks(7).for_each(|piece| stream.push(piece, &mut streamed));
            stream.finish(&mut streamed);
            assert_eq!(streamed, frames, "{n_samples}");
            let picture = LogMel::from_frames(&frames, &front_end);
            assert!(picture.data().iter().all(|db| (-80.0..=0.0).contains(db)), "{n_samples}");
            let at = |mel: usize, frame: usize| picture.data()[mel * picture.n_frames() + frame];
            assert!((n_own..8).all(|frame| at(0, frame) == 0.0), "{n_samples}");
        }
    }

    #[test]
    fn a_frame_is_the_textbook_sum() {
        // Window, discrete Fourier transform, power: written out in double precision.
        let front_end = small();
        let extractor = Extractor::new(&front_end).unwrap();
        let samples = noise(500, 3);
        let frames = extractor.frames(&samples);
        let bank = MelBank::new(22_050, 64, 6, 0.0, 11_025.0);
        for t in frames.range() {
            let mut power: Vec<f32> = (0..=32)
                .map(|k| {
                    let (mut re, mut im) = (0.0, 0.0);
                    for n in 0..64 {
                        let hann = (std::f64::consts::PI * n as f64 / 64.0).sin().powi(2);
                        let sample = (t * 24 + n).checked_sub(32).and_then(|i| samples.get(i)).copied();
                        let angle = std::f64::consts::TAU * (k * n) as f64 / 64.0;
                        re += f64::from(sample.unwrap_or(0.0)) * hann * angle.cos();
                        im -= f64::from(sample.unwrap_or(0.0)) * hann * angle.sin();
                    }
                    (re * re + im * im) as f32
                })
                .collect();
            power.resize(MelBank::power_len(64), 0.0);
            let mut want = [0.0; 6];
            bank.apply(&power, &mut want);
            for (got, want) in frames.values()[t * 6..][..6].iter().zip(want) {
                let want = 10.0 * want.max(1e-10).log10();
                assert!((got - want).abs() < 1e-4, "frame {t}: {got} {want}");
            }
        }
    }

    #[test]
    fn silence_is_at_the_floor_and_fills_a_window_with_ones() {
        let front_end = FrontEnd::reference();
        let extractor = Extractor::new(&front_end).unwrap();
        for n_samples in [0, 1, 5_000, 100_000] {
            let silence = vec![0.0; n_samples];
            assert!(extractor.log_mel(&silence).data().iter().all(|&db| db == 0.0), "{n_samples}");
            let frames = extractor.frames(&silence);
            assert!(frames.values().iter().all(|&db| db == -100.0), "{n_samples}");
            let mut out = vec![f32::NAN; front_end.window_len()];
            frames.window(&front_end, 0, &mut out).unwrap();
            assert!(out.iter().all(|&value| value == 1.0), "{n_samples}");
        }
    }

    #[test]
    fn samples_that_no_sound_has_give_finite_values() {
        let extractor = Extractor::new(&small()).unwrap();
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN_POSITIVE / 2.0] {
            let mut samples = noise(300, 5);
            samples[150] = odd;
            assert!(extractor.frames(&samples).values().iter().all(|db| db.is_finite()), "{odd}");
            let log_mel = extractor.log_mel(&samples);
            assert!(log_mel.data().iter().all(|db| (-80.0..=0.0).contains(db)), "{odd}");
        }
    }

    #[test]
    fn extractors_go_to_other_threads() {
        fn sendable<T: Send + Sync + Clone>() {}
        sendable::<Extractor>();
        sendable::<Frames>();
    }

    proptest! {
        /// Any chunking of a signal gives the same frames, bit for bit, also while old frames are dropped.
        #[test]
        fn a_stream_gives_the_frames_of_the_batch(
            n_samples in 0usize..2_000,
            cuts in prop::collection::vec(0usize..2_000, 0..40),
            n_fft in (8usize..=64).prop_map(|half| 2 * half),
            hop in 1usize..=16,
            seed: u32,
            style in prop_oneof![Just(Style::Librosa), Just(Style::Whisper)],
        ) {
            let front_end = FrontEnd { n_fft, hop_length: hop, style, ..small() };
            let extractor = Extractor::new(&front_end).unwrap();
            let samples = noise(n_samples, seed);
            let want = extractor.frames(&samples);

            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(n_samples)).chain([0, n_samples]).collect();
            cuts.sort_unstable();
            let (mut stream, mut dropping_stream) = (extractor.stream(), extractor.stream());
            let (mut got, mut dropping) = (Frames::new(front_end.n_mels), Frames::new(front_end.n_mels));
            for piece in cuts.windows(2) {
                let piece = &samples[piece[0]..piece[1]];
                stream.push(piece, &mut got);
                dropping_stream.push(piece, &mut dropping);
                dropping.drop_before(dropping.range().end.saturating_sub(3));
            }
            let mut unpadded = got.clone();
            stream.clone().finish_unpadded(&mut unpadded);
            prop_assert_eq!(LogMel::from_frames(&unpadded, &front_end), extractor.log_mel(&samples));
            stream.finish(&mut got);
            dropping_stream.finish(&mut dropping);
            prop_assert_eq!(&got, &want);
            prop_assert_eq!(dropping.range().end, want.range().end);
            let kept = &want.values()[dropping.range().start * front_end.n_mels..];
            prop_assert_eq!(dropping.values(), kept);
        }
    }
}
