//! Listing the files under a root: in a fixed order, once each, within limits.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::{Fault, FaultKind};
use crate::error::{Error, Result};

/// What audio files end in. Which format a file really has is decided by its content, when it is decoded.
const AUDIO: [&str; 15] = [
    "wav", "wave", "flac", "ogg", "oga", "mp3", "m4a", "mp4", "aac", "aif", "aiff", "aifc", "mka", "mkv",
    "webm",
];

/// Formats that keep every sample.
const LOSSLESS: [&str; 6] = ["wav", "wave", "flac", "aif", "aiff", "aifc"];

/// Folders may be nested this deep. The deepest published tree has 4 levels; a link that leads into itself is
/// caught by [`Visited`], so this only stops trees that were made to exhaust the stack.
const MAX_DEPTH: usize = 32;

/// More files than this are no corpus that this crate was made for (the largest speech corpora have 2 million), but
/// somebody's whole disk.
const MAX_FILES: usize = 5_000_000;

/// Folders that were walked already, by their real path: overlapping roots and links that lead in circles.
#[derive(Debug, Default)]
pub(super) struct Visited(HashSet<PathBuf>);

/// The files under a root, each list sorted by path.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) audio: Vec<PathBuf>,
    /// CSV files.
    pub(super) tables: Vec<PathBuf>,
    /// `._name` files of macOS that are named like audio.
    pub(super) mac_os: Vec<PathBuf>,
    pub(super) faults: Vec<Fault>,
}

/// Lists the files under a directory. Hidden folders (`.git`) are not entered.
pub(super) fn walk(root: &Path, visited: &mut Visited) -> Result<Listing> {
    let mut listing = Listing::default();
    // The root itself must be readable; below it, what cannot be read is a fault.
    std::fs::read_dir(root).map_err(Error::io(root))?;
    let mut n_files = 0;
    enter(root, 0, visited, &mut listing, &mut n_files)?;
    Ok(listing)
}

/// True when the name of the path ends in one of the lower-case extensions, in any case.
pub(super) fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    extensions.iter().any(|known| known.eq_ignore_ascii_case(extension))
}

/// True for a file whose name promises every sample as it was recorded.
pub(super) fn is_lossless(path: &Path) -> bool {
    has_extension(path, &LOSSLESS)
}

fn enter(
    folder: &Path,
    depth: usize,
    visited: &mut Visited,
    listing: &mut Listing,
    n_files: &mut usize,
) -> Result<()> {
    let unreadable = |path: &Path, error: &std::io::Error| Fault {
        path: path.to_path_buf(),
        kind: FaultKind::Unreadable(error.to_string()),
    };
    if depth > MAX_DEPTH {
        let what = format!("folders nested more than {MAX_DEPTH} deep");
        listing.faults.push(Fault { path: folder.to_path_buf(), kind: FaultKind::Unreadable(what) });
        return Ok(());
    }
    match folder.canonicalize() {
        Ok(real) if !visited.0.insert(real.clone()) => return Ok(()),
        Ok(_) => {}
        Err(error) => {
            listing.faults.push(unreadable(folder, &error));
            return Ok(());
        }
    }
    let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(error) => {
            listing.faults.push(unreadable(folder, &error));
            return Ok(());
        }
    };
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let name = entry.file_name();
        let hidden = name.as_encoded_bytes().starts_with(b".");
        // Follows links, as people keep corpora on another disk.
        let is_dir = match std::fs::metadata(&path) {
            Ok(metadata) => metadata.is_dir(),
            Err(_) if hidden => continue,
            Err(error) => {
                listing.faults.push(unreadable(&path, &error));
                continue;
            }
        };
        if is_dir {
            if !hidden {
                enter(&path, depth + 1, visited, listing, n_files)?;
            }
            continue;
        }
        *n_files += 1;
        if *n_files > MAX_FILES {
            return Err(Error::NoCorpus {
                path: folder.to_path_buf(),
                what: format!("more than {MAX_FILES} files: give the folder of the corpus itself"),
            });
        }
        if has_extension(&path, &AUDIO) {
            if name.as_encoded_bytes().starts_with(b"._") {
                listing.mac_os.push(path);
            } else if !hidden {
                listing.audio.push(path);
            }
        } else if has_extension(&path, &["csv"]) && !hidden {
            listing.tables.push(path);
        }
    }
    Ok(())
}
