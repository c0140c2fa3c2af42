//! The time of `intone report` on 10,000 clips of 91 speakers and 12 sentences, from `predictions.csv` to the three files:
//! at most 2 s are aimed at. Prints one line of JSON with every round's milliseconds.
//!
//!     cargo bench -p intone-train --bench report -- --rounds 10

use std::io::Write;
use std::time::Instant;

use intone::Emotion;
use intone_train::evaluate::Prediction;
use intone_train::report::{Report, RunFiles, read_run, write, write_run};

const N_CLIPS: usize = 10_000;

/// The actors of CREMA-D.
const N_SPEAKERS: usize = 91;

/// Their sentences.
const N_SENTENCES: usize = 12;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let n_rounds = match arguments.iter().position(|argument| argument == "--rounds") {
        Some(at) => arguments.get(at + 1).ok_or("--rounds needs a number")?.parse()?,
        None => 5,
    };
    let dir = tempfile::tempdir()?;
    write_run(dir.path(), &RunFiles { predictions: &predictions(), ..RunFiles::default() })?;
    let mut report_ms = Vec::new();
    for _ in 0..n_rounds {
        let start = Instant::now();
        write(&Report::new(&read_run(dir.path())?, false)?, dir.path())?;
        report_ms.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let line = serde_json::json!({ "n_clips": N_CLIPS, "n_speakers": N_SPEAKERS, "report_ms": report_ms });
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}

/// Reproducible answers, most of them right.
fn predictions() -> Vec<Prediction> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1u32 << 24) as f32
    };
    let mut prediction = |number: usize| {
        let (speaker, truth) = (number % N_SPEAKERS, Emotion::ALL[number / N_SPEAKERS % 6]);
        let mut probabilities = [0.0; 6].map(|_: f32| next() + 1e-3);
        probabilities[truth.index()] += next();
        let sum: f32 = probabilities.iter().sum();
        Prediction {
            clip: format!("calls/{number}"),
            corpus: "calls".to_owned(),
            speaker: format!("calls/{speaker}"),
            sex: ["female", "male"][speaker % 2].to_owned(),
            sentence: format!("{}", number % N_SENTENCES),
            truth,
            probabilities: probabilities.map(|p| p / sum),
        }
    };
    (0..N_CLIPS).map(&mut prediction).collect()
}
