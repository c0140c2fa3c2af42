//! What the published files of CREMA-D are, byte for byte.

use super::SENTENCES;

/// One record of 37 bytes for each of the 7,442 files, sorted by name: the name packed into 16 bits (big-endian:
/// actor - 1001 in 7 bits, sentence as in [`SENTENCES`] in 4, emotion in 3, level in 2), the size in bytes (24 bits,
/// big-endian), and the SHA-256 of the content.
///
/// Computed from the audio of the repository CheyneyComputerScience/CREMA-D, whose Git-LFS pointers state the same
/// hashes; a test compares it with the list in the shared data folder.
static RECORDS: &[u8] = include_bytes!("published.sha256.bin");

const RECORD_BYTES: usize = 37;

const EMOTIONS: [&str; 6] = ["ANG", "DIS", "FEA", "HAP", "NEU", "SAD"];

const LEVELS: [&str; 4] = ["HI", "LO", "MD", "XX"];

/// A published audio file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedFile {
    name: u16,
    /// Size, bytes.
    pub bytes: u32,
    /// SHA-256 of the content.
    pub sha256: [u8; 32],
}

impl PublishedFile {
    /// The name without its ending: `1001_DFA_ANG_XX`.
    pub fn stem(&self) -> String {
        let field = |shift: u32, bits: u32| usize::from(self.name >> shift & ((1 << bits) - 1));
        let (actor, sentence) = (1001 + field(9, 7), SENTENCES[field(5, 4)]);
        format!("{actor}_{sentence}_{}_{}", EMOTIONS[field(2, 3)], LEVELS[field(0, 2)])
    }
}

/// Every published audio file, sorted by name.
pub fn published_files() -> impl ExactSizeIterator<Item = PublishedFile> {
    RECORDS.as_chunks::<RECORD_BYTES>().0.iter().map(|record| {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(&record[5..]);
        let name = u16::from_be_bytes([record[0], record[1]]);
        PublishedFile { name, bytes: u32::from_be_bytes([0, record[2], record[3], record[4]]), sha256 }
    })
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    #[test]
    fn the_records_are_the_published_files() {
        assert_eq!(RECORDS.len(), 7442 * RECORD_BYTES);
        let stems: Vec<String> = published_files().map(|file| file.stem()).collect();
        assert!(stems.is_sorted_by(|a, b| a < b));
        assert!(stems.iter().all(|stem| super::super::parse(stem).is_ok()));
        let first = published_files().next().unwrap();
        assert_eq!((first.stem().as_str(), first.bytes), ("1001_DFA_ANG_XX", 72_862));
        assert_eq!(&first.sha256[..4], [0xc6, 0xf9, 0x4b, 0x25]);
    }

    /// The list in the shared data folder is the source of the records.
    #[test]
    fn the_records_agree_with_the_list() {
        let workspace = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let folder = std::env::var_os("INTONE_DATA")
            .map_or_else(|| workspace.join("../shared/data"), std::path::PathBuf::from);
        let path = folder.join("cremad_audiowav_sha256.tsv");
        let Ok(list) = std::fs::read_to_string(&path) else {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "no {}", path.display());
            println!("skipped: the_records_agree_with_the_list, because there is no {}", path.display());
            return;
        };
        let mut again = "file\tbytes\tsha256\n".to_owned();
        for file in published_files() {
            let sum = file.sha256.iter().fold(String::new(), |mut sum, byte| {
                write!(sum, "{byte:02x}").unwrap();
                sum
            });
            writeln!(again, "{}.wav\t{}\t{sum}", file.stem(), file.bytes).unwrap();
        }
        assert!(again == list, "the records and {} differ", path.display());
    }
}
