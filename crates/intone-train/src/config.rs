//! One TOML file = one experiment: the defaults, what the file says, then `key=value` from the command line.
//!
//! A key that does not exist is an error, and so is a value out of range. The resolved configuration is written
//! beside the result.

use std::path::Path;

use intone::features::FrontEnd;
use intone::model::vgg::DropoutRates;
use intone::model::{Architecture, VggConfig};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::augment::AugmentConfig;
use crate::error::{Error, Result};

/// Everything that decides the result of a training run, but the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The seed of everything random: weights, order, augmentation, dropout.
    pub seed: u64,
    /// Which clips are for training, validation and test; see [`Protocol`](crate::split::Protocol).
    pub protocol: String,
    /// From samples to the network's input.
    pub front_end: FrontEnd,
    /// The network.
    pub model: ModelConfig,
    /// The loop.
    pub training: TrainingConfig,
    /// What is done to training inputs.
    pub augment: AugmentConfig,
}

/// The network and its regularisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ModelConfig {
    /// The reference network; see [`intone::model::vgg`].
    Vgg {
        /// Output channels of the convolutions, one number per block.
        channels: Vec<usize>,
        /// Number of convolutions, one number per block.
        convs_per_block: Vec<usize>,
        /// Widths of the hidden dense layers.
        dense: Vec<usize>,
        /// Probability of dropping a unit after each block.
        block_dropout: Vec<f64>,
        /// Probability of dropping a unit after each hidden dense layer.
        dense_dropout: Vec<f64>,
    },
}

/// The training loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingConfig {
    /// Windows in a step.
    pub batch_size: usize,
    /// Adam's step size.
    pub learning_rate: f64,
    /// Training ends after this many epochs.
    pub max_epochs: usize,
    /// Training ends when the validation accuracy has not risen for this many epochs.
    pub patience: usize,
}

impl Default for Config {
    /// The reference recipe, `configs/vgg.toml`.
    fn default() -> Config {
        let reference = VggConfig::reference();
        Config {
            seed: 1,
            protocol: "default".to_owned(),
            front_end: FrontEnd { trim_top_db: Some(30.0), ..FrontEnd::reference() },
            model: ModelConfig::Vgg {
                channels: reference.channels,
                convs_per_block: reference.convs_per_block,
                dense: reference.dense,
                block_dropout: vec![0.25; 4],
                dense_dropout: vec![0.5, 0.4],
            },
            training: TrainingConfig { batch_size: 32, learning_rate: 1e-4, max_epochs: 150, patience: 20 },
            augment: AugmentConfig {
                time_masks: 2,
                time_mask_frames: 20,
                frequency_masks: 2,
                frequency_mask_bands: 16,
                noise_std: 0.02,
            },
        }
    }
}

impl Config {
    /// Reads a file over the defaults, and `key=value` settings (`training.batch_size=16`) over both.
    ///
    /// # Errors
    /// A file that is no TOML, a key that does not exist, a value of another type or out of range; each with
    /// its name.
    pub fn load(path: &Path, settings: &[String]) -> Result<Config> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        let in_file = |what: String| Error::Table { path: path.to_path_buf(), line: None, what };
        let file: Table = toml::from_str(&text).map_err(|error| in_file(error.to_string()))?;
        let mut table = Table::try_from(Config::default()).map_err(|error| in_file(error.to_string()))?;
        merge(&mut table, file);
        for setting in settings {
            merge(&mut table, parse_setting(setting)?);
        }
        let config: Config =
            table.try_into().map_err(|error: toml::de::Error| in_file(error.message().to_owned()))?;
        config.validate()?;
        Ok(config)
    }

    /// The configuration as TOML, to be written beside the result.
    ///
    /// # Panics
    /// Never: every field has a form in TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("every field has a form in TOML")
    }

    /// The network for `n_classes` classes.
    pub fn architecture(&self, n_classes: usize) -> Architecture {
        let ModelConfig::Vgg { channels, convs_per_block, dense, .. } = &self.model;
        Architecture::Vgg(VggConfig {
            channels: channels.clone(),
            convs_per_block: convs_per_block.clone(),
            dense: dense.clone(),
            n_mels: self.front_end.n_mels,
            n_frames: self.front_end.n_frames,
            n_classes,
        })
    }

    /// The probabilities of dropping units.
    pub fn dropout(&self) -> DropoutRates {
        let ModelConfig::Vgg { block_dropout, dense_dropout, .. } = &self.model;
        DropoutRates { blocks: block_dropout.clone(), dense: dense_dropout.clone() }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// The first value that is out of range, by its key.
    pub fn validate(&self) -> Result<()> {
        self.front_end.validate()?;
        self.architecture(6).validate().map_err(intone::Error::from)?;
        let ModelConfig::Vgg { channels, dense, block_dropout, dense_dropout, .. } = &self.model;
        one_each("model.block_dropout", block_dropout.len(), channels.len())?;
        one_each("model.dense_dropout", dense_dropout.len(), dense.len())?;
        for (key, rates) in [("model.block_dropout", block_dropout), ("model.dense_dropout", dense_dropout)] {
            for &rate in rates {
                in_range(key, rate, (0.0..1.0).contains(&rate), "at least 0 and below 1")?;
            }
        }
        let TrainingConfig { batch_size, learning_rate, max_epochs, patience } = self.training;
        in_range("training.batch_size", batch_size, (2..=4096).contains(&batch_size), "2 to 4096")?;
        let positive = learning_rate > 0.0 && learning_rate <= 1.0;
        in_range("training.learning_rate", learning_rate, positive, "above 0 and at most 1")?;
        in_range("training.max_epochs", max_epochs, (1..=100_000).contains(&max_epochs), "1 to 100000")?;
        in_range("training.patience", patience, patience >= 1, "at least 1")?;
        let std = self.augment.noise_std;
        in_range("augment.noise_std", std, (0.0..=1.0).contains(&std), "0 to 1")?;
        for (key, n) in [
            ("augment.time_masks", self.augment.time_masks),
            ("augment.frequency_masks", self.augment.frequency_masks),
        ] {
            in_range(key, n, n <= 100, "at most 100")?;
        }
        Ok(())
    }
}

fn in_range(key: &'static str, actual: impl ToString, fits: bool, expected: &'static str) -> Result<()> {
    if fits {
        Ok(())
    } else {
        Err(Error::Config { key, expected: expected.to_owned(), actual: actual.to_string() })
    }
}

fn one_each(key: &'static str, actual: usize, expected: usize) -> Result<()> {
    in_range(key, actual, actual == expected, "one rate for each layer")
}

/// `a.b=value` as a table; the value is TOML, or else taken as text.
fn parse_setting(setting: &str) -> Result<Table> {
    let (key, value) = setting.split_once('=').ok_or_else(|| Error::Config {
        key: "settings",
        expected: "key=value, as in training.batch_size=16".to_owned(),
        actual: setting.to_owned(),
    })?;
    let parsed = toml::from_str::<Table>(&format!("value = {value}"));
    let mut value =
        parsed.ok().and_then(|mut t| t.remove("value")).unwrap_or_else(|| Value::String(value.to_owned()));
    for part in key.split('.').rev() {
        value = Value::Table(Table::from_iter([(part.trim().to_owned(), value)]));
    }
    match value {
        Value::Table(table) => Ok(table),
        _ => unreachable!("the key has at least one part"),
    }
}

/// Lays `over` on `base`, table by table.
fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(over)) => merge(base, over),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, settings: &[&str]) -> Result<Config> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("experiment.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path, &settings.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn defaults_then_file_then_settings() {
        let config =
            load("seed = 5\n[training]\nbatch_size = 8", &["training.patience=3", "protocol=emobox/2"])
                .unwrap();
        assert_eq!((config.seed, config.training.batch_size, config.training.patience), (5, 8, 3));
        assert_eq!(config.protocol, "emobox/2");
        assert_eq!(config.training.learning_rate, Config::default().training.learning_rate);
        assert_eq!(load(&config.to_toml(), &[]).unwrap(), config);
    }

    #[test]
    fn the_reference_configuration_is_the_default() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/vgg.toml");
        assert_eq!(Config::load(&path, &[]).unwrap(), Config::default());
    }

    #[test]
    fn mistakes_are_named() {
        for (text, settings, expected) in [
            ("sede = 5", vec![], "sede"),
            ("[training]\nbatchsize = 8", vec![], "batchsize"),
            ("[training]\nbatch_size = 'x'", vec![], "invalid type"),
            ("[training]\nbatch_size = 1", vec![], "training.batch_size"),
            ("[training]\nlearning_rate = 0", vec![], "training.learning_rate"),
            ("[training]\nlearning_rate = nan", vec![], "training.learning_rate"),
            ("[model]\nblock_dropout = [0.1, 0.1, 0.1, 1.0]", vec![], "model.block_dropout"),
            ("[model]\nblock_dropout = [0.1]", vec![], "model.block_dropout"),
            ("[model]\nname = 'resnet'", vec![], "resnet"),
            ("[augment]\nnoise_std = -1.0", vec![], "augment.noise_std"),
            ("[front_end]\nn_fft = 0", vec![], "n_fft"),
            ("seed = ", vec![], "experiment.toml"),
            ("", vec!["patience"], "key=value"),
            ("", vec!["training.patience=0"], "training.patience"),
            ("", vec!["training.patients=9"], "patients"),
        ] {
            let error = load(text, &settings).expect_err(text).to_string();
            assert!(error.contains(expected), "{text:?} {settings:?}: {error:?} does not say {expected:?}");
        }
    }
}
