//! What a training run needs to go on as if it had never been cut.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use intone::model::Tensor;
use safetensors::tensor::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::given::Given;
use crate::optimizer::Optimizer;

/// The key of the JSON string in the file's metadata.
const STATE: &str = "intone-checkpoint";

/// The version of this format.
const FORMAT: u32 = 2;

/// Everything but the tensors. Random generators need no state: they are seeded by place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    /// The resolved configuration, to refuse another.
    pub(crate) config: String,
    /// Hash of the split, to refuse other data.
    pub(crate) split_hash: String,
    /// The other files that the run began with, to refuse others.
    #[serde(default)]
    pub(crate) given: Given,
    /// The epoch that is running, from 1, and the batch that comes next in it.
    pub(crate) epoch: usize,
    pub(crate) batch: usize,
    /// Of the batches of this epoch so far: sum of the losses over clips, clips that were right, clips.
    pub(crate) loss_sum: f64,
    pub(crate) n_right: usize,
    pub(crate) n_seen: usize,
    /// Seconds that this epoch has taken so far.
    pub(crate) seconds: f64,
    pub(crate) best: Option<Best>,
}

/// The best epoch so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Best {
    pub(crate) epoch: usize,
    pub(crate) accuracy: f64,
}

/// What lies in the metadata.
#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    n_steps: u64,
    state: State,
}

impl State {
    pub(crate) fn start(config: String, split_hash: String, given: Given) -> State {
        State {
            config,
            split_hash,
            given,
            epoch: 1,
            batch: 0,
            loss_sum: 0.0,
            n_right: 0,
            n_seen: 0,
            seconds: 0.0,
            best: None,
        }
    }
}

/// Writes a checkpoint through a temporary file: the last one stays whole until the new one is.
pub(crate) fn write(
    path: &Path,
    state: &State,
    model: &BTreeMap<String, Tensor>,
    optimizer: &Optimizer,
) -> Result<()> {
    let mut views: Vec<(String, Floats<'_>)> = Vec::new();
    for (name, tensor) in model {
        views.push((format!("model/{name}"), Floats { shape: tensor.shape.clone(), data: &tensor.data }));
    }
    for (name, (mean, square)) in &optimizer.moments {
        views.push((format!("mean/{name}"), Floats { shape: vec![mean.len()], data: mean }));
        views.push((format!("square/{name}"), Floats { shape: vec![square.len()], data: square }));
    }
    for (name, average) in &optimizer.average {
        views.push((format!("average/{name}"), Floats { shape: vec![average.len()], data: average }));
    }
    let header = Header { format: FORMAT, n_steps: optimizer.n_steps, state: state.clone() };
    let header = serde_json::to_string(&header).map_err(|e| broken(path, &e))?;
    let metadata = HashMap::from([(STATE.to_owned(), header)]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|e| broken(path, &e))?;
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, bytes).map_err(Error::io(&temporary))?;
    std::fs::rename(&temporary, path).map_err(Error::io(path))?;
    log::debug!("{}: written", path.display());
    Ok(())
}

/// Reads a checkpoint back.
pub(crate) fn read(path: &Path) -> Result<(State, BTreeMap<String, Tensor>, Optimizer)> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|e| broken(path, &e))?;
    let header = metadata.metadata().as_ref().and_then(|metadata| metadata.get(STATE));
    let header = header.ok_or_else(|| broken(path, &"it holds no state of a training run"))?;
    let header: Header = serde_json::from_str(header).map_err(|e| broken(path, &e))?;
    if header.format != FORMAT {
        return Err(broken(path, &format!("expected format {FORMAT}, got {}", header.format)));
    }
    let mut model = BTreeMap::new();
    let mut optimizer = Optimizer { n_steps: header.n_steps, ..Optimizer::default() };
    let tensors = SafeTensors::deserialize(&bytes).map_err(|e| broken(path, &e))?;
    for (name, view) in tensors.iter() {
        let data: Vec<f32> = view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        match name.split_once('/') {
            Some(("model", name)) => {
                model.insert(name.to_owned(), Tensor { shape: view.shape().to_vec(), data });
            }
            Some(("mean", name)) => optimizer.moments.entry(name.to_owned()).or_default().0 = data,
            Some(("square", name)) => optimizer.moments.entry(name.to_owned()).or_default().1 = data,
            Some(("average", name)) => {
                optimizer.average.insert(name.to_owned(), data);
            }
            _ => return Err(broken(path, &format!("unexpected tensor {name}"))),
        }
    }
    let size = |name: &str| model.get(name).map_or(0, |tensor| tensor.data.len());
    for (name, (mean, square)) in &optimizer.moments {
        if mean.len() != size(name) || square.len() != size(name) {
            return Err(broken(path, &format!("the moments of {name} have another size than it has")));
        }
    }
    for (name, average) in &optimizer.average {
        if average.len() != size(name) {
            return Err(broken(path, &format!("the average of {name} has another size than it has")));
        }
    }
    Ok((header.state, model, optimizer))
}

fn broken(path: &Path, what: &dyn std::fmt::Display) -> Error {
    Error::Checkpoint { path: path.to_path_buf(), what: what.to_string() }
}

/// Values that are turned into bytes when they are written.
struct Floats<'a> {
    shape: Vec<usize>,
    data: &'a [f32],
}

impl View for Floats<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.data.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    fn data_len(&self) -> usize {
        std::mem::size_of_val(self.data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint.safetensors");
        let given = Given { init_sha256: Some("12ab".to_owned()), soft_targets_sha256: None };
        let mut state = State::start("seed = 1".to_owned(), "abc".to_owned(), given);
        state.best = Some(Best { epoch: 3, accuracy: 0.1 + 0.2 });
        state.loss_sum = 1.0 / 3.0;
        let model = BTreeMap::from([(
            "w".to_owned(),
            Tensor { shape: vec![2, 3], data: vec![0.1, -0.0, 1e-40, 4.0, 5.0, 6.0] },
        )]);
        let optimizer = Optimizer {
            n_steps: 7,
            moments: BTreeMap::from([("w".to_owned(), (vec![0.5; 6], vec![0.25; 6]))]),
            average: BTreeMap::from([("w".to_owned(), vec![0.125; 6])]),
        };
        write(&path, &state, &model, &optimizer).unwrap();
        assert_eq!(read(&path).unwrap(), (state, model, optimizer));
        assert!(!path.with_extension("tmp").exists());
    }

    #[test]
    fn the_state_of_an_older_version_knows_no_files() {
        let state = State::start("seed = 1".to_owned(), "abc".to_owned(), Given::default());
        let mut json = serde_json::to_value(&state).unwrap();
        assert!(json.as_object_mut().unwrap().remove("given").is_some());
        assert_eq!(serde_json::from_value::<State>(json).unwrap(), state);
    }

    #[test]
    fn damage_is_an_error_with_the_files_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint.safetensors");
        let state = State::start(String::new(), String::new(), Given::default());
        let model = BTreeMap::from([("w".to_owned(), Tensor { shape: vec![2], data: vec![1.0, 2.0] })]);
        let moments = BTreeMap::from([("w".to_owned(), (vec![0.5; 3], vec![0.5; 3]))]);
        let optimizer = Optimizer { moments, ..Optimizer::default() };
        write(&path, &state, &model, &optimizer).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("moments of w"));
        let average = BTreeMap::from([("v".to_owned(), vec![0.5])]);
        write(&path, &state, &model, &Optimizer { average, ..Optimizer::default() }).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("average of v"));
        let whole = std::fs::read(&path).unwrap();
        for damaged in [&whole[..whole.len() - 1], &whole[..20], b"".as_slice()] {
            std::fs::write(&path, damaged).unwrap();
            assert!(read(&path).unwrap_err().to_string().contains("checkpoint.safetensors"));
        }
    }
}
