//! A part of many recordings, for jobs that share them out among machines.

use std::path::Path;
use std::str::FromStr;

/// Part `index` of `count`, counted from 1.
///
/// A recording belongs to the part that the hash of its path says, as it was given or found: always the same one, whatever
/// else is in the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shard {
    index: u64,
    count: u64,
}

impl Shard {
    pub(crate) fn contains(self, path: &Path) -> bool {
        hash(path.as_os_str().as_encoded_bytes()) % self.count == self.index - 1
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        let shard = text.split_once('/').and_then(|(index, count)| {
            let shard = Shard { index: index.parse().ok()?, count: count.parse().ok()? };
            (1..=shard.count).contains(&shard.index).then_some(shard)
        });
        shard.ok_or_else(|| format!("expected I/N with I from 1 to N, such as 3/8, got '{text}'"))
    }
}

/// FNV-1a of 64 bits (Fowler, Noll and Vo), and MurmurHash3's finaliser: the lowest bits of FNV alone are not spread well.
fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_in_one_part_and_the_parts_are_alike() {
        let paths: Vec<String> = (0..10_000).map(|i| format!("calls/2026/{i:05}.wav")).collect();
        for count in [1, 2, 3, 8, 100] {
            let mut sizes = vec![0; count as usize];
            for path in &paths {
                let parts: Vec<u64> =
                    (1..=count).filter(|&index| Shard { index, count }.contains(Path::new(path))).collect();
                assert_eq!(parts.len(), 1, "{path} is in {parts:?} of {count}");
                sizes[parts[0] as usize - 1] += 1;
            }
            let expected = paths.len() as f64 / count as f64;
            // Five standard deviations of a fair draw.
            let tolerance = 5.0 * expected.sqrt();
            assert!(
                sizes.iter().all(|&n| (f64::from(n) - expected).abs() <= tolerance),
                "{count}: {sizes:?}"
            );
        }
    }

    #[test]
    fn the_parts_are_the_same_in_every_version() {
        // Of the formula in Python, where integers do not overflow.
        for (path, expected) in [
            ("", 0xefd0_1f60_ba99_2926),
            ("a.wav", 0x6684_8e34_c2cf_7a89),
            ("calls/é.flac", 0x73a9_dfa5_0f87_8464),
        ] {
            assert_eq!(hash(path.as_bytes()), expected, "{path}: {:#x}", hash(path.as_bytes()));
        }
    }

    #[test]
    fn what_is_no_part_is_refused() {
        assert_eq!("3/8".parse(), Ok(Shard { index: 3, count: 8 }));
        for text in ["", "3", "0/8", "9/8", "3/0", "-1/8", "a/b", "3/8/9", " 3/8", "99999999999999999999/8"] {
            assert!(text.parse::<Shard>().unwrap_err().contains(&format!("'{text}'")), "{text}");
        }
    }
}
