use std::collections::BTreeSet;

use intone::Emotion;

use super::*;
use crate::corpus::{Sex, crema_d, ravdess};

/// One clip per actor of both corpora, with the data of the real ones.
fn everybody() -> Corpus {
    let ravdess_clips = (1..=24)
        .map(|actor| clip(ravdess::NAME, &format!("{actor:02}"), "03-01-05-01-01-01", ravdess::sex(actor)));
    let crema_d_clips =
        (1001..=1091).map(|actor| clip(crema_d::NAME, &actor.to_string(), "DFA_ANG_XX", crema_d::sex(actor)));
    Corpus { clips: ravdess_clips.chain(crema_d_clips).collect(), ..Default::default() }
}

fn clip(corpus: &str, speaker: &str, name: &str, sex: Sex) -> Clip {
    use sha2::Digest;
    let bare = Clip::bare(corpus, speaker, &format!("{speaker}_{name}"), Emotion::Angry);
    Clip { sex: Some(sex), sha256: sha2::Sha256::digest(&bare.id).into(), bytes: 1, ..bare }
}

fn actors(split: &Split, part: Part, corpus: &str) -> Vec<u16> {
    let of_corpus = split.speakers(part).into_iter().filter_map(|speaker| speaker.strip_prefix(corpus));
    of_corpus.map(|rest| rest.trim_start_matches('/').parse().unwrap()).collect()
}

#[test]
fn the_default_protocol_is_as_written_down() {
    let split = Protocol::Default.split(&everybody()).unwrap();
    let (ravdess, crema_d) = (ravdess::NAME, crema_d::NAME);
    let of = |part, corpus| actors(&split, part, corpus);
    assert_eq!(of(Part::Train, ravdess), [2, 5, 6, 7, 9, 13, 15, 16, 17, 18, 19, 22, 23, 24]);
    assert_eq!(of(Part::Validation, ravdess), [3, 8]);
    assert_eq!(of(Part::Test, ravdess), [4, 10, 12, 14]);
    assert_eq!(of(Part::Train, crema_d).len(), 56);
    assert_eq!(of(Part::Validation, crema_d), [1049, 1053, 1054, 1055, 1059, 1062, 1064, 1065]);
    assert_eq!(of(Part::Test, crema_d), [1058, 1061, 1063, 1066, 1067, 1068, 1070, 1075, 1080, 1085]);
    let left_out: BTreeSet<&str> = split.left_out().iter().map(|clip| clip.speaker.as_str()).collect();
    assert_eq!(left_out.len(), 4 + 17);
    assert!(left_out.contains("ravdess/01") && left_out.contains("crema-d/1048"));

    // The last training differs in eight actors, and in nothing of the test.
    let last = Protocol::Final.split(&everybody()).unwrap();
    let of_last = |part, corpus| actors(&last, part, corpus);
    let mut train = of(Part::Train, crema_d);
    train.extend(of(Part::Validation, crema_d));
    train.sort_unstable();
    assert_eq!(of_last(Part::Train, crema_d), train);
    assert_eq!(of_last(Part::Train, ravdess), of(Part::Train, ravdess));
    assert_eq!(
        (of_last(Part::Validation, crema_d), of_last(Part::Validation, ravdess)),
        (vec![], vec![3, 8])
    );
    assert_eq!(last.speakers(Part::Test), split.speakers(Part::Test));
    assert_eq!("final".parse::<Protocol>().unwrap(), Protocol::Final);
}

#[test]
fn published_protocols_give_their_parts() {
    let cases = [
        ("audeering", [56, 18, 17], 24),
        ("tfds", [63, 9, 19], 24),
        ("emobox/1", [20, 0, 4], 91),
        ("emobox/6", [20, 0, 4], 91),
        ("luna-jimenez/0", [19, 0, 5], 91),
        ("luna-jimenez/4", [20, 0, 4], 91),
        ("loso/ravdess/07", [114, 0, 1], 0),
    ];
    for (name, sizes, n_left_out) in cases {
        let protocol: Protocol = name.parse().unwrap();
        assert_eq!(protocol.to_string(), name);
        let split = protocol.split(&everybody()).unwrap();
        assert_eq!(Part::ALL.map(|part| split.part(part).len()), sizes, "{name}");
        assert_eq!(split.left_out().len(), n_left_out, "{name}");
    }
}

#[test]
fn protocol_names_that_do_not_exist_say_what_does() {
    let cases = [
        ("", "expected one of default, final, audeering"),
        ("random", "by-speaker/K/FOLD"),
        ("default/1", "'default' has no folds"),
        ("emobox", "fold: expected 1 to 6, got ''"),
        ("emobox/0", "fold: expected 1 to 6, got '0'"),
        ("emobox/7", "expected 1 to 6"),
        ("luna-jimenez/5", "expected 0 to 4"),
        ("by-speaker/2/1", "K: expected 3 or more"),
        ("by-speaker/5/6", "FOLD: expected 1 to 5"),
        ("by-speaker/5/1/x", "SEED"),
        ("by-speaker", "expected by-speaker/K/FOLD"),
        ("loso/", "loso/SPEAKER"),
    ];
    for (name, expected) in cases {
        let error = name.parse::<Protocol>().unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
    assert_eq!("by-speaker/5/2".parse::<Protocol>().unwrap().to_string(), "by-speaker/5/2/0");
    let error = "loso/ravdess/99".parse::<Protocol>().unwrap().split(&everybody()).unwrap_err().to_string();
    assert!(error.contains("no such speaker"), "{error}");
}

#[test]
fn a_protocol_refuses_data_without_its_speakers() {
    let mut corpus = everybody();
    corpus.clips.retain(|clip| clip.corpus == ravdess::NAME);
    let error = Protocol::Audeering.split(&corpus).unwrap_err().to_string();
    assert!(error.contains("no clips in the train part") && error.contains("24 clips"), "{error}");
    Protocol::Default.split(&corpus).unwrap();
    corpus.clips.retain(|clip| clip.speaker != "ravdess/03" && clip.speaker != "ravdess/08");
    let error = Protocol::Default.split(&corpus).unwrap_err().to_string();
    assert!(error.contains("validation part"), "{error}");
}

#[test]
fn a_corpus_that_is_to_train_must_be_there() {
    let protocol: Protocol = "cross-corpus/crema-d+typo/ravdess".parse().unwrap();
    let error = protocol.split(&everybody()).unwrap_err().to_string();
    assert!(error.contains("'typo', which is to train"), "{error}");
    // To evaluate, nobody has to be heard.
    protocol.split_for(Part::Test, &everybody(), false).unwrap();
}

#[test]
fn nested_folds_are_of_the_default_training_speakers() {
    let default = Protocol::Default.split(&everybody()).unwrap();
    let heard = default.speakers(Part::Train);
    let mut tested: Vec<String> = Vec::new();
    for protocol in "nested/5".parse::<Family>().unwrap().folds(&everybody()).unwrap() {
        assert_eq!(protocol.to_string().parse::<Protocol>().unwrap(), protocol);
        let split = protocol.split(&everybody()).unwrap();
        assert_eq!(split.left_out().len(), everybody().clips.len() - heard.len());
        let parts = Part::ALL.map(|part| split.speakers(part));
        assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), heard.len());
        assert!(parts.iter().flatten().all(|speaker| heard.contains(speaker)));
        tested.extend(split.speakers(Part::Test).into_iter().map(str::to_owned));
    }
    tested.sort_unstable();
    assert_eq!(tested, heard);
}

#[test]
fn clips_that_were_left_out_stay_out() {
    let clips = (0..8).map(|i| clip("a", &format!("s{}", i % 4), &i.to_string(), Sex::Female));
    let split = Split::new("test", clips, |clip| (!clip.id.ends_with('7')).then_some(Part::Train)).unwrap();
    let split = split.with_validation(2, 0).unwrap();
    assert_eq!(split.left_out().len(), 1);
    assert!(split.iter().all(|(_, clip)| !clip.id.ends_with('7')));
}

#[test]
fn no_speaker_stands_on_two_sides() {
    let clips = [clip("a", "anna", "1", Sex::Female), clip("a", "anna", "2", Sex::Female)];
    let side = |clip: &Clip| Some(if clip.id.ends_with('1') { Part::Train } else { Part::Test });
    let error = Split::new("test", clips, side).unwrap_err();
    assert!(matches!(&error, Error::SpeakerOnTwoSides { speaker, first: Part::Train, second: Part::Test }
        if speaker == "a/anna"));
    assert!(error.to_string().contains("a/anna"), "{error}");
}

#[test]
fn no_recording_stands_on_two_sides() {
    let anna = clip("a", "anna", "1", Sex::Female);
    let side = |clip: &Clip| Some(if clip.speaker == "a/anna" { Part::Train } else { Part::Validation });
    let same_bytes = Clip { sha256: anna.sha256, ..clip("a", "bert", "1", Sex::Male) };
    let same_id = Clip { id: anna.id.clone(), ..clip("a", "bert", "1", Sex::Male) };
    for twin in [same_bytes, same_id] {
        let error = Split::new("test", [anna.clone(), twin], side).unwrap_err();
        assert!(matches!(error, Error::AudioOnTwoSides { .. }));
        let text = error.to_string();
        assert!(text.contains("anna_1.wav") && text.contains("bert_1.wav"), "{text}");
    }
}

#[test]
fn folds_are_balanced_and_disjoint() {
    let corpus = everybody();
    let splits = by_speaker(&corpus.clips, 5, 7).unwrap();
    let mut tested = BTreeSet::new();
    for split in &splits {
        assert_eq!(Part::ALL.map(|part| split.part(part).len()), [69, 23, 23], "{}", split.protocol());
        for corpus in [ravdess::NAME, crema_d::NAME] {
            for (sex, everybody) in [(Sex::Female, [12, 43]), (Sex::Male, [12, 48])] {
                let n = split.test().iter().filter(|c| c.corpus == corpus && c.sex == Some(sex)).count();
                let fair = everybody[usize::from(corpus == crema_d::NAME)] / 5;
                assert!((fair..=fair + 1).contains(&n), "{corpus} {sex:?}: {n} of about {fair}");
            }
        }
        tested.extend(split.speakers(Part::Test).into_iter().map(str::to_owned));
    }
    assert_eq!(tested.len(), 24 + 91);
    let mut shuffled = corpus.clips.clone();
    shuffled.reverse();
    let again = by_speaker(&shuffled, 5, 7).unwrap();
    assert_eq!(again[0].speakers(Part::Test), splits[0].speakers(Part::Test));
    let other_seed = by_speaker(&corpus.clips, 5, 8).unwrap();
    assert_ne!(other_seed[0].speakers(Part::Test), splits[0].speakers(Part::Test));
    // What is written down as "by-speaker/5/1/7" stays the same split for ever.
    assert_eq!(&splits[0].speakers(Part::Test)[..3], ["crema-d/1018", "crema-d/1022", "crema-d/1025"]);
}

#[test]
fn every_speaker_is_left_out_once() {
    let corpus = everybody();
    let splits: Vec<Split> = leave_one_speaker_out(&corpus.clips).unwrap().collect::<Result<_>>().unwrap();
    assert_eq!(splits.len(), 115);
    assert!(splits.iter().all(|split| split.test().len() == 1 && split.train().len() == 114));
    assert!(leave_one_speaker_out(&corpus.clips[..1]).is_err());
}

#[test]
fn a_validation_part_can_be_taken_from_the_training_speakers() {
    let corpus = everybody();
    let split = Protocol::EmoBox { fold: 2 }.split(&corpus).unwrap().with_validation(5, 0).unwrap();
    assert_eq!(Part::ALL.map(|part| split.part(part).len()), [16, 4, 4]);
    assert_eq!(actors(&split, Part::Test, ravdess::NAME), [4, 10, 12, 14]);
    let n_female = split.validation().iter().filter(|clip| clip.sex == Some(Sex::Female)).count();
    assert_eq!(n_female, 2);
    assert_eq!(split.left_out().len(), 91);
    assert!(split.with_validation(5, 0).unwrap_err().to_string().contains("of its own"));
    for one_in in [0, 1, 21] {
        let split = Protocol::EmoBox { fold: 2 }.split(&corpus).unwrap();
        assert!(split.with_validation(one_in, 0).is_err(), "{one_in}");
    }
}

#[test]
fn a_split_comes_back_from_its_file() {
    let corpus = everybody();
    let split = Protocol::Default.split(&corpus).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("split.csv");
    write_csv(&split, &path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("clip,corpus,speaker,split\n"), "{text}");
    let again = from_csv(&path, &corpus).unwrap();
    for part in Part::ALL {
        assert_eq!(again.speakers(part), split.speakers(part));
    }
    std::fs::write(&path, "clip,corpus,speaker,split\nx,y,z,train\n").unwrap();
    assert!(from_csv(&path, &corpus).unwrap_err().to_string().contains("clip x is not among the data"));
    std::fs::write(&path, "clip,corpus,speaker,split\nx,y,z,middle\n").unwrap();
    let error = read_csv(&path).unwrap_err().to_string();
    assert!(error.contains("line 2") && error.contains("middle"), "{error}");
}

#[test]
fn families_have_their_folds() {
    let corpus = everybody();
    let cases = [
        ("emobox", 6, "emobox/1"),
        ("luna-jimenez", 5, "luna-jimenez/0"),
        ("luna_jimenez", 5, "luna-jimenez/0"),
        ("by_speaker/5", 5, "by-speaker/5/1/0"),
        ("by-speaker/4/7", 4, "by-speaker/4/1/7"),
        ("loso", 115, "loso/crema-d/1001"),
        ("cross-corpus", 2, "cross-corpus/ravdess/crema-d"),
        ("sentence-and-speaker/3", 3, "sentence-and-speaker/3/1/0"),
        ("default", 1, "default"),
        ("by-speaker/5/2", 5, "by-speaker/5/1/2"),
        ("by-speaker/5/2/0", 1, "by-speaker/5/2/0"),
    ];
    for (name, n, first) in cases {
        let folds = name.parse::<Family>().unwrap().folds(&corpus).unwrap();
        assert_eq!((folds.len(), folds[0].to_string().as_str()), (n, first), "{name}");
        for fold in &folds {
            assert_eq!(&fold.to_string().parse::<Protocol>().unwrap(), fold);
        }
    }
    for (name, expected) in [
        ("by-speaker/2", "K: expected 3 or more"),
        ("by-speaker/5/x", "SEED"),
        ("nonsense", "expected one of default, final, audeering"),
        ("cross-corpus/a", "cross-corpus/TRAIN/TEST"),
    ] {
        let error = name.parse::<Family>().unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains(name), "{name}: {error}");
    }
    let mut three = corpus.clone();
    three.clips[0].corpus = "own".to_owned();
    let folds = "cross-corpus".parse::<Family>().unwrap().folds(&three).unwrap();
    let folds: Vec<String> = folds.iter().map(ToString::to_string).collect();
    let expected = ["own+ravdess/crema-d", "crema-d+ravdess/own", "crema-d+own/ravdess"];
    assert_eq!(folds, expected.map(|name| format!("cross-corpus/{name}")));
    let one = Corpus { clips: corpus.clips[..1].to_vec(), ..Default::default() };
    assert!(Family::CrossCorpus.folds(&one).unwrap_err().to_string().contains("two or more"));
}

#[test]
fn corpora_train_and_others_are_the_test() {
    let protocol: Protocol = "cross-corpus/crema-d/ravdess".parse().unwrap();
    let split = protocol.split(&everybody()).unwrap();
    assert_eq!(Part::ALL.map(|part| split.part(part).len()), [91, 0, 24]);
    let error = |text: &str| text.parse::<Protocol>().unwrap().sides(&everybody()).unwrap_err().to_string();
    assert!(error("cross-corpus/crema-d/emodb").contains("(crema-d, ravdess), got 'emodb'"));
    assert!(error("cross-corpus/crema-d+ravdess/ravdess").contains("'ravdess' cannot both"));
    let all = Protocol::All.split_for(Part::Test, &everybody(), false).unwrap();
    assert_eq!(Part::ALL.map(|part| all.part(part).len()), [0, 0, 115]);
}

#[test]
fn neither_speakers_nor_sentences_of_the_test_are_heard_in_training() {
    let mut corpus = everybody();
    let clips = std::mem::take(&mut corpus.clips);
    for (n, sentence) in ["DFA", "IEO", "IOM", "ITH", "TIE"].into_iter().enumerate() {
        for clip in &clips {
            let id = format!("{}-{sentence}", clip.id);
            let mut sha256 = clip.sha256;
            sha256[0] ^= n as u8 + 1;
            corpus.clips.push(Clip { id, sha256, sentence: Some(sentence.to_owned()), ..clip.clone() });
        }
    }
    let mut tested = BTreeSet::new();
    for fold in 1..=5 {
        let split = Protocol::SentenceAndSpeaker { k: 5, fold, seed: 0 }.split(&corpus).unwrap();
        let sentences = |part| -> BTreeSet<(&str, &str)> {
            let of = |clip: &'_ Clip| clip.sentence.clone().unwrap();
            split.part(part).iter().map(|c| (c.corpus.as_str(), &*of(c).leak())).collect()
        };
        let (train, test) = (sentences(Part::Train), sentences(Part::Test));
        assert!(train.is_disjoint(&test) && !train.is_empty() && !test.is_empty(), "{fold}");
        assert!(sentences(Part::Validation).is_disjoint(&test));
        assert!(!split.left_out().is_empty());
        tested.extend(split.speakers(Part::Test).into_iter().map(str::to_owned));
    }
    assert_eq!(tested.len(), 115, "every speaker is tested once");
    let error = Protocol::SentenceAndSpeaker { k: 5, fold: 1, seed: 0 }.sides(&everybody()).unwrap_err();
    assert!(error.to_string().contains("sentences are known"), "{error}");
}

#[test]
fn speakers_that_a_published_protocol_needs_are_named_when_they_are_missing() {
    let mut corpus = everybody();
    corpus.clips.retain(|clip| clip.speaker != "ravdess/04" && clip.speaker != "crema-d/1091");
    for (name, absent) in
        [("emobox/2", "ravdess/04"), ("audeering", "crema-d/1091"), ("default", "ravdess/04")]
    {
        let protocol: Protocol = name.parse().unwrap();
        let error = protocol.split_for(Part::Test, &corpus, false).unwrap_err().to_string();
        assert!(error.contains(absent) && error.contains(name) && error.contains("--partial"), "{error}");
        assert!(protocol.split_for(Part::Test, &corpus, true).is_ok());
    }
    assert!(Protocol::Tfds.split_for(Part::Test, &corpus, false).is_ok());
    // A side may be evaluated where another has nobody.
    corpus.clips.retain(|clip| {
        Protocol::Audeering.absent_speakers(Part::Train, &Corpus::default()).contains(&clip.speaker)
    });
    assert!(Protocol::Audeering.split(&corpus).is_err());
    assert!(Protocol::Audeering.split_for(Part::Train, &corpus, false).is_ok());
}
