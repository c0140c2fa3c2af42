//! What was typed, and which recordings it means.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use intone::audio::AudioStream;

/// The endings of audio files that a folder is searched for, lower case. Some are of formats that cannot be
/// decoded: better an error than a recording that is passed over in silence.
const AUDIO_ENDINGS: [&str; 42] = [
    "3g2", "3ga", "3gp", "aac", "ac3", "adts", "aif", "aifc", "aiff", "amr", "ape", "au", "caf", "dts",
    "eac3", "flac", "m4a", "m4b", "m4r", "m4v", "mka", "mkv", "mov", "mp1", "mp2", "mp3", "mp4", "mpc",
    "mpga", "oga", "ogg", "opus", "snd", "spx", "tta", "w64", "wav", "wave", "weba", "webm", "wma", "wv",
];

/// The most that is read from a pipe. Longer WAV files do not exist: they hold their size in 32 bits.
const MAX_PIPED_BYTES: u64 = 1 << 32;

/// What of a pipe is kept in memory; the rest lies in a temporary file.
const MAX_PIPED_BYTES_IN_MEMORY: usize = 16 << 20;

/// One recording to be recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Input {
    /// How it was called: as given, or the folder as given and the way down from there.
    pub(crate) path: PathBuf,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// A file, or something that is no file and will say so when it is opened.
    File,
    /// A pipe or a device: its content cannot be read twice, so it is stored first.
    Pipe,
    /// Standard input.
    Stdin,
    /// Known to be an error already.
    Failed(String),
}

impl Input {
    /// Begins to decode it.
    pub(crate) fn open(&self) -> anyhow::Result<AudioStream> {
        match &self.kind {
            Kind::File => Ok(AudioStream::open(&self.path)?),
            Kind::Pipe => {
                Ok(AudioStream::from_reader(stored(fs::File::open(&self.path)?, MAX_PIPED_BYTES)?)?)
            }
            Kind::Stdin => Ok(AudioStream::from_reader(stored(io::stdin().lock(), MAX_PIPED_BYTES)?)?),
            Kind::Failed(reason) => bail!("{reason}"),
        }
    }
}

/// The recordings that `paths` mean, in their order: files as they are, folders searched through, `-` for
/// standard input. What cannot be read stays in the list and fails in its turn.
///
/// # Errors
/// Standard input can be read only once.
pub(crate) fn expand(paths: &[PathBuf]) -> anyhow::Result<Vec<Input>> {
    if paths.iter().filter(|path| path.as_os_str() == "-").count() > 1 {
        bail!("`-` (standard input) can be given only once");
    }
    let mut inputs = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            inputs.push(Input { path: path.clone(), kind: Kind::Stdin });
            continue;
        }
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                let n_before = inputs.len();
                search(path, &mut HashSet::new(), &mut inputs);
                if inputs.len() == n_before {
                    let reason = "a folder without audio files".to_owned();
                    inputs.push(Input { path: path.clone(), kind: Kind::Failed(reason) });
                }
            }
            Ok(metadata) if !metadata.is_file() => {
                inputs.push(Input { path: path.clone(), kind: Kind::Pipe })
            }
            _ => inputs.push(Input { path: path.clone(), kind: Kind::File }),
        }
    }
    Ok(inputs)
}

/// The one recording that `path` means.
pub(crate) fn one(path: &Path) -> Input {
    let is_pipe = || fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir());
    let kind = match path.as_os_str() == "-" {
        true => Kind::Stdin,
        false if is_pipe() => Kind::Pipe,
        false => Kind::File,
    };
    Input { path: path.to_owned(), kind }
}

/// All audio files under a folder, each folder's entries in the order of their names. Links are followed, but no
/// folder is searched twice; hidden files (such as macOS's `._a.wav`) are no recordings.
fn search(folder: &Path, searched: &mut HashSet<PathBuf>, inputs: &mut Vec<Input>) {
    let listed = fs::canonicalize(folder).and_then(|real| {
        if !searched.insert(real) {
            return Ok(Vec::new());
        }
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
    });
    let mut names = match listed {
        Ok(names) => names,
        Err(error) => {
            let reason = format!("this folder cannot be searched: {error}");
            return inputs.push(Input { path: folder.to_owned(), kind: Kind::Failed(reason) });
        }
    };
    names.retain(|name| !name.as_encoded_bytes().starts_with(b"."));
    names.sort();
    for name in names {
        let path = folder.join(&name);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => search(&path, searched, inputs),
            // A pipe or a device in a folder is no recording, and reading it might never end.
            Ok(metadata) if !metadata.is_file() => {}
            // A file that cannot even be looked at, such as a link to nowhere, fails in its turn.
            _ if is_audio_name(&name) => inputs.push(Input { path, kind: Kind::File }),
            _ => {}
        }
    }
}

fn is_audio_name(name: &OsStr) -> bool {
    let ending = Path::new(name).extension().map(|ending| ending.to_ascii_lowercase());
    ending.is_some_and(|ending| AUDIO_ENDINGS.iter().any(|known| ending == *known))
}

/// The content of something that can be read only once, so that it can be searched back and forth.
fn stored(reader: impl io::Read, limit: u64) -> anyhow::Result<tempfile::SpooledTempFile> {
    let mut store = tempfile::spooled_tempfile(MAX_PIPED_BYTES_IN_MEMORY);
    let n_bytes = io::copy(&mut reader.take(limit + 1), &mut store).context("reading to the end")?;
    if n_bytes > limit {
        bail!("more than {limit} bytes");
    }
    store.seek(SeekFrom::Start(0))?;
    Ok(store)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn paths(inputs: &[Input], root: &Path) -> Vec<String> {
        let shown = |input: &Input| {
            let path = input.path.strip_prefix(root).unwrap_or(&input.path);
            path.to_string_lossy().replace('\\', "/")
        };
        inputs.iter().map(shown).collect()
    }

    #[test]
    fn folders_are_searched_in_the_order_of_names() {
        let root = tempfile::tempdir().unwrap();
        for name in ["b.wav", "a/2.FLAC", "a/10.mp3", "a/deep/er/x.ogg", "c.txt", ".hidden.wav", ".git/y.wav"]
        {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        fs::create_dir(root.path().join("z.wav")).unwrap();
        let inputs = expand(&[root.path().join("b.wav"), root.path().to_owned()]).unwrap();
        assert_eq!(
            paths(&inputs, root.path()),
            ["b.wav", "a/10.mp3", "a/2.FLAC", "a/deep/er/x.ogg", "b.wav"]
        );
        assert!(inputs.iter().all(|input| input.kind == Kind::File));
    }

    #[test]
    fn a_folder_without_audio_is_an_error_in_its_turn() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("notes.txt"), "").unwrap();
        let inputs = expand(&[root.path().to_owned(), "missing.wav".into()]).unwrap();
        assert_eq!(inputs.len(), 2);
        assert!(matches!(&inputs[0].kind, Kind::Failed(reason) if reason.contains("without audio")));
        assert!(inputs[0].open().is_err());
        assert_eq!(inputs[1], Input { path: "missing.wav".into(), kind: Kind::File });
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_but_never_in_circles() {
        use std::os::unix::fs::symlink;
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("real")).unwrap();
        fs::write(root.path().join("real/x.wav"), "").unwrap();
        symlink(root.path(), root.path().join("real/up")).unwrap();
        symlink(root.path().join("real"), root.path().join("again")).unwrap();
        symlink(root.path().join("nowhere"), root.path().join("dangling.wav")).unwrap();
        let inputs = expand(&[root.path().to_owned()]).unwrap();
        assert_eq!(paths(&inputs, root.path()), ["again/x.wav", "dangling.wav"]);
    }

    #[test]
    fn standard_input_can_be_given_once() {
        assert_eq!(expand(&["-".into()]).unwrap()[0].kind, Kind::Stdin);
        assert!(expand(&["-".into(), "a.wav".into(), "-".into()]).is_err());
    }

    #[test]
    fn a_pipe_is_stored_up_to_its_limit() {
        let mut content = Vec::new();
        stored(&b"abc"[..], 3).unwrap().read_to_end(&mut content).unwrap();
        assert_eq!(content, b"abc");
        assert!(stored(&b"abcd"[..], 3).is_err());
    }
}
