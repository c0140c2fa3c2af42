//! What a model file says about where it comes from.

use std::collections::BTreeMap;
use std::fmt::Display;

use intone::Emotion;
use intone::model::{CorpusInfo, ModelMeta, Provenance};
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::corpus::{self, Clip};
use crate::dataset::hex;
use crate::evaluate::Scores;
use crate::given::Given;
use crate::split::Split;

/// What models trained here are for, and what they must not be used for.
const INTENDED_USE: &str = "Research, teaching and prototypes on acted or read speech of adults in English. Not for \
    decisions about people: not at work, at school, in hiring, policing, health or insurance (the EU's AI Act, Article \
    5(1)(f), prohibits emotion inference at work and in education). An answer is what an utterance sounds like, not what \
    a person feels.";

/// Everything but the weights and the results.
pub(crate) fn model_meta(config: &Config, split: &Split, split_hash: &str, given: &Given) -> ModelMeta {
    let labels = Emotion::ALL.map(|emotion| emotion.name().to_owned()).to_vec();
    let mut meta = ModelMeta::new(config.architecture(labels.len()), config.front_end.clone(), labels);
    let corpora = corpora(split.train());
    let licences: Vec<String> =
        corpora.iter().map(|corpus| format!("{}: {}", corpus.name, corpus.licence)).collect();
    meta.provenance = Provenance {
        created: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
        commit: env!("INTONE_COMMIT").to_owned(),
        config: config.to_toml(),
        init_sha256: given.init_sha256.clone(),
        corpora,
        protocol: split.protocol().to_owned(),
        split_hash: split_hash.to_owned(),
        seed: config.seed,
        scores: BTreeMap::new(),
        licence: format!("MIT OR Apache-2.0 for the weights; the training data: {}", licences.join("; ")),
        intended_use: INTENDED_USE.to_owned(),
        notes: String::new(),
    };
    meta
}

/// The training clips, corpus by corpus.
fn corpora(clips: &[Clip]) -> Vec<CorpusInfo> {
    let mut by_name: BTreeMap<&str, Vec<&Clip>> = BTreeMap::new();
    for clip in clips {
        by_name.entry(&clip.corpus).or_default().push(clip);
    }
    let info = |(name, mut clips): (&str, Vec<&Clip>)| {
        clips.sort_by(|a, b| a.id.cmp(&b.id));
        let mut hash = Sha256::new();
        clips.iter().for_each(|clip| hash.update(clip.sha256));
        CorpusInfo {
            name: name.to_owned(),
            clips: clips.len(),
            hash: hex(&hash.finalize()),
            licence: corpus::published(name).map_or("unknown", |(_, source)| source).to_owned(),
        }
    };
    by_name.into_iter().map(info).collect()
}

/// SHA-256 over which clip, with which content, stands on which side.
pub(crate) fn split_hash(split: &Split) -> String {
    let mut rows: Vec<_> = split.iter().map(|(part, clip)| (part.name(), &clip.id, clip.sha256)).collect();
    rows.sort_unstable();
    let mut hash = Sha256::new();
    for (part, id, content) in rows {
        hash.update(part);
        hash.update([0]);
        hash.update(id);
        hash.update([0]);
        hash.update(content);
    }
    hex(&hash.finalize())
}

/// What a run that was done as these say has other than this one; nothing where it is the same run.
pub(crate) fn other(config: &Config, split: &Split, written: &str, hash: &str) -> Option<&'static str> {
    if !config.is_written_as(written) {
        Some("another configuration")
    } else if hash != split_hash(split) {
        Some("other data or another split")
    } else {
        None
    }
}

/// Taking results down.
pub(crate) trait Results {
    /// Notes accuracy and UAR with their intervals, as `test_uar`, `test_uar_low`, `test_uar_high`, ..., the calibration
    /// error as `test_ece`, and what is left without uncertain answers: `test_coverage`, `test_accuracy_when_certain`.
    fn note(&mut self, of: impl Display, scores: &Scores, coverage: (f64, f64));
}

impl Results for Provenance {
    fn note(&mut self, of: impl Display, scores: &Scores, coverage: (f64, f64)) {
        self.scores.insert(format!("{of}_ece"), scores.ece);
        self.scores.insert(format!("{of}_coverage"), coverage.0);
        self.scores.insert(format!("{of}_accuracy_when_certain"), coverage.1);
        self.scores.insert(format!("{of}_clips"), scores.n as f64);
        self.scores.insert(format!("{of}_speakers"), scores.n_speakers as f64);
        for (name, figure) in [("accuracy", scores.accuracy), ("uar", scores.uar)] {
            self.scores.insert(format!("{of}_{name}"), figure.value);
            if figure.has_interval() {
                self.scores.insert(format!("{of}_{name}_low"), figure.low);
                self.scores.insert(format!("{of}_{name}_high"), figure.high);
            }
        }
    }
}
