//! The two kinds of file that Keras writes: the `.keras` archive, and one HDF5 file with everything.
//!
//! | | `.keras` (Keras 3, and 2 from 2.12 on) | `.h5` |
//! |---|---|---|
//! | layers | `config.json` | attribute `model_config` |
//! | weights | `model.weights.h5`: `layers/CLASS_N/vars/0`, counted by class | `model_weights/LAYER/../kernel:0`, by name |
//! | version | `metadata.json` | attribute `keras_version` |

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use crate::error::{Error, Result};
use crate::hdf5::{Dataset, Hdf5, SIGNATURE};
use crate::layers::KerasLayer;

/// The largest file that is read, bytes.
pub(crate) const MAX_BYTES: u64 = 2 << 30;

/// The largest `config.json`, bytes. That of the reference model has 20 kB.
const MAX_JSON_BYTES: u64 = 4 << 20;

/// How many times larger than the archive its weights may be. Keras does not compress them, and trained weights hardly get
/// smaller by it.
const MAX_INFLATION: u64 = 8;

/// What small archives may hold whatever their size, bytes.
const MIN_LIMIT: u64 = 1 << 20;

/// Where the weights of a layer lie in a `.keras` file, under the name of its class and its number. On Windows Keras wrote
/// its own paths with backslashes; Keras 2.12 had another name for the group.
const LAYER_GROUPS: [&str; 4] =
    ["layers/", "layers\\", "_layer_checkpoint_dependencies/", "_layer_checkpoint_dependencies\\"];

/// A model file, opened up.
#[derive(Debug)]
pub(crate) struct Archive<'a> {
    /// The description of the layers, JSON.
    pub(crate) config: String,
    /// Of the Keras that saved it; empty where that is not known.
    pub(crate) version: String,
    weights: std::borrow::Cow<'a, [u8]>,
    by_class: bool,
}

fn refuse<T>(what: impl Into<String>) -> Result<T> {
    Err(Error::Archive(what.into()))
}

impl<'a> Archive<'a> {
    /// Tells by the first bytes which of the two it is.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Archive<'a>> {
        if bytes.starts_with(b"PK") {
            return Archive::of_zip(bytes);
        }
        if !bytes.starts_with(&SIGNATURE) {
            let start = &bytes[..bytes.len().min(8)];
            return refuse(format!(
                "expected a .keras archive or an HDF5 file, got one that begins with {start:02x?}"
            ));
        }
        let file = Hdf5::new(bytes)?;
        let root = file.root()?;
        let Some(config) = file.text(&root, "model_config")? else {
            return refuse(
                "an HDF5 file without the attribute `model_config`: weights alone; save the whole model",
            );
        };
        let version = file.text(&root, "keras_version")?.unwrap_or_default();
        Ok(Archive { config, version, weights: bytes.into(), by_class: false })
    }

    fn of_zip(bytes: &'a [u8]) -> Result<Archive<'a>> {
        let mut zip =
            zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| Error::Archive(error.to_string()))?;
        let mut entry = |name: &str, limit: u64| -> Result<Vec<u8>> {
            let entry = match zip.by_name(name) {
                Ok(entry) => entry,
                Err(zip::result::ZipError::FileNotFound) => {
                    return refuse(format!("a ZIP archive without `{name}`: no .keras file"));
                }
                Err(error) => return refuse(format!("`{name}`: {error}")),
            };
            // Sizes are counted as the data come: a header can say anything.
            let mut content = Vec::new();
            if let Err(error) = entry.take(limit + 1).read_to_end(&mut content) {
                return refuse(format!("`{name}`: {error}"));
            }
            match content.len() as u64 > limit {
                true => refuse(format!("`{name}`: more than {limit} bytes in an archive of {}", bytes.len())),
                false => Ok(content),
            }
        };
        let config = String::from_utf8_lossy(&entry("config.json", MAX_JSON_BYTES)?).into_owned();
        let metadata: serde_json::Value = serde_json::from_slice(&entry("metadata.json", MAX_JSON_BYTES)?)
            .map_err(|error| Error::Archive(format!("`metadata.json`: {error}")))?;
        let version = metadata["keras_version"].as_str().unwrap_or_default().to_owned();
        let limit =
            (bytes.len() as u64).saturating_mul(MAX_INFLATION).saturating_add(MIN_LIMIT).min(MAX_BYTES);
        let weights = entry("model.weights.h5", limit)?.into();
        Ok(Archive { config, version, weights, by_class: true })
    }

    /// The weights, to be asked for layer by layer.
    pub(crate) fn weights(&self) -> Result<Weights<'_>> {
        let file = Hdf5::new(&self.weights)?;
        Ok(Weights { file, by_class: self.by_class })
    }
}

/// The weights of a model.
#[derive(Debug)]
pub(crate) struct Weights<'a> {
    file: Hdf5<'a>,
    by_class: bool,
}

impl Weights<'_> {
    /// The weights of a layer with these names, in their order; the layer must have them all, and no others.
    pub(crate) fn of(&self, layer: &KerasLayer, names: &[&str]) -> Result<Vec<Dataset>> {
        let root = self.file.root()?;
        let mut found = BTreeMap::new();
        let group = if self.by_class {
            let number = if layer.of_class > 0 { format!("_{}", layer.of_class) } else { String::new() };
            let paths = LAYER_GROUPS.map(|group| format!("{group}{}{number}/vars", snake_case(&layer.class)));
            let mut group = None;
            for path in &paths {
                group = group.map_or_else(|| self.file.find(&root, path), |group| Ok(Some(group)))?;
            }
            group
        } else {
            self.file.find(&root, &format!("model_weights/{}", layer.name))?
        };
        if let Some(group) = group {
            for (name, object) in self.file.datasets_below(&group)? {
                let name = name.split(':').next().unwrap_or_default();
                // By class they are numbered in the order in which the layer makes them.
                let name = match name.parse::<usize>() {
                    Ok(number) if self.by_class => names.get(number).copied().unwrap_or(name),
                    _ => name,
                };
                found.insert(name.to_owned(), object);
            }
        }
        let mut weights = Vec::new();
        for &name in names {
            let Some(object) = found.remove(name) else {
                return Err(layer.refuse(format!("its weight `{name}` is missing from the file")));
            };
            weights.push(self.file.dataset(&object)?);
        }
        match found.into_keys().next() {
            Some(name) => {
                Err(layer.refuse(format!("expected the weights {}, got `{name}`, too", names.join(", "))))
            }
            None => Ok(weights),
        }
    }
}

/// `BatchNormalization` as `batch_normalization`, `Conv2D` as `conv2d`.
fn snake_case(class: &str) -> String {
    let mut name = String::new();
    let mut before = None;
    for c in class.chars() {
        if c.is_ascii_uppercase() && before.is_some_and(|before: char| before.is_ascii_lowercase()) {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
        before = Some(c);
    }
    name
}
