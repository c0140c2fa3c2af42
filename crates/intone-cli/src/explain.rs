//! `intone explain`: what an answer rests on, as a picture.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use indicatif::ProgressBar;
use intone::Recognizer;
use intone::audio::Audio;
use intone::features::{Frames, FrontEnd, LogMel};
use intone::model::Model;
use intone::recognizer::{MAX_TRIMMED_S, View};
use intone_train::explain::{Evidence, MAX_EXPLAINED_S, occlusion, randomised, rank_correlation};

use crate::features::picture::{Format, write_evidence};
use crate::inputs;
use crate::predict::{shown, without_path};
use crate::progress::counting_bar;
use crate::terminal::complain;

/// Seed of the weights of the sanity check.
const SEED: u64 = 1;

/// Show what an answer rests on
///
/// Hides parts of the recording's log-mel spectrogram, one after the other, asks the model again, and draws by how much the
/// log-odds of the answer fall: orange speaks for the answer, blue against it. The picture shows what the network hears,
/// without silent ends where its front end trims them; its times, and those that are printed, begin there. Exit code 0: the
/// answer was explained; 1: the recording cannot be read, has no answer or is too long; 2: the command line or the model cannot
/// be used.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A recording of at most 30 s, `-` for standard input
    file: PathBuf,

    /// Picture to write, FILE.png or FILE.svg
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,

    /// Model to use instead of the embedded one: a file, or hf:OWNER/NAME[@REVISION][/FILE]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) model: Option<PathBuf>,

    /// Explain this emotion instead of the most probable one
    #[arg(long, value_name = "LABEL")]
    class: Option<String>,

    /// Also explain a network of the same shape with random weights, and say how alike the pictures are: if they are alike,
    /// both show the recording and not the evidence
    #[arg(long, value_name = "FILE")]
    random_weights: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    for path in [&args.out].into_iter().chain(&args.random_weights) {
        format_of(path)?;
    }
    let file = crate::model::model_file(args.model.as_deref())?;
    let labels = &file.meta.labels;
    let expected: Vec<&str> = intone::Emotion::ALL.map(intone::Emotion::name).to_vec();
    if *labels != expected {
        bail!("the model's labels: expected {}, got {}", expected.join(", "), labels.join(", "));
    }
    let place = |label: &str| {
        let place = labels.iter().position(|known| known == label);
        place.with_context(|| format!("--class: expected one of {}, got '{label}'", labels.join(", ")))
    };
    let class = args.class.as_deref().map(place).transpose()?;
    let recognizer = crate::predict::recognizer(args.model.as_deref())?;
    let view = match decoded(&args.file).and_then(|audio| looked_at(&audio, &recognizer)) {
        Ok(view) => view,
        Err(error) => {
            complain(format_args!("intone: {}: {}", shown(&args.file), without_path(&error)));
            return Ok(ExitCode::FAILURE);
        }
    };
    // What `intone predict` says.
    let class = class.map_or_else(|| place(view.scores.label().unwrap_or_default()), Ok)?;
    let front_end = &file.meta.front_end;
    let own = &view.frames.values()[..view.n_own * view.frames.n_mels()];
    let log_mel = LogMel::from_frames(&Frames::from_values(view.frames.n_mels(), own.to_vec())?, front_end);
    let explain = |tensors| -> anyhow::Result<Evidence> {
        let model = Model::new(&file.meta.architecture, tensors)?;
        let mut bar: Option<ProgressBar> = None;
        let mut progress = |done: usize, n: usize| {
            bar.get_or_insert_with(|| counting_bar(n, "patches")).set_position(done as u64);
        };
        let calibration = file.meta.calibration();
        let evidence = occlusion(&model, front_end, calibration, (&view).into(), Some(class), &mut progress);
        bar.iter().for_each(ProgressBar::finish_and_clear);
        Ok(evidence?)
    };
    let draw = |path: &Path, evidence: &Evidence| {
        let write = || {
            let mut out = BufWriter::new(File::create(path)?);
            let duration_s = front_end.frames_s(view.n_own);
            write_evidence(&mut out, &log_mel, &evidence.values, front_end, duration_s, format_of(path)?)?;
            anyhow::Ok(out.flush()?)
        };
        write().with_context(|| path.display().to_string())
    };
    let evidence = explain(file.tensors.clone())?;
    draw(&args.out, &evidence)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}, probability {:.1} %", labels[class], 100.0 * view.scores.probabilities()[class])?;
    print_summary(&evidence, view.n_own, front_end, &mut out)?;
    if let Some(path) = &args.random_weights {
        let random = explain(randomised(&file.tensors, SEED))?;
        draw(path, &random)?;
        let likeness = rank_correlation(&evidence.values, &random.values);
        writeln!(
            out,
            "rank correlation with the picture of random weights: {likeness:.2} (1: the same picture)"
        )?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// The recording, of a length that may be explained once its silent ends are gone.
fn decoded(path: &Path) -> anyhow::Result<Audio> {
    let mut stream = inputs::one(path).open()?;
    let rate = stream.sample_rate();
    let mut samples = Vec::new();
    while let Some(chunk) = stream.next_chunk()? {
        samples.extend_from_slice(chunk);
        if samples.len() as f64 > MAX_TRIMMED_S * f64::from(rate.0) {
            bail!("expected at most {MAX_EXPLAINED_S} s to explain, got more than {MAX_TRIMMED_S} s");
        }
    }
    for warning in stream.warnings() {
        complain(format_args!("intone: {}: warning: {warning}", shown(path)));
    }
    Ok(Audio::new(samples, rate)?)
}

/// What `intone predict` looks at, and what it answers.
fn looked_at(audio: &Audio, recognizer: &Recognizer) -> anyhow::Result<View> {
    let view = recognizer.view(audio)?;
    if view.scores.silence {
        bail!("silence has no evidence for anything");
    }
    let length_s = recognizer.meta().front_end.frames_s(view.n_own);
    if length_s > MAX_EXPLAINED_S + 1.0 {
        bail!("expected at most {MAX_EXPLAINED_S} s to explain, got {length_s:.1} s");
    }
    Ok(view)
}

/// What a picture of this name is.
fn format_of(path: &Path) -> anyhow::Result<Format> {
    let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
    match ending.as_ref().and_then(|ending| ending.to_str()) {
        Some("png") => Ok(Format::Png),
        Some("svg") => Ok(Format::Svg),
        _ => bail!("{}: expected a picture's name, FILE.png or FILE.svg", path.display()),
    }
}

/// Where the strongest evidence lies.
fn print_summary(
    evidence: &Evidence,
    n_own: usize,
    front_end: &FrontEnd,
    out: &mut impl Write,
) -> io::Result<()> {
    let n_frames = n_own.max(1);
    let strongest = |better: fn(f32, f32) -> bool| {
        (0..evidence.values.len())
            .fold(0, |best, at| if better(evidence.values[at], evidence.values[best]) { at } else { best })
    };
    for (what, at) in [("for", strongest(|a, b| a > b)), ("against", strongest(|a, b| a < b))] {
        let value = evidence.values.get(at).copied().unwrap_or_default();
        if (what == "for") == (value > 0.0) && value != 0.0 {
            let seconds = front_end.frames_s(at % n_frames);
            writeln!(
                out,
                "strongest evidence {what} it: {value:+.2} nats at {seconds:.2} s, mel band {}",
                at / n_frames
            )?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strongest_evidence_has_its_time() {
        // One second in the reference's front end has 44 frames.
        let mut values = vec![0.0; 128 * 44];
        (values[3 * 44 + 40], values[100 * 44 + 11]) = (2.0, -1.5);
        let evidence = Evidence { class: 0, probability: 0.9, values };
        let mut out = Vec::new();
        print_summary(&evidence, 44, &FrontEnd::reference(), &mut out).unwrap();
        let expected = "strongest evidence for it: +2.00 nats at 0.93 s, mel band 3\n\
                        strongest evidence against it: -1.50 nats at 0.26 s, mel band 100\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
