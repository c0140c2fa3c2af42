//! The forms in which a timeline is written, reading by reading.

use std::io::{self, Write};

use intone::Reading;
use intone_server::ReadingAnswer;

use super::plot::Plot;
use crate::terminal::{Ink, Style, bar, column, width};

/// A form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people: a line for each span of the same emotion
    #[default]
    Table,
    /// One JSON array
    Json,
    /// One JSON object a line
    Jsonl,
    /// Comma-separated values with a header
    Csv,
    /// A plot: stacked confidences over time
    Svg,
}

/// Writes readings, one after the other.
pub(crate) struct Report {
    format: Format,
    style: Style,
    labels: Vec<String>,
    n_written: usize,
    /// For the one form that needs all readings at once.
    plot: Plot,
}

/// Columns of a bar.
const BAR_COLUMNS: usize = 24;

impl Report {
    pub(crate) fn new(format: Format, style: Style, labels: &[String]) -> Report {
        Report { format, style, labels: labels.to_vec(), n_written: 0, plot: Plot::new(labels) }
    }

    /// What stands before the first reading.
    pub(crate) fn begin(&self, out: &mut dyn Write) -> io::Result<()> {
        match self.format {
            Format::Json => write!(out, "["),
            Format::Csv => {
                let labels = self.labels.iter().map(String::as_str);
                let fields = ["start_s", "end_s", "label"].into_iter().chain(labels);
                csv_line(out, fields.chain(["silence", "uncertain", "voice"]))
            }
            Format::Table | Format::Jsonl | Format::Svg => Ok(()),
        }
    }

    /// The next reading, or span of them.
    pub(crate) fn write(&mut self, out: &mut dyn Write, reading: &Reading) -> io::Result<()> {
        self.n_written += 1;
        let answer = ReadingAnswer::from(reading);
        match self.format {
            Format::Table => self.row(out, &answer),
            Format::Json => {
                write!(out, "{}", if self.n_written == 1 { "\n  " } else { ",\n  " })?;
                json(out, &answer)
            }
            Format::Jsonl => {
                json(out, &answer)?;
                writeln!(out)
            }
            Format::Csv => {
                let start = [answer.start_s.to_string(), answer.end_s.to_string()];
                let scores = answer.scores.iter().map(|(_, probability)| probability.to_string());
                let end =
                    [answer.silence.to_string(), answer.uncertain.to_string(), answer.voice.to_string()];
                let label = std::iter::once(answer.label.clone().unwrap_or_default());
                let fields: Vec<String> = start.into_iter().chain(label).chain(scores).chain(end).collect();
                csv_line(out, fields.iter().map(String::as_str))
            }
            Format::Svg => {
                self.plot.push(&answer);
                Ok(())
            }
        }
    }

    /// What stands after the last reading.
    pub(crate) fn end(&self, out: &mut dyn Write) -> io::Result<()> {
        match self.format {
            Format::Json => writeln!(out, "\n]"),
            Format::Svg => self.plot.write(out),
            Format::Table | Format::Jsonl | Format::Csv => Ok(()),
        }
    }

    fn row(&self, out: &mut dyn Write, answer: &ReadingAnswer) -> io::Result<()> {
        let time = format!("{} \u{2013} {}", clock(answer.start_s), clock(answer.end_s));
        let time = self.style.paint(Ink::Faint, &column(&time, 21));
        let n_label = self.labels.iter().map(|label| width(label)).max().unwrap_or(0).max("\u{2014}".len());
        let Some(label) = &answer.label else {
            return writeln!(out, "{time}  {}", self.style.paint(Ink::Faint, "\u{2014}"));
        };
        let probability = answer.scores.iter().find(|(name, _)| name == label).map_or(0.0, |(_, p)| *p);
        let name = self.style.paint(Ink::Class(label), &column(label, n_label));
        let bar = self.style.paint(Ink::Class(label), &bar(probability, BAR_COLUMNS));
        let remark = if answer.uncertain { "  uncertain" } else { "" };
        writeln!(out, "{time}  {name}  {bar} {:3.0} %{remark}", 100.0 * probability)
    }
}

/// `0:03.5`, `1:02:03.0`.
pub(crate) fn clock(seconds: f64) -> String {
    let tenths = (seconds * 10.0).round() as u64;
    let (minutes, rest) = (tenths / 600, tenths % 600);
    let rest = format!("{:02}.{}", rest / 10, rest % 10);
    if minutes < 60 {
        format!("{minutes}:{rest}")
    } else {
        format!("{}:{:02}:{rest}", minutes / 60, minutes % 60)
    }
}

fn csv_line<'a>(out: &mut dyn Write, fields: impl Iterator<Item = &'a str>) -> io::Result<()> {
    // Through memory, so that an error of `out` keeps its kind.
    let mut line = csv::Writer::from_writer(Vec::new());
    line.write_record(fields).map_err(io::Error::other)?;
    out.write_all(&line.into_inner().map_err(|error| io::Error::other(error.to_string()))?)
}

fn json(out: &mut dyn Write, answer: &ReadingAnswer) -> io::Result<()> {
    let text = serde_json::to_string(answer).map_err(io::Error::other)?;
    out.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_readable() {
        let cases = [(0.0, "0:00.0"), (59.96, "1:00.0"), (75.25, "1:15.3"), (3_723.0, "1:02:03.0")];
        for (seconds, expected) in cases {
            assert_eq!(clock(seconds), expected);
        }
    }
}
