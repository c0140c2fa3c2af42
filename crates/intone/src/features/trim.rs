//! Silence at the ends of a clip.

use std::ops::Range;

use crate::moments::Moments;

/// Frame and hop of `librosa.effects.trim`, samples.
pub(crate) const FRAME_LENGTH: usize = 2_048;
const HOP_LENGTH: usize = 512;

/// Powers below this count as this much: the square of `librosa.amplitude_to_db`'s amplitude of 1e-5.
const AMIN: f64 = 1e-10;

/// The part of a clip without its silent ends, as sample indices: `librosa.effects.trim(samples, top_db=top_db)`
/// (0.11), that is with `ref=np.max, frame_length=2048, hop_length=512` whatever the sample rate.
///
/// A frame is silent when its power is `top_db` dB or more below that of the clip's loudest frame, both not
/// below 1e-10 (-100 dB). Thus a clip that is all zeros is all equally loud, and nothing is taken from it; only
/// with a `top_db` of zero or less everything is.
///
/// Power is that about the frame's mean: a constant offset, which cheap inputs have and no one hears, is none. librosa's is that
/// about zero; without an offset both are the same but for what swings slower than a frame lasts.
pub fn trim(samples: &[f32], top_db: f32) -> Range<usize> {
    let loud = loud(&frame_powers(samples), top_db);
    loud.start * HOP_LENGTH..(loud.end * HOP_LENGTH).min(samples.len())
}

/// From the first to the last of these frames that is not silent, see [`trim`]; no frames where all are.
pub(crate) fn loud(powers: &[f64], top_db: f32) -> Range<usize> {
    let db = |power: f64| 10.0 * power.max(AMIN).log10();
    let threshold_db = db(powers.iter().copied().fold(0.0, f64::max)) - f64::from(top_db);
    let mut loud = (0..powers.len()).filter(|&t| db(powers[t]) > threshold_db);
    let Some(first) = loud.next() else { return 0..0 };
    first..loud.next_back().unwrap_or(first) + 1
}

/// Mean square of each frame about its mean, the frames centred on multiples of the hop and the clip surrounded by nothing,
/// which is on every mean.
fn frame_powers(samples: &[f32]) -> Vec<f64> {
    // A frame is four hops long, so it is a sum of four blocks: two before its centre, two after it.
    const BLOCKS: usize = FRAME_LENGTH / HOP_LENGTH;
    let blocks: Vec<Moments> = samples.chunks(HOP_LENGTH).map(Moments::of).collect();
    let n_frames = 1 + samples.len() / HOP_LENGTH;
    (0..n_frames)
        .map(|t| {
            let inside = t.saturating_sub(BLOCKS / 2)..(t + BLOCKS / 2).min(blocks.len());
            blocks[inside].iter().copied().sum::<Moments>().energy() / FRAME_LENGTH as f64
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_at_the_ends_goes_and_silence_inside_stays() {
        let mut samples = vec![0.0; 20_000];
        samples[6_000..7_000].fill(0.5);
        samples[12_000..13_000].fill(-0.5);
        let kept = trim(&samples, 30.0);
        assert!(kept.start > 0 && kept.start <= 6_000 && kept.end >= 13_000 && kept.end < 20_000, "{kept:?}");
        assert!(kept.start >= 6_000 - FRAME_LENGTH && kept.end <= 13_000 + FRAME_LENGTH, "{kept:?}");
    }

    #[test]
    fn a_constant_offset_keeps_no_silence() {
        // 60 dB below the sound, but for the offset.
        let mut samples = crate::testing::noise(20_000, 1);
        samples.iter_mut().for_each(|x| *x *= 0.000_1);
        samples[8_000..12_000].iter_mut().for_each(|x| *x *= 1_000.0);
        let kept = trim(&samples, 30.0);
        assert!(kept.start > 6_000 && kept.end < 14_000, "{kept:?}");
        for offset in [0.003, -0.05, 0.5] {
            let moved: Vec<f32> = samples.iter().map(|x| x + offset).collect();
            assert_eq!(trim(&moved, 30.0), kept, "{offset}");
        }
    }

    #[test]
    fn odd_inputs_give_a_range_inside_the_clip() {
        for samples in [vec![], vec![0.0], vec![f32::NAN; 5_000], vec![f32::MAX; 5_000], vec![0.0; 5_000]] {
            for top_db in [60.0, 0.0, -5.0, f32::NAN, f32::INFINITY] {
                let kept = trim(&samples, top_db);
                assert!(kept.start <= kept.end && kept.end <= samples.len(), "{top_db}: {kept:?}");
            }
        }
        assert_eq!(trim(&[0.0; 5_000], 60.0), 0..5_000);
        assert_eq!(trim(&[0.0; 5_000], 0.0), 0..0);
    }
}
