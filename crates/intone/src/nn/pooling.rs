//! Attentive statistics pooling (Okabe et al. 2018): the weighted mean and standard deviation of each clip's rows, the
//! weights a softmax over scores.

use rayon::prelude::*;

use super::attention::{split_rows, split_rows_mut};

/// What is added to the variance before the square root, so that the standard deviation of one row has a gradient.
pub(crate) const POOLING_EPSILON: f32 = 1e-5;

/// Rows `x` `[rows, c]` and their `scores` `[rows]` to `[n, 2 c]`: means, then standard deviations.
pub(crate) fn forward(x: &[f32], scores: &[f32], c: usize, lengths: &[usize]) -> Vec<f32> {
    let clips = split_rows(lengths, c, x).into_par_iter().zip(split_rows(lengths, 1, scores));
    let pooled = clips.map(|(x, scores)| {
        let Pooled { mut mean, deviation, .. } = Pooled::new(x, scores, c);
        mean.extend(deviation);
        mean
    });
    pooled.collect::<Vec<_>>().concat()
}

/// The way back: `grad` `[n, 2 c]` to the gradients by `x` and by `scores`.
pub(crate) fn backward(
    x: &[f32],
    scores: &[f32],
    c: usize,
    lengths: &[usize],
    grad: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    let (mut by_x, mut by_scores) = (super::simd::buffer::take(x.len()), vec![0.0; scores.len()]);
    let clips = split_rows(lengths, c, x).into_par_iter().zip(split_rows(lengths, 1, scores));
    let outs =
        split_rows_mut(lengths, c, &mut by_x).into_par_iter().zip(split_rows_mut(lengths, 1, &mut by_scores));
    clips.zip(grad.par_chunks_exact(2 * c)).zip(outs).for_each(|(((x, scores), grad), (by_x, by_scores))| {
        let Pooled { weights, mean, deviation } = Pooled::new(x, scores, c);
        let (by_mean, by_deviation) = grad.split_at(c);
        let by_var: Vec<f32> = by_deviation.iter().zip(&deviation).map(|(g, d)| 0.5 * g / d).collect();
        for (t, (x, by_x)) in x.chunks_exact(c).zip(by_x.chunks_exact_mut(c)).enumerate() {
            let mut by_weight = 0.0;
            for i in 0..c {
                let off = x[i] - mean[i];
                by_weight += x[i] * by_mean[i] + off * off * by_var[i];
                by_x[i] = weights[t] * (by_mean[i] + 2.0 * off * by_var[i]);
            }
            by_scores[t] = by_weight;
        }
        let expected: f32 = by_scores.iter().zip(&weights).map(|(g, weight)| g * weight).sum();
        by_scores.iter_mut().zip(&weights).for_each(|(g, weight)| *g = weight * (*g - expected));
    });
    (by_x, by_scores)
}

/// What is pooled of one clip.
struct Pooled {
    /// Of the rows, sum 1.
    weights: Vec<f32>,
    mean: Vec<f32>,
    deviation: Vec<f32>,
}

impl Pooled {
    fn new(x: &[f32], scores: &[f32], c: usize) -> Pooled {
        let weights = softmax(scores);
        let (mut mean, mut var) = (vec![0.0f32; c], vec![0.0f32; c]);
        for (x, weight) in x.chunks_exact(c).zip(&weights) {
            mean.iter_mut().zip(x).for_each(|(mean, x)| *mean += weight * x);
        }
        for (x, weight) in x.chunks_exact(c).zip(&weights) {
            var.iter_mut()
                .zip(x)
                .zip(&mean)
                .for_each(|((var, x), mean)| *var += weight * (x - mean) * (x - mean));
        }
        let deviation = var.iter().map(|var| (var + POOLING_EPSILON).sqrt()).collect();
        Pooled { weights, mean, deviation }
    }
}

/// `e^x` over its sum.
pub(crate) fn softmax(x: &[f32]) -> Vec<f32> {
    let top = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = x.iter().map(|x| (x - top).exp()).collect();
    let total: f32 = powers.iter().sum();
    powers.into_iter().map(|x| x / total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_scores_give_the_plain_mean_and_deviation() {
        let c = 6;
        let x: Vec<f32> = (0..5 * c).map(|i| (i % 7) as f32 - (i / c) as f32).collect();
        let pooled = forward(&x, &[3.0; 5], c, &[5]);
        for i in 0..c {
            let column: Vec<f32> = (0..5).map(|t| x[t * c + i]).collect();
            let mean = column.iter().sum::<f32>() / 5.0;
            let var = column.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / 5.0;
            assert!((pooled[i] - mean).abs() < 1e-5);
            assert!((pooled[c + i] - (var + POOLING_EPSILON).sqrt()).abs() < 1e-4, "{} {var}", pooled[c + i]);
        }
    }

    #[test]
    fn one_row_with_all_the_weight_is_the_answer() {
        let x = [1.0, 2.0, 5.0, -4.0, 7.0, 7.0];
        let pooled = forward(&x, &[0.0, 100.0, -3.0], 2, &[2, 1]);
        for (actual, expected) in pooled.iter().zip([5.0, -4.0, 0.0, 0.0, 7.0, 7.0, 0.0, 0.0]) {
            assert!((actual - expected).abs() < 0.01, "{pooled:?}");
        }
    }
}
