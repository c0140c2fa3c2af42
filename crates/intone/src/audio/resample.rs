//! Sample rate conversion that keeps every sample at its place in time.

use std::fmt;
use std::sync::Mutex;

use intone_fft::BlockResampler;

use super::SampleRate;
use crate::Result;
use crate::parallel::{patiently, share_out};

/// Length of the anti-aliasing filter, in samples of the lower of the two rates, at least. With the squared
/// Blackman-Harris window it passes up to 0.95 of the lower Nyquist frequency within 0.001 dB and suppresses
/// what lies above it by 130 dB (the tests below measure it).
const MIN_FILTER_LEN: u64 = 512;

/// The longest exchange of whole samples, such as 320 for 441, that is done exactly: block lengths, and with
/// them time and memory, grow with it. Only rates above 262,144 Hz can need a longer one; their ratio is
/// rounded, by less than 4e-6, which is less than sound cards' clocks are off.
const MAX_STEP: u32 = 1 << 18;

/// Blocks of a signal that are worth a thread of their own.
const MIN_BLOCKS_IN_PIECE: usize = 8;

/// Engines that are kept for the next signal, as many as threads are likely to want at once; and the longest block of
/// those: 64 KiB, which all usual rates stay below.
const MAX_IDLE: usize = 16;
const MAX_IDLE_BLOCK: usize = 1 << 14;

/// Converts a signal from one sample rate to another, piece by piece.
///
/// However the signal is cut, the result is the same, bit for bit: `round(n * to / from)` samples (at least
/// one if there was one), and what happened at input sample `k` happens at output sample `k * to / from`.
/// Equal rates are the identity. It holds back as much as half its filter's length, 10 to 50 ms for the usual
/// rates and a second for those without a common divisor.
pub struct Resampler {
    from: SampleRate,
    to: SampleRate,
    /// `None`: the rates are equal.
    engine: Option<Engine>,
    /// Samples taken in and given out since the beginning of the signal.
    n_in: u64,
    n_out: u64,
}

impl Resampler {
    /// A converter between two rates.
    ///
    /// # Errors
    /// [`crate::Error::OutOfRange`] for a rate that cannot be.
    pub fn new(from: SampleRate, to: SampleRate) -> Result<Resampler> {
        let (from, to) = (from.validate()?, to.validate()?);
        let engine = if from == to { None } else { Some(Engine::take(from, to)?) };
        Ok(Resampler { from, to, engine, n_in: 0, n_out: 0 })
    }

    /// Takes the next samples of the signal and appends to `out` all that can be said from what came so far.
    pub fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        self.n_in += samples.len() as u64;
        match &mut self.engine {
            None => out.extend_from_slice(samples),
            Some(engine) => {
                let len_before = out.len();
                engine.push(samples, out);
                self.n_out += (out.len() - len_before) as u64;
            }
        }
    }

    /// Appends the rest of the signal to `out`, and is then ready for another signal.
    pub fn finish(&mut self, out: &mut Vec<f32>) {
        if let Some(engine) = &mut self.engine {
            let n_missing = output_len(self.n_in, self.from, self.to).saturating_sub(self.n_out);
            let len_after = out.len() + n_missing as usize;
            let silence = vec![0.0; engine.block_in.len()];
            while out.len() < len_after {
                engine.push(&silence, out);
            }
            out.truncate(len_after);
            engine.reset();
        }
        (self.n_in, self.n_out) = (0, 0);
    }
}

impl Drop for Resampler {
    fn drop(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.give_back();
        }
    }
}

/// Converts a whole signal, parts of it on different threads. The result is that of [`Resampler`], bit for bit.
pub(super) fn resample(samples: &[f32], from: SampleRate, to: SampleRate) -> Result<Vec<f32>> {
    let (from, to) = (from.validate()?, to.validate()?);
    if from == to || samples.is_empty() {
        return Ok(samples.to_vec());
    }
    let n_out = output_len(samples.len() as u64, from, to) as usize;
    let engine = Engine::take(from, to)?;
    let (len_in, len_out, delay) = (engine.block_in.len(), engine.block_out.len(), engine.blocks.delay());
    let n_blocks = (n_out + delay).div_ceil(len_out);
    let in_piece = n_blocks.div_ceil(rayon::current_num_threads()).max(MIN_BLOCKS_IN_PIECE);
    let mut engines = vec![engine];
    while engines.len() < n_blocks.div_ceil(in_piece) {
        engines.push(Engine::take(from, to)?);
    }
    let mut resampled = vec![0.0; n_out];
    // The first piece lacks what comes before the signal.
    let (first, others) = resampled.split_at_mut((in_piece * len_out - delay).min(n_out));
    let pieces = std::iter::once(first).chain(others.chunks_mut(in_piece * len_out)).zip(engines);
    let pieces: Vec<_> = pieces.enumerate().collect();
    share_out(
        pieces.into_iter(),
        || vec![0.0; len_out],
        |block_out, (piece, (mut out, mut engine))| {
            let first = piece * in_piece;
            // What a block leaves to the next one depends on that block alone.
            if let Some(before) = first.checked_sub(1) {
                engine.convert(samples, before * len_in, block_out);
            }
            for block in first.. {
                let late = if block == 0 { delay } else { 0 };
                let n = out.len().min(len_out - late);
                let (own, rest) = out.split_at_mut(n);
                out = rest;
                if n == len_out {
                    engine.convert(samples, block * len_in, own);
                } else {
                    engine.convert(samples, block * len_in, block_out);
                    own.copy_from_slice(&block_out[late..][..n]);
                }
                if out.is_empty() {
                    break;
                }
            }
            engine.give_back();
        },
    );
    Ok(resampled)
}

impl fmt::Debug for Resampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resampler").field("from", &self.from).field("to", &self.to).finish_non_exhaustive()
    }
}

/// The number of samples that `n` samples become: `round(n * to / from)`, and at least one if there was one.
pub(super) fn output_len(n: u64, from: SampleRate, to: SampleRate) -> u64 {
    let (n, from, to) = (u128::from(n), u128::from(from.0), u128::from(to.0));
    ((2 * n * to + from) / (2 * from)).max(n.min(1)) as u64
}

/// Overlap-add convolution in the frequency domain: blocks of `block_in` samples become blocks of
/// `block_out`, delayed by half a block.
struct Engine {
    /// Rates in lowest terms.
    steps: (u32, u32),
    blocks: BlockResampler,
    /// The block that is being filled, and how much of it is.
    block_in: Vec<f32>,
    n_filled: usize,
    block_out: Vec<f32>,
    /// Output samples that are still to be dropped: the filter's delay.
    n_skip: usize,
}

/// Engines without a signal: filter and transforms are the same for every signal at these rates.
static IDLE: Mutex<Vec<Engine>> = Mutex::new(Vec::new());

impl Engine {
    /// An engine that has heard nothing yet.
    fn take(from: SampleRate, to: SampleRate) -> Result<Engine> {
        let steps = reduce(from.0, to.0);
        let idle = patiently(&IDLE).and_then(|mut idle| {
            let at = idle.iter().position(|engine| engine.steps == steps)?;
            Some(idle.swap_remove(at))
        });
        idle.map_or_else(|| Engine::new(from, to), Ok)
    }

    /// Leaves the engine to the next signal.
    fn give_back(mut self) {
        if self.block_in.len().max(self.block_out.len()) > MAX_IDLE_BLOCK {
            return;
        }
        self.reset();
        let Some(mut idle) = patiently(&IDLE) else { return };
        let oldest = (idle.len() == MAX_IDLE).then(|| idle.remove(0));
        idle.push(self);
        drop(idle);
        drop(oldest);
    }

    fn new(from: SampleRate, to: SampleRate) -> Result<Engine> {
        let (step_in, step_out) = reduce(from.0, to.0);
        // Blocks hold a power of two of the smallest exchange of whole samples: both lengths are then even,
        // so that half a block, the filter's delay, is a whole number of samples on both sides.
        let mut n_steps = 2u64;
        while n_steps * u64::from(step_in.min(step_out)) < MIN_FILTER_LEN {
            n_steps *= 2;
        }
        let len_in = (n_steps * u64::from(step_in)) as usize;
        let blocks = BlockResampler::new(step_in as usize, step_out as usize, len_in)
            .map_err(|error| crate::Error::Audio(format!("no resampling from {from} to {to}: {error}")))?;
        Ok(Engine {
            steps: (step_in, step_out),
            block_in: vec![0.0; len_in],
            n_filled: 0,
            block_out: vec![0.0; blocks.len_out()],
            n_skip: blocks.delay(),
            blocks,
        })
    }

    fn push(&mut self, mut samples: &[f32], out: &mut Vec<f32>) {
        while !samples.is_empty() {
            let n = samples.len().min(self.block_in.len() - self.n_filled);
            self.block_in[self.n_filled..self.n_filled + n].copy_from_slice(&samples[..n]);
            self.n_filled += n;
            samples = &samples[n..];
            if self.n_filled == self.block_in.len() {
                self.blocks.process(&self.block_in, &mut self.block_out);
                let n_skip = self.n_skip.min(self.block_out.len());
                out.extend_from_slice(&self.block_out[n_skip..]);
                self.n_skip -= n_skip;
                self.n_filled = 0;
            }
        }
    }

    /// Converts the block that begins at sample `start`; what lies behind the signal is silence.
    fn convert(&mut self, samples: &[f32], start: usize, out: &mut [f32]) {
        let rest = samples.get(start..).unwrap_or_default();
        if let Some(block) = rest.get(..self.block_in.len()) {
            self.blocks.process(block, out);
        } else {
            self.block_in[..rest.len()].copy_from_slice(rest);
            self.block_in[rest.len()..].fill(0.0);
            self.blocks.process(&self.block_in, out);
        }
    }

    fn reset(&mut self) {
        self.blocks.reset();
        self.n_filled = 0;
        self.n_skip = self.blocks.delay();
    }
}

/// The ratio of two rates in lowest terms, rounded so that both terms are at most [`MAX_STEP`].
fn reduce(from: u32, to: u32) -> (u32, u32) {
    // The convergents of the continued fraction of from / to: each is the best approximation by terms of its
    // size, and the last is the ratio itself.
    let (mut a, mut b) = (u64::from(from), u64::from(to));
    let (mut last, mut best) = ((0, 1), (1, 0));
    while b != 0 {
        let (quotient, rest) = (a / b, a % b);
        let next = (quotient * best.0 + last.0, quotient * best.1 + last.1);
        if next.0.max(next.1) > u64::from(MAX_STEP) {
            break;
        }
        (last, best) = (best, next);
        (a, b) = (b, rest);
    }
    (best.0 as u32, best.1 as u32)
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::noise;

    /// Rates of recorders, telephones and models; and two that have little in common.
    const PAIRS: [(u32, u32); 12] = [
        (16_000, 22_050),
        (48_000, 22_050),
        (44_100, 22_050),
        (48_000, 16_000),
        (44_100, 16_000),
        (8_000, 22_050),
        (22_050, 16_000),
        (96_000, 22_050),
        (44_100, 48_000),
        (22_255, 22_050),
        (11_025, 11_026),
        (22_051, 22_050),
    ];

    fn resample(samples: &[f32], from: u32, to: u32) -> Vec<f32> {
        let mut resampler = Resampler::new(SampleRate(from), SampleRate(to)).unwrap();
        let mut out = Vec::new();
        resampler.push(samples, &mut out);
        resampler.finish(&mut out);
        out
    }

    fn sine(frequency_hz: f64, rate: u32, n: usize) -> Vec<f32> {
        (0..n).map(|i| (TAU * frequency_hz * i as f64 / f64::from(rate)).sin() as f32).collect()
    }

    #[test]
    fn a_sine_stays_the_same_sine() {
        for (from, to) in PAIRS {
            let nyquist_hz = f64::from(from.min(to)) / 2.0;
            for frequency_hz in [100.0, 1_000.0, 0.5 * nyquist_hz, 0.95 * nyquist_hz] {
                let out = resample(&sine(frequency_hz, from, 2 * from as usize), from, to);
                let expected = sine(frequency_hz, to, 2 * to as usize);
                assert_eq!(out.len(), expected.len(), "{from} -> {to}");
                // Away from the ends, where the signal does not begin and stop at once.
                let middle = to as usize / 2..to as usize * 3 / 2;
                let error = middle.map(|i| (out[i] - expected[i]).abs()).fold(0.0, f32::max);
                assert!(error < 5e-5, "{from} -> {to}, {frequency_hz} Hz: off by {error}");
            }
        }
    }

    #[test]
    fn nothing_above_the_lower_nyquist_frequency_passes() {
        for (from, to) in PAIRS.into_iter().filter(|(from, to)| from > to) {
            for ratio in [1.0, 1.02, 1.2, 1.9] {
                let frequency_hz = ratio * f64::from(to) / 2.0;
                if frequency_hz < f64::from(from) / 2.0 {
                    let out = resample(&sine(frequency_hz, from, 4 * from as usize), from, to);
                    let peak = out[to as usize * 3 / 2..to as usize * 5 / 2]
                        .iter()
                        .fold(0.0f32, |a, x| a.max(x.abs()));
                    assert!(peak < 1e-6, "{from} -> {to}, {frequency_hz} Hz: {peak}, -120 dB is allowed");
                }
            }
        }
    }

    #[test]
    fn a_whole_signal_on_all_threads_is_the_same_to_the_bit() {
        for (from, to) in PAIRS {
            for n in [1, 100, 5_000, 50_000] {
                let samples = noise(n, 1);
                let whole = super::resample(&samples, SampleRate(from), SampleRate(to)).unwrap();
                assert!(whole == resample(&samples, from, to), "{from} -> {to}, {n} samples");
            }
        }
    }

    #[test]
    fn an_impulse_stays_where_it_was() {
        for (from, to) in PAIRS {
            let (step_in, step_out) = reduce(from, to);
            // At the very beginning, in the first blocks, and late.
            for n_steps in [0, 1, 3, 50] {
                let at = (n_steps * step_in) as usize;
                let mut samples = vec![0.0; at + from as usize];
                samples[at] = 1.0;
                let out = resample(&samples, from, to);
                let peak = (0..out.len()).max_by(|&a, &b| out[a].total_cmp(&out[b])).unwrap();
                assert_eq!(peak, (n_steps * step_out) as usize, "{from} -> {to}, impulse at {at}");
                for distance in 1..peak.min(300) {
                    let (left, right) = (out[peak - distance], out[peak + distance]);
                    assert!((left - right).abs() < 2e-6, "{from} -> {to}: {left} and {right} at {distance}");
                }
            }
        }
    }

    #[test]
    fn short_signals_keep_their_level_and_place() {
        // 10 ms of a slow bump, against the same bump sampled at the other rate.
        let bump = |rate: u32| -> Vec<f32> {
            let n = rate as usize / 100;
            (0..n).map(|i| (TAU / 2.0 * i as f64 / n as f64).sin().powi(4) as f32).collect()
        };
        for (from, to) in [(16_000, 8_000), (48_000, 16_000), (8_000, 48_000), (44_100, 22_000)] {
            let (out, expected) = (resample(&bump(from), from, to), bump(to));
            assert_eq!(out.len(), (f64::from(to) / 100.0).round() as usize);
            let error = out.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(error < 3e-3, "{from} -> {to}: off by {error}");
        }
        for (from, to) in PAIRS {
            let out = resample(&[1.0], from, to);
            assert_eq!(
                out.len(),
                1.max((f64::from(to) / f64::from(from)).round() as usize),
                "{from} -> {to}"
            );
            let level = (f64::from(to) / f64::from(from)).min(1.0);
            assert!((f64::from(out[0]) / level - 1.0).abs() < 0.05, "{from} -> {to}: {} at {level}", out[0]);
        }
    }

    #[test]
    fn ratios_are_exact_or_almost() {
        assert_eq!(reduce(16_000, 22_050), (320, 441));
        assert_eq!(reduce(48_000, 16_000), (3, 1));
        assert_eq!(reduce(22_051, 22_050), (22_051, 22_050));
        assert_eq!(reduce(191_999, 192_001), (191_999, 192_001));
        for (from, to, limit) in [
            (767_999, 22_050, 1e-8),
            (22_050, 767_999, 1e-8),
            (700_001, 48_000, 1e-8),
            (767_999, 767_998, 4e-6),
            (768_000, 524_289, 4e-6),
        ] {
            let (step_in, step_out) = reduce(from, to);
            assert!(step_in.max(step_out) <= MAX_STEP);
            let error = f64::from(step_in) / f64::from(step_out) * f64::from(to) / f64::from(from) - 1.0;
            assert!(error.abs() < limit, "{from} / {to} as {step_in} / {step_out}: {error}");
        }
    }

    #[test]
    fn impossible_rates_are_errors() {
        for (from, to) in [(0, 16_000), (16_000, 0), (10_000_000, 16_000), (16_000, 999)] {
            assert!(Resampler::new(SampleRate(from), SampleRate(to)).is_err());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn any_chunking_gives_the_same_samples(
            pair in prop::sample::select([&PAIRS[..9], &[(16_000, 16_000)]].concat()),
            chunks in prop::collection::vec(prop_oneof![0..20usize, 0..2_000usize, Just(640)], 0..12),
            seed in any::<u32>(),
        ) {
            let (from, to) = pair;
            let n: usize = chunks.iter().sum();
            let samples = noise(n, seed | 1);

            let mut resampler = Resampler::new(SampleRate(from), SampleRate(to)).unwrap();
            // Twice: a resampler that has finished begins anew.
            for _ in 0..2 {
                let mut out = Vec::new();
                let mut rest = &samples[..];
                for &len in &chunks {
                    resampler.push(&rest[..len], &mut out);
                    rest = &rest[len..];
                }
                resampler.finish(&mut out);

                let exact = n as f64 * f64::from(to) / f64::from(from);
                prop_assert_eq!(out.len(), (exact + 0.5).floor().max(if n == 0 { 0.0 } else { 1.0 }) as usize);
                prop_assert_eq!(&out, &resample(&samples, from, to));
                if from == to {
                    prop_assert_eq!(&out, &samples);
                }
            }
        }
    }
}
