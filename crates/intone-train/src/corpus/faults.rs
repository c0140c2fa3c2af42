//! The known faults of the published corpora, as a table with reasons.

/// What is done about a known fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Remedy {
    /// The clip is left out, whether or not its twin is present.
    Drop,
    /// The file is read under its right name.
    Rename,
}

/// One known fault of a published corpus.
#[derive(Debug, PartialEq, Eq)]
pub struct KnownFault {
    /// The corpus, as in [`Clip::corpus`](super::Clip::corpus).
    pub corpus: &'static str,
    /// The stem of the file that is at fault; in MELD, where every part has the same names, behind its part.
    pub stem: &'static str,
    /// What is done about it.
    pub remedy: Remedy,
    /// The stem that it belongs to: the twin that is kept, or the right name.
    pub other: Option<&'static str>,
    /// Why.
    pub reason: &'static str,
}

/// Every known fault that a reader must act on.
///
/// The three CREMA-D pairs are byte-identical files under two labels. The crowd's voice-only votes
/// (`tabulatedVotes.csv`) on both files of a pair agree on one of them, and that one is kept: 1006_TIE is heard as
/// neutral (16 of 20 votes), 1013_WSI as disgust (12 of 18), 1017_IWW as fear (9 of 20) rather than anger (0).
pub static KNOWN_FAULTS: &[KnownFault] = &[
    KnownFault {
        corpus: super::crema_d::NAME,
        stem: "1006_TIE_HAP_XX",
        remedy: Remedy::Drop,
        other: Some("1006_TIE_NEU_XX"),
        reason: "the same bytes as 1006_TIE_NEU_XX; the crowd hears neutral, not happy",
    },
    KnownFault {
        corpus: super::crema_d::NAME,
        stem: "1013_WSI_SAD_XX",
        remedy: Remedy::Drop,
        other: Some("1013_WSI_DIS_XX"),
        reason: "the same bytes as 1013_WSI_DIS_XX; the crowd hears disgust, not sadness",
    },
    KnownFault {
        corpus: super::crema_d::NAME,
        stem: "1017_IWW_ANG_XX",
        remedy: Remedy::Drop,
        other: Some("1017_IWW_FEA_XX"),
        reason: "the same bytes as 1017_IWW_FEA_XX; the crowd hears fear, not anger",
    },
    KnownFault {
        corpus: super::crema_d::NAME,
        stem: "1076_MTI_SAD_XX",
        remedy: Remedy::Drop,
        other: None,
        reason: "every sample is zero",
    },
    KnownFault {
        corpus: super::crema_d::NAME,
        stem: "1040_ITH_SAD_X",
        remedy: Remedy::Rename,
        other: Some("1040_ITH_SAD_XX"),
        reason: "misspelt name of 1040_ITH_SAD_XX, otherwise fine",
    },
    KnownFault {
        corpus: super::ravdess::NAME,
        stem: "03-01-03-01-02-02-07",
        remedy: Remedy::Drop,
        other: Some("03-01-03-01-02-01-07"),
        reason: "the same audio as 03-01-03-01-02-01-07, stored twice",
    },
    KnownFault {
        corpus: super::meld::NAME,
        stem: "test/dia38_utt4",
        remedy: Remedy::Drop,
        other: None,
        reason: "the recording goes on for minutes, an utterance for seconds",
    },
    KnownFault {
        corpus: super::meld::NAME,
        stem: "test/dia220_utt0",
        remedy: Remedy::Drop,
        other: None,
        reason: "the recording goes on for minutes, an utterance for seconds",
    },
];

/// The known fault of one file of a corpus, by the stem of its name.
pub(super) fn known_fault(corpus: &str, stem: &str) -> Option<&'static KnownFault> {
    KNOWN_FAULTS.iter().find(|fault| fault.corpus == corpus && fault.stem == stem)
}
