//! The forms in which answers are written.

use std::io::{self, Write};
use std::path::Path;

pub(crate) use intone_server::Answer;

use crate::terminal::{Ink, Style, bar, column, printable, width};

/// A form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people: a chart for one recording, a table for several
    #[default]
    Table,
    /// One JSON array
    Json,
    /// One JSON object a line
    Jsonl,
    /// Comma-separated values with a header
    Csv,
    /// Apache Parquet, to a file
    Parquet,
}

/// The names of the columns in tables for programs.
pub(super) fn columns(labels: &[String]) -> Vec<String> {
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let behind = names(&["silence", "uncertain", "duration_s", "windows", "error"]);
    [names(&["path", "label"]), labels.to_vec(), behind].concat()
}

/// What came of one recording.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    Answer(Answer),
    Error(String),
}

/// The classes, the most probable first; equal ones as they come.
fn ranking(answer: &Answer) -> Vec<(&str, f32)> {
    let mut ranking: Vec<_> = answer.scores.iter().map(|(label, p)| (label.as_str(), *p)).collect();
    ranking.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranking
}

/// Writes the answers, one after the other.
#[derive(Debug)]
pub(crate) struct Report {
    format: Format,
    style: Style,
    /// Names of the classes that an answer can have.
    labels: Vec<String>,
    /// Columns that the paths take in a table.
    n_path: usize,
    /// Number of recordings.
    n_inputs: usize,
    /// Number of classes to show in a row of the table.
    n_shown: usize,
    n_written: usize,
}

/// The widest column of paths in a table.
const MAX_PATH_COLUMNS: usize = 60;

/// Columns of a bar.
const BAR_COLUMNS: usize = 20;

impl Report {
    /// A report on the recordings at `paths`, with `top` classes each if the user asked for a number.
    pub(crate) fn new<'a>(
        format: Format,
        style: Style,
        labels: Vec<String>,
        top: Option<usize>,
        paths: impl ExactSizeIterator<Item = &'a Path>,
    ) -> Report {
        let n_inputs = paths.len();
        let n_path = paths.map(|path| width(&shown(path))).max().unwrap_or(0).clamp(4, MAX_PATH_COLUMNS);
        Report { format, style, labels, n_path, n_inputs, n_shown: top.unwrap_or(1), n_written: 0 }
    }

    /// What stands before the first answer.
    pub(crate) fn begin(&self, out: &mut impl Write) -> io::Result<()> {
        match self.format {
            Format::Table if self.n_inputs > 1 => {
                let n_label = self.label_columns();
                let heading = format!(
                    "{}  {}  {}",
                    column("FILE", self.n_path),
                    column("EMOTION", n_label + 1 + BAR_COLUMNS + 6),
                    column("    LENGTH", 10),
                );
                writeln!(out, "{}", self.style.paint(Ink::Strong, heading.trim_end()))
            }
            Format::Table | Format::Jsonl | Format::Parquet => Ok(()),
            Format::Json => write!(out, "["),
            Format::Csv => csv_line(out, columns(&self.labels).iter().map(String::as_str)),
        }
    }

    /// What came of the next recording.
    pub(crate) fn write(&mut self, out: &mut impl Write, path: &Path, outcome: &Outcome) -> io::Result<()> {
        self.n_written += 1;
        match self.format {
            Format::Table if self.n_inputs > 1 => self.row(out, path, outcome),
            Format::Table => self.chart(out, path, outcome),
            Format::Json => {
                write!(out, "{}", if self.n_written == 1 { "\n  " } else { ",\n  " })?;
                json(out, path, outcome)
            }
            // The rows that a Parquet file is made of at the end.
            Format::Jsonl | Format::Parquet => {
                json(out, path, outcome)?;
                writeln!(out)
            }
            Format::Csv => self.record(out, path, outcome),
        }
    }

    /// What stands after the last answer.
    pub(crate) fn end(&self, out: &mut impl Write) -> io::Result<()> {
        match self.format {
            Format::Json => writeln!(out, "\n]"),
            _ => Ok(()),
        }
    }

    /// The answer for the only recording: all its classes.
    fn chart(&self, out: &mut impl Write, path: &Path, outcome: &Outcome) -> io::Result<()> {
        let path = self.style.paint(Ink::Strong, &shown(path));
        let answer = match outcome {
            Outcome::Error(error) => {
                return writeln!(out, "{path}  {}", self.style.paint(Ink::Error, &failure(error)));
            }
            Outcome::Answer(answer) => answer,
        };
        let length = self.style.paint(Ink::Faint, &length(answer.duration_s));
        if answer.silence {
            return writeln!(out, "{path}  {length}  silence: there is nothing to be heard");
        }
        let remark = if answer.uncertain { "  uncertain: answers this unsure are often wrong" } else { "" };
        writeln!(out, "{path}  {length}{remark}")?;
        for (label, probability) in ranking(answer) {
            let label_column = column(label, self.label_columns());
            let bar = bar(probability, 2 * BAR_COLUMNS);
            let (label, bar) = (Ink::Class(label), self.style.paint(Ink::Class(label), &bar));
            let label = self.style.paint(label, &label_column);
            writeln!(out, "  {label}  {bar}  {:5.1} %", 100.0 * probability)?;
        }
        Ok(())
    }

    /// One line of the table for several recordings.
    fn row(&self, out: &mut impl Write, path: &Path, outcome: &Outcome) -> io::Result<()> {
        let path = column(&shown(path), self.n_path);
        let answer = match outcome {
            Outcome::Error(error) => {
                return writeln!(out, "{path}  {}", self.style.paint(Ink::Error, &failure(error)));
            }
            Outcome::Answer(answer) => answer,
        };
        let ranking = if answer.silence { Vec::new() } else { ranking(answer) };
        let (label, probability) = ranking.first().copied().unwrap_or(("silence", 0.0));
        let percent =
            if answer.silence { "     ".to_owned() } else { format!("{:3.0} %", 100.0 * probability) };
        let ink = if answer.silence { Ink::Faint } else { Ink::Class(label) };
        let label = self.style.paint(ink, &column(label, self.label_columns()));
        let bar = self.style.paint(ink, &bar(probability, BAR_COLUMNS));
        let length = self.style.paint(Ink::Faint, &format!("{:>10}", length(answer.duration_s)));
        write!(out, "{path}  {label} {bar} {percent}  {length}")?;
        for (label, probability) in ranking.iter().skip(1).take(self.n_shown.saturating_sub(1)) {
            let label_column = column(label, self.label_columns());
            let label = self.style.paint(Ink::Class(label), &label_column);
            write!(out, "  {label} {:3.0} %", 100.0 * probability)?;
        }
        writeln!(out, "{}", if answer.uncertain { "  uncertain" } else { "" })
    }

    fn record(&self, out: &mut impl Write, path: &Path, outcome: &Outcome) -> io::Result<()> {
        let path = in_row(path);
        let fields: Vec<String> = match outcome {
            Outcome::Answer(answer) => {
                let score = |label: &String| answer.scores.iter().find(|(other, _)| other == label);
                let scores = self.labels.iter().map(|label| score(label).map(|(_, p)| p.to_string()));
                [path, answer.label.clone().unwrap_or_default()]
                    .into_iter()
                    .chain(scores.map(Option::unwrap_or_default))
                    .chain([answer.silence.to_string(), answer.uncertain.to_string()])
                    .chain([answer.duration_s.to_string()])
                    .chain([answer.windows.to_string(), String::new()])
                    .collect()
            }
            Outcome::Error(error) => {
                let nothing = std::iter::repeat_n(String::new(), self.labels.len() + 5);
                std::iter::once(path).chain(nothing).chain([error.clone()]).collect()
            }
        };
        csv_line(out, fields.iter().map(String::as_str))
    }

    fn label_columns(&self) -> usize {
        self.labels.iter().map(|label| width(label)).max().unwrap_or(0).max("silence".len())
    }
}

/// A path as it stands in a row: bytes that are no UTF-8 as `\xff`, and in such a path, or one that looks like one, `\` as `\\`. So
/// each recording has a row of its own.
pub(super) fn in_row(path: &Path) -> String {
    let bytes = path.as_os_str().as_encoded_bytes();
    if let Ok(text) = std::str::from_utf8(bytes)
        && !looks_escaped(bytes)
    {
        return text.to_owned();
    }
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(&chunk.valid().replace('\\', "\\\\"));
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

/// Whether there is a `\x80` to `\xff`, in letters.
fn looks_escaped(bytes: &[u8]) -> bool {
    let is_high = |digit: u8| matches!(digit, b'8' | b'9' | b'a'..=b'f');
    let is_escape = |four: &[u8]| {
        four.starts_with(b"\\x") && is_high(four[2]) && matches!(four[3], b'0'..=b'9' | b'a'..=b'f')
    };
    bytes.windows(4).any(is_escape)
}

/// A path as people read it.
pub(crate) fn shown(path: &Path) -> String {
    match path.to_str() {
        Some("-") => "standard input".to_owned(),
        _ => printable(&path.to_string_lossy()),
    }
}

fn failure(error: &str) -> String {
    format!("error: {}", printable(error))
}

/// `2.1 s`, `4:05 min`, `1:02:03 h`.
fn length(duration_s: f64) -> String {
    let whole_s = duration_s.round() as u64;
    match whole_s {
        0..100 => format!("{duration_s:.1} s"),
        100..3600 => format!("{}:{:02} min", whole_s / 60, whole_s % 60),
        _ => format!("{}:{:02}:{:02} h", whole_s / 3600, whole_s / 60 % 60, whole_s % 60),
    }
}

fn csv_line<'a>(out: &mut impl Write, fields: impl Iterator<Item = &'a str>) -> io::Result<()> {
    // Through memory, so that an error of `out` keeps its kind.
    let mut line = csv::Writer::from_writer(Vec::new());
    line.write_record(fields).map_err(io::Error::other)?;
    out.write_all(&line.into_inner().map_err(|error| io::Error::other(error.to_string()))?)
}

fn json(out: &mut impl Write, path: &Path, outcome: &Outcome) -> io::Result<()> {
    #[derive(serde::Serialize)]
    struct Row<'a> {
        path: &'a str,
        #[serde(flatten)]
        answer: Option<&'a Answer>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a str>,
    }
    let (answer, error) = match outcome {
        Outcome::Answer(answer) => (Some(answer), None),
        Outcome::Error(error) => (None, Some(error.as_str())),
    };
    let row = Row { path: &in_row(path), answer, error };
    let text = serde_json::to_string(&row).map_err(io::Error::other)?;
    out.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(scores: &[(&str, f32)], duration_s: f64) -> Outcome {
        let best = scores.iter().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(label, _)| (*label).to_owned());
        Outcome::Answer(Answer {
            label: best,
            scores: scores.iter().map(|(label, p)| ((*label).to_owned(), *p)).collect(),
            silence: false,
            uncertain: false,
            duration_s,
            windows: 2,
            silent_windows: 0,
            embedding: None,
            warnings: vec![],
        })
    }

    /// An answer, silence, a failure.
    fn outcomes() -> Vec<(&'static str, Outcome)> {
        let mut silence = answer(&[("angry", 0.5), ("sad", 0.5)], 4_000.0);
        if let Outcome::Answer(silence) = &mut silence {
            (silence.label, silence.silence) = (None, true);
            (silence.windows, silence.silent_windows) = (1, 1);
            silence.warnings = vec!["it ends too early".into()];
        }
        vec![
            ("calls/one, two.wav", answer(&[("angry", 0.75), ("sad", 0.25)], 2.1)),
            ("calls/quiet.wav", silence),
            ("bad\x1b[31m.wav", Outcome::Error("no \"audio\",\nsorry".into())),
        ]
    }

    #[cfg(unix)]
    #[test]
    fn no_two_paths_have_the_same_row() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let row = |name: &[u8]| in_row(Path::new(OsStr::from_bytes(name)));
        for (name, expected) in [
            (&b"a/b.wav"[..], "a/b.wav"),
            (b"a\\b.wav", "a\\b.wav"),
            (b"\\x64.wav", "\\x64.wav"),
            (b"\xff.wav", "\\xff.wav"),
            (b"\\xff.wav", "\\\\xff.wav"),
            (b"\\\xff.wav", "\\\\\\xff.wav"),
            (b"\\\\xff.wav", "\\\\\\\\xff.wav"),
        ] {
            assert_eq!(row(name), expected);
        }
    }

    fn written(format: Format, top: Option<usize>, outcomes: &[(&str, Outcome)]) -> String {
        let paths = outcomes.iter().map(|(path, _)| Path::new(*path));
        let labels = vec!["angry".into(), "sad".into()];
        let mut report = Report::new(format, Style { colours: false }, labels, top, paths);
        let mut out = Vec::new();
        report.begin(&mut out).expect("written to memory");
        for (path, outcome) in outcomes {
            report.write(&mut out, Path::new(path), outcome).expect("written to memory");
        }
        report.end(&mut out).expect("written to memory");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn several_recordings_make_a_table() {
        let expected = "\
FILE                EMOTION                                 LENGTH
calls/one, two.wav  angry   ███████████████       75 %       2.1 s
calls/quiet.wav     silence                              1:06:40 h
bad\u{fffd}[31m.wav        error: no \"audio\",\u{fffd}sorry
";
        assert_eq!(written(Format::Table, None, &outcomes()), expected);
        let with_second = written(Format::Table, Some(2), &outcomes());
        assert!(with_second.contains("75 %       2.1 s  sad      25 %\n"), "{with_second}");
    }

    #[test]
    fn one_recording_makes_a_chart() {
        let expected = "\
calls/one, two.wav  2.1 s
  angry    ██████████████████████████████             75.0 %
  sad      ██████████                                 25.0 %
";
        assert_eq!(written(Format::Table, None, &outcomes()[..1]), expected);
        assert_eq!(
            written(Format::Table, None, &outcomes()[1..2]),
            "calls/quiet.wav  1:06:40 h  silence: there is nothing to be heard\n"
        );
        assert_eq!(
            written(Format::Table, None, &outcomes()[2..]),
            "bad\u{fffd}[31m.wav  error: no \"audio\",\u{fffd}sorry\n"
        );
    }

    #[test]
    fn an_uncertain_answer_says_so_in_every_form() {
        let mut unsure = answer(&[("angry", 0.5), ("sad", 0.5)], 1.0);
        if let Outcome::Answer(unsure) = &mut unsure {
            unsure.uncertain = true;
        }
        let one = [("a.wav", unsure.clone())];
        let chart = written(Format::Table, None, &one);
        assert!(
            chart.starts_with("a.wav  1.0 s  uncertain: answers this unsure are often wrong\n"),
            "{chart}"
        );
        let table = written(Format::Table, None, &[one[0].clone(), ("b.wav", answer(&[("sad", 1.0)], 1.0))]);
        assert!(
            table.contains("50 %       1.0 s  uncertain\n") && table.contains("100 %       1.0 s\n"),
            "{table}"
        );
        assert!(written(Format::Jsonl, None, &one).contains("\"uncertain\":true"));
        assert!(written(Format::Csv, None, &one).contains(",false,true,1,2,"));
    }

    #[test]
    fn jsonl_has_one_object_a_line() {
        let expected = concat!(
            r#"{"path":"calls/one, two.wav","label":"angry","scores":{"angry":0.75,"sad":0.25},"#,
            r#""silence":false,"uncertain":false,"duration_s":2.1,"windows":2,"silent_windows":0}"#,
            "\n",
            r#"{"path":"calls/quiet.wav","label":null,"scores":{"angry":0.5,"sad":0.5},"#,
            r#""silence":true,"uncertain":false,"duration_s":4000.0,"windows":1,"silent_windows":1,"#,
            r#""warnings":["it ends too early"]}"#,
            "\n",
            r#"{"path":"bad\u001b[31m.wav","error":"no \"audio\",\nsorry"}"#,
            "\n",
        );
        assert_eq!(written(Format::Jsonl, None, &outcomes()), expected);
    }

    #[test]
    fn json_is_the_array_of_the_same_objects() {
        let lines = written(Format::Jsonl, None, &outcomes());
        let objects: Vec<serde_json::Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let array: Vec<serde_json::Value> =
            serde_json::from_str(&written(Format::Json, None, &outcomes())).unwrap();
        assert_eq!(array, objects);
        let nothing: Vec<serde_json::Value> =
            serde_json::from_str(&written(Format::Json, None, &[])).unwrap();
        assert!(nothing.is_empty());
    }

    #[test]
    fn csv_has_a_column_for_each_class() {
        let expected = "\
path,label,angry,sad,silence,uncertain,duration_s,windows,error
\"calls/one, two.wav\",angry,0.75,0.25,false,false,2.1,2,
calls/quiet.wav,,0.5,0.5,true,false,4000,1,
bad\x1b[31m.wav,,,,,,,,\"no \"\"audio\"\",
sorry\"
";
        assert_eq!(written(Format::Csv, None, &outcomes()), expected);
    }

    #[test]
    fn lengths_are_readable() {
        let cases = [
            (0.0, "0.0 s"),
            (99.4, "99.4 s"),
            (99.6, "1:40 min"),
            (3_599.0, "59:59 min"),
            (36_000.0, "10:00:00 h"),
        ];
        for (duration_s, expected) in cases {
            assert_eq!(length(duration_s), expected);
        }
    }
}
