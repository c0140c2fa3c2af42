//! One layer of Keras after the other, with its weights, as layers of ours.

use std::collections::BTreeMap;

use intone::model::Tensor;
use intone::model::chain::{Activation, ChainLayer, Padding};
use serde_json::{Value, json};

use crate::archive::Weights;
use crate::error::Result;
use crate::hdf5::Dataset;
use crate::layers::{KerasLayer, shown};

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

/// A layer of ours, with the one of Keras that it comes from.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) from: KerasLayer,
    pub(crate) layer: ChainLayer,
    /// By the names of [`intone::model::chain`].
    pub(crate) tensors: Vec<(&'static str, Tensor)>,
}

/// All layers that do something to an answer.
pub(crate) fn read_parts(weights: Weights<'_>, layers: &[KerasLayer]) -> Result<Vec<Part>> {
    let mut parts = Parts { weights, parts: Vec::new(), is_over: false };
    for layer in layers {
        parts.add(layer)?;
    }
    Ok(parts.parts)
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
