//! The phases of a run, and the step sizes in them.

use std::ops::RangeInclusive;

use crate::config::{Config, ModelConfig, Schedule};

/// A warm-up takes at most one of so many steps of its phase.
const MIN_PHASE_IN_WARMUPS: f64 = 8.0;

/// A part of a run in which the same parameters move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    /// Whether the head alone moves, on a frozen encoder.
    pub frozen: bool,
    /// Its epochs, counted from 1.
    pub epochs: RangeInclusive<usize>,
}

impl Phase {
    /// The last epoch in which the head alone moves; 0 where there is none.
    pub fn last_frozen(config: &Config) -> usize {
        match &config.model {
            ModelConfig::Vgg { .. } => 0,
            ModelConfig::Encoder(model) => model.frozen_epochs.min(config.training.max_epochs),
        }
    }

    /// The phase that an epoch belongs to.
    pub fn of(config: &Config, epoch: usize) -> Phase {
        let frozen_epochs = Phase::last_frozen(config);
        if epoch <= frozen_epochs {
            Phase { frozen: true, epochs: 1..=frozen_epochs }
        } else {
            Phase { frozen: false, epochs: frozen_epochs + 1..=config.training.max_epochs }
        }
    }

    /// The share of its step size that a step takes: the step `step`, from 0, of one of the epochs, each of `n_steps`.
    pub fn factor(&self, config: &Config, epoch: usize, step: usize, n_steps: usize) -> f64 {
        let done = (epoch.saturating_sub(*self.epochs.start()) * n_steps + step) as f64;
        let n_epochs = self.epochs.end() + 1 - self.epochs.start();
        // With few clips the schedule would be over before the warm-up is.
        let longest_warmup = (n_epochs * n_steps) as f64 / MIN_PHASE_IN_WARMUPS;
        let warmup = (config.training.warmup_steps as f64).min(longest_warmup);
        let share = match config.training.schedule {
            Schedule::Constant => 1.0,
            Schedule::Cosine => {
                let progress = (done / (n_epochs * n_steps).max(1) as f64).min(1.0);
                0.5 + 0.5 * (std::f64::consts::PI * progress).cos()
            }
        };
        share * ((done + 1.0) / (warmup + 1.0)).min(1.0)
    }

    /// The step size of the parameter with this name, at its largest.
    pub fn rate(&self, config: &Config, name: &str) -> f64 {
        let ModelConfig::Encoder(model) = &config.model else { return config.training.learning_rate };
        if let ("mix", Some(rate)) = (name, model.mix_learning_rate) {
            return rate;
        }
        if self.frozen {
            return model.frozen_learning_rate;
        }
        let block: Option<usize> =
            name.strip_prefix("blocks.").and_then(|rest| rest.split('.').next()?.parse().ok());
        let n_below_the_last = match block {
            Some(block) => model.n_blocks.saturating_sub(1 + block),
            None if name.starts_with("conv") => model.n_blocks,
            None => return config.training.learning_rate,
        };
        model.encoder_learning_rate * model.layer_decay.powi(n_below_the_last as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let mut config = Config::whisper_tiny();
        config.training.max_epochs = 10;
        config.training.warmup_steps = 0;
        let ModelConfig::Encoder(model) = &mut config.model else { panic!("{config:?}") };
        model.frozen_epochs = 4;
        model.encoder_learning_rate = 3e-5;
        config
    }

    #[test]
    fn the_head_comes_first() {
        let config = config();
        assert_eq!(Phase::of(&config, 4), Phase { frozen: true, epochs: 1..=4 });
        assert_eq!(Phase::of(&config, 5), Phase { frozen: false, epochs: 5..=10 });
        assert_eq!(Phase::of(&Config::default(), 1), Phase { frozen: false, epochs: 1..=150 });
    }

    #[test]
    fn each_phase_has_its_own_course() {
        let mut config = config();
        let factor = |config: &Config, epoch, step| Phase::of(config, epoch).factor(config, epoch, step, 8);
        assert_eq!((factor(&config, 1, 0), factor(&config, 5, 0)), (1.0, 1.0));
        assert!((factor(&config, 3, 0) - 0.5).abs() < 1e-12 && (factor(&config, 8, 0) - 0.5).abs() < 1e-12);
        assert!(factor(&config, 10, 7) < 0.01);
        config.training.warmup_steps = 4;
        config.training.schedule = Schedule::Constant;
        let rising: Vec<f64> = (0..6).map(|step| factor(&config, 5, step)).collect();
        assert_eq!(rising, [0.2, 0.4, 0.6, 0.8, 1.0, 1.0]);
        // A phase of 48 steps warms up in six at most.
        config.training.warmup_steps = 1_000;
        let rising: Vec<f64> = (0..8).map(|step| factor(&config, 5, step)).collect();
        assert_eq!(rising[..6], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0].map(|step| step / 7.0));
        assert_eq!(rising[6..], [1.0, 1.0]);
    }

    #[test]
    fn lower_layers_move_less() {
        let config = config();
        let rate = |epoch, name| Phase::of(&config, epoch).rate(&config, name);
        assert_eq!((rate(1, "output.weight"), rate(5, "output.weight")), (1e-3, 1e-4));
        assert_eq!(rate(5, "blocks.3.mlp.up.weight"), 3e-5);
        assert!((rate(5, "blocks.0.mlp.up.weight") / (3e-5 * 0.8f64.powi(3)) - 1.0).abs() < 1e-12);
        assert!((rate(5, "conv1.weight") / (3e-5 * 0.8f64.powi(4)) - 1.0).abs() < 1e-12);
        assert_eq!((rate(1, "mix"), rate(5, "mix")), (1e-3, 1e-4));
    }

    #[test]
    fn the_layers_weights_have_a_step_size_of_their_own_where_it_is_given() {
        let mut config = config();
        let ModelConfig::Encoder(model) = &mut config.model else { panic!("{config:?}") };
        model.mix_learning_rate = Some(0.02);
        let rate = |epoch, name| Phase::of(&config, epoch).rate(&config, name);
        assert_eq!((rate(1, "mix"), rate(5, "mix")), (0.02, 0.02));
        assert_eq!((rate(1, "output.bias"), rate(5, "output.bias")), (1e-3, 1e-4));
        assert_eq!(rate(5, "blocks.3.mlp.up.weight"), 3e-5);
    }
}
