use std::collections::BTreeMap;

use super::super::output::{Answer, Outcome, Report};
use super::super::rows::Row;
use super::*;
use crate::terminal::Style;

fn labels() -> Vec<String> {
    ["angry", "sad"].map(String::from).to_vec()
}

/// Answers, silence, and errors with everything that makes a row hard to read.
fn outcomes() -> Vec<(&'static str, Outcome)> {
    let answer = |angry: f32, silence: bool| {
        Outcome::Answer(Answer {
            label: (!silence).then(|| if angry > 0.5 { "angry".into() } else { "sad".into() }),
            scores: vec![("angry".into(), angry), ("sad".into(), 1.0 - angry)],
            silence,
            uncertain: angry < 0.7,
            duration_s: 2.125,
            windows: 3,
            silent_windows: 0,
            embedding: None,
            warnings: vec![],
        })
    };
    vec![
        ("calls/one, two.wav", answer(0.75, false)),
        ("calls/ö\".wav", Outcome::Error("no \"audio\",\nsorry: é".into())),
        ("calls/quiet.wav", answer(0.5, true)),
        ("z.wav", answer(0.25, false)),
        ("last.wav", Outcome::Error("ends\n".into())),
    ]
}

/// Writes the rows that the file does not hold, as the program does, up to `n` of them; without the end of the run.
fn go_on(file: &mut OutFile, n: usize) {
    let all = outcomes();
    let paths = all.iter().map(|(path, _)| Path::new(*path));
    let mut report = Report::new(file.row_format(), Style { colours: false }, labels(), None, paths);
    if file.is_new() {
        report.begin(file).unwrap();
    }
    let missing: Vec<_> =
        all.iter().filter(|(path, _)| file.holds(Path::new(path)).is_none()).take(n).collect();
    for (path, outcome) in missing {
        report.write(file, Path::new(path), outcome).unwrap();
        file.flush().unwrap();
    }
}

fn whole(target: &Path, format: Format, resume: bool) -> anyhow::Result<()> {
    let mut file = OutFile::open(target, format, &labels(), resume)?;
    go_on(&mut file, usize::MAX);
    file.finish()
}

fn parquet_rows(path: &Path) -> Vec<Row> {
    let mut rows = Vec::new();
    parquet::read(path, &labels(), |row| {
        rows.push(row);
        Ok(())
    })
    .unwrap();
    rows
}

#[test]
fn wherever_a_run_was_cut_off_it_goes_on_to_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    for format in [Format::Jsonl, Format::Csv] {
        let target = folder.path().join(format!("{format:?}"));
        whole(&target, format, false).unwrap();
        let bytes = fs::read(&target).unwrap();
        for n in 0..=bytes.len() {
            fs::write(&target, &bytes[..n]).unwrap();
            whole(&target, format, true).unwrap_or_else(|error| panic!("{format:?} cut at {n}: {error:#}"));
            let resumed = fs::read(&target).unwrap();
            assert_eq!(String::from_utf8_lossy(&resumed), String::from_utf8_lossy(&bytes), "{format:?} {n}");
        }
    }
}

#[test]
fn parquet_is_made_at_the_end_of_what_was_kept_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let (target, part) = (folder.path().join("x.parquet"), folder.path().join("x.parquet.part.jsonl"));
    let mut file = OutFile::open(&target, Format::Parquet, &labels(), false).unwrap();
    go_on(&mut file, usize::MAX);
    drop(file);
    assert!(!target.exists(), "no half file");
    let bytes = fs::read(&part).unwrap();
    for n in (0..=bytes.len()).step_by(7) {
        fs::write(&part, &bytes[..n]).unwrap();
        whole(&target, Format::Parquet, true).unwrap();
        assert!(!part.exists());
        let rows = parquet_rows(&target);
        let paths: Vec<_> = rows.iter().map(|row| row.path.as_str()).collect();
        assert_eq!(paths, outcomes().iter().map(|(path, _)| *path).collect::<Vec<_>>(), "{n}");
        let expected = Row {
            path: "calls/one, two.wav".into(),
            label: Some("angry".into()),
            scores: BTreeMap::from([("angry".into(), 0.75), ("sad".into(), 0.25)]),
            silence: Some(false),
            uncertain: Some(false),
            duration_s: Some(2.125),
            windows: Some(3),
            error: None,
        };
        assert_eq!(rows[0], expected);
        let (path, error) = ("calls/ö\".wav".into(), Some("no \"audio\",\nsorry: é".into()));
        assert_eq!(rows[1], Row { path, error, ..Row::default() });
        fs::remove_file(&target).unwrap();
    }
}

#[test]
fn a_finished_parquet_file_is_added_to_and_never_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (target, part) = (folder.path().join("x.parquet"), folder.path().join("x.parquet.part.jsonl"));
    let mut file = OutFile::open(&target, Format::Parquet, &labels(), false).unwrap();
    go_on(&mut file, 2);
    let kept = fs::read(&part).unwrap();
    file.finish().unwrap();
    let first = fs::read(&target).unwrap();
    assert_eq!(parquet_rows(&target).len(), 2);

    // Interrupted while rows are added: the file is as it was.
    let mut file = OutFile::open(&target, Format::Parquet, &labels(), true).unwrap();
    go_on(&mut file, 1);
    drop(file);
    assert_eq!(fs::read(&target).unwrap(), first);
    whole(&target, Format::Parquet, true).unwrap();
    let all = parquet_rows(&target);
    assert_eq!(all.len(), outcomes().len());

    // Ended between making the file and removing the rows beside it: nothing is there twice.
    fs::write(&part, &kept).unwrap();
    whole(&target, Format::Parquet, true).unwrap();
    assert_eq!(parquet_rows(&target), all);

    // Nothing to add: not even written again.
    let before = fs::metadata(&target).unwrap().modified().unwrap();
    whole(&target, Format::Parquet, true).unwrap();
    assert_eq!(fs::metadata(&target).unwrap().modified().unwrap(), before);
    assert!(!part.exists());
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["x.parquet"]);
}

#[test]
fn what_is_there_is_neither_overwritten_nor_taken_for_something_else() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("x");
    let other_labels = "{\"path\":\"a\",\"label\":\"calm\",\"scores\":{\"calm\":1.0}}\n";
    let cases: [(Format, &str, &str); 10] = [
        (Format::Jsonl, "my notes", "cannot go on with"),
        (Format::Jsonl, "my notes\n", "line 1 is no answer"),
        (Format::Jsonl, "{\"path\":\"a\",\"error\":\"e\"}\nnotes\n", "line 2 is no answer"),
        (Format::Jsonl, "{\"path\":\"a\",\"error\":\"e\"}\nnotes", "line 2 is no answer"),
        (Format::Jsonl, other_labels, "line 1: expected scores of angry, sad, got one of calm"),
        (Format::Csv, "my notes", "its columns: expected path,label,angry,sad"),
        (Format::Csv, "path,label,calm\n", "its columns: expected path,label,angry,sad"),
        (
            Format::Csv,
            "path,label,angry,sad,silence,uncertain,duration_s,windows,error\na,b\nc,,,,,,,,e\n",
            "row 2: expected 9 fields, got 2",
        ),
        (Format::Parquet, "my notes", "no Parquet file that can be read"),
        (Format::Parquet, "", "no Parquet file that can be read"),
    ];
    for (format, content, expected) in cases {
        fs::write(&target, content).unwrap();
        let error = format!("{:#}", whole(&target, format, true).unwrap_err());
        assert!(error.contains(expected), "{format:?} {content:?}: {error}");
        let error = format!("{:#}", whole(&target, format, false).unwrap_err());
        assert!(error.contains("there already; --resume"), "{error}");
        assert_eq!(fs::read_to_string(&target).unwrap(), content, "as it was");
        assert!(!folder.path().join("x.part.jsonl").exists(), "{format:?} {content:?}");
    }
    let clash = vec!["error".to_owned()];
    let error = OutFile::open(&folder.path().join("y"), Format::Parquet, &clash, false).err().unwrap();
    assert!(error.to_string().contains("the label 'error'"), "{error}");
    assert!(whole(folder.path(), Format::Jsonl, true).is_err(), "a folder");
}

#[test]
fn two_runs_never_write_to_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("x.jsonl");
    let first = OutFile::open(&target, Format::Jsonl, &labels(), false).unwrap();
    let error = OutFile::open(&target, Format::Jsonl, &labels(), true).err().unwrap();
    assert!(error.to_string().contains("another run"), "{error}");
    drop(first);
    OutFile::open(&target, Format::Jsonl, &labels(), true).unwrap();
}

#[test]
fn a_damaged_parquet_file_is_an_error_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("x.parquet");
    whole(&target, Format::Parquet, false).unwrap();
    let bytes = fs::read(&target).unwrap();
    for n in 0..bytes.len() {
        if n % 7 == 0 {
            fs::write(&target, &bytes[..n]).unwrap();
            assert!(OutFile::open(&target, Format::Parquet, &labels(), true).is_err(), "cut at {n}");
        }
        let mut damaged = bytes.clone();
        damaged[n] ^= [0x01, 0x80, 0xff][n % 3];
        fs::write(&target, damaged).unwrap();
        // Some damage does not show. What matters is that the program goes on or says what is wrong.
        let _ = OutFile::open(&target, Format::Parquet, &labels(), true);
    }
}

#[test]
fn many_rows_make_several_groups() {
    use ::parquet::file::reader::{FileReader, SerializedFileReader};
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut table = Table::new(file.reopen().unwrap(), &labels()).unwrap();
    let n = (1 << 16) + 10;
    for i in 0..n {
        let scores = BTreeMap::from([("angry".to_owned(), 0.5), ("sad".to_owned(), 0.5)]);
        table.push(Row { path: format!("calls/{i:07}.wav"), scores, ..Row::default() }).unwrap();
    }
    table.finish().unwrap();
    let reader = SerializedFileReader::new(file.reopen().unwrap()).unwrap();
    let rows: Vec<i64> = reader.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
    assert_eq!(rows, [1 << 16, 10]);
    let last = parquet_rows(file.path()).pop().unwrap();
    assert_eq!((last.path, last.scores["sad"]), (format!("calls/{:07}.wav", n - 1), 0.5));
}
