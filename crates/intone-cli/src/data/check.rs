//! `intone data check`: what lies under some folders, in numbers.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use intone::Emotion;
use intone_train::corpus::{self, AudioEntry, Entry, Inventory, PublishedEntry};

use crate::progress::bar;
use crate::terminal::{Style, files, thousands};

/// Show what is under some folders: clips, speakers, classes, hours, faults, and what is left out and why
///
/// RAVDESS and CREMA-D are recognised in the layouts that are in use (the published archives, Kaggle's), as WAV or
/// FLAC, and so are TESS, SAVEE, EmoDB, EMOVO, CaFE, MELD and IEMOCAP; a folder per label and CSV manifests (path, label, speaker, and split where there is one) are read as well.
/// Every clip is decoded.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folders with recordings, or CSV manifests
    #[arg(required = true, value_name = "DIR")]
    roots: Vec<PathBuf>,

    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,

    /// Do not decode the audio: no lengths, and what cannot be decoded is not found
    #[arg(long)]
    quick: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// For people
    Table,
    /// For programs: everything, with all paths
    Json,
}

/// The content of `--format json`.
#[derive(serde::Serialize)]
struct Document<'a> {
    total: Entry,
    #[serde(flatten)]
    inventory: &'a Inventory,
}

/// Files of one kind of trouble that are listed by name; the JSON has all.
const MAX_LISTED: usize = 10;

/// The width of a terminal that nobody made wider.
const WIDTH: usize = 80;

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let corpus = corpus::read_roots(&args.roots)?;
    let survey = (!args.quick).then(|| {
        let bar = bar(Some(corpus.clips.len()), "decoding {wide_bar} {pos}/{len}  {eta} left");
        let survey = corpus::survey(&corpus.clips, &|| bar.inc(1));
        bar.finish_and_clear();
        survey
    });
    let inventory = Inventory::new(&corpus, survey.as_ref());
    if inventory.is_empty() {
        let roots: Vec<_> = args.roots.iter().map(|root| root.display().to_string()).collect();
        bail!("no audio under {}", roots.join(", "));
    }
    let text = match args.format {
        Format::Table => page(&inventory, bold_on_terminal()),
        Format::Json => {
            let document = Document { total: inventory.total(), inventory: &inventory };
            serde_json::to_string_pretty(&document)? + "\n"
        }
    };
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(if inventory.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// How a heading is set.
type Heading = fn(&str) -> String;

fn bold_on_terminal() -> Heading {
    if Style::of_stdout().colours { |text| format!("\x1b[1m{text}\x1b[0m") } else { str::to_owned }
}

/// The whole report, at most [`WIDTH`] columns wide where paths permit.
fn page(inventory: &Inventory, heading: Heading) -> String {
    let mut page = Page { text: String::new(), heading };
    if inventory.corpora.iter().any(|entry| entry.n_clips > 0) {
        page.corpora(inventory);
        page.emotions(inventory);
    }
    for entry in &inventory.corpora {
        if let Some(published) = &entry.published {
            page.published(entry, published);
        }
    }
    page.left_out(inventory);
    page.renamed(inventory);
    page.faults(inventory);
    page.text
}

struct Page {
    text: String,
    heading: Heading,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// A heading after an empty line.
    fn section(&mut self, title: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        let title = (self.heading)(title);
        self.line(&title);
    }

    /// A paragraph, indented by two columns; `hang` more from its second line on.
    fn paragraph(&mut self, text: &str, hang: usize) {
        let mut line = String::from(" ");
        for word in text.split(' ') {
            let is_first = line.trim().is_empty();
            if !is_first && line.chars().count() + 1 + word.chars().count() > WIDTH {
                self.line(&line);
                line = " ".repeat(1 + hang);
            }
            line.push(' ');
            line.push_str(word);
        }
        self.line(&line);
    }

    fn corpora(&mut self, inventory: &Inventory) {
        let head = ["clips", "speakers", "women", "men", "hours", "length, s", "rate, kHz", "level, dBFS"];
        let width = [7, 9, 6, 5, 7, 12, 10, 12];
        let cells = |cells: [String; 8]| -> String {
            cells.iter().zip(width).map(|(cell, width)| format!("{cell:>width$}")).collect()
        };
        let names = name_width(inventory);
        let mut title = format!("{:names$}", "corpus");
        title.push_str(&cells(head.map(str::to_owned)));
        self.section(&title);
        let total = inventory.total();
        let rows = inventory.corpora.iter().chain((inventory.corpora.len() > 1).then_some(&total));
        for entry in rows {
            let audio = entry.audio.as_ref();
            let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            let row = cells([
                thousands(entry.n_clips),
                thousands(entry.n_speakers),
                thousands(entry.n_female),
                thousands(entry.n_male),
                or_dash(audio.map(|audio| format!("{:.2}", audio.total_s / 3600.0))),
                or_dash(audio.map(|audio| format!("{:.1} - {:.1}", audio.shortest_s, audio.longest_s))),
                or_dash(audio.and_then(rates)),
                or_dash(audio.and_then(|audio| audio.mean_level_dbfs).map(|level| format!("{level:.1}"))),
            ]);
            self.line(&format!("{:names$}{row}", shorten(&entry.title, names - 1)));
        }
    }

    fn emotions(&mut self, inventory: &Inventory) {
        let names = name_width(inventory);
        let mut title = format!("{:names$}", "emotion");
        for emotion in Emotion::ALL {
            title.push_str(&format!("{emotion:>9}"));
        }
        title.push_str("    votes");
        self.section(&title);
        let total = inventory.total();
        for entry in inventory.corpora.iter().chain((inventory.corpora.len() > 1).then_some(&total)) {
            let mut row = format!("{:names$}", shorten(&entry.title, names - 1));
            for emotion in Emotion::ALL {
                let count = entry.emotions.get(emotion.name()).copied().unwrap_or_default();
                row.push_str(&format!("{:>9}", thousands(count)));
            }
            let votes = if entry.n_with_votes == 0 { "-".to_owned() } else { thousands(entry.n_with_votes) };
            row.push_str(&format!("{votes:>9}"));
            self.line(&row);
        }
    }

    /// What is here of a published corpus, and what is not.
    fn published(&mut self, entry: &Entry, published: &PublishedEntry) {
        self.section(&format!("{} as published", entry.title));
        self.paragraph(
            &format!(
                "{} of {} recordings and {} of {} speakers are here; of all {}, {} can be learned from ({}).",
                thousands(published.n_present),
                thousands(published.n_recordings),
                published.n_speakers - published.absent_speakers.len(),
                published.n_speakers,
                thousands(published.n_recordings),
                thousands(published.n_usable),
                published.source
            ),
            0,
        );
        if !published.absent_speakers.is_empty() {
            self.paragraph(&format!("Absent speakers: {}", runs(&published.absent_speakers)), 2);
        }
        if let Some(first) = published.missing.first() {
            let n = published.missing.len();
            let verb = if n == 1 { "recording is" } else { "recordings are" };
            let text = format!("Of the others, {} {verb} missing, the first: {first}", thousands(n));
            self.paragraph(&text, 2);
        }
        if let Some(n) = entry.audio.as_ref().map(|audio| audio.n_multichannel).filter(|&n| n > 0) {
            let text = if n == 1 {
                "has several channels, which are"
            } else {
                "have several channels each, which are"
            };
            self.paragraph(&format!("{} {text} mixed down.", files(n)), 0);
        }
    }

    fn left_out(&mut self, inventory: &Inventory) {
        if inventory.excluded.is_empty() {
            return;
        }
        let n = inventory.excluded.iter().map(|excluded| excluded.count).sum();
        self.section(&format!("left out: {}", files(n)));
        let names = name_width(inventory);
        for excluded in &inventory.excluded {
            let title = inventory.corpora.iter().find(|entry| entry.name == excluded.corpus);
            let title = title.map_or(excluded.corpus.as_str(), |entry| &entry.title);
            let title = shorten(title, names - 1);
            let text = format!("{title:names$}{:>5}  ", thousands(excluded.count));
            // Words stay words: the columns must not be broken where the cells have spaces.
            let indent = text.chars().count();
            for (index, line) in wrapped(&excluded.reason, WIDTH - 2 - indent).iter().enumerate() {
                let before = if index == 0 { text.clone() } else { " ".repeat(indent) };
                self.line(&format!("  {before}{line}"));
            }
        }
    }

    fn renamed(&mut self, inventory: &Inventory) {
        if inventory.renamed.is_empty() {
            return;
        }
        self.section("read under another name");
        for renamed in &inventory.renamed {
            self.paragraph(&format!("{}: {}", renamed.path, renamed.reason), 2);
        }
    }

    fn faults(&mut self, inventory: &Inventory) {
        if inventory.faults.is_empty() {
            self.section("no faults");
            return;
        }
        let n = inventory.faults.len();
        self.section(&format!("{} {}", thousands(n), if n == 1 { "fault" } else { "faults" }));
        // Many files with one trouble (Git-LFS pointers) are one line and some names.
        let mut kinds: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for fault in &inventory.faults {
            kinds.entry(&fault.what).or_default().push(&fault.path);
        }
        let mut kinds: Vec<_> = kinds.into_iter().collect();
        kinds.sort_by_key(|(_, paths)| std::cmp::Reverse(paths.len()));
        let n_kinds = kinds.len();
        for (what, paths) in kinds.iter().take(MAX_LISTED) {
            if let [path] = paths.as_slice() {
                self.paragraph(&format!("{path}: {what}"), 2);
                continue;
            }
            self.paragraph(&format!("{}: {what}", files(paths.len())), 2);
            for path in paths.iter().take(3) {
                self.line(&format!("    {path}"));
            }
            if paths.len() > 3 {
                self.line(&format!("    and {} more", thousands(paths.len() - 3)));
            }
        }
        if n_kinds > MAX_LISTED {
            let text =
                format!("And {} more kinds: --format json lists all.", thousands(n_kinds - MAX_LISTED));
            self.paragraph(&text, 0);
        }
    }
}

/// `16`, or `16 - 48` where clips differ.
fn rates(audio: &AudioEntry) -> Option<String> {
    let khz = |hz: &u32| format!("{}", f64::from(*hz) / 1000.0);
    let (first, last) = (audio.sample_rates_hz.keys().next()?, audio.sample_rates_hz.keys().last()?);
    Some(if first == last { khz(first) } else { format!("{} - {}", khz(first), khz(last)) })
}

/// `01 04-07 09`: three and more numbers that follow each other are written as one run.
fn runs(names: &[String]) -> String {
    let follows = |a: &String, b: &String| match (a.parse::<u32>(), b.parse::<u32>()) {
        (Ok(a), Ok(b)) => a + 1 == b,
        _ => false,
    };
    let written = names.chunk_by(follows).map(|run| match run {
        [first, _, .., last] => format!("{first}-{last}"),
        few => few.join(" "),
    });
    written.collect::<Vec<_>>().join(" ")
}

fn name_width(inventory: &Inventory) -> usize {
    let longest = inventory.corpora.iter().map(|entry| entry.title.chars().count()).max().unwrap_or(0);
    (longest + 1).clamp(9, 14)
}

fn shorten(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line > 0 && line + 1 + word.chars().count() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_fit() {
        assert_eq!(shorten("recordings", 5), "reco…");
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("incomprehensible", 7), ["incomprehensible"]);
        let names = ["01", "04", "05", "06", "09", "10", "x"].map(str::to_owned);
        assert_eq!(runs(&names), "01 04-06 09 10 x");
    }
}
