//! Corpora that are recognised and not read: SAVEE and TESS, the other two of Kaggle's combined tree.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Unread;
use super::gather::Draft;

/// The four speakers of SAVEE.
const SAVEE_SPEAKERS: [&str; 4] = ["DC", "JE", "JK", "KL"];

/// The emotions of SAVEE: anger, disgust, fear, happiness, neutral, sadness, surprise.
const SAVEE_EMOTIONS: [&str; 7] = ["a", "d", "f", "h", "n", "sa", "su"];

/// The two speakers of TESS; `OA` is the misspelt `OA_bite_neutral.wav`.
const TESS_SPEAKERS: [&str; 3] = ["OAF", "YAF", "OA"];

/// The emotions of TESS; `ps` is a pleasant surprise.
const TESS_EMOTIONS: [&str; 7] = ["angry", "disgust", "fear", "happy", "neutral", "ps", "sad"];

/// True for a file of a corpus that is known by name and has no reader.
pub(super) fn claims(path: &Path) -> bool {
    name(path).is_some()
}

/// Counts the files of each such corpus in each folder right below the root.
pub(super) fn collect(root: &Path, files: &[PathBuf], draft: &mut Draft) {
    let mut counts: BTreeMap<(&str, PathBuf), usize> = BTreeMap::new();
    for path in files {
        let below = path.strip_prefix(root).unwrap_or(path);
        let mut folder = root.to_path_buf();
        if below.components().count() > 1 {
            folder.extend(below.components().next());
        }
        *counts.entry((name(path).unwrap_or_default(), folder)).or_default() += 1;
    }
    draft.unread.extend(counts.into_iter().map(|((name, folder), files)| Unread { name, folder, files }));
}

fn name(path: &Path) -> Option<&'static str> {
    let stem = path.file_stem()?.to_str()?;
    let folder = path.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
    if is_tess(stem) {
        Some("TESS")
    } else if is_savee(stem, folder) {
        Some("SAVEE")
    } else {
        None
    }
}

/// `OAF_back_angry`.
fn is_tess(stem: &str) -> bool {
    let fields: Vec<&str> = stem.split('_').collect();
    matches!(*fields, [speaker, _, emotion]
        if TESS_SPEAKERS.contains(&speaker) && TESS_EMOTIONS.contains(&emotion.to_ascii_lowercase().as_str()))
}

/// `DC_a01` on Kaggle, `DC/a01` as published.
fn is_savee(stem: &str, folder: &str) -> bool {
    let (speaker, take) = stem.split_once('_').unwrap_or((folder, stem));
    let emotion = take.trim_end_matches(|c: char| c.is_ascii_digit());
    SAVEE_SPEAKERS.contains(&speaker) && SAVEE_EMOTIONS.contains(&emotion) && take.len() == emotion.len() + 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_two_of_kaggles_tree_are_known() {
        let cases = [
            ("Tess/OAF_angry/OAF_back_angry.wav", Some("TESS")),
            ("Tess/OAF_neutral/OA_bite_neutral.wav", Some("TESS")),
            ("Tess/YAF_pleasant_surprised/YAF_back_ps.wav", Some("TESS")),
            ("Savee/DC_a01.wav", Some("SAVEE")),
            ("Savee/KL_su15.wav", Some("SAVEE")),
            ("AudioData/JK/sa03.wav", Some("SAVEE")),
            ("JK/sa003.wav", None),
            ("XY/sa03.wav", None),
            ("a01.wav", None),
            ("calls/OAF_back_anger.wav", None),
        ];
        for (path, expected) in cases {
            assert_eq!(name(Path::new(path)), expected, "{path}");
        }
    }
}
