//! Downloading corpora and models from their public sources, with nothing to trust but checksums.
//!
//! [`ravdess`] fetches one archive and unpacks it; [`crema_d`] fetches 7,442 single files over several connections; [`Hub`]
//! fetches a model. All go on where an earlier run stopped, skip what is there and valid, try again after transient failures, and
//! verify every byte of audio against checksums that are part of this crate. The library says nothing on a terminal:
//! progress comes as [`Event`]s.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};

mod crema_d;
mod download;
mod hub;
mod ravdess;
mod unpack;

pub use crema_d::crema_d;
pub(crate) use download::sha256;
pub use hub::{HUB_PREFIX, Hub, HubModel};
pub use ravdess::{Archive, RAVDESS_ARCHIVE, archive, ravdess};

/// How to fetch.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the files lie instead of at their public source: a mirror with the same layout, without a final slash.
    pub base_url: Option<String>,
    /// Connections at the same time, for a corpus of many files. 1 to [`MAX_CONNECTIONS`].
    pub connections: usize,
    /// How often a file is tried without getting further before it is given up. At least 1.
    pub attempts: u32,
    /// The wait before the second attempt; it doubles with each further one.
    pub backoff: Duration,
    /// Keep a downloaded archive after it is unpacked.
    pub keep_archive: bool,
}

/// More connections than this would be impolite to a public server.
pub const MAX_CONNECTIONS: usize = 32;

impl Default for Options {
    fn default() -> Options {
        let backoff = Duration::from_millis(500);
        Options { base_url: None, connections: 8, attempts: 6, backoff, keep_archive: false }
    }
}

/// What happens during a download. Events of several connections come interleaved.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Said once, before the first byte.
    Plan {
        /// Files still to fetch.
        files: usize,
        /// Their size, bytes.
        bytes: u64,
        /// Files that are there and valid.
        present: usize,
    },
    /// So many bytes came, or were there from an earlier run.
    Received(u64),
    /// So many of the bytes that were counted before are worth nothing: the file begins anew.
    Discarded(u64),
    /// A file is complete and valid.
    Finished(&'a Path),
    /// A file will be tried again.
    Retry {
        /// What is wanted.
        url: &'a str,
        /// What went wrong.
        error: &'a Error,
        /// How long until the next attempt.
        wait: Duration,
    },
    /// An archive is being unpacked: so many of its files are done.
    Unpacked {
        /// Files done.
        done: usize,
        /// Files in all.
        total: usize,
    },
}

/// What a finished download left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The folder that a reader can read.
    pub folder: PathBuf,
    /// Files that were fetched.
    pub n_fetched: usize,
    /// Files that were there already.
    pub n_present: usize,
}

impl Options {
    /// The URL of a file: below the mirror, or below its public source.
    fn url(&self, public: &str, path: &str) -> String {
        let base = self.base_url.as_deref().unwrap_or(public);
        format!("{}/{path}", base.trim_end_matches('/'))
    }

    fn check(&self) -> Result<()> {
        let out_of_range = |what: &'static str, expected: String, actual: String| {
            Err(intone::Error::OutOfRange { what, expected, actual }.into())
        };
        if let Some(url) = &self.base_url {
            let uri = url.parse::<ureq::http::Uri>().ok();
            let is_http = |uri: &ureq::http::Uri| matches!(uri.scheme_str(), Some("http" | "https"));
            if !uri
                .as_ref()
                .is_some_and(|uri| is_http(uri) && uri.host().is_some_and(|host| !host.is_empty()))
            {
                let expected = "http://HOST/... or https://HOST/...".to_owned();
                return out_of_range("base_url", expected, format!("{url:?}"));
            }
        }
        if !(1..=MAX_CONNECTIONS).contains(&self.connections) {
            return out_of_range(
                "connections",
                format!("1 to {MAX_CONNECTIONS}"),
                self.connections.to_string(),
            );
        }
        if self.attempts == 0 {
            return out_of_range("attempts", "at least 1".to_owned(), "0".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
