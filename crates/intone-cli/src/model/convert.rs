//! `intone model convert`: The same weights in another form.

use std::path::PathBuf;
use std::process::ExitCode;

use intone::AudioStream;
use intone::model::{ModelFile, Precision, Rounding};
use intone_train::corpus::Clip;
use intone_train::split::Part;
use intone_train::{leak, robustness};

use crate::progress::counting_bar;
use crate::terminal::complain;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Model to read: a file, or hf:OWNER/NAME[@REVISION][/FILE]
    pub(super) input: PathBuf,

    /// Model file to write
    output: PathBuf,

    /// Form of the weights: f32 keeps every bit, f16 half the size, int8 a quarter
    #[arg(short, long, value_enum)]
    precision: PrecisionName,

    /// Directories with the corpora that the model was trained on: 256 of its training clips then show how weights are to be
    /// rounded to int8, so that answers change least (GPTQ). For encoders
    #[arg(long, num_args = 1.., value_name = "DIR")]
    data: Vec<PathBuf>,
}

/// Clips by which weights are rounded.
const N_ROUNDING_CLIPS: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum PrecisionName {
    F32,
    F16,
    Int8,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut file = ModelFile::open(&args.input)?;
    let precision = match args.precision {
        PrecisionName::F32 => Precision::F32,
        PrecisionName::F16 => Precision::F16,
        PrecisionName::Int8 => Precision::Int8,
    };
    if !args.data.is_empty() && precision != Precision::Int8 {
        anyhow::bail!("--data shows how weights are rounded to int8; {} has no use for it", precision.name());
    }
    let coarser = match file.precision {
        Precision::F32 => precision != Precision::F32,
        Precision::F16 => precision == Precision::Int8,
        Precision::Int8 => false,
    };
    if coarser && !file.meta.provenance.scores.is_empty() {
        let notes = &mut file.meta.provenance.notes;
        let how = if args.data.is_empty() { "" } else { " by GPTQ" };
        *notes = with_origin_of_scores(notes, file.precision.name(), &format!("{}{how}", precision.name()));
    }
    if args.data.is_empty() {
        file.write(&args.output, precision)?;
        return Ok(ExitCode::SUCCESS);
    }
    let corpus = crate::data::read(&args.data)?;
    let clips = leak::clips_of(&leak::heard(&file.meta.provenance, None, &corpus)?, Part::Train, &corpus)?;
    let clips = robustness::sample(&clips, N_ROUNDING_CLIPS);
    let rounding = Rounding::new(file).map_err(|error| error.in_file(&args.input))?;
    let n_heard = hear(&rounding, &clips);
    if n_heard == 0 {
        anyhow::bail!("none of the {} training clips could be read", clips.len());
    }
    rounding.write(&args.output)?;
    Ok(if n_heard == clips.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Lets a model hear these clips, always in the same order, so that the same bytes come of it; those that cannot be read are
/// told. Answers with the number of the others.
fn hear(rounding: &Rounding, clips: &[Clip]) -> usize {
    let bar = counting_bar(clips.len(), "clips");
    let mut n_heard = 0;
    for clip in clips {
        match AudioStream::open(&clip.path).and_then(|mut recording| rounding.hear(&mut recording)) {
            Ok(()) => n_heard += 1,
            Err(error) => {
                bar.suspend(|| complain(format_args!("intone: {}", error.in_file(&clip.path))));
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    n_heard
}

/// Notes on a model that say which weights its scores are of, now that those in the file are coarser.
fn with_origin_of_scores<'a>(notes: &'a str, mut from: &'a str, to: &str) -> String {
    const BEGINS: &str = "scores are those of the weights in ";
    let mut lines = Vec::new();
    for line in notes.lines() {
        // Of one that was made coarser before, the first precision counts.
        match line.strip_prefix(BEGINS).and_then(|rest| rest.split_once(';')) {
            Some((first, _)) => from = first,
            None => lines.push(line.to_owned()),
        }
    }
    lines.push(format!("{BEGINS}{from}; here in {to}"));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_of_scores_is_noted_once() {
        let half = with_origin_of_scores("Trained twice.", "f32", "f16");
        assert_eq!(half, "Trained twice.\nscores are those of the weights in f32; here in f16");
        let small = with_origin_of_scores(&half, "f16", "int8");
        assert_eq!(small, "Trained twice.\nscores are those of the weights in f32; here in int8");
        assert_eq!(
            with_origin_of_scores("", "f16", "int8"),
            "scores are those of the weights in f16; here in int8"
        );
    }
}
