//! Against a server on the loopback with the hub's routes.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::super::tests::server::{Reply, Request, Server};
use super::*;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn content() -> Vec<u8> {
    (0..100_000u32).map(|n| (n * 31 + n / 251) as u8).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn model(text: &str) -> HubModel {
    text.parse().unwrap()
}

/// The list of these files, each with the content that all have.
fn listing(files: &[&str]) -> String {
    let (hash, size) = (hex(&Sha256::digest(content())), content().len());
    let large = |name: &&str| {
        format!(
            r#"{{"rfilename":"{name}","size":{size},"blobId":"aa","lfs":{{"sha256":"{hash}","size":{size},"pointerSize":130}}}}"#
        )
    };
    let small = r#"{"rfilename":"README.md","size":3,"blobId":"ce013625030ba8dba906f756967f9e9ca394464a"}"#;
    let files: Vec<String> = files.iter().map(large).chain([small.to_owned()]).collect();
    format!(r#"{{"id":"o/n","sha":"{COMMIT}","private":false,"siblings":[{}]}}"#, files.join(","))
}

/// The routes of a repository `o/n` with these files, behind a redirect as the hub's are.
fn answer(request: &Request, files: &[&str]) -> Reply {
    let not_found = |code: &str| Reply::status("404 Not Found").header(&format!("X-Error-Code: {code}"));
    if let Some(rest) = request.path.strip_prefix("api/models/") {
        return match rest {
            "o/n/revision/main?blobs=true" | "o/n/revision/v1?blobs=true" => {
                Reply::whole(listing(files).as_bytes())
            }
            _ if rest == format!("o/n/revision/{COMMIT}?blobs=true") => {
                Reply::whole(listing(files).as_bytes())
            }
            _ if rest.starts_with("o/n/") => not_found("RevisionNotFound"),
            _ if rest.starts_with("o/gated/") => {
                Reply::status("401 Unauthorized").header("X-Error-Code: GatedRepo")
            }
            _ if rest.starts_with("o/page/") => Reply::whole(b"<html>maintenance</html>"),
            _ => Reply::status("401 Unauthorized").header("X-Error-Code: RepoNotFound"),
        };
    }
    match request.path.strip_prefix(&format!("o/n/resolve/{COMMIT}/")) {
        Some(file) if files.contains(&file) => {
            Reply::status("302 Found").header(&format!("Location: /cdn/{file}"))
        }
        _ if request.path.starts_with("cdn/") => Reply::file(&content(), request),
        _ => not_found("EntryNotFound"),
    }
}

struct Place {
    server: Server,
    hub: Hub,
    folder: tempfile::TempDir,
}

impl Place {
    fn new(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Place {
        let (server, folder) = (Server::start(answer), tempfile::tempdir().unwrap());
        let cache = folder.path().join("hub");
        let hub = Hub { endpoint: server.url.clone(), cache, token: None, offline: false };
        Place { server, hub, folder }
    }

    fn with(files: &'static [&'static str]) -> Place {
        Place::new(move |request| answer(request, files))
    }

    fn fetch(&self, text: &str) -> Result<PathBuf, String> {
        let options = Options { attempts: 2, backoff: Duration::from_millis(1), ..Options::default() };
        self.hub.fetch(&model(text), &options, &|_| ()).map_err(|error| error.to_string())
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join("hub/models--o--n").join(path)
    }
}

#[test]
fn a_model_is_fetched_once_and_lies_where_the_hubs_programs_look() {
    let place = Place::with(&["model.safetensors", "other.safetensors"]);
    let path = place.fetch("hf:o/n").unwrap();
    assert_eq!(path, place.at(&format!("snapshots/{COMMIT}/model.safetensors")));
    assert!(fs::read(&path).unwrap() == content());
    assert_eq!(fs::read_to_string(place.at("refs/main")).unwrap(), COMMIT);
    assert!(fs::read(place.at("blobs").join(hex(&Sha256::digest(content())))).unwrap() == content());
    assert_eq!(fs::read_dir(place.at("blobs")).unwrap().count(), 1);
    #[cfg(unix)]
    assert!(fs::read_link(&path).unwrap().starts_with("../../blobs"));
    let n_requests = place.server.requests().len();
    assert_eq!(n_requests, 3, "a list, a redirect, a file: {:?}", place.server.requests());

    // Nobody is asked again, also not for the commit by its name; the same content is not fetched again.
    assert_eq!(place.fetch("hf:o/n").unwrap(), path);
    assert_eq!(place.fetch(&format!("hf:o/n@{COMMIT}")).unwrap(), path);
    assert_eq!(place.server.requests().len(), n_requests);
    assert_eq!(place.fetch("hf:o/n@v1").unwrap(), path);
    assert_eq!(place.server.requests().len(), n_requests + 1, "the list alone");
    let other = place.fetch("hf:o/n/other.safetensors").unwrap();
    assert!(fs::read(other).unwrap() == content());

    // Without a network, and when nobody may be asked.
    let gone = Hub { endpoint: "http://127.0.0.1:9".to_owned(), ..place.hub.clone() };
    let offline = Hub { offline: true, ..place.hub.clone() };
    for hub in [gone, offline] {
        let got = hub.fetch(&model("hf:o/n@v1"), &Options::default(), &|_| ()).unwrap();
        assert_eq!(got, path);
    }
}

#[test]
fn the_only_model_file_is_meant_whatever_its_name() {
    let mut place = Place::with(&["deep/er/emotions.safetensors"]);
    let path = place.fetch("hf:o/n").unwrap();
    assert!(path.ends_with("deep/er/emotions.safetensors") && fs::read(&path).unwrap() == content());

    place = Place::with(&["emotions.safetensors"]);
    let path = place.fetch("hf:o/n").unwrap();
    place.hub.endpoint = "http://127.0.0.1:9".to_owned();
    assert_eq!(place.fetch("hf:o/n").unwrap(), path, "without a network, the one that is there");
}

#[test]
fn a_download_that_broke_goes_on() {
    let files = &["model.safetensors"];
    let place = Place::new(move |request| match request.path.as_str() {
        "cdn/model.safetensors" if request.nth == 0 => answer(request, files).cut(40_000),
        _ => answer(request, files),
    });
    let path = place.fetch("hf:o/n").unwrap();
    assert!(fs::read(path).unwrap() == content());
    let from: Vec<_> = place.server.requests().iter().filter_map(|request| request.from).collect();
    assert!(from.contains(&40_000), "{from:?}");
}

#[test]
fn what_is_not_what_the_hub_says_is_never_kept() {
    let place = Place::new(|request| match request.path.as_str() {
        "cdn/model.safetensors" => {
            let mut damaged = content();
            damaged[50_000] ^= 1;
            Reply::file(&damaged, request)
        }
        _ => answer(request, &["model.safetensors"]),
    });
    let error = place.fetch("hf:o/n").unwrap_err();
    assert!(error.contains("expected checksum"), "{error}");
    assert!(!place.at(&format!("snapshots/{COMMIT}")).exists() && !place.at("refs/main").exists());
}

#[test]
fn errors_say_what_was_asked_and_what_came() {
    let place = Place::with(&["a.safetensors", "b.safetensors"]);
    for (asked, expected) in [
        ("hf:o/n", "several model files, name one: a.safetensors, b.safetensors"),
        ("hf:o/n/c.safetensors", "no file 'c.safetensors'; its model files: a.safetensors, b.safetensors"),
        ("hf:o/n@v9", "no revision 'v9'"),
        ("hf:o/absent", "no such repository, or one that is not public: see HF_TOKEN"),
        ("hf:o/gated", "access is granted to some users only: see HF_TOKEN"),
        ("hf:o/page", "expected a list of files"),
    ] {
        let error = place.fetch(asked).unwrap_err();
        assert!(error.starts_with(&format!("{asked}: ")) && error.contains(expected), "{asked}: {error}");
    }
    let error = Place::with(&[]).fetch("hf:o/n").unwrap_err();
    assert!(error.contains("expected a file *.safetensors, it has none"), "{error}");

    let mut place = Place::with(&[]);
    place.hub.endpoint = "http://127.0.0.1:9".to_owned();
    let error = place.fetch("hf:o/n").unwrap_err();
    assert!(error.contains("http://127.0.0.1:9/api/models/o/n/revision/main"), "{error}");
    assert!(error.contains("not in the cache") && error.contains("hub either"), "{error}");
    place.hub.offline = true;
    assert!(place.fetch("hf:o/n").unwrap_err().contains("HF_HUB_OFFLINE"));
}

#[test]
fn a_hostile_list_leads_nowhere() {
    let list = |sha: &str, name: &str, hash: &str, size: &str| {
        format!(
            r#"{{"sha":"{sha}","siblings":[{{"rfilename":"{name}","lfs":{{"sha256":"{hash}","size":{size}}}}}]}}"#
        )
    };
    let hash = "0".repeat(64);
    for (list, expected) in [
        (list("../../x", "model.safetensors", &hash, "1"), "expected a commit"),
        (list(COMMIT, "../../x.safetensors", &hash, "1"), "no usable file name"),
        (list(COMMIT, "/x.safetensors", &hash, "1"), "no usable file name"),
        (list(COMMIT, "model.safetensors", "../../../x", "1"), "expected a hash"),
        (list(COMMIT, "model.safetensors", &hash, "9999999999999"), "expected at most"),
        (list(COMMIT, "model.safetensors", &hash, "-1"), "expected a list of files"),
        ("[]".to_owned(), "expected a list of files"),
        (
            format!(r#"{{"sha":"{COMMIT}","siblings":[{{"rfilename":"model.safetensors"}}]}}"#),
            "expected its hash",
        ),
    ] {
        let answered = list.clone();
        let place = Place::new(move |_| Reply::whole(answered.as_bytes()));
        let error = place.fetch("hf:o/n").unwrap_err();
        assert!(error.contains(expected), "{list}: {error}");
        let left: Vec<_> =
            fs::read_dir(place.at("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [".intone.lock"], "{list}");
    }
}

#[test]
fn the_largest_whisper_is_not_too_large() {
    let choose = |size: u64| {
        let listing = format!(
            r#"{{"sha":"{COMMIT}","siblings":[{{"rfilename":"model.safetensors","lfs":{{"sha256":"{}","size":{size}}}}}]}}"#,
            "0".repeat(64)
        );
        let listing: Listing = serde_json::from_str(&listing).unwrap();
        listing.choose(&model("hf:openai/whisper-large-v2")).map(|found| found.bytes)
    };
    assert_eq!(choose(6_173_370_152).unwrap(), 6_173_370_152);
    let error = choose(8_589_934_593).unwrap_err().to_string();
    assert!(error.contains("expected at most 8589934592 bytes, it has 8589934593"), "{error}");
}

#[test]
fn names_are_read_and_written() {
    for text in ["hf:o/n", "hf:o/n@v1.0", "hf:a-b/c_d.e/f.safetensors", "hf:o/n@v1/deep/er/f.safetensors"] {
        assert_eq!(model(text).to_string(), text);
    }
    assert_eq!(model("hf:o/n@v1/f.x").revision.as_deref(), Some("v1"));
    assert_eq!(model("hf:o/n@v1/f.x").file.as_deref(), Some("f.x"));
    for text in [
        "hf:",
        "hf:o",
        "hf:o/",
        "hf:/n",
        "hf:o/n@",
        "hf:o/n/",
        "hf:o/n@v1/",
        "hf:../n",
        "hf:o/..",
        "hf:o/n/../x",
        "hf:o/n//x",
        "hf:o/n?x",
        "hf:o/n x",
        "hf:o/n@a@b",
        "o/n",
    ] {
        let error = text.parse::<HubModel>().unwrap_err().to_string();
        assert!(error.starts_with(text) && error.contains("hf:OWNER/NAME"), "{text}: {error}");
    }
}
