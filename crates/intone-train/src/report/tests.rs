use super::*;
use crate::error::Error;
use crate::predictions::read_predictions;

/// Predictions of `n_speakers` speakers with `n_clips` clips each, drawn by a generator; some answers are right.
pub(super) fn answers(n_speakers: usize, n_clips: usize, seed: u32) -> Vec<Answered> {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1u32 << 24)
    };
    let mut answers = Vec::new();
    for speaker in 0..n_speakers {
        for clip in 0..n_clips {
            let truth = Emotion::ALL[clip % N_CLASSES];
            let mut probabilities = [0.0; N_CLASSES].map(|_: f64| next() + 1e-3);
            probabilities[truth.index()] += 0.8 * next();
            let sum: f64 = probabilities.iter().sum();
            let corpus = ["a", "b"][speaker % 2];
            answers.push(Answered {
                clip: format!("{corpus}/{speaker:03}-{clip:04}"),
                corpus: corpus.to_owned(),
                speaker: format!("{corpus}/{speaker:03}"),
                sex: Some([crate::corpus::Sex::Female, crate::corpus::Sex::Male][speaker / 2 % 2]),
                sentence: format!("s{}", clip % 3),
                truth,
                probabilities: probabilities.map(|p| p / sum),
            });
        }
    }
    answers.sort_by(|a, b| a.clip.cmp(&b.clip));
    answers
}

fn input(answers: Vec<Answered>) -> Input {
    Input { name: "run".to_owned(), answers, ..Input::default() }
}

fn csv_of(answers: &[Answered]) -> String {
    let mut text =
        String::from("clip,corpus,speaker,sex,sentence,truth,angry,disgust,fear,happy,neutral,sad\n");
    for a in answers.iter().rev() {
        let sex = if a.sex == Some(crate::corpus::Sex::Male) { "male" } else { "female" };
        let p = a.probabilities.map(|p| p.to_string()).join(",");
        text += &format!("{},{},{},{sex},{},{},{p}\n", a.clip, a.corpus, a.speaker, a.sentence, a.truth);
    }
    text
}

#[test]
fn a_report_is_the_same_to_the_byte_wherever_and_however_often_it_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let text = csv_of(&answers(8, 24, 3));
    let mut made = Vec::new();
    for (run, n_threads) in [("one", 1), ("other", 2)] {
        let run = dir.path().join(run);
        std::fs::create_dir(&run).unwrap();
        std::fs::write(run.join(PREDICTIONS_FILE), &text).unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        pool.install(|| write(&Report::new(&read_run(&run).unwrap(), false).unwrap(), &run).unwrap());
        made.push(["json", "md", "html"].map(|e| std::fs::read(run.join(format!("report.{e}"))).unwrap()));
    }
    assert!(made[0] == made[1]);
    let html = String::from_utf8(made[0][2].clone()).unwrap();
    assert!(
        !html.contains("http://") || html.matches("http://").count() == html.matches("www.w3.org").count()
    );
    assert!(!html.contains("NaN") && !html.contains("<script") && html.matches("<svg").count() >= 6);
    let markdown = String::from_utf8(made[0][1].clone()).unwrap();
    assert!(
        markdown.contains("| UAR (unweighted average recall, balanced accuracy) |")
            && !markdown.contains("NaN")
    );
}

#[test]
fn the_json_has_its_keys() {
    let report = Report::new(&input(answers(6, 12, 1)), false).unwrap();
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!((json["n"].as_u64(), json["n_speakers"].as_u64()), (Some(72), Some(6)));
    for key in ["accuracy", "uar", "macro_f1", "ece", "ece_if_calibrated", "brier", "log_loss"] {
        let [value, low, high] = ["value", "low", "high"].map(|part| json[key][part].as_f64().unwrap());
        assert!(low <= value + 0.05 && value <= high + 0.05 && low < high, "{key}: {}", json[key]);
    }
    let total: u64 = json["confusion"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row.as_array().unwrap())
        .map(|n| n.as_u64().unwrap())
        .sum();
    assert_eq!(total, 72);
    let groups = json["groups"].as_array().unwrap();
    assert_eq!(
        groups.iter().map(|g| g["by"].as_str().unwrap()).collect::<Vec<_>>(),
        ["corpus", "sex", "sentence"]
    );
    assert!(groups[0]["gap"]["uar"]["low"].is_f64());
    assert_eq!(groups[2]["groups"].as_array().unwrap().len(), 6, "sentences are those of their corpus");
    assert!(json.get("evaluation").is_none() && json.get("crowd").is_none());
    let coverage = json["coverage"].as_array().unwrap();
    assert_eq!(coverage.last().unwrap()["accuracy"]["value"], json["accuracy"]["value"]);
    let mistakes = json["mistakes"].as_array().unwrap();
    assert!(mistakes.windows(2).all(|two| two[0]["confidence"].as_f64() >= two[1]["confidence"].as_f64()));
}

#[test]
fn a_single_speaker_has_figures_without_intervals() {
    let report = Report::new(&input(answers(1, 12, 1)), false).unwrap();
    assert!(!report.uar.has_interval() && report.groups.iter().all(|g| g.by == "sentence"));
    assert!(serde_json::to_value(&report).unwrap()["uar"].is_f64());
}

#[test]
fn ten_thousand_sentences_have_no_groups_and_are_said_to_be_too_many() {
    let mut many = answers(20, 500, 1);
    assert_eq!(many.len(), 10_000);
    for (number, answered) in many.iter_mut().enumerate() {
        answered.sentence = format!("call {number}");
    }
    let report = Report::new(&input(many.clone()), false).unwrap();
    let sentences = report.groups.iter().find(|grouping| grouping.by == "sentence").unwrap();
    assert!(sentences.groups.is_empty() && sentences.gap.is_none());
    let why = "These are 10000 groups; figures are computed of 500 at most.";
    let page = page::document(&report);
    for text in [serde_json::to_string(&report).unwrap(), page.to_markdown(), page.to_html()] {
        assert!(text.contains(why));
    }
    // As many as are allowed.
    many.truncate(MAX_GROUPS);
    let report = Report::new(&input(many), false).unwrap();
    let sentences = report.groups.iter().find(|grouping| grouping.by == "sentence").unwrap();
    assert_eq!((sentences.groups.len(), sentences.left_out.as_ref()), (MAX_GROUPS, None));
}

#[test]
fn what_one_speaker_alone_has_a_part_in_has_no_interval() {
    let only = |report: &Report, by: &str| report.groups.iter().find(|g| g.by == by).cloned().unwrap();
    // One speaker in each corpus; a class and the highest confidence of one speaker.
    let mut two = answers(2, 24, 1);
    two.retain(|answered| answered.truth != Emotion::Sad || answered.corpus == "a");
    for answered in two.iter_mut().filter(|answered| answered.corpus == "b") {
        answered.probabilities = answered.probabilities.map(|p| 0.5 * p + 0.5 / 6.0);
    }
    let sure = two.iter_mut().find(|answered| answered.corpus == "a").unwrap();
    sure.probabilities = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let report = Report::new(&input(two), false).unwrap();
    assert!(report.uar.has_interval() && report.classes[0].recall.unwrap().has_interval());
    assert!(!report.classes[5].recall.unwrap().has_interval(), "{:?}", report.classes[5]);
    assert!(!report.confusion_rows[5][5].unwrap().has_interval());
    let last = report.calibration.last().unwrap();
    assert!(last.to == 1.0 && last.n == 1 && !last.accuracy.has_interval(), "{last:?}");
    let gap = only(&report, "corpus").gap.unwrap();
    assert!(!gap.uar.has_interval() && gap.uar.value != 0.0, "{gap:?}");
    let text = page::document(&report).to_markdown();
    assert!(text.contains("UAR of a less that of b: "), "{text}");
    assert!(
        text.contains(" points; too few speakers for an interval.") && !text.contains("cludes 0"),
        "{text}"
    );

    let gap = only(&Report::new(&input(answers(4, 24, 1)), false).unwrap(), "corpus").gap.unwrap();
    assert!(gap.uar.has_interval() && gap.uar.low < gap.uar.high, "{gap:?}");
    // Two speakers against one.
    let mut three = answers(3, 24, 1);
    three.retain(|answered| answered.corpus == "a" || answered.truth != Emotion::Sad);
    let gap = only(&Report::new(&input(three), false).unwrap(), "corpus").gap.unwrap();
    assert!(!gap.uar.has_interval(), "{gap:?}");
}

#[test]
fn a_resample_that_lacks_a_class_has_no_say_in_a_mean_over_classes() {
    // One of ten speakers alone has sad clips, which are all wrong; everything else is right.
    let mut rare = answers(10, 12, 1);
    rare.retain(|answered| answered.truth != Emotion::Sad || answered.speaker == "a/000");
    for answered in &mut rare {
        let answer = if answered.truth == Emotion::Sad { 0 } else { answered.truth.index() };
        answered.probabilities = std::array::from_fn(|class| f64::from(u8::from(class == answer)));
    }
    let report = Report::new(&input(rare.clone()), false).unwrap();
    let five_of_six = 5.0 / 6.0;
    for figure in [report.uar, report.groups[0].groups[0].uar] {
        assert_eq!((figure.value, figure.low, figure.high), (five_of_six, five_of_six, five_of_six));
    }
    assert!(report.macro_f1.high < 0.9, "{:?}", report.macro_f1);
    // Against a system that is right everywhere: the whole difference is that class.
    let mut right = rare.clone();
    for answered in &mut right {
        let truth = answered.truth.index();
        answered.probabilities = std::array::from_fn(|class| f64::from(u8::from(class == truth)));
    }
    let comparison = Comparison::new(&[input(rare), input(right)], false).unwrap();
    let difference = comparison.differences[0].uar;
    for bound in [difference.value, difference.low, difference.high] {
        assert!((bound - 1.0 / 6.0).abs() < 1e-12, "{difference:?}");
    }
    assert_eq!(comparison.differences[0].share_better, Some(1.0));
}

#[test]
fn the_interval_of_the_calibration_error_is_without_what_resampling_adds() {
    // Ten sets of 14 speakers: as often as not the error of many more is above the interval's middle.
    let n_around = (0..10)
        .filter(|seed| {
            let ece = Report::new(&input(answers(14, 30, 7 + seed)), false).unwrap().ece;
            assert!(0.0 <= ece.low && ece.low <= ece.value && ece.value <= ece.high, "{ece:?}");
            let many = Report::new(&input(answers(140, 30, 7 + seed)), false).unwrap().ece.value;
            (ece.low..=ece.high).contains(&many)
        })
        .count();
    assert!(n_around >= 8, "{n_around}");
}

#[test]
fn equally_confident_answers_count_alike_whatever_their_clips_are_called() {
    let report = |right_first: bool| {
        let mut hard = answers(6, 100, 1);
        for (number, answered) in hard.iter_mut().enumerate() {
            let is_right = (number % 100 < 50) == right_first;
            let answer = (answered.truth.index() + usize::from(!is_right)) % N_CLASSES;
            answered.probabilities = std::array::from_fn(|class| f64::from(u8::from(class == answer)));
        }
        Report::new(&input(hard), false).unwrap()
    };
    for report in [report(true), report(false)] {
        assert!(report.coverage.iter().all(|point| (point.accuracy.value - 0.5).abs() < 1e-12));
        assert!((report.coverage_mean - 0.5).abs() < 1e-12, "{}", report.coverage_mean);
    }
}

#[test]
fn the_sentence_on_a_gap_says_what_the_interval_says() {
    let nan = f64::NAN;
    for (value, low, high, expected) in [
        (0.1, 0.02, 0.2, "UAR of a less that of b: +10.0 points [+2.0, +20.0]; the interval excludes 0."),
        (-0.1, -0.2, -0.02, "; the interval excludes 0."),
        (0.1, -0.02, 0.2, "; the interval includes 0."),
        (0.0, 0.0, 0.0, "; the interval includes 0."),
        (0.1, nan, nan, "UAR of a less that of b: +10.0 points; too few speakers for an interval."),
    ] {
        let gap = Gap { first: "a".to_owned(), second: "b".to_owned(), uar: Figure { value, low, high } };
        assert!(gap.to_string().ends_with(expected), "{gap}");
    }
}

#[test]
fn the_worst_tenth_of_the_speakers_is_one_of_them_at_least() {
    let with = |uars: &[f64]| {
        let speaker = |&uar: &f64| Speaker { speaker: String::new(), n: 1, accuracy: 0.0, uar };
        spread(&uars.iter().map(speaker).collect::<Vec<_>>())
    };
    assert_eq!(with(&[0.7, 0.5, 0.9]).worst_tenth, 0.5);
    // As reference/protocols.py: the mean of the lowest 29 // 10 = 2 of 29.
    let uars: Vec<f64> = (0..29).rev().map(|i| 0.25 + f64::from(i) / 64.0).collect();
    assert_eq!(with(&uars).worst_tenth, 0.25 + 0.5 / 64.0);
    let text = page::document(&Report::new(&input(answers(10, 12, 1)), false).unwrap()).to_markdown();
    assert!(text.contains("the mean of the worst tenth is"), "{text}");
}

#[test]
fn what_is_certain_is_measured_at_the_models_own_threshold() {
    let answers = answers(6, 24, 2);
    let threshold = 0.3f32;
    let kept: Vec<&Answered> = answers.iter().filter(|a| a.confidence() as f32 >= threshold).collect();
    let share = kept.len() as f64 / answers.len() as f64;
    let right = kept.iter().filter(|a| a.is_right()).count() as f64 / kept.len() as f64;
    assert!(0.0 < share && share < 1.0);
    let with = |uncertain_below: Option<f32>| {
        let evaluation = Some(Evaluation { uncertain_below, ..Evaluation::default() });
        Report::new(&Input { evaluation, ..input(answers.clone()) }, false).unwrap()
    };
    let report = with(Some(threshold));
    let certain = report.certain.as_ref().unwrap();
    assert!((certain.coverage.value - share).abs() < 1e-12 && certain.coverage.has_interval(), "{certain:?}");
    assert!((certain.accuracy.unwrap().value - right).abs() < 1e-12, "{certain:?}");
    assert_eq!(
        serde_json::to_value(&report).unwrap()["certain"]["threshold"].as_f64().unwrap() as f32,
        threshold
    );
    let page = page::document(&report);
    for text in [page.to_markdown(), page.to_html()] {
        assert!(text.contains("Answers with a confidence below 30.0 % are called uncertain; "), "{text}");
    }
    let none_left = with(Some(1.0)).certain.unwrap();
    assert!(
        none_left.coverage.value == 0.0
            && none_left.accuracy.is_none()
            && none_left.to_string().ends_with("is not.")
    );
    assert!(with(None).certain.is_none());
}

#[test]
fn a_run_does_not_keep_the_report_of_an_earlier_one() {
    let dir = tempfile::tempdir().unwrap();
    let stale = ["report.json", "report.md", "report.html", ROBUSTNESS_FILE, VOTES_FILE];
    for name in stale.into_iter().chain(["notes.txt"]) {
        std::fs::write(dir.path().join(name), "old").unwrap();
    }
    write_run(dir.path(), &RunFiles::default()).unwrap();
    for name in stale {
        assert!(!dir.path().join(name).exists(), "{name}");
    }
    for name in ["notes.txt", PREDICTIONS_FILE, EVALUATION_FILE] {
        assert!(dir.path().join(name).is_file(), "{name}");
    }
}

#[test]
fn faulty_files_are_named_below_the_folder_of_the_data() {
    use crate::corpus::{Corpus, Fault, FaultKind};
    let fault = |path: &str, kind: FaultKind| Fault { path: path.into(), kind };
    let mut faults: Vec<Fault> =
        (0..12).map(|n| fault(&format!("/data/odd/{n:02}.wav"), FaultKind::Unknown)).collect();
    faults.insert(3, fault("/data/b.wav", FaultKind::Empty));
    let excluded = excluded(&Corpus { faults, ..Corpus::default() });
    let [empty, unknown] = &excluded[..] else { panic!("{excluded:?}") };
    assert_eq!((empty.n, empty.reason.as_str()), (1, "an empty file: b.wav"));
    assert_eq!(unknown.n, 12);
    assert!(unknown.reason.contains(": odd/00.wav, odd/01.wav, "), "{unknown:?}");
    assert!(unknown.reason.ends_with(", odd/09.wav and 2 more"), "{unknown:?}");
}

#[test]
fn a_folder_without_predictions_is_named_and_said_how_they_come() {
    let dir = tempfile::tempdir().unwrap();
    let error = read_run(dir.path()).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: expected a predictions.csv", dir.path().display())), "{error}");
    assert!(error.contains("found none; `intone evaluate --out`"), "{error}");
    std::fs::create_dir(dir.path().join("fold-2")).unwrap();
    let error = read_run(dir.path()).unwrap_err().to_string();
    assert!(error.contains("found folds, whose answers `intone cross-validate`"), "{error}");
}

#[test]
fn a_class_without_clips_must_be_agreed_to() {
    let mut some = answers(4, 12, 1);
    some.retain(|answered| answered.truth != Emotion::Fear);
    let error = Report::new(&input(some.clone()), false).unwrap_err().to_string();
    assert!(error.contains("no clip of fear among 40"), "{error}");
    let report = Report::new(&input(some), true).unwrap();
    assert!(report.classes[2].recall.is_none() && report.confusion_rows[2][0].is_none());
    assert!(Report::new(&input(Vec::new()), true).is_err());
    let text = page::document(&report).to_markdown();
    assert!(text.contains("There is no clip of fear") && !text.contains("NaN"));
}

#[test]
fn the_crowd_stands_beside_the_system() {
    let answers = answers(4, 12, 1);
    // Everybody hears what was intended, but for one clip on which nobody was asked and one that two of three hear
    // as another.
    let votes = |a: &Answered| {
        let mut counts = [0; 6];
        counts[a.truth.index()] = 10;
        (a.clip.clone(), Votes(counts))
    };
    let mut heard: BTreeMap<String, Votes> = answers.iter().map(votes).collect();
    heard.insert(answers[0].clip.clone(), Votes([0; 6]));
    heard.insert(answers[1].clip.clone(), Votes([4, 2, 0, 0, 0, 0]));
    assert_eq!(answers[1].truth, Emotion::Disgust);
    let crowd = Report::new(&Input { votes: heard, ..input(answers) }, false).unwrap().crowd.unwrap();
    assert_eq!((crowd.n, crowd.n_votes), (47, 466));
    assert!((crowd.majority.accuracy.value - 46.0 / 47.0).abs() < 1e-12);
    assert!((crowd.listener.accuracy.value - 462.0 / 466.0).abs() < 1e-12);
    assert!(crowd.agreement.value <= crowd.system.accuracy.value + 1.0 / 47.0);
    // The first speakers are women: of theirs are the clip without votes and the one that was misheard.
    let sexes: Vec<_> = crowd.by_sex.iter().map(|one| (one.sex, one.n)).collect();
    assert_eq!(sexes, [("female", 23), ("male", 24)]);
    assert!((crowd.by_sex[0].listener.accuracy.value - 222.0 / 226.0).abs() < 1e-12);
    assert_eq!(crowd.by_sex[1].listener.accuracy.value, 1.0);
}

#[test]
fn systems_are_compared_pair_by_pair() {
    let first = answers(10, 24, 1);
    // Surer of the truth, clip by clip.
    let mut better = first.clone();
    for answered in &mut better {
        answered.probabilities = answered.probabilities.map(|p| 0.5 * p);
        answered.probabilities[answered.truth.index()] += 0.5;
    }
    let missing = better.pop().unwrap();
    let inputs = [input(first.clone()), input(better.clone())];
    let comparison = Comparison::new(&inputs, false).unwrap();
    assert_eq!(
        (comparison.n, comparison.systems[0].n_left_out, comparison.systems[1].n_left_out),
        (239, 1, 0)
    );
    assert_eq!(comparison.systems[1].name, "run (2)");
    let difference = &comparison.differences[0];
    assert!(difference.uar.low > 0.0 && difference.share_better == Some(1.0), "{difference:?}");
    let same = Comparison::new(&[input(first.clone()), input(first.clone())], false).unwrap();
    assert_eq!((same.differences[0].uar.low, same.differences[0].uar.high), (0.0, 0.0));
    assert!(compare::document(&comparison).to_html().contains("run (2) less run"));

    let mut other_truth = better.clone();
    other_truth[0].truth = Emotion::Sad;
    let error = Comparison::new(&[input(first.clone()), input(other_truth)], false).unwrap_err();
    assert!(matches!(&error, Error::Disagree { what: "truth", .. }), "{error}");
    assert!(error.to_string().contains(&first[0].clip), "{error}");
    let error = Comparison::new(&[input(better), input(vec![missing])], true).unwrap_err().to_string();
    assert!(error.contains("no clip in common"), "{error}");
    assert!(Comparison::new(&[input(first)], true).is_err());
    let alone = [input(answers(1, 12, 1)), input(answers(1, 12, 2))];
    let comparison = Comparison::new(&alone, false).unwrap();
    assert_eq!(comparison.differences[0].share_better, None);
    assert!(compare::document(&comparison).to_markdown().contains("\u{2013} |"));
}

#[test]
fn what_is_known_beside_the_predictions_is_kept_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let answers = answers(4, 12, 1);
    std::fs::write(dir.path().join(PREDICTIONS_FILE), csv_of(&answers)).unwrap();
    let votes = BTreeMap::from([(answers[0].clip.clone(), Votes([3, 1, 0, 0, 0, 0]))]);
    write_votes(&votes, &dir.path().join(VOTES_FILE)).unwrap();
    let evaluation = Evaluation {
        model: Some("m.safetensors".to_owned()),
        protocol: "by-speaker/2".to_owned(),
        part: "test".to_owned(),
        checks: vec!["no speaker on two sides".to_owned()],
        excluded: vec![Excluded { corpus: "a".to_owned(), reason: "calm".to_owned(), n: 7 }],
        folds: vec![
            Fold { name: "1".to_owned(), speakers: vec!["a/000".to_owned(), "b/001".to_owned()] },
            Fold { name: "2".to_owned(), speakers: vec!["a/002".to_owned(), "b/003".to_owned()] },
        ],
        ..Evaluation::default()
    };
    files::write_json(&evaluation, &dir.path().join(EVALUATION_FILE)).unwrap();
    let input = read_run(dir.path()).unwrap();
    assert_eq!((&input.votes, input.evaluation.as_ref()), (&votes, Some(&evaluation)));
    assert_eq!(input.answers, {
        let file = dir.path().join(PREDICTIONS_FILE);
        read_predictions(&file).unwrap()
    });
    let text = page::document(&Report::new(&input, false).unwrap()).to_markdown();
    for expected in ["m.safetensors", "no speaker on two sides", "calm", "## By fold", "standard deviation"] {
        assert!(text.contains(expected), "no '{expected}' in {text}");
    }
    std::fs::write(dir.path().join(EVALUATION_FILE), "{\n\"protocol\": 3}").unwrap();
    let error = read_run(dir.path()).unwrap_err().to_string();
    assert!(error.contains("evaluation.json: line 2"), "{error}");
}
