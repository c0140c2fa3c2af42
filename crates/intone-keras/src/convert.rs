//! From the layers and weights of Keras to those of a model file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use intone::Emotion;
use intone::features::FrontEnd;
use intone::model::chain::{ChainConfig, ChainLayer, Size};
use intone::model::{Architecture, Model, ModelError, ModelFile, ModelMeta, Provenance, Tensor};
use serde_json::Value;

use crate::archive::{self, Archive};
use crate::error::{Error, Result};
use crate::labels::Labels;
use crate::layers::{KerasLayer, read_layers, shown};
use crate::parameters::{Parameters, Picture, Values};
use crate::parts::{Part, read_parts};
use crate::read_limited;

/// A convolutional classifier as Keras saved it: its layers and weights, without a way from recordings to its input.
#[derive(Debug, Clone)]
pub struct KerasModel {
    input: [Option<usize>; 2],
    version: String,
    parts: Vec<Part>,
    /// Where it was read from.
    path: Option<PathBuf>,
}

/// What lies beside a model, as far as it is given.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    /// The classes, in the order of the outputs. Where neither these nor the parameters name them, six classes are angry,
    /// disgust, fear, happy, neutral and sad, as the alphabet has them.
    pub labels: Option<Labels>,
    /// How recordings become the network's input; without them, as with [`FrontEnd::reference`].
    pub parameters: Option<Parameters>,
    /// What the values of its input are, where that is not what the parameters are taken for.
    pub values: Option<Values>,
}

impl KerasModel {
    /// Reads a `.keras` file, or an `.h5` file with a whole model. Which of them it is, its first bytes tell.
    ///
    /// # Errors
    /// What is wrong with the file, or which layer has no counterpart; all with the path.
    pub fn open(path: impl AsRef<Path>) -> Result<KerasModel> {
        let path = path.as_ref();
        let read = || KerasModel::read(&read_limited(path, archive::MAX_BYTES)?);
        let model = read().map_err(|error| error.in_file(path))?;
        Ok(KerasModel { path: Some(path.to_owned()), ..model })
    }

    /// The same from a file that lies in memory.
    ///
    /// # Errors
    /// As [`KerasModel::open`].
    pub fn read(bytes: &[u8]) -> Result<KerasModel> {
        let archive = Archive::new(bytes)?;
        let layers = read_layers(&archive.config)?;
        let input = input_of(&layers.input)?;
        let parts = read_parts(archive.weights()?, &layers.layers)?;
        match parts.last() {
            Some(Part { layer: ChainLayer::Dense { .. }, .. }) => {
                Ok(KerasModel { input, version: archive.version, parts, path: None })
            }
            Some(part) => {
                Err(part.from.refuse("expected Dense as the last layer, with softmax or nothing behind it"))
            }
            None => Err(Error::Config("a model without layers".to_owned())),
        }
    }

    /// Mel bands and frames of the input, where the model says so.
    pub fn input(&self) -> [Option<usize>; 2] {
        self.input
    }

    /// Number of outputs.
    pub fn n_classes(&self) -> usize {
        match self.parts.last() {
            Some(Part { layer: ChainLayer::Dense { width }, .. }) => *width,
            _ => 0,
        }
    }

    /// The version of the Keras that saved it; empty where that is not known.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The model file: this network behind the way from recordings to its input, with names for its classes.
    ///
    /// # Errors
    /// Layers that do not fit each other; labels or parameters that do not fit the network, or each other. All with the path of
    /// the file at fault, where that was read from one.
    pub fn into_file(self, beside: Beside) -> Result<ModelFile> {
        let path = self.path.clone();
        self.beside(beside).map_err(|error| error.in_source(path.as_deref()))
    }

    fn beside(self, beside: Beside) -> Result<ModelFile> {
        let Beside { labels, parameters, values } = beside;
        let mut picture = match &parameters {
            Some(parameters) => parameters.picture(self.input)?,
            None => Picture { front_end: FrontEnd::reference(), values: Values::Unit },
        };
        picture.values = values.unwrap_or(picture.values);
        let of_parameters = parameters.as_ref().map_or(Ok(None), Parameters::labels)?;
        if let (Some(labels), Some(others)) = (&labels, &of_parameters)
            && labels.names() != others.names()
        {
            let (names, others) = (labels.names().join(", "), others.names().join(", "));
            let error = Error::Labels(format!("{names}; but the parameters name the classes {others}"));
            return Err(error.in_source(labels.path.as_deref()));
        }
        let mut notes = format!("Imported from Keras {}.", self.version).replace(" .", ".");
        if parameters.as_ref().is_some_and(Parameters::are_the_reference_projects) {
            notes += " Trimmed, filled up and standardised as in the reference project's notebook.";
        }
        let labels = self.labels(labels.or(of_parameters))?;
        self.behind(&picture, labels, notes)
    }

    /// As many labels as there are outputs.
    fn labels(&self, labels: Option<Labels>) -> Result<Labels> {
        let n_classes = self.n_classes();
        let known = Emotion::ALL.map(|emotion| emotion.name().to_owned());
        match labels {
            Some(labels) if labels.names().len() == n_classes => Ok(labels),
            Some(labels) => {
                let (n, names) = (labels.names().len(), labels.names().join(", "));
                let error =
                    Error::Labels(format!("{n} classes ({names}), but the network has {n_classes} outputs"));
                Err(error.in_source(labels.path.as_deref()))
            }
            None if n_classes == known.len() => Ok(Labels::new(known.to_vec())),
            None => Err(Error::Labels(format!(
                "the network has {n_classes} outputs, and nothing names its classes"
            ))),
        }
    }

    fn behind(self, picture: &Picture, labels: Labels, notes: String) -> Result<ModelFile> {
        let n_classes = self.n_classes();
        let (n_mels, n_frames) = (picture.front_end.n_mels, picture.front_end.n_frames);
        for (index, (side, ours)) in ["mel bands", "frames"].into_iter().zip([n_mels, n_frames]).enumerate() {
            if let Some(theirs) = self.input[index].filter(|&theirs| theirs != ours) {
                return Err(Error::Config(format!(
                    "the network's input has {theirs} {side}, the front end makes {ours}; its parameters must be given"
                )));
            }
        }
        let (before, mut tensors) = values_of(picture.values, &picture.front_end);
        let n_before = before.len();
        let (mut layers, mut sources) = (before, Vec::new());
        for (index, part) in self.parts.into_iter().enumerate() {
            for (name, tensor) in part.tensors {
                tensors.insert(format!("layers.{}.{name}", n_before + index), tensor);
            }
            layers.push(part.layer);
            sources.push(part.from);
        }
        let chain = ChainConfig { n_mels, n_frames, n_classes, layers };
        check(&chain, &tensors, n_before, &sources)?;
        let (names, front_end) = (labels.names().to_vec(), picture.front_end.clone());
        let mut meta = ModelMeta::new(Architecture::Chain(chain), front_end, names);
        meta.provenance = Provenance { notes, ..Provenance::default() };
        meta.validate().map_err(|error| match error {
            ModelError::DuplicateLabel { .. } | ModelError::InvalidLabel { .. } => {
                Error::Labels(error.to_string()).in_source(labels.path.as_deref())
            }
            other => Error::Intone(other.into()),
        })?;
        // Whatever is still wrong is found here, and not by whoever opens the file.
        Model::new(&meta.architecture, tensors.clone())?;
        Ok(ModelFile::new(meta, tensors))
    }
}

/// The layers between a picture in [0, 1] and what the network was trained on.
fn values_of(values: Values, front_end: &FrontEnd) -> (Vec<ChainLayer>, BTreeMap<String, Tensor>) {
    let one = |value: f32| Tensor { shape: vec![1], data: vec![value] };
    match values {
        Values::Unit => (Vec::new(), BTreeMap::new()),
        Values::Standardised => (vec![ChainLayer::Standardise], BTreeMap::new()),
        Values::Decibels => {
            let scale = ("layers.0.scale".to_owned(), one(front_end.top_db));
            let shift = ("layers.0.shift".to_owned(), one(-front_end.top_db));
            (vec![ChainLayer::Affine], BTreeMap::from([scale, shift]))
        }
    }
}

/// Compares the layers with each other and with their weights, so that errors have the names of Keras.
fn check(
    chain: &ChainConfig,
    tensors: &BTreeMap<String, Tensor>,
    n_before: usize,
    sources: &[KerasLayer],
) -> Result<()> {
    let sizes = chain.sizes().map_err(|error| match error {
        intone::model::ModelError::Layer { index, what, .. } if index >= n_before => {
            sources[index - n_before].refuse(what)
        }
        other => Error::Intone(other.into()),
    })?;
    for (index, source) in sources.iter().enumerate() {
        let index = n_before + index;
        let before = match index.checked_sub(1) {
            Some(before) => sizes[before],
            None => Size::Picture { height: chain.n_mels, width: chain.n_frames, channels: 1 },
        };
        let c_in = match before {
            Size::Picture { channels, .. } => channels,
            Size::Row(n) => n,
        };
        let tensor =
            |name: &str| tensors.get(&format!("layers.{index}.{name}")).map(|tensor| tensor.shape.as_slice());
        let wrong = match &chain.layers[index] {
            ChainLayer::Conv { channels, kernel: [height, width], .. } => {
                let expected = [*channels, c_in, *height, *width];
                let keras = |shape: &[usize]| shape.get(..4).map(|s| vec![s[2], s[3], s[1], s[0]]);
                tensor("weight")
                    .filter(|&shape| shape != expected)
                    .map(|shape| (keras(&expected), keras(shape)))
            }
            ChainLayer::Dense { width } => {
                let expected = [*width, c_in];
                let keras = |shape: &[usize]| shape.get(..2).map(|s| vec![s[1], s[0]]);
                tensor("weight")
                    .filter(|&shape| shape != expected)
                    .map(|shape| (keras(&expected), keras(shape)))
            }
            ChainLayer::Affine => tensor("scale")
                .filter(|&shape| shape != [c_in])
                .map(|shape| (Some(vec![c_in]), Some(shape.to_vec()))),
            _ => None,
        };
        if let Some((expected, actual)) = wrong {
            let (expected, actual) = (expected.unwrap_or_default(), actual.unwrap_or_default());
            return Err(source.refuse(format!(
                "weights of the shape {actual:?}; what comes before it asks for {expected:?}"
            )));
        }
    }
    Ok(())
}

/// Height and width of `[null, height, width, 1]`.
fn input_of(shape: &Value) -> Result<[Option<usize>; 2]> {
    let side = |value: &Value| match value {
        Value::Null => Some(None),
        value => value.as_u64().and_then(|n| usize::try_from(n).ok()).map(Some),
    };
    if let Some([_, height, width, channels]) = shape.as_array().map(Vec::as_slice)
        && let Some((height, width)) = side(height).zip(side(width))
        && channels.as_u64() == Some(1)
    {
        return Ok([height, width]);
    }
    Err(Error::Config(format!("an input of {}; expected [null, mel bands, frames, 1]", shown(shape))))
}
