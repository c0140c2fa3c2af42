//! The emotions in recordings: `cargo run --release -p intone --example classify -- samples/hello.wav samples/rain.wav`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is what the example does")]

use intone::{Audio, Recognizer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let recognizer = Recognizer::embedded()?;
    for path in std::env::args().skip(1) {
        // A file that cannot be read says what is wrong with it, and the others have their answers.
        let scores = match Audio::open(&path).and_then(|audio| recognizer.recognize(&audio)) {
            Ok(scores) => scores,
            Err(error) => {
                eprintln!("{error}");
                continue;
            }
        };
        match scores.label() {
            None => println!("{path}: silence"),
            Some(label) if scores.uncertain() => println!("{path}: perhaps {label}"),
            Some(label) => println!("{path}: {label}"),
        }
        for (label, probability) in scores.iter() {
            println!("  {label:<8} {:5.1} %", 100.0 * probability);
        }
    }
    Ok(())
}
