//! What an answer rests on: parts of the log-mel picture are hidden, one after the other, and the answer is asked for again
//! (occlusion; Zeiler and Fergus 2014). This needs nothing of the network but its answers.
//!
//! Where a picture of evidence looks the same for a network of random weights, it shows edges and not evidence (Adebayo et
//! al. 2018): [`randomised`] makes such a network, and [`rank_correlation`] compares.

use std::collections::BTreeMap;

use intone::features::{Frames, FrontEnd};
use intone::model::{Calibration, Model, Tensor};
use intone::recognizer::{Seen, View};
use rand::Rng;

use crate::error::{Error, Result};
use crate::evaluate::{logits_of, pooled};
use crate::random::{Purpose, normal, stream};

/// Height and width of what is hidden at once: an eighth of the bands, a quarter of a second. A vowel is as long.
const PATCH_BANDS: usize = 8;
const PATCH_S: f64 = 0.25;

/// The longest recording that is explained, seconds: the work grows with the square of the length.
pub const MAX_EXPLAINED_S: f64 = 30.0;

/// What is explained: what a network was shown of a recording.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// The frames.
    pub frames: &'a Frames,
    /// Number of those that the recording has of its own. What fills a short one up is no evidence, and stays.
    pub n_own: usize,
    /// The windows that have a say in the answer, and what each counts.
    pub windows: &'a [Seen],
}

impl<'a> From<&'a View> for Shown<'a> {
    fn from(view: &'a View) -> Shown<'a> {
        Shown { frames: &view.frames, n_own: view.n_own, windows: &view.windows }
    }
}

/// Evidence for one class.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// The class, as an index of the model's labels.
    pub class: usize,
    /// Its probability on the whole recording.
    pub probability: f32,
    /// How much the log-odds of the class fall when this place is hidden, nats, `[n_mels, n_own]`, row-major: the mean
    /// over all patches that hide it. Above 0 the place speaks for the class, below 0 against it.
    pub values: Vec<f32>,
}

/// Hides patches of the frames, half a patch apart, in the mean of their band over the recording. `class` is the most
/// probable one where it is not given. `progress` is told how many patches were hidden, and of how many.
///
/// # Errors
/// Features that do not fit the model, a recording longer than [`MAX_EXPLAINED_S`], and one without a window that has a say.
pub fn occlusion(
    model: &Model,
    front_end: &FrontEnd,
    calibration: Calibration,
    shown: Shown<'_>,
    class: Option<usize>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Evidence> {
    let Shown { frames, n_own, windows } = shown;
    let (n_own, n_mels) = (n_own.min(frames.range().len()), frames.n_mels());
    let frame_s = front_end.frames_s(1);
    if n_own as f64 * frame_s > MAX_EXPLAINED_S + 1.0 {
        return Err(Error::Config {
            key: "the recording".into(),
            expected: format!("at most {MAX_EXPLAINED_S} s to explain"),
            actual: format!("{:.1} s", n_own as f64 * frame_s),
        });
    }
    if windows.is_empty() {
        return Err(Error::Empty("silence has no evidence for anything".to_owned()));
    }
    let values = frames.values();
    let mean = |mel: usize| {
        let own = values.iter().skip(mel).step_by(n_mels).take(n_own);
        own.sum::<f32>() / n_own.max(1) as f32
    };
    let means: Vec<f32> = (0..n_mels).map(mean).collect();
    let size = (n_mels.div_ceil(PATCH_BANDS).max(1), ((PATCH_S / frame_s).round() as usize).max(1));
    let starts = |n: usize, size: usize| -> Vec<usize> {
        (0..n.saturating_sub(size).max(1))
            .step_by((size / 2).max(1))
            .chain([n.saturating_sub(size)])
            .collect()
    };
    let mut places: Vec<(usize, usize)> = starts(n_mels, size.0)
        .into_iter()
        .flat_map(|mel| starts(n_own, size.1).into_iter().map(move |frame| (mel, frame)))
        .collect();
    places.sort_unstable();
    places.dedup();
    let hidden = |&(mel, frame): &(usize, usize)| {
        let mut values = values.to_vec();
        for row in values.chunks_exact_mut(n_mels).take(n_own).skip(frame).take(size.1) {
            let bands = mel..(mel + size.0).min(n_mels);
            row[bands.clone()].copy_from_slice(&means[bands]);
        }
        Frames::from_values(n_mels, values)
    };
    let probabilities = |frames: &[Frames]| -> Result<Vec<Vec<f32>>> {
        let logits = logits_of(model, front_end, frames.iter().map(|frames| (frames, windows)))?;
        Ok(logits.iter().map(|logits| pooled(logits, calibration).to_vec()).collect())
    };
    let whole = probabilities(std::slice::from_ref(frames))?.remove(0);
    let best = |p: &[f32]| (0..p.len()).fold(0, |best, class| if p[class] > p[best] { class } else { best });
    let class = class.unwrap_or_else(|| best(&whole));
    let probability = whole.get(class).copied().unwrap_or_default();
    let (mut sums, mut counts) = (vec![0.0f32; n_mels * n_own], vec![0.0f32; n_mels * n_own]);
    let (mut n_hidden, n_places) = (0, places.len());
    // A part of the patches at a time: their frames take memory.
    for places in places.chunks(64) {
        let frames = places.iter().map(hidden).collect::<intone::Result<Vec<_>>>()?;
        for (&(mel, frame), answer) in places.iter().zip(probabilities(&frames)?) {
            let fall = log_odds(probability) - log_odds(answer[class]);
            for band in mel..(mel + size.0).min(n_mels) {
                for at in frame..(frame + size.1).min(n_own) {
                    sums[band * n_own + at] += fall;
                    counts[band * n_own + at] += 1.0;
                }
            }
        }
        n_hidden += places.len();
        progress(n_hidden, n_places);
    }
    let values = sums.iter().zip(&counts).map(|(sum, n)| sum / n.max(1.0)).collect();
    Ok(Evidence { class, probability, values })
}

fn log_odds(p: f32) -> f32 {
    let p = p.clamp(1e-6, 1.0 - 1e-6);
    (p / (1.0 - p)).ln()
}

/// The same network with weights drawn anew, each tensor with its own mean and spread. Statistics of normalisation and all
/// other vectors stay, so that its layers still see numbers of the size that they were made for.
pub fn randomised(tensors: &BTreeMap<String, Tensor>, seed: u64) -> BTreeMap<String, Tensor> {
    let redrawn = |(number, (name, tensor)): (u64, (&String, &Tensor))| {
        if tensor.shape.len() < 2 {
            return (name.clone(), tensor.clone());
        }
        let mut rng = stream(seed, Purpose::Weights, number, 0);
        (name.clone(), Tensor { shape: tensor.shape.clone(), data: drawn_like(&tensor.data, &mut rng) })
    };
    (0..).zip(tensors).map(redrawn).collect()
}

fn drawn_like(values: &[f32], rng: &mut impl Rng) -> Vec<f32> {
    let n = values.len().max(1) as f64;
    let mean = values.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
    let variance = values.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n;
    values.iter().map(|_| mean as f32 + variance.sqrt() as f32 * normal(rng)).collect()
}

/// Spearman's rank correlation of two pictures, in [-1, 1]; equal values share the mean of their ranks. 0 where one of
/// them is the same everywhere.
pub fn rank_correlation(a: &[f32], b: &[f32]) -> f64 {
    let (a, b) = (ranks(a), ranks(b));
    let n = a.len().min(b.len()).max(1) as f64;
    let mean = |x: &[f64]| x.iter().sum::<f64>() / n;
    let (mean_a, mean_b) = (mean(&a), mean(&b));
    let (mut dot, mut square_a, mut square_b) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(&b) {
        dot += (x - mean_a) * (y - mean_b);
        square_a += (x - mean_a).powi(2);
        square_b += (y - mean_b).powi(2);
    }
    let size = (square_a * square_b).sqrt();
    if size > 0.0 { dot / size } else { 0.0 }
}

fn ranks(values: &[f32]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    for group in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let rank = first as f64 + (group.len() - 1) as f64 / 2.0;
        group.iter().for_each(|&at| ranks[at] = rank);
        first += group.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use intone::model::{Architecture, VggConfig};

    use super::*;

    /// A network whose answer depends on the upper half of the bands alone: its one dense layer looks nowhere else.
    fn looks_up(n_mels: usize, n_frames: usize) -> (Model, BTreeMap<String, Tensor>) {
        let config = VggConfig {
            channels: vec![32],
            convs_per_block: vec![1],
            dense: vec![],
            n_mels,
            n_frames,
            n_classes: 6,
        };
        let mut tensors = BTreeMap::new();
        let mut put = |name: &str, shape: &[usize], data: Vec<f32>| {
            tensors.insert(name.to_owned(), Tensor { shape: shape.to_vec(), data });
        };
        // Every channel is the picture itself.
        let kernel: Vec<f32> = (0..32 * 9).map(|i| if i % 9 == 4 { 1.0 } else { 0.0 }).collect();
        put("blocks.0.convs.0.weight", &[32, 1, 3, 3], kernel);
        for (part, value) in [("gamma", 1.0), ("beta", 0.0), ("mean", 0.0), ("var", 1.0)] {
            put(&format!("blocks.0.convs.0.norm.{part}"), &[32], vec![value; 32]);
        }
        let n_pooled = 32 * (n_mels / 2) * (n_frames / 2);
        let in_upper_half = |i: usize| i / (n_frames / 2 * 32) >= n_mels / 4;
        let weight = (0..6 * n_pooled).map(|i| {
            let of_first_class = i < n_pooled && in_upper_half(i % n_pooled);
            if of_first_class { 0.01 } else { 0.0 }
        });
        put("output.weight", &[6, n_pooled], weight.collect());
        put("output.bias", &[6], vec![0.0; 6]);
        (Model::new(&Architecture::Vgg(config), tensors.clone()).unwrap(), tensors)
    }

    fn explain(
        model: &Model,
        front_end: &FrontEnd,
        frames: &Frames,
        n_own: usize,
        windows: &[(std::ops::Range<usize>, f64)],
        class: Option<usize>,
    ) -> Result<Evidence> {
        let seen = |(frames, weight): &(std::ops::Range<usize>, f64)| Seen {
            frames: frames.clone(),
            weight: *weight,
        };
        let windows: Vec<Seen> = windows.iter().map(seen).collect();
        let shown = Shown { frames, n_own, windows: &windows };
        let (mut told, mut total) = (0, 0);
        let mut tell = |done, of| (told, total) = (done, of);
        let evidence = occlusion(model, front_end, Calibration::default(), shown, class, &mut tell)?;
        assert!(told == total && total > 0, "{told} of {total}");
        Ok(evidence)
    }

    #[test]
    fn evidence_lies_where_the_network_looks_and_elsewhere_for_random_weights() {
        let front_end = FrontEnd { n_mels: 16, n_frames: 16, trim_top_db: None, ..FrontEnd::reference() };
        let (model, tensors) = looks_up(16, 16);
        // Loud in the middle frames of all bands.
        let values = (0..16 * 16).map(|i| if (4..12).contains(&(i / 16)) { 0.0 } else { -60.0 });
        let frames = Frames::from_values(16, values.collect()).unwrap();
        let evidence = explain(&model, &front_end, &frames, 16, &[(0..16, 1.0)], None).unwrap();
        assert_eq!((evidence.class, evidence.values.len()), (0, 256));
        let sum = |bands: std::ops::Range<usize>| {
            bands
                .flat_map(|mel| (0..16).map(move |frame| mel * 16 + frame))
                .map(|i| evidence.values[i].abs())
                .sum::<f32>()
        };
        assert!(sum(10..16) > 50.0 * sum(0..6), "{} {}", sum(10..16), sum(0..6));
        let random = Model::new(
            &Architecture::Vgg(VggConfig {
                channels: vec![32],
                convs_per_block: vec![1],
                dense: vec![],
                n_mels: 16,
                n_frames: 16,
                n_classes: 6,
            }),
            randomised(&tensors, 1),
        );
        let other = explain(&random.unwrap(), &front_end, &frames, 16, &[(0..16, 1.0)], Some(0)).unwrap();
        let likeness = rank_correlation(&evidence.values, &other.values);
        assert!(likeness.abs() < 0.7, "{likeness}");
        let long = Frames::from_values(16, vec![0.0; 16 * 2000]).unwrap();
        let error = explain(&model, &front_end, &long, 2000, &[(0..16, 1.0)], None).unwrap_err();
        assert!(error.to_string().contains("at most 30 s"), "{error}");
        let error = explain(&model, &front_end, &frames, 16, &[], None).unwrap_err();
        assert!(error.to_string().contains("silence"), "{error}");
    }

    #[test]
    fn evidence_is_of_the_recording_and_of_windows_that_have_a_say() {
        let front_end = FrontEnd { n_mels: 16, n_frames: 16, trim_top_db: None, ..FrontEnd::reference() };
        let (model, _) = looks_up(16, 16);
        // 32 frames of its own, and behind them what fills up. A patch reaches over 11 frames.
        let values = (0..16 * 40).map(|i| if i / 16 < 32 { (i % 7) as f32 - 3.0 } else { -100.0 });
        let frames = Frames::from_values(16, values.collect()).unwrap();
        let strength = |values: &[f32], at: std::ops::Range<usize>| -> f32 {
            at.flat_map(|frame| (8..16).map(move |mel| values[mel * 32 + frame].abs())).sum()
        };
        let one = explain(&model, &front_end, &frames, 32, &[(0..16, 1.0)], None).unwrap();
        assert_eq!(one.values.len(), 16 * 32);
        let (first, last) = (strength(&one.values, 0..6), strength(&one.values, 26..32));
        assert!(first > 0.0 && last == 0.0, "{first} {last}");
        let two = explain(&model, &front_end, &frames, 32, &[(0..16, 9.0), (16..32, 1.0)], None).unwrap();
        let (first, last) = (strength(&two.values, 0..6), strength(&two.values, 26..32));
        assert!(first > 3.0 * last && last > 0.0, "{first} {last}");
    }

    #[test]
    fn rank_correlation_is_spearmans() {
        // scipy.stats.spearmanr([1, 2, 2, 4, 5], [3, 1, 4, 4, 9])
        assert!(
            (rank_correlation(&[1.0, 2.0, 2.0, 4.0, 5.0], &[3.0, 1.0, 4.0, 4.0, 9.0]) - 0.763_157_894_7)
                .abs()
                < 1e-9
        );
        assert_eq!(rank_correlation(&[1.0, 2.0, 3.0], &[30.0, 20.0, 10.0]), -1.0);
        assert_eq!(rank_correlation(&[1.0; 4], &[1.0, 2.0, 3.0, 4.0]), 0.0);
    }

    #[test]
    fn random_weights_have_the_spread_of_the_learned_ones() {
        let (_, tensors) = looks_up(16, 16);
        let random = randomised(&tensors, 3);
        let spread = |tensor: &Tensor| {
            let n = tensor.data.len() as f32;
            let mean = tensor.data.iter().sum::<f32>() / n;
            (tensor.data.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / n).sqrt()
        };
        let name = "output.weight";
        assert!((spread(&random[name]) / spread(&tensors[name]) - 1.0).abs() < 0.05);
        assert_ne!(random[name].data, tensors[name].data);
        assert_eq!(random["output.bias"], tensors["output.bias"]);
    }
}
