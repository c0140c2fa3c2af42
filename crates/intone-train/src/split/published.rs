//! Published speaker-independent partitions: actor numbers, and where each is from.

// audEERING: github audeering/crema-d @92753e7, 1.1.0/speaker_splits.json.

/// CREMA-D, audEERING 1.1.0, part `train`.
#[rustfmt::skip]
pub(super) const AUDEERING_TRAIN: [u16; 56] = [
    1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 1015, 1016,
    1017, 1018, 1019, 1020, 1021, 1022, 1023, 1024, 1025, 1026, 1027, 1028, 1029, 1030, 1031, 1032,
    1033, 1034, 1035, 1036, 1037, 1038, 1039, 1040, 1041, 1042, 1043, 1044, 1045, 1046, 1047, 1050,
    1051, 1052, 1056, 1057, 1060, 1072, 1073, 1081,
];

/// CREMA-D, audEERING 1.1.0, part `dev`.
#[rustfmt::skip]
pub(super) const AUDEERING_DEV: [u16; 18] = [
    1049, 1053, 1054, 1055, 1058, 1059, 1061, 1062, 1063, 1064, 1065, 1066, 1067, 1068, 1070, 1075,
    1080, 1085,
];

/// CREMA-D, audEERING 1.1.0, part `test`.
#[rustfmt::skip]
pub(super) const AUDEERING_TEST: [u16; 17] = [
    1048, 1069, 1071, 1074, 1076, 1077, 1078, 1079, 1082, 1083, 1084, 1086, 1087, 1088, 1089, 1090,
    1091,
];

// TensorFlow Datasets, crema_d 1.0.0: numpy's RandomState(0) shuffles the sorted actors, 70 / 10 / 20 %. The clip
// counts of its catalogue (5,144 / 738 / 1,556) come out with its four excluded files: 1040_ITH_SAD_XX, and of each
// pair of twins the other one than ours.

/// CREMA-D, TensorFlow Datasets, part `train`.
#[rustfmt::skip]
pub(super) const TFDS_TRAIN: [u16; 63] = [
    1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009, 1011, 1012, 1014, 1016, 1017, 1018, 1019,
    1023, 1024, 1025, 1027, 1028, 1029, 1031, 1032, 1033, 1034, 1035, 1036, 1039, 1041, 1042, 1043,
    1044, 1046, 1049, 1051, 1052, 1053, 1054, 1055, 1056, 1057, 1058, 1060, 1061, 1062, 1063, 1064,
    1067, 1069, 1072, 1074, 1075, 1076, 1077, 1078, 1080, 1081, 1082, 1083, 1085, 1087, 1091,
];

/// CREMA-D, TensorFlow Datasets, part `validation`.
#[rustfmt::skip]
pub(super) const TFDS_VALIDATION: [u16; 9] = [
    1015, 1020, 1021, 1030, 1050, 1070, 1079, 1089, 1090,
];

/// CREMA-D, TensorFlow Datasets, part `test`.
#[rustfmt::skip]
pub(super) const TFDS_TEST: [u16; 19] = [
    1010, 1013, 1022, 1026, 1037, 1038, 1040, 1045, 1047, 1048, 1059, 1065, 1066, 1068, 1071, 1073,
    1084, 1086, 1088,
];

/// RAVDESS, EmoBox, test actors of folds 1 to 6: github emo-box/EmoBox @08280f2,
/// data/ravdess/fold_k/ravdess_test_fold_k.jsonl. All other actors are for training; there is no validation part.
pub(super) const EMOBOX_TEST: [&[u16]; 6] =
    [&[1, 11, 20, 21], &[4, 10, 12, 14], &[8, 9, 19, 23], &[3, 5, 7, 24], &[2, 15, 16, 18], &[6, 13, 17, 22]];

/// RAVDESS, test actors of folds 0 to 4 of Luna-Jimenez et al.: github cristinalunaj/MMEmotionRecognition
/// (subject-wise five-fold cross-validation). All other actors are for training; there is no validation part.
pub(super) const LUNA_JIMENEZ_TEST: [&[u16]; 5] =
    [&[2, 5, 14, 15, 16], &[3, 6, 7, 13, 18], &[10, 11, 12, 19, 20], &[8, 17, 21, 23, 24], &[1, 4, 9, 22]];

/// Actors of the default protocol's validation part: of audEERING's `dev` actors the four women and the four men with the
/// lowest numbers. A rule rather than a choice, so that nobody picked them by a result.
pub(super) const DEFAULT_CREMA_D_VALIDATION: [u16; 8] = [1049, 1053, 1054, 1055, 1059, 1062, 1064, 1065];

/// Actors of the default protocol's validation part: a man and a woman (EmoBox folds 4 and 3).
pub(super) const DEFAULT_RAVDESS_VALIDATION: [u16; 2] = [3, 8];

/// The default protocol's RAVDESS test actors are EmoBox fold 2; fold 1 is never touched: it is kept for the
/// acceptance of a finished model, as are audEERING's `test` actors.
pub(super) const DEFAULT_RAVDESS_TEST_FOLD: usize = 2;

/// EmoBox folds whose test actors train the default protocol's models.
pub(super) const DEFAULT_RAVDESS_TRAIN_FOLDS: std::ops::RangeInclusive<usize> = 3..=6;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::corpus::{Sex, crema_d, ravdess};

    #[test]
    fn partitions_cover_every_actor_once() {
        let crema_d: Vec<u16> = (1001..=1091).collect();
        let ravdess: Vec<u16> = (1..=24).collect();
        let partitions = [
            ("audeering", &crema_d, vec![&AUDEERING_TRAIN[..], &AUDEERING_DEV, &AUDEERING_TEST]),
            ("tfds", &crema_d, vec![&TFDS_TRAIN, &TFDS_VALIDATION, &TFDS_TEST]),
            ("emobox", &ravdess, EMOBOX_TEST.to_vec()),
            ("luna-jimenez", &ravdess, LUNA_JIMENEZ_TEST.to_vec()),
        ];
        for (name, everybody, parts) in partitions {
            let mut actors = parts.concat();
            actors.sort_unstable();
            assert_eq!(&actors, everybody, "{name}");
        }
    }

    #[test]
    fn the_default_validation_actors_follow_their_rule() {
        let lowest = |sex| AUDEERING_DEV.into_iter().filter(move |&actor| crema_d::sex(actor) == sex).take(4);
        let by_rule: BTreeSet<u16> = lowest(Sex::Female).chain(lowest(Sex::Male)).collect();
        assert_eq!(by_rule, BTreeSet::from(DEFAULT_CREMA_D_VALIDATION));
        assert!(AUDEERING_DEV.is_sorted());
        assert_eq!(
            DEFAULT_RAVDESS_VALIDATION.map(|actor| ravdess::sex(actor as u8)),
            [Sex::Male, Sex::Female]
        );
    }
}
