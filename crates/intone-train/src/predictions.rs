//! `predictions.csv`: what a system, this one or any other, says of clips whose truth is known.
//!
//! ```text
//! clip,corpus,speaker,sex,sentence,truth,angry,disgust,fear,happy,neutral,sad
//! crema-d/1048_DFA_ANG_XX,crema-d,crema-d/1048,male,DFA,angry,0.91,0.02,0.01,0.04,0.01,0.01
//! ```
//!
//! Columns are found by their names; their order and further columns do not matter. `sex` (`female`, `male`) and
//! `sentence` may be empty; a speaker's sex is that of any row that tells. Truths are read as everywhere (`angry`, `Anger`, `ANG`). A clip may also be given as a file
//! name (`1048_DFA_ANG_XX.wav`), of which the ending is dropped unless another clip of the file differs in nothing else
//! (`x.wav`, `x.flac`), and a speaker without its corpus (`1048`). Probabilities lie in [0, 1] and sum to 1 within
//! [`SUM_TOLERANCE`].

use std::collections::HashMap;
use std::path::Path;

use intone::Emotion;

use crate::corpus::Sex;
use crate::corpus::table::{Row, Table};
use crate::error::{Error, Result};
use crate::training_set::N_CLASSES;

/// How far from 1 the sum of six probabilities may be: they may have been rounded to three decimals.
pub const SUM_TOLERANCE: f64 = 3.1e-3;

/// The columns of the file, in the order in which they are written; the probabilities follow.
pub const COLUMNS: [&str; 6] = ["clip", "corpus", "speaker", "sex", "sentence", "truth"];

/// What a system says of one clip.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// The clip, with its corpus.
    pub clip: String,
    /// Its corpus.
    pub corpus: String,
    /// Its speaker, with the corpus.
    pub speaker: String,
    /// The speaker's sex, where the file tells.
    pub sex: Option<Sex>,
    /// The sentence, empty where the file does not tell.
    pub sentence: String,
    /// The intended emotion.
    pub truth: Emotion,
    /// Probabilities in the order of [`Emotion::ALL`].
    pub probabilities: [f64; N_CLASSES],
}

impl Answered {
    /// The class with the highest probability; of equal ones the first.
    pub fn answer(&self) -> usize {
        crate::metrics::answer(&self.probabilities)
    }

    /// The probability of that class.
    pub fn confidence(&self) -> f64 {
        self.probabilities[self.answer()]
    }

    /// Whether that class is the truth.
    pub fn is_right(&self) -> bool {
        self.answer() == self.truth.index()
    }
}

/// Reads a file of predictions, sorted by clip.
///
/// # Errors
/// [`Error::Table`] with line and column: a column that is missing, an empty name, a truth that is none of the six, a
/// probability that is none, probabilities that do not sum to 1, a clip that comes twice, a speaker of two corpora or
/// sexes. [`Error::Empty`] for a file without rows.
pub fn read_predictions(path: &Path) -> Result<Vec<Answered>> {
    let mut table = Table::open(path)?;
    let mut names = [0; COLUMNS.len()];
    let mut probabilities = [0; N_CLASSES];
    for (slot, name) in names.iter_mut().zip(COLUMNS) {
        *slot = table.column(name)?;
    }
    for (slot, emotion) in probabilities.iter_mut().zip(Emotion::ALL) {
        *slot = table.column(emotion.name())?;
    }
    let mut rows: Vec<Answered> = Vec::new();
    // The clips of each name without an ending: with it, and their lines.
    let mut clips: HashMap<String, Vec<(String, u64)>> = HashMap::new();
    // Corpus of each speaker, and its sex where a row tells, each with its line.
    let mut corpora: HashMap<String, (String, u64)> = HashMap::new();
    let mut sexes: HashMap<String, (Sex, u64)> = HashMap::new();
    while let Some(row) = table.next_row()? {
        let answered = answered(&row, &names, &probabilities)?;
        let line = row.line().unwrap_or_default();
        let Answered { clip, corpus, sex, .. } = &answered;
        let stem = without_ending(clip);
        let alike = clips.entry(stem.to_owned()).or_default();
        // A name without an ending may be that of any file.
        let is_same = |other: &String| other == clip || other == stem || clip == stem;
        if let Some((_, first)) = alike.iter().find(|(other, _)| is_same(other)) {
            return Err(row.error(format!("column 'clip': {stem} stands in line {first} already")));
        }
        alike.push((clip.clone(), line));
        let another = |column: &str, first: u64| {
            row.error(format!("column '{column}': speaker {} has another in line {first}", answered.speaker))
        };
        let (of_first, first) =
            corpora.entry(answered.speaker.clone()).or_insert_with(|| (corpus.clone(), line));
        if of_first != corpus {
            return Err(another("corpus", *first));
        }
        if let Some(sex) = *sex {
            let (of_first, first) = *sexes.entry(answered.speaker.clone()).or_insert((sex, line));
            if of_first != sex {
                return Err(another("sex", first));
            }
        }
        rows.push(answered);
    }
    if rows.is_empty() {
        return Err(Error::Empty(format!("{}: expected predictions, got a header alone", path.display())));
    }
    let is_clip =
        |name: &str| clips.get(without_ending(name)).is_some_and(|c| c.iter().any(|(clip, _)| clip == name));
    for answered in &mut rows {
        answered.sex = sexes.get(&answered.speaker).map(|(sex, _)| *sex);
        let stem = without_ending(&answered.clip);
        if clips.get(stem).is_some_and(|alike| alike.len() == 1) && !is_clip(stem) {
            answered.clip = stem.to_owned();
        }
    }
    rows.sort_unstable_by(|a, b| a.clip.cmp(&b.clip));
    Ok(rows)
}

/// What was said of a clip, among answers that are sorted as [`read_predictions`] sorts them. The name of a clip may have lost its
/// ending there.
pub(crate) fn answer_to<'a>(answers: &'a [Answered], clip: &str) -> Option<&'a Answered> {
    let named = |name: &str| answers.binary_search_by(|answered| answered.clip.as_str().cmp(name)).ok();
    named(clip).or_else(|| named(without_ending(clip))).map(|at| &answers[at])
}

/// Whether every class has clips: what is missing makes figures that cannot be compared with those of other data.
///
/// # Errors
/// [`Error::Empty`] with the classes that have none.
pub fn check_classes(truths: impl Iterator<Item = Emotion>) -> Result<()> {
    let mut n = [0; N_CLASSES];
    truths.for_each(|truth| n[truth.index()] += 1);
    let absent: Vec<&str> =
        Emotion::ALL.into_iter().filter(|e| n[e.index()] == 0).map(Emotion::name).collect();
    if absent.is_empty() {
        return Ok(());
    }
    Err(Error::Empty(format!(
        "column 'truth': no clip of {} among {}: UAR and macro-F1 over fewer classes are other figures; \
         --missing-classes computes them over those that occur",
        absent.join(", "),
        n.iter().sum::<usize>(),
    )))
}

fn answered(row: &Row<'_>, names: &[usize; COLUMNS.len()], places: &[usize; N_CLASSES]) -> Result<Answered> {
    let [clip, corpus, speaker, sex, sentence, truth] = names.map(|column| row.text(column));
    for (name, text) in [("clip", clip), ("corpus", corpus), ("speaker", speaker)] {
        if text.is_empty() {
            return Err(row.error(format!("column '{name}': expected a name, got nothing")));
        }
    }
    let known = || Emotion::ALL.map(Emotion::name).join(", ");
    let truth = Emotion::from_label(truth)
        .ok_or_else(|| row.error(format!("column 'truth': expected one of {}, got '{truth}'", known())))?;
    let sex = match sex.to_ascii_lowercase().as_str() {
        "" => None,
        "female" | "f" => Some(Sex::Female),
        "male" | "m" => Some(Sex::Male),
        other => {
            return Err(row.error(format!("column 'sex': expected female, male or nothing, got '{other}'")));
        }
    };
    let mut probabilities = [0.0; N_CLASSES];
    for ((slot, &column), emotion) in probabilities.iter_mut().zip(places).zip(Emotion::ALL) {
        let text = row.text(column);
        let number = text.parse::<f64>().ok().filter(|p| (0.0..=1.0).contains(p));
        *slot = number.ok_or_else(|| {
            row.error(format!("column '{emotion}': expected a probability in [0, 1], got '{text}'"))
        })?;
    }
    let sum: f64 = probabilities.iter().sum();
    if (sum - 1.0).abs() > SUM_TOLERANCE {
        let columns =
            format!("columns 'angry' to 'sad': expected probabilities that sum to 1, got a sum of {sum:.4}");
        return Err(row.error(columns));
    }
    Ok(Answered {
        clip: in_corpus(corpus, clip),
        corpus: corpus.to_owned(),
        speaker: in_corpus(corpus, speaker),
        sex,
        sentence: sentence.to_owned(),
        truth,
        probabilities,
    })
}

/// A name with its corpus before it, also where it comes without.
fn in_corpus(corpus: &str, name: &str) -> String {
    match name.strip_prefix(corpus) {
        Some(rest) if rest.starts_with('/') => name.to_owned(),
        _ => format!("{corpus}/{name}"),
    }
}

/// A clip's name without the ending of its file.
fn without_ending(clip: &str) -> &str {
    ["wav", "flac", "mp3", "ogg", "m4a"]
        .iter()
        .find_map(|ending| {
            let (name, last) = clip.rsplit_once('.')?;
            last.eq_ignore_ascii_case(ending).then_some(name)
        })
        .unwrap_or(clip)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "clip,corpus,speaker,sex,sentence,truth,angry,disgust,fear,happy,neutral,sad\n";

    fn read(text: &str) -> Result<Vec<Answered>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read_predictions(file.path())
    }

    #[test]
    fn what_other_programs_write_is_read() {
        let rows = read(
            "\u{feff}Truth,clip,corpus,speaker,sex,sentence,sad,neutral,happy,fear,disgust,angry,fold\r\n\
             ANG,1002_DFA_ANG_XX.wav,crema-d,1002,F,DFA,0.1,0.1,0.1,0.1,0.2,0.4,3\r\n\
             sadness,crema-d/1001_DFA_SAD_XX,crema-d,crema-d/1001,,,1,0,0,0,0,0,3\r\n",
        )
        .unwrap();
        let [first, second] = &rows[..] else { panic!("{rows:?}") };
        assert_eq!(
            (first.clip.as_str(), first.speaker.as_str()),
            ("crema-d/1001_DFA_SAD_XX", "crema-d/1001")
        );
        assert_eq!((first.truth, first.sex, first.answer()), (Emotion::Sad, None, 5));
        assert_eq!(
            (second.clip.as_str(), second.speaker.as_str()),
            ("crema-d/1002_DFA_ANG_XX", "crema-d/1002")
        );
        assert_eq!((second.sex, second.sentence.as_str()), (Some(Sex::Female), "DFA"));
        assert_eq!(second.probabilities, [0.4, 0.2, 0.1, 0.1, 0.1, 0.1]);
        assert!(second.is_right());
    }

    #[test]
    fn clips_that_differ_in_their_endings_alone_stay_apart() {
        let prediction = |clip: &str, truth: Emotion| crate::evaluate::Prediction {
            clip: format!("data/{clip}"),
            corpus: "data".to_owned(),
            speaker: "data/anna".to_owned(),
            sex: String::new(),
            sentence: String::new(),
            truth,
            probabilities: [0.5, 0.1, 0.1, 0.1, 0.1, 0.1],
        };
        let written = [
            prediction("angry/anna/x.wav", Emotion::Angry),
            prediction("angry/anna/x.flac", Emotion::Angry),
            prediction("angry/anna/X.WAV", Emotion::Angry),
            prediction("sad/anna/x.flac", Emotion::Sad),
            prediction("angry/anna/x.wav.wav", Emotion::Angry),
        ];
        let file = tempfile::NamedTempFile::new().unwrap();
        crate::evaluate::write_predictions(&written, file.path()).unwrap();
        let rows = read_predictions(file.path()).unwrap();
        let names: Vec<&str> = rows.iter().map(|row| row.clip.as_str()).collect();
        let expected = [
            "data/angry/anna/X",
            "data/angry/anna/x.flac",
            "data/angry/anna/x.wav",
            "data/angry/anna/x.wav.wav",
            "data/sad/anna/x",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_speakers_sex_is_that_of_any_row_that_tells() {
        let row = |n: usize, sex: &str| format!("c/{n},c,c/a,{sex},,angry,1,0,0,0,0,0\n");
        let rows = read(&[HEADER, &row(1, ""), &row(2, "male"), &row(3, "")].concat()).unwrap();
        assert!(rows.iter().all(|row| row.sex == Some(Sex::Male)));
        let error = read(&[HEADER, &row(1, ""), &row(2, "male"), &row(3, "f")].concat()).unwrap_err();
        let expected = "line 4: column 'sex': speaker c/a has another in line 3";
        assert!(error.to_string().contains(expected), "{error}");
    }

    #[test]
    fn what_is_wrong_is_said_with_line_and_column() {
        let good = "c/1,c,c/a,female,,angry,1,0,0,0,0,0\n";
        let cases = [
            (
                "clip,corpus,speaker,sex,truth,angry,disgust,fear,happy,neutral,sad\n",
                "line 1: expected a column 'sentence'",
            ),
            (
                "clip,corpus,speaker,sex,sentence,truth,angry,disgust,fear,happy,neutral\n",
                "expected a column 'sad'",
            ),
            ("", "expected a column 'clip'"),
            (HEADER, "got a header alone"),
            (
                "@c/2,c,c/a,female,,calm,1,0,0,0,0,0\n",
                "line 3: column 'truth': expected one of angry, disgust",
            ),
            (
                "@c/2,c,c/a,female,,angry,0.5,x,0,0,0,0\n",
                "line 3: column 'disgust': expected a probability in [0, 1], got 'x'",
            ),
            ("@c/2,c,c/a,female,,angry,0.5,,0,0,0,0\n", "line 3: column 'disgust'"),
            ("@c/2,c,c/a,female,,angry,1.5,0,0,0,0,0\n", "column 'angry'"),
            ("@c/2,c,c/a,female,,angry,1,0,0,0,0,-0.1\n", "column 'sad'"),
            ("@c/2,c,c/a,female,,angry,NaN,0,0,0,0,0\n", "column 'angry'"),
            (
                "@c/2,c,c/a,female,,angry,0.5,0,0,0,0,0.4\n",
                "line 3: columns 'angry' to 'sad': expected probabilities that sum to 1, got a sum of 0.9000",
            ),
            ("@c/2,c,c/a,female,,angry,1,0\n", "line 3: column 'fear'"),
            ("@c/1,c,c/a,female,,angry,1,0,0,0,0,0\n", "line 3: column 'clip': c/1 stands in line 2 already"),
            ("@1.wav,c,a,female,,angry,1,0,0,0,0,0\n", "line 3: column 'clip': c/1 stands in line 2 already"),
            (
                "@2.wav,c,a,female,,angry,1,0,0,0,0,0\nc/2.wav,c,a,female,,angry,1,0,0,0,0,0\n",
                "line 4: column 'clip': c/2 stands in line 3 already",
            ),
            (
                "@c/2,c,c/a,male,,angry,1,0,0,0,0,0\n",
                "line 3: column 'sex': speaker c/a has another in line 2",
            ),
            (
                "@c/2,c,c/a,other,,angry,1,0,0,0,0,0\n",
                "line 3: column 'sex': expected female, male or nothing",
            ),
            ("@,c,c/a,female,,angry,1,0,0,0,0,0\n", "line 3: column 'clip': expected a name"),
            ("@c/2,c,,female,,angry,1,0,0,0,0,0\n", "line 3: column 'speaker'"),
        ];
        for (text, expected) in cases {
            let text = text.replace('@', &format!("{HEADER}{good}"));
            let error = read(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
        let error = read_predictions(Path::new("no/such.csv")).unwrap_err().to_string();
        assert!(error.contains("no/such.csv"), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(tail in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let file = tempfile::NamedTempFile::new().unwrap();
            for head in ["", HEADER, &format!("{HEADER}c/1,c,c/a,female,,angry,1,0,0,")] {
                std::fs::write(file.path(), [head.as_bytes(), &tail].concat()).unwrap();
                let _ = read_predictions(file.path());
            }
        }
    }

    #[test]
    fn a_class_without_clips_is_named() {
        assert!(check_classes(Emotion::ALL.into_iter()).is_ok());
        let error = check_classes(Emotion::ALL.into_iter().skip(1)).unwrap_err().to_string();
        assert!(error.contains("no clip of angry among 5"), "{error}");
    }
}
