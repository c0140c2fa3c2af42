//! `intone features`: Write the front end's output for other tools.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use indicatif::ParallelProgressIterator;
use intone::audio::{Resampler, SampleRate};
use intone::features::{Extractor, FrameStream, Frames, FrontEnd, LogMel};
use rayon::prelude::*;

use crate::inputs::{self, Input};
use crate::model::model_file;
use crate::progress::bar_for_many;
use crate::terminal::complain;

mod npy;
pub(crate) mod picture;

/// Write the front end's output for other tools
///
/// Writes for each recording NAME.npy, its log-mel spectrogram as NumPy reads it: float32, one row for each mel
/// band (the lowest first), one column for each frame. The reference front end gives what librosa 0.11 gives with
/// power_to_db(melspectrogram(y=y, sr=22050), ref=np.max), in dB relative to the recording's peak; that of Whisper
/// what Whisper's log_mel_spectrogram gives, of the recording alone.
///
/// What was found in a folder keeps its way from there. Two recordings that would be written to the same name
/// are refused before anything is written. Exit code 0: all were written; 1: some could not be read or written;
/// 2: the command line cannot be used.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Recordings, and folders, which are searched for audio files
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Folder to write to; made if there is none
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,

    /// Front end
    #[arg(long, value_enum, default_value_t)]
    front_end: Name,

    /// The front end of this model instead, a file or hf:OWNER/NAME[@REVISION][/FILE]; what is shorter than its window is
    /// filled up with silence, as the network sees it
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["front_end", "trim"])]
    pub(crate) model: Option<PathBuf>,

    /// Write also NAME.png, a picture of the spectrogram with axes
    #[arg(long)]
    png: bool,

    /// First trim both ends of what is more than DB below the loudest part, as librosa.effects.trim(y, top_db=DB)
    #[arg(long, value_name = "DB")]
    trim: Option<f32>,
}

/// The front ends that have a name.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Name {
    /// 22,050 Hz, 128 Slaney mel bands, frames of 2,048 samples every 512
    #[default]
    Reference,
    /// 16,000 Hz, 80 Slaney mel bands, frames of 400 samples every 160
    Whisper,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let front_end = match (&args.model, args.front_end) {
        (Some(path), _) => model_file(Some(path))?.meta.front_end,
        (None, Name::Reference) => FrontEnd { trim_top_db: args.trim, ..FrontEnd::reference() },
        (None, Name::Whisper) => FrontEnd { trim_top_db: args.trim, ..FrontEnd::whisper() },
    };
    let extractor = Extractor::new(&front_end)?;
    let jobs = jobs(&args.paths, &args.out)?;
    fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make the folder {}", args.out.display()))?;

    let as_seen = match args.model {
        Some(_) => AsSeen::ByPredict,
        None => AsSeen::ByLibrosa,
    };
    let progress = bar_for_many(jobs.len(), "recordings");
    let n_failed = jobs
        .par_iter()
        .progress_with(progress.clone())
        .filter(|job| {
            let result = job.run(&extractor, as_seen, args.png);
            progress.suspend(|| job.tell(&result));
            result.is_err()
        })
        .count();
    progress.finish_and_clear();
    if n_failed == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    if jobs.len() > 1 {
        complain(format_args!("intone: {n_failed} of {} recordings failed", jobs.len()));
    }
    Ok(ExitCode::FAILURE)
}

/// What is made of a recording that is very short or very long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AsSeen {
    /// Frames of all of it, trimmed whatever its length.
    ByLibrosa,
    /// Filled up to a window, and not trimmed where it is long: what the network is shown.
    ByPredict,
}

/// One recording and where its features go.
struct Job {
    input: Input,
    /// The paths of the outputs, without their ending.
    target: PathBuf,
}

/// What is to be done, in the order of the command line.
///
/// # Errors
/// Where two recordings would be written to the same file.
fn jobs(paths: &[PathBuf], out: &Path) -> anyhow::Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            bail!("standard input has no name to write its features to: give a file");
        }
        for input in inputs::expand(std::slice::from_ref(path))? {
            let target = out.join(target(path, &input.path));
            jobs.push(Job { input, target });
        }
    }
    let mut taken: HashMap<&Path, &Path> = HashMap::new();
    // A folder among them is one that could not be searched; nothing will be written for it.
    for job in jobs.iter().filter(|job| !job.input.path.is_dir()) {
        if let Some(other) = taken.insert(&job.target, &job.input.path) {
            bail!(
                "{} and {} would both be written to {}: rename one, or write them to different folders",
                other.display(),
                job.input.path.display(),
                with_ending(&job.target, ".npy").display()
            );
        }
    }
    Ok(jobs)
}

/// Where the features of `found` go, below the output folder: a file that was given by its name goes to its stem,
/// one that was found in a given folder keeps the way from there.
fn target(given: &Path, found: &Path) -> PathBuf {
    let way = match found.strip_prefix(given) {
        Ok(way) if way.file_name().is_some() => way,
        _ => Path::new(found.file_name().unwrap_or(found.as_os_str())),
    };
    way.with_file_name(way.file_stem().unwrap_or(way.as_os_str()))
}

/// The path with an ending more: the stem may have dots of its own.
fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

impl Job {
    /// Writes the features. Answers with warnings about the recording.
    fn run(&self, extractor: &Extractor, as_seen: AsSeen, png: bool) -> anyhow::Result<Vec<String>> {
        let features = Features::of(&self.input, extractor, as_seen)?;
        if let Some(folder) = self.target.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        let log_mel = &features.log_mel;
        self.write(".npy", |out| npy::write(out, [log_mel.n_mels(), log_mel.n_frames()], log_mel.data()))?;
        if png {
            self.write(".png", |out| {
                picture::write(out, log_mel, extractor.front_end(), features.duration_s)
            })?;
        }
        Ok(features.warnings)
    }

    fn write(
        &self,
        ending: &str,
        content: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
    ) -> anyhow::Result<()> {
        let path = with_ending(&self.target, ending);
        let write = || {
            let mut out = BufWriter::new(File::create(&path)?);
            content(&mut out)?;
            out.flush()
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    fn tell(&self, result: &anyhow::Result<Vec<String>>) {
        let path = self.input.path.display();
        match result {
            Ok(warnings) => {
                for warning in warnings {
                    complain(format_args!("intone: {path}: warning: {warning}"));
                }
            }
            // The library's errors may name the file already.
            Err(error) => match error.downcast_ref::<intone::Error>() {
                Some(error @ intone::Error::InFile { .. }) => complain(format_args!("intone: {error}")),
                _ => complain(format_args!("intone: {path}: {error:#}")),
            },
        }
    }
}

/// The features of a recording.
struct Features {
    log_mel: LogMel,
    /// Of what the features show: the recording, or what trimming left of it.
    duration_s: f64,
    warnings: Vec<String>,
}

impl Features {
    fn of(input: &Input, extractor: &Extractor, as_seen: AsSeen) -> anyhow::Result<Features> {
        let front_end = extractor.front_end();
        let rate = SampleRate(front_end.sample_rate_hz);
        let mut audio = input.open()?;
        let mut resampler = Resampler::new(audio.sample_rate(), rate)?;
        let mut sink = match front_end.trim_top_db {
            None => Sink::frames(extractor),
            Some(_) => Sink::Samples(Vec::new()),
        };
        let limit = match as_seen {
            AsSeen::ByLibrosa => usize::MAX,
            AsSeen::ByPredict => front_end.max_trimmed(),
        };
        let mut piece = Vec::new();
        while let Some(chunk) = audio.next_chunk()? {
            piece.clear();
            resampler.push(chunk, &mut piece);
            sink.push(&piece, extractor, limit);
        }
        piece.clear();
        resampler.finish(&mut piece);
        sink.push(&piece, extractor, limit);
        let (log_mel, n_samples) = sink.finish(extractor, as_seen);
        Ok(Features {
            log_mel,
            duration_s: n_samples as f64 / f64::from(rate.0),
            warnings: audio.warnings().iter().map(ToString::to_string).collect(),
        })
    }
}

/// Takes samples at the front end's rate.
enum Sink {
    /// Turned into frames at once, and counted: a long recording is never held as samples.
    Frames(FrameStream, Frames, usize),
    /// Kept: what to trim is known at the end.
    Samples(Vec<f32>),
}

impl Sink {
    fn frames(extractor: &Extractor) -> Sink {
        Sink::Frames(extractor.stream(), Frames::new(extractor.front_end().n_mels), 0)
    }

    /// Takes the next samples; more than `limit` are not trimmed.
    fn push(&mut self, samples: &[f32], extractor: &Extractor, limit: usize) {
        if let Sink::Samples(kept) = self
            && kept.len() + samples.len() > limit
        {
            let kept = std::mem::take(kept);
            *self = Sink::frames(extractor);
            self.push(&kept, extractor, limit);
        }
        match self {
            Sink::Frames(stream, frames, n_samples) => {
                stream.push(samples, frames);
                *n_samples += samples.len();
            }
            Sink::Samples(kept) => kept.extend_from_slice(samples),
        }
    }

    /// The features, filled up to a window or not, and the number of samples that they were made from.
    fn finish(mut self, extractor: &Extractor, as_seen: AsSeen) -> (LogMel, usize) {
        if let Sink::Samples(samples) = &mut self {
            let kept = extractor.front_end().kept(samples);
            let samples = std::mem::take(samples);
            self = Sink::frames(extractor);
            self.push(&samples[kept], extractor, usize::MAX);
        }
        let Sink::Frames(stream, mut frames, n_samples) = self else { unreachable!("made so above") };
        match as_seen {
            AsSeen::ByPredict => stream.finish(&mut frames),
            AsSeen::ByLibrosa => stream.finish_unpadded(&mut frames),
        }
        (LogMel::from_frames(&frames, extractor.front_end()), n_samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_outputs_follow_those_of_inputs() {
        for (given, found, want) in [
            ("a.wav", "a.wav", "a"),
            ("x/a.wav", "x/a.wav", "a"),
            ("../x/a.b.wav", "../x/a.b.wav", "a.b"),
            ("folder", "folder/a.wav", "a"),
            ("folder/", "folder/deep/er/a.flac", "deep/er/a"),
            (".", "./a.wav", "a"),
            ("noending", "noending", "noending"),
        ] {
            assert_eq!(target(Path::new(given), Path::new(found)), Path::new(want), "{given} {found}");
        }
        assert_eq!(with_ending(Path::new("out/a.b"), ".npy"), Path::new("out/a.b.npy"));
    }
}
