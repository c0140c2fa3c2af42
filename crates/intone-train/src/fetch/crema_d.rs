//! CREMA-D: 7,442 single files and two tables.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::download::{Checksum, Downloader, Wanted, verify};
use super::{Event, Fetched, Options};
use crate::corpus::crema_d::{
    DEMOGRAPHICS_FILE, PublishedFile, VOTES_FILE, published_files, read_demographics, read_votes,
};
use crate::error::{Error, Result};

/// Where GitHub serves the content of files that the repository holds as Git-LFS pointers.
const MEDIA_URL: &str = "https://media.githubusercontent.com/media/CheyneyComputerScience/CREMA-D/master";

/// Where GitHub serves all other files of the repository.
const RAW_URL: &str = "https://raw.githubusercontent.com/CheyneyComputerScience/CREMA-D/master";

/// After so many files in a row that could not be fetched, the source is gone and the rest is not tried.
const MAX_FAILURES_IN_A_ROW: usize = 10;

/// This file was misspelt until 2022, and a mirror may still have it so.
const MISSPELT: (&str, &str) = ("1040_ITH_SAD_XX", "1040_ITH_SAD_X");

/// Fetches CREMA-D (7,442 files, 600 MB, and the tables of actors and votes) into `out/CREMA-D/`.
///
/// Each file is verified by its size and SHA-256. Below [`Options::base_url`] the layout is that of the repository:
/// `AudioWAV/1001_DFA_ANG_XX.wav`, `VideoDemographics.csv`, `processedResults/tabulatedVotes.csv`.
///
/// # Errors
/// [`Error::Incomplete`] when files could not be fetched or verified; the others are there, and the next run fetches
/// the rest.
pub fn crema_d(out: &Path, options: &Options, progress: &(dyn Fn(Event<'_>) + Sync)) -> Result<Fetched> {
    options.check()?;
    let folder = out.join("CREMA-D");
    let mut jobs: Vec<Job> = published_files().map(|file| Job::audio(&folder, &file, options)).collect();
    jobs.push(Job::table(&folder, DEMOGRAPHICS_FILE, options, |path| read_demographics(path).map(drop)));
    let votes = format!("processedResults/{VOTES_FILE}");
    jobs.push(Job::table(&folder, &votes, options, |path| read_votes(path).map(drop)));

    let n_all = jobs.len();
    let missing: Vec<Job> = jobs.into_par_iter().filter(|job| !job.is_done()).collect();
    let n_present = n_all - missing.len();
    let bytes = missing.iter().filter_map(|job| job.bytes).sum();
    progress(Event::Plan { files: missing.len(), bytes, present: n_present });
    fetch_all(&missing, options, progress)?;
    Ok(Fetched { folder, n_fetched: missing.len(), n_present })
}

/// A file to fetch, and how to tell that it is right.
struct Job {
    urls: Vec<String>,
    path: PathBuf,
    bytes: Option<u64>,
    checksum: Option<Checksum>,
    check: fn(&Path) -> Result<()>,
}

impl Job {
    fn audio(folder: &Path, file: &PublishedFile, options: &Options) -> Job {
        let url = |stem: &str| options.url(MEDIA_URL, &format!("AudioWAV/{stem}.wav"));
        let stem = file.stem();
        let mut urls = vec![url(&stem)];
        if stem == MISSPELT.0 {
            urls.push(url(MISSPELT.1));
        }
        Job {
            urls,
            path: folder.join("AudioWAV").join(format!("{stem}.wav")),
            bytes: Some(u64::from(file.bytes)),
            checksum: Some(Checksum::Sha256(file.sha256)),
            check: |_| Ok(()),
        }
    }

    /// A table may grow upstream, so it has no checksum: it is right when it can be read.
    fn table(folder: &Path, path: &str, options: &Options, check: fn(&Path) -> Result<()>) -> Job {
        let urls = vec![options.url(RAW_URL, path)];
        Job { urls, path: folder.join(path), bytes: None, checksum: None, check }
    }

    /// True when the file is there and right.
    fn is_done(&self) -> bool {
        let Ok(metadata) = self.path.metadata() else { return false };
        self.bytes.is_none_or(|bytes| metadata.len() == bytes)
            && self.checksum.is_none_or(|checksum| matches!(verify(&self.path, checksum), Ok(None)))
            && (self.check)(&self.path).is_ok()
    }

    fn fetch(&self, downloader: &Downloader<'_>) -> Result<()> {
        let Job { urls, path, bytes, checksum, check } = self;
        downloader.fetch(&Wanted { urls, path, bytes: *bytes, checksum: *checksum })?;
        check(path)
    }
}

/// Fetches files over several connections at the same time.
fn fetch_all(jobs: &[Job], options: &Options, progress: &(dyn Fn(Event<'_>) + Sync)) -> Result<()> {
    let downloader = Downloader::new(options, progress);
    let next = AtomicUsize::new(0);
    let n_failed_in_a_row = AtomicUsize::new(0);
    let n_done = AtomicUsize::new(0);
    let first_error: Mutex<Option<Error>> = Mutex::new(None);
    let work = || {
        while n_failed_in_a_row.load(Ordering::Relaxed) < MAX_FAILURES_IN_A_ROW {
            let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
            match job.fetch(&downloader) {
                Ok(()) => {
                    n_failed_in_a_row.store(0, Ordering::Relaxed);
                    n_done.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    n_failed_in_a_row.fetch_add(1, Ordering::Relaxed);
                    first_error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..options.connections.min(jobs.len()) {
            scope.spawn(work);
        }
    });
    match first_error.into_inner().unwrap_or_else(PoisonError::into_inner) {
        None => Ok(()),
        Some(first) => Err(Error::Incomplete {
            n_failed: jobs.len() - n_done.into_inner(),
            n_wanted: jobs.len(),
            first: Box::new(first),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use sha2::{Digest, Sha256};

    use super::super::tests::server::{Reply, Server};
    use super::*;

    /// Made-up files under real names.
    fn jobs(folder: &Path, options: &Options, n: usize) -> Vec<Job> {
        let made_up = |mut job: Job| {
            let content = content(&job.urls[0]);
            job.bytes = Some(content.len() as u64);
            job.checksum = Some(Checksum::Sha256(Sha256::digest(content).into()));
            job
        };
        published_files().take(n).map(|file| made_up(Job::audio(folder, &file, options))).collect()
    }

    fn content(url: &str) -> Vec<u8> {
        url.rsplit('/').next().unwrap_or_default().repeat(100).into_bytes()
    }

    fn options(server: &Server) -> Options {
        let base_url = Some(server.url.clone());
        Options { base_url, attempts: 3, backoff: Duration::from_millis(1), ..Default::default() }
    }

    #[test]
    fn many_files_come_over_many_connections_and_troubles() {
        let server = Server::start(|request| {
            let content = content(&request.path);
            // Every third file has its own trouble, once.
            match (request.path.len() + usize::from(request.path.as_bytes()[16])) % 3 {
                0 if request.nth == 0 => Reply::status("502 Bad Gateway"),
                1 if request.nth == 0 => Reply::file(&content, request).cut(content.len() / 2),
                2 if request.nth == 0 => Reply::file(&content[..10].repeat(content.len() / 10), request),
                _ => Reply::file(&content, request),
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let options = options(&server);
        let jobs = jobs(folder.path(), &options, 200);
        assert!(jobs.iter().all(|job| !job.is_done()));
        fetch_all(&jobs, &options, &|_| ()).unwrap();
        assert!(jobs.iter().all(Job::is_done));
        let paths: BTreeSet<_> = server.requests().into_iter().map(|request| request.path).collect();
        assert_eq!(paths.len(), 200);
        assert!(paths.contains("AudioWAV/1001_DFA_ANG_XX.wav"));
        let parts = std::fs::read_dir(folder.path().join("AudioWAV")).unwrap();
        assert_eq!(parts.count(), 200);
    }

    #[test]
    fn files_that_fail_do_not_stop_the_others() {
        let server = Server::start(|request| match request.path.contains("_SAD_") {
            true => Reply::status("404 Not Found"),
            false => Reply::file(&content(&request.path), request),
        });
        let folder = tempfile::tempdir().unwrap();
        let options = options(&server);
        let jobs = jobs(folder.path(), &options, 82);
        let error = fetch_all(&jobs, &options, &|_| ()).unwrap_err();
        assert!(matches!(&error, Error::Incomplete { n_failed: 14, n_wanted: 82, .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("_SAD_") && text.contains("404 Not Found"), "{text}");
        assert_eq!(jobs.iter().filter(|job| job.is_done()).count(), 68);
    }

    #[test]
    fn a_source_that_is_gone_is_not_asked_7442_times() {
        let server = Server::start(|_| Reply::status("404 Not Found"));
        let folder = tempfile::tempdir().unwrap();
        let error = crema_d(folder.path(), &options(&server), &|_| ()).unwrap_err();
        assert!(matches!(&error, Error::Incomplete { n_failed: 7444, n_wanted: 7444, .. }), "{error}");
        assert!(server.requests().len() < 2 * MAX_FAILURES_IN_A_ROW, "{}", server.requests().len());
    }

    #[test]
    fn the_misspelt_name_is_tried_where_the_right_one_is_missing() {
        let server = Server::start(|request| match request.path.as_str() {
            "AudioWAV/1040_ITH_SAD_X.wav" => Reply::whole(b"found"),
            _ => Reply::status("404 Not Found"),
        });
        let folder = tempfile::tempdir().unwrap();
        let options = options(&server);
        let file = published_files().find(|file| file.stem() == MISSPELT.0).unwrap();
        let mut job = Job::audio(folder.path(), &file, &options);
        job.bytes = Some(5);
        job.checksum = Some(Checksum::Sha256(Sha256::digest(b"found").into()));
        job.fetch(&Downloader::new(&options, &|_| ())).unwrap();
        assert!(folder.path().join("AudioWAV/1040_ITH_SAD_XX.wav").is_file());
    }

    #[test]
    fn a_table_is_right_when_it_can_be_read() {
        let server = Server::start(|request| match request.nth {
            0 => Reply::whole(b"<html>sign in</html>"),
            _ => Reply::whole(b"ActorID,Sex\n1001,Male\n"),
        });
        let folder = tempfile::tempdir().unwrap();
        let options = options(&server);
        let downloader = Downloader::new(&options, &|_| ());
        let job =
            Job::table(folder.path(), DEMOGRAPHICS_FILE, &options, |path| read_demographics(path).map(drop));
        let error = job.fetch(&downloader).unwrap_err().to_string();
        assert!(error.contains("ActorID") && !job.is_done(), "{error}");
        job.fetch(&downloader).unwrap();
        assert!(job.is_done());
    }
}
