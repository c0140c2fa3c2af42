//! The time of the reference front end for one clip of 3 s, from decoded samples to the network's input, on one
//! thread. Prints one line of JSON with every round's milliseconds, with and without resampling from 16 kHz.
//!
//!     cargo bench -p intone --bench front_end -- --rounds 50

use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

use intone::audio::{Audio, SampleRate};
use intone::features::{Extractor, FrontEnd};

/// Rounds that are not counted: caches, clocks and allocators settle.
const WARM_UP: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let n_rounds = match arguments.iter().position(|argument| argument == "--rounds") {
        Some(at) => arguments.get(at + 1).ok_or("--rounds needs a number")?.parse()?,
        None => 100,
    };
    let front_end = FrontEnd::reference();
    let extractor = Extractor::new(&front_end)?;
    let target = SampleRate(front_end.sample_rate_hz);
    let recorded = Audio::new(noise(48_000), SampleRate(16_000))?;
    let resampled = recorded.resample(target)?;
    let mut input = vec![0.0; front_end.window_len()];

    let mut features = |audio: &Audio| -> intone::Result<()> {
        extractor.frames(black_box(audio.samples())).window(&front_end, 0, &mut input)?;
        black_box(&input);
        Ok(())
    };
    let (mut features_ms, mut resample_and_features_ms) = (Vec::new(), Vec::new());
    for round in 0..WARM_UP + n_rounds {
        let start = Instant::now();
        features(&resampled)?;
        let middle = Instant::now();
        features(&black_box(&recorded).resample(target)?)?;
        let end = Instant::now();
        if round >= WARM_UP {
            features_ms.push((middle - start).as_secs_f64() * 1e3);
            resample_and_features_ms.push((end - middle).as_secs_f64() * 1e3);
        }
    }
    let line = serde_json::json!({
        "clip_s": 3.0,
        "features_ms": features_ms,
        "resample_and_features_ms": resample_and_features_ms,
    });
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}

/// White noise at a quarter of full scale.
fn noise(n: usize) -> Vec<f32> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 / (1 << 23) as f32 - 1.0) / 4.0
    };
    (0..n).map(|_| next()).collect()
}
