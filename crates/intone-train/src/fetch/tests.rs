//! Against a server on the loopback that does what servers do on bad days.

use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use md5::Md5;
use sha2::{Digest, Sha256};

use super::download::{Checksum, Downloader, Wanted};
use super::*;

#[path = "../../tests/common/server.rs"]
pub(super) mod server;

use server::{Reply, Request, Server};

const ATTEMPTS: u32 = 4;

fn options(server: &Server) -> Options {
    let base_url = Some(server.url.clone());
    Options { base_url, attempts: ATTEMPTS, backoff: Duration::from_millis(1), ..Default::default() }
}

/// 300 kB in which every position is different from its neighbours.
fn content() -> Vec<u8> {
    (0..300_000_u32).flat_map(|n| [(n * 31 + n / 251) as u8]).collect()
}

/// Fetches `content()` as `clip.wav`; gives the result, what is on the disk, and the bytes that progress summed up to.
fn fetch_one(server: &Server, folder: &Path) -> (Result<()>, Option<Vec<u8>>, i64) {
    let content = content();
    let wanted_sum = Checksum::Sha256(Sha256::digest(&content).into());
    let path = folder.join("clip.wav");
    let counted = Mutex::new(0_i64);
    let progress = |event: Event<'_>| match event {
        Event::Received(n) => *counted.lock().unwrap() += n as i64,
        Event::Discarded(n) => *counted.lock().unwrap() -= n as i64,
        _ => {}
    };
    let options = options(server);
    let urls = [format!("{}/clip.wav", server.url)];
    let wanted =
        Wanted { urls: &urls, path: &path, bytes: Some(content.len() as u64), checksum: Some(wanted_sum) };
    let result = Downloader::new(&options, &progress).fetch(&wanted);
    let counted = *counted.lock().unwrap();
    (result, std::fs::read(&path).ok(), counted)
}

fn starts(server: &Server) -> Vec<Option<usize>> {
    server.requests().iter().map(|request| request.from).collect()
}

#[test]
fn a_server_on_a_good_day() {
    let server = Server::start(|request| Reply::file(&content(), request));
    let folder = tempfile::tempdir().unwrap();
    let (result, file, counted) = fetch_one(&server, folder.path());
    result.unwrap();
    assert!(file.unwrap() == content());
    assert_eq!((counted, starts(&server)), (300_000, vec![None]));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_broken_connection_goes_on_where_it_broke() {
    // Each answer breaks after 40 kB: more often than there are attempts, but every one gets further.
    let server = Server::start(|request| Reply::file(&content(), request).cut(40_000));
    let folder = tempfile::tempdir().unwrap();
    let (result, file, counted) = fetch_one(&server, folder.path());
    result.unwrap();
    assert!(file.unwrap() == content());
    assert_eq!(counted, 300_000);
    let expected: Vec<_> = (0..8).map(|n| (n > 0).then_some(n * 40_000)).collect();
    assert_eq!(starts(&server), expected);
}

#[test]
fn a_later_run_goes_on_where_an_earlier_one_stopped() {
    let server = Server::start(|request| Reply::file(&content(), request));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("clip.wav.part"), &content()[..123_456]).unwrap();
    let (result, file, counted) = fetch_one(&server, folder.path());
    result.unwrap();
    assert!(file.unwrap() == content());
    assert_eq!((counted, starts(&server)), (300_000, vec![Some(123_456)]));
    // What is complete already is only verified and named.
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("clip.wav.part"), content()).unwrap();
    let (result, file, counted) = fetch_one(&server, folder.path());
    result.unwrap();
    assert!(file.is_some());
    assert_eq!((counted, starts(&server).len()), (300_000, 1));
}

#[test]
fn leftovers_that_are_wrong_do_no_harm() {
    let server = Server::start(|request| Reply::file(&content(), request));
    let wrong_start = vec![0; 1000];
    let too_long = vec![0; 300_001];
    let wrong_whole = vec![0; 300_000];
    for leftover in [wrong_start, too_long, wrong_whole] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("clip.wav.part"), &leftover).unwrap();
        let (result, file, counted) = fetch_one(&server, folder.path());
        result.unwrap();
        assert!(file.unwrap() == content(), "{} bytes", leftover.len());
        assert_eq!(counted, 300_000, "{} bytes", leftover.len());
    }
}

#[test]
fn a_server_without_ranges_begins_anew() {
    let server = Server::start(|request| {
        let reply = Reply::whole(&content());
        if request.nth == 0 { reply.cut(100_000) } else { reply }
    });
    let folder = tempfile::tempdir().unwrap();
    let (result, file, counted) = fetch_one(&server, folder.path());
    result.unwrap();
    assert!(file.unwrap() == content());
    assert_eq!((counted, starts(&server)), (300_000, vec![None, Some(100_000)]));
}

#[test]
fn a_server_without_ranges_that_always_breaks_is_given_up() {
    let server = Server::start(|_| Reply::whole(&content()).cut(100_000));
    let folder = tempfile::tempdir().unwrap();
    let (result, file, counted) = fetch_one(&server, folder.path());
    let error = result.unwrap_err().to_string();
    assert!(error.contains("/clip.wav: the connection broke after 100000 bytes"), "{error}");
    assert!(file.is_none());
    assert_eq!((counted, server.requests().len()), (0, ATTEMPTS as usize));
}

#[test]
fn a_wrong_range_is_noticed() {
    let shifted = |request: &Request| match request.from {
        None => Reply::whole(&content()).cut(100_000),
        Some(from) => {
            let mut reply = Reply::whole(&content()[from - 7..]);
            reply.status = "206 Partial Content";
            reply.header(&format!("Content-Range: bytes {}-299999/300000", from - 7))
        }
    };
    let server =
        Server::start(
            move |request| {
                if request.nth < 2 { shifted(request) } else { Reply::file(&content(), request) }
            },
        );
    let folder = tempfile::tempdir().unwrap();
    let (result, file, counted) = fetch_one(&server, folder.path());
    result.unwrap();
    assert!(file.unwrap() == content());
    assert_eq!((counted, starts(&server)), (300_000, vec![None, Some(100_000), None]));
}

#[test]
fn corruption_is_noticed_and_fetched_again() {
    let corrupt = || {
        let mut bytes = content();
        bytes[150_000] ^= 1;
        bytes
    };
    let server = Server::start(move |request| {
        Reply::file(&if request.nth == 0 { corrupt() } else { content() }, request)
    });
    let folder = tempfile::tempdir().unwrap();
    let (result, file, counted) = fetch_one(&server, folder.path());
    result.unwrap();
    assert!(file.unwrap() == content());
    assert_eq!(counted, 300_000);

    let server = Server::start(move |request| Reply::file(&corrupt(), request));
    let folder = tempfile::tempdir().unwrap();
    let (result, file, _) = fetch_one(&server, folder.path());
    let error = result.unwrap_err().to_string();
    let expected = Checksum::Sha256(Sha256::digest(content()).into()).to_string();
    assert!(error.contains(&format!("expected checksum {expected}, got ")), "{error}");
    assert!(file.is_none());
    assert_eq!(server.requests().len(), ATTEMPTS as usize);
}

#[test]
fn passing_errors_are_tried_again_and_lasting_ones_are_not() {
    for status in ["500 Internal Server Error", "503 Service Unavailable", "429 Too Many Requests"] {
        let server = Server::start(move |request| match request.nth {
            0 | 1 => Reply::status(status).header("Retry-After: 0"),
            _ => Reply::file(&content(), request),
        });
        let folder = tempfile::tempdir().unwrap();
        let (result, file, _) = fetch_one(&server, folder.path());
        result.unwrap();
        assert!(file.is_some(), "{status}");

        let server = Server::start(move |_| Reply::status(status));
        let (result, ..) = fetch_one(&server, tempfile::tempdir().unwrap().path());
        let error = result.unwrap_err().to_string();
        assert!(error.contains(&format!("the server answered {status}")), "{error}");
        assert_eq!(server.requests().len(), ATTEMPTS as usize);
    }
    for status in ["404 Not Found", "403 Forbidden", "410 Gone"] {
        let server = Server::start(move |_| Reply::status(status));
        let (result, ..) = fetch_one(&server, tempfile::tempdir().unwrap().path());
        let error = result.unwrap_err().to_string();
        assert!(error.contains(&server.url), "{error}");
        assert_eq!(server.requests().len(), 1, "{status}: {error}");
    }
}

#[test]
fn a_redirection_is_followed() {
    let server = Server::start(|request| match request.path.as_str() {
        "clip.wav" => Reply::status("302 Found").header("Location: /elsewhere/clip.wav"),
        _ => Reply::file(&content(), request),
    });
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("clip.wav.part"), &content()[..1000]).unwrap();
    let (result, file, _) = fetch_one(&server, folder.path());
    result.unwrap();
    assert!(file.unwrap() == content());
    assert_eq!(starts(&server), [Some(1000), Some(1000)]);
}

#[test]
fn a_file_of_another_size_is_refused_before_it_fills_the_disk() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 300000\n";
    let server = Server::start(|request| Reply::file(pointer, request));
    let (result, ..) = fetch_one(&server, tempfile::tempdir().unwrap().path());
    let error = result.unwrap_err().to_string();
    let expected = "expected 300000 bytes, the server has 69 (a Git-LFS pointer, not audio)";
    assert!(error.contains(expected), "{error}");
    assert_eq!(server.requests().len(), 1);

    // Without a length, what comes is counted.
    let endless = Reply { status: "200 OK", headers: vec![], body: vec![0; 2_000_000], cut: None };
    let server = Server::start(move |_| endless.clone());
    let folder = tempfile::tempdir().unwrap();
    let (result, ..) = fetch_one(&server, folder.path());
    let error = result.unwrap_err().to_string();
    assert!(error.contains("expected 300000 bytes, the server has more"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn what_is_no_address_is_refused_before_anything_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    for url in ["nourl", "", "ftp://127.0.0.1/x", "http://", "http:///x", "a mirror", "/mnt/mirror"] {
        let options = Options { base_url: Some(url.to_owned()), ..Options::default() };
        let event = |event: Event<'_>| panic!("{event:?}");
        for result in [ravdess(folder.path(), &options, &event), crema_d(folder.path(), &options, &event)] {
            let error = result.unwrap_err().to_string();
            let expected = format!("base_url: expected http://HOST/... or https://HOST/..., got {url:?}");
            assert!(error.contains(&expected), "{error}");
        }
    }
}

#[test]
fn a_server_that_is_not_there() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let options = Options {
        base_url: Some(url.clone()),
        attempts: 2,
        backoff: Duration::from_millis(1),
        ..Default::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let n_retries = Mutex::new(0);
    let error = ravdess(folder.path(), &options, &|event| {
        if let Event::Retry { .. } = event {
            *n_retries.lock().unwrap() += 1;
        }
    });
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with(&format!("{url}/Audio_Speech_Actors_01-24.zip: ")), "{error}");
    assert_eq!(*n_retries.lock().unwrap(), 1);
}

fn zip_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in files {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn an_archive_is_fetched_verified_unpacked_and_not_fetched_again() {
    let zip = zip_of(&[("Actor_01/03-01-01-01-01-01-01.wav", b"one"), ("Actor_02/b.wav", b"two")]);
    let published = Archive {
        base_url: "http://127.0.0.1:9",
        file_name: "speech.zip",
        bytes: zip.len() as u64,
        md5: Md5::digest(&zip).into(),
        folder: "RAVDESS",
    };
    let served = zip.clone();
    let server = Server::start(move |request| {
        let reply = Reply::file(&served, request);
        if request.nth == 0 { reply.cut(50) } else { reply }
    });
    let out = tempfile::tempdir().unwrap();
    let fetch = |options: &Options| archive(&published, out.path(), options, &|_| ());
    let fetched = fetch(&options(&server)).unwrap();
    let folder = out.path().join("RAVDESS");
    assert_eq!(fetched, Fetched { folder: folder.clone(), n_fetched: 2, n_present: 0 });
    assert_eq!(std::fs::read(folder.join("Actor_02/b.wav")).unwrap(), b"two");
    assert!(!out.path().join("speech.zip").exists());
    assert_eq!(starts(&server), [None, Some(50)]);

    assert_eq!(fetch(&options(&server)).unwrap().n_present, 2);
    assert_eq!(server.requests().len(), 2);

    // A file that is damaged or gone is noticed; the archive is kept on demand, and used.
    std::fs::write(folder.join("Actor_02/b.wav"), "2wo").unwrap();
    assert_eq!(fetch(&Options { keep_archive: true, ..options(&server) }).unwrap().n_fetched, 2);
    assert_eq!(std::fs::read(folder.join("Actor_02/b.wav")).unwrap(), b"two");
    let n_requests = server.requests().len();
    std::fs::remove_file(folder.join("Actor_02/b.wav")).unwrap();
    assert_eq!(fetch(&Options { keep_archive: true, ..options(&server) }).unwrap().n_fetched, 2);
    assert_eq!(server.requests().len(), n_requests);

    let wrong = Archive { md5: [0; 16], ..published.clone() };
    let other = tempfile::tempdir().unwrap();
    let error = archive(&wrong, other.path(), &options(&server), &|_| ()).unwrap_err().to_string();
    assert!(error.contains("expected checksum 00000000000000000000000000000000, got "), "{error}");
    assert!(!other.path().join("RAVDESS").exists());
}

#[test]
fn options_out_of_range() {
    for (connections, attempts) in [(0, 1), (MAX_CONNECTIONS + 1, 1), (1, 0)] {
        let options = Options { connections, attempts, ..Default::default() };
        assert!(crema_d(Path::new("nowhere"), &options, &|_| ()).is_err());
        assert!(ravdess(Path::new("nowhere"), &options, &|_| ()).is_err());
    }
    assert!(!Path::new("nowhere").exists());
}
