//! `intone completions` and `intone man`: what shells and manuals know of the command, from the definitions that parse it.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::Cli;

/// Print completions for a shell
///
/// bash: intone completions bash > ~/.local/share/bash-completion/completions/intone; zsh: into a file `_intone` on
/// the `fpath`; fish: intone completions fish > ~/.config/fish/completions/intone.fish
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub(crate) fn completions(args: &CompletionsArgs) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "intone", &mut text);
    write_out(&text)
}

/// Print the manual page, or write those of all commands into a folder
///
/// `intone man | man -l -` shows it; `intone man --out ~/.local/share/man/man1` makes `man intone` work, and `man
/// intone-predict`.
#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// Folder for the pages of all commands
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(crate) fn man(args: &ManArgs) -> anyhow::Result<ExitCode> {
    let Some(dir) = &args.out else {
        let mut text = Vec::new();
        clap_mangen::Man::new(Cli::command().disable_help_subcommand(true)).render(&mut text)?;
        return write_out(&text);
    };
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    clap_mangen::generate_to(Cli::command(), dir)
        .with_context(|| format!("cannot write the pages into {}", dir.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn write_out(text: &[u8]) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    out.write_all(text)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
