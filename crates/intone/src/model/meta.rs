//! What a model file says about its network: everything that inference needs beside the weights, and where
//! the model comes from.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::chain::{MAX_VALUES, filled};
use super::{Calibration, ChainConfig, ModelError};
use crate::features::FrontEnd;

/// The one version of the format that this program reads and writes.
pub const FORMAT_VERSION: u32 = 1;

/// The largest number of classes. Far above any emotion taxonomy (GoEmotions has 28), and low enough that
/// answers stay small.
pub const MAX_LABELS: usize = 1024;

/// The longest name of a class, bytes.
pub const MAX_LABEL_BYTES: usize = 64;

/// The lowest calibration temperature. Fitted ones lie between 0.5 and 5; below this every answer would be
/// 0 or 1 whatever the network says.
pub const MIN_TEMPERATURE: f32 = 0.05;

/// The highest calibration temperature: above this every answer would be uniform.
pub const MAX_TEMPERATURE: f32 = 100.0;

/// The lowest exponent of the gaps: below this all classes but the most probable one are nearly alike.
pub const MIN_GAP_EXPONENT: f32 = 0.25;

/// The highest exponent of the gaps. Fitted ones lie near 1.
pub const MAX_GAP_EXPONENT: f32 = 4.0;

/// The longest sound that may count as short, seconds. Fitted ones are of about a second.
pub const MAX_SHORT_S: f32 = 10.0;

/// The largest width of a layer. The widest of the field's networks have 4,096.
pub const MAX_WIDTH: usize = 16_384;

/// The largest number of layers in one list of an architecture.
pub const MAX_LAYERS: usize = 64;

/// The metadata of a model file: one JSON value beside the weights.
///
/// Unknown keys are refused, because an unknown key may change what the weights mean; a format with more keys
/// has a higher [`FORMAT_VERSION`]. Only [`Provenance`] may grow within a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelMeta {
    /// The version of the format, [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The network and its hyperparameters.
    pub architecture: Architecture,
    /// The way from samples to the network's input.
    pub front_end: FrontEnd,
    /// The classes, in the order of the network's outputs.
    pub labels: Vec<String>,
    /// Calibration: the logits are divided by this before the softmax. 1 where nothing was calibrated.
    #[serde(default = "uncalibrated")]
    pub temperature: f32,
    /// Calibration: before that, each logit's distance to the highest one is raised to this power; see [`Calibration`]. 1 leaves
    /// it as it is.
    #[serde(default = "uncalibrated", skip_serializing_if = "is_one")]
    pub gap_exponent: f32,
    /// Calibration: a window with less sound than this, seconds, has a temperature as many times higher as its sound is shorter.
    /// 0 where none has; always so for networks whose windows are of one length.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub short_s: f32,
    /// An answer whose highest probability is below this is uncertain; at most 1. 0 where nothing was chosen.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub uncertain_below: f32,
    /// Where the model comes from.
    #[serde(default)]
    pub provenance: Provenance,
}

impl ModelMeta {
    /// Metadata of an uncalibrated model of unknown provenance, in the present version of the format.
    pub fn new(architecture: Architecture, front_end: FrontEnd, labels: Vec<String>) -> ModelMeta {
        ModelMeta {
            format_version: FORMAT_VERSION,
            architecture,
            front_end,
            labels,
            temperature: uncalibrated(),
            gap_exponent: uncalibrated(),
            short_s: 0.0,
            uncertain_below: 0.0,
            provenance: Provenance::default(),
        }
    }

    /// How the network's logits become probabilities.
    pub fn calibration(&self) -> Calibration {
        let ModelMeta { temperature, gap_exponent, short_s, .. } = *self;
        Calibration { temperature, gap_exponent, short_s }
    }

    /// Checks every value, and that architecture, labels and front end agree.
    ///
    /// # Errors
    /// The first thing that is wrong, as a [`ModelError`] of its own kind.
    pub fn validate(&self) -> Result<(), ModelError> {
        if self.format_version != FORMAT_VERSION {
            return Err(ModelError::Version { expected: FORMAT_VERSION, actual: self.format_version });
        }
        check_labels(&self.labels)?;
        if !(MIN_TEMPERATURE..=MAX_TEMPERATURE).contains(&self.temperature) {
            let (min, max) = (MIN_TEMPERATURE, MAX_TEMPERATURE);
            return Err(ModelError::Temperature { min, max, actual: self.temperature });
        }
        if !(MIN_GAP_EXPONENT..=MAX_GAP_EXPONENT).contains(&self.gap_exponent) {
            let (min, max) = (MIN_GAP_EXPONENT, MAX_GAP_EXPONENT);
            return Err(ModelError::GapExponent { min, max, actual: self.gap_exponent });
        }
        let max = if self.front_end.makes_shorter_windows() { MAX_SHORT_S } else { 0.0 };
        if !(0.0..=max).contains(&self.short_s) {
            return Err(ModelError::ShortSound { max, actual: self.short_s });
        }
        if !(0.0..=1.0).contains(&self.uncertain_below) {
            return Err(ModelError::UncertainBelow { actual: self.uncertain_below });
        }
        self.front_end.validate().map_err(|error| ModelError::FrontEnd(Box::new(error)))?;
        self.architecture.validate()?;
        self.architecture.fits(&self.front_end)?;
        let (_, _, n_classes) = self.architecture.dimensions();
        same("outputs for the labels", self.labels.len(), n_classes)?;
        match self.provenance.scores.iter().find(|(_, score)| !score.is_finite()) {
            Some((name, _)) => Err(ModelError::Score { name: name.clone() }),
            None => Ok(()),
        }
    }
}

/// A network and its hyperparameters. In JSON: `{"name": "vgg", "channels": [32, 64, 128, 256], ...}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Architecture {
    /// The reference network: blocks of 3 x 3 convolutions over the log-mel picture.
    Vgg(VggConfig),
    /// Whisper's encoder under a head for emotions.
    Encoder(EncoderConfig),
    /// Any plain chain of layers over the log-mel picture, as others trained it.
    Chain(ChainConfig),
}

impl Architecture {
    /// The name, as it stands in the file.
    pub fn name(&self) -> &'static str {
        match self {
            Architecture::Vgg(_) => "vgg",
            Architecture::Encoder(_) => "encoder",
            Architecture::Chain(_) => "chain",
        }
    }

    /// Size of the input and of the output: `(n_mels, n_frames, n_classes)`.
    pub fn dimensions(&self) -> (usize, usize, usize) {
        match self {
            Architecture::Vgg(vgg) => (vgg.n_mels, vgg.n_frames, vgg.n_classes),
            Architecture::Encoder(encoder) => (encoder.n_mels, encoder.n_frames, encoder.n_classes),
            Architecture::Chain(chain) => (chain.n_mels, chain.n_frames, chain.n_classes),
        }
    }

    /// Checks that a network with these hyperparameters can exist, before anything is allocated for it.
    ///
    /// # Errors
    /// [`ModelError::Architecture`] with the first hyperparameter that is out of range.
    pub fn validate(&self) -> Result<(), ModelError> {
        match self {
            Architecture::Vgg(vgg) => vgg.validate(),
            Architecture::Encoder(encoder) => encoder.validate(),
            Architecture::Chain(chain) => chain.validate(),
        }
    }

    /// Checks that the network takes the windows that a front end makes.
    ///
    /// # Errors
    /// [`ModelError::Architecture`] for other numbers of mel bands or frames, and for windows of many lengths where the network
    /// takes those of one.
    pub fn fits(&self, front_end: &FrontEnd) -> Result<(), ModelError> {
        let (n_mels, n_frames, _) = self.dimensions();
        same("n_mels of the front end", front_end.n_mels, n_mels)?;
        same("n_frames of the front end", front_end.n_frames, n_frames)?;
        must(
            !front_end.makes_shorter_windows() || matches!(self, Architecture::Encoder(_)),
            "style of the front end",
            format_args!("one whose windows are all of one length, for the network '{}'", self.name()),
            front_end.style.name(),
        )
    }
}

/// Hyperparameters of the VGG network that inference needs: blocks of 3 x 3 convolutions, each block ending in
/// 2 x 2 max pooling, then dense layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VggConfig {
    /// Output channels of the convolutions, one number per block.
    pub channels: Vec<usize>,
    /// Number of convolutions, one number per block.
    pub convs_per_block: Vec<usize>,
    /// Widths of the hidden dense layers.
    pub dense: Vec<usize>,
    /// Height of the input: mel bands.
    pub n_mels: usize,
    /// Width of the input: frames.
    pub n_frames: usize,
    /// Number of outputs.
    pub n_classes: usize,
}

impl VggConfig {
    /// The reference recipe: 4.81 million parameters for 128 x 130 inputs and six classes.
    pub fn reference() -> VggConfig {
        VggConfig {
            channels: vec![32, 64, 128, 256],
            convs_per_block: vec![2, 2, 2, 1],
            dense: vec![256, 128],
            n_mels: 128,
            n_frames: 130,
            n_classes: 6,
        }
    }

    fn validate(&self) -> Result<(), ModelError> {
        let n_blocks = self.channels.len();
        within("number of blocks", n_blocks, 1, MAX_LAYERS)?;
        same("length of convs_per_block", n_blocks, self.convs_per_block.len())?;
        for &n in &self.channels {
            within("channels", n, 1, MAX_WIDTH)?;
        }
        for &n in &self.convs_per_block {
            within("convs_per_block", n, 1, MAX_LAYERS)?;
        }
        within("number of dense layers", self.dense.len(), 0, MAX_LAYERS)?;
        for &n in &self.dense {
            within("dense", n, 1, MAX_WIDTH)?;
        }
        within("n_classes", self.n_classes, 1, MAX_LABELS)?;
        // Every block halves the picture, and something must be left of it.
        let smallest = 1usize.checked_shl(n_blocks as u32).unwrap_or(usize::MAX);
        within("n_mels", self.n_mels, smallest, MAX_WIDTH)?;
        within("n_frames", self.n_frames, smallest, MAX_WIDTH)?;
        let (mut height, mut width) = (self.n_mels, self.n_frames);
        for &c in &self.channels {
            let n_values = height.saturating_mul(width).saturating_mul(filled(c));
            within("values in a block", n_values, 1, MAX_VALUES)?;
            (height, width) = (height / 2, width / 2);
        }
        Ok(())
    }
}

/// Hyperparameters of an encoder as Whisper's, and of the head above it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderConfig {
    /// Mel bands of the input.
    pub n_mels: usize,
    /// The most frames of the input; every two become one row of the encoder.
    pub n_frames: usize,
    /// Values of a row.
    pub width: usize,
    /// Attention heads in a block.
    pub n_heads: usize,
    /// Values in the middle of a block's perceptron.
    pub hidden: usize,
    /// Transformer blocks.
    pub n_blocks: usize,
    /// Units of the small network that weighs the rows.
    pub pooling: usize,
    /// The layers that are pooled, each by itself: 0 is the input of the first block, `n` the output of the `n`th. None: the
    /// weighted sum of all of them, as one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pooled_layers: Vec<usize>,
    /// Widths of the hidden dense layers behind the pooling.
    pub dense: Vec<usize>,
    /// Number of outputs.
    pub n_classes: usize,
}

impl EncoderConfig {
    /// The size of Whisper's `tiny`, with `n_blocks` of its four blocks, windows of 5 s and six classes.
    pub fn tiny(n_blocks: usize) -> EncoderConfig {
        EncoderConfig {
            n_mels: 80,
            n_frames: 500,
            width: 384,
            n_heads: 6,
            hidden: 1_536,
            n_blocks,
            pooling: 64,
            pooled_layers: Vec::new(),
            dense: vec![192],
            n_classes: 6,
        }
    }

    /// Values that are pooled of a window: its embedding.
    pub fn n_pooled(&self) -> usize {
        2 * self.width * self.pooled_layers.len().max(1)
    }

    pub(super) fn validate(&self) -> Result<(), ModelError> {
        within("n_mels", self.n_mels, 1, MAX_WIDTH)?;
        within("n_frames", self.n_frames, 1, MAX_WIDTH)?;
        within("width", self.width, 2, MAX_WIDTH)?;
        within("n_heads", self.n_heads, 1, self.width)?;
        // The kernels take rows in blocks of 32 values.
        multiple("width", self.width, 32)?;
        multiple("width", self.width, self.n_heads)?;
        within("hidden", self.hidden, 32, MAX_WIDTH)?;
        multiple("hidden", self.hidden, 32)?;
        within("n_blocks", self.n_blocks, 1, MAX_LAYERS)?;
        within("pooling", self.pooling, 1, MAX_WIDTH)?;
        for &layer in &self.pooled_layers {
            within("pooled_layers", layer, 0, self.n_blocks)?;
        }
        let rises = self.pooled_layers.is_sorted_by(|a, b| a < b);
        must(rises, "pooled_layers", "rising numbers", format_args!("{:?}", self.pooled_layers))?;
        within("number of dense layers", self.dense.len(), 0, MAX_LAYERS)?;
        for &n in &self.dense {
            within("dense", n, 1, MAX_WIDTH)?;
        }
        within("n_classes", self.n_classes, 1, MAX_LABELS)
    }
}

/// Where a model comes from: enough to make it again, and to judge it. Everything is optional, and a reader
/// ignores what it does not know.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// When training ended, RFC 3339.
    pub created: String,
    /// Commit of the program that trained it; `-dirty` behind it where the sources had changes that were not committed.
    pub commit: String,
    /// The resolved training configuration, TOML.
    pub config: String,
    /// SHA-256 of the file with published weights that training began with, lower-case hexadecimal; none where it began at
    /// random, or where that was not noted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_sha256: Option<String>,
    /// The corpora that it was trained on.
    pub corpora: Vec<CorpusInfo>,
    /// The evaluation protocol, by name.
    pub protocol: String,
    /// Hash of the split file: which clip stood on which side.
    pub split_hash: String,
    /// The seed of everything random.
    pub seed: u64,
    /// Results, by name (`test_uar`, `validation_accuracy`), as fractions of 1.
    pub scores: BTreeMap<String, f64>,
    /// Licence of the weights, and what the licences of the data ask for.
    pub licence: String,
    /// What the model is meant for, and what it must not be used for.
    pub intended_use: String,
    /// Anything else that a user should know.
    pub notes: String,
}

/// One corpus that a model was trained on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CorpusInfo {
    /// Its name, as speaker ids carry it.
    pub name: String,
    /// Number of clips that were used.
    pub clips: usize,
    /// Hash over the contents of the clips.
    pub hash: String,
    /// Its licence.
    pub licence: String,
}

fn is_zero(x: &f32) -> bool {
    *x == 0.0
}

fn is_one(x: &f32) -> bool {
    *x == 1.0
}

fn uncalibrated() -> f32 {
    1.0
}

fn check_labels(labels: &[String]) -> Result<(), ModelError> {
    if labels.is_empty() || labels.len() > MAX_LABELS {
        return Err(ModelError::LabelCount { limit: MAX_LABELS, actual: labels.len() });
    }
    let mut seen = BTreeSet::new();
    for label in labels {
        let usable = (1..=MAX_LABEL_BYTES).contains(&label.len())
            && label.trim() == label
            && !label.contains(|c: char| c == ',' || c.is_control());
        if !usable {
            return Err(ModelError::InvalidLabel { label: label.clone() });
        }
        if !seen.insert(label) {
            return Err(ModelError::DuplicateLabel { label: label.clone() });
        }
    }
    Ok(())
}

pub(super) fn within(what: &'static str, actual: usize, min: usize, max: usize) -> Result<(), ModelError> {
    must((min..=max).contains(&actual), what, format_args!("{min} to {max}"), actual)
}

pub(super) fn same(what: &'static str, expected: usize, actual: usize) -> Result<(), ModelError> {
    must(expected == actual, what, expected, actual)
}

fn multiple(what: &'static str, actual: usize, of: usize) -> Result<(), ModelError> {
    must(actual.is_multiple_of(of), what, format_args!("a multiple of {of}"), actual)
}

fn must(
    holds: bool,
    what: &'static str,
    expected: impl ToString,
    actual: impl ToString,
) -> Result<(), ModelError> {
    if holds {
        return Ok(());
    }
    Err(ModelError::Architecture { what, expected: expected.to_string(), actual: actual.to_string() })
}
