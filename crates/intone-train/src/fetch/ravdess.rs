//! RAVDESS: one archive.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::download::{Checksum, Downloader, Wanted, verify};
use super::{Event, Fetched, Options, sha256, unpack};
use crate::error::{Error, Result};

/// A published ZIP archive.
#[derive(Debug, Clone)]
pub struct Archive {
    /// The folder of its URL.
    pub base_url: &'static str,
    /// Its file name.
    pub file_name: &'static str,
    /// Its size.
    pub bytes: u64,
    /// MD5 of the archive.
    pub md5: [u8; 16],
    /// The folder that it is unpacked to.
    pub folder: &'static str,
}

/// The speech archive of RAVDESS, <https://zenodo.org/records/1188976>: size and MD5 as the record states them.
pub const RAVDESS_ARCHIVE: Archive = Archive {
    base_url: "https://zenodo.org/records/1188976/files",
    file_name: "Audio_Speech_Actors_01-24.zip",
    bytes: 208_468_073,
    md5: 0xbc69_6df6_54c8_7fed_845e_b138_23ed_ef8a_u128.to_be_bytes(),
    folder: "RAVDESS",
};

/// The list of what was unpacked, as `sha256sum -c` reads it. Its presence says that unpacking came to its end.
const SUMS_FILE: &str = "SHA256SUMS";

/// Fetches the speech recordings of RAVDESS (1,440 files, 590 MB) into `out/RAVDESS/`.
///
/// # Errors
/// When the archive cannot be fetched or verified, or the disk refuses.
pub fn ravdess(out: &Path, options: &Options, progress: &(dyn Fn(Event<'_>) + Sync)) -> Result<Fetched> {
    archive(&RAVDESS_ARCHIVE, out, options, progress)
}

/// Fetches an archive, verifies it and unpacks it into its folder below `out`.
///
/// What is there from an earlier run is verified by the list `SHA256SUMS` that each run leaves in the folder, and an
/// archive that lies in `out` already is used.
///
/// # Errors
/// When the archive cannot be fetched, verified or unpacked, or the disk refuses.
pub fn archive(
    archive: &Archive,
    out: &Path,
    options: &Options,
    progress: &(dyn Fn(Event<'_>) + Sync),
) -> Result<Fetched> {
    options.check()?;
    let folder = out.join(archive.folder);
    let n_present = valid_files(&folder)?;
    if n_present > 0 {
        progress(Event::Plan { files: 0, bytes: 0, present: n_present });
        return Ok(Fetched { folder, n_fetched: 0, n_present });
    }
    let path = out.join(archive.file_name);
    let checksum = Checksum::Md5(archive.md5);
    let is_there = path.metadata().is_ok_and(|metadata| metadata.len() == archive.bytes)
        && verify(&path, checksum)?.is_none();
    if is_there {
        progress(Event::Plan { files: 0, bytes: 0, present: 1 });
    } else {
        progress(Event::Plan { files: 1, bytes: archive.bytes, present: 0 });
        let urls = [options.url(archive.base_url, archive.file_name)];
        let wanted =
            Wanted { urls: &urls, path: &path, bytes: Some(archive.bytes), checksum: Some(checksum) };
        Downloader::new(options, progress).fetch(&wanted)?;
    }
    let files = unpack::unpack(&path, &folder, progress)?;
    write_sums(&folder, &files)?;
    if !options.keep_archive {
        std::fs::remove_file(&path).map_err(Error::io(&path))?;
    }
    Ok(Fetched { folder, n_fetched: files.len(), n_present: 0 })
}

/// How many files an earlier run unpacked, 0 when one of them is missing or has changed.
fn valid_files(folder: &Path) -> Result<usize> {
    let list = folder.join(SUMS_FILE);
    let text = match std::fs::read_to_string(&list) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(Error::io(&list)(error)),
    };
    let lines: Vec<&str> = text.lines().collect();
    let is_valid = |line: &&str| -> bool {
        let Some((sum, name)) = line.split_once("  ") else { return false };
        let path = folder.join(name);
        sha256(&path).is_ok_and(|actual| actual.to_string() == sum)
    };
    Ok(if lines.par_iter().all(is_valid) { lines.len() } else { 0 })
}

fn write_sums(folder: &Path, files: &[PathBuf]) -> Result<()> {
    let sums: Result<BTreeMap<&Path, Checksum>> =
        files.par_iter().map(|path| Ok((path.strip_prefix(folder).unwrap_or(path), sha256(path)?))).collect();
    let lines: String = sums?.iter().map(|(path, sum)| format!("{sum}  {}\n", path.display())).collect();
    let list = folder.join(SUMS_FILE);
    std::fs::write(&list, lines).map_err(Error::io(&list))
}
