//! `intone data`: Look at corpora, and download them.

use std::process::ExitCode;

/// Look at corpora, and download them
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
