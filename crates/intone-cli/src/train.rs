//! `intone train`: a configuration and corpora in, a model file out.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use indicatif::ProgressBar;
use intone_train::config::Config;
use intone_train::corpus::Corpus;
use intone_train::split::{Part, Protocol, Split};
use intone_train::train::{Device, Outcome, Progress, RunOptions, has_begun, train};

use crate::progress::{bar, note};

/// Train a model on labelled recordings
///
/// The run folder receives config.toml, split.csv, log.csv, a checkpoint after every epoch, best.safetensors (the model
/// file of the epoch with the best validation accuracy, or of the last one if training.keep says so) and, at the end,
/// predictions.csv for the test speakers.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    experiment: Experiment,

    /// Go on with the run in --out
    #[arg(long)]
    resume: bool,

    /// Do not look at the test speakers: for runs that recipes are chosen by
    #[arg(long)]
    no_test: bool,
}

/// What every command that trains is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Experiment {
    /// The experiment: a TOML file such as configs/vgg.toml
    config: PathBuf,

    /// Settings that override the file, as in training.batch_size=16 or seed=2
    #[arg(value_name = "KEY=VALUE")]
    settings: Vec<String>,

    /// Directories with RAVDESS, CREMA-D, a folder for each emotion, or a manifest.csv (path,label,speaker[,split])
    #[arg(long, required = true, num_args = 1.., value_name = "DIR")]
    data: Vec<PathBuf>,

    /// The folder of the run
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,

    /// Where computed features are kept between runs
    #[arg(long, value_name = "DIR", default_value = ".cache/features")]
    cache: PathBuf,

    /// What computes
    #[arg(long, value_enum, default_value_t = DeviceName::Cpu)]
    device: DeviceName,

    /// Threads; the result does not depend on it [default: one for each core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

impl Experiment {
    /// Sets the number of threads, and reads the configuration and the recordings.
    pub(crate) fn begin(&self) -> Result<(Config, Corpus)> {
        if let Some(threads) = self.threads {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build_global().context("--threads")?;
        }
        Ok((Config::load(&self.config, &self.settings)?, crate::data::read(&self.data)?))
    }

    /// The configuration and what overrides it, as they were given.
    pub(crate) fn recipe(&self) -> String {
        let config = self.config.display().to_string();
        std::iter::once(&config).chain(&self.settings).map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    /// Where a run happens.
    pub(crate) fn options(&self, resume: bool, test: bool) -> RunOptions {
        let device = self.device.device();
        RunOptions { out: self.out.clone(), cache: Some(self.cache.clone()), resume, device, test }
    }
}

/// A device that this program was built for.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum DeviceName {
    Cpu,
    #[cfg(feature = "vulkan")]
    Vulkan,
    #[cfg(feature = "cuda")]
    Cuda,
}

impl DeviceName {
    fn device(self) -> Device {
        match self {
            DeviceName::Cpu => Device::flex(),
            #[cfg(feature = "vulkan")]
            DeviceName::Vulkan => Device::vulkan(Default::default()),
            #[cfg(feature = "cuda")]
            DeviceName::Cuda => Device::cuda(0),
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let (config, corpus) = args.experiment.begin()?;
    let protocol: Protocol = config.protocol.parse()?;
    let split = protocol.split(&corpus)?;
    let stop = stop_on_ctrl_c()?;
    report_split(&split);
    let out = &args.experiment.out;
    if args.resume && !has_begun(out) {
        bail!("{}: no checkpoint to resume from", out.display());
    }
    let options = args.experiment.options(args.resume, !args.no_test);
    let display = Display::new();
    let outcome = train(&config, &split, &options, &stop, &|progress| display.show(&progress))?;
    display.finish();
    report(&outcome, args);
    Ok(match outcome {
        Outcome::Interrupted { .. } => ExitCode::from(1),
        Outcome::Finished { .. } => ExitCode::SUCCESS,
    })
}

/// A flag that Ctrl-C sets, so that a training can save and end. A second one ends the program at once: it may be a while
/// before the flag is looked at.
pub(crate) fn stop_on_ctrl_c() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let asked = move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        note("stopping after the step that runs; Ctrl-C again stops at once");
    };
    ctrlc::set_handler(asked).context("cannot catch Ctrl-C")?;
    Ok(stop)
}

fn report_split(split: &Split) {
    for part in Part::ALL {
        let (n_clips, n_speakers) = (split.part(part).len(), split.speakers(part).len());
        note(format_args!("{part:<10} {n_clips:5} clips of {n_speakers:2} speakers"));
    }
}

#[expect(clippy::print_stderr, reason = "what a run tells goes beside the terminal's progress bar")]
fn report(outcome: &Outcome, args: &Args) {
    match outcome {
        Outcome::Interrupted { epoch } => {
            eprintln!("stopped in epoch {epoch}; the same command with --resume goes on from there");
        }
        Outcome::Finished { best_epoch, validation, test, .. } => {
            eprintln!(
                "epoch {best_epoch} is kept; its model is {}",
                args.experiment.out.join("best.safetensors").display()
            );
            for (part, scores) in [(Part::Validation, Some(validation)), (Part::Test, test.as_ref())] {
                if let Some(scores) = scores {
                    eprintln!(
                        "{part:<10} accuracy {}  UAR {}  ({} clips, {} speakers)",
                        scores.accuracy, scores.uar, scores.n, scores.n_speakers
                    );
                }
            }
        }
    }
}

/// A bar on a terminal, and one line for each epoch everywhere.
pub(crate) struct Display {
    bar: ProgressBar,
}

impl Display {
    pub(crate) fn new() -> Display {
        Display { bar: bar(Some(0), "{prefix:>10} {bar:32} {pos}/{len}  {msg}  {eta} left") }
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// A line above the bar.
    pub(crate) fn say(&self, line: &str) {
        self.bar.suspend(|| note(line));
    }

    pub(crate) fn show(&self, progress: &Progress) {
        match progress {
            Progress::Teacher { number, of } => self.say(&format!("teacher {number} of {of}")),
            Progress::Taught => self.say("what follows learns from the teachers' answers, too"),
            Progress::Features { done, total } | Progress::Frozen { done, total } => {
                let frozen = matches!(progress, Progress::Frozen { .. });
                self.bar.set_prefix(if frozen { "encoder" } else { "features" });
                self.bar.set_length(*total as u64);
                self.bar.set_position(*done as u64);
            }
            Progress::Step { epoch, done, total, loss } => {
                if *done == 1 {
                    self.bar.reset();
                }
                self.bar.set_prefix(format!("epoch {epoch}"));
                self.bar.set_length(*total as u64);
                self.bar.set_position(*done as u64);
                self.bar.set_message(format!("loss {loss:.3}"));
            }
            Progress::Epoch { row, kept, left } => {
                let line = format!(
                    "epoch {:3}  loss {:.3}  accuracy {:5.1} %  | validation: loss {:.3}  accuracy {:5.1} %  UAR {:5.1} %  \
                     | {:.0} s{}",
                    row.epoch,
                    row.train_loss,
                    100.0 * row.train_accuracy,
                    row.validation_loss,
                    100.0 * row.validation_accuracy,
                    100.0 * row.validation_uar,
                    row.seconds,
                    if *kept { "  kept".to_owned() } else { format!("  {left} left") },
                );
                self.say(&line);
            }
        }
    }
}
