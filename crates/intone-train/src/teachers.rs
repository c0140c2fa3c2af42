//! Teachers: runs that come before the one that is asked for, which learns from their answers, too.
//!
//! Each is the same run without teachers, with a seed of its own, in a folder `teacher-N` of the run. What they say of the
//! training clips, on average, is a share of the targets (Hinton et al. 2015; with the same network, Furlanello et al. 2018).

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use intone::model::{Model, ModelFile};

use crate::config::{Config, TrainingConfig};
use crate::dataset::load_features;
use crate::error::{Error, Result};
use crate::evaluate::{logits, predictions, write_predictions};
use crate::predictions::{Answered, answer_to, read_predictions};
use crate::provenance::other;
use crate::split::Split;
use crate::train::{Outcome, Progress, RunOptions, train};
use crate::training_set::{N_CLASSES, SoftTargets};

/// What a teacher leaves beside what all runs leave: its answers to the training clips.
const ANSWERS_FILE: &str = "train.csv";

/// What the teachers say, or where they were interrupted.
pub(crate) enum Taught {
    Soft(SoftTargets),
    Interrupted { epoch: usize },
}

/// The folder of a teacher, the first being 1.
pub(crate) fn folder(out: &Path, number: usize) -> PathBuf {
    out.join(format!("teacher-{number}"))
}

/// Trains the teachers of a run as far as they are not, and averages what they say of the training clips.
///
/// # Errors
/// What [`train`] refuses; a folder with a teacher of another configuration or other data.
pub(crate) fn teach(
    config: &Config,
    split: &Split,
    options: &RunOptions,
    stop: &AtomicBool,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Taught> {
    let of = config.training.teachers;
    let mut soft = SoftTargets::new();
    for number in 1..=of {
        progress(Progress::Teacher { number, of });
        let options =
            RunOptions { out: folder(&options.out, number), resume: true, test: false, ..options.clone() };
        let config = config_of(config, number);
        if !options.out.join(ANSWERS_FILE).exists() {
            if let Outcome::Interrupted { epoch } = train(&config, split, &options, stop, progress)? {
                return Ok(Taught::Interrupted { epoch });
            }
            answer(&config, split, &options)?;
        }
        let answers = answers(&config, split, &options.out)?;
        for clip in split.train() {
            let Some(answered) = answer_to(&answers, &clip.id) else {
                return refuse(&options.out, "other training clips");
            };
            let sums = soft.entry(clip.id.clone()).or_insert([0.0; N_CLASSES]);
            sums.iter_mut().zip(answered.probabilities).for_each(|(sum, p)| *sum += p as f32 / of as f32);
        }
    }
    Ok(Taught::Soft(soft))
}

/// The configuration of a teacher.
fn config_of(config: &Config, number: usize) -> Config {
    let training = TrainingConfig { teachers: 0, soft_share: 0.0, ..config.training.clone() };
    Config { seed: config.seed.wrapping_add(number as u64 - 1), training, ..config.clone() }
}

/// Writes what a trained teacher says of the training clips.
fn answer(config: &Config, split: &Split, options: &RunOptions) -> Result<()> {
    let file = ModelFile::open(options.out.join("best.safetensors"))?;
    let model = Model::new(&file.meta.architecture, file.tensors)?;
    let frames = load_features(split.train(), &config.front_end, options.cache.as_deref(), &|_| ())?;
    let logits = logits(&model, &config.front_end, &frames)?;
    let path = options.out.join(ANSWERS_FILE);
    // There is a file of this name only when it is whole.
    let temporary = path.with_extension("tmp");
    write_predictions(&predictions(split.train(), &logits, file.meta.calibration()), &temporary)?;
    std::fs::rename(&temporary, &path).map_err(Error::io(&path))
}

/// What a teacher said, which must be of this configuration and of these training clips.
fn answers(config: &Config, split: &Split, folder: &Path) -> Result<Vec<Answered>> {
    let provenance = ModelFile::open(folder.join("best.safetensors"))?.meta.provenance;
    match other(config, split, &provenance.config, &provenance.split_hash) {
        Some(other) => refuse(folder, other),
        None => read_predictions(&folder.join(ANSWERS_FILE)),
    }
}

fn refuse<T>(folder: &Path, with: &str) -> Result<T> {
    let what = format!("this teacher was trained with {with}: choose another folder, or remove it");
    Err(Error::Checkpoint { path: folder.to_owned(), what })
}
