//! `intone model import keras`: takes over a classifier that was trained with Keras.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use intone::features::Filling;
use intone::model::{ModelFile, Precision};
use intone_keras::{Beside, KerasModel, Labels, Parameters, Values};

use crate::terminal::{printable, thousands};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The model as Keras saved it: a .keras file of Keras 3, or an .h5 file with the whole model of Keras 2
    file: PathBuf,

    /// Pickled classes in the order of the outputs: scikit-learn's LabelEncoder, or names in a list. Without them, and where
    /// the parameters name none, six classes are angry, disgust, fear, happy, neutral and sad
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,

    /// Pickled dictionary of how recordings become the network's input. Without it: 22,050 Hz, 128 mel bands, 130 frames
    /// 512 samples apart
    #[arg(long, value_name = "FILE")]
    params: Option<PathBuf>,

    /// What the values of the network's input are. Without it 0 to 1, or, for the parameters of the reference project,
    /// standardised
    #[arg(long, value_enum)]
    values: Option<ValuesName>,

    /// Model file to write
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ValuesName {
    /// 0 to 1: from 80 dB below the window's peak to its peak
    Unit,
    /// dB relative to the window's peak, -80 to 0
    Decibels,
    /// Those less their mean, over their standard deviation, window by window
    Standardised,
}

pub(super) fn import(args: &Args) -> anyhow::Result<ExitCode> {
    let beside = Beside {
        labels: args.labels.as_ref().map(Labels::open).transpose()?,
        parameters: args.params.as_ref().map(Parameters::open).transpose()?,
        values: args.values.map(|values| match values {
            ValuesName::Unit => Values::Unit,
            ValuesName::Decibels => Values::Decibels,
            ValuesName::Standardised => Values::Standardised,
        }),
    };
    let file = KerasModel::open(&args.file)?.into_file(beside)?;
    file.write(&args.out, Precision::F32)?;
    let mut out = io::stdout().lock();
    let name = printable(&args.out.to_string_lossy());
    writeln!(
        out,
        "{name}: {} weights, classes {}",
        thousands(file.n_values()),
        printable(&file.meta.labels.join(", "))
    )?;
    writeln!(out, "{}", printable(&picture(&file)))?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// What the network is going to see of a recording, because the Keras file does not say it.
fn picture(file: &ModelFile) -> String {
    use intone::model::Architecture;
    use intone::model::chain::ChainLayer;

    let front_end = &file.meta.front_end;
    let first = match &file.meta.architecture {
        Architecture::Chain(chain) => chain.layers.first(),
        _ => None,
    };
    let values = match first {
        Some(ChainLayer::Standardise) => "standardised",
        // A normalisation of the model's own has the same form, and gets 0 to 1 like any other layer.
        Some(ChainLayer::Affine)
            if file.tensors.get("layers.0.scale").is_some_and(|scale| scale.data == [front_end.top_db]) =>
        {
            "in dB"
        }
        _ => "from 0 to 1",
    };
    let mut text = format!(
        "its input: {} Hz, {} mel bands x {} frames, values {values}",
        front_end.sample_rate_hz, front_end.n_mels, front_end.n_frames
    );
    if let Some(db) = front_end.trim_top_db {
        text += &format!(", trimmed at {db} dB");
    }
    if front_end.filling == Filling::Peak {
        text += ", short recordings filled up with their peak";
    }
    text
}
