//! Emotions while audio arrives, in chunks of any size: `cargo run --release -p intone --example stream -- samples/rain.wav`.
//!
//! The chunks of a microphone or a telephone line are pushed in the same way.

#![allow(clippy::print_stdout, reason = "it is what the example does")]

use intone::{AudioStream, Reading, Recognizer, Window};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("expected a recording")?;
    let recognizer = Recognizer::embedded()?;
    let mut audio = AudioStream::open(path)?;
    // Windows of 2 s, every half a second.
    let mut stream = recognizer.stream_of(audio.sample_rate(), Window::seconds(2.0).hop(0.5))?;
    while let Some(chunk) = audio.next_chunk()? {
        stream.push(chunk)?.iter().for_each(show);
    }
    stream.finish()?.iter().for_each(show);
    Ok(())
}

fn show(reading: &Reading) {
    let label = reading.scores.label().unwrap_or("-");
    println!("{:6.2} s to {:6.2} s  {label}", reading.start_s, reading.end_s);
}
