//! What the expected calibration error would be of confidences that are exactly right. Of few clips it is not 0: chance alone moves
//! the accuracy of a bin away from its confidence, and the error counts every such distance.

use rand::RngExt;
use rayon::prelude::*;

use super::SEED;
use crate::bootstrap::percentile;
use crate::metrics::{Figure, N_BINS, bin_of};
use crate::predictions::Answered;
use crate::random::{Purpose, stream};

/// How often it is drawn which of the answers are right.
const N_DRAWS: u64 = 1000;

/// Mean over draws, and the range of 95 % of them, of the expected calibration error where each answer is right as often as its
/// confidence says, whatever the others are.
pub(super) fn ece_if_calibrated(answers: &[Answered]) -> Figure {
    let confidences: Vec<f64> = answers.iter().map(Answered::confidence).collect();
    let draw = |number: u64| {
        let mut rng = stream(SEED, Purpose::Calibrated, number, 0);
        let mut gaps = [0.0; N_BINS];
        for &confidence in &confidences {
            let is_right = rng.random::<f64>() < confidence;
            gaps[bin_of(confidence)] += confidence - f64::from(u8::from(is_right));
        }
        gaps.map(f64::abs).iter().sum::<f64>() / confidences.len().max(1) as f64
    };
    let mut drawn: Vec<f64> = (0..N_DRAWS).into_par_iter().map(draw).collect();
    drawn.sort_unstable_by(f64::total_cmp);
    let value = drawn.iter().sum::<f64>() / drawn.len() as f64;
    Figure { value, low: percentile(&drawn, 0.025), high: percentile(&drawn, 0.975) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::answers;

    #[test]
    fn fewer_clips_leave_more_of_it_and_sure_answers_none() {
        let of = |n_clips: usize| ece_if_calibrated(&answers(10, n_clips, 1));
        let (few, many) = (of(6), of(600));
        assert!(few.low < few.value && few.value < few.high && many.high < few.low, "{few:?} {many:?}");
        // A hundred times as many: a tenth.
        assert!((few.value / many.value / 10.0 - 1.0).abs() < 0.2, "{few:?} {many:?}");
        assert_eq!(few, of(6));
        let mut sure = answers(10, 6, 1);
        sure.iter_mut().for_each(|answer| answer.probabilities = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(ece_if_calibrated(&sure), Figure { value: 0.0, low: 0.0, high: 0.0 });
    }

    #[test]
    fn it_is_that_of_truths_drawn_from_the_confidences() {
        // One bin of 400 answers with a confidence of a half: the mean distance of a binomial's share from its probability.
        let mut even = answers(10, 40, 1);
        even.iter_mut().for_each(|answer| answer.probabilities = [0.5, 0.1, 0.1, 0.1, 0.1, 0.1]);
        let (found, deviation) = (ece_if_calibrated(&even), 0.5 / 20.0);
        let expected = deviation * (2.0 / std::f64::consts::PI).sqrt();
        assert!((found.value / expected - 1.0).abs() < 0.1, "{found:?} {expected}");
        assert!((found.high / (2.24 * deviation) - 1.0).abs() < 0.15, "{found:?}");
    }
}
