//! Unpacking an archive that nobody vouches for.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::Event;
use crate::error::{Error, Result};

/// RAVDESS has 1,440 files and 25 folders.
const MAX_ENTRIES: usize = 10_000;

/// The largest clip of RAVDESS, a stereo one, has 1 MB.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// RAVDESS unpacks to 590 MB.
const MAX_TOTAL_BYTES: u64 = 2 << 30;

/// Unpacks every file of a ZIP archive below a folder, and returns where they are. Each file appears under its name only
/// when it is complete.
///
/// # Errors
/// An archive that is none, has too many or too large files, holds links, or names paths outside of the folder. Sizes
/// are counted as the data come, as a header can say anything.
pub(super) fn unpack(archive: &Path, folder: &Path, progress: &dyn Fn(Event<'_>)) -> Result<Vec<PathBuf>> {
    let bad = |what: String| Error::Archive { path: archive.to_path_buf(), what };
    let file = File::open(archive).map_err(Error::io(archive))?;
    let mut zip =
        zip::ZipArchive::new(std::io::BufReader::new(file)).map_err(|error| bad(error.to_string()))?;
    let total = zip.len();
    if total > MAX_ENTRIES {
        return Err(bad(format!("expected at most {MAX_ENTRIES} files, got {total}")));
    }
    let mut paths = Vec::new();
    let mut bytes_left = MAX_TOTAL_BYTES;
    for index in 0..total {
        let mut entry = zip.by_index(index).map_err(|error| bad(error.to_string()))?;
        let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
        let below = entry.enclosed_name().ok_or_else(|| bad(format!("'{name}' leads out of the folder")))?;
        if entry.is_symlink() {
            return Err(bad(format!("'{name}' is a link")));
        }
        if entry.is_dir() {
            continue;
        }
        let path = folder.join(below);
        let limit = MAX_FILE_BYTES.min(bytes_left);
        let n = copy(&mut entry, &path, limit).map_err(|trouble| match trouble {
            Trouble::Disk(path, error) => Error::Io { path, error },
            Trouble::Data(what) => bad(format!("'{name}': {what}")),
        })?;
        bytes_left -= n;
        paths.push(path);
        progress(Event::Unpacked { done: index + 1, total });
    }
    Ok(paths)
}

enum Trouble {
    Disk(PathBuf, std::io::Error),
    /// What is wrong with the archive.
    Data(String),
}

/// Writes at most `limit` bytes to a file, which appears under its name only when it is complete.
fn copy(from: &mut impl Read, path: &Path, limit: u64) -> Result<u64, Trouble> {
    let disk = |path: &Path| {
        let path = path.to_path_buf();
        move |error| Trouble::Disk(path, error)
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(disk(folder))?;
    }
    let part = path.with_extension("part");
    let mut file = File::create(&part).map_err(disk(&part))?;
    let mut buffer = vec![0; 1 << 16];
    let mut written = 0;
    let mut fill = || loop {
        let n = match from.read(&mut buffer) {
            Ok(0) => return Ok(written),
            Ok(n) => n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Trouble::Data(error.to_string())),
        };
        written += n as u64;
        if written > limit {
            return Err(Trouble::Data(format!("more than {limit} bytes")));
        }
        file.write_all(&buffer[..n]).map_err(disk(&part))?;
    };
    let filled = fill();
    match filled {
        Ok(_) => std::fs::rename(&part, path).map_err(disk(path))?,
        // The error that matters is the first one.
        Err(_) => drop(std::fs::remove_file(&part)),
    }
    filled
}

#[cfg(test)]
mod tests {
    use zip::write::SimpleFileOptions;

    use super::*;

    fn zip_of(write: impl FnOnce(&mut zip::ZipWriter<File>)) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut zip = zip::ZipWriter::new(file.reopen().unwrap());
        write(&mut zip);
        zip.finish().unwrap();
        file
    }

    fn add(zip: &mut zip::ZipWriter<File>, name: &str, content: &[u8]) {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }

    #[test]
    fn folders_and_files_come_out() {
        let archive = zip_of(|zip| {
            zip.add_directory("Actor_01", SimpleFileOptions::default()).unwrap();
            add(zip, "Actor_01/a.wav", b"one");
            add(zip, "b.wav", b"two");
        });
        let folder = tempfile::tempdir().unwrap();
        let paths = unpack(archive.path(), folder.path(), &|_| ()).unwrap();
        assert_eq!(paths, [folder.path().join("Actor_01/a.wav"), folder.path().join("b.wav")]);
        assert_eq!(std::fs::read(&paths[0]).unwrap(), b"one");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn nothing_leaves_the_folder() {
        let outside = tempfile::tempdir().unwrap();
        let folder = outside.path().join("inside");
        for name in ["../evil.wav", "a/../../evil.wav", "/evil-5f1c.wav", "..\\evil.wav", "C:\\evil.wav"] {
            let archive = zip_of(|zip| add(zip, name, b"evil"));
            let result = unpack(archive.path(), &folder, &|_| ());
            let written: Vec<_> = result.iter().flatten().collect();
            assert!(written.iter().all(|path| path.starts_with(&folder)), "{name}: {written:?}");
            assert!(!outside.path().join("evil.wav").exists() && !Path::new("/evil-5f1c.wav").exists());
        }
        let archive = zip_of(|zip| add(zip, "../evil.wav", b"evil"));
        let error = unpack(archive.path(), &folder, &|_| ()).unwrap_err().to_string();
        assert!(error.contains("'../evil.wav' leads out of the folder"), "{error}");
        let archive = zip_of(|zip| zip.add_symlink("a", "/etc", SimpleFileOptions::default()).unwrap());
        let error = unpack(archive.path(), &folder, &|_| ()).unwrap_err().to_string();
        assert!(error.contains("'a' is a link"), "{error}");
    }

    #[test]
    fn a_bomb_is_stopped_by_what_comes_out_of_it() {
        let archive = zip_of(|zip| add(zip, "zeros.wav", &vec![0; MAX_FILE_BYTES as usize + 1]));
        assert!(archive.path().metadata().unwrap().len() < 100_000);
        let folder = tempfile::tempdir().unwrap();
        let error = unpack(archive.path(), folder.path(), &|_| ()).unwrap_err().to_string();
        assert!(error.contains("'zeros.wav': more than 16777216 bytes"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_no_archive_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zip");
        let whole = std::fs::read(zip_of(|zip| add(zip, "a.wav", &[7; 5000])).path()).unwrap();
        let mut flipped = whole.clone();
        flipped[40] ^= 0xff;
        for content in [&b""[..], b"<html>not a zip</html>", &whole[..whole.len() / 2], &flipped] {
            std::fs::write(&path, content).unwrap();
            let error = unpack(&path, folder.path(), &|_| ()).unwrap_err();
            assert!(matches!(error, Error::Archive { .. }), "{error}");
            assert!(error.to_string().contains("a.zip"), "{error}");
        }
    }
}
