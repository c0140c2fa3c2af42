//! From a recording to the emotions in it: the whole way, in one value.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::Result;
use crate::audio::{Audio, AudioStream, Resampler, SampleRate};
use crate::features::{Extractor, FrontEnd};
use crate::model::file::read_limited;
use crate::model::{Model, ModelError, ModelFile, ModelMeta};
use crate::parallel::in_pool;
use crate::scores::{Scores, Votes};
use crate::stream::Stream;
use crate::timeline::{Reading, Window};
use crate::window::{Cut, Windows};

/// The longest recording whose silent ends are trimmed where the front end asks for it, seconds.
///
/// Trimming needs the whole recording: its loudest frame decides what is silent. A minute is longer than any
/// utterance, and little memory; a longer recording is looked at untrimmed, in one pass, and its silent
/// windows have no say anyway.
pub const MAX_TRIMMED_S: f64 = 60.0;

/// The most windows that go through the network at once. More are not faster, and each takes nine megabytes
/// of activations in the reference network.
const MAX_BATCH: usize = 4;

/// The largest batch in numbers, for models with huge windows: 64 MiB.
const MAX_BATCH_VALUES: usize = 1 << 24;

/// Samples that are looked at together, so that the memory for their frames stays small.
const N_PIECE: usize = 1 << 15;

/// A trained model, ready to recognise. Cheap to clone; one serves any number of threads.
///
/// A recording is brought to the front end's sample rate and, where the front end asks for it and the
/// recording lasts at most [`MAX_TRIMMED_S`], freed of its silent ends. It is cut into windows that overlap by
/// half, the last ending with the recording. The answer is the mean of the windows' probabilities. A window in
/// which the recording swings less than 60 dB below full scale is silent and has no say; where all are, the
/// answer is [`Scores::silence`].
#[derive(Clone)]
pub struct Recognizer {
    meta: Arc<ModelMeta>,
    labels: Arc<[String]>,
    extractor: Extractor,
    classifier: Arc<dyn Classifier>,
}

/// The model file that is part of the library: Whisper's smallest encoder, fine-tuned for emotions, int8. Its card is
/// `models/MODEL_CARD.md`.
pub static EMBEDDED_MODEL: &[u8] = include_bytes!("../models/default.safetensors");

impl Recognizer {
    /// The model that is part of the library, [`EMBEDDED_MODEL`].
    ///
    /// # Errors
    /// None; the signature is that of the other constructors.
    pub fn embedded() -> Result<Recognizer> {
        Recognizer::from_bytes(EMBEDDED_MODEL)
    }

    /// Reads a model file.
    ///
    /// # Errors
    /// [`Error::Model`](crate::Error::Model) with what is wrong with it, in the file's name.
    pub fn open(path: impl AsRef<Path>) -> Result<Recognizer> {
        let path = path.as_ref();
        let read = || Recognizer::from_bytes(&read_limited(path)?);
        read().map_err(|error| error.in_file(path))
    }

    /// Reads a model file that lies in memory.
    ///
    /// # Errors
    /// [`Error::Model`](crate::Error::Model) with what is wrong with it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Recognizer> {
        let (meta, model) = Model::from_bytes(bytes)?;
        Recognizer::with_classifier(meta, Arc::new(model))
    }

    /// Builds the network of a model file that was read, or made by training: in single precision, see [`Model::from_bytes`].
    ///
    /// # Errors
    /// [`Error::Model`](crate::Error::Model) with what is wrong with it.
    pub fn from_file(file: ModelFile) -> Result<Recognizer> {
        file.meta.validate()?;
        let model = Model::new(&file.meta.architecture, file.tensors)?;
        Recognizer::with_classifier(file.meta, Arc::new(model))
    }

    /// The classes, in the order of every answer.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// What the model file says about the model.
    pub fn meta(&self) -> &ModelMeta {
        &self.meta
    }

    /// Recognises the emotions in a recording.
    ///
    /// # Errors
    /// [`Error::Model`](crate::Error::Model) where the network does not answer with numbers.
    pub fn recognize(&self, audio: &Audio) -> Result<Scores> {
        in_pool(|| {
            let mut pass = Pass::new(self, audio.sample_rate())?;
            pass.push(audio.samples())?;
            pass.finish()
        })
    }

    /// Recognises the emotions in a recording of any length while it is being decoded, in bounded memory. The
    /// answer is the same as for the whole recording at once.
    ///
    /// # Errors
    /// What is wrong with the recording; [`Error::Model`](crate::Error::Model) where the network does not answer
    /// with numbers.
    pub fn recognize_stream(&self, stream: &mut AudioStream) -> Result<Scores> {
        let mut pass = Pass::new(self, stream.sample_rate())?;
        while let Some(samples) = stream.next_chunk()? {
            pass.push(samples)?;
        }
        pass.finish()
    }

    /// As [`recognize_stream`](Recognizer::recognize_stream), as long as `go_on` says so: after each piece it is told how
    /// much of the recording was decoded, seconds. `None` where it said no: for a limit on length or time.
    ///
    /// # Errors
    /// As [`recognize_stream`](Recognizer::recognize_stream).
    pub fn recognize_while(
        &self,
        stream: &mut AudioStream,
        mut go_on: impl FnMut(f64) -> bool,
    ) -> Result<Option<Scores>> {
        let mut pass = Pass::new(self, stream.sample_rate())?;
        while let Some(samples) = stream.next_chunk()? {
            pass.push(samples)?;
            if !go_on(pass.duration_s()) {
                return Ok(None);
            }
        }
        pass.finish().map(Some)
    }

    /// As [`recognize`](Recognizer::recognize), as long as `go_on` says so, which is told as in
    /// [`recognize_while`](Recognizer::recognize_while).
    ///
    /// # Errors
    /// As [`recognize`](Recognizer::recognize).
    pub fn recognize_audio_while(
        &self,
        audio: &Audio,
        mut go_on: impl FnMut(f64) -> bool,
    ) -> Result<Option<Scores>> {
        let mut pass = Pass::new(self, audio.sample_rate())?;
        for samples in audio.samples().chunks(N_PIECE) {
            pass.push(samples)?;
            if !go_on(pass.duration_s()) {
                return Ok(None);
            }
        }
        pass.finish().map(Some)
    }

    /// What is to be heard over the course of a recording: a reading for every hop, see [`Window`]. Join them with
    /// [`timeline::join`](crate::timeline::join) to get spans of the same emotion. Silent ends are gaps, and never trimmed;
    /// else a recording of one window is read as [`recognize`](Recognizer::recognize) does.
    ///
    /// For a recording of any length in bounded memory, push what is decoded into a [`Stream`]: the readings are the same.
    ///
    /// # Errors
    /// [`Error::OutOfRange`](crate::Error::OutOfRange) for a window that does not fit the model;
    /// [`Error::Model`](crate::Error::Model) where the network does not answer with numbers.
    pub fn timeline(&self, audio: &Audio, window: Window) -> Result<Vec<Reading>> {
        let mut stream = self.stream_of(audio.sample_rate(), window)?;
        let mut readings = stream.push(audio.samples())?;
        readings.extend(stream.finish()?);
        Ok(readings)
    }

    /// The lengths of [`Window`] that this model takes, seconds: one only, or a range.
    pub fn window_s(&self) -> std::ops::RangeInclusive<f64> {
        crate::timeline::lengths_s(self.extractor.front_end())
    }

    /// Recognises audio while it arrives, mono at this rate, with the model's own [`Window`].
    ///
    /// # Errors
    /// [`Error::OutOfRange`](crate::Error::OutOfRange) for a rate that cannot be.
    pub fn stream(&self, sample_rate: SampleRate) -> Result<Stream> {
        self.stream_of(sample_rate, Window::default())
    }

    /// Recognises audio while it arrives, mono at this rate, in the windows that are asked for.
    ///
    /// # Errors
    /// [`Error::OutOfRange`](crate::Error::OutOfRange) for a rate that cannot be, or a window that does not fit the model.
    pub fn stream_of(&self, sample_rate: SampleRate, window: Window) -> Result<Stream> {
        Stream::new(self, sample_rate, window)
    }

    /// What the network makes of a recording before it decides; see [`Scores::embedding`].
    ///
    /// # Errors
    /// As [`Recognizer::recognize`].
    pub fn embed(&self, audio: &Audio) -> Result<Vec<f32>> {
        Ok(self.recognize(audio)?.embedding().to_vec())
    }

    /// What is ready to make frames for this model.
    pub(crate) fn extractor(&self) -> &Extractor {
        &self.extractor
    }

    /// Adds what the network says of `n` windows of one length, `[n, n_mels, n_frames]`, to `votes`.
    pub(crate) fn vote(&self, windows: &[f32], n: usize, votes: &mut Votes) -> Result<()> {
        let n_labels = self.labels.len();
        let front_end = self.extractor.front_end();
        let sound_s = front_end.frames_s(windows.len() / (n * front_end.n_mels));
        let embeddings = self.classifier.embed(windows, n)?;
        let logits = self.classifier.classify(&embeddings, n);
        if logits.len() != n * n_labels || !logits.iter().all(|x| x.is_finite()) {
            return Err(ModelError::Answer.into());
        }
        let embeddings = embeddings.chunks_exact(self.classifier.n_embedding());
        for (logits, embedding) in logits.chunks_exact(n_labels).zip(embeddings) {
            votes.add(logits, embedding, self.meta.calibration(), sound_s);
        }
        Ok(())
    }

    /// No votes yet.
    pub(crate) fn votes(&self) -> Votes {
        Votes::new(self.labels.len(), self.classifier.n_embedding())
    }

    /// The answer that votes make, on so many seconds of a recording.
    pub(crate) fn scores(&self, votes: &Votes, duration_s: f64) -> Scores {
        votes.scores(self.labels.clone(), duration_s, self.meta.uncertain_below)
    }

    pub(crate) fn with_classifier(meta: ModelMeta, classifier: Arc<dyn Classifier>) -> Result<Recognizer> {
        let extractor = Extractor::new(&meta.front_end)?;
        log::info!("model: {:?}, classes {}", meta.architecture, meta.labels.join(", "));
        let labels = meta.labels.clone().into();
        Ok(Recognizer { meta: Arc::new(meta), labels, extractor, classifier })
    }
}

impl fmt::Debug for Recognizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recognizer").field("meta", &self.meta).finish_non_exhaustive()
    }
}

/// What the pipeline needs of a network; the seam where tests put in another.
pub(crate) trait Classifier: Send + Sync {
    /// Values of an embedding.
    fn n_embedding(&self) -> usize;

    /// From windows, `[n, n_mels, n_frames]`, to embeddings, `[n, n_embedding]`.
    fn embed(&self, windows: &[f32], n: usize) -> Result<Vec<f32>>;

    /// From `n` embeddings to logits, `[n, n_classes]`.
    fn classify(&self, embeddings: &[f32], n: usize) -> Vec<f32>;
}

impl Classifier for Model {
    fn n_embedding(&self) -> usize {
        Model::n_embedding(self)
    }

    fn embed(&self, windows: &[f32], n: usize) -> Result<Vec<f32>> {
        Model::embed(self, windows, n)
    }

    fn classify(&self, embeddings: &[f32], n: usize) -> Vec<f32> {
        Model::classify(self, embeddings, n)
    }
}

/// The way of one recording through the recogniser.
struct Pass<'a> {
    recognizer: &'a Recognizer,
    sample_rate: SampleRate,
    n_samples: u64,
    resampler: Resampler,
    resampled: Vec<f32>,
    /// The recording so far, as long as it may yet be trimmed.
    held: Option<Vec<f32>>,
    windows: Windows,
    batch: Batch<'a>,
}

impl<'a> Pass<'a> {
    fn new(recognizer: &'a Recognizer, sample_rate: SampleRate) -> Result<Pass<'a>> {
        let front_end = recognizer.extractor.front_end();
        Ok(Pass {
            recognizer,
            sample_rate,
            n_samples: 0,
            resampler: Resampler::new(sample_rate, SampleRate(front_end.sample_rate_hz))?,
            resampled: Vec::new(),
            held: front_end.trim_top_db.map(|_| Vec::new()),
            windows: Windows::new(&recognizer.extractor, sample_rate, Cut::by_half(front_end)),
            batch: Batch::new(recognizer),
        })
    }

    fn push(&mut self, samples: &[f32]) -> Result<()> {
        for piece in samples.chunks(N_PIECE) {
            self.n_samples += piece.len() as u64;
            self.resampled.clear();
            self.windows.listen(piece);
            self.resampler.push(piece, &mut self.resampled);
            self.take_resampled()?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Scores> {
        self.resampled.clear();
        self.resampler.finish(&mut self.resampled);
        self.take_resampled()?;
        if let Some(mut held) = self.held.take() {
            let front_end = self.recognizer.extractor.front_end();
            let kept = front_end.kept(&mut held);
            self.windows.skip(kept.start);
            self.look_at(&held[kept])?;
        }
        self.windows.finish();
        self.cut_windows()?;
        self.batch.classify()?;
        Ok(self.recognizer.scores(&self.batch.votes, self.duration_s()))
    }

    /// Length of the recording so far, seconds.
    fn duration_s(&self) -> f64 {
        self.n_samples as f64 / f64::from(self.sample_rate.0)
    }

    /// What was resampled is held back as long as it may be trimmed, else looked at.
    fn take_resampled(&mut self) -> Result<()> {
        let resampled = std::mem::take(&mut self.resampled);
        match &mut self.held {
            None => self.look_at(&resampled)?,
            Some(held) => {
                held.extend_from_slice(&resampled);
                if held.len() > self.recognizer.extractor.front_end().max_trimmed() {
                    let held = self.held.take().unwrap_or_default();
                    self.look_at(&held)?;
                }
            }
        }
        self.resampled = resampled;
        Ok(())
    }

    fn look_at(&mut self, samples: &[f32]) -> Result<()> {
        for piece in samples.chunks(N_PIECE) {
            self.windows.push(piece);
            self.cut_windows()?;
        }
        Ok(())
    }

    fn cut_windows(&mut self) -> Result<()> {
        while let Some(window) = self.windows.next(self.batch.room())? {
            if window.silent {
                self.batch.votes.add_silent();
            } else {
                self.batch.keep(window.n_frames)?;
            }
        }
        Ok(())
    }
}

/// Windows that wait to go through the network together, and what the network said of those before.
struct Batch<'a> {
    recognizer: &'a Recognizer,
    /// `[capacity, n_mels, n_frames]`.
    windows: Vec<f32>,
    n_mels: usize,
    n_window: usize,
    n_waiting: usize,
    votes: Votes,
}

impl<'a> Batch<'a> {
    fn new(recognizer: &'a Recognizer) -> Batch<'a> {
        let FrontEnd { n_mels, n_frames, .. } = *recognizer.extractor.front_end();
        let n_window = n_mels * n_frames;
        Batch { recognizer, windows: Vec::new(), n_mels, n_window, n_waiting: 0, votes: recognizer.votes() }
    }

    /// Where the next window is to be written.
    fn room(&mut self) -> &mut [f32] {
        let start = self.n_waiting * self.n_window;
        if self.windows.len() < start + self.n_window {
            self.windows.resize(start + self.n_window, 0.0);
        }
        &mut self.windows[start..start + self.n_window]
    }

    /// Keeps the window of `n_frames` that was written last, to be classified when there are enough. Only the one
    /// window of a short recording may be shorter than others.
    fn keep(&mut self, n_frames: usize) -> Result<()> {
        self.n_waiting += 1;
        self.n_window = self.n_mels * n_frames;
        let capacity = (MAX_BATCH_VALUES / self.n_window).clamp(1, MAX_BATCH);
        if self.n_waiting == capacity { self.classify() } else { Ok(()) }
    }

    fn classify(&mut self) -> Result<()> {
        let n = std::mem::take(&mut self.n_waiting);
        if n == 0 {
            return Ok(());
        }
        self.recognizer.vote(&self.windows[..n * self.n_window], n, &mut self.votes)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::Error;
    use crate::model::{Architecture, VggConfig};

    /// From one window to its logits.
    type Answer = dyn Fn(&[f32]) -> Vec<f32> + Send + Sync;

    /// A network whose answer is a formula, and that writes down how many windows it got at once.
    struct Fake {
        answer: Box<Answer>,
        batches: Mutex<Vec<usize>>,
    }

    /// Its embeddings are its logits.
    impl Classifier for Fake {
        fn n_embedding(&self) -> usize {
            2
        }

        fn embed(&self, windows: &[f32], n: usize) -> Result<Vec<f32>> {
            assert_eq!(windows.len() % n, 0);
            self.batches.lock().expect("no panic in another thread").push(n);
            Ok(windows.chunks_exact(windows.len() / n).flat_map(|window| (self.answer)(window)).collect())
        }

        fn classify(&self, embeddings: &[f32], _: usize) -> Vec<f32> {
            embeddings.to_vec()
        }
    }

    const RATE: u32 = 8_000;

    /// 32 ms of hop, 1 s windows.
    fn front_end() -> FrontEnd {
        FrontEnd {
            sample_rate_hz: RATE,
            n_fft: 512,
            hop_length: 256,
            n_mels: 16,
            fmax_hz: 4_000.0,
            n_frames: 32,
            ..FrontEnd::reference()
        }
    }

    fn meta(front_end: FrontEnd) -> ModelMeta {
        let architecture = Architecture::Vgg(VggConfig {
            channels: vec![1],
            convs_per_block: vec![1],
            dense: vec![],
            n_mels: 16,
            n_frames: 32,
            n_classes: 2,
        });
        ModelMeta::new(architecture, front_end, vec!["low".into(), "high".into()])
    }

    fn recognizer_of(
        front_end: FrontEnd,
        answer: impl Fn(&[f32]) -> Vec<f32> + Send + Sync + 'static,
    ) -> (Recognizer, Arc<Fake>) {
        let fake = Arc::new(Fake { answer: Box::new(answer), batches: Mutex::default() });
        let recognizer =
            Recognizer::with_classifier(meta(front_end), fake.clone()).expect("a valid front end");
        (recognizer, fake)
    }

    /// Tells low tones from high ones by the band that is loudest on average.
    fn low_or_high(window: &[f32]) -> Vec<f32> {
        let energy = |bands: &[f32]| bands.iter().sum::<f32>();
        let (low, high) = window.split_at(window.len() / 2);
        vec![energy(low) / 50.0, energy(high) / 50.0]
    }

    fn tone(frequency_hz: f32, amplitude: f32, duration_s: f32, rate: u32) -> Vec<f32> {
        let phase = |n: usize| std::f32::consts::TAU * frequency_hz * n as f32 / rate as f32;
        (0..(duration_s * rate as f32) as usize).map(|n| amplitude * phase(n).sin()).collect()
    }

    fn audio(samples: Vec<f32>, rate: u32) -> Audio {
        Audio::new(samples, SampleRate(rate)).expect("valid samples")
    }

    #[test]
    fn tones_are_told_apart_at_any_sample_rate() {
        let (recognizer, _) = recognizer_of(front_end(), low_or_high);
        for rate in [8_000, 11_025, 44_100, 48_000] {
            for (frequency_hz, label) in [(200.0, "low"), (3_000.0, "high")] {
                let scores = recognizer.recognize(&audio(tone(frequency_hz, 0.3, 2.5, rate), rate)).unwrap();
                assert_eq!(scores.label(), Some(label), "{frequency_hz} Hz at {rate}: {scores:?}");
                assert!((scores.duration_s - 2.5).abs() < 1e-3, "{scores:?}");
                assert!((scores.probabilities().iter().sum::<f32>() - 1.0).abs() < 1e-6, "{scores:?}");
            }
        }
    }

    #[test]
    fn nothing_of_a_recording_is_ignored() {
        let (recognizer, fake) = recognizer_of(front_end(), low_or_high);
        // A low tone, and in the last tenth of a second a much louder high one.
        let samples = [tone(200.0, 0.01, 10.0, RATE), tone(3_000.0, 1.0, 0.1, RATE)].concat();
        let n_frames = 1 + samples.len() / 256;
        let scores = recognizer.recognize(&audio(samples, RATE)).unwrap();
        assert_eq!(scores.n_windows, (n_frames - 32).div_ceil(16) + 1);
        assert_eq!(fake.batches.lock().unwrap().iter().sum::<usize>(), scores.n_windows);
        let (quiet, _) = recognizer_of(front_end(), low_or_high);
        let without = quiet.recognize(&audio(tone(200.0, 0.01, 10.1, RATE), RATE)).unwrap();
        assert!(scores.get("high") > without.get("high"), "{scores:?} {without:?}");
    }

    #[test]
    fn windows_go_through_the_network_in_bounded_batches() {
        let (recognizer, fake) = recognizer_of(front_end(), low_or_high);
        let scores = recognizer.recognize(&audio(tone(200.0, 0.3, 20.0, RATE), RATE)).unwrap();
        let batches = fake.batches.lock().unwrap().clone();
        assert_eq!(batches.iter().sum::<usize>(), scores.n_windows);
        let (last, full) = batches.split_last().unwrap();
        assert!(full.len() > 2 && full.iter().all(|&n| n == MAX_BATCH) && *last <= MAX_BATCH, "{batches:?}");
    }

    #[test]
    fn the_answer_is_the_mean_over_windows_as_the_model_is_calibrated() {
        let (recognizer, _) = recognizer_of(front_end(), |_| vec![2.0, 0.0]);
        let (mut cool, mut curved) = (recognizer.clone(), recognizer.clone());
        cool.meta = Arc::new(ModelMeta { temperature: 4.0, ..(*recognizer.meta).clone() });
        curved.meta = Arc::new(ModelMeta { gap_exponent: 3.0, ..(*recognizer.meta).clone() });
        let samples = audio(tone(200.0, 0.3, 3.0, RATE), RATE);
        let expected = |x: f32| 1.0 / (1.0 + (-x).exp());
        for (recognizer, logit) in [(recognizer, 2.0), (cool, 0.5), (curved, 8.0)] {
            let scores = recognizer.recognize(&samples).unwrap();
            assert!((scores.probabilities()[0] - expected(logit)).abs() < 1e-6, "{scores:?}");
            assert_eq!(scores.embedding(), [2.0, 0.0]);
            assert_eq!(recognizer.embed(&samples).unwrap(), [2.0, 0.0]);
        }
    }

    #[test]
    fn silent_windows_do_not_reach_the_network() {
        let (recognizer, fake) = recognizer_of(front_end(), low_or_high);
        let samples = [tone(200.0, 0.3, 2.0, RATE), vec![0.0; 20 * RATE as usize]].concat();
        let scores = recognizer.recognize(&audio(samples, RATE)).unwrap();
        assert_eq!(scores.label(), Some("low"));
        assert!(scores.n_silent > 30, "{scores:?}");
        assert_eq!(fake.batches.lock().unwrap().iter().sum::<usize>(), scores.n_windows - scores.n_silent);

        let silence = recognizer.recognize(&audio(tone(200.0, 0.000_9, 5.0, RATE), RATE)).unwrap();
        assert!(silence.silence && silence.label().is_none());
        assert_eq!(silence.probabilities(), [0.5, 0.5]);
        assert_eq!(silence.embedding(), [0.0, 0.0]);
        assert!(!recognizer.recognize(&audio(tone(200.0, 0.001_1, 5.0, RATE), RATE)).unwrap().silence);
    }

    #[test]
    fn a_constant_offset_is_silence_at_any_sample_rate() {
        let (recognizer, _) = recognizer_of(front_end(), low_or_high);
        for rate in [8_000, 11_025, 16_000, 44_100] {
            let offset = audio(vec![0.3; 7 * rate as usize], rate);
            assert!(recognizer.recognize(&offset).unwrap().silence, "{rate}");
        }
    }

    #[test]
    fn silence_is_judged_in_its_time_also_behind_a_trimmed_end() {
        let trimming = FrontEnd { trim_top_db: Some(30.0), ..front_end() };
        let (recognizer, _) = recognizer_of(trimming, low_or_high);
        // Of 20 s, 5 s of silence are trimmed; 10 s of silence lie between two tones and stay.
        let rate = 11_025;
        let quiet = |duration_s: u32| vec![0.0; (duration_s * rate) as usize];
        let tone = || tone(300.0, 0.3, 2.5, rate);
        let samples = [quiet(5), tone(), quiet(10), tone()].concat();
        let scores = recognizer.recognize(&audio(samples, rate)).unwrap();
        // Trimming leaves a tenth of a second before the first tone. So silence lasts from 2.6 s to 12.6 s, and of
        // the windows, 0.992 s long, one every 0.512 s, the 6th to the 22nd lie in it.
        assert_eq!((scores.n_windows, scores.n_silent), (29, 17), "{scores:?}");
    }

    #[test]
    fn ten_milliseconds_are_enough_for_an_answer() {
        let (recognizer, _) = recognizer_of(front_end(), low_or_high);
        for n in [1, 2, 80] {
            let mut samples = tone(3_000.0, 0.5, 0.01, RATE);
            samples.truncate(n);
            let scores = recognizer.recognize(&audio(samples, RATE)).unwrap();
            assert_eq!(scores.n_windows, 1);
            assert_eq!(scores.silence, n == 1, "one sample is no sound");
        }
    }

    #[test]
    fn answers_that_are_no_numbers_are_an_error() {
        let samples = audio(tone(200.0, 0.3, 1.0, RATE), RATE);
        for bad in [vec![f32::NAN, 0.0], vec![f32::INFINITY, 0.0], vec![0.0], vec![0.0; 3]] {
            let (recognizer, _) = recognizer_of(front_end(), move |_| bad.clone());
            assert!(matches!(recognizer.recognize(&samples), Err(Error::Model(ModelError::Answer))));
        }
    }

    #[test]
    fn only_short_recordings_are_trimmed() {
        let trimming = FrontEnd { trim_top_db: Some(30.0), ..front_end() };
        let (recognizer, _) = recognizer_of(trimming, low_or_high);
        let padded = |n: usize| audio([tone(200.0, 0.3, 2.0, RATE), vec![0.0; n]].concat(), RATE);
        let short = recognizer.recognize(&padded(30 * RATE as usize)).unwrap();
        assert!(short.n_windows < 8 && short.n_silent == 0, "{short:?}");
        assert_eq!(short.duration_s, 32.0, "the length of the recording, not of what was looked at");
        let n_limit = MAX_TRIMMED_S as usize * RATE as usize - 2 * RATE as usize;
        let longest = recognizer.recognize(&padded(n_limit)).unwrap();
        assert_eq!(longest.probabilities(), short.probabilities());
        let longer = recognizer.recognize(&padded(n_limit + 1)).unwrap();
        assert!(longer.n_silent > 100, "{longer:?}");
        assert_eq!(longer.label(), Some("low"));
    }

    #[test]
    fn any_pieces_give_the_same_answer() {
        for front_end in [front_end(), FrontEnd { trim_top_db: Some(30.0), ..front_end() }] {
            let (recognizer, _) = recognizer_of(front_end, low_or_high);
            let samples = [
                vec![0.0; 9_000],
                tone(300.0, 0.2, 4.0, 11_025),
                vec![0.0; 30_000],
                tone(2_000.0, 0.4, 3.3, 11_025),
            ]
            .concat();
            let whole = recognizer.recognize(&audio(samples.clone(), 11_025)).unwrap();
            for n_piece in [1, 7, 511, 4_096, 50_000] {
                let mut pass = Pass::new(&recognizer, SampleRate(11_025)).unwrap();
                for piece in samples.chunks(n_piece) {
                    pass.push(piece).unwrap();
                }
                assert_eq!(pass.finish().unwrap(), whole, "pieces of {n_piece}");
            }
        }
    }
}
