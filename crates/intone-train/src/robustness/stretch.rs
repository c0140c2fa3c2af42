//! Longer or shorter at the same pitch: waveform-similarity overlap-add (Verhelst and Roelands 1993).

/// Length of the pieces that are put together, seconds: some periods of a low voice.
const PIECE_S: f64 = 0.04;

/// How far a piece may be moved to fit the one before, seconds: half a period of 70 Hz.
const SEARCH_S: f64 = 0.007;

/// A recording made `factor` times as long.
pub(super) fn stretched(samples: &[f32], rate_hz: f64, factor: f64) -> Vec<f32> {
    let half = ((PIECE_S * rate_hz / 2.0) as usize).max(1);
    let search = (SEARCH_S * rate_hz) as usize;
    let n_out = ((samples.len() as f64 * factor).round() as usize).max(1);
    if samples.len() < 2 * half + 2 * search {
        // Too short for pieces: as it is, repeated or cut.
        return samples.iter().copied().cycle().take(n_out).collect();
    }
    let last = samples.len() - 2 * half;
    let mut out = vec![0.0; n_out + 2 * half];
    let mut weights = vec![0.0f32; n_out + 2 * half];
    let window: Vec<f32> = (0..2 * half)
        .map(|i| (0.5 - 0.5 * (std::f64::consts::PI * (i as f64 + 0.5) / half as f64).cos()) as f32)
        .collect();
    let mut from: Option<usize> = None;
    for at in (0..n_out).step_by(half) {
        let wanted = ((at as f64 / factor) as usize).min(last);
        let start = match from {
            // The piece that resembles most how the one before goes on.
            Some(before) => {
                let follows = (before + half).min(last);
                let lowest = wanted.saturating_sub(search);
                let highest = (wanted + search).min(last);
                let likeness = |start: &usize| -> f64 {
                    let pair = samples[*start..start + half].iter().zip(&samples[follows..follows + half]);
                    let (dot, energy) = pair.fold((0.0, 1e-12), |(dot, energy), (a, b)| {
                        (dot + f64::from(a * b), energy + f64::from(a * a))
                    });
                    dot / energy.sqrt()
                };
                let best = (lowest..=highest).map(|start| (likeness(&start), start));
                best.max_by(|a, b| a.0.total_cmp(&b.0)).map_or(wanted, |(_, start)| start)
            }
            None => wanted,
        };
        for (i, weight) in window.iter().enumerate() {
            out[at + i] += weight * samples[start + i];
            weights[at + i] += weight;
        }
        from = Some(start);
    }
    out.truncate(n_out);
    out.iter_mut().zip(weights).for_each(|(x, weight)| *x /= weight.max(1e-3));
    out
}
