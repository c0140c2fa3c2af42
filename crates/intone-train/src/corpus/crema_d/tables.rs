//! The two tables of CREMA-D: who speaks, and what listeners heard.

use std::collections::HashMap;
use std::path::Path;

use crate::corpus::table::Table;
use crate::corpus::{Sex, Votes};
use crate::error::Result;

/// The table of the actors.
pub const DEMOGRAPHICS_FILE: &str = "VideoDemographics.csv";

/// The table of the crowd's votes, in `processedResults/`.
pub const VOTES_FILE: &str = "tabulatedVotes.csv";

/// Row ids begin with this digit where the listeners heard the voice without seeing the face (2: the face alone, 3:
/// both).
const VOICE_ONLY: char = '1';

/// What the table of the actors says of one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demographics {
    /// Sex.
    pub sex: Sex,
    /// Age, years.
    pub age: Option<u8>,
}

/// Reads `VideoDemographics.csv`: columns `ActorID` and `Sex`, and `Age` where it is there.
///
/// # Errors
/// When the file cannot be read, lacks a column, or holds a value that is neither `Male` nor `Female`.
pub fn read_demographics(path: &Path) -> Result<HashMap<u16, Demographics>> {
    let mut table = Table::open(path)?;
    let (actor, sex) = (table.column("ActorID")?, table.column("Sex")?);
    let age = table.column("Age").ok();
    let mut people = HashMap::new();
    while let Some(row) = table.next_row()? {
        let actor = row.number(actor, "ActorID")?;
        let sex = match row.text(sex).to_ascii_lowercase().as_str() {
            "female" | "f" => Sex::Female,
            "male" | "m" => Sex::Male,
            other => return Err(row.error(format!("Sex: expected Male or Female, got '{other}'"))),
        };
        let age = age.and_then(|age| row.text(age).parse().ok());
        people.insert(actor, Demographics { sex, age });
    }
    Ok(people)
}

/// Reads `tabulatedVotes.csv`: the voice-only rows, by clip (`1001_DFA_ANG_XX`).
///
/// Rows with the same clip are added up. Votes are in the order of [`Emotion::ALL`](intone::Emotion::ALL).
///
/// # Errors
/// When the file cannot be read, lacks a column, or holds a count that is no whole number.
pub fn read_votes(path: &Path) -> Result<HashMap<String, Votes>> {
    let mut table = Table::open(path)?;
    let clip = table.column("fileName")?;
    let mut counts = [0; 6];
    // Anger, disgust, fear, happiness, neutral, sadness: already in the order of Emotion::ALL.
    for (slot, letter) in counts.iter_mut().zip(["A", "D", "F", "H", "N", "S"]) {
        *slot = table.column(letter)?;
    }
    let mut votes: HashMap<String, Votes> = HashMap::new();
    while let Some(row) = table.next_row()? {
        if !row.text(0).starts_with(VOICE_ONLY) {
            continue;
        }
        let entry = votes.entry(row.text(clip).to_ascii_uppercase()).or_default();
        for (sum, (column, emotion)) in entry.0.iter_mut().zip(counts.iter().zip(intone::Emotion::ALL)) {
            *sum = sum.saturating_add(row.number(*column, emotion.name())?);
        }
    }
    Ok(votes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn only_voice_only_votes_count() {
        let file = written(
            "\"\",\"A\",\"D\",\"F\",\"H\",\"N\",\"S\",\"fileName\",\"numResponses\"\n\
             \"100001\",1,0,0,2,1,0,\"1001_IEO_NEU_XX\",4\n\
             \"200001\",9,9,9,9,9,9,\"1001_IEO_NEU_XX\",54\n\
             \"300001\",9,9,9,9,9,9,\"1001_IEO_HAP_LO\",54\n",
        );
        let votes = read_votes(file.path()).unwrap();
        assert_eq!(votes.len(), 1);
        let votes = votes["1001_IEO_NEU_XX"];
        assert_eq!(votes, Votes([1, 0, 0, 2, 1, 0]));
        assert_eq!(votes.soft_label(), Some([0.25, 0.0, 0.0, 0.5, 0.25, 0.0]));
        assert_eq!(Votes([0; 6]).soft_label(), None);
    }

    #[test]
    fn a_table_that_is_something_else_says_where() {
        let cases = [
            ("a,b\n1,2\n", "expected a column 'fileName'"),
            ("\"\",A,D,F,H,N,S,fileName\n1,1,0,0,x,1,0,1001_IEO_NEU_XX\n", "line 2: happy: expected a whole"),
            ("\"\",A,D,F,H,N,S,fileName\n1,1\n", "line 2"),
            ("\"\",A,D,F,H,N,S,fileName\n1,1,0,0,99999999999,1,0,1001_IEO_NEU_XX\n", "line 2"),
            ("\"\",A,D,F,H,N,S,fileName\n1,-1,0,0,1,1,0,1001_IEO_NEU_XX\n", "line 2"),
            ("", "expected a column"),
        ];
        for (text, expected) in cases {
            let error = read_votes(written(text).path()).unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
        assert!(
            read_votes(Path::new("no/such/file.csv")).unwrap_err().to_string().contains("no/such/file.csv")
        );
    }

    #[test]
    fn demographics_are_read_with_and_without_quotes() {
        let file = written("\u{feff}\"ActorID\",\"Age\",\"Sex\"\r\n1001,51,\"Male\"\r\n1002,,Female\r\n");
        let people = read_demographics(file.path()).unwrap();
        assert_eq!(people[&1001], Demographics { sex: Sex::Male, age: Some(51) });
        assert_eq!(people[&1002], Demographics { sex: Sex::Female, age: None });
        let error = read_demographics(written("ActorID,Sex\n1001,?\n").path()).unwrap_err().to_string();
        assert!(error.contains("line 2: Sex: expected Male or Female, got '?'"), "{error}");
    }
}
