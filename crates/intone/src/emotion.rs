//! The six emotions that both corpora share, and their names.

use serde::{Deserialize, Serialize};

/// One of the six classes of the reference design, in the order of every probability vector of the
/// models we train.
///
/// A model file carries its own labels; this type names those that the corpora are mapped to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Emotion {
    /// Anger.
    Angry,
    /// Disgust.
    Disgust,
    /// Fear.
    Fear,
    /// Happiness.
    Happy,
    /// No particular emotion.
    Neutral,
    /// Sadness.
    Sad,
}

impl Emotion {
    /// All six, in the order of their class index.
    pub const ALL: [Emotion; 6] =
        [Emotion::Angry, Emotion::Disgust, Emotion::Fear, Emotion::Happy, Emotion::Neutral, Emotion::Sad];

    /// The class index, `0..6`.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The lower-case English name, as it stands in files and answers.
    pub fn name(self) -> &'static str {
        match self {
            Emotion::Angry => "angry",
            Emotion::Disgust => "disgust",
            Emotion::Fear => "fear",
            Emotion::Happy => "happy",
            Emotion::Neutral => "neutral",
            Emotion::Sad => "sad",
        }
    }

    /// Reads a label as people write it: a name or its noun, in any case (`angry`, `Anger`, `HAP`, `fearful`).
    pub fn from_label(label: &str) -> Option<Emotion> {
        Some(match label.trim().to_ascii_lowercase().as_str() {
            "angry" | "anger" | "ang" => Emotion::Angry,
            "disgust" | "disgusted" | "dis" => Emotion::Disgust,
            "fear" | "fearful" | "fea" | "afraid" => Emotion::Fear,
            "happy" | "happiness" | "hap" | "joy" => Emotion::Happy,
            "neutral" | "neutrality" | "neu" => Emotion::Neutral,
            "sad" | "sadness" => Emotion::Sad,
            _ => return None,
        })
    }
}

impl std::fmt::Display for Emotion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_indices_agree_with_the_order() {
        for (index, emotion) in Emotion::ALL.into_iter().enumerate() {
            assert_eq!(emotion.index(), index);
            assert_eq!(Emotion::from_label(emotion.name()), Some(emotion));
            assert_eq!(serde_json::to_string(&emotion).unwrap(), format!("\"{}\"", emotion.name()));
        }
        assert_eq!(Emotion::from_label(" Anger "), Some(Emotion::Angry));
        assert_eq!(Emotion::from_label("surprised"), None);
    }
}
