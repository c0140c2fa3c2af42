//! What the name of a clip tells of it: enough to group predictions of which nothing else is left.

use std::path::Path;

use super::gather::Candidate;
use super::{Level, Sex, cafe, crema_d, emodb, emovo, ravdess, savee, tess};

/// What a published corpus says of a clip, as far as it says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Facts {
    /// The speaker's sex.
    pub sex: Option<Sex>,
    /// The speaker's age at the recording, years.
    pub age: Option<u8>,
    /// The sentence, as the corpus numbers it.
    pub sentence: Option<String>,
    /// How strongly the emotion was to be acted.
    pub level: Option<Level>,
}

/// The facts behind an id such as `crema-d/1001_DFA_ANG_XX`; none where the corpus or the name is not known.
pub fn facts(clip: &str) -> Facts {
    let of_file = |candidate: fn(&Path) -> Option<Candidate>, stem: &str| {
        // A stem with an ending, which is not part of the name.
        let Candidate { sex, age, sentence, level, .. } = candidate(Path::new(&format!("{stem}.wav")))?;
        Some(Facts { sex, age, sentence, level })
    };
    let known = match clip.split_once('/') {
        Some((crema_d::NAME, stem)) => crema_d::facts(stem),
        Some((ravdess::NAME, stem)) => ravdess::facts(stem),
        Some((tess::NAME, stem)) => of_file(tess::candidate, stem),
        Some((savee::NAME, stem)) => of_file(savee::candidate, stem),
        Some((emodb::NAME, stem)) => of_file(emodb::candidate, stem),
        Some((emovo::NAME, stem)) => of_file(emovo::candidate, stem),
        Some((cafe::NAME, stem)) => of_file(cafe::candidate, stem),
        _ => None,
    };
    known.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_their_corpus_says() {
        let crema_d = facts("crema-d/1001_DFA_ANG_HI");
        let expected = Facts {
            sex: Some(Sex::Male),
            age: Some(51),
            sentence: Some("DFA".to_owned()),
            level: Some(Level::High),
        };
        assert_eq!(crema_d, expected);
        let ravdess = facts("ravdess/03-01-05-02-01-02-12");
        assert_eq!((ravdess.sex, ravdess.age, ravdess.level), (Some(Sex::Female), None, Some(Level::Strong)));
        let emodb = facts("emodb/03a01Fa");
        assert_eq!(
            (emodb.sex, emodb.age, emodb.sentence.as_deref()),
            (Some(Sex::Male), Some(31), Some("a01"))
        );
        assert_eq!(facts("cafe/02-C-2-6").level, Some(Level::Strong));
        for unknown in ["calls/17", "crema-d/17", "ravdess", ""] {
            assert_eq!(facts(unknown), Facts::default(), "{unknown}");
        }
    }
}
