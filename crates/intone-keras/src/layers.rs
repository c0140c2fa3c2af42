//! The layers of a Keras model, from its configuration: which there are, and in what order.

use serde_json::Value;

use crate::error::{Error, Result};

/// The most layers that are looked at, those that only train among them.
const MAX_LAYERS: usize = 1_024;

/// One layer as Keras describes it.
#[derive(Debug, Clone)]
pub(crate) struct KerasLayer {
    /// Its place in the model, counted from 0.
    pub(crate) index: usize,
    pub(crate) name: String,
    /// Its class, such as `Conv2D`.
    pub(crate) class: String,
    /// Its place among the layers of its class, in the order of the configuration.
    pub(crate) of_class: usize,
    config: Value,
}

impl KerasLayer {
    pub(crate) fn refuse(&self, what: impl Into<String>) -> Error {
        Error::Layer {
            index: self.index,
            name: self.name.clone(),
            class: self.class.clone(),
            what: what.into(),
        }
    }

    /// A setting; `null` where it is not there.
    pub(crate) fn get(&self, key: &str) -> &Value {
        &self.config[key]
    }

    pub(crate) fn flag(&self, key: &str, default: bool) -> Result<bool> {
        match self.get(key) {
            Value::Null => Ok(default),
            Value::Bool(flag) => Ok(*flag),
            other => Err(self.refuse(format!("{key}: expected true or false, got {}", shown(other)))),
        }
    }

    pub(crate) fn count(&self, key: &str) -> Result<usize> {
        let n = self.get(key).as_u64().and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0);
        n.ok_or_else(|| {
            self.refuse(format!("{key}: expected a number from 1 on, got {}", shown(self.get(key))))
        })
    }

    pub(crate) fn number(&self, key: &str, default: f64) -> Result<f64> {
        match self.get(key) {
            Value::Null => Ok(default),
            value => value
                .as_f64()
                .ok_or_else(|| self.refuse(format!("{key}: expected a number, got {}", shown(value)))),
        }
    }

    /// One number for both sides, or one for each.
    pub(crate) fn sides(&self, key: &str) -> Result<[usize; 2]> {
        let side = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0);
        let sides = match self.get(key) {
            Value::Array(sides) => match sides.as_slice() {
                [height, width] => side(height).zip(side(width)),
                _ => None,
            },
            value => side(value).map(|side| (side, side)),
        };
        match sides {
            Some((height, width)) => Ok([height, width]),
            None => {
                Err(self
                    .refuse(format!("{key}: expected two numbers from 1 on, got {}", shown(self.get(key)))))
            }
        }
    }

    /// Refuses a setting that has another value than its default.
    pub(crate) fn expect(&self, key: &str, allowed: &[Value]) -> Result<()> {
        let value = self.get(key);
        if value.is_null() || allowed.contains(value) {
            return Ok(());
        }
        let expected = allowed.iter().map(shown).collect::<Vec<_>>().join(" or ");
        Err(self.refuse(format!("{key}: expected {expected}, got {}", shown(value))))
    }
}

/// A setting for a message, cut where it is long.
pub(crate) fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text,
    }
}

/// A model's layers in the order of computation, and the shape of a batch of its inputs.
#[derive(Debug)]
pub(crate) struct Layers {
    pub(crate) layers: Vec<KerasLayer>,
    /// As it stands in the configuration: `[null, height, width, channels]`.
    pub(crate) input: Value,
}

fn refuse<T>(what: impl Into<String>) -> Result<T> {
    Err(Error::Config(what.into()))
}

/// The layers of a `Sequential` model, or of a `Functional` one that is a plain chain.
pub(crate) fn read_layers(json: &str) -> Result<Layers> {
    let model: Value = serde_json::from_str(json).map_err(|error| Error::Config(error.to_string()))?;
    let class = model["class_name"].as_str().unwrap_or("none");
    let config = &model["config"];
    // The first versions of Keras 2 had the layers of a `Sequential` directly in its configuration.
    let described = if config.is_array() { config } else { &config["layers"] };
    let Value::Array(described) = described else {
        return refuse(format!("expected a list of layers, got {}", shown(described)));
    };
    if described.len() > MAX_LAYERS {
        return refuse(format!("{} layers; expected at most {MAX_LAYERS}", described.len()));
    }
    let mut layers: Vec<KerasLayer> = Vec::new();
    for (index, layer) in described.iter().enumerate() {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let Some(class) = text(&layer["class_name"]) else {
            return refuse(format!("layer {index} has no class"));
        };
        let name = text(&layer["config"]["name"]).or_else(|| text(&layer["name"])).unwrap_or_default();
        let of_class = layers.iter().filter(|other| other.class == class).count();
        layers.push(KerasLayer { index, name, class, of_class, config: layer["config"].clone() });
    }
    let layers = match class {
        "Sequential" => layers,
        "Functional" | "Model" => in_order(config, described, layers)?,
        other => return refuse(format!("expected a Sequential or Functional model, got {other}")),
    };
    let input = [layers.first().map(|layer| &layer.config), Some(config)]
        .into_iter()
        .flatten()
        .flat_map(|config| ["batch_shape", "batch_input_shape", "build_input_shape"].map(|key| &config[key]))
        .find(|shape| !shape.is_null());
    match input {
        Some(input) => Ok(Layers { input: input.clone(), layers }),
        None => refuse("it does not say what shape its input has; save the model after it was built"),
    }
}

/// The layers of a functional model one behind the other; anything but a plain chain is refused where it branches.
fn in_order(config: &Value, described: &[Value], layers: Vec<KerasLayer>) -> Result<Vec<KerasLayer>> {
    // The name of the one layer that each takes its input from.
    let mut sources = Vec::new();
    for (layer, described) in layers.iter().zip(described) {
        let mut found = Vec::new();
        names_in(&described["inbound_nodes"], &mut found);
        match found.as_slice() {
            [] => sources.push(None),
            [source] => sources.push(Some(source.clone())),
            several => {
                let several = several.join(", ");
                return Err(layer.refuse(format!("it takes {several}; only a plain chain of layers is read")));
            }
        }
    }
    let starts: Vec<usize> = (0..layers.len()).filter(|&i| sources[i].is_none()).collect();
    let [mut at] = starts[..] else {
        return refuse(format!(
            "{} layers without an input; expected one, the input of the model",
            starts.len()
        ));
    };
    let mut chain = vec![layers[at].clone()];
    loop {
        let next: Vec<usize> =
            (0..layers.len()).filter(|&i| sources[i].as_deref() == Some(layers[at].name.as_str())).collect();
        match next[..] {
            [] => break,
            [next] if chain.len() < layers.len() => {
                at = next;
                chain.push(KerasLayer { index: chain.len(), ..layers[next].clone() });
            }
            [_] => return Err(layers[at].refuse("the layers form a ring")),
            _ => {
                return Err(
                    layers[at].refuse("several layers take its output; only a plain chain of layers is read")
                );
            }
        }
    }
    if chain.len() != layers.len() {
        return refuse(format!(
            "{} of {} layers are not connected to the input",
            layers.len() - chain.len(),
            layers.len()
        ));
    }
    let mut outputs = Vec::new();
    names_in(&config["output_layers"], &mut outputs);
    match (outputs.as_slice(), chain.last()) {
        ([output], Some(last)) if *output == last.name => Ok(chain),
        (outputs, _) => refuse(format!("the outputs {}; expected the last layer alone", outputs.join(", "))),
    }
}

/// The names of layers in a description of connections: `["name", node, tensor, ..]` wherever it stands, which Keras 3 has
/// under `keras_history`.
fn names_in(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Array(items) => match items.as_slice() {
            [Value::String(name), Value::Number(_), Value::Number(_), ..] => names.push(name.clone()),
            items => items.iter().for_each(|item| names_in(item, names)),
        },
        Value::Object(object) => object.values().for_each(|value| names_in(value, names)),
        _ => (),
    }
}
