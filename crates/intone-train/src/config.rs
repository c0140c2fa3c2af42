//! One TOML file = one experiment: the defaults, what the file says, then `key=value` from the command line.
//!
//! A key that does not exist is an error, and so is a value out of range. The resolved configuration is written
//! beside the result.

use std::path::{Path, PathBuf};

use intone::features::FrontEnd;
use intone::model::encoder::ProductPrecision;
use intone::model::{Architecture, EncoderConfig, ModelError, VggConfig};
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
    /// Whisper's encoder under a head of its own; see [`intone::model::encoder`].
    Encoder(EncoderModel),
}

/// The encoder, and how it is taught: first the head alone, on what the encoder says of the clips as they are; then all
/// together, the encoder slowly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderModel {
    /// Published weights to begin with, as `intone model import whisper` writes them or in the formats that it reads.
    /// Without them the encoder begins at random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<PathBuf>,
    /// Values of a row.
    pub width: usize,
    /// Attention heads in a block.
    pub n_heads: usize,
    /// Values in the middle of a block's perceptron.
    pub hidden: usize,
    /// Transformer blocks. Published weights may have more: the last ones are then left out.
    pub n_blocks: usize,
    /// Units of the small network that weighs the rows.
    pub pooling: usize,
    /// The layers that are pooled, each by itself: 0 is the input of the first block, `n` the output of the `n`th. None: the
    /// weighted sum of all of them, as one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pooled_layers: Vec<usize>,
    /// Widths of the hidden dense layers behind the pooling.
    pub dense: Vec<usize>,
    /// Probability of dropping a unit before each dense layer.
    pub dropout: f64,
    /// The first epochs, in which the head alone moves.
    pub frozen_epochs: usize,
    /// The head's step size in these.
    pub frozen_learning_rate: f64,
    /// The step size, in all epochs, of the numbers whose softmax weighs the layers: all are 0 at first, and at the step size of
    /// the head's matrices hardly move. None: the head's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mix_learning_rate: Option<f64>,
    /// The last block's step size in the epochs after them.
    pub encoder_learning_rate: f64,
    /// The lowest blocks that stay as they are for good, with the convolutions below them. 0: all of it moves.
    pub frozen_blocks: usize,
    /// Each block's step size as a share of that of the block above it; the convolutions lie below the first block.
    pub layer_decay: f64,
    /// The encoder that is kept lies so many times as far from the published one as training came: above 1 beyond, as task
    /// vectors are scaled (Ilharco et al. 2023). Without [`init`](EncoderModel::init) it is kept as it is.
    #[serde(default = "one")]
    pub extrapolation: f64,
    /// What the matrix products of the encoder are computed in once it moves. Weights, sums, and all else, are in single
    /// precision.
    pub products: ProductPrecision,
}

/// The training loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingConfig {
    /// Windows in a step.
    pub batch_size: usize,
    /// Adam's step size, at its largest.
    pub learning_rate: f64,
    /// How the step sizes change over the epochs.
    pub schedule: Schedule,
    /// The first steps, over which the step sizes rise from nothing: at most an eighth of all, or of each phase's.
    pub warmup_steps: usize,
    /// How much of itself a weight loses in a step, in units of the step size (AdamW; Loshchilov and Hutter 2019).
    pub weight_decay: f64,
    /// The largest norm of a step's gradient, all parameters together: a larger one is scaled down. 0: any.
    pub clip_norm: f64,
    /// The model that is kept is a running average of the weights over the steps, which forgets at this rate, such as
    /// 0.999. 0: the weights as they are.
    pub ema_decay: f64,
    /// The share of a target that is spread over all classes (Szegedy et al. 2016).
    pub label_smoothing: f64,
    /// The share of a target that is what the crowd heard in the voice alone, for clips that were voted on.
    pub vote_share: f64,
    /// What another system says of the training clips, a `predictions.csv`: best of models that had not heard the clip,
    /// such as a cross-validation under the protocol `nested/5` makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soft_targets: Option<PathBuf>,
    /// As many runs come first, in folders `teacher-N` of this one: the same run without teachers, the first with its seed, the
    /// next with the one after it, and so on. What they say of the training clips, on average, is in the place of
    /// [`soft_targets`](TrainingConfig::soft_targets).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub teachers: usize,
    /// The share of a target that is what that system says, or what the teachers say, for clips that it answers (Hinton et al.
    /// 2015).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub soft_share: f64,
    /// How far the corpora are balanced: 0, each clip once an epoch; 1, as many from each corpus, those of the smaller
    /// ones several times; between them a corpus of `n` clips has a weight of `n^(1 - corpus_balance)`.
    pub corpus_balance: f64,
    /// Which epoch's model is kept.
    #[serde(default)]
    pub keep: Keep,
    /// Training ends after this many epochs.
    pub max_epochs: usize,
    /// Training ends when the validation accuracy has not risen for this many epochs; those in which a head is trained alone
    /// first do not count. Where the last epoch is kept there is nothing to wait for, and all are trained.
    pub patience: usize,
}

/// Which epoch's model is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// The one with the best validation accuracy.
    #[default]
    Best,
    /// The last one, for schedules that come to rest: where few speakers choose, they choose by chance as well.
    Last,
}

/// How step sizes change over the epochs. Where the head is trained alone first, each of the two phases has a course of
/// its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Not at all.
    Constant,
    /// They fall to nothing at the last epoch, along half a period of the cosine.
    Cosine,
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
                block_dropout: vec![0.1; 4],
                dense_dropout: vec![0.5, 0.4],
            },
            training: TrainingConfig {
                batch_size: 16,
                learning_rate: 1e-4,
                schedule: Schedule::Constant,
                warmup_steps: 0,
                weight_decay: 0.0,
                clip_norm: 0.0,
                ema_decay: 0.0,
                label_smoothing: 0.0,
                vote_share: 0.0,
                soft_targets: None,
                teachers: 0,
                soft_share: 0.0,
                corpus_balance: 0.0,
                keep: Keep::Best,
                max_epochs: 150,
                patience: 20,
            },
            augment: AugmentConfig {
                time_masks: 2,
                time_mask_frames: 20,
                frequency_masks: 2,
                frequency_mask_bands: 16,
                noise_std: 0.02,
                ..AugmentConfig::off()
            },
        }
    }
}

impl Config {
    /// The recipe for Whisper's encoder, `configs/whisper-tiny.toml`.
    pub fn whisper_tiny() -> Config {
        let EncoderConfig { width, n_heads, hidden, n_blocks, pooling, dense, .. } = EncoderConfig::tiny(4);
        Config {
            seed: 1,
            protocol: "default".to_owned(),
            front_end: FrontEnd { trim_top_db: Some(30.0), ..FrontEnd::whisper() },
            model: ModelConfig::Encoder(EncoderModel {
                init: None,
                width,
                n_heads,
                hidden,
                n_blocks,
                pooling,
                pooled_layers: Vec::new(),
                dense,
                dropout: 0.3,
                frozen_epochs: 8,
                frozen_learning_rate: 1e-3,
                mix_learning_rate: None,
                encoder_learning_rate: 2e-5,
                frozen_blocks: 0,
                layer_decay: 0.8,
                extrapolation: 1.25,
                products: ProductPrecision::Bf16,
            }),
            training: TrainingConfig {
                batch_size: 16,
                learning_rate: 1e-4,
                schedule: Schedule::Cosine,
                warmup_steps: 300,
                weight_decay: 0.01,
                clip_norm: 1.0,
                ema_decay: 0.998,
                label_smoothing: 0.05,
                vote_share: 0.2,
                soft_targets: None,
                teachers: 0,
                soft_share: 0.0,
                corpus_balance: 0.5,
                keep: Keep::Last,
                max_epochs: 32,
                patience: 35,
            },
            augment: AugmentConfig {
                cut_share: 0.1,
                speed: 0.1,
                gain_db: 6.0,
                noise_share: 0.2,
                babble_share: 0.1,
                noise_snr_db: [0.0, 40.0],
                babble_snr_db: [0.0, 20.0],
                time_masks: 1,
                time_mask_frames: 30,
                frequency_masks: 1,
                frequency_mask_bands: 8,
                ..AugmentConfig::off()
            },
        }
    }

    /// The recipe for a network with this name.
    fn recipe(model: &str) -> Option<Config> {
        [Config::default(), Config::whisper_tiny()].into_iter().find(|recipe| recipe.model.name() == model)
    }

    /// Reads a file over the recipe of the network that it names (`model.name`, `vgg` if none), and `key=value` settings
    /// (`training.batch_size=16`) over both.
    ///
    /// # Errors
    /// A file that is no TOML, a key that does not exist, a value of another type or out of range; each with
    /// its name.
    pub fn load(path: &Path, settings: &[String]) -> Result<Config> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        let in_file = |what: String| Error::Table { path: path.to_path_buf(), line: None, what };
        let mut given: Table = toml::from_str(&text).map_err(|error| in_file(error.to_string()))?;
        for setting in settings {
            merge(&mut given, parse_setting(setting)?);
        }
        Config::over_recipe(given).map_err(in_file)?.valid()
    }

    /// What is given over the recipe of the network that it names.
    fn over_recipe(given: Table) -> Result<Config, String> {
        let name = given.get("model").and_then(|model| model.get("name")).and_then(Value::as_str);
        let recipe = name.and_then(Config::recipe).unwrap_or_default();
        let mut table = Table::try_from(recipe).map_err(|error| error.to_string())?;
        merge(&mut table, given);
        table.try_into().map_err(|error: toml::de::Error| error.message().to_owned())
    }

    /// Whether `text` is this configuration as it was written down, by this version or by an older one that had fewer keys: a
    /// key that came later has a default, which changes nothing, whatever the recipe says now.
    pub(crate) fn is_written_as(&self, text: &str) -> bool {
        toml::from_str(text).is_ok_and(|written: Config| written == *self)
    }

    /// Whether two configurations that were written down differ in nothing but the seed and in who is on which side.
    pub(crate) fn same_recipe(one: &str, other: &str) -> bool {
        let recipe = |text: &str| {
            let config: Config = toml::from_str(text).ok()?;
            Some(Config { seed: 0, protocol: String::new(), ..config })
        };
        recipe(one).is_some_and(|one| recipe(other).is_some_and(|other| one == other))
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
        let FrontEnd { n_mels, n_frames, .. } = self.front_end;
        match &self.model {
            ModelConfig::Vgg { channels, convs_per_block, dense, .. } => Architecture::Vgg(VggConfig {
                channels: channels.clone(),
                convs_per_block: convs_per_block.clone(),
                dense: dense.clone(),
                n_mels,
                n_frames,
                n_classes,
            }),
            ModelConfig::Encoder(model) => Architecture::Encoder(EncoderConfig {
                n_mels,
                n_frames,
                width: model.width,
                n_heads: model.n_heads,
                hidden: model.hidden,
                n_blocks: model.n_blocks,
                pooling: model.pooling,
                pooled_layers: model.pooled_layers.clone(),
                dense: model.dense.clone(),
                n_classes,
            }),
        }
    }

    /// Checks every value, and that front end and network fit.
    ///
    /// # Errors
    /// The first value that is out of range, by its key.
    pub fn validate(&self) -> Result<()> {
        self.front_end.validate().map_err(|error| match error {
            intone::Error::OutOfRange { what, expected, actual } => {
                Error::Config { key: format!("front_end.{what}").into(), expected, actual }
            }
            other => other.into(),
        })?;
        let architecture = self.architecture(6);
        architecture.validate().and_then(|()| architecture.fits(&self.front_end)).map_err(
            |error| match error {
                ModelError::Architecture { what, expected, actual } => {
                    Error::Config { key: key_of(what).into(), expected, actual }
                }
                other => intone::Error::from(other).into(),
            },
        )?;
        self.model.validate()?;
        self.training.validate()?;
        self.augment.validate()
    }

    fn valid(self) -> Result<Config> {
        self.validate()?;
        Ok(self)
    }
}

impl ModelConfig {
    /// The name, as a configuration has it.
    fn name(&self) -> &'static str {
        match self {
            ModelConfig::Vgg { .. } => "vgg",
            ModelConfig::Encoder(_) => "encoder",
        }
    }

    fn validate(&self) -> Result<()> {
        match self {
            ModelConfig::Vgg { channels, dense, block_dropout, dense_dropout, .. } => {
                one_each("model.block_dropout", block_dropout.len(), channels.len())?;
                one_each("model.dense_dropout", dense_dropout.len(), dense.len())?;
                for (key, rates) in
                    [("model.block_dropout", block_dropout), ("model.dense_dropout", dense_dropout)]
                {
                    for &rate in rates {
                        share_below_1(key, rate)?;
                    }
                }
            }
            ModelConfig::Encoder(model) => {
                share_below_1("model.dropout", model.dropout)?;
                step_size("model.frozen_learning_rate", model.frozen_learning_rate)?;
                model.mix_learning_rate.map_or(Ok(()), |rate| step_size("model.mix_learning_rate", rate))?;
                step_size("model.encoder_learning_rate", model.encoder_learning_rate)?;
                let EncoderModel { frozen_blocks: n, n_blocks, layer_decay: decay, .. } = *model;
                in_range("model.frozen_blocks", n, n <= n_blocks, "at most model.n_blocks")?;
                in_range("model.layer_decay", decay, decay > 0.0 && decay <= 1.0, "above 0 and at most 1")?;
                let times = model.extrapolation;
                in_range("model.extrapolation", times, times > 0.0 && times <= 4.0, "above 0 and at most 4")?;
            }
        }
        Ok(())
    }
}

impl TrainingConfig {
    fn validate(&self) -> Result<()> {
        let &TrainingConfig { batch_size, max_epochs, patience, weight_decay, clip_norm, .. } = self;
        in_range("training.batch_size", batch_size, (2..=4096).contains(&batch_size), "2 to 4096")?;
        step_size("training.learning_rate", self.learning_rate)?;
        in_range("training.weight_decay", weight_decay, (0.0..=1.0).contains(&weight_decay), "0 to 1")?;
        in_range("training.clip_norm", clip_norm, (0.0..=1e6).contains(&clip_norm), "0 to 1e6")?;
        share_below_1("training.ema_decay", self.ema_decay)?;
        share_below_1("training.label_smoothing", self.label_smoothing)?;
        share("training.vote_share", self.vote_share)?;
        share("training.soft_share", self.soft_share)?;
        let teachers = self.teachers;
        in_range("training.teachers", teachers, teachers <= 100, "at most 100")?;
        let only_these = teachers == 0 || self.soft_targets.is_none();
        in_range("training.teachers", teachers, only_these, "0 with training.soft_targets")?;
        let is_taught = teachers > 0 || self.soft_targets.is_some();
        let wanted = match is_taught {
            true => "above 0 with training.teachers or training.soft_targets",
            false => "0 without training.teachers and training.soft_targets",
        };
        in_range("training.soft_share", self.soft_share, is_taught == (self.soft_share > 0.0), wanted)?;
        share("training.corpus_balance", self.corpus_balance)?;
        in_range("training.max_epochs", max_epochs, (1..=100_000).contains(&max_epochs), "1 to 100000")?;
        in_range("training.patience", patience, patience >= 1, "at least 1")
    }
}

fn one() -> f64 {
    1.0
}

pub(crate) fn is_zero<T: Default + PartialEq>(x: &T) -> bool {
    *x == T::default()
}

fn share(key: &'static str, value: f64) -> Result<()> {
    in_range(key, value, (0.0..=1.0).contains(&value), "0 to 1")
}

fn share_below_1(key: &'static str, value: f64) -> Result<()> {
    in_range(key, value, (0.0..1.0).contains(&value), "at least 0 and below 1")
}

fn step_size(key: &'static str, value: f64) -> Result<()> {
    in_range(key, value, value > 0.0 && value <= 1.0, "above 0 and at most 1")
}

pub(crate) fn in_range(
    key: &'static str,
    actual: impl ToString,
    fits: bool,
    expected: &'static str,
) -> Result<()> {
    if fits {
        Ok(())
    } else {
        Err(Error::Config { key: key.into(), expected: expected.to_owned(), actual: actual.to_string() })
    }
}

fn one_each(key: &'static str, actual: usize, expected: usize) -> Result<()> {
    in_range(key, actual, actual == expected, "one rate for each layer")
}

/// The key that a hyperparameter of the network has in a configuration; what is no key stands after its table's name.
fn key_of(hyperparameter: &str) -> String {
    match hyperparameter {
        "n_mels" | "n_frames" => format!("front_end.{hyperparameter}"),
        what if what.contains(' ') => format!("model: {what}"),
        key => format!("model.{key}"),
    }
}

/// `a.b=value` as a table; the value is TOML, or else taken as text.
fn parse_setting(setting: &str) -> Result<Table> {
    let (key, value) = setting.split_once('=').ok_or_else(|| Error::Config {
        key: "settings".into(),
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
    fn the_published_configurations_are_the_recipes() {
        let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
        assert_eq!(Config::load(&configs.join("vgg.toml"), &[]).unwrap(), Config::default());
        let mut whisper = Config::load(&configs.join("whisper-tiny.toml"), &[]).unwrap();
        let ModelConfig::Encoder(model) = &mut whisper.model else { panic!("{whisper:?}") };
        assert_eq!(model.init.take().as_deref(), Some(Path::new("whisper-tiny.en.safetensors")));
        assert_eq!(whisper, Config::whisper_tiny());
    }

    #[test]
    fn the_networks_name_chooses_the_recipe() {
        let config = load("[model]\nname = 'encoder'\nn_blocks = 2", &["seed=4"]).unwrap();
        let mut expected = Config { seed: 4, ..Config::whisper_tiny() };
        let ModelConfig::Encoder(model) = &mut expected.model else { panic!() };
        model.n_blocks = 2;
        assert_eq!(config, expected);
        assert_eq!(load("", &["model.name=encoder"]).unwrap(), Config::whisper_tiny());
        assert_eq!(load(&config.to_toml(), &[]).unwrap(), config);
    }

    #[test]
    fn what_an_older_version_wrote_is_the_same_configuration() {
        let untrimmed = FrontEnd { trim_top_db: None, ..FrontEnd::whisper() };
        for config in [Config::default(), Config { front_end: untrimmed, ..Config::whisper_tiny() }] {
            assert!(config.is_written_as(&config.to_toml()));
        }
        // An ingredient that there was no key for was not in the mixture.
        let config = Config { augment: AugmentConfig::off(), ..Config::whisper_tiny() };
        let without = |written: &str, lines: &[&str]| {
            lines.iter().fold(written.to_owned(), |written, line| {
                assert!(written.contains(line), "{line}");
                written.replace(line, "")
            })
        };
        let older = [
            "babble_share = 0.0\n",
            "babble_snr_db = [10.0, 40.0]\n",
            "cut_share = 0.0\n",
            "cut_s = [0.5, 1.5]\n",
        ];
        assert!(config.is_written_as(&without(&config.to_toml(), &older)));
        // What the recipe does today it did not do before there was a key for it.
        let config = Config::whisper_tiny();
        let written = config.to_toml();
        for line in ["extrapolation = 1.25\n", "cut_share = 0.1\n", "babble_snr_db = [0.0, 20.0]\n"] {
            assert!(!config.is_written_as(&without(&written, &[line])), "{line}");
        }
        assert!(!config.is_written_as(&written.replace("seed = 1", "seed = 2")));
        assert!(!config.is_written_as(&format!("no_such_key = 1\n{written}")));
        assert!(!config.is_written_as("not TOML"));
    }

    #[test]
    fn what_is_switched_off_is_not_written_down() {
        let keys = ["ends_share", "ends_s", "pitch_", "filter_", "band_limit_share", "mix_learning_rate"];
        for config in [Config::default(), Config::whisper_tiny()] {
            let written = config.to_toml();
            assert!(!keys.iter().any(|key| written.contains(key)), "{written}");
        }
        let settings = [
            "model.name=encoder",
            "model.mix_learning_rate=0.02",
            "augment.ends_share=0.5",
            "augment.ends_s=[0.1, 0.7]",
            "augment.pitch_share=0.2",
            "augment.pitch_semitones=3",
            "augment.filter_share=0.3",
            "augment.filter_db=4.5",
            "augment.band_limit_share=0.05",
        ];
        let config = load("", &settings).unwrap();
        let written = config.to_toml();
        assert!(keys.iter().all(|key| written.contains(key)), "{written}");
        assert_eq!(load(&written, &[]).unwrap(), config);
        assert!(config.is_written_as(&written) && !Config::whisper_tiny().is_written_as(&written));
    }

    #[test]
    fn a_recipe_is_a_configuration_without_seed_and_protocol() {
        let written = Config::whisper_tiny().to_toml();
        let fold = Config { seed: 5, protocol: "by-speaker/5/1".to_owned(), ..Config::whisper_tiny() };
        assert!(Config::same_recipe(&written, &fold.to_toml()));
        assert!(!Config::same_recipe(&written, &written.replace("ema_decay = 0.998", "ema_decay = 0.9")));
        assert!(!Config::same_recipe("", "not TOML") && !Config::same_recipe("not TOML", "not TOML"));
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
            ("[augment]\nspeed = 1.0", vec![], "augment.speed"),
            ("[augment]\nnoise_snr_db = [40, 10]", vec![], "augment.noise_snr_db"),
            ("[augment]\nbabble_snr_db = [0, 121]", vec![], "augment.babble_snr_db"),
            ("[augment]\ncut_s = [0.0, 1.0]", vec![], "augment.cut_s: expected the least, then the most"),
            ("[augment]\ncut_share = 1.1", vec![], "augment.cut_share"),
            ("[augment]\nends_share = -0.1", vec![], "augment.ends_share: expected 0 to 1, got -0.1"),
            ("[augment]\nends_s = [1.0, 0.5]", vec![], "augment.ends_s: expected the least, then the most"),
            ("[augment]\nends_s = [0.0, 11.0]", vec![], "within 0 to 10, got [0, 11]"),
            ("[augment]\npitch_share = 2.0", vec![], "augment.pitch_share"),
            (
                "[augment]\npitch_semitones = 13.0",
                vec![],
                "augment.pitch_semitones: expected 0 to 12, got 13",
            ),
            ("[augment]\nfilter_share = nan", vec![], "augment.filter_share"),
            ("[augment]\nfilter_db = -1.0", vec![], "augment.filter_db: expected 0 to 60, got -1"),
            ("[augment]\nband_limit_share = 1.5", vec![], "augment.band_limit_share"),
            (
                "[model]\nname = 'encoder'\nmix_learning_rate = 0.0",
                vec![],
                "model.mix_learning_rate: expected above 0 and at most 1, got 0",
            ),
            ("[model]\nmix_learning_rate = 0.01", vec![], "mix_learning_rate"),
            ("[model]\nname = 'encoder'\ndropout = 1.0", vec![], "model.dropout"),
            (
                "[model]\nname = 'encoder'\nwidth = 100",
                vec![],
                "model.width: expected a multiple of 32, got 100",
            ),
            ("[model]\nname = 'encoder'\nextrapolation = 0", vec![], "model.extrapolation"),
            ("[training]\nkeep = 'worst'", vec![], "worst"),
            ("[model]\nname = 'encoder'\nchannels = [32]", vec![], "channels"),
            ("[training]\nschedule = 'linear'", vec![], "linear"),
            ("[model]\nname = 'encoder'\nproducts = 'f16'", vec![], "f16"),
            ("[model]\nname = 'encoder'\nfrozen_blocks = 5", vec![], "model.frozen_blocks"),
            (
                "[model]\nname = 'encoder'\npooled_layers = [5]",
                vec![],
                "model.pooled_layers: expected 0 to 4, got 5",
            ),
            (
                "[model]\nname = 'encoder'\npooled_layers = [4, 4]",
                vec![],
                "expected rising numbers, got [4, 4]",
            ),
            ("[training]\nvote_share = 1.5", vec![], "training.vote_share"),
            ("[training]\nteachers = 1", vec![], "training.soft_share"),
            ("[training]\nsoft_share = 0.5", vec![], "training.soft_share"),
            (
                "[training]\nsoft_targets = \"x.csv\"\nsoft_share = 0.5\nteachers = 1",
                vec![],
                "training.teachers",
            ),
            ("[training]\nteachers = 101\nsoft_share = 0.5", vec![], "training.teachers"),
            ("[front_end]\nn_fft = 0", vec![], "front_end.n_fft"),
            ("[front_end]\nn_mels = 8", vec![], "front_end.n_mels: expected 16 to"),
            ("[model]\nconvs_per_block = [1]", vec![], "model: length of convs_per_block: expected 4, got 1"),
            ("[front_end]\nstyle = 'whisper'", vec![], "for the network 'vgg', got whisper"),
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
