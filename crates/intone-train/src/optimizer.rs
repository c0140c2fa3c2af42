//! AdamW (Kingma and Ba 2015; Loshchilov and Hutter 2019) with the constants of the paper, gradient clipping, and a running
//! average of the weights.

use std::collections::BTreeMap;

use intone::model::{Parameter, Values};
use rayon::prelude::*;

use crate::config::TrainingConfig;

const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.999;
const EPSILON: f32 = 1e-8;

/// Values that one thread updates at once.
const PIECE: usize = 1 << 15;

/// What the optimiser remembers from step to step.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Optimizer {
    /// Steps that were taken.
    pub(crate) n_steps: u64,
    /// Running means of the gradient of each parameter and of its square.
    pub(crate) moments: BTreeMap<String, (Vec<f32>, Vec<f32>)>,
    /// Running averages of the parameters; empty where none are kept.
    pub(crate) average: Values,
}

impl Optimizer {
    /// Moves the parameters against their gradients, each with the step size that `rate` gives for its name.
    pub(crate) fn step(
        &mut self,
        parameters: &mut [Parameter],
        config: &TrainingConfig,
        rate: &dyn Fn(&str) -> f64,
    ) {
        self.n_steps += 1;
        if config.clip_norm > 0.0 {
            clip(parameters, config.clip_norm);
        }
        for parameter in parameters {
            let rate = rate(&parameter.name);
            // As is common, only matrices shrink: biases and gains are few and have no reason to be small.
            let decay = if parameter.name.ends_with(".weight") { config.weight_decay } else { 0.0 };
            self.adam(parameter, rate, decay);
            if config.ema_decay > 0.0 {
                self.keep_average(parameter, config.ema_decay);
            }
        }
    }

    fn adam(&mut self, parameter: &mut Parameter, rate: f64, decay: f64) {
        let Parameter { name, values, gradient } = parameter;
        let n = values.len();
        let (mean, square) = self.moments.entry(name.clone()).or_insert_with(|| (vec![0.0; n], vec![0.0; n]));
        let t = self.n_steps.min(i32::MAX as u64) as i32;
        let (correction_1, correction_2) = (1.0 - f64::from(BETA_1).powi(t), 1.0 - f64::from(BETA_2).powi(t));
        let step = (rate / correction_1) as f32;
        let root = (1.0 / correction_2.sqrt()) as f32;
        let kept = (1.0 - rate * decay) as f32;
        let pieces = values.par_chunks_mut(PIECE).zip(gradient.par_chunks(PIECE));
        let moments = mean.par_chunks_mut(PIECE).zip(square.par_chunks_mut(PIECE));
        pieces.zip(moments).for_each(|((values, gradient), (mean, square))| {
            for i in 0..values.len() {
                let g = gradient[i];
                mean[i] = BETA_1 * mean[i] + (1.0 - BETA_1) * g;
                square[i] = BETA_2 * square[i] + (1.0 - BETA_2) * g * g;
                values[i] = values[i] * kept - step * mean[i] / (square[i].sqrt() * root + EPSILON);
            }
        });
    }

    fn keep_average(&mut self, parameter: &Parameter, decay: f64) {
        // Early on, an average over fewer steps: the first weights are soon forgotten.
        let n = self.n_steps as f64;
        let new = (1.0 - decay.min((1.0 + n) / (10.0 + n))) as f32;
        let average = self.average.entry(parameter.name.clone()).or_insert_with(|| parameter.values.clone());
        let pieces = average.par_chunks_mut(PIECE).zip(parameter.values.par_chunks(PIECE));
        pieces.for_each(|(average, values)| {
            average.iter_mut().zip(values).for_each(|(average, value)| *average += new * (value - *average));
        });
    }
}

/// Scales gradients down so that their norm, all together, is `most`.
fn clip(parameters: &mut [Parameter], most: f64) {
    let pieces = parameters.par_iter().flat_map(|parameter| parameter.gradient.par_chunks(PIECE));
    // The same sum whatever the number of threads.
    let squares: Vec<f64> = pieces.map(sum_of_squares).collect();
    let norm = squares.iter().sum::<f64>().sqrt();
    if norm > most {
        let scale = (most / norm) as f32;
        let pieces = parameters.par_iter_mut().flat_map(|parameter| parameter.gradient.par_chunks_mut(PIECE));
        pieces.flatten_iter().for_each(|g| *g *= scale);
    }
}

fn sum_of_squares(x: &[f32]) -> f64 {
    let (wide, rest) = x.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for x in wide {
        sums.iter_mut().zip(x).for_each(|(sum, x)| *sum += f64::from(x * x));
    }
    sums.iter().sum::<f64>() + rest.iter().map(|x| f64::from(x * x)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    fn parameter(name: &str, values: Vec<f32>, gradient: Vec<f32>) -> Parameter {
        Parameter { name: name.to_owned(), values, gradient }
    }

    #[test]
    fn steps_are_those_of_the_paper() {
        let (mut optimizer, mut values) = (Optimizer::default(), vec![1.0f32, -2.0]);
        let (mut m, mut v, mut expected) = ([0.0f64; 2], [0.0f64; 2], [1.0f64, -2.0]);
        for t in 1..=50 {
            let gradient = [(t as f32 * 0.3).sin(), 5.0 * (t as f32 * 0.7).cos()];
            let mut moved = [parameter("w", values, gradient.to_vec())];
            optimizer.step(&mut moved, &Config::default().training, &|_| 0.01);
            let [moved] = moved;
            values = moved.values;
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

    #[test]
    fn weights_shrink_and_biases_do_not() {
        let config = TrainingConfig { weight_decay: 0.5, ..Config::default().training };
        let mut parameters =
            [parameter("a.weight", vec![1.0], vec![0.0]), parameter("a.bias", vec![1.0], vec![0.0])];
        Optimizer::default().step(&mut parameters, &config, &|_| 0.1);
        assert_eq!((parameters[0].values[0], parameters[1].values[0]), (0.95, 1.0));
    }

    #[test]
    fn a_large_gradient_is_scaled_down_as_a_whole() {
        let mut parameters =
            [parameter("a", vec![0.0], vec![3.0]), parameter("b", vec![0.0; 2], vec![0.0, 4.0])];
        clip(&mut parameters, 10.0);
        assert_eq!(parameters[1].gradient, [0.0, 4.0]);
        clip(&mut parameters, 1.0);
        assert!(
            (parameters[0].gradient[0] - 0.6).abs() < 1e-6 && (parameters[1].gradient[1] - 0.8).abs() < 1e-6
        );
    }

    #[test]
    fn the_average_follows_the_weights() {
        let config = TrainingConfig { ema_decay: 0.9, ..Config::default().training };
        let mut optimizer = Optimizer::default();
        let mut expected = None;
        let mut values = vec![0.0f32];
        for t in 1..=40 {
            let mut moved = [parameter("w", values, vec![-1.0])];
            optimizer.step(&mut moved, &config, &|_| 0.1);
            let [moved] = moved;
            values = moved.values;
            let decay = 0.9f32.min((1.0 + t as f32) / (10.0 + t as f32));
            let last = expected.unwrap_or(values[0]);
            expected = Some(decay * last + (1.0 - decay) * values[0]);
        }
        let average = optimizer.average["w"][0];
        assert!((average - expected.unwrap()).abs() < 1e-5 && average < values[0], "{average} {expected:?}");
    }
}
