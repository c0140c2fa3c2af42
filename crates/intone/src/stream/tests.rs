//! The streaming law, and what readings say.

use std::f32::consts::TAU;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::features::{FrontEnd, Style};
use crate::model::{Architecture, ModelMeta, VggConfig};
use crate::recognizer::Classifier;
use crate::testing::noise;
use crate::{Audio, Error};

const RATE: u32 = 8_000;

/// Tells low tones from high ones by the mean values of the lower and the upper bands.
struct Fake;

impl Classifier for Fake {
    fn n_embedding(&self) -> usize {
        2
    }

    fn embed(&self, windows: &[f32], n: usize) -> Result<Vec<f32>> {
        let mean = |values: &[f32]| 20.0 * values.iter().sum::<f32>() / values.len() as f32;
        let halves = |window: &[f32]| {
            let (low, high) = window.split_at(window.len() / 2);
            [mean(low), mean(high)]
        };
        Ok(windows.chunks_exact(windows.len() / n).flat_map(halves).collect())
    }

    fn classify(&self, embeddings: &[f32], _: usize) -> Vec<f32> {
        embeddings.to_vec()
    }
}

/// Windows of 1.024 s in the reference's manner, or up to that in Whisper's.
fn recognizer(style: Style) -> Recognizer {
    let front_end = FrontEnd {
        sample_rate_hz: RATE,
        n_fft: 512,
        hop_length: 256,
        n_mels: 16,
        fmax_hz: 4_000.0,
        n_frames: 32,
        style,
        ..FrontEnd::reference()
    };
    let architecture = Architecture::Vgg(VggConfig {
        channels: vec![1],
        convs_per_block: vec![1],
        dense: vec![],
        n_mels: 16,
        n_frames: 32,
        n_classes: 2,
    });
    let meta = ModelMeta::new(architecture, front_end, vec!["low".into(), "high".into()]);
    Recognizer::with_classifier(meta, Arc::new(Fake)).expect("a valid front end")
}

/// A tone that swells four times a second, as syllables do.
fn tone(frequency_hz: f32, duration_s: f32) -> Vec<f32> {
    let sample = |n: usize| {
        let t = n as f32 / RATE as f32;
        0.3 * (TAU * frequency_hz * t).sin() * (TAU * 2.0 * t).sin().abs()
    };
    (0..(duration_s * RATE as f32) as usize).map(sample).collect()
}

fn silence(duration_s: f32) -> Vec<f32> {
    vec![0.0; (duration_s * RATE as f32) as usize]
}

fn timeline(recognizer: &Recognizer, samples: &[f32], window: Window) -> Vec<Reading> {
    let audio = Audio::new(samples.to_vec(), SampleRate(RATE)).expect("valid samples");
    recognizer.timeline(&audio, window).expect("a window that fits")
}

fn window() -> Window {
    Window::default().hop(0.25).smoothing(0.0)
}

fn labels(readings: &[Reading]) -> Vec<(f64, f64, Option<&str>)> {
    readings.iter().map(|reading| (reading.start_s, reading.end_s, reading.scores.label())).collect()
}

#[test]
fn each_part_of_a_recording_has_its_emotion_and_silence_is_a_gap() {
    for style in [Style::Librosa, Style::Whisper] {
        let recognizer = recognizer(style);
        let samples = [tone(300.0, 4.0), silence(3.0), tone(3_000.0, 4.0)].concat();
        let readings = timeline(&recognizer, &samples, window());
        let spans = crate::timeline::join(readings.clone());
        let got: Vec<_> = spans.iter().map(|span| span.scores.label()).collect();
        assert_eq!(got, [Some("low"), None, Some("high")], "{style:?}: {:?}", labels(&readings));
        for (span, (start_s, end_s)) in spans.iter().zip([(0.0, 4.0), (4.0, 7.0), (7.0, 11.0)]) {
            assert!((span.start_s - start_s).abs() <= 0.26 && (span.end_s - end_s).abs() <= 0.26, "{span:?}");
            assert_eq!(span.scores.silence, span.voice < 0.2, "{span:?}");
            assert!((span.scores.duration_s - (span.end_s - span.start_s)).abs() < 1e-9);
        }
        assert_eq!(spans.iter().map(|span| span.scores.n_windows).sum::<usize>(), readings.len());
    }
}

#[test]
fn readings_follow_each_other_from_the_beginning_to_the_end() {
    for style in [Style::Librosa, Style::Whisper] {
        let recognizer = recognizer(style);
        for n in [1, 100, 8_000, 8_192, 8_193, 12_000, 16_384, 24_000, 33_333] {
            for hop_s in [0.1, 0.25, 0.9] {
                let readings = timeline(&recognizer, &noise(n, 1), window().hop(hop_s));
                let mut told_s = 0.0;
                for reading in &readings {
                    assert_eq!(reading.start_s, told_s, "{n} samples, {hop_s} s: {:?}", labels(&readings));
                    assert!(reading.end_s > reading.start_s, "{n}, {hop_s}: {:?}", labels(&readings));
                    assert!((0.0..=1.0).contains(&reading.voice), "{reading:?}");
                    told_s = reading.end_s;
                }
                assert_eq!(told_s, n as f64 / f64::from(RATE), "{n} samples, {hop_s} s");
            }
        }
    }
}

#[test]
fn a_recording_of_one_window_is_read_as_it_is_recognised() {
    for style in [Style::Librosa, Style::Whisper] {
        let recognizer = recognizer(style);
        for duration_s in [0.05, 0.4, 0.9] {
            let samples = tone(3_000.0, duration_s);
            let readings = timeline(&recognizer, &samples, Window::default());
            let audio = Audio::new(samples, SampleRate(RATE)).unwrap();
            assert_eq!(readings.len(), 1);
            assert_eq!(readings[0].scores, recognizer.recognize(&audio).unwrap(), "{style:?} {duration_s}");
        }
    }
}

#[test]
fn smoothing_follows_slowly_and_forgets_at_gaps() {
    let recognizer = recognizer(Style::Librosa);
    let samples = [tone(300.0, 3.0), tone(3_000.0, 3.0), silence(2.0), tone(3_000.0, 2.0)].concat();
    let raw = timeline(&recognizer, &samples, window());
    let smooth = timeline(&recognizer, &samples, window().smoothing(0.5));
    let weight = 1.0 - (-0.5f64).exp();
    let mut expected = None;
    for (raw, smooth) in raw.iter().zip(&smooth) {
        let x = f64::from(raw.scores.probabilities()[0]);
        expected = match expected {
            _ if raw.scores.silence => None,
            None => Some(x),
            Some(before) => Some(before + weight * (x - before)),
        };
        assert_eq!(smooth.scores.silence, raw.scores.silence);
        if let Some(expected) = expected {
            let got = f64::from(smooth.scores.probabilities()[0]);
            assert!((got - expected).abs() < 1e-5, "{got} for {expected}");
        }
    }
}

#[test]
fn a_reading_comes_soon_after_its_window() {
    let recognizer = recognizer(Style::Librosa);
    let mut stream = recognizer.stream_of(SampleRate(48_000), window()).unwrap();
    let mut n_readings = 0;
    for (n, chunk) in noise(48_000 * 4, 1).chunks(480).enumerate() {
        n_readings += stream.push(chunk).unwrap().len();
        let heard_s = (n + 1) as f64 / 100.0;
        // The k-th window, counted from 0, ends at 0.992 s + k hops.
        let due = ((heard_s - 0.1 - stream.window_s()) / 0.25 + 1.0).floor().max(0.0);
        assert!(n_readings as f64 >= due, "{n_readings} readings after {heard_s} s");
    }
    assert!(n_readings > 10);
}

#[test]
fn samples_that_no_sound_has_are_refused_and_the_stream_goes_on() {
    let recognizer = recognizer(Style::Librosa);
    let error = recognizer.stream_of(SampleRate(RATE), window().hop(1.0)).unwrap_err();
    assert_eq!(error.to_string(), "hop: expected 0.1 to 0.992 s, got 1 s");
    let error = recognizer.stream(SampleRate(0)).unwrap_err();
    assert!(error.to_string().starts_with("sample rate: "), "{error}");
    let mut stream = recognizer.stream_of(SampleRate(RATE), window()).unwrap();
    stream.push(&[0.5; 10]).unwrap();
    let error = stream.push(&[0.5, f32::NAN]).unwrap_err();
    assert!(matches!(error, Error::BadSample { index: 11, .. }), "{error}");
    assert_eq!(stream.duration_s(), 10.0 / f64::from(RATE));
    assert_eq!(stream.finish().unwrap().len(), 1);
    assert!(recognizer.stream_of(SampleRate(RATE), window()).unwrap().finish().unwrap().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// The streaming law.
    #[test]
    fn any_chunks_give_the_readings_of_the_batch(
        n_samples in 0usize..60_000,
        cuts in prop::collection::vec(0usize..60_000, 0..40),
        quiet in prop::collection::vec(0usize..60_000, 0..3),
        rate in prop_oneof![Just(8_000u32), Just(11_025), Just(16_000), Just(48_000)],
        hop_s in 0.1f64..0.9,
        smoothing_s in prop_oneof![Just(0.0), 0.1f64..3.0],
        style in prop_oneof![Just(Style::Librosa), Just(Style::Whisper)],
        // With frames that are shorter than their hop the end comes as a surprise.
        n_fft in prop_oneof![Just(512usize), Just(256)],
        trim_top_db in prop_oneof![Just(None), Just(Some(30.0))],
    ) {
        let mut meta = recognizer(style).meta().clone();
        (meta.front_end.n_fft, meta.front_end.trim_top_db) = (n_fft, trim_top_db);
        let recognizer = Recognizer::with_classifier(meta, Arc::new(Fake)).unwrap();
        let mut samples = noise(n_samples, 1);
        for from in quiet {
            samples.iter_mut().skip(from).take(15_000).for_each(|x| *x *= 1e-4);
        }
        let window = Window::default().hop(hop_s).smoothing(smoothing_s);
        let read = |pieces: &[&[f32]]| -> Vec<Reading> {
            let mut stream = recognizer.stream_of(SampleRate(rate), window).unwrap();
            let mut readings = Vec::new();
            for piece in pieces {
                readings.extend(stream.push(piece).unwrap());
            }
            readings.extend(stream.finish().unwrap());
            readings
        };
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(n_samples)).chain([0, n_samples]).collect();
        cuts.sort_unstable();
        let pieces: Vec<&[f32]> = cuts.windows(2).map(|w| &samples[w[0]..w[1]]).collect();
        let whole = read(&[&samples]);
        prop_assert_eq!(&read(&pieces), &whole);
        if n_samples > 0 {
            let audio = Audio::new(samples, SampleRate(rate)).unwrap();
            prop_assert_eq!(&recognizer.timeline(&audio, window).unwrap(), &whole);
            prop_assert_eq!(whole.last().unwrap().end_s, n_samples as f64 / f64::from(rate));
        }
    }
}
