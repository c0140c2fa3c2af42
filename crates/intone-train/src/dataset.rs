//! From clips to the network's inputs: features computed once, kept on disk, and cut into windows.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use intone::audio::{Audio, SampleRate};
use intone::features::{Extractor, Frames, FrontEnd};
use rand::RngExt;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::augment::{AugmentConfig, augment};
use crate::corpus::Clip;
use crate::error::{Error, Result};
use crate::random::{Purpose, stream};

/// First bytes of a cached file: what it is, and the version of the way from audio to features. To be raised when
/// that way changes in any bit.
const MAGIC: &[u8; 8] = b"INTONEF1";

/// How many unreadable files an error names.
const MAX_NAMED: usize = 10;

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
    let done = AtomicUsize::new(0);
    let results: Vec<Result<Frames>> = clips
        .par_iter()
        .map(|clip| {
            let frames = cached(clip, &extractor, cache);
            progress(done.fetch_add(1, Ordering::Relaxed) + 1);
            frames
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

fn cached(clip: &Clip, extractor: &Extractor, cache: Option<&Path>) -> Result<Frames> {
    let n_mels = extractor.front_end().n_mels;
    let path = cache.map(|dir| cache_path(dir, clip, extractor.front_end()));
    if let Some(frames) = path.as_deref().and_then(|path| read_cached(path, n_mels)) {
        return Ok(frames);
    }
    let frames = compute(&clip.path, extractor)?;
    if let Some(path) = path {
        write_cached(&path, &frames).map_err(Error::io(&path))?;
    }
    Ok(frames)
}

/// Decodes, resamples, trims and transforms one file.
fn compute(path: &Path, extractor: &Extractor) -> Result<Frames> {
    let front_end = extractor.front_end();
    let frames = || -> intone::Result<Frames> {
        let audio = Audio::open(path)?.resample(SampleRate(front_end.sample_rate_hz))?;
        Ok(extractor.frames(front_end.trimmed(audio.samples())))
    };
    Ok(frames().map_err(|error| error.in_file(path))?)
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

/// Inputs to learn from. The only kind of set that can be augmented.
#[derive(Debug)]
pub struct TrainingSet {
    frames: Vec<Frames>,
    classes: Vec<usize>,
    front_end: FrontEnd,
    augment: AugmentConfig,
    seed: u64,
}

impl TrainingSet {
    /// The clips' features and classes, one each.
    pub fn new(
        clips: &[Clip],
        frames: Vec<Frames>,
        front_end: &FrontEnd,
        augment: &AugmentConfig,
        seed: u64,
    ) -> TrainingSet {
        let classes = clips.iter().map(|clip| clip.emotion.index()).collect();
        TrainingSet { frames, classes, front_end: front_end.clone(), augment: augment.clone(), seed }
    }

    /// Number of clips.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there are no clips.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The augmented windows `[n, n_mels, n_frames]` of these clips, and their classes. Clips that are longer than a
    /// window are cut at random. The same epoch gives the same windows.
    ///
    /// # Errors
    /// None for sets whose features come from [`load_features`] with the same front end.
    pub fn batch(&self, epoch: usize, clips: &[usize]) -> Result<(Vec<f32>, Vec<usize>)> {
        let windows = self.windows(epoch, clips, true)?;
        Ok((windows, clips.iter().map(|&clip| self.classes[clip]).collect()))
    }

    /// The same windows as they are, without augmentation.
    ///
    /// # Errors
    /// As [`TrainingSet::batch`].
    pub fn plain(&self, epoch: usize, clips: &[usize]) -> Result<Vec<f32>> {
        self.windows(epoch, clips, false)
    }

    fn windows(&self, epoch: usize, clips: &[usize], augmented: bool) -> Result<Vec<f32>> {
        let (len, n_frames) = (self.front_end.window_len(), self.front_end.n_frames);
        let mut windows = vec![0.0; clips.len() * len];
        windows.par_chunks_mut(len).zip(clips).try_for_each(|(window, &clip)| {
            let mut rng = stream(self.seed, Purpose::Augment, epoch as u64, clip as u64);
            let frames = &self.frames[clip];
            let start = rng.random_range(0..=frames.range().end - n_frames);
            frames.window(&self.front_end, start, window)?;
            if augmented {
                augment(window, n_frames, &self.augment, &mut rng);
            }
            Ok::<(), Error>(())
        })?;
        Ok(windows)
    }
}

/// Where the windows of a clip with this many frames start: half a window apart, the last one ending with the clip.
pub fn window_starts(n_frames: usize, front_end: &FrontEnd) -> Vec<usize> {
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

    #[test]
    fn a_batch_depends_on_epoch_and_clip_alone() {
        let frames: Vec<Frames> = (0..3)
            .map(|i| Frames::from_values(4, (0..4 * (12 + i)).map(|v| -(v as f32)).collect()).unwrap())
            .collect();
        let augment = AugmentConfig {
            time_masks: 1,
            time_mask_frames: 3,
            frequency_masks: 0,
            frequency_mask_bands: 0,
            noise_std: 0.1,
        };
        let set = TrainingSet { frames, classes: vec![2, 0, 1], front_end: front_end(), augment, seed: 3 };
        let (windows, classes) = set.batch(4, &[0, 1, 2]).unwrap();
        let (turned, turned_classes) = set.batch(4, &[2, 0]).unwrap();
        assert_eq!((classes, turned_classes), (vec![2, 0, 1], vec![1, 2]));
        assert_eq!(windows[80..], turned[..40]);
        assert_eq!(windows[..40], turned[40..]);
        assert_ne!(set.batch(5, &[0]).unwrap().0, windows[..40]);
    }
}
