//! Listening to every clip: what a file is worth shows only when it is decoded.

use std::collections::HashMap;

use intone::audio::AudioStream;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::{Clip, Fault, FaultKind};

/// What decoding told about a clip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heard {
    /// Length, seconds.
    pub duration_s: f64,
    /// Samples per second, as they are in the file.
    pub sample_rate_hz: u32,
    /// Channels in the file.
    pub n_channels: usize,
    /// Mean square of the samples of the downmix; full scale is 1.
    pub mean_square: f64,
    /// SHA-256 of the decoded samples of the downmix: the same for the same audio in another lossless container.
    sha256: [u8; 32],
}

impl Heard {
    /// Root mean square of the samples, dB relative to full scale; minus infinity for silence.
    pub fn level_dbfs(&self) -> f64 {
        10.0 * self.mean_square.log10()
    }
}

/// What decoding told about all clips.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// In the order of the clips; `None` where a clip cannot be decoded.
    pub heard: Vec<Option<Heard>>,
    /// Clips that cannot be decoded, end too early, are silent, or hold the same audio as another clip.
    pub faults: Vec<Fault>,
}

/// Decodes every clip, on all cores, in bounded memory. `progress` is called after each clip, from any thread.
pub fn survey(clips: &[Clip], progress: &(dyn Fn() + Sync)) -> Survey {
    let results: Vec<_> = clips
        .par_iter()
        .map(|clip| {
            let result = listen(clip);
            progress();
            result
        })
        .collect();
    let mut survey = Survey::default();
    let mut first: HashMap<[u8; 32], &Clip> = HashMap::new();
    for (clip, result) in clips.iter().zip(results) {
        let mut fault = |kind| survey.faults.push(Fault { path: clip.path.clone(), kind });
        survey.heard.push(match result {
            Ok((heard, warnings)) => {
                warnings.into_iter().for_each(|warning| fault(FaultKind::Damaged(warning)));
                if heard.mean_square == 0.0 {
                    fault(FaultKind::Silent);
                } else {
                    let kept = *first.entry(heard.sha256).or_insert(clip);
                    if kept.id != clip.id {
                        fault(FaultKind::SameAudio(kept.path.clone()));
                    }
                }
                Some(heard)
            }
            Err(error) => {
                fault(FaultKind::Undecodable(without_path(&error)));
                None
            }
        });
    }
    survey
}

fn listen(clip: &Clip) -> intone::Result<(Heard, Vec<String>)> {
    let mut stream = AudioStream::open(&clip.path)?;
    let (sample_rate_hz, n_channels) = (stream.sample_rate().0, stream.n_channels());
    let mut hasher = Sha256::new();
    hasher.update(sample_rate_hz.to_le_bytes());
    let (mut n_samples, mut sum) = (0_u64, 0.0_f64);
    let mut bytes = Vec::new();
    while let Some(samples) = stream.next_chunk()? {
        n_samples += samples.len() as u64;
        sum += samples.iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>();
        bytes.clear();
        bytes.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
        hasher.update(&bytes);
    }
    let heard = Heard {
        duration_s: n_samples as f64 / f64::from(sample_rate_hz),
        sample_rate_hz,
        n_channels,
        mean_square: sum / n_samples.max(1) as f64,
        sha256: hasher.finalize().into(),
    };
    Ok((heard, stream.warnings().iter().map(ToString::to_string).collect()))
}

/// The message of an error, without the path that a [`Fault`] has anyway.
fn without_path(error: &intone::Error) -> String {
    match error {
        intone::Error::InFile { error, .. } => without_path(error),
        other => other.to_string(),
    }
}
