//! What was found, counted: the content of `intone data check`.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use intone::Emotion;
use serde::Serialize;

use super::{Clip, Corpus, PUBLISHED, Published, Reason, Sex, Survey};

/// Numbers about a [`Corpus`], per corpus in it, and everything that is wrong or was left out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inventory {
    /// One entry for each corpus that has clips, exclusions or both.
    pub corpora: Vec<Entry>,
    /// What was left out, by corpus and reason.
    pub excluded: Vec<Excluded>,
    /// Files that were read under another name.
    pub renamed: Vec<Renamed>,
    /// What is wrong, file by file.
    pub faults: Vec<FaultEntry>,
}

/// Numbers about one corpus.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Entry {
    /// As in [`Clip::corpus`].
    pub name: String,
    /// As people write it.
    pub title: String,
    /// Clips that can be learned from.
    pub n_clips: usize,
    /// Their speakers.
    pub n_speakers: usize,
    /// Female speakers.
    pub n_female: usize,
    /// Male speakers.
    pub n_male: usize,
    /// Clips of each emotion.
    pub emotions: BTreeMap<&'static str, usize>,
    /// Clips for which listeners voted on the voice alone.
    pub n_with_votes: usize,
    /// What decoding told; `None` when nothing was decoded.
    pub audio: Option<AudioEntry>,
    /// How this compares with the published corpus; `None` for folders and manifests.
    pub published: Option<PublishedEntry>,
}

/// What decoding told about the clips of a corpus.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct AudioEntry {
    /// Length of all clips, seconds.
    pub total_s: f64,
    /// Length of the shortest clip, seconds.
    pub shortest_s: f64,
    /// Length of the longest clip, seconds.
    pub longest_s: f64,
    /// Mean of the clips' levels (RMS, dB relative to full scale), silent clips left out.
    pub mean_level_dbfs: Option<f64>,
    /// Clips by their samples per second.
    pub sample_rates_hz: BTreeMap<u32, usize>,
    /// Clips with more than one channel.
    pub n_multichannel: usize,
}

/// A comparison with a published corpus.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct PublishedEntry {
    /// Where it is from, and its licence.
    pub source: &'static str,
    /// Recordings in it.
    pub n_recordings: usize,
    /// Of these, the clips that this crate learns from.
    pub n_usable: usize,
    /// Speakers in it.
    pub n_speakers: usize,
    /// Recordings that are here, whether or not they can be learned from.
    pub n_present: usize,
    /// Speakers of whom nothing is here.
    pub absent_speakers: Vec<String>,
    /// Recordings that are missing of the speakers who are here.
    pub missing: Vec<String>,
}

/// Recordings that were left out for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Excluded {
    /// The corpus.
    pub corpus: String,
    /// Why, as a sentence.
    pub reason: String,
    /// How many.
    pub count: usize,
    /// The files.
    pub paths: Vec<String>,
}

/// A file that was read under another name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Renamed {
    /// The file.
    pub path: String,
    /// Why.
    pub reason: &'static str,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FaultEntry {
    /// The file.
    pub path: String,
    /// What is wrong.
    pub what: String,
}

impl Inventory {
    /// Counts. With a [`Survey`] of `corpus.clips`, lengths, levels and what it found wrong are part of it.
    pub fn new(corpus: &Corpus, survey: Option<&Survey>) -> Inventory {
        let mut names: Vec<&str> = corpus.clips.iter().map(|clip| clip.corpus.as_str()).collect();
        names.extend(corpus.excluded.iter().map(|exclusion| exclusion.corpus.as_str()));
        let distinct: BTreeSet<&str> = names.into_iter().collect();
        let entries = distinct.into_iter().map(|name| entry(name, corpus, survey));
        let renamed = corpus
            .renamed
            .iter()
            .map(|(path, fault)| Renamed { path: path.display().to_string(), reason: fault.reason });
        let heard_faults = survey.map(|survey| survey.faults.as_slice()).unwrap_or_default();
        let faults = corpus.faults.iter().chain(heard_faults);
        Inventory {
            corpora: entries.collect(),
            excluded: excluded(corpus),
            renamed: renamed.collect(),
            faults: faults
                .map(|fault| FaultEntry {
                    path: fault.path.display().to_string(),
                    what: fault.kind.to_string(),
                })
                .collect(),
        }
    }

    /// True when there was nothing to count: no audio that anybody recognised.
    pub fn is_empty(&self) -> bool {
        self.corpora.is_empty() && self.faults.is_empty()
    }

    /// The sum over all corpora; speakers of different corpora are different people.
    pub fn total(&self) -> Entry {
        let mut total = Entry { name: "total".to_owned(), title: "total".to_owned(), ..Default::default() };
        for entry in &self.corpora {
            total.n_clips += entry.n_clips;
            total.n_speakers += entry.n_speakers;
            total.n_female += entry.n_female;
            total.n_male += entry.n_male;
            total.n_with_votes += entry.n_with_votes;
            for (emotion, count) in &entry.emotions {
                *total.emotions.entry(emotion).or_default() += count;
            }
        }
        let heard: Vec<&AudioEntry> = self.corpora.iter().filter_map(|entry| entry.audio.as_ref()).collect();
        total.audio = heard.split_first().map(|(first, _)| AudioEntry {
            total_s: heard.iter().map(|audio| audio.total_s).sum(),
            shortest_s: heard.iter().map(|audio| audio.shortest_s).fold(first.shortest_s, f64::min),
            longest_s: heard.iter().map(|audio| audio.longest_s).fold(first.longest_s, f64::max),
            n_multichannel: heard.iter().map(|audio| audio.n_multichannel).sum(),
            ..Default::default()
        });
        total
    }
}

fn entry(name: &str, corpus: &Corpus, survey: Option<&Survey>) -> Entry {
    let of_corpus = |clip: &&Clip| clip.corpus == name;
    let clips: Vec<&Clip> = corpus.clips.iter().filter(of_corpus).collect();
    let speakers: BTreeMap<&str, Option<Sex>> =
        clips.iter().map(|clip| (clip.speaker.as_str(), clip.sex)).collect();
    let n_of = |sex| speakers.values().filter(|of| **of == Some(sex)).count();
    let published = PUBLISHED.iter().find(|published| published.name == name);
    let n_emotion = |emotion| clips.iter().filter(|clip| clip.emotion == emotion).count();
    Entry {
        name: name.to_owned(),
        title: super::published(name).map_or(name, |(title, _)| title).to_owned(),
        n_clips: clips.len(),
        n_speakers: speakers.len(),
        n_female: n_of(Sex::Female),
        n_male: n_of(Sex::Male),
        emotions: Emotion::ALL.into_iter().map(|emotion| (emotion.name(), n_emotion(emotion))).collect(),
        n_with_votes: clips.iter().filter(|clip| clip.votes.is_some()).count(),
        audio: survey.and_then(|survey| audio(name, corpus, survey)),
        published: published.map(|published| compare(published, corpus)),
    }
}

fn audio(name: &str, corpus: &Corpus, survey: &Survey) -> Option<AudioEntry> {
    let pairs = corpus.clips.iter().zip(&survey.heard);
    let heard: Vec<_> =
        pairs.filter(|(clip, _)| clip.corpus == name).filter_map(|(_, heard)| *heard).collect();
    let lengths = || heard.iter().map(|heard| heard.duration_s);
    let levels: Vec<f64> =
        heard.iter().map(super::Heard::level_dbfs).filter(|level| level.is_finite()).collect();
    let mut sample_rates_hz = BTreeMap::new();
    for heard in &heard {
        *sample_rates_hz.entry(heard.sample_rate_hz).or_default() += 1;
    }
    Some(AudioEntry {
        total_s: lengths().sum(),
        shortest_s: lengths().reduce(f64::min)?,
        longest_s: lengths().reduce(f64::max)?,
        mean_level_dbfs: (!levels.is_empty()).then(|| levels.iter().sum::<f64>() / levels.len() as f64),
        sample_rates_hz,
        n_multichannel: heard.iter().filter(|heard| heard.n_channels > 1).count(),
    })
}

fn compare(published: &Published, corpus: &Corpus) -> PublishedEntry {
    let ids = corpus.clips.iter().map(|clip| clip.id.as_str());
    let left_out = corpus.excluded.iter().filter_map(|exclusion| exclusion.id.as_deref());
    let prefix = format!("{}/", published.name);
    let present: HashSet<&str> = ids.chain(left_out).filter_map(|id| id.strip_prefix(&prefix)).collect();
    let stems = (published.stems)();
    let (here, missing): (Vec<String>, Vec<String>) =
        stems.into_iter().partition(|stem| present.contains(stem.as_str()));
    let speakers_here: HashSet<&str> = here.iter().map(|stem| (published.speaker_of)(stem)).collect();
    let is_here = |stem: &String| speakers_here.contains((published.speaker_of)(stem));
    let absent: BTreeSet<&str> =
        missing.iter().filter(|stem| !is_here(stem)).map(|stem| (published.speaker_of)(stem)).collect();
    PublishedEntry {
        source: published.source,
        n_recordings: published.n_published,
        n_usable: published.n_usable,
        n_speakers: published.n_speakers,
        n_present: here.len(),
        absent_speakers: absent.into_iter().map(str::to_owned).collect(),
        missing: missing.iter().filter(|stem| is_here(stem)).cloned().collect(),
    }
}

/// Groups what was left out.
fn excluded(corpus: &Corpus) -> Vec<Excluded> {
    let mut groups: BTreeMap<(&str, String), Vec<String>> = BTreeMap::new();
    for exclusion in &corpus.excluded {
        let reason = match &exclusion.reason {
            Reason::OtherEmotion(name) => format!("{name}: none of the six emotions"),
            Reason::NotSpeech(what) => (*what).to_owned(),
            Reason::Known(fault) => format!("{}: {}", fault.stem, fault.reason),
            Reason::SameClip(_) => "another copy of a clip that is read already".to_owned(),
            Reason::SameBytes(_) => "the same bytes and label as another clip".to_owned(),
            Reason::MacOs => "a file of macOS's own (._name), not audio".to_owned(),
        };
        let path = exclusion.path.display().to_string();
        groups.entry((&exclusion.corpus, reason)).or_default().push(path);
    }
    groups
        .into_iter()
        .map(|((corpus, reason), paths)| Excluded {
            corpus: corpus.to_owned(),
            reason,
            count: paths.len(),
            paths,
        })
        .collect()
}
