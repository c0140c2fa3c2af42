//! What all readers share: looking into the files, and leaving out what is there twice.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use intone::Emotion;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::{Clip, Corpus, Exclusion, Fault, FaultKind, KnownFault, Level, Reason, Sex, Votes, walk};
use crate::split::Part;

/// How a Git-LFS pointer begins: <https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>.
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// A file whose name was understood, before anybody looked into it.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) id: String,
    pub(super) path: PathBuf,
    pub(super) corpus: String,
    pub(super) speaker: String,
    /// The emotion, or why the recording is left out.
    pub(super) label: Result<Emotion, Reason>,
    pub(super) sex: Option<Sex>,
    pub(super) age: Option<u8>,
    pub(super) sentence: Option<String>,
    pub(super) level: Option<Level>,
    pub(super) votes: Option<Votes>,
    pub(super) part: Option<Part>,
}

/// Candidates in the order in which they are to be preferred, and what the readers noticed on the way.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) candidates: Vec<Candidate>,
    pub(super) excluded: Vec<Exclusion>,
    pub(super) renamed: Vec<(PathBuf, &'static KnownFault)>,
    pub(super) faults: Vec<Fault>,
    pub(super) tables: Vec<PathBuf>,
    /// Names of folders and manifests so far.
    pub(super) names: HashSet<String>,
}

impl Draft {
    /// A name for a folder or manifest that no other corpus of this draft has: `calls`, `calls-2`.
    pub(super) fn unique_name(&mut self, name: &str) -> String {
        let published = |name: &str| super::published(name).is_some();
        let numbered = (2..).map(|n| format!("{name}-{n}"));
        let mut names = std::iter::once(name.to_owned()).chain(numbered);
        // The iterator has no end.
        let free = names.find(|name| !published(name) && !self.names.contains(name)).unwrap_or_default();
        self.names.insert(free.clone());
        free
    }

    /// Notes a file that cannot be used.
    pub(super) fn fault(&mut self, path: PathBuf, kind: FaultKind) {
        self.faults.push(Fault { path, kind });
    }

    /// Notes files of macOS's own.
    pub(super) fn mac_os(&mut self, paths: Vec<PathBuf>) {
        let corpus = |path: &Path| {
            // `._03-01-...wav` lies beside `03-01-...wav`: it is reported with its corpus.
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            let twin = path.with_file_name(name.trim_start_matches("._"));
            if super::ravdess::claims(&twin) {
                super::ravdess::NAME
            } else if super::crema_d::claims(&twin) {
                super::crema_d::NAME
            } else {
                "other"
            }
        };
        self.excluded.extend(paths.into_iter().map(|path| Exclusion {
            corpus: corpus(&path).to_owned(),
            path,
            id: None,
            reason: Reason::MacOs,
        }));
    }

    /// Looks into every file and leaves out what is unusable, excluded or there twice.
    pub(super) fn finish(self) -> Corpus {
        let Draft { mut candidates, excluded, renamed, faults, tables, names: _ } = self;
        let mut corpus = Corpus { clips: Vec::new(), excluded, renamed, faults, tables };
        // A stable sort: among files of equal quality the order of roots and paths stays.
        candidates.sort_by_key(|candidate| !walk::is_lossless(&candidate.path));
        let contents: Vec<_> = candidates.par_iter().map(|candidate| content(&candidate.path)).collect();

        // The first usable file of each clip is that clip; the other files are copies of it.
        let mut by_id: HashMap<String, PathBuf> = HashMap::new();
        for (candidate, content) in candidates.into_iter().zip(contents) {
            let content = match content {
                Ok(content) => content,
                Err(kind) => {
                    corpus.faults.push(Fault { path: candidate.path, kind });
                    continue;
                }
            };
            let label = match by_id.get(&candidate.id) {
                Some(kept) => Err(Reason::SameClip(kept.clone())),
                None => {
                    by_id.insert(candidate.id.clone(), candidate.path.clone());
                    candidate.label.clone()
                }
            };
            match label {
                Ok(emotion) => corpus.clips.push(clip(candidate, emotion, content)),
                Err(reason) => {
                    let Candidate { id, path, corpus: name, .. } = candidate;
                    corpus.excluded.push(Exclusion { path, id: Some(id), corpus: name, reason });
                }
            }
        }
        leave_out_same_bytes(&mut corpus);
        let used: HashSet<&Path> = corpus.clips.iter().map(|clip| clip.path.as_path()).collect();
        corpus.renamed.retain(|(path, _)| used.contains(path.as_path()));
        corpus.clips.sort_by(|a, b| (&a.corpus, &a.id).cmp(&(&b.corpus, &b.id)));
        corpus.excluded.sort_by(|a, b| (&a.corpus, &a.path).cmp(&(&b.corpus, &b.path)));
        corpus.faults.sort_by(|a, b| a.path.cmp(&b.path));
        corpus
    }
}

/// Different clips with the same bytes: one stays when they agree on the label, none when they do not.
fn leave_out_same_bytes(corpus: &mut Corpus) {
    let mut first: HashMap<[u8; 32], usize> = HashMap::new();
    let mut same: Vec<Option<usize>> = vec![None; corpus.clips.len()];
    let mut conflicting = vec![None; corpus.clips.len()];
    for (index, clip) in corpus.clips.iter().enumerate() {
        let kept = *first.entry(clip.sha256).or_insert(index);
        if kept == index {
            continue;
        }
        if corpus.clips[kept].emotion == clip.emotion {
            same[index] = Some(kept);
        } else {
            conflicting[index] = Some(kept);
            conflicting[kept].get_or_insert(index);
        }
    }
    let paths: Vec<PathBuf> = corpus.clips.iter().map(|clip| clip.path.clone()).collect();
    for (index, clip) in std::mem::take(&mut corpus.clips).into_iter().enumerate() {
        if let Some(other) = conflicting[index] {
            corpus.faults.push(Fault { path: clip.path, kind: FaultKind::Conflict(paths[other].clone()) });
        } else if let Some(kept) = same[index] {
            let reason = Reason::SameBytes(paths[kept].clone());
            let Clip { id, path, corpus: name, .. } = clip;
            corpus.excluded.push(Exclusion { path, id: Some(id), corpus: name, reason });
        } else {
            corpus.clips.push(clip);
        }
    }
}

fn clip(candidate: Candidate, emotion: Emotion, content: Content) -> Clip {
    let Candidate { id, path, corpus, speaker, sex, age, sentence, level, votes, part, .. } = candidate;
    let Content { sha256, bytes } = content;
    Clip { id, path, corpus, speaker, emotion, sex, age, sentence, level, votes, sha256, bytes, part }
}

struct Content {
    sha256: [u8; 32],
    bytes: u64,
}

/// Reads a file once, in pieces.
fn content(path: &Path) -> Result<Content, FaultKind> {
    let unreadable = |error: std::io::Error| FaultKind::Unreadable(error.to_string());
    // A pipe would wait for ever, and a device has no end.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(FaultKind::Unreadable("not a regular file".to_owned()));
    }
    let mut file = std::fs::File::open(path).map_err(unreadable)?;
    let mut hasher = Sha256::new();
    let mut bytes = 0;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(error)),
        };
        if bytes == 0 && buffer[..n].starts_with(LFS_POINTER) {
            return Err(FaultKind::LfsPointer);
        }
        hasher.update(&buffer[..n]);
        bytes += n as u64;
    }
    if bytes == 0 {
        return Err(FaultKind::Empty);
    }
    Ok(Content { sha256: hasher.finalize().into(), bytes })
}
