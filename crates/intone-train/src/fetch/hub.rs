//! Model files from the Hugging Face hub, through the cache that its own programs use.
//!
//! One question tells the commit of a revision and the files in it with their hashes; the file is fetched from that commit,
//! resumed where it broke, and verified by its SHA-256. What is in the cache is never asked for again: the same name gives the
//! same file until the cache is emptied, with a network and without.
//!
//! The crate `hf-hub` does not serve here: release 1.0 brings 220 crates, an async runtime and a database among them, and 0.5,
//! the last of the light ones, does not verify what it fetched. The download is the one that fetches corpora.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use ureq::http::StatusCode;

use super::download::{Checksum, Downloader, Wanted};
use super::{Event, Options};
use crate::error::{Error, Result};

/// What a model file is called where nothing else is said.
const MODEL_FILE: &str = "model.safetensors";

/// The longest list of a repository's files that is read, bytes: some ten thousand of them.
const MAX_LIST_BYTES: u64 = 16 << 20;

/// The hub's own page, where `HF_ENDPOINT` names no other.
const ENDPOINT: &str = "https://huggingface.co";

/// A model file on the hub: `hf:OWNER/NAME[@REVISION][/FILE]`.
///
/// Without a revision it is `main`; without a file `model.safetensors`, or else the only file with that ending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubModel {
    owner: String,
    name: String,
    revision: Option<String>,
    file: Option<String>,
}

/// How [`HubModel`]s begin.
pub const HUB_PREFIX: &str = "hf:";

impl FromStr for HubModel {
    type Err = Error;

    fn from_str(text: &str) -> Result<HubModel> {
        let parts = text.strip_prefix(HUB_PREFIX).and_then(|rest| {
            let mut parts = rest.splitn(3, '/');
            let (owner, repository, file) = (parts.next()?, parts.next()?, parts.next());
            let (name, revision) = match repository.split_once('@') {
                Some((name, revision)) => (name, Some(revision)),
                None => (repository, None),
            };
            let names = [Some(owner), Some(name), revision];
            let mut usable =
                names.into_iter().flatten().chain(file.into_iter().flat_map(|file| file.split('/')));
            usable.all(is_name).then(|| HubModel {
                owner: owner.to_owned(),
                name: name.to_owned(),
                revision: revision.map(str::to_owned),
                file: file.map(str::to_owned),
            })
        });
        parts.ok_or_else(|| Error::Hub {
            asked: text.to_owned(),
            what: "expected hf:OWNER/NAME[@REVISION][/FILE], each of letters, digits, '-', '_' and '.'"
                .to_owned(),
        })
    }
}

impl std::fmt::Display for HubModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{HUB_PREFIX}{}/{}", self.owner, self.name)?;
        self.revision.iter().try_for_each(|revision| write!(f, "@{revision}"))?;
        self.file.iter().try_for_each(|file| write!(f, "/{file}"))
    }
}

impl HubModel {
    fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }

    fn error(&self, what: String) -> Error {
        Error::Hub { asked: self.to_string(), what }
    }
}

/// A part of an address that is also a file name, and leads nowhere else.
fn is_name(part: &str) -> bool {
    let usable = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !part.is_empty() && part.chars().all(usable) && !part.chars().all(|c| c == '.')
}

/// Where the hub is, and where its files are kept.
#[derive(Debug, Clone)]
pub struct Hub {
    /// Without a final slash.
    pub endpoint: String,
    /// The folder with a folder for each repository.
    pub cache: PathBuf,
    /// For what is not public.
    pub token: Option<String>,
    /// Ask nobody: only what is in the cache.
    pub offline: bool,
}

impl Hub {
    /// As the environment says: `HF_ENDPOINT`; `HF_HUB_CACHE`, or `hub` in `HF_HOME`, which is else
    /// `~/.cache/huggingface`; `HF_TOKEN`, or the file `token` in `HF_HOME`; `HF_HUB_OFFLINE`.
    ///
    /// # Errors
    /// Where neither these nor `HOME` say where the cache is.
    pub fn from_env() -> Result<Hub> {
        let value = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let text = |name: &str| value(name).map(|value| value.to_string_lossy().trim().to_owned());
        let home = value("HF_HOME").map(PathBuf::from).or_else(|| {
            let cache = value("XDG_CACHE_HOME").map(PathBuf::from);
            let user = value("HOME").or_else(|| value("USERPROFILE")).map(PathBuf::from);
            Some(cache.or_else(|| Some(user?.join(".cache")))?.join("huggingface"))
        });
        let cache = value("HF_HUB_CACHE").map(PathBuf::from).or_else(|| Some(home.as_ref()?.join("hub")));
        let cache = cache.ok_or_else(|| Error::Hub {
            asked: "the cache of the Hugging Face hub".to_owned(),
            what: "expected HF_HOME or HOME to say where it is".to_owned(),
        })?;
        let stored = || Some(fs::read_to_string(home.as_ref()?.join("token")).ok()?.trim().to_owned());
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned());
        let offline = text("HF_HUB_OFFLINE").unwrap_or_default().to_ascii_lowercase();
        Ok(Hub {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            cache,
            token: text("HF_TOKEN").or_else(stored).filter(|token| !token.is_empty()),
            offline: ["1", "on", "yes", "true"].contains(&offline.as_str()),
        })
    }

    /// The path of a model file in the cache, into which it is fetched where it is not there.
    ///
    /// # Errors
    /// [`Error::Hub`] with what was asked for and what came; [`Error::Fetch`] for a download that broke, or whose content
    /// is not what the hub says; [`Error::Io`].
    pub fn fetch(
        &self,
        model: &HubModel,
        options: &Options,
        progress: &(dyn Fn(Event<'_>) + Sync),
    ) -> Result<PathBuf> {
        let repository = self.cache.join(format!("models--{}--{}", model.owner, model.name));
        if let Some(path) = cached(&repository, model) {
            return Ok(path);
        }
        let nowhere = format!("it is not in the cache {}", self.cache.display());
        if self.offline {
            return Err(model.error(format!("{nowhere}, and HF_HUB_OFFLINE is set")));
        }
        // One process fetches; others that want the same wait for it.
        fs::create_dir_all(&repository).map_err(Error::io(&repository))?;
        let lock_path = repository.join(".intone.lock");
        let lock = File::create(&lock_path).map_err(Error::io(&lock_path))?;
        // A file system without locks is no reason not to fetch.
        lock.lock().ok();
        if let Some(path) = cached(&repository, model) {
            return Ok(path);
        }
        let mut downloader = Downloader::new(options, progress);
        downloader.token = self.token.as_deref();
        let listing = match self.ask(&downloader, model) {
            Ok(listing) => listing,
            // Without a network, the only one that was ever fetched is the one that is meant.
            Err(Silent::Unreachable(what)) => {
                let only = only_cached(&repository, model);
                return only.ok_or_else(|| model.error(format!("{what}; {nowhere} either")));
            }
            Err(Silent::Refused(what)) => return Err(model.error(what)),
        };
        let wanted = listing.choose(model)?;
        let snapshot = repository.join("snapshots").join(&listing.sha).join(&wanted.name);
        if !snapshot.exists() {
            let blob = self.fetch_blob(&downloader, &repository, model, &listing.sha, &wanted)?;
            link(&blob, &snapshot, wanted.name.split('/').count() + 1)?;
        }
        if model.revision() != listing.sha {
            let reference = repository.join("refs").join(model.revision());
            write_beside(&reference, &listing.sha)?;
        }
        Ok(snapshot)
    }

    /// The files of a revision.
    fn ask(&self, downloader: &Downloader<'_>, model: &HubModel) -> Result<Listing, Silent> {
        let (owner, name, revision) = (&model.owner, &model.name, model.revision());
        let url = format!("{}/api/models/{owner}/{name}/revision/{revision}?blobs=true", self.endpoint);
        let response = downloader
            .request(&url)
            .call()
            .map_err(|error| Silent::Unreachable(format!("{url}: {error}")))?;
        let status = response.status();
        let code = response.headers().get("x-error-code").and_then(|code| code.to_str().ok());
        let what = match (status, code) {
            (StatusCode::OK, _) => None,
            (_, Some("RevisionNotFound")) => Some(format!("the repository has no revision '{revision}'")),
            (_, Some("GatedRepo")) => Some("access is granted to some users only: see HF_TOKEN".to_owned()),
            (StatusCode::NOT_FOUND, _) => Some(format!("no such repository or revision '{revision}'")),
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                Some("no such repository, or one that is not public: see HF_TOKEN".to_owned())
            }
            _ => Some("expected a list of files".to_owned()),
        };
        if let Some(what) = what {
            return Err(Silent::Refused(format!("{what} ({url} answered {status})")));
        }
        let text = response.into_body().into_with_config().limit(MAX_LIST_BYTES).read_to_string();
        let text = text.map_err(|error| Silent::Unreachable(format!("{url}: {error}")))?;
        let listing: Listing = serde_json::from_str(&text)
            .map_err(|error| Silent::Refused(format!("{url}: expected a list of files: {error}")))?;
        if !is_hash(&listing.sha, &[40]) {
            let what = format!("{url}: expected a commit of 40 hexadecimal digits, got {:?}", listing.sha);
            return Err(Silent::Refused(what));
        }
        Ok(listing)
    }

    /// The content of a file, under the name of its hash.
    fn fetch_blob(
        &self,
        downloader: &Downloader<'_>,
        repository: &Path,
        model: &HubModel,
        commit: &str,
        wanted: &Found,
    ) -> Result<PathBuf> {
        let blob = repository.join("blobs").join(&wanted.hash);
        if blob.exists() {
            return Ok(blob);
        }
        (downloader.progress)(Event::Plan { files: 1, bytes: wanted.bytes, present: 0 });
        let HubModel { owner, name, .. } = model;
        let url = format!("{}/{owner}/{name}/resolve/{commit}/{}", self.endpoint, wanted.name);
        let (bytes, checksum) = (Some(wanted.bytes), wanted.checksum);
        downloader.fetch(&Wanted { urls: &[url], path: &blob, bytes, checksum })?;
        Ok(blob)
    }
}

/// Why there is no list of files.
enum Silent {
    /// Nobody answered.
    Unreachable(String),
    /// The hub answered with something else.
    Refused(String),
}

/// What the hub says of a revision.
#[derive(Debug, Deserialize)]
struct Listing {
    /// Its commit.
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    /// Git's hash.
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Debug, Deserialize)]
struct Lfs {
    sha256: String,
    size: u64,
}

/// A file that is to be fetched.
struct Found {
    name: String,
    /// What the cache calls its content.
    hash: String,
    bytes: u64,
    checksum: Option<Checksum>,
}

impl Listing {
    fn choose(&self, model: &HubModel) -> Result<Found> {
        let models: Vec<&str> = self.siblings.iter().map(|sibling| sibling.rfilename.as_str()).collect();
        let models: Vec<&str> = models.into_iter().filter(|name| is_model(name)).collect();
        let name = match &model.file {
            Some(file) => file.as_str(),
            None => match *models {
                [only] => only,
                _ if models.contains(&MODEL_FILE) => MODEL_FILE,
                [] => return Err(model.error("expected a file *.safetensors, it has none".to_owned())),
                _ => {
                    let what = format!("it has several model files, name one: {}", models.join(", "));
                    return Err(model.error(what));
                }
            },
        };
        let Some(found) = self.siblings.iter().find(|sibling| sibling.rfilename == name) else {
            let what = format!("no file '{name}'; its model files: {}", models.join(", "));
            return Err(model.error(what));
        };
        if !name.split('/').all(is_name) {
            return Err(model.error(format!("{name:?} is no usable file name")));
        }
        let (hash, bytes) = match (&found.lfs, &found.blob_id, found.size) {
            (Some(lfs), ..) => (&lfs.sha256, lfs.size),
            (None, Some(id), Some(bytes)) => (id, bytes),
            _ => return Err(model.error(format!("{name}: expected its hash and size, got neither"))),
        };
        if !is_hash(hash, &[40, 64]) {
            return Err(model.error(format!("{name}: expected a hash of hexadecimal digits, got {hash:?}")));
        }
        // Room for the largest Whisper with its decoder, which is fetched to be imported.
        let limit = intone::model::file::MAX_FILE_BYTES;
        if bytes > limit {
            return Err(model.error(format!("{name}: expected at most {limit} bytes, it has {bytes}")));
        }
        let checksum = sha256(hash).map(Checksum::Sha256);
        Ok(Found { name: name.to_owned(), hash: hash.clone(), bytes, checksum })
    }
}

fn is_model(name: &str) -> bool {
    name.ends_with(".safetensors")
}

fn is_hash(text: &str, lengths: &[usize]) -> bool {
    lengths.contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// The bytes of a SHA-256; `None` for a shorter hash.
fn sha256(hash: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = hash.chars().filter_map(|c| Some(c.to_digit(16)? as u8)).collect();
    let bytes: Vec<u8> = digits.as_chunks::<2>().0.iter().map(|[high, low]| (high << 4) | low).collect();
    bytes.try_into().ok()
}

/// A model file that is in the cache beyond doubt.
fn cached(repository: &Path, model: &HubModel) -> Option<PathBuf> {
    let path = snapshot(repository, model)?.join(model.file.as_deref().unwrap_or(MODEL_FILE));
    path.is_file().then_some(path)
}

/// The only model file of the revision that is in the cache.
fn only_cached(repository: &Path, model: &HubModel) -> Option<PathBuf> {
    let folder = model.file.is_none().then(|| snapshot(repository, model)).flatten()?;
    let entries = fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut models = entries.filter(|path| is_model(&path.to_string_lossy()) && path.is_file());
    models.next().filter(|_| models.next().is_none())
}

/// The folder of the revision's files.
fn snapshot(repository: &Path, model: &HubModel) -> Option<PathBuf> {
    let commit = match fs::read_to_string(repository.join("refs").join(model.revision())) {
        Ok(commit) => commit.trim().to_owned(),
        Err(_) => model.revision().to_owned(),
    };
    is_hash(&commit, &[40]).then(|| repository.join("snapshots").join(commit))
}

/// Lets `snapshot`, `depth` folders below the repository's, be the file `blob`, as the hub's own programs do: by a relative
/// link, or where there are none by taking its place.
fn link(blob: &Path, snapshot: &Path, depth: usize) -> Result<()> {
    let folder = snapshot.parent().unwrap_or(snapshot);
    fs::create_dir_all(folder).map_err(Error::io(folder))?;
    #[cfg(unix)]
    {
        let up: PathBuf = std::iter::repeat_n("..", depth).collect();
        let target = up.join("blobs").join(blob.file_name().unwrap_or_default());
        if snapshot.is_symlink() {
            // It leads to nothing any more.
            fs::remove_file(snapshot).map_err(Error::io(snapshot))?;
        }
        std::os::unix::fs::symlink(target, snapshot).map_err(Error::io(snapshot))
    }
    #[cfg(not(unix))]
    {
        let _ = depth;
        fs::rename(blob, snapshot).map_err(Error::io(snapshot))
    }
}

/// Writes a small file, under another name first.
fn write_beside(path: &Path, content: &str) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let beside = path.with_extension(format!("{}.part", std::process::id()));
    fs::write(&beside, content).and_then(|()| fs::rename(&beside, path)).map_err(Error::io(path))
}

#[cfg(test)]
mod tests;
