//! From the layers and weights of Keras to those of a model file.

use std::collections::BTreeMap;
use std::path::Path;

use intone::Emotion;
use intone::features::FrontEnd;
use intone::model::chain::{Activation, ChainConfig, ChainLayer, Padding, Size};
use intone::model::{Architecture, Model, ModelFile, ModelMeta, Provenance, Tensor};
use serde_json::{Value, json};

use crate::archive::{self, Archive, Weights};
use crate::error::{Error, Result};
use crate::hdf5::Dataset;
use crate::layers::{KerasLayer, read_layers, shown};
use crate::parameters::{Parameters, Picture, Values};
use crate::read_limited;

/// Layers that do nothing once the model is trained.
const FOR_TRAINING: [&str; 6] = [
    "Dropout",
    "SpatialDropout2D",
    "GaussianDropout",
    "GaussianNoise",
    "AlphaDropout",
    "ActivityRegularization",
];

/// What batch normalisation adds to the variance where the file does not say.
const EPSILON: f64 = 1e-3;

/// A convolutional classifier as Keras saved it: its layers and weights, without a way from recordings to its input.
#[derive(Debug, Clone)]
pub struct KerasModel {
    input: [Option<usize>; 2],
    version: String,
    parts: Vec<Part>,
}

/// What lies beside a model, as far as it is given.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    /// The classes, in the order of the outputs. Where neither these nor the parameters name them, six classes are angry,
    /// disgust, fear, happy, neutral and sad, as the alphabet has them.
    pub labels: Option<Vec<String>>,
    /// How recordings become the network's input; without them, as with [`FrontEnd::reference`].
    pub parameters: Option<Parameters>,
    /// What the values of its input are, where that is not what the parameters are taken for.
    pub values: Option<Values>,
}

/// A layer of ours, with the one of Keras that it comes from.
#[derive(Debug, Clone)]
struct Part {
    from: KerasLayer,
    layer: ChainLayer,
    /// By the names of [`intone::model::chain`].
    tensors: Vec<(&'static str, Tensor)>,
}

impl KerasModel {
    /// Reads a `.keras` file, or an `.h5` file with a whole model. Which of them it is, its first bytes tell.
    ///
    /// # Errors
    /// What is wrong with the file, or which layer has no counterpart; all with the path.
    pub fn open(path: impl AsRef<Path>) -> Result<KerasModel> {
        let path = path.as_ref();
        let read = || KerasModel::read(&read_limited(path, archive::MAX_BYTES)?);
        read().map_err(|error| error.in_file(path))
    }

    /// The same from a file that lies in memory.
    ///
    /// # Errors
    /// As [`KerasModel::open`].
    pub fn read(bytes: &[u8]) -> Result<KerasModel> {
        let archive = Archive::new(bytes)?;
        let layers = read_layers(&archive.config)?;
        let input = input_of(&layers.input)?;
        let weights = archive.weights()?;
        let mut parts = Parts { weights, parts: Vec::new(), is_over: false };
        for layer in &layers.layers {
            parts.add(layer)?;
        }
        let parts = parts.parts;
        match parts.last() {
            Some(Part { layer: ChainLayer::Dense { .. }, .. }) => {
                Ok(KerasModel { input, version: archive.version, parts })
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
    /// Layers that do not fit each other; labels or parameters that do not fit the network, or each other.
    pub fn into_file(self, beside: Beside) -> Result<ModelFile> {
        let Beside { labels, parameters, values } = beside;
        let mut picture = match &parameters {
            Some(parameters) => parameters.picture(self.input)?,
            None => Picture { front_end: FrontEnd::reference(), values: Values::Unit },
        };
        picture.values = values.unwrap_or(picture.values);
        let of_parameters = parameters.as_ref().map_or(Ok(None), Parameters::labels)?;
        if let (Some(labels), Some(others)) = (&labels, &of_parameters)
            && labels != others
        {
            let (labels, others) = (labels.join(", "), others.join(", "));
            return Err(Error::Labels(format!("{labels}; but the parameters name the classes {others}")));
        }
        let mut notes = format!("Imported from Keras {}.", self.version).replace(" .", ".");
        if parameters.as_ref().is_some_and(Parameters::are_the_reference_projects) {
            notes += " Trimmed, filled up and standardised as in the reference project's notebook.";
        }
        let labels = self.labels(labels.or(of_parameters))?;
        self.behind(&picture, labels, notes)
    }

    /// As many labels as there are outputs.
    fn labels(&self, labels: Option<Vec<String>>) -> Result<Vec<String>> {
        let n_classes = self.n_classes();
        let known = Emotion::ALL.map(|emotion| emotion.name().to_owned());
        match labels {
            Some(labels) if labels.len() == n_classes => Ok(labels),
            Some(labels) => {
                let (n, labels) = (labels.len(), labels.join(", "));
                Err(Error::Labels(format!("{n} classes ({labels}), but the network has {n_classes} outputs")))
            }
            None if n_classes == known.len() => Ok(known.to_vec()),
            None => Err(Error::Labels(format!(
                "the network has {n_classes} outputs, and nothing names its classes"
            ))),
        }
    }

    fn behind(self, picture: &Picture, labels: Vec<String>, notes: String) -> Result<ModelFile> {
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
        let mut meta = ModelMeta::new(Architecture::Chain(chain), picture.front_end.clone(), labels);
        meta.provenance = Provenance { notes, ..Provenance::default() };
        meta.validate().map_err(intone::Error::from)?;
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

/// The layers so far.
struct Parts<'a> {
    weights: Weights<'a>,
    parts: Vec<Part>,
    /// Whether the softmax has come.
    is_over: bool,
}

impl Parts<'_> {
    fn add(&mut self, layer: &KerasLayer) -> Result<()> {
        let class = layer.class.as_str();
        if class == "InputLayer" || FOR_TRAINING.contains(&class) {
            return Ok(());
        }
        if self.is_over {
            return Err(layer.refuse("a layer behind the softmax; expected that at the end"));
        }
        layer.expect("data_format", &[json!("channels_last")])?;
        match class {
            "Conv2D" => self.add_conv(layer),
            "BatchNormalization" => self.add_normalisation(layer),
            "Activation" => self.add_function(layer, layer.get("activation")),
            "ReLU" => {
                layer.expect("max_value", &[])?;
                layer.expect("threshold", &[json!(0), json!(0.0)])?;
                layer.expect("negative_slope", &[json!(0), json!(0.0)])?;
                self.add_function(layer, &json!("relu"))
            }
            "ELU" => {
                layer.expect("alpha", &[json!(1), json!(1.0)])?;
                self.add_function(layer, &json!("elu"))
            }
            "Softmax" => {
                layer.expect("axis", &[json!(-1)])?;
                self.add_function(layer, &json!("softmax"))
            }
            "MaxPooling2D" => {
                let size = layer.sides("pool_size")?;
                let stride = if layer.get("strides").is_null() { size } else { layer.sides("strides")? };
                self.push(layer, ChainLayer::MaxPool { size, stride, padding: padding(layer)? }, Vec::new());
                Ok(())
            }
            "GlobalAveragePooling2D" => {
                layer.expect("keepdims", &[json!(false)])?;
                self.push(layer, ChainLayer::GlobalMean, Vec::new());
                Ok(())
            }
            "Flatten" => {
                self.push(layer, ChainLayer::Flatten, Vec::new());
                Ok(())
            }
            "Dense" => self.add_dense(layer),
            _ => Err(layer.refuse(
                "layers of this class are not read; expected Conv2D, BatchNormalization, Activation, ReLU, ELU, Softmax, \
                 MaxPooling2D, GlobalAveragePooling2D, Flatten, Dense or a dropout",
            )),
        }
    }

    fn push(&mut self, from: &KerasLayer, layer: ChainLayer, tensors: Vec<(&'static str, Tensor)>) {
        self.parts.push(Part { from: from.clone(), layer, tensors });
    }

    fn add_conv(&mut self, layer: &KerasLayer) -> Result<()> {
        layer.expect("dilation_rate", &[json!(1), json!([1, 1])])?;
        layer.expect("groups", &[json!(1)])?;
        let channels = layer.count("filters")?;
        let (kernel, stride) = (layer.sides("kernel_size")?, layer.sides("strides")?);
        let (weight, bias) = self.kernel(layer, channels)?;
        let [height, width, c_in, c_out] = weight.shape[..] else {
            return Err(
                layer.refuse(format!("a kernel of the shape {:?}; expected four sides", weight.shape))
            );
        };
        if [height, width] != kernel || c_out != channels {
            let (actual, [height, width]) = (weight.shape, kernel);
            return Err(layer.refuse(format!(
                "a kernel of the shape {actual:?}; expected [{height}, {width}, .., {channels}]"
            )));
        }
        // `[height, width, c_in, c_out]` to `[c_out, c_in, height, width]`.
        let n_taps = height * width;
        let mut data = vec![0.0; weight.values.len()];
        for (at, value) in weight.values.into_iter().enumerate() {
            let (tap, i, o) = (at / (c_in * c_out), at / c_out % c_in, at % c_out);
            data[(o * c_in + i) * n_taps + tap] = value;
        }
        let weight = Tensor { shape: vec![c_out, c_in, height, width], data };
        let padding = padding(layer)?;
        self.push(
            layer,
            ChainLayer::Conv { channels, kernel, stride, padding },
            vec![("weight", weight), ("bias", bias)],
        );
        self.add_function(layer, layer.get("activation"))
    }

    fn add_dense(&mut self, layer: &KerasLayer) -> Result<()> {
        let width = layer.count("units")?;
        let (weight, bias) = self.kernel(layer, width)?;
        let [n_in, n_out] = weight.shape[..] else {
            return Err(layer.refuse(format!("a kernel of the shape {:?}; expected two sides", weight.shape)));
        };
        if n_out != width {
            return Err(
                layer.refuse(format!("a kernel of the shape {:?}; expected [.., {width}]", weight.shape))
            );
        }
        // In tiles, so that both sides stay in the cache.
        const TILE: usize = 32;
        let mut data = vec![0.0; weight.values.len()];
        for rows in (0..n_in).step_by(TILE) {
            for columns in (0..n_out).step_by(TILE) {
                for i in rows..(rows + TILE).min(n_in) {
                    for o in columns..(columns + TILE).min(n_out) {
                        data[o * n_in + i] = weight.values[i * n_out + o];
                    }
                }
            }
        }
        let weight = Tensor { shape: vec![n_out, n_in], data };
        self.push(layer, ChainLayer::Dense { width }, vec![("weight", weight), ("bias", bias)]);
        self.add_function(layer, layer.get("activation"))
    }

    /// Kernel and bias of a layer with so many outputs; zeros where it has no bias.
    fn kernel(&self, layer: &KerasLayer, n_out: usize) -> Result<(Dataset, Tensor)> {
        let has_bias = layer.flag("use_bias", true)?;
        let names: &[&str] = if has_bias { &["kernel", "bias"] } else { &["kernel"] };
        let mut weights = self.weights.of(layer, names)?.into_iter();
        let (kernel, bias) = (weights.next(), weights.next());
        let Some(kernel) = kernel else { return Err(layer.refuse("its kernel is missing")) };
        finite(layer, "kernel", &kernel.values)?;
        let bias = match bias {
            Some(bias) => vector(layer, "bias", bias, n_out)?,
            None if n_out <= kernel.values.len() => vec![0.0; n_out],
            None => {
                return Err(
                    layer.refuse(format!("{n_out} outputs of a kernel with {} values", kernel.values.len()))
                );
            }
        };
        Ok((kernel, Tensor { shape: vec![n_out], data: bias }))
    }

    fn add_normalisation(&mut self, layer: &KerasLayer) -> Result<()> {
        // The last axis, which Keras 2 writes in a list and counts from 0: of a picture, or of a row.
        let is_row =
            self.parts.iter().any(|part| matches!(part.layer, ChainLayer::Flatten | ChainLayer::GlobalMean));
        let last = if is_row { 1 } else { 3 };
        layer.expect("axis", &[json!(-1), json!([-1]), json!(last), json!([last])])?;
        let epsilon = layer.number("epsilon", EPSILON)?;
        let mut names = Vec::new();
        names.extend(layer.flag("scale", true)?.then_some("gamma"));
        names.extend(layer.flag("center", true)?.then_some("beta"));
        names.extend(["moving_mean", "moving_variance"]);
        let weights = self.weights.of(layer, &names)?;
        let n = weights.last().map_or(0, |var| var.values.len());
        let mut found = BTreeMap::new();
        for (name, dataset) in names.into_iter().zip(weights) {
            found.insert(name, vector(layer, name, dataset, n)?);
        }
        let at = |name: &str, i: usize, default: f64| {
            found.get(name).map_or(default, |values| f64::from(values[i]))
        };
        let (mut scale, mut shift) = (Vec::new(), Vec::new());
        for i in 0..n {
            let var = at("moving_variance", i, 1.0) + epsilon;
            if var.is_nan() || var <= 0.0 {
                return Err(layer.refuse(format!(
                    "moving_variance: element {i} is {}, epsilon {epsilon}",
                    var - epsilon
                )));
            }
            let factor = at("gamma", i, 1.0) / var.sqrt();
            scale.push(factor as f32);
            shift.push((at("beta", i, 0.0) - at("moving_mean", i, 0.0) * factor) as f32);
        }
        finite(layer, "what it does to a value", &scale)?;
        finite(layer, "what it does to a value", &shift)?;
        let tensor = |data: Vec<f32>| Tensor { shape: vec![n], data };
        self.push(layer, ChainLayer::Affine, vec![("scale", tensor(scale)), ("shift", tensor(shift))]);
        Ok(())
    }

    /// A function by its name, which may stand in an object.
    fn add_function(&mut self, layer: &KerasLayer, function: &Value) -> Result<()> {
        let name = match function {
            Value::Null => "linear",
            Value::String(name) => name.as_str(),
            object => object["config"].as_str().or(object["class_name"].as_str()).unwrap_or("none"),
        };
        let function = match name {
            "linear" => return Ok(()),
            "softmax" => {
                self.is_over = true;
                return Ok(());
            }
            "relu" => Activation::Relu,
            "elu" => Activation::Elu,
            "sigmoid" => Activation::Sigmoid,
            "tanh" => Activation::Tanh,
            "silu" | "swish" => Activation::Silu,
            _ => {
                return Err(layer.refuse(format!(
                    "activation {}; expected relu, elu, sigmoid, tanh, silu, linear, or softmax at the end",
                    shown(function)
                )));
            }
        };
        self.push(layer, ChainLayer::Activation { function }, Vec::new());
        Ok(())
    }
}

fn padding(layer: &KerasLayer) -> Result<Padding> {
    match layer.get("padding").as_str() {
        Some("valid") => Ok(Padding::Valid),
        Some("same") => Ok(Padding::Same),
        _ => {
            Err(layer.refuse(format!("padding: expected valid or same, got {}", shown(layer.get("padding")))))
        }
    }
}

fn vector(layer: &KerasLayer, name: &str, dataset: Dataset, n: usize) -> Result<Vec<f32>> {
    if dataset.shape != [n] {
        return Err(layer.refuse(format!("{name}: expected the shape [{n}], got {:?}", dataset.shape)));
    }
    finite(layer, name, &dataset.values)?;
    Ok(dataset.values)
}

fn finite(layer: &KerasLayer, name: &str, values: &[f32]) -> Result<()> {
    match values.iter().position(|x| !x.is_finite()) {
        Some(index) => {
            Err(layer.refuse(format!("{name}: element {index} is not a finite number ({})", values[index])))
        }
        None => Ok(()),
    }
}
