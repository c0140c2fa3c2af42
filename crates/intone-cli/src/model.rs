//! `intone model`: Look into model files.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use intone::model::{Architecture, Model, ModelFile, ModelMeta, WhisperEncoder, onnx};
use intone::recognizer::EMBEDDED_MODEL;
use serde::Serialize;

use crate::terminal::{Ink, Style, printable, thousands};

mod calibrate;
mod card;
mod chain;
mod convert;
mod keras;

/// Look into model files
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print what a model file knows: network, features, classes, origin, results, licence
    Info(InfoArgs),
    /// Write a model file again with its weights in another form, such as int8 for the smallest file
    Convert(convert::Args),
    Calibrate(calibrate::Args),
    Card(card::CardArgs),
    /// Take over what others published: weights to train from, or a whole classifier
    #[command(subcommand)]
    Import(Import),
    /// Write a model for other programs
    #[command(subcommand)]
    Export(Export),
}

#[derive(Debug, Subcommand)]
enum Import {
    /// The encoder of a Whisper of any size: safetensors as `openai/whisper-tiny.en`, or CTranslate2's model.bin
    Whisper(ImportArgs),
    /// A convolutional classifier that was trained with Keras, ready for use. Nothing in the files is executed
    Keras(keras::Args),
}

#[derive(Debug, clap::Args)]
struct ImportArgs {
    /// The published file, with or without a decoder; also hf:OWNER/NAME[@REVISION][/FILE]
    file: PathBuf,

    /// File to write: the encoder alone, as safetensors under its published names
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Export {
    /// ONNX, opset 17: log-mel frames in, probabilities out, weights in f32; docs/model-file.md has the details
    Onnx(ExportArgs),
}

#[derive(Debug, clap::Args)]
struct ExportArgs {
    /// Model: a file, or hf:OWNER/NAME[@REVISION][/FILE]; without one, the embedded model
    #[arg(value_name = "MODEL")]
    model: Option<PathBuf>,

    /// File to write
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, clap::Args)]
struct InfoArgs {
    /// Model: a file, or hf:OWNER/NAME[@REVISION][/FILE]; without one, the embedded model
    file: Option<PathBuf>,

    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    format: Format,
}

/// A form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// One JSON object: the metadata as it lies in the file, and the file's own properties
    Json,
}

/// What a model file knows.
#[derive(Debug, Serialize)]
struct Info {
    /// The file's name; `None` for the embedded model.
    file: Option<String>,
    /// Size of the file, bytes.
    bytes: u64,
    /// Weights, with the statistics of normalisation layers.
    weights: usize,
    /// How the weights are stored: `f32`, `f16` or `int8`.
    precision: &'static str,
    #[serde(flatten)]
    meta: ModelMeta,
}

impl Args {
    /// Where a model file was given.
    pub(crate) fn models(&mut self) -> Vec<&mut PathBuf> {
        match &mut self.command {
            Command::Info(args) => args.file.iter_mut().collect(),
            Command::Convert(args) => vec![&mut args.input],
            Command::Calibrate(args) => vec![&mut args.model],
            Command::Card(args) => args.model.iter_mut().collect(),
            Command::Import(Import::Whisper(args)) => vec![&mut args.file],
            // Keras' files are no model files of this project.
            Command::Import(Import::Keras(_)) => Vec::new(),
            Command::Export(Export::Onnx(args)) => args.model.iter_mut().collect(),
        }
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Info(args) => info(args),
        Command::Convert(args) => convert::run(args),
        Command::Calibrate(args) => calibrate::run(args),
        Command::Card(args) => card::card(args),
        Command::Import(Import::Whisper(args)) => import(args),
        Command::Import(Import::Keras(args)) => keras::import(args),
        Command::Export(Export::Onnx(args)) => export(args),
    }
}

fn export(args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let file = model_file(args.model.as_deref())?;
    onnx::write(file, &args.out).map_err(|error| match &args.model {
        Some(path) => error.in_file(path),
        None => error,
    })?;
    Ok(ExitCode::SUCCESS)
}

/// A model file, or the embedded model.
pub(crate) fn model_file(path: Option<&Path>) -> anyhow::Result<ModelFile> {
    Ok(match path {
        Some(path) => ModelFile::open(path)?,
        None => ModelFile::read(EMBEDDED_MODEL)?,
    })
}

fn import(args: &ImportArgs) -> anyhow::Result<ExitCode> {
    let encoder = WhisperEncoder::open(&args.file)?;
    encoder.write(&args.out)?;
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{}: {} blocks of {} values, {} weights",
        printable(&args.out.to_string_lossy()),
        encoder.n_blocks,
        encoder.width,
        thousands(encoder.tensors.values().map(|tensor| tensor.data.len()).sum())
    )?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn info(args: &InfoArgs) -> anyhow::Result<ExitCode> {
    let info = read(args.file.as_deref())?;
    let mut out = io::stdout().lock();
    match args.format {
        Format::Text => out.write_all(text(&info, Style::of_stdout()).as_bytes())?,
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&info)?)?,
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Reads a model file, and proves that its network can be built.
fn read(path: Option<&Path>) -> anyhow::Result<Info> {
    let (file, bytes) = match path {
        Some(path) => (ModelFile::open(path)?, std::fs::metadata(path)?.len()),
        None => (ModelFile::read(EMBEDDED_MODEL)?, EMBEDDED_MODEL.len() as u64),
    };
    let (weights, precision) = (file.n_values(), file.precision.name());
    Model::new(&file.meta.architecture, file.tensors).map_err(|error| match path {
        Some(path) => error.in_file(path),
        None => error,
    })?;
    let file_name = path.map(|path| path.to_string_lossy().into_owned());
    Ok(Info { file: file_name, bytes, weights, precision, meta: file.meta })
}

fn text(info: &Info, style: Style) -> String {
    let ModelMeta { architecture, front_end, labels, temperature, gap_exponent, short_s, provenance, .. } =
        &info.meta;
    let mut page = Page { text: String::new(), style };
    page.title(info.file.as_deref().unwrap_or("the embedded model"));
    page.line("size", &format!("{} in {}", megabytes(info.bytes), info.precision));
    page.line("weights", &thousands(info.weights));
    page.line("format", &format!("version {}", info.meta.format_version));
    page.line("classes", &labels.join(", "));
    page.line("temperature", &temperature.to_string());
    if *gap_exponent != 1.0 {
        page.line("gap exponent", &gap_exponent.to_string());
    }
    if *short_s > 0.0 {
        page.line("short", &format!("less sound than {short_s:.2} s: the temperature rises as it gets less"));
    }
    if info.meta.uncertain_below > 0.0 {
        page.line("uncertain", &format!("below a probability of {:.1} %", 100.0 * info.meta.uncertain_below));
    }

    page.title("network");
    page.line("architecture", architecture.name());
    match architecture {
        Architecture::Vgg(vgg) => {
            let blocks = vgg.channels.iter().zip(&vgg.convs_per_block);
            let blocks = blocks.map(|(channels, n)| format!("{n} x {channels}")).collect::<Vec<_>>();
            let dense = vgg.dense.iter().map(ToString::to_string);
            let dense: Vec<_> = dense.chain([vgg.n_classes.to_string()]).collect();
            page.line("input", &format!("{} mel bands x {} frames", vgg.n_mels, vgg.n_frames));
            page.line(
                "convolutions",
                &format!("{} (3 x 3, pooled by 2 after each group)", blocks.join(", ")),
            );
            page.line("dense", &dense.join(", "));
        }
        Architecture::Encoder(encoder) => {
            page.line("input", &format!("{} mel bands x up to {} frames", encoder.n_mels, encoder.n_frames));
            page.line(
                "convolutions",
                &format!("2 x {} (over 3 frames, the second halves their number)", encoder.width),
            );
            page.line(
                "blocks",
                &format!(
                    "{} x ({} heads over {} values, {} in the middle)",
                    encoder.n_blocks, encoder.n_heads, encoder.width, encoder.hidden
                ),
            );
            let dense = encoder.dense.iter().map(ToString::to_string);
            let dense: Vec<_> = dense.chain([encoder.n_classes.to_string()]).collect();
            let pooled: Vec<_> = encoder.pooled_layers.iter().map(ToString::to_string).collect();
            let pooled = match &pooled[..] {
                [] => "the weighted sum of all layers".to_owned(),
                [one] => format!("layer {one}"),
                _ => format!("each of the layers {}", pooled.join(", ")),
            };
            page.line(
                "pooling",
                &format!("mean and standard deviation of {pooled}, weighted by {} units", encoder.pooling),
            );
            page.line("dense", &dense.join(", "));
        }
        Architecture::Chain(config) => {
            page.line("input", &format!("{} mel bands x {} frames", config.n_mels, config.n_frames));
            chain::lines(config).iter().for_each(|line| page.line("", line));
        }
        other => page.line("details", &format!("{other:?}")),
    }

    page.title("front end");
    let n_samples = match front_end.style {
        // Its frames go as far as the samples do.
        intone::features::Style::Whisper => front_end.n_frames * front_end.hop_length,
        intone::features::Style::Librosa => front_end.min_samples(),
    };
    let window_s = n_samples as f64 / f64::from(front_end.sample_rate_hz);
    page.line("window", &format!("{window_s:.2} s at {} Hz", front_end.sample_rate_hz));
    page.line("transform", &format!("{} samples, every {}", front_end.n_fft, front_end.hop_length));
    page.line(
        "mel bands",
        &format!("{} from {} to {} Hz", front_end.n_mels, front_end.fmin_hz, front_end.fmax_hz),
    );
    page.line("range", &format!("{} dB below the window's peak", front_end.top_db));
    if front_end.filling == intone::features::Filling::Peak {
        page.line("filled up", "with the window's peak");
    }
    page.line("trimmed", &front_end.trim_top_db.map_or("no".into(), |db| format!("{db} dB below the peak")));

    page.title("origin");
    page.line("created", &provenance.created);
    page.line("commit", &provenance.commit);
    page.line("began with", provenance.init_sha256.as_deref().unwrap_or_default());
    for corpus in &provenance.corpora {
        let licence = if corpus.licence.is_empty() { "licence unknown" } else { &corpus.licence };
        page.line("corpus", &format!("{}: {} clips, {licence}", corpus.name, thousands(corpus.clips)));
        page.line("", &corpus.hash);
    }
    page.line("protocol", &provenance.protocol);
    page.line("split", &provenance.split_hash);
    page.line("seed", &provenance.seed.to_string());

    if !provenance.scores.is_empty() {
        page.title("results");
        for (name, score) in &provenance.scores {
            page.line(name, &format!("{score:.4}"));
        }
    }

    page.title("use");
    page.line("licence", &provenance.licence);
    page.line("intended use", &provenance.intended_use);
    page.line("notes", &provenance.notes);

    if !provenance.config.is_empty() {
        page.title("training configuration");
        for line in provenance.config.trim_end().lines() {
            page.line("", line);
        }
    }
    page.text
}

/// Titles and lines of a name and a value, which comes from a file and so is not printed as it is.
struct Page {
    text: String,
    style: Style,
}

impl Page {
    fn title(&mut self, title: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text += &self.style.paint(Ink::Strong, &printable(title));
        self.text.push('\n');
    }

    /// A line, or several where the value has several; none where it has none.
    fn line(&mut self, name: &str, value: &str) {
        for (index, part) in value.lines().enumerate() {
            let name = if index == 0 { printable(name) } else { String::new() };
            let name = self.style.paint(Ink::Faint, &format!("{name:<13} "));
            self.text += format!("  {name}{}", printable(part)).trim_end();
            self.text.push('\n');
        }
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use intone::features::FrontEnd;
    use intone::model::{CorpusInfo, Provenance, VggConfig};

    use super::*;

    fn info() -> Info {
        let labels = ["angry", "disgust", "fear", "happy", "neutral", "sad"].map(String::from).to_vec();
        let mut meta =
            ModelMeta::new(Architecture::Vgg(VggConfig::reference()), FrontEnd::reference(), labels);
        meta.provenance = Provenance {
            created: "2026-01-31T12:00:00Z".into(),
            commit: "a42b3d4".into(),
            config: "[train]\nseed = 7\n".into(),
            init_sha256: Some("0f3c".into()),
            corpora: vec![CorpusInfo { name: "crema-d".into(), clips: 7442, ..CorpusInfo::default() }],
            scores: BTreeMap::from([("test_uar".into(), 0.61234)]),
            intended_use: "Research.\nNot \x1b[31mfor hiring.".into(),
            ..Provenance::default()
        };
        let file = Some("m.safetensors".into());
        Info { file, bytes: 9_640_000, weights: 4_812_345, precision: "f16", meta }
    }

    #[test]
    fn the_page_says_what_the_file_knows() {
        let page = text(&info(), Style { colours: false });
        for line in [
            "m.safetensors",
            "  size          9.6 MB in f16",
            "  weights       4,812,345",
            "  classes       angry, disgust, fear, happy, neutral, sad",
            "  convolutions  2 x 32, 2 x 64, 2 x 128, 1 x 256 (3 x 3, pooled by 2 after each group)",
            "  dense         256, 128, 6",
            "  window        3.00 s at 22050 Hz",
            "  trimmed       no",
            "  began with    0f3c",
            "  corpus        crema-d: 7,442 clips, licence unknown",
            "  test_uar      0.6123",
            "  intended use  Research.",
            "                Not \u{fffd}[31mfor hiring.",
            "                seed = 7",
        ] {
            assert!(page.lines().any(|other| other == line), "{line:?} is not in\n{page}");
        }
        assert!(!page.contains("protocol"), "what is not known is not shown");
    }

    #[test]
    fn the_json_holds_the_metadata_as_it_is() {
        let json = serde_json::to_value(info()).unwrap();
        assert_eq!(json["bytes"], 9_640_000);
        assert_eq!(json["architecture"]["name"], "vgg");
        assert_eq!(json["front_end"]["n_mels"], 128);
        assert_eq!(json["provenance"]["scores"]["test_uar"], 0.61234);
    }
}
