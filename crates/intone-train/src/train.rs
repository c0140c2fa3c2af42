//! The training loop, and the folder that a run leaves behind.
//!
//! ```text
//! config.toml               the resolved configuration
//! split.csv                 which clip stood on which side
//! log.csv                   one row an epoch
//! curve.svg                 the same as a picture
//! checkpoint.safetensors    network, optimiser and place: goes on as if never cut
//! best.safetensors          the model file of the best epoch, or of the last one where that is to be kept
//! validation.csv            its predictions for the validation clips
//! predictions.csv           its predictions for the test clips, made once, at the end
//! teacher-1                 the runs that it learned from, where it has teachers; besides with train.csv,
//! ...                       their predictions for the training clips
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

pub use burn::tensor::Device;
use intone::Emotion;
use intone::features::{Frames, FrontEnd};
use intone::model::encoder::FrozenClip;
use intone::model::{Calibration, Model, ModelFile, Precision, Tensor};
use rand::Rng;
use rayon::prelude::*;

use crate::calibrate::{Calibrated, calibrate};
use crate::checkpoint::{self, Best, State};
use crate::config::{Config, Keep};
use crate::corpus::Clip;
use crate::curve::write_curve;
use crate::dataset::{load_audio, load_features};
use crate::error::{Error, Result};
use crate::evaluate::{
    Prediction, Scores, coverage, cross_entropy, logits, predictions, score, write_predictions,
};
use crate::given::Given;
use crate::learner::{Inputs, Learner};
use crate::phase::Phase;
use crate::provenance::{self, Results};
use crate::random::{Purpose, stream};
use crate::run_log::{Epoch, RunLog};
use crate::split::{Part, Split};
use crate::teachers::{self, Taught, teach};
use crate::training_set::{Batch, Draw, Sounds, TrainingSet, read_soft_targets};

/// Training clips that the statistics of batch normalisation are taken from after each epoch.
const STATISTICS_CLIPS: usize = 1024;

/// Where a run happens.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The folder of the run.
    pub out: PathBuf,
    /// Where features are kept between runs.
    pub cache: Option<PathBuf>,
    /// Go on with the run that the folder holds.
    pub resume: bool,
    /// What computes.
    pub device: Device,
    /// Whether the test clips are looked at in the end. Not while recipes are compared: what is chosen by them is no test.
    pub test: bool,
}

/// What a run tells while it works.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// A teacher comes first: what follows is of its run, which is done already where nothing does.
    Teacher {
        /// Which one, from 1.
        number: usize,
        /// How many there are.
        of: usize,
    },
    /// All teachers have answered: what follows is of the run itself.
    Taught,
    /// Features of this many clips are to be loaded, and so many are.
    Features {
        /// Clips that are done.
        done: usize,
        /// All clips.
        total: usize,
    },
    /// The encoder, which stays as it is for now, is to be asked about this many training clips, and was about so many.
    Frozen {
        /// Clips that are done.
        done: usize,
        /// All clips.
        total: usize,
    },
    /// A step was taken.
    Step {
        /// The epoch, from 1.
        epoch: usize,
        /// Steps of this epoch that are done.
        done: usize,
        /// Steps in an epoch.
        total: usize,
        /// Mean loss of the epoch so far.
        loss: f64,
    },
    /// An epoch is over.
    Epoch {
        /// Its row in the log.
        row: Epoch,
        /// Whether its model is the one to keep so far.
        kept: bool,
        /// Epochs until patience ends if none is better.
        left: usize,
    },
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It was asked to stop; [`RunOptions::resume`] goes on from here.
    Interrupted {
        /// The epoch that was running.
        epoch: usize,
    },
    /// It is complete.
    Finished {
        /// The epoch whose model was kept.
        best_epoch: usize,
        /// How its answers are calibrated.
        calibration: Calibration,
        /// On the validation clips. The epoch was chosen by these, unless the last one is kept: they flatter.
        validation: Scores,
        /// On the test clips, where the split has any and they were asked for.
        test: Option<Scores>,
    },
}

/// Trains a network as `config` says on the clips of `split`, in the folder `options.out`. Set `stop` to have it save
/// and return after the running step.
///
/// # Errors
/// A configuration out of range, a class without training clips, a clip that cannot be read, a folder that holds another
/// run, a loss that is no number.
pub fn train(
    config: &Config,
    split: &Split,
    options: &RunOptions,
    stop: &AtomicBool,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Outcome> {
    config.validate()?;
    check_classes(split)?;
    let run = Run::open(config, split, options)?;
    let soft = match config.training.teachers {
        0 => read_soft_targets(config, split)?,
        _ => match teach(config, split, options, stop, progress)? {
            Taught::Interrupted { epoch } => return Ok(Outcome::Interrupted { epoch }),
            Taught::Soft(soft) => {
                progress(Progress::Taught);
                soft
            }
        },
    };
    let (sounds, validation_frames) = run.sounds(options, progress)?;
    let set = TrainingSet::new(split.train(), sounds, &soft, config)?;
    // Whole batches: batch normalisation makes nothing of a last one that is small. Each epoch leaves out other clips.
    let batch_size = config.training.batch_size.min(set.len());
    let n_batches = set.len() / batch_size;
    let (mut state, mut learner) = run.restore()?;
    let mut log = RunLog::open(&options.out.join("log.csv"), state.epoch)?;
    let mut frozen: Vec<FrozenClip> = Vec::new();

    while !is_over(&state, config) {
        let phase = Phase::of(config, state.epoch);
        if state.batch == 0 && state.epoch == *phase.epochs.start() {
            learner.begin_phase();
        }
        // The head's input is put on one scale first, whatever moves then.
        let begins = (state.epoch, state.batch) == (1, 0) && learner.has_encoder();
        if begins || phase.frozen && frozen.is_empty() {
            frozen = freeze(&learner, &set, progress)?;
            if begins {
                learner.standardise(&frozen);
            }
        }
        if !phase.frozen {
            frozen = Vec::new();
        }
        let order = set.order(state.epoch);
        while state.batch < n_batches {
            if stop.load(Ordering::Relaxed) {
                run.checkpoint(&state, &learner)?;
                return Ok(Outcome::Interrupted { epoch: state.epoch });
            }
            let started = Instant::now();
            let draws = order.chunks(batch_size).nth(state.batch).unwrap_or_default();
            let factor = phase.factor(config, state.epoch, state.batch, n_batches);
            let seed =
                stream(config.seed, Purpose::Dropout, state.epoch as u64, state.batch as u64).next_u64();
            let step = if phase.frozen {
                let inputs: Vec<&FrozenClip> = draws.iter().map(|draw| &frozen[draw.clip]).collect();
                let targets: Vec<_> = draws.iter().map(|draw| set.target(draw.clip)).collect();
                learner.step(Inputs::Frozen(&inputs), &targets, &phase, factor, seed)
            } else {
                let Batch { windows, targets } = set.batch(state.epoch, draws)?;
                learner.step(Inputs::Windows(&windows), &targets, &phase, factor, seed)
            };
            if !step.loss.is_finite() {
                return Err(Error::Diverged { epoch: state.epoch, step: state.batch + 1, loss: step.loss });
            }
            state.batch += 1;
            state.n_right += step.n_right;
            state.n_seen += draws.len();
            state.loss_sum += step.loss * draws.len() as f64;
            state.seconds += started.elapsed().as_secs_f64();
            let loss = state.loss_sum / state.n_seen as f64;
            progress(Progress::Step { epoch: state.epoch, done: state.batch, total: n_batches, loss });
        }
        let started = Instant::now();
        let n_plain = if learner.has_statistics() { STATISTICS_CLIPS.div_ceil(batch_size) } else { 0 };
        let plain = order.chunks_exact(batch_size).take(n_plain);
        let clips = |draws: &[Draw]| draws.iter().map(|draw| draw.clip).collect::<Vec<_>>();
        let plain: Result<Vec<_>> = plain.map(|draws| set.plain(state.epoch, &clips(draws))).collect();
        let file = run.model_file(&state, learner.result(plain?));
        let predictions = run.evaluate(&file, split.validation(), &validation_frames)?;
        let scores = score(&predictions, config.seed)?;
        let accuracy = scores.accuracy.value;
        let kept =
            config.training.keep == Keep::Last || state.best.is_none_or(|best| accuracy > best.accuracy);
        if kept {
            state.best = Some(Best { epoch: state.epoch, accuracy });
            run.keep(file, &scores, &predictions)?;
        }
        let row = Epoch {
            epoch: state.epoch,
            train_loss: state.loss_sum / state.n_seen as f64,
            train_accuracy: state.n_right as f64 / state.n_seen as f64,
            validation_loss: cross_entropy(&predictions),
            validation_accuracy: accuracy,
            validation_uar: scores.uar.value,
            seconds: state.seconds + started.elapsed().as_secs_f64(),
        };
        log.append(&row)?;
        write_curve(log.rows(), state.best.map_or(0, |best| best.epoch), &options.out.join("curve.svg"))?;
        state = State { epoch: state.epoch + 1, best: state.best, ..run.start_state(state.given) };
        run.checkpoint(&state, &learner)?;
        progress(Progress::Epoch { row, kept, left: epochs_left(&state, config) });
    }
    run.finish(&state, options)
}

/// What the encoder says of every training clip.
fn freeze(
    learner: &Learner,
    set: &TrainingSet,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Vec<FrozenClip>> {
    let (encoder, done) = (learner.freeze()?, AtomicUsize::new(0));
    let encode = |clip: usize| {
        let windows = set.plain(0, &[clip])?;
        progress(Progress::Frozen { done: done.fetch_add(1, Ordering::Relaxed) + 1, total: set.len() });
        Ok(encoder.encode(&windows[0]))
    };
    (0..set.len()).into_par_iter().map(encode).collect()
}

/// Whether `max_epochs` are done or patience is at its end.
fn is_over(state: &State, config: &Config) -> bool {
    epochs_left(state, config) == 0
}

/// Epochs that remain if none of them is better than the best so far. Patience begins when the whole network moves.
fn epochs_left(state: &State, config: &Config) -> usize {
    let from = |best: Best| best.epoch.max(Phase::last_frozen(config));
    let last = state.best.map_or(usize::MAX, |best| from(best).saturating_add(config.training.patience));
    (last.min(config.training.max_epochs) + 1).saturating_sub(state.epoch)
}

/// Every class must be there to be learned, and there must be something to choose the epoch by.
fn check_classes(split: &Split) -> Result<()> {
    if split.validation().is_empty() {
        let protocol = split.protocol();
        return Err(Error::Empty(format!(
            "split '{protocol}' has no validation clips: the best epoch cannot be chosen"
        )));
    }
    for emotion in Emotion::ALL {
        if !split.train().iter().any(|clip| clip.emotion == emotion) {
            return Err(Error::Empty(format!(
                "no training clip shows '{emotion}': the {} training clips must show all six emotions",
                split.train().len()
            )));
        }
    }
    Ok(())
}

/// What stays the same during a run.
struct Run<'a> {
    config: &'a Config,
    split: &'a Split,
    out: &'a Path,
    resume: bool,
    split_hash: String,
    device: Device,
}

impl<'a> Run<'a> {
    /// Makes the folder, and writes down what is to be done.
    fn open(config: &'a Config, split: &'a Split, options: &'a RunOptions) -> Result<Run<'a>> {
        let out = options.out.as_path();
        std::fs::create_dir_all(out).map_err(Error::io(out))?;
        if has_begun(out) && !options.resume {
            let what = "it holds a run already: resume it, or choose another folder".to_owned();
            return Err(Error::Checkpoint { path: checkpoint_path(out), what });
        }
        let split_hash = provenance::split_hash(split);
        let there = checkpoint_path(out).exists();
        if !there {
            let path = out.join("config.toml");
            std::fs::write(&path, config.to_toml()).map_err(Error::io(&path))?;
            crate::split::write_csv(split, &out.join("split.csv"))?;
        }
        let device = options.device.clone();
        Ok(Run { config, split, out, resume: there, split_hash, device })
    }

    /// What is known of the training clips, and features of the validation clips. Test clips that are to be looked at in
    /// the end are read as well: better to know now that one cannot be.
    fn sounds(
        &self,
        options: &RunOptions,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<(Sounds, Vec<Frames>)> {
        let (train, validation) = (self.split.train(), self.split.validation());
        let test = if options.test { self.split.test() } else { &[] };
        let total = train.len() + validation.len() + test.len();
        let cache = options.cache.as_deref();
        let tell = |done: usize| progress(Progress::Features { done, total });
        let sounds = if self.config.augment.changes_audio() {
            Sounds::Audio(load_audio(train, self.front_end(), self.config.augment.longest_end_s(), &tell)?)
        } else {
            Sounds::Frames(load_features(train, self.front_end(), cache, &tell)?)
        };
        let tell = |done: usize| progress(Progress::Features { done: train.len() + done, total });
        let frames = load_features(validation, self.front_end(), cache, &tell)?;
        let tell = |done: usize| {
            progress(Progress::Features { done: train.len() + validation.len() + done, total });
        };
        load_features(test, self.front_end(), cache, &tell)?;
        Ok((sounds, frames))
    }

    fn front_end(&self) -> &FrontEnd {
        &self.config.front_end
    }

    fn start_state(&self, given: Given) -> State {
        State::start(self.config.to_toml(), self.split_hash.clone(), given)
    }

    /// The place, network and optimiser to begin or go on with.
    fn restore(&self) -> Result<(State, Learner)> {
        if !self.resume {
            let state = self.start_state(Given::of(self.config)?);
            return Ok((state, Learner::new(self.config, &self.device)?));
        }
        let path = checkpoint_path(self.out);
        let (state, tensors, optimizer) = checkpoint::read(&path)?;
        let refuse = |what: &str| Err(Error::Checkpoint { path: path.clone(), what: what.to_owned() });
        if !self.config.is_written_as(&state.config) {
            return refuse("it belongs to another configuration; see config.toml beside it");
        }
        if state.split_hash != self.split_hash {
            return refuse("it belongs to other data or another split; see split.csv beside it");
        }
        state.given.check(self.config)?;
        Ok((state, Learner::restore(self.config, &self.device, tensors, optimizer)?))
    }

    fn model_file(&self, state: &State, tensors: BTreeMap<String, Tensor>) -> ModelFile {
        let meta = provenance::model_meta(self.config, self.split, &self.split_hash, &state.given);
        ModelFile::new(meta, tensors)
    }

    fn evaluate(&self, file: &ModelFile, clips: &[Clip], frames: &[Frames]) -> Result<Vec<Prediction>> {
        let model = Model::new(&file.meta.architecture, file.tensors.clone())?;
        let logits = logits(&model, self.front_end(), frames)?;
        Ok(predictions(clips, &logits, file.meta.calibration()))
    }

    /// Keeps the model of an epoch.
    fn keep(&self, mut file: ModelFile, scores: &Scores, predictions: &[Prediction]) -> Result<()> {
        file.meta.provenance.note(Part::Validation, scores, (1.0, scores.accuracy.value));
        file.write(self.best_path(), Precision::F32)?;
        write_predictions(predictions, &self.out.join("validation.csv"))
    }

    fn checkpoint(&self, state: &State, learner: &Learner) -> Result<()> {
        checkpoint::write(&checkpoint_path(self.out), state, &learner.tensors(), &learner.optimizer)
    }

    fn best_path(&self) -> PathBuf {
        self.out.join("best.safetensors")
    }

    /// Calibrates the model that was kept on the validation clips, and looks at the test clips, once.
    fn finish(&self, state: &State, options: &RunOptions) -> Result<Outcome> {
        let mut file = ModelFile::open(self.best_path())?;
        let cache = options.cache.as_deref();
        let frames = |part| load_features(self.split.part(part), self.front_end(), cache, &|_| ());
        let clips = self.split.validation();
        let Calibrated { now, scores: validation, .. } =
            calibrate(&mut file, clips, &frames(Part::Validation)?)?;
        write_predictions(&now, &self.out.join("validation.csv"))?;
        let test = if self.split.test().is_empty() || !options.test {
            None
        } else {
            let predictions = self.evaluate(&file, self.split.test(), &frames(Part::Test)?)?;
            write_predictions(&predictions, &self.out.join("predictions.csv"))?;
            let scores = score(&predictions, self.config.seed)?;
            let coverage = coverage(&predictions, file.meta.uncertain_below);
            file.meta.provenance.note(Part::Test, &scores, coverage);
            Some(scores)
        };
        file.write(self.best_path(), Precision::F32)?;
        let best_epoch = state.best.map_or(0, |best| best.epoch);
        Ok(Outcome::Finished { best_epoch, calibration: file.meta.calibration(), validation, test })
    }
}

/// Whether a folder holds a run that can be [resumed](RunOptions::resume).
pub fn has_begun(out: &Path) -> bool {
    [out, &teachers::folder(out, 1)].into_iter().any(|folder| checkpoint_path(folder).exists())
}

fn checkpoint_path(out: &Path) -> PathBuf {
    out.join("checkpoint.safetensors")
}
