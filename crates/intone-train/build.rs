//! Tells the program which commit it was built from, for the models that it trains.

use std::path::Path;
use std::process::Command;

/// What a training is computed by.
const SOURCES: [&str; 3] = ["src", "../intone/src", "../intone-fft/src"];

fn main() {
    let git = |arguments: &[&str]| {
        let output =
            Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
    };
    let mut commit = git(&["rev-parse", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    let status = [&["status", "--porcelain", "--"], &SOURCES[..]].concat();
    if git(&status).is_some_and(|changes| !changes.is_empty()) {
        commit += "-dirty";
    }
    println!("cargo::rustc-env=INTONE_COMMIT={commit}");
    // Without git there is no such file, and then there is nothing to follow.
    if let Some(head) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={head}");
        for sources in SOURCES.into_iter().filter(|sources| Path::new(sources).is_dir()) {
            println!("cargo::rerun-if-changed={sources}");
        }
    }
    println!("cargo::rerun-if-changed=build.rs");
}
