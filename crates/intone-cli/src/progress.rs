//! What is told on standard error while something runs: progress bars, notes, logs; and how `--quiet` and `--verbose`
//! change that.

use std::fmt;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU8, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use log::LevelFilter;

use crate::terminal::complain;

/// How much is told, for the whole program.
static TELLING: AtomicU8 = AtomicU8::new(NORMAL);

const QUIET: u8 = 0;
const NORMAL: u8 = 1;
const VERBOSE: u8 = 2;

/// How much the user wants to be told.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Telling {
    /// Tell nothing but results, warnings and errors: no progress, no notes
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Messages")]
    quiet: bool,

    /// Log what is done on standard error; twice: in detail (RUST_LOG chooses by module)
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Messages")]
    verbose: u8,
}

impl Telling {
    /// Holds from here on.
    pub(crate) fn begin(self) {
        let telling = match (self.quiet, self.verbose) {
            (true, _) => QUIET,
            (false, 0) => NORMAL,
            (false, _) => VERBOSE,
        };
        TELLING.store(telling, Ordering::Relaxed);
        let own = match self.verbose {
            0 => LevelFilter::Off,
            1 => LevelFilter::Info,
            2 => LevelFilter::Debug,
            _ => LevelFilter::Trace,
        };
        let mut logger = env_logger::Builder::new();
        for name in ["intone", "intone_train", "intone_server"] {
            logger.filter_module(name, own);
        }
        // Decoders, the download and the framework: what they say is for those who look for a fault.
        if self.verbose > 2 {
            logger.filter_level(LevelFilter::Debug);
        }
        logger.parse_default_env();
        logger.init();
    }
}

/// Whether the user wants to be told nothing but results and errors.
pub(crate) fn is_quiet() -> bool {
    TELLING.load(Ordering::Relaxed) == QUIET
}

/// A line on standard error that is good to know, and no more.
pub(crate) fn note(line: impl fmt::Display) {
    if !is_quiet() {
        complain(line);
    }
}

/// A bar on standard error of `n` steps, or of a number that is not known yet, in indicatif's `template`. It is hidden
/// where standard error is no terminal, where the user wants quiet, and where a log would run through it.
pub(crate) fn bar(n: Option<usize>, template: &str) -> ProgressBar {
    let shown = TELLING.load(Ordering::Relaxed) == NORMAL && std::io::stderr().is_terminal();
    if !shown {
        return ProgressBar::hidden();
    }
    let bar = n.map_or_else(ProgressBar::no_length, |n| ProgressBar::new(n as u64));
    bar.with_style(style(template))
}

/// The style of a template, which is a constant; were it wrong, the plain bar would do as well.
pub(crate) fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// How many of `n` are done.
pub(crate) fn counting_bar(n: usize, what: &str) -> ProgressBar {
    bar(Some(n), &format!("{{bar:30}} {{pos}}/{{len}} {what}, {{eta}} left"))
}

/// From this number of things on, a bar shows the progress.
const MANY: usize = 10;

/// How many of `n` are done, if that takes long enough to be of interest.
pub(crate) fn bar_for_many(n: usize, what: &str) -> ProgressBar {
    if n < MANY { ProgressBar::hidden() } else { counting_bar(n, what) }
}
