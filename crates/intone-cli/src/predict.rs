//! `intone predict`: Recognise the emotions in recordings.

use std::process::ExitCode;

/// Recognise the emotions in recordings
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
