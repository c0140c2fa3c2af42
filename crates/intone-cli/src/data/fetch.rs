//! `intone data fetch`: corpora from their public sources.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use indicatif::ProgressBar;
use intone_train::Error;
use intone_train::fetch::{self, Event, Options};

use crate::progress::{bar, style};
use crate::terminal::thousands;

/// Download a corpus from its public source, verified by checksums; a run that was interrupted goes on
///
/// RAVDESS (speech): 208 MB from Zenodo, unpacked to 590 MB; CC BY-NC-SA 4.0, not for commercial use.
/// CREMA-D: 7,442 files, 600 MB, from GitHub; Open Database License 1.0.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The corpus
    corpus: Corpus,

    /// Where to: the corpus gets a folder of its own in it
    #[arg(long, default_value = "data", value_name = "DIR")]
    out: PathBuf,

    /// A mirror with the layout of the source
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,

    /// Connections at the same time, for CREMA-D
    #[arg(long, default_value_t = Options::default().connections, value_name = "N")]
    connections: usize,

    /// Keep the archive of RAVDESS after it is unpacked
    #[arg(long)]
    keep_archive: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Corpus {
    /// Ryerson Audio-Visual Database of Emotional Speech and Song, speech part
    Ravdess,
    /// Crowd-sourced Emotional Multimodal Actors Dataset
    #[value(name = "crema-d")]
    CremaD,
}

/// What a user wants to know after a failure.
const GOES_ON: &str = "What came is kept: the same command goes on from here.";

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let options = Options {
        base_url: args.base_url.clone(),
        connections: args.connections,
        keep_archive: args.keep_archive,
        ..Options::default()
    };
    let (title, fetch): (_, Fetch) = match args.corpus {
        Corpus::Ravdess => ("RAVDESS", fetch::ravdess),
        Corpus::CremaD => ("CREMA-D", fetch::crema_d),
    };
    let bar = bar(None, "{msg} {spinner}").with_message(title);
    let fetched = fetch(&args.out, &options, &|event| show(&bar, &event));
    bar.finish_and_clear();
    let fetched = match fetched {
        Ok(fetched) => fetched,
        Err(error @ Error::Incomplete { .. }) => {
            writeln!(std::io::stderr().lock(), "intone: {title}: {error}\n{GOES_ON}")?;
            return Ok(ExitCode::from(1));
        }
        Err(error) => return Err(error).context(format!("could not fetch {title}")),
    };
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{title}: {} files fetched, {} were there already, in {}",
        thousands(fetched.n_fetched),
        thousands(fetched.n_present),
        fetched.folder.display()
    )?;
    Ok(ExitCode::SUCCESS)
}

type Fetch =
    fn(&std::path::Path, &Options, &(dyn Fn(Event<'_>) + Sync)) -> intone_train::Result<fetch::Fetched>;

pub(crate) fn show(bar: &ProgressBar, event: &Event<'_>) {
    match event {
        Event::Plan { bytes, .. } => {
            bar.set_style(style("{msg} {wide_bar} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left"));
            bar.set_length(*bytes);
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Event::Received(n) => bar.inc(*n),
        Event::Discarded(n) => bar.set_position(bar.position().saturating_sub(*n)),
        Event::Retry { error, wait, .. } => {
            // Where nobody can read it, the download goes on all the same.
            let tell = || {
                writeln!(std::io::stderr().lock(), "{error}; trying again in {:.1} s", wait.as_secs_f64())
                    .ok()
            };
            bar.suspend(tell);
        }
        Event::Unpacked { done, total } => {
            if *done == 1 {
                bar.set_style(style("{msg} {wide_bar} {pos}/{len} unpacked"));
            }
            bar.set_length(*total as u64);
            bar.set_position(*done as u64);
        }
        _ => {}
    }
}
