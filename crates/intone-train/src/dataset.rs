//! From clips to the network's inputs: features computed once, kept on disk, and cut into windows.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use intone::audio::{Audio, SampleRate};
use intone::features::{Extractor, Frames, FrontEnd};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::corpus::Clip;
use crate::error::{Error, Result};

/// First bytes of a cached file: what it is, and the version of the way from audio to features. To be raised when
/// that way changes in any bit.
const MAGIC: &[u8; 8] = b"INTONEF3";

/// How many unreadable files an error names.
const MAX_NAMED: usize = 10;

/// The samples of a clip, and which of them the front end looks at.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    samples: Vec<f32>,
    kept: Range<usize>,
}

impl Recording {
    /// Samples at the front end's rate, all of which it looks at.
    pub fn whole(samples: Vec<f32>) -> Recording {
        Recording { kept: 0..samples.len(), samples }
    }

    /// Samples at the front end's rate, and where what trimming leaves of them lies. Of what it takes away the next
    /// `n_ends` samples are kept on either side.
    ///
    /// # Panics
    /// Where that is not within them.
    pub fn new(mut samples: Vec<f32>, kept: Range<usize>, n_ends: usize) -> Recording {
        let first = kept.start.saturating_sub(n_ends);
        samples.truncate(kept.end.saturating_add(n_ends));
        samples.drain(..first);
        let kept = kept.start - first..kept.end - first;
        assert!(
            kept.start <= kept.end && kept.end <= samples.len(),
            "what is kept lies within the recording"
        );
        Recording { samples, kept }
    }

    /// What trimming leaves.
    pub fn trimmed(&self) -> &[f32] {
        &self.samples[self.kept.clone()]
    }

    /// The same with so many samples more before it and behind it: those of the recording as far as they go, and digital
    /// silence beyond.
    pub fn widened(&self, [before, behind]: [usize; 2]) -> Vec<f32> {
        let Range { start, end } = self.kept;
        let mut widened = vec![0.0; before.saturating_sub(start)];
        let until = end.saturating_add(behind).min(self.samples.len());
        widened.extend_from_slice(&self.samples[start.saturating_sub(before)..until]);
        widened.resize(before + (end - start) + behind, 0.0);
        widened
    }
}

/// Features of every clip, `progress` being told how many are done.
///
/// With a `cache` directory, features are read from there and, where missing, computed and written there. The key is
/// the content of the audio file and every parameter of the front end, so that no stale value is ever read.
///
/// # Errors
/// [`Error::Unreadable`] with all clips that cannot be decoded; a cache that cannot be written.
pub fn load_features(
    clips: &[Clip],
    front_end: &FrontEnd,
    cache: Option<&Path>,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vec<Frames>> {
    let extractor = Extractor::new(front_end)?;
    let n_computed = AtomicUsize::new(0);
    let load = |clip: &Clip| {
        let path = cache.map(|dir| cache_path(dir, clip, front_end));
        if let Some(frames) = path.as_deref().and_then(|path| read_cached(path, front_end.n_mels)) {
            return Ok(frames);
        }
        n_computed.fetch_add(1, Ordering::Relaxed);
        let frames = extractor.frames(&front_end.trimmed(&decode(&clip.path, front_end)?));
        if let Some(path) = path {
            write_cached(&path, &frames).map_err(Error::io(&path))?;
        }
        Ok(frames)
    };
    let features = each_clip(clips, progress, &load)?;
    let n_computed = n_computed.into_inner();
    log::info!("features of {} clips: {n_computed} computed, the others kept before", clips.len());
    Ok(features)
}

/// The samples of every clip at the front end's rate, and what it trims them to; of silent ends that it takes away the
/// nearest `ends_s` seconds are kept. `progress` is told how many are done.
///
/// # Errors
/// [`Error::Unreadable`] with all clips that cannot be decoded.
pub fn load_audio(
    clips: &[Clip],
    front_end: &FrontEnd,
    ends_s: f64,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vec<Recording>> {
    let n_ends = (ends_s * f64::from(front_end.sample_rate_hz)).round() as usize;
    each_clip(clips, progress, &|clip| {
        let mut samples = decode(&clip.path, front_end)?;
        let kept = front_end.kept(&mut samples);
        Ok(Recording::new(samples, kept, n_ends))
    })
}

/// Does something with every clip, in parallel, and collects what went wrong.
fn each_clip<T: Send>(
    clips: &[Clip],
    progress: &(dyn Fn(usize) + Sync),
    load: &(dyn Fn(&Clip) -> Result<T> + Sync),
) -> Result<Vec<T>> {
    let done = AtomicUsize::new(0);
    let results: Vec<Result<T>> = clips
        .par_iter()
        .map(|clip| {
            let loaded = load(clip);
            progress(done.fetch_add(1, Ordering::Relaxed) + 1);
            loaded
        })
        .collect();
    let n_failed = results.iter().filter(|result| result.is_err()).count();
    if n_failed > 0 {
        let errors = results.into_iter().filter_map(Result::err).take(MAX_NAMED);
        let errors = errors.map(|error| error.to_string()).collect();
        return Err(Error::Unreadable { n_failed, n_wanted: clips.len(), errors });
    }
    results.into_iter().collect()
}

/// Decodes and resamples one file.
fn decode(path: &Path, front_end: &FrontEnd) -> Result<Vec<f32>> {
    let audio = Audio::open(path).and_then(|audio| audio.resample(SampleRate(front_end.sample_rate_hz)));
    let audio = audio.map_err(|error| error.in_file(path))?;
    Ok(audio.samples().to_vec())
}

fn cache_path(dir: &Path, clip: &Clip, front_end: &FrontEnd) -> PathBuf {
    let parameters = toml::to_string(front_end).expect("a front end has a form in TOML");
    let mut hash = Sha256::new();
    hash.update(MAGIC);
    hash.update(clip.sha256);
    hash.update(parameters);
    let name = hex(&hash.finalize());
    dir.join(&name[..2]).join(format!("{}.frames", &name[2..]))
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `None` where the file is missing or not whole: then it is made again.
fn read_cached(path: &Path, n_mels: usize) -> Option<Frames> {
    let bytes = std::fs::read(path).ok()?;
    let values = bytes.strip_prefix(MAGIC)?;
    let (values, rest) = values.as_chunks::<4>();
    if !rest.is_empty() || values.is_empty() || !values.len().is_multiple_of(n_mels) {
        return None;
    }
    Frames::from_values(n_mels, values.iter().map(|v| f32::from_le_bytes(*v)).collect()).ok()
}

/// Through a temporary file, so that a run which is cut leaves no half file.
fn write_cached(path: &Path, frames: &Frames) -> std::io::Result<()> {
    use std::io::Write;
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    let values = frames.values().iter().flat_map(|v| v.to_le_bytes());
    let bytes: Vec<u8> = MAGIC.iter().copied().chain(values).collect();
    file.write_all(&bytes)?;
    file.persist(path)?;
    Ok(())
}

/// Where the windows of a clip with this many frames start: half a window apart, the last one ending with the clip.
pub(crate) fn window_starts(n_frames: usize, front_end: &FrontEnd) -> Vec<usize> {
    let last = n_frames.saturating_sub(front_end.n_frames);
    let mut starts: Vec<usize> = (0..last).step_by((front_end.n_frames / 2).max(1)).collect();
    starts.push(last);
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn front_end() -> FrontEnd {
        FrontEnd { n_mels: 4, n_frames: 10, ..FrontEnd::reference() }
    }

    #[test]
    fn windows_cover_the_clip() {
        for (n_frames, expected) in
            [(10, vec![0]), (11, vec![0, 1]), (15, vec![0, 5]), (22, vec![0, 5, 10, 12])]
        {
            assert_eq!(window_starts(n_frames, &front_end()), expected, "{n_frames} frames");
        }
    }

    #[test]
    fn a_recording_is_widened_by_its_own_ends_and_silence_beyond() {
        let samples: Vec<f32> = (1..=10).map(|i| i as f32).collect();
        let far = Recording::new(samples.clone(), 3..7, 100);
        let near = Recording::new(samples.clone(), 3..7, 1);
        let whole = Recording::whole(samples.clone());
        assert_eq!(
            (far.trimmed(), near.trimmed(), whole.trimmed()),
            (&samples[3..7], &samples[3..7], &samples[..])
        );
        for recording in [&far, &near] {
            assert_eq!(recording.widened([0, 0]), samples[3..7]);
            assert_eq!(recording.widened([1, 0]), samples[2..7]);
            assert_eq!(recording.widened([0, 1]), samples[3..8]);
        }
        assert_eq!(far.widened([3, 3]), samples);
        assert_eq!(far.widened([5, 4]), [&[0.0; 2], &samples[..], &[0.0]].concat());
        assert_eq!(near.widened([3, 2]), [&[0.0; 2], &samples[2..8], &[0.0]].concat());
        assert_eq!(whole.widened([1, 2]), [&[0.0], &samples[..], &[0.0; 2]].concat());
    }

    #[test]
    fn audio_is_loaded_with_as_much_of_its_silent_ends_as_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clip.wav");
        let front_end = FrontEnd { trim_top_db: Some(30.0), ..FrontEnd::whisper() };
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 16_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::create(&path, spec).unwrap();
        for i in 0..48_000 {
            let loudness = if (16_000..32_000).contains(&i) { 8_000.0 } else { 20.0 };
            writer.write_sample((loudness * (i as f32 * 0.3).sin()) as i16).unwrap();
        }
        writer.finalize().unwrap();
        let clip = Clip { path, ..Clip::bare("a", "s", "x", intone::Emotion::Sad) };
        let all = decode(&clip.path, &front_end).unwrap();
        let load = |ends_s: f64| {
            load_audio(std::slice::from_ref(&clip), &front_end, ends_s, &|_| ()).unwrap().remove(0)
        };
        let (bare, wide) = (load(0.0), load(0.5));
        assert_eq!(bare, Recording::whole(front_end.trimmed(&all)));
        assert_eq!(wide.trimmed(), bare.trimmed());
        let n = bare.trimmed().len();
        assert!((16_000..20_000).contains(&n), "{n}");
        let loud = |samples: &[f32]| samples.iter().any(|x| x.abs() > 0.01);
        let widened = wide.widened([8_000; 2]);
        assert_eq!(
            widened,
            all[all.windows(n).position(|part| part == bare.trimmed()).unwrap() - 8_000..][..n + 16_000]
        );
        assert!(!loud(&widened[..5_000]) && widened[..8_000].iter().any(|x| *x != 0.0));
    }

    #[test]
    fn cached_features_are_read_back_and_damaged_ones_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ab/cd.frames");
        let frames = Frames::from_values(4, (0..40).map(|i| i as f32 * 0.1 - 3.0).collect()).unwrap();
        write_cached(&path, &frames).unwrap();
        assert_eq!(read_cached(&path, 4).unwrap().values(), frames.values());
        let whole = std::fs::read(&path).unwrap();
        for damaged in [&whole[..whole.len() - 3], &whole[..8], &whole[1..], b""] {
            std::fs::write(&path, damaged).unwrap();
            assert!(read_cached(&path, 4).is_none());
        }
    }
}
