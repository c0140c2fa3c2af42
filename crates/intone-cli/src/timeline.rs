//! `intone timeline`: The emotions over the course of a recording.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use intone::timeline::Spans;
use intone::{Reading, Window};

use self::output::{Format, Report};
use crate::inputs;
use crate::predict::{shown, without_path};
use crate::terminal::{Style, complain};

pub(crate) use self::output::clock;

mod output;
mod plot;

/// The emotions over the course of a recording
///
/// Looks at it in overlapping windows. Where nobody speaks there is a gap. A recording of any length is read in one pass and
/// in constant memory, except for the plot.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Recording; `-` for standard input
    path: PathBuf,

    /// Model to use instead of the embedded one: a file, or hf:OWNER/NAME[@REVISION][/FILE]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) model: Option<PathBuf>,

    #[command(flatten)]
    window: WindowArgs,

    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    format: Format,

    /// Show every reading in the table, not only where the emotion changes
    #[arg(long)]
    all: bool,
}

/// The windows, on the command line.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct WindowArgs {
    /// Length of a window, seconds [default: 3, or the model's own]
    #[arg(short, long, value_name = "S")]
    window: Option<f64>,

    /// Distance between two windows, seconds [default: 1]
    #[arg(long, value_name = "S")]
    hop: Option<f64>,

    /// Time over which the readings are smoothed, seconds; 0 for none [default: 1]
    #[arg(long, value_name = "S")]
    smoothing: Option<f64>,
}

impl WindowArgs {
    pub(crate) fn window(self) -> Window {
        let mut window = self.window.map_or_else(Window::default, Window::seconds);
        if let Some(hop_s) = self.hop {
            window = window.hop(hop_s);
        }
        if let Some(smoothing_s) = self.smoothing {
            window = window.smoothing(smoothing_s);
        }
        window
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let recognizer = crate::predict::recognizer(args.model.as_deref())?;
    // A window that does not fit is an error of the command, whatever the recording.
    recognizer.stream_of(intone::SampleRate(16_000), args.window.window())?;
    let mut out = io::stdout().lock();
    let mut report = Report::new(args.format, Style::of_stdout(), recognizer.labels());
    let failed = |error: &anyhow::Error| {
        complain(format_args!("intone: {}: {}", shown(&args.path), without_path(error)));
        Ok(ExitCode::FAILURE)
    };
    let mut audio = match inputs::one(&args.path).open() {
        Ok(audio) => audio,
        Err(error) => {
            // Who reads tables and objects gets an empty one.
            if matches!(args.format, Format::Json | Format::Csv) {
                report.begin(&mut out)?;
                report.end(&mut out)?;
                out.flush()?;
            }
            return failed(&error);
        }
    };
    let mut stream = recognizer.stream_of(audio.sample_rate(), args.window.window())?;
    report.begin(&mut out)?;
    let mut spans = (!args.all && args.format == Format::Table).then(Spans::default);
    let mut write = |readings: Vec<Reading>, last: bool, out: &mut dyn Write| -> io::Result<()> {
        for reading in readings {
            match &mut spans {
                None => report.write(out, &reading)?,
                Some(spans) => {
                    if let Some(span) = spans.push(reading) {
                        report.write(out, &span)?;
                    }
                }
            }
        }
        if last {
            if let Some(span) = spans.take().and_then(Spans::finish) {
                report.write(out, &span)?;
            }
            report.end(out)?;
        }
        out.flush()
    };
    loop {
        let readings = match audio.next_chunk() {
            Ok(Some(samples)) => stream.push(samples)?,
            Ok(None) => break,
            Err(error) => {
                write(Vec::new(), true, &mut out)?;
                return failed(&error.into());
            }
        };
        if !readings.is_empty() {
            write(readings, false, &mut out)?;
        }
    }
    write(stream.finish()?, true, &mut out)?;
    for warning in audio.warnings() {
        complain(format_args!("intone: {}: warning: {warning}", shown(&args.path)));
    }
    Ok(ExitCode::SUCCESS)
}
