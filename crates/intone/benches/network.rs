//! The time of the embedded network for one window and for a batch of 32, from features to logits, on all threads.
//! Prints one line of JSON with the median milliseconds of each.
//!
//!     cargo bench -p intone --bench network -- --rounds 50

use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

use intone::model::Model;
use intone::recognizer::EMBEDDED_MODEL;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let n_rounds: usize = match arguments.iter().position(|argument| argument == "--rounds") {
        Some(at) => arguments.get(at + 1).ok_or("--rounds needs a number")?.parse()?,
        None => 50,
    };
    let (meta, model) = Model::from_bytes(EMBEDDED_MODEL)?;
    let window = meta.front_end.window_len();
    let mut medians = Vec::new();
    for n in [1, 32] {
        let windows: Vec<f32> = (0..n * window).map(|i| (i % 97) as f32 / 97.0).collect();
        let mut ms = Vec::new();
        // One in ten more, at the beginning, are not counted: caches, clocks and allocators settle.
        for round in 0..n_rounds + n_rounds.div_ceil(10) {
            let start = Instant::now();
            black_box(model.logits(black_box(&windows), n)?);
            if round >= n_rounds.div_ceil(10) {
                ms.push(start.elapsed().as_secs_f64() * 1e3);
            }
        }
        ms.sort_by(f64::total_cmp);
        medians.push(ms[ms.len() / 2]);
    }
    writeln!(
        std::io::stdout(),
        "{}",
        serde_json::json!({"one_ms": medians[0], "batch_of_32_ms": medians[1]})
    )?;
    Ok(())
}
