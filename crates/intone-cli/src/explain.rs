//! `intone explain`: what an answer rests on, as a picture.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use intone::audio::{Audio, SampleRate};
use intone::features::{Extractor, Frames, LogMel};
use intone::model::{Model, ModelFile};
use intone::recognizer::EMBEDDED_MODEL;
use intone_train::explain::{Evidence, occlusion, randomised, rank_correlation};

use crate::features::picture::{Format, write_evidence};

/// Seed of the weights of the sanity check.
const SEED: u64 = 1;

/// Show what an answer rests on
///
/// Hides parts of the recording's log-mel spectrogram, one after the other, asks the model again, and draws by how much the
/// log-odds of the answer fall: orange speaks for the answer, blue against it. The picture shows what the network hears,
/// without silent ends where its front end trims them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A recording of at most 30 s
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
    let file = match &args.model {
        Some(path) => ModelFile::open(path)?,
        None => ModelFile::read(EMBEDDED_MODEL)?,
    };
    let labels = &file.meta.labels;
    let expected: Vec<&str> = intone::Emotion::ALL.map(intone::Emotion::name).to_vec();
    if *labels != expected {
        bail!("the model's labels: expected {}, got {}", expected.join(", "), labels.join(", "));
    }
    let wanted = |label: &String| {
        let place = labels.iter().position(|known| known == label);
        place.with_context(|| format!("--class: expected one of {}, got '{label}'", labels.join(", ")))
    };
    let class = args.class.as_ref().map(wanted).transpose()?;
    let front_end = &file.meta.front_end;
    let audio = Audio::open(&args.file)?.resample(SampleRate(front_end.sample_rate_hz))?;
    // What `intone predict` looks at.
    let samples = match audio.samples().len() <= front_end.max_trimmed() {
        true => front_end.trimmed(audio.samples()),
        false => audio.samples().to_vec(),
    };
    if samples.iter().all(|x| *x == 0.0) {
        bail!("{}: silence has no evidence for anything", args.file.display());
    }
    let frames = Extractor::new(front_end)?.frames(&samples);
    let log_mel = LogMel::from_frames(&frames, front_end);
    let duration_s = samples.len() as f64 / f64::from(front_end.sample_rate_hz);
    let explain = |tensors, class| -> anyhow::Result<Evidence> {
        let model = Model::new(&file.meta.architecture, tensors)?;
        Ok(occlusion(&model, front_end, file.meta.calibration(), &frames, class)?)
    };
    let draw = |path: &Path, evidence: &Evidence| {
        let write = || {
            let mut out = BufWriter::new(File::create(path)?);
            write_evidence(&mut out, &log_mel, &evidence.values, front_end, duration_s, format_of(path)?)?;
            anyhow::Ok(out.flush()?)
        };
        write().with_context(|| path.display().to_string())
    };
    let evidence = explain(file.tensors.clone(), class)?;
    draw(&args.out, &evidence)?;
    let mut out = io::stdout().lock();
    let name = &labels[evidence.class];
    writeln!(out, "{name}, probability {:.1} %", 100.0 * evidence.probability)?;
    print_summary(&evidence, &frames, duration_s, &mut out)?;
    if let Some(path) = &args.random_weights {
        let random = explain(randomised(&file.tensors, SEED), Some(evidence.class))?;
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
    frames: &Frames,
    duration_s: f64,
    out: &mut impl Write,
) -> io::Result<()> {
    let n_frames = frames.range().len().max(1);
    let strongest = |better: fn(f32, f32) -> bool| {
        (0..evidence.values.len())
            .fold(0, |best, at| if better(evidence.values[at], evidence.values[best]) { at } else { best })
    };
    for (what, at) in [("for", strongest(|a, b| a > b)), ("against", strongest(|a, b| a < b))] {
        let value = evidence.values.get(at).copied().unwrap_or_default();
        if (what == "for") == (value > 0.0) && value != 0.0 {
            let seconds = (at % n_frames) as f64 / n_frames as f64 * duration_s;
            writeln!(
                out,
                "strongest evidence {what} it: {value:+.2} nats at {seconds:.2} s, mel band {}",
                at / n_frames
            )?;
        }
    }
    Ok(())
}
