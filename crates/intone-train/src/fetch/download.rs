//! One file over HTTP: resumed, bounded, verified, tried again.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use md5::Md5;
use sha2::{Digest, Sha256};
use ureq::RequestBuilder;
use ureq::http::{Response, StatusCode, header};
use ureq::typestate::WithoutBody;

use super::{Event, Options};
use crate::error::{Error, Result};

/// A connection that gives nothing for so long is dead, and the download goes on with a new one.
const SILENCE: Duration = Duration::from_secs(60);

/// Finding and reaching a server takes no longer than this.
const CONNECT: Duration = Duration::from_secs(30);

/// A server may ask for a pause; longer than this nobody waits.
const MAX_WAIT: Duration = Duration::from_secs(120);

/// Files without a known size (the tables of CREMA-D, 4 MB) may have so many bytes.
const MAX_UNKNOWN_BYTES: u64 = 64 << 20;

/// How a Git-LFS pointer begins.
const LFS_POINTER: &[u8] = b"version https://git-lfs";

/// What a file's content must hash to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// MD5, as Zenodo publishes it: a guard against broken transfers.
    Md5([u8; 16]),
    /// SHA-256.
    Sha256([u8; 32]),
}

/// A file that is wanted.
pub(super) struct Wanted<'a> {
    /// Where it may lie; the next one is asked when one has no such file.
    pub(super) urls: &'a [String],
    pub(super) path: &'a Path,
    pub(super) bytes: Option<u64>,
    pub(super) checksum: Option<Checksum>,
}

/// Connections, and where their progress goes.
pub(super) struct Downloader<'a> {
    agent: ureq::Agent,
    options: &'a Options,
    /// Who asks, where a server wants to know. Never told to where a server sends us on to.
    pub(super) token: Option<&'a str>,
    pub(super) progress: &'a (dyn Fn(Event<'_>) + Sync),
}

/// Why an attempt failed.
enum Trouble {
    /// Another attempt may help, after the wait that the server asks for.
    Passing(Error, Option<Duration>),
    Lasting(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Lasting(error)
    }
}

impl<'a> Downloader<'a> {
    pub(super) fn new(options: &'a Options, progress: &'a (dyn Fn(Event<'_>) + Sync)) -> Downloader<'a> {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(concat!("intone/", env!("CARGO_PKG_VERSION")))
            // A compressed answer could be neither resumed nor counted.
            .accept_encoding("identity")
            .timeout_connect(Some(CONNECT))
            .redirect_auth_headers(ureq::config::RedirectAuthHeaders::Never)
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .max_idle_connections_per_host(super::MAX_CONNECTIONS)
            .build();
        Downloader { agent: config.into(), options, token: None, progress }
    }

    /// A question, with the token.
    pub(super) fn request(&self, url: &str) -> RequestBuilder<WithoutBody> {
        let request = self.agent.get(url);
        match self.token {
            Some(token) => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        }
    }

    /// Fetches one file. It appears under its name only when it is complete and valid; until then it is `NAME.part`.
    pub(super) fn fetch(&self, wanted: &Wanted<'_>) -> Result<()> {
        if let Some(folder) = wanted.path.parent() {
            std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        }
        let part = part_path(wanted.path);
        let mut furthest = 0;
        let mut n_failures = 0;
        let mut at_url = 0;
        loop {
            let (error, asked_wait) = match self.attempt(wanted, &mut at_url, &part) {
                Ok(()) => {
                    std::fs::rename(&part, wanted.path).map_err(Error::io(wanted.path))?;
                    (self.progress)(Event::Finished(wanted.path));
                    return Ok(());
                }
                Err(Trouble::Lasting(error)) => return Err(error),
                Err(Trouble::Passing(error, wait)) => (error, wait),
            };
            let got = length(&part)?;
            if got > furthest {
                furthest = got;
                n_failures = 0;
            }
            n_failures += 1;
            if n_failures >= self.options.attempts {
                return Err(error);
            }
            let doubled = self.options.backoff.saturating_mul(1 << (n_failures - 1).min(10));
            let wait = asked_wait.unwrap_or(doubled).min(MAX_WAIT);
            (self.progress)(Event::Retry { url: &wanted.urls[at_url], error: &error, wait });
            std::thread::sleep(wait);
        }
    }

    /// Asks once for what is missing of the file, and verifies it when it is complete.
    fn attempt(&self, wanted: &Wanted<'_>, at_url: &mut usize, part: &Path) -> Result<(), Trouble> {
        let mut have = length(part)?;
        // Without a checksum nobody can tell whether an old beginning fits a new end.
        let too_long = wanted.bytes.is_some_and(|bytes| have > bytes);
        if wanted.checksum.is_none() || too_long {
            have = 0;
        }
        let url = &wanted.urls[*at_url];
        if have == 0 || wanted.bytes != Some(have) {
            let mut request = self.request(url);
            if have > 0 {
                request = request.header(header::RANGE, format!("bytes={have}-"));
            }
            let response = request.call().map_err(|error| passing(http_error(url, &error.to_string())))?;
            log::debug!("GET {url} from byte {have}: {}", response.status());
            let start = match response.status() {
                StatusCode::OK => 0,
                StatusCode::PARTIAL_CONTENT if have > 0 => have,
                StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => {
                    truncate(part)?;
                    return Err(passing(http_error(
                        url,
                        "the server has no more of this file: it begins anew",
                    )));
                }
                StatusCode::NOT_FOUND | StatusCode::GONE if *at_url + 1 < wanted.urls.len() => {
                    *at_url += 1;
                    return self.attempt(wanted, at_url, part);
                }
                status => return Err(refused(url, status, &response)),
            };
            self.receive(wanted, url, part, start, response)?;
        } else {
            (self.progress)(Event::Received(have));
        }
        let Some(expected) = wanted.checksum else { return Ok(()) };
        match verify(part, expected)? {
            None => Ok(()),
            Some(actual) => {
                let got = length(part)?;
                truncate(part)?;
                (self.progress)(Event::Discarded(got));
                let what = format!("expected checksum {expected}, got {actual}");
                Err(passing(http_error(url, &what)))
            }
        }
    }

    /// Appends the body of an answer to what is there, from `start` on.
    fn receive(
        &self,
        wanted: &Wanted<'_>,
        url: &str,
        part: &Path,
        start: u64,
        response: Response<ureq::Body>,
    ) -> Result<(), Trouble> {
        let offered = offered_bytes(&response, start).map_err(|what| {
            // The next attempt asks for the whole file.
            truncate(part).map_or_else(Trouble::from, |()| passing(http_error(url, &what)))
        })?;
        let mut file = if start == 0 { File::create(part) } else { File::options().append(true).open(part) }
            .map_err(Error::io(part))?;
        if start > 0 {
            (self.progress)(Event::Received(start));
        }
        let limit = wanted.bytes.unwrap_or(MAX_UNKNOWN_BYTES);
        let wrong_size = |size: &str, head: &[u8]| {
            let pointer = if head.starts_with(LFS_POINTER) { " (a Git-LFS pointer, not audio)" } else { "" };
            Trouble::Lasting(http_error(
                url,
                &format!("expected {limit} bytes, the server has {size}{pointer}"),
            ))
        };
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 1 << 16];
        let mut got = start;
        loop {
            let n = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let what = format!("the connection broke after {got} bytes: {error}");
                    return Err(self.broken(part, got, passing(http_error(url, &what))));
                }
            };
            let head = &buffer[..n];
            if let (Some(bytes), Some(offered)) = (wanted.bytes, offered)
                && bytes != offered
            {
                return Err(self.broken(part, got, wrong_size(&offered.to_string(), head)));
            }
            if got + n as u64 > limit {
                return Err(self.broken(part, got, wrong_size("more", head)));
            }
            file.write_all(head).map_err(Error::io(part))?;
            got += n as u64;
            (self.progress)(Event::Received(n as u64));
        }
        match wanted.bytes.or(offered) {
            Some(bytes) if got < bytes => {
                let what = format!("the connection ended after {got} of {bytes} bytes");
                Err(self.broken(part, got, passing(http_error(url, &what))))
            }
            _ => Ok(()),
        }
    }

    /// An attempt ends early: what it got is counted anew by the next one. A lasting trouble leaves nothing behind.
    fn broken(&self, part: &Path, got: u64, trouble: Trouble) -> Trouble {
        (self.progress)(Event::Discarded(got));
        if matches!(trouble, Trouble::Lasting(_)) {
            // The file is of no use; that it may stay behind is no reason for another error.
            std::fs::remove_file(part).ok();
        }
        trouble
    }
}

/// Hashes a file: `None` when it is as expected, else what it is.
pub(super) fn verify(path: &Path, expected: Checksum) -> Result<Option<Checksum>> {
    let actual = match expected {
        Checksum::Md5(_) => Checksum::Md5(hash::<Md5>(path)?.into()),
        Checksum::Sha256(_) => sha256(path)?,
    };
    Ok((actual != expected).then_some(actual))
}

/// The SHA-256 of a file's content.
pub(crate) fn sha256(path: &Path) -> Result<Checksum> {
    Ok(Checksum::Sha256(hash::<Sha256>(path)?.into()))
}

impl std::fmt::Display for Checksum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes: &[u8] = match self {
            Checksum::Md5(bytes) => bytes,
            Checksum::Sha256(bytes) => bytes,
        };
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn hash<D: Digest>(path: &Path) -> Result<sha2::digest::Output<D>> {
    let mut file = File::open(path).map_err(Error::io(path))?;
    let mut hasher = D::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finalize()),
            Ok(n) => hasher.update(&buffer[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io(path)(error)),
        }
    }
}

/// The size of the whole file as the server states it; an error when a part is not the one that was asked for.
fn offered_bytes(response: &Response<ureq::Body>, start: u64) -> Result<Option<u64>, String> {
    let text = |name: header::HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
    if start == 0 {
        return Ok(text(header::CONTENT_LENGTH).and_then(|length| length.parse().ok()));
    }
    let range = text(header::CONTENT_RANGE).unwrap_or_default();
    let fields = range.strip_prefix("bytes ").and_then(|range| range.split_once('/'));
    let first = fields.and_then(|(range, _)| range.split_once('-')?.0.parse::<u64>().ok());
    if first != Some(start) {
        return Err(format!("asked for the bytes from {start} on, got Content-Range '{range}'"));
    }
    Ok(fields.and_then(|(_, total)| total.parse().ok()))
}

/// The error of an answer that holds no file.
fn refused(url: &str, status: StatusCode, response: &Response<ureq::Body>) -> Trouble {
    let error = http_error(url, &format!("the server answered {status}"));
    let again = status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
    if !again {
        return Trouble::Lasting(error);
    }
    let seconds =
        response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Trouble::Passing(error, seconds.map(Duration::from_secs))
}

fn passing(error: Error) -> Trouble {
    Trouble::Passing(error, None)
}

fn http_error(url: &str, what: &str) -> Error {
    Error::Fetch { url: url.to_owned(), what: what.to_owned() }
}

fn part_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    path.with_file_name(name)
}

/// The length of a file, 0 when there is none.
fn length(path: &Path) -> Result<u64> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(Error::io(path)(error)),
    }
}

fn truncate(path: &Path) -> Result<()> {
    File::create(path).map(drop).map_err(Error::io(path))
}
