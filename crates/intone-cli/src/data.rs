//! `intone data`: look at corpora, and download them.

use std::process::ExitCode;

mod check;
mod fetch;

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

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Check(args) => check::run(args),
        Command::Fetch(args) => fetch::run(args),
    }
}
