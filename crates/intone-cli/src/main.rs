//! The command `intone`: what was typed, and which module does the work.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod cross_validate;
mod data;
mod evaluate;
mod explain;
mod features;
mod hub;
mod inputs;
mod listen;
mod model;
mod predict;
mod progress;
mod report;
mod serve;
mod shell;
mod terminal;
mod timeline;
mod train;

/// Keeping freed memory instead of handing it back to the system after every layer is worth a third of the
/// training time; see the benchmarks in the README.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Speech emotion recognition: audio in, emotions out.
#[derive(Debug, Parser)]
#[command(name = "intone", version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    telling: progress::Telling,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Predict(predict::Args),
    Timeline(timeline::Args),
    Listen(listen::Args),
    Serve(serve::Args),
    Train(train::Args),
    Evaluate(evaluate::Args),
    CrossValidate(cross_validate::Args),
    Report(report::Args),
    Explain(explain::Args),
    Features(features::Args),
    Data(data::Args),
    Model(model::Args),
    Completions(shell::CompletionsArgs),
    Man(shell::ManArgs),
}

impl Command {
    /// Where a model file was given.
    fn models(&mut self) -> Vec<&mut PathBuf> {
        match self {
            Command::Predict(args) => args.model.iter_mut().collect(),
            Command::Timeline(args) => args.model.iter_mut().collect(),
            Command::Listen(args) => args.model.iter_mut().collect(),
            Command::Serve(args) => args.model.iter_mut().collect(),
            Command::Evaluate(args) => args.model.iter_mut().collect(),
            Command::Explain(args) => args.model.iter_mut().collect(),
            Command::Features(args) => args.model.iter_mut().collect(),
            Command::Model(args) => args.models(),
            Command::Train(_) | Command::CrossValidate(_) | Command::Report(_) => Vec::new(),
            Command::Data(_) | Command::Completions(_) | Command::Man(_) => Vec::new(),
        }
    }
}

fn main() -> ExitCode {
    let mut cli = Cli::parse();
    cli.telling.begin();
    if let Err(error) = cli.command.models().into_iter().try_for_each(hub::localise) {
        return complain(&error);
    }
    let result = match cli.command {
        Command::Predict(args) => predict::run(&args),
        Command::Timeline(args) => timeline::run(&args),
        Command::Listen(args) => listen::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::CrossValidate(args) => cross_validate::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Features(args) => features::run(&args),
        Command::Data(args) => data::run(&args),
        Command::Model(args) => model::run(&args),
        Command::Completions(args) => shell::completions(&args),
        Command::Man(args) => shell::man(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => complain(&error),
    }
}

/// Prints a fatal error and gives its exit code: 0 for a reader that went away (`intone predict ... | head`), else 2.
fn complain(error: &anyhow::Error) -> ExitCode {
    let broken_pipe = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    };
    if error.chain().any(broken_pipe) {
        return ExitCode::SUCCESS;
    }
    // What a file says may be part of it, and must not reach the terminal as it is.
    format!("intone: {error:#}").lines().for_each(terminal::complain);
    ExitCode::from(2)
}
