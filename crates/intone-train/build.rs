//! Tells the program which commit it was built from, for the models that it trains.

use std::process::Command;

/// The sources of all crates, as git understands it.
const SOURCES: &str = ":(glob)../*/src/**";

fn main() {
    let git = |arguments: &[&str]| {
        let output =
            Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
    };
    let mut commit = git(&["rev-parse", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    if git(&["status", "--porcelain", "--", SOURCES]).is_some_and(|changes| !changes.is_empty()) {
        commit += "-dirty";
    }
    println!("cargo::rustc-env=INTONE_COMMIT={commit}");
    // Without git there is no such file, and then there is nothing to follow.
    if let Some(head) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={head}");
        for crates in std::fs::read_dir("..").into_iter().flatten().flatten() {
            let sources = crates.path().join("src");
            if sources.is_dir() {
                println!("cargo::rerun-if-changed={}", sources.display());
            }
        }
    }
    println!("cargo::rerun-if-changed=build.rs");
}
