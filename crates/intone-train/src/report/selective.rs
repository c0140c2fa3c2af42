//! Accuracy against coverage: how right the answers are that remain when the unsure ones are withheld, at every share of
//! them and at the model's own threshold.

use rayon::prelude::*;
use serde::Serialize;

use super::{Clips, Tallies};
use crate::metrics::{Figure, Tally};
use crate::predictions::Answered;

/// Shares of the clips at which the curve is computed: every twentieth.
const N_POINTS: usize = 20;

/// The most confident answers, up to a share of all.
#[derive(Debug, Clone, Serialize)]
pub struct CoveragePoint {
    /// The share of clips that is answered, from the most confident on.
    pub coverage: f64,
    /// The share of these answers that is right.
    pub accuracy: Figure,
    /// The confidence of the least confident of them.
    pub confidence: f64,
}

/// What is left when the answers that a model itself calls `uncertain` are withheld.
#[derive(Debug, Clone, Serialize)]
pub struct Certain {
    /// Answers less confident than this are withheld.
    pub threshold: f32,
    /// The share of clips that is answered.
    pub coverage: Figure,
    /// The share of these answers that is right; none where no answer is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<Figure>,
}

impl std::fmt::Display for Certain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Answers with a confidence below {:.1} % are called uncertain; {} of the clips have one that is not",
            100.0 * self.threshold,
            self.coverage
        )?;
        match self.accuracy {
            Some(accuracy) => write!(f, ", and {accuracy} of these are right."),
            None => f.write_str("."),
        }
    }
}

/// Coverage and accuracy at a threshold.
pub(super) fn certain(clips: &Clips<'_>, threshold: f32) -> Certain {
    // As the recogniser, which compares numbers of single precision.
    let is_certain = |answered: &Answered| answered.confidence() as f32 >= threshold;
    // Clips that are answered count as right, so that the accuracy is their share.
    let mut answered = Tallies::new();
    for (clip, &speaker) in clips.answers.iter().zip(&clips.speaker_of) {
        let withheld = usize::from(!is_certain(clip));
        answered.entry(speaker).or_default().confusion[0][withheld] += 1.0;
    }
    Certain {
        threshold,
        coverage: clips.measured_from(answered).certain(Tally::accuracy),
        accuracy: clips.measured(is_certain).figure(Tally::accuracy),
    }
}

/// The curve, and the mean over all clips of the accuracy of the answers at least as confident.
pub(super) fn coverage(clips: &Clips<'_>) -> (Vec<CoveragePoint>, f64) {
    let mut order: Vec<(f64, usize, bool)> = clips
        .answers
        .iter()
        .zip(&clips.speaker_of)
        .map(|(answered, &speaker)| (answered.confidence(), speaker, answered.is_right()))
        .collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0));

    let whole = curve(&order, |_| 1.0);
    let resampled: Vec<_> = clips
        .bootstrap
        .resamples()
        .par_iter()
        .map(|times| curve(&order, |speaker| f64::from(times[speaker])))
        .collect();
    let points = (0..N_POINTS).map(|point| {
        let coverage = (point + 1) as f64 / N_POINTS as f64;
        let last = ((coverage * order.len() as f64).ceil() as usize).clamp(1, order.len()) - 1;
        let accuracy =
            clips.bootstrap.figure(whole[point].unwrap_or_default(), resampled.iter().map(|c| c[point]));
        CoveragePoint { coverage, accuracy, confidence: order[last].0 }
    });
    // Of equally confident answers each is as likely to be among those that are kept.
    let (mut n, mut n_right, mut area) = (0.0, 0.0, 0.0);
    for alike in order.chunk_by(|a, b| a.0 == b.0) {
        let right = alike.iter().filter(|(_, _, is_right)| *is_right).count() as f64 / alike.len() as f64;
        for _ in alike {
            n += 1.0;
            n_right += right;
            area += n_right / n;
        }
    }
    (points.collect(), area / order.len().max(1) as f64)
}

/// The accuracy at each share of the clips, which count as often as `times` says of their speaker. Of equally confident answers
/// the share ends in, the same part of those that are right and of those that are not counts.
fn curve(order: &[(f64, usize, bool)], times: impl Fn(usize) -> f64) -> [Option<f64>; N_POINTS] {
    let total: f64 = order.iter().map(|&(_, speaker, _)| times(speaker)).sum();
    let mut curve = [None; N_POINTS];
    let (mut seen, mut seen_right, mut point) = (0.0, 0.0, 0);
    for alike in order.chunk_by(|a, b| a.0 == b.0) {
        let of = |right_only: bool| -> f64 {
            let counted = alike.iter().filter(|(_, _, is_right)| *is_right || !right_only);
            counted.map(|&(_, speaker, _)| times(speaker)).sum()
        };
        let (n, right) = (of(false), of(true));
        while point < N_POINTS && n > 0.0 {
            let wanted = total * (point + 1) as f64 / N_POINTS as f64;
            if wanted > seen + n {
                break;
            }
            curve[point] = Some((seen_right + (wanted - seen) / n * right) / wanted);
            point += 1;
        }
        seen += n;
        seen_right += right;
    }
    curve
}
