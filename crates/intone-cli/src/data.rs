//! `intone data`: look at corpora, and download them.

use std::path::PathBuf;
use std::process::ExitCode;

use intone_train::corpus::{self, Corpus};

use crate::progress::note;
use crate::terminal::{complain, files};

mod check;
mod fetch;

pub(crate) use self::fetch::show;

/// Look at corpora, and download them
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Check(check::Args),
    Fetch(fetch::Args),
}

/// Faults that are told by name before a training or an evaluation.
const MAX_TOLD: usize = 5;

/// Reads corpora to work with, and tells on standard error what of them cannot be used.
pub(crate) fn read(roots: &[PathBuf]) -> anyhow::Result<Corpus> {
    let corpus = corpus::read_roots(roots)?;
    for fault in corpus.faults.iter().take(MAX_TOLD) {
        complain(format_args!("not used: {}: {}", fault.path.display(), fault.kind));
    }
    let more = corpus.faults.len().saturating_sub(MAX_TOLD);
    if more > 0 {
        complain(format_args!("not used: {} more; `intone data check` lists all", files(more)));
    }
    if !corpus.excluded.is_empty() {
        let n = files(corpus.excluded.len());
        note(format_args!("left out: {n}, for reasons that `intone data check` tells"));
    }
    Ok(corpus)
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Check(args) => check::run(args),
        Command::Fetch(args) => fetch::run(args),
    }
}
