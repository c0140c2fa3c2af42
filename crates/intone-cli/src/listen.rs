//! `intone listen`: Emotions while somebody speaks.

use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use intone::{Reading, SampleRate, Stream};
use intone_server::ReadingAnswer;

use crate::terminal::{Ink, Style, bar, column, width};
use crate::timeline::{WindowArgs, clock};

#[cfg(feature = "mic")]
mod microphone;

/// Emotions while somebody speaks
///
/// Reads raw samples from standard input, 16-bit little-endian, mono, such as
/// `arecord -q -f S16_LE -r 48000 -t raw | intone listen --rate 48000` or
/// `ffmpeg -i rtsp://camera -f s16le -ac 1 -ar 16000 - | intone listen`. Built with the feature `mic` it hears the
/// microphone itself. Nothing is kept.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Samples per second of standard input, Hz
    #[arg(short, long, default_value_t = 16_000, value_name = "HZ")]
    rate: u32,

    /// Listen to the system's microphone instead, until Ctrl-C
    #[cfg(feature = "mic")]
    #[arg(long, conflicts_with = "rate")]
    microphone: bool,

    /// Model to use instead of the embedded one: a file, or hf:OWNER/NAME[@REVISION][/FILE]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) model: Option<PathBuf>,

    #[command(flatten)]
    window: WindowArgs,

    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    format: Format,
}

/// A form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Format {
    /// For people: bars that move on a terminal, else a line for each reading
    #[default]
    Table,
    /// One JSON object a line
    Jsonl,
}

/// Bytes that are read at a time: a twentieth of a second at 16 kHz, so that a reading is not kept waiting.
const N_BYTES: usize = 1_600;

/// Columns of a bar.
const BAR_COLUMNS: usize = 40;

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let recognizer = crate::predict::recognizer(args.model.as_deref())?;
    let mut view = View {
        format: args.format,
        style: Style::of_stdout(),
        moves: args.format == Format::Table && io::stdout().is_terminal(),
        labels: recognizer.labels().to_vec(),
        n_drawn: 0,
    };
    let mut out = io::stdout().lock();
    #[cfg(feature = "mic")]
    if args.microphone {
        let microphone = microphone::Microphone::open()?;
        let mut stream = recognizer.stream_of(microphone.sample_rate, args.window.window())?;
        let stopped = microphone::interrupted()?;
        for block in &microphone.blocks {
            let samples = block.map_err(|error| anyhow::anyhow!("the microphone: {error}"))?;
            view.show(&mut out, &stream.push(&samples)?)?;
            if stopped.load(std::sync::atomic::Ordering::Relaxed) {
                break;
            }
        }
        view.show(&mut out, &stream.finish()?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut stream = recognizer.stream_of(SampleRate(args.rate), args.window.window())?;
    if io::stdin().is_terminal() {
        anyhow::bail!("expected samples on standard input, got a terminal; see `intone listen --help`");
    }
    listen(&mut io::stdin().lock(), &mut stream, |readings| view.show(&mut out, &readings))?;
    view.show(&mut out, &stream.finish()?)?;
    Ok(ExitCode::SUCCESS)
}

/// Pushes what comes, until it ends. Half a sample at the end is no sound.
fn listen(
    input: &mut impl Read,
    stream: &mut Stream,
    mut show: impl FnMut(Vec<Reading>) -> io::Result<()>,
) -> anyhow::Result<()> {
    let mut bytes = [0; N_BYTES];
    let mut n_held = 0;
    let mut samples = Vec::with_capacity(N_BYTES / 2);
    loop {
        let n_read = match input.read(&mut bytes[n_held..]) {
            Ok(0) => return Ok(()),
            Ok(n_read) => n_read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        let n = n_held + n_read;
        let (pairs, odd) = bytes[..n].as_chunks::<2>();
        samples.clear();
        samples.extend(pairs.iter().map(|pair| f32::from(i16::from_le_bytes(*pair)) / 32_768.0));
        n_held = odd.len();
        bytes.copy_within(n - n_held..n, 0);
        let readings = stream.push(&samples)?;
        if !readings.is_empty() {
            show(readings)?;
        }
    }
}

/// Where readings are shown.
struct View {
    format: Format,
    style: Style,
    /// Whether each reading takes the place of the one before.
    moves: bool,
    labels: Vec<String>,
    /// Lines that the last reading took.
    n_drawn: usize,
}

impl View {
    fn show(&mut self, out: &mut impl Write, readings: &[Reading]) -> io::Result<()> {
        for reading in readings {
            let answer = ReadingAnswer::from(reading);
            match (self.format, self.moves) {
                (Format::Jsonl, _) => {
                    writeln!(out, "{}", serde_json::to_string(&answer).map_err(io::Error::other)?)?;
                }
                (Format::Table, true) => self.bars(out, &answer)?,
                (Format::Table, false) => self.line(out, &answer)?,
            }
        }
        out.flush()
    }

    /// All classes, in place of those before.
    fn bars(&mut self, out: &mut impl Write, answer: &ReadingAnswer) -> io::Result<()> {
        if self.n_drawn > 0 {
            // Up, and to the beginning of the line.
            write!(out, "\x1b[{}F", self.n_drawn)?;
        }
        let label = match &answer.label {
            Some(label) if answer.uncertain => format!("{label}, uncertain"),
            Some(label) => label.clone(),
            None => "nobody speaks".to_owned(),
        };
        writeln!(out, "\x1b[2K{}  {}", clock(answer.end_s), self.style.paint(Ink::Strong, &label))?;
        for (label, probability) in &answer.scores {
            let probability = if answer.silence { 0.0 } else { *probability };
            let name = self.style.paint(Ink::Class(label), &column(label, self.label_columns()));
            let bar = self.style.paint(Ink::Class(label), &bar(probability, BAR_COLUMNS));
            writeln!(out, "\x1b[2K  {name}  {bar} {:3.0} %", 100.0 * probability)?;
        }
        self.n_drawn = 1 + answer.scores.len();
        Ok(())
    }

    fn line(&self, out: &mut impl Write, answer: &ReadingAnswer) -> io::Result<()> {
        let time = column(&clock(answer.end_s), 9);
        let Some(label) = &answer.label else { return writeln!(out, "{time}  \u{2014}") };
        let probability = answer.scores.iter().find(|(name, _)| name == label).map_or(0.0, |(_, p)| *p);
        let name = self.style.paint(Ink::Class(label), &column(label, self.label_columns()));
        let remark = if answer.uncertain { "  uncertain" } else { "" };
        writeln!(out, "{time}  {name}  {:3.0} %{remark}", 100.0 * probability)
    }

    fn label_columns(&self) -> usize {
        self.labels.iter().map(|label| width(label)).max().unwrap_or(0)
    }
}
