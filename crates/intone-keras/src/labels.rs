//! The classes of a model, in the order of its outputs.

use std::path::{Path, PathBuf};

use intone::Emotion;

use crate::error::{Error, Result};
use crate::pickle::{self, Value};
use crate::read_limited;

/// Names of classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    pub(crate) names: Vec<String>,
    /// Where they were read from.
    pub(crate) path: Option<PathBuf>,
}

impl Labels {
    /// These names, in the order of the outputs.
    pub fn new(names: Vec<String>) -> Labels {
        Labels { names, path: None }
    }

    /// Reads the classes from a pickle: scikit-learn's `LabelEncoder`, a list or a numpy array of names, or a dictionary from
    /// names to indices or from indices to names.
    ///
    /// # Errors
    /// A pickle that holds something else or asks for code to be run; classes that are no names; all with the path.
    pub fn open(path: impl AsRef<Path>) -> Result<Labels> {
        let path = path.as_ref();
        let read = || Labels::read(&read_limited(path, pickle::MAX_BYTES)?);
        let labels = read().map_err(|error| error.in_file(path))?;
        Ok(Labels { path: Some(path.to_owned()), ..labels })
    }

    /// The same from a pickle that lies in memory.
    ///
    /// # Errors
    /// As [`Labels::open`].
    pub fn read(pickle: &[u8]) -> Result<Labels> {
        let names = match pickle::read(pickle)? {
            Value::LabelEncoder(attributes) => {
                let classes = attributes.iter().find(|(key, _)| *key == Value::Text("classes_".to_owned()));
                match classes {
                    Some((_, classes)) => labels_of(classes)?,
                    None => {
                        let what = "a label encoder that was not fitted: it has no `classes_`";
                        return Err(Error::Labels(what.to_owned()));
                    }
                }
            }
            Value::Dict(pairs) => labels_of_dict(&pairs)?,
            other => labels_of(&other)?,
        };
        Ok(Labels::new(names))
    }

    /// The names, in the order of the outputs.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

/// The classes of a list of names.
pub(crate) fn labels_of(value: &Value) -> Result<Vec<String>> {
    let Value::List(items) = value else {
        return Err(Error::Labels(format!(
            "expected a label encoder or a list of names, got {}",
            value.kind()
        )));
    };
    items.iter().map(name).collect()
}

/// A class under the name that this library has for it: `fearful` and `Fear` are `fear`.
fn name(value: &Value) -> Result<String> {
    match value {
        Value::Text(text) => Ok(match Emotion::from_label(text) {
            Some(emotion) => emotion.name().to_owned(),
            None => text.trim().to_owned(),
        }),
        other => {
            let shown = match other {
                Value::Int(n) => format!("the number {n}"),
                other => other.kind().to_owned(),
            };
            Err(Error::Labels(format!("expected names of classes, got {shown}; fit the encoder on names")))
        }
    }
}

/// From names to indices, or the other way round; every index from 0 on once.
fn labels_of_dict(pairs: &[(Value, Value)]) -> Result<Vec<String>> {
    let mut found: Vec<(i64, String)> = Vec::new();
    for pair in pairs {
        match pair {
            (Value::Int(index), class) | (class, Value::Int(index)) => found.push((*index, name(class)?)),
            (key, value) => {
                let (key, value) = (key.kind(), value.kind());
                return Err(Error::Labels(format!("expected names and indices, got {key} and {value}")));
            }
        }
    }
    found.sort();
    match found.iter().enumerate().all(|(at, (index, _))| *index == at as i64) {
        true => Ok(found.into_iter().map(|(_, name)| name).collect()),
        false => {
            let indices: Vec<String> = found.iter().map(|(index, _)| index.to_string()).collect();
            Err(Error::Labels(format!(
                "expected the indices 0 to {}, got {}",
                found.len().max(1) - 1,
                indices.join(", ")
            )))
        }
    }
}
