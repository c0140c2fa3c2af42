//! Accuracy against coverage: how right the answers are that remain when the unsure ones are withheld.

use rayon::prelude::*;
use serde::Serialize;

use super::Clips;
use crate::metrics::Figure;

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

/// The curve, and the mean over all clips of the accuracy of the answers at least as confident.
pub(super) fn coverage(clips: &Clips<'_>) -> (Vec<CoveragePoint>, f64) {
    // Of equally confident answers the one whose clip comes first.
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
    let mut n_right = 0.0;
    let area: f64 = (1..)
        .zip(&order)
        .map(|(n, (_, _, right))| {
            n_right += f64::from(u8::from(*right));
            n_right / f64::from(n)
        })
        .sum();
    (points.collect(), area / order.len().max(1) as f64)
}

/// The accuracy at each share of the clips, which count as often as `times` says of their speaker.
fn curve(order: &[(f64, usize, bool)], times: impl Fn(usize) -> f64) -> [Option<f64>; N_POINTS] {
    let total: f64 = order.iter().map(|&(_, speaker, _)| times(speaker)).sum();
    let mut curve = [None; N_POINTS];
    let (mut seen, mut right, mut point) = (0.0, 0.0, 0);
    for &(_, speaker, is_right) in order {
        let n = times(speaker);
        seen += n;
        right += n * f64::from(u8::from(is_right));
        // A point is reached with the clip that makes its share full.
        while point < N_POINTS && seen >= total * (point + 1) as f64 / N_POINTS as f64 - 1e-9 && seen > 0.0 {
            curve[point] = Some(right / seen);
            point += 1;
        }
    }
    curve
}
