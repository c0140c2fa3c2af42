//! `intone features`: Write the front end's output for other tools.

use std::process::ExitCode;

/// Write the front end's output for other tools
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
