//! The readers on the layouts that users have: made-up files under real names, then the real recordings.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests, which may panic and print")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use intone::Emotion;
use intone_train::corpus::{
    Clip, Corpus, FaultKind, Level, Reason, Remedy, Sex, Votes, cafe, crema_d, emodb, emovo, folder,
    manifest, ravdess, read_roots, savee, tess,
};
use intone_train::split::{Part, Protocol};

mod common;

use common::{real_data, tree};

const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/v1\n\
    oid sha256:c6f94b2592487c7556bd86df7df6e8f4420d1b9c11414aeec9d8e5e640b51495\nsize 72862\n";

/// A folder of files that each hold their own path, which makes every content distinct.
fn folder_of(paths: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    tree(root.path(), paths.iter().map(|path| (*path, path.as_bytes())));
    root
}

fn read_one(root: &Path) -> Corpus {
    read_roots(&[root.to_path_buf()]).unwrap()
}

fn ids(corpus: &Corpus) -> Vec<&str> {
    corpus.clips.iter().map(|clip| clip.id.as_str()).collect()
}

/// Exclusions as `(file below the root, reason)`.
fn reasons<'a>(corpus: &'a Corpus, root: &Path) -> Vec<(String, &'a Reason)> {
    let below = |path: &Path| path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
    corpus.excluded.iter().map(|exclusion| (below(&exclusion.path), &exclusion.reason)).collect()
}

fn known_stem(reason: &Reason) -> Option<&'static str> {
    match reason {
        Reason::Known(fault) => Some(fault.stem),
        _ => None,
    }
}

#[test]
fn ravdess_as_published() {
    let root = folder_of(&[
        "Actor_01/03-01-01-01-01-01-01.wav",
        "Actor_01/03-01-02-01-01-01-01.wav",
        "Actor_01/03-01-08-02-02-02-01.wav",
        "Actor_12/03-01-06-02-02-01-12.wav",
        "Actor_12/03-02-06-02-02-01-12.wav",
        "Actor_12/01-01-06-02-02-01-12.mp4",
        "Actor_12/02-01-06-02-02-01-12.mp4",
        "README.txt",
    ]);
    let corpus = read_one(root.path());
    assert_eq!(ids(&corpus), ["ravdess/03-01-01-01-01-01-01", "ravdess/03-01-06-02-02-01-12"]);
    let clip = &corpus.clips[1];
    let facts = (clip.speaker.as_str(), clip.emotion, clip.sex, clip.sentence.as_deref(), clip.level);
    assert_eq!(facts, ("ravdess/12", Emotion::Fear, Some(Sex::Female), Some("02"), Some(Level::Strong)));
    assert_eq!(corpus.clips[0].sex, Some(Sex::Male));
    let by_emotion = |name: &str| Reason::OtherEmotion(name.to_owned());
    let reasons = reasons(&corpus, root.path());
    assert_eq!(reasons[0], ("Actor_01/03-01-02-01-01-01-01.wav".to_owned(), &by_emotion("calm")));
    assert_eq!(reasons[1], ("Actor_01/03-01-08-02-02-02-01.wav".to_owned(), &by_emotion("surprised")));
    let not_speech = reasons[2..].iter().filter(|(_, reason)| matches!(reason, Reason::NotSpeech(_)));
    assert_eq!((not_speech.count(), reasons.len()), (3, 5));
    assert_eq!(corpus.faults, []);
}

#[test]
fn kaggles_doubled_ravdess_tree_gives_every_recording_once() {
    let mut files = Vec::new();
    for stem in ravdess::published_stems() {
        let actor = &stem[18..];
        for nest in ["", "audio_speech_actors_01-24/"] {
            files.push((format!("{nest}Actor_{actor}/{stem}.wav"), stem.clone()));
        }
    }
    let root = tempfile::tempdir().unwrap();
    tree(root.path(), files.iter().map(|(path, content)| (path.as_str(), content.as_bytes())));
    assert_eq!(files.len(), 2880);

    let corpus = read_one(root.path());
    assert_eq!((corpus.clips.len(), corpus.faults.len()), (1055, 0));
    let count = |wanted: fn(&Reason) -> bool| corpus.excluded.iter().filter(|e| wanted(&e.reason)).count();
    assert_eq!(count(|reason| matches!(reason, Reason::SameClip(_))), 1440);
    assert_eq!(count(|reason| *reason == Reason::OtherEmotion("calm".to_owned())), 192);
    assert_eq!(count(|reason| *reason == Reason::OtherEmotion("surprised".to_owned())), 192);
    assert_eq!(count(|reason| known_stem(reason) == Some("03-01-03-01-02-02-07")), 1);
    assert_eq!(corpus.excluded.len(), 1440 + 192 + 192 + 1);
    assert_eq!(ravdess::read(root.path()).unwrap().clips, corpus.clips);
}

#[test]
fn kaggles_combined_tree_is_read_as_four_corpora() {
    let root = folder_of(&[
        "Crema/1001_DFA_ANG_XX.wav",
        "Crema/1002_IEO_SAD_HI.wav",
        "Ravdess/audio_speech_actors_01-24/Actor_01/03-01-05-01-01-01-01.wav",
        "Savee/DC_a01.wav",
        "Savee/KL_su15.wav",
        "Tess/OAF_angry/OAF_back_angry.wav",
        "Tess/YAF_pleasant_surprised/YAF_back_ps.wav",
        "Tess/OAF_neutral/OA_bite_neutral.wav",
    ]);
    let corpus = read_one(root.path());
    assert_eq!(
        ids(&corpus),
        [
            "crema-d/1001_DFA_ANG_XX",
            "crema-d/1002_IEO_SAD_HI",
            "ravdess/03-01-05-01-01-01-01",
            "savee/DC_a01",
            "tess/OAF_back_angry",
            "tess/OAF_bite_neutral",
        ]
    );
    let reasons: Vec<Reason> = corpus.excluded.iter().map(|exclusion| exclusion.reason.clone()).collect();
    let other = |name: &str| Reason::OtherEmotion(name.to_owned());
    assert_eq!(reasons, [other("surprise"), other("pleasant surprise")]);
    assert_eq!(corpus.faults, []);
}

/// One clip of a corpus: its id, speaker, emotion, sex and sentence.
fn told(clip: &Clip) -> (&str, &str, Emotion, Option<Sex>, Option<&str>) {
    (&clip.id, &clip.speaker, clip.emotion, clip.sex, clip.sentence.as_deref())
}

#[test]
fn emodb_emovo_and_cafe_by_their_names() {
    let root = folder_of(&[
        "emodb/wav/03a01Fa.wav",
        "emodb/wav/08b02Wb.wav",
        "emodb/wav/10b09Ld.wav",
        "EMOVO/f1/rab-f1-b1.wav",
        "EMOVO/m3/sor-m3-n5.wav",
        "CaFE/Colere/Fort/02-C-2-6.wav",
        "CaFE/Neutre/01-N-1-1.wav",
        "CaFE/Surprise/Faible/03-S-1-2.wav",
    ]);
    let corpus = read_one(root.path());
    let clips: Vec<_> = corpus.clips.iter().map(told).collect();
    let expected = [
        ("cafe/01-N-1-1", "cafe/01", Emotion::Neutral, Some(Sex::Male), Some("1")),
        ("cafe/02-C-2-6", "cafe/02", Emotion::Angry, Some(Sex::Female), Some("6")),
        ("emodb/03a01Fa", "emodb/03", Emotion::Happy, Some(Sex::Male), Some("a01")),
        ("emodb/08b02Wb", "emodb/08", Emotion::Angry, Some(Sex::Female), Some("b02")),
        ("emovo/rab-f1-b1", "emovo/f1", Emotion::Angry, Some(Sex::Female), Some("b1")),
    ];
    assert_eq!(clips, expected);
    assert_eq!((corpus.clips[1].level, corpus.clips[2].age), (Some(Level::Strong), Some(31)));
    let left_out: Vec<_> =
        corpus.excluded.iter().map(|exclusion| (exclusion.corpus.as_str(), &exclusion.reason)).collect();
    let other = |name: &str| Reason::OtherEmotion(name.to_owned());
    assert_eq!(
        left_out,
        [("cafe", &other("surprise")), ("emodb", &other("boredom")), ("emovo", &other("surprise"))]
    );
    assert_eq!(corpus.faults, []);

    // Read as one of them, a name that is another's is named.
    for (read, expected) in [
        (emodb::read as fn(&Path) -> _, "not a EmoDB name: expected speaker, text, emotion"),
        (emovo::read, "not a EMOVO name: expected EMOTION-SPEAKER-SENTENCE (rab-f1-b1), got '03a01Fa'"),
        (cafe::read, "not a CaFE name"),
        (tess::read, "not a TESS name"),
        (savee::read, "not a SAVEE name"),
    ] {
        let corpus: Corpus = read(root.path()).unwrap();
        let faults: Vec<String> = corpus.faults.iter().map(|fault| fault.kind.to_string()).collect();
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{expected}: {faults:?}");
    }
}

#[test]
fn meld_with_its_tables() {
    let root = folder_of(&[
        "MELD.Raw/train_splits/dia0_utt0.mp4",
        "MELD.Raw/train_splits/dia0_utt1.mp4",
        "MELD.Raw/dev_splits_complete/dia0_utt0.mp4",
        "MELD.Raw/output_repeated_splits_test/dia3_utt7.mp4",
        "MELD.Raw/dia5_utt5.mp4",
    ]);
    let header = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID\n";
    let train = format!(
        "{header}1,\"Hey, you!\",Chandler,anger,negative,0,0\n2,So?,The Interviewer,surprise,positive,0,1\n"
    );
    let dev = format!("{header}1,Oh.,Phoebe,joy,positive,0,0\n");
    tree(
        root.path(),
        [("MELD.Raw/train_sent_emo.csv", train.as_bytes()), ("MELD.Raw/dev_sent_emo.csv", dev.as_bytes())],
    );
    let corpus = read_one(root.path());
    let clips: Vec<_> = corpus.clips.iter().map(told).collect();
    let expected = [
        ("meld/dev/dia0_utt0", "meld/Phoebe", Emotion::Happy, None, None),
        ("meld/train/dia0_utt0", "meld/Chandler", Emotion::Angry, None, None),
    ];
    assert_eq!(clips, expected);
    assert!(corpus.clips.iter().all(|clip| clip.part.is_none()), "the parts share their speakers");
    assert_eq!(corpus.excluded[0].reason, Reason::OtherEmotion("surprise".to_owned()));
    let faults: Vec<String> = corpus.faults.iter().map(|fault| fault.kind.to_string()).collect();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].contains("expected a folder named after train, dev or test"), "{faults:?}");
    assert!(faults[1].contains("no row for it in test_sent_emo.csv"), "{faults:?}");
}

#[test]
fn known_faults_of_meld_are_dropped_and_rows_without_a_file_are_told() {
    let root = folder_of(&[
        "train/dia38_utt4.mp4",
        "test/dia38_utt4.mp4",
        "test/dia220_utt0.mp4",
        "test/dia220_utt1.mp4",
    ]);
    let header = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID\n";
    let table = format!(
        "{header}1,Hey.,Ross,anger,negative,38,4\n2,\"So?\nSo.\",Joey,joy,positive,220,0\n\
         3,Oh.,Joey,sadness,negative,220,1\n4,Oh!,Joey,surprise,negative,7,12\n5,No.,Ross,fear,negative,7,2\n"
    );
    let train = format!("{header}1,Hey.,Ross,anger,negative,38,4\n");
    tree(
        root.path(),
        [
            ("test_sent_emo.csv", table.as_bytes()),
            ("train_sent_emo.csv", train.as_bytes()),
            // Of this part there is nothing at all: nobody misses a file of it.
            ("dev_sent_emo.csv", table.as_bytes()),
        ],
    );
    let corpus = read_one(root.path());
    assert_eq!(ids(&corpus), ["meld/test/dia220_utt1", "meld/train/dia38_utt4"]);
    let dropped: Vec<_> = corpus.excluded.iter().filter_map(|e| known_stem(&e.reason)).collect();
    assert_eq!(dropped, ["test/dia220_utt0", "test/dia38_utt4"]);
    let faults: Vec<_> = corpus.faults.iter().map(|fault| (&fault.path, fault.kind.to_string())).collect();
    let table = root.path().join("test_sent_emo.csv");
    let expected = [
        (&table, "line 7: no file dia7_utt2 in the test part".to_owned()),
        (&table, "line 6: no file dia7_utt12 in the test part".to_owned()),
    ];
    assert_eq!(faults, expected);
}

#[test]
fn iemocap_with_its_labels() {
    let wav = "IEMOCAP_full_release/Session1/sentences/wav/Ses01F_impro01";
    let turns =
        ["F000", "M001", "M002", "F003", "F004"].map(|turn| format!("{wav}/Ses01F_impro01_{turn}.wav"));
    let root = folder_of(&turns.each_ref().map(String::as_str));
    let labels = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n\
        [6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]\nC-E2:\tNeutral;\t()\n\
        [9.1 - 9.9]\tSes01F_impro01_M001\tang\t[2.5, 2.5, 2.5]\n\
        [10.1 - 10.9]\tSes01F_impro01_M002\texc\t[2.5, 2.5, 2.5]\n\
        [11.1 - 12.9]\tSes01F_impro01_F003\txxx\t[2.5, 2.5, 2.5]\n";
    let path = "IEMOCAP_full_release/Session1/dialog/EmoEvaluation/Ses01F_impro01.txt";
    tree(root.path(), [(path, labels.as_bytes())]);
    let corpus = read_one(root.path());
    let clips: Vec<_> = corpus.clips.iter().map(told).collect();
    let expected = [
        ("iemocap/Ses01F_impro01_F000", "iemocap/Ses01F", Emotion::Neutral, Some(Sex::Female), None),
        ("iemocap/Ses01F_impro01_M001", "iemocap/Ses01M", Emotion::Angry, Some(Sex::Male), None),
    ];
    assert_eq!(clips, expected);
    let reasons: Vec<_> = corpus.excluded.iter().map(|exclusion| exclusion.reason.clone()).collect();
    let other = |name: &str| Reason::OtherEmotion(name.to_owned());
    assert_eq!(reasons, [other("no majority of listeners"), other("excited")]);
    let faults: Vec<String> = corpus.faults.iter().map(|fault| fault.kind.to_string()).collect();
    assert!(faults.len() == 1 && faults[0].contains("no label in"), "{faults:?}");
}

#[test]
fn crema_d_with_its_tables() {
    let root = folder_of(&["CREMA-D/AudioWAV/1001_IEO_HAP_LO.wav", "CREMA-D/AudioWAV/1002_DFA_NEU_XX.wav"]);
    let demographics = "\"ActorID\",\"Age\",\"Sex\",\"Race\",\"Ethnicity\"\n1001,51,\"Male\",\"a\",\"b\"\n";
    let votes = "\"\",\"A\",\"D\",\"F\",\"H\",\"N\",\"S\",\"fileName\"\n\
                 \"100002\",0,0,0,3,6,0,\"1001_IEO_HAP_LO\"\n\"200002\",9,0,0,0,0,0,\"1001_IEO_HAP_LO\"\n";
    tree(
        root.path(),
        [
            ("CREMA-D/VideoDemographics.csv", demographics.as_bytes()),
            ("CREMA-D/processedResults/tabulatedVotes.csv", votes.as_bytes()),
        ],
    );
    let corpus = read_one(root.path());
    let [first, second] = corpus.clips.as_slice() else { panic!("{:?}", ids(&corpus)) };
    assert_eq!((first.sex, first.age), (Some(Sex::Male), Some(51)));
    assert_eq!(first.votes, Some(Votes([0, 0, 0, 3, 6, 0])));
    assert_eq!((first.sentence.as_deref(), first.level), (Some("IEO"), Some(Level::Low)));
    // No row in either table: the sex is known all the same.
    assert_eq!((second.sex, second.age, second.votes), (Some(Sex::Female), Some(21), None));
    assert_eq!(second.level, None);
    assert_eq!(corpus.tables.len(), 2);

    // A broken table is named, and does not keep the audio from being read.
    std::fs::write(root.path().join("CREMA-D/VideoDemographics.csv"), "who,what\n1,2\n").unwrap();
    let corpus = read_one(root.path());
    assert_eq!(corpus.clips.len(), 2);
    assert!(matches!(&corpus.faults[0].kind, FaultKind::BadTable { what, .. } if what.contains("ActorID")));
}

#[test]
fn known_faults_of_crema_d_are_dropped_with_and_without_their_twins() {
    let root = tempfile::tempdir().unwrap();
    let pairs =
        ["1006_TIE_HAP_XX", "1006_TIE_NEU_XX", "1013_WSI_SAD_XX", "1013_WSI_DIS_XX", "1017_IWW_ANG_XX"];
    let paths: Vec<String> = pairs.iter().map(|stem| format!("AudioWAV/{stem}.wav")).collect();
    // Twins have the same bytes; the fear twin of 1017_IWW_ANG_XX is absent.
    tree(root.path(), paths.iter().map(|path| (path.as_str(), &path.as_bytes()[..17])));
    tree(
        root.path(),
        [("AudioWAV/1076_MTI_SAD_XX.wav", &b"zeros"[..]), ("AudioWAV/1040_ITH_SAD_X.wav", b"fine")],
    );
    let corpus = read_one(root.path());
    assert_eq!(
        ids(&corpus),
        ["crema-d/1006_TIE_NEU_XX", "crema-d/1013_WSI_DIS_XX", "crema-d/1040_ITH_SAD_XX"]
    );
    let dropped: Vec<_> = corpus.excluded.iter().filter_map(|e| known_stem(&e.reason)).collect();
    assert_eq!(dropped, ["1006_TIE_HAP_XX", "1013_WSI_SAD_XX", "1017_IWW_ANG_XX", "1076_MTI_SAD_XX"]);
    assert_eq!(corpus.faults, []);
    let (path, fault) = &corpus.renamed[0];
    assert!(path.ends_with("1040_ITH_SAD_X.wav") && fault.remedy == Remedy::Rename);

    // Beside a file of the right name, the misspelt one is its copy.
    tree(root.path(), [("AudioWAV/1040_ITH_SAD_XX.wav", &b"fine"[..])]);
    let corpus = read_one(root.path());
    let copies = corpus.excluded.iter().filter(|e| matches!(e.reason, Reason::SameClip(_))).count();
    assert_eq!((corpus.clips.len(), copies, corpus.renamed.len()), (3, 1, 1));
}

#[test]
fn git_lfs_pointers_and_other_non_audio_are_named() {
    let root = tempfile::tempdir().unwrap();
    tree(
        root.path(),
        [
            ("CREMA-D-master/AudioWAV/1001_DFA_ANG_XX.wav", LFS_POINTER),
            ("CREMA-D-master/AudioWAV/1001_DFA_DIS_XX.wav", b""),
            ("CREMA-D-master/AudioWAV/1001_DFA_FEA_XX.wav", b"audio"),
            ("CREMA-D-master/AudioWAV/1001_DFA_FEA.wav", b"more audio"),
            ("CREMA-D-master/AudioWAV/._1001_DFA_FEA_XX.wav", b"resource fork"),
            ("__MACOSX/Actor_01/._03-01-05-01-01-01-01.wav", b"resource fork"),
            ("CREMA-D-master/AudioWAV/.DS_Store", b"x"),
            ("CREMA-D-master/.git/lfs/1001_DFA_HAP_XX.wav", b"hidden"),
            ("notes/voice memo.m4a", b"memo"),
        ],
    );
    let corpus = read_one(root.path());
    assert_eq!(ids(&corpus), ["crema-d/1001_DFA_FEA_XX"]);
    let kinds: BTreeMap<_, _> = corpus
        .faults
        .iter()
        .map(|fault| (fault.path.file_name().unwrap().to_str().unwrap(), &fault.kind))
        .collect();
    assert_eq!(kinds["1001_DFA_ANG_XX.wav"], &FaultKind::LfsPointer);
    assert_eq!(kinds["1001_DFA_DIS_XX.wav"], &FaultKind::Empty);
    assert_eq!(kinds["voice memo.m4a"], &FaultKind::Unknown);
    assert!(matches!(kinds["1001_DFA_FEA.wav"], FaultKind::BadName { corpus: "CREMA-D", what }
        if what.contains("1001_DFA_FEA")));
    assert_eq!(kinds.len(), 4);
    let mac_os = corpus.excluded.iter().filter(|e| e.reason == Reason::MacOs);
    assert_eq!(mac_os.map(|e| e.corpus.as_str()).collect::<Vec<_>>(), ["crema-d", "ravdess"]);
}

#[test]
fn a_lossless_file_wins_over_a_lossy_copy_and_a_usable_one_over_a_pointer() {
    let root = tempfile::tempdir().unwrap();
    tree(
        root.path(),
        [
            ("AudioMP3/1001_DFA_ANG_XX.mp3", &b"mp3"[..]),
            ("AudioWAV/1001_DFA_ANG_XX.wav", b"wav"),
            ("AudioMP3/1001_DFA_SAD_XX.mp3", b"mp3 too"),
            ("AudioWAV/1001_DFA_SAD_XX.wav", LFS_POINTER),
        ],
    );
    let corpus = read_one(root.path());
    let paths: Vec<_> =
        corpus.clips.iter().map(|clip| clip.path.strip_prefix(root.path()).unwrap()).collect();
    assert_eq!(paths, [Path::new("AudioWAV/1001_DFA_ANG_XX.wav"), Path::new("AudioMP3/1001_DFA_SAD_XX.mp3")]);
    assert_eq!((corpus.excluded.len(), corpus.faults.len()), (1, 1));
}

#[test]
fn a_folder_per_label() {
    let root = folder_of(&[
        "calls/angry/anna/1.wav",
        "calls/angry/bert/2.ogg",
        "calls/Sadness/anna/3.flac",
        "calls/surprised/anna/4.wav",
        "calls/readme/5.wav",
    ]);
    let calls = root.path().join("calls");
    let corpus = read_one(&calls);
    let speakers: Vec<_> = corpus.clips.iter().map(|clip| (clip.speaker.as_str(), clip.emotion)).collect();
    assert_eq!(
        speakers,
        [("calls/anna", Emotion::Sad), ("calls/anna", Emotion::Angry), ("calls/bert", Emotion::Angry)]
    );
    assert_eq!(corpus.clips[1].id, "calls/angry/anna/1.wav");
    assert_eq!(corpus.excluded[0].reason, Reason::OtherEmotion("surprised".to_owned()));
    assert_eq!((corpus.faults.len(), &corpus.faults[0].kind), (1, &FaultKind::Unknown));
    assert_eq!(folder::read(&calls).unwrap().clips, corpus.clips);
}

#[test]
fn two_folders_of_one_name_do_not_collide() {
    let root = folder_of(&["a/data/angry/1.wav", "b/data/angry/1.wav", "c/ravdess/angry/1.wav"]);
    let roots = ["a/data", "b/data", "c/ravdess", "a"].map(|name| root.path().join(name));
    let corpus = read_roots(&roots).unwrap();
    assert_eq!(ids(&corpus), ["data/angry/1.wav", "data-2/angry/1.wav", "ravdess-2/angry/1.wav"]);
    assert_eq!(corpus.excluded, []);
}

#[test]
fn the_same_bytes_under_two_names() {
    let root = tempfile::tempdir().unwrap();
    tree(
        root.path(),
        [
            ("angry/a/1.wav", &b"one"[..]),
            ("angry/b/2.wav", b"one"),
            ("happy/a/3.wav", b"two"),
            ("sad/a/4.wav", b"two"),
            ("sad/a/5.wav", b"three"),
        ],
    );
    let corpus = read_one(root.path());
    let names: Vec<_> = corpus.clips.iter().map(|clip| clip.path.file_name().unwrap()).collect();
    assert_eq!(names, ["1.wav", "5.wav"]);
    assert_eq!(corpus.excluded[0].reason, Reason::SameBytes(root.path().join("angry/a/1.wav")));
    let conflicts: Vec<_> = corpus.faults.iter().map(|fault| &fault.kind).collect();
    let conflict = |path: &str| FaultKind::Conflict(root.path().join(path));
    assert_eq!(conflicts, [&conflict("sad/a/4.wav"), &conflict("happy/a/3.wav")]);
}

#[test]
fn a_manifest() {
    let root = folder_of(&["audio/1.wav", "audio/2.wav", "audio/3.wav", "audio/4.wav", "stray.wav"]);
    let text = "Speaker,PATH,label,split,note\n\
                anna,audio/1.wav,Anger,train,x\n\
                anna,audio/2.wav,sad,,y\n\
                bert,\"audio/3.wav\",calm,test,z\n\
                bert,audio/9.wav,sad,dev,missing file\n\
                bert,audio/4.wav,angy,dev,\n\
                ,audio/4.wav,angry,dev,\n\
                bert,audio/4.wav,angry,middle,\n\
                bert,,angry,test,\n\
                bert,audio/1.wav,sad,test,\n\
                bert,audio/4.wav,happy,valid,\n";
    tree(root.path(), [("manifest.csv", text.as_bytes()), ("calls.csv", text.as_bytes())]);
    let name = root.path().file_name().unwrap().to_str().unwrap().to_owned();

    let corpus = read_one(root.path());
    let clips: Vec<_> = corpus.clips.iter().map(|c| (c.speaker.clone(), c.emotion, c.part)).collect();
    let anna = format!("{name}/anna");
    assert_eq!(
        clips,
        [
            (anna.clone(), Emotion::Angry, Some(Part::Train)),
            (anna, Emotion::Sad, None),
            (format!("{name}/bert"), Emotion::Happy, Some(Part::Validation)),
        ]
    );
    assert_eq!(corpus.excluded[0].reason, Reason::OtherEmotion("calm".to_owned()));
    let faults: Vec<String> = corpus.faults.iter().map(|fault| fault.kind.to_string()).collect();
    let expected = [
        "No such file",
        "line 6: label: expected one of angry, disgust, fear, happy, neutral, sad, got 'angy'",
        "line 7: speaker",
        "line 8: split: expected train, validation or test, got 'middle'",
        "line 9: path",
        "line 10: ",
    ];
    for expected in expected {
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{expected}: {faults:#?}");
    }
    assert_eq!(faults.len(), expected.len());

    let named = manifest::read(&root.path().join("calls.csv")).unwrap();
    assert_eq!(named.clips[0].speaker, "calls/anna");
    let given = read_roots(&[root.path().join("calls.csv")]).unwrap();
    assert_eq!(given.clips, named.clips);
    let split = Protocol::Manifest.split(&given).unwrap();
    assert_eq!(Part::ALL.map(|part| split.part(part).len()), [1, 1, 0]);
    assert_eq!(split.left_out().len(), 1);
}

#[test]
fn a_manifest_tells_a_speakers_sex_once_or_more_often_but_not_twice() {
    let root = folder_of(&["1.wav", "2.wav", "3.wav", "4.wav"]);
    let text = "path,label,speaker,sex\n1.wav,sad,anna,\n2.wav,happy,anna,f\n3.wav,sad,bert,male\n4.wav,sad,anna,m\n";
    tree(root.path(), [("manifest.csv", text.as_bytes())]);
    let corpus = read_one(root.path());
    let sexes: Vec<_> = corpus.clips.iter().map(|clip| clip.sex).collect();
    assert_eq!(sexes, [Some(Sex::Female), Some(Sex::Female), Some(Sex::Male)]);
    let fault = corpus.faults[0].kind.to_string();
    assert!(fault.contains("line 5: sex: speaker 'anna' is male here and female in line 3"), "{fault}");
    assert_eq!(corpus.faults.len(), 1);
    let inventory = intone_train::corpus::Inventory::new(&corpus, None);
    let total = inventory.total();
    assert_eq!((total.n_speakers, total.n_female, total.n_male), (2, 1, 1));
}

#[test]
fn a_manifest_without_its_columns() {
    let root = folder_of(&["angry/a/1.wav"]);
    tree(root.path(), [("manifest.csv", &b"file,emotion\n1,2\n"[..])]);
    let error = manifest::read(&root.path().join("manifest.csv")).unwrap_err().to_string();
    assert!(error.contains("expected a column 'path', got 'file,emotion'"), "{error}");
    assert!(read_roots(&[root.path().join("manifest.csv")]).is_err());
    // In a directory it may be a table of something else: named, and the files are read.
    let corpus = read_one(root.path());
    assert_eq!((corpus.clips.len(), corpus.faults.len()), (1, 1));
}

#[test]
fn roots_that_are_nothing() {
    let root = folder_of(&["a.wav"]);
    let error = read_roots(&[root.path().join("nowhere")]).unwrap_err().to_string();
    assert!(error.contains("nowhere"), "{error}");
    let error = read_roots(&[root.path().join("a.wav")]).unwrap_err().to_string();
    assert!(error.contains("neither a directory nor a CSV manifest"), "{error}");
    assert!(read_one(tempfile::tempdir().unwrap().path()).clips.is_empty());
}

#[cfg(unix)]
#[test]
fn links_in_circles_pipes_and_names_that_are_not_utf_8() {
    use std::os::unix::ffi::OsStringExt;
    let root = folder_of(&["Actor_01/03-01-05-01-01-01-01.wav"]);
    std::os::unix::fs::symlink(root.path(), root.path().join("Actor_01/again")).unwrap();
    std::os::unix::fs::symlink("nowhere.wav", root.path().join("Actor_01/03-01-05-01-01-02-01.wav")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", root.path().join("Actor_01/03-01-05-01-02-02-01.wav")).unwrap();
    let name = std::ffi::OsString::from_vec(b"Actor_01/03-01-05-01-01-01-\xff\xfe.wav".to_vec());
    std::fs::write(root.path().join(name), "x").unwrap();
    let corpus = read_roots(&[root.path().to_path_buf(), root.path().join("Actor_01")]).unwrap();
    assert_eq!((corpus.clips.len(), corpus.excluded.len(), corpus.faults.len()), (1, 0, 3));
    let faults: Vec<String> = corpus.faults.iter().map(|fault| fault.kind.to_string()).collect();
    assert!(faults.iter().any(|fault| fault.contains("not UTF-8")), "{faults:?}");
    assert!(faults.iter().any(|fault| fault.contains("not a regular file")), "{faults:?}");
}

/// The shared recordings, after cleaning: what the counts in the published corpora leave of these speakers.
#[test]
fn the_real_recordings() {
    let Some(root) = real_data("the_real_recordings") else { return };
    let corpus = read_one(&root);
    assert_eq!(corpus.faults, []);
    let of = |name: &str| corpus.clips.iter().filter(|clip| clip.corpus == name).collect::<Vec<_>>();
    let (ravdess, crema_d) = (of("ravdess"), of("crema-d"));
    assert_eq!((ravdess.len(), crema_d.len(), corpus.clips.len()), (879, 6046, 6925));
    let speakers = |clips: &[&Clip]| {
        clips.iter().map(|clip| (clip.speaker.clone(), clip.sex)).collect::<std::collections::BTreeSet<_>>()
    };
    let n_female =
        |clips: &[&Clip]| speakers(clips).iter().filter(|(_, sex)| *sex == Some(Sex::Female)).count();
    assert_eq!((speakers(&ravdess).len(), n_female(&ravdess)), (20, 11));
    assert_eq!((speakers(&crema_d).len(), n_female(&crema_d)), (74, 35));
    assert!(crema_d.iter().all(|clip| clip.votes.is_some() && clip.age.is_some()));

    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for exclusion in &corpus.excluded {
        let reason = match &exclusion.reason {
            Reason::SameClip(kept) => {
                assert!(
                    !kept.starts_with(root.join("originals"))
                        || exclusion.path.starts_with(root.join("originals"))
                );
                "same clip".to_owned()
            }
            Reason::OtherEmotion(name) => name.clone(),
            Reason::Known(fault) => fault.stem.to_owned(),
            other => panic!("{}: {other:?}", exclusion.path.display()),
        };
        *reasons.entry(reason).or_default() += 1;
    }
    let expected = [
        ("03-01-03-01-02-02-07", 1),
        ("1006_TIE_HAP_XX", 1),
        ("1013_WSI_SAD_XX", 1),
        ("1017_IWW_ANG_XX", 1),
        // Eight of actor 02, and one of actor 05 among the originals.
        ("calm", 9),
        ("same clip", 8),
        ("surprised", 8),
    ];
    assert_eq!(reasons, expected.map(|(reason, count)| (reason.to_owned(), count)).into());
    assert_eq!(corpus.renamed.len(), 1);

    let roots: Vec<PathBuf> = ["CREMA-D", "RAVDESS"].map(|name| root.join(name)).into();
    assert_eq!(read_roots(&roots).unwrap().clips, corpus.clips);
    assert_eq!(crema_d::read(&roots[0]).unwrap().clips.len(), 6046);
    assert_eq!(ravdess::read(&roots[1]).unwrap().clips.len(), 879);
}

#[test]
fn the_default_split_of_the_real_recordings() {
    let Some(root) = real_data("the_default_split_of_the_real_recordings") else { return };
    let split = Protocol::Default.split(&read_one(&root)).unwrap();
    let sizes = |corpus: &str| {
        Part::ALL.map(|part| split.part(part).iter().filter(|clip| clip.corpus == corpus).count())
    };
    assert_eq!(sizes("ravdess"), [14 * 44 - 1, 2 * 44, 4 * 44]);
    assert_eq!(sizes("crema-d").iter().sum::<usize>(), 6046);
    assert_eq!(Part::ALL.map(|part| split.speakers(part).len()), [70, 10, 14]);
    assert_eq!(split.left_out().len(), 0);
    for part in Part::ALL {
        for emotion in Emotion::ALL {
            let n = split.part(part).iter().filter(|clip| clip.emotion == emotion).count();
            assert!(n >= 90, "{part} {emotion}: {n}");
        }
    }
}
