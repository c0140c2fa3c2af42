//! The metrics against scikit-learn, on what `reference/metrics_goldens.py` stored.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which may panic")]

use intone_train::bootstrap::percentile;
use intone_train::metrics::Tally;
use serde::Deserialize;

/// Sums are taken in another order than numpy's: the last digits differ.
const TOLERANCE: f64 = 1e-12;

#[derive(Deserialize)]
struct Goldens {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    truths: Vec<usize>,
    probabilities: Vec<[f64; 6]>,
    speakers: Vec<usize>,
    figures: Figures,
    resamples: Vec<Vec<usize>>,
    intervals: Intervals,
}

#[derive(Deserialize)]
struct Figures {
    accuracy: f64,
    uar: f64,
    macro_f1: f64,
    ece: f64,
    brier: f64,
    log_loss: f64,
    precision: [Option<f64>; 6],
    recall: [Option<f64>; 6],
    f1: [Option<f64>; 6],
    confusion: [[f64; 6]; 6],
}

#[derive(Deserialize)]
struct Intervals {
    accuracy: [f64; 2],
    uar: [f64; 2],
    macro_f1: [f64; 2],
    ece: [f64; 2],
    brier: [f64; 2],
    log_loss: [f64; 2],
}

fn goldens() -> Vec<Case> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/metrics.json");
    let goldens: Goldens = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(goldens.cases.len() >= 7);
    goldens.cases
}

#[track_caller]
fn same(case: &str, what: &str, ours: Option<f64>, theirs: Option<f64>) {
    match (ours, theirs) {
        (None, None) => {}
        (Some(a), Some(b)) if (a - b).abs() < TOLERANCE => {}
        _ => panic!("{case}: {what} is {ours:?} here and {theirs:?} there"),
    }
}

#[test]
fn figures_agree_with_scikit_learn() {
    for Case { name, truths, probabilities, figures, .. } in goldens() {
        let tally = Tally::of(truths.iter().copied().zip(&probabilities));
        assert_eq!(tally.confusion, figures.confusion, "{name}");
        for (what, ours, theirs) in [
            ("accuracy", tally.accuracy(), figures.accuracy),
            ("UAR", tally.uar(), figures.uar),
            ("macro-F1", tally.macro_f1(), figures.macro_f1),
            ("ECE", tally.ece(), figures.ece),
            ("Brier", tally.brier(), figures.brier),
            ("cross-entropy", tally.log_loss(), figures.log_loss),
        ] {
            same(&name, what, ours, Some(theirs));
        }
        for class in 0..6 {
            same(&name, "precision", tally.precision(class), figures.precision[class]);
            same(&name, "recall", tally.recall(class), figures.recall[class]);
            same(&name, "F1", tally.f1(class), figures.f1[class]);
        }
    }
}

#[test]
fn figures_of_resampled_speakers_agree_with_those_of_their_clips() {
    for Case { name, truths, probabilities, speakers, resamples, intervals, .. } in goldens() {
        let n_speakers = speakers.iter().max().unwrap() + 1;
        let mut by_speaker = vec![Tally::default(); n_speakers];
        for ((&truth, p), &speaker) in truths.iter().zip(&probabilities).zip(&speakers) {
            by_speaker[speaker].add(truth, p);
        }
        let drawn: Vec<Tally> =
            resamples.iter().map(|resample| Tally::sum(resample.iter().map(|&s| &by_speaker[s]))).collect();
        let interval = |of: fn(&Tally) -> Option<f64>| {
            let mut values: Vec<f64> = drawn.iter().filter_map(of).collect();
            values.sort_by(f64::total_cmp);
            [percentile(&values, 0.025), percentile(&values, 0.975)]
        };
        for (what, ours, theirs) in [
            ("accuracy", interval(Tally::accuracy), intervals.accuracy),
            ("UAR", interval(Tally::uar), intervals.uar),
            ("macro-F1", interval(Tally::macro_f1), intervals.macro_f1),
            ("ECE", interval(Tally::ece), intervals.ece),
            ("Brier", interval(Tally::brier), intervals.brier),
            ("cross-entropy", interval(Tally::log_loss), intervals.log_loss),
        ] {
            same(&name, what, Some(ours[0]), Some(theirs[0]));
            same(&name, what, Some(ours[1]), Some(theirs[1]));
        }
    }
}
