//! Adam (Kingma and Ba 2015), with the constants of the paper.

use std::collections::BTreeMap;

use rayon::prelude::*;

const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.999;
const EPSILON: f32 = 1e-8;

/// Values that one thread updates at once.
const PIECE: usize = 1 << 15;

/// The moments of every parameter, by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Adam {
    /// Steps that were taken.
    pub(crate) n_steps: u64,
    /// Running means of the gradient and of its square.
    pub(crate) moments: BTreeMap<String, (Vec<f32>, Vec<f32>)>,
}

impl Adam {
    /// To be called before the updates of a step.
    pub(crate) fn begin_step(&mut self) {
        self.n_steps += 1;
    }

    /// Moves `values` against the `gradient`.
    pub(crate) fn update(&mut self, name: &str, values: &mut [f32], gradient: &[f32], learning_rate: f64) {
        let n = values.len();
        let (mean, square) =
            self.moments.entry(name.to_owned()).or_insert_with(|| (vec![0.0; n], vec![0.0; n]));
        let t = self.n_steps.min(i32::MAX as u64) as i32;
        let (correction_1, correction_2) = (1.0 - f64::from(BETA_1).powi(t), 1.0 - f64::from(BETA_2).powi(t));
        let step = (learning_rate / correction_1) as f32;
        let root = (1.0 / correction_2.sqrt()) as f32;
        let pieces = values.par_chunks_mut(PIECE).zip(gradient.par_chunks(PIECE));
        let moments = mean.par_chunks_mut(PIECE).zip(square.par_chunks_mut(PIECE));
        pieces.zip(moments).for_each(|((values, gradient), (mean, square))| {
            for i in 0..values.len() {
                let g = gradient[i];
                mean[i] = BETA_1 * mean[i] + (1.0 - BETA_1) * g;
                square[i] = BETA_2 * square[i] + (1.0 - BETA_2) * g * g;
                values[i] -= step * mean[i] / (square[i].sqrt() * root + EPSILON);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_those_of_the_paper() {
        let (mut adam, mut values) = (Adam::default(), vec![1.0f32, -2.0]);
        let (mut m, mut v, mut expected) = ([0.0f64; 2], [0.0f64; 2], [1.0f64, -2.0]);
        for t in 1..=50 {
            let gradient = [(t as f32 * 0.3).sin(), 5.0 * (t as f32 * 0.7).cos()];
            adam.begin_step();
            adam.update("w", &mut values, &gradient, 0.01);
            for i in 0..2 {
                let g = f64::from(gradient[i]);
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.999 * v[i] + 0.001 * g * g;
                let (m_hat, v_hat) = (m[i] / (1.0 - 0.9f64.powi(t)), v[i] / (1.0 - 0.999f64.powi(t)));
                expected[i] -= 0.01 * m_hat / (v_hat.sqrt() + 1e-8);
            }
        }
        for i in 0..2 {
            assert!((f64::from(values[i]) - expected[i]).abs() < 1e-5, "{values:?}, {expected:?}");
        }
    }
}
