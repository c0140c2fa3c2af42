//! Where somebody may be speaking: what rises above the background.

use crate::audio::SampleRate;
use crate::blocks::{Block, Blocks};
use crate::moments::Moments;

/// Blocks in a second. Ten milliseconds hold a period of the deepest voices (80 Hz) nearly whole, and the gaps between
/// syllables are longer.
const BLOCKS_PER_S: f64 = 100.0;

/// Time before the end of a window in which the background is looked for, seconds. Speakers pause for breath about
/// every five seconds.
const BACKGROUND_S: f64 = 10.0;

/// Share of the blocks in that time that count as background: speech without a pause still has a tenth of its
/// blocks in closures of consonants and between words.
const BACKGROUND_SHARE: f64 = 0.1;

/// A voice is at least this much louder than the background, dB.
const ABOVE_BACKGROUND_DB: f32 = 10.0;

/// What rises no further above the background is part of it, dB. The loudest tenth of a second of white noise rises by 1 to 2 dB,
/// that of noise whose power falls with the frequency by 3 to 5; of 5,949 acted clips the quietest by 8, and of these
/// clips in white noise of their own power 1 in 500 by less than 5.
const FAINT_DB: f32 = 5.0;

/// The least voice in a stretch that is not silence, seconds: shorter sounds are clicks. In a stretch of less than twice
/// that, half of it.
pub(crate) const MIN_VOICE_S: f64 = 0.1;

/// What is known of a recording must be as long as this to tell its background from a voice, seconds: a vowel may last as long.
const MIN_KNOWN_S: f64 = 0.5;

/// Nothing below this is a voice, dB below full scale (of a block's effective value). That of a quiet room in a good
/// microphone is -65 and less; a whisper's about -55.
const MIN_VOICE_DB: f32 = -60.0;

/// No background is louder than this, dB below full scale: what is steady and loud is taken for a voice, so that a held vowel
/// at the beginning of a recording is not its own background.
const MAX_BACKGROUND_DB: f32 = -40.0;

/// A block of zeros, dB below full scale.
const FLOOR_DB: f32 = -120.0;

/// What is to be heard in a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Hearing {
    /// Nothing but the background.
    Nothing,
    /// Something that rises above the background, but not as far or as long as a voice does. It may be a whisper, or a voice in
    /// noise.
    Faint,
    /// A voice, so many seconds of it.
    Voice(f64),
}

impl Hearing {
    /// What a window counts in the answer; none where it has no say. Beside a voice what is faint has none.
    pub(crate) fn weight(self, beside_voice: bool) -> Option<f64> {
        match self {
            Hearing::Voice(voice_s) => Some(voice_s),
            Hearing::Faint if !beside_voice => Some(1.0),
            Hearing::Faint | Hearing::Nothing => None,
        }
    }

    pub(crate) fn is_voice(self) -> bool {
        matches!(self, Hearing::Voice(_))
    }
}

/// Levels of a recording whose samples arrive in pieces, and what of it is voice.
///
/// It is a matter of energy alone: music and slamming doors are voices to it. What it says of a stretch depends on the
/// recording up to the end of the window around it, and on nothing else.
pub(crate) struct Voice {
    rate: f64,
    /// Levels, block by block.
    levels: Blocks<Level>,
}

/// How loud a block is. Its level is kept, dB below full scale.
#[derive(Default)]
struct Level(Moments);

impl Block for Level {
    type Kept = f32;

    fn push(&mut self, samples: &[f32]) {
        self.0.push(samples);
    }

    fn close(self) -> f32 {
        let level_db = (10.0 * self.0.power().log10()) as f32;
        level_db.max(FLOOR_DB)
    }
}

impl Voice {
    pub(crate) fn new(sample_rate: SampleRate) -> Voice {
        let rate = f64::from(sample_rate.0);
        let n_block = (rate / BLOCKS_PER_S).round().max(1.0) as usize;
        Voice { rate, levels: Blocks::new(n_block) }
    }

    /// Takes the next samples.
    pub(crate) fn listen(&mut self, samples: &[f32]) {
        self.levels.push(samples);
    }

    /// Ends the recording: its last block need not be whole.
    pub(crate) fn finish(&mut self) {
        self.levels.finish();
    }

    /// Whether everything before this time was heard.
    pub(crate) fn knows(&self, time_s: f64) -> bool {
        self.block(time_s) <= self.levels.n_complete()
    }

    /// Seconds of voice from `start_s` to `end_s`, against the background before `known_s`.
    pub(crate) fn in_stretch(&self, start_s: f64, end_s: f64, known_s: f64) -> f64 {
        let background_db = self.background_db(known_s);
        let threshold_db = (background_db + ABOVE_BACKGROUND_DB).max(MIN_VOICE_DB);
        let n_voice = self.between(start_s, end_s).filter(|level_db| *level_db > threshold_db).count();
        n_voice as f64 * self.block_s()
    }

    /// What is to be heard in a window, against the background before its end.
    pub(crate) fn in_window(&self, start_s: f64, end_s: f64) -> Hearing {
        let mut levels: Vec<f32> = self.between(start_s, end_s).collect();
        let least_s = MIN_VOICE_S.min(0.5 * levels.len() as f64 * self.block_s());
        let voice_s = self.in_stretch(start_s, end_s, end_s);
        if voice_s > 0.0 && voice_s >= least_s {
            return Hearing::Voice(voice_s);
        }
        // The blocks that are the loudest, together as long as the least voice, are no quieter than this.
        levels.sort_unstable_by(|a, b| b.total_cmp(a));
        let rank = ((least_s / self.block_s()) as usize).saturating_sub(1);
        match levels.get(rank) {
            Some(&level_db) if level_db <= self.floor_db(end_s) => Hearing::Nothing,
            _ => Hearing::Faint,
        }
    }

    /// What is no louder than this is background, dB below full scale: everything where too little of the recording is known
    /// before `known_s` to tell it from a voice.
    pub(crate) fn floor_db(&self, known_s: f64) -> f32 {
        let n_known = self.between(known_s - BACKGROUND_S, known_s).count();
        match n_known as f64 * self.block_s() < MIN_KNOWN_S {
            true => FLOOR_DB,
            false => self.background_db(known_s) + FAINT_DB,
        }
    }

    /// The level of the background before `known_s`, dB below full scale.
    fn background_db(&self, known_s: f64) -> f32 {
        let mut before: Vec<f32> = self.between(known_s - BACKGROUND_S, known_s).collect();
        let rank = (before.len() as f64 * BACKGROUND_SHARE) as usize;
        if rank >= before.len() {
            return FLOOR_DB;
        }
        before.select_nth_unstable_by(rank, f32::total_cmp).1.min(MAX_BACKGROUND_DB)
    }

    /// Length of a block, seconds.
    fn block_s(&self) -> f64 {
        self.levels.n_block() as f64 / self.rate
    }

    /// Forgets what no stretch from `start_s` on, in a window that ends after `known_s`, can ask for.
    pub(crate) fn drop_before(&mut self, start_s: f64, known_s: f64) {
        self.levels.drop_before(self.block(start_s.min(known_s - BACKGROUND_S)));
    }

    /// The levels between two times, as far as they are not forgotten.
    fn between(&self, start_s: f64, end_s: f64) -> impl Iterator<Item = f32> {
        self.levels.get(self.block(start_s)..self.block(end_s))
    }

    /// The first block that does not end before this time. A time on an edge between blocks, give or take its last bits,
    /// belongs to the later one.
    fn block(&self, time_s: f64) -> usize {
        (time_s.max(0.0) * self.rate / self.levels.n_block() as f64 + 1e-6) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;

    const RATE: u32 = 8_000;

    fn scaled(samples: &[f32], amplitude: f32) -> Vec<f32> {
        samples.iter().map(|x| amplitude * x).collect()
    }

    fn heard(samples: &[f32]) -> Voice {
        let mut voice = Voice::new(SampleRate(RATE));
        voice.listen(samples);
        voice.finish();
        voice
    }

    #[test]
    fn what_is_louder_than_the_background_is_voice() {
        // 4 s of background at -44 dB (the effective value of uniform noise is its peak less 4.8 dB), with a second of
        // something 30 dB louder in it.
        let mut samples = scaled(&noise(4 * RATE as usize, 1), 0.011);
        samples[8_000..16_000].iter_mut().for_each(|x| *x *= 30.0);
        let voice = heard(&samples);
        assert_eq!(voice.in_stretch(1.0, 2.0, 4.0), 1.0);
        assert_eq!(voice.in_stretch(0.0, 4.0, 4.0), 1.0);
        assert_eq!(voice.in_stretch(0.0, 1.0, 4.0), 0.0);
        assert_eq!(voice.in_stretch(0.5, 1.25, 4.0), 0.25);
    }

    #[test]
    fn noise_offsets_and_faint_sounds_are_no_voice() {
        let n = 4 * RATE as usize;
        for samples in [vec![0.0; n], vec![0.7; n], scaled(&noise(n, 1), 0.01), scaled(&noise(n, 1), 0.001)] {
            assert_eq!(heard(&samples).in_stretch(0.0, 4.0, 4.0), 0.0);
        }
        // A burst that is far above its background, and below every voice.
        let mut samples = vec![0.0; n];
        samples[8_000..16_000].copy_from_slice(&scaled(&noise(8_000, 1), 0.001));
        assert_eq!(heard(&samples).in_stretch(0.0, 4.0, 4.0), 0.0);
    }

    #[test]
    fn a_loud_sound_is_voice_from_its_first_sample_on() {
        assert_eq!(heard(&scaled(&noise(8_000, 1), 0.2)).in_stretch(0.0, 1.0, 1.0), 1.0);
        assert_eq!(
            heard(&[0.5, -0.5]).in_stretch(0.0, 1.0, 1.0),
            0.01,
            "a block need not be whole at the end"
        );
        assert_eq!(heard(&[]).in_stretch(0.0, 1.0, 1.0), 0.0);
    }

    #[test]
    fn what_is_forgotten_was_not_needed() {
        let samples = scaled(&noise(30 * RATE as usize, 1), 0.2);
        let (whole, mut short) = (heard(&samples), heard(&samples));
        short.drop_before(25.0, 26.0);
        assert_eq!(short.levels.len(), 1_400, "from 16 s on");
        assert_eq!(short.in_stretch(25.0, 26.0, 27.5), whole.in_stretch(25.0, 26.0, 27.5));
        assert!(short.knows(30.0) && !short.knows(30.02));
    }
}
