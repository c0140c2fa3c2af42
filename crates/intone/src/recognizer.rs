//! From a recording to the emotions in it: the whole way, in one value.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::Result;
use crate::audio::{Audio, AudioStream, SampleRate};
use crate::features::{Extractor, Frames};
use crate::model::file::read_limited;
use crate::model::{Model, ModelError, ModelFile, ModelMeta};
use crate::parallel::in_pool;
use crate::pass::Pass;
use crate::scores::{Scores, Votes};
use crate::stream::Stream;
use crate::timeline::{Reading, Window};
use crate::voice::Hearing;

/// The longest recording whose silent ends are trimmed where the front end asks for it, seconds.
///
/// Trimming needs the whole recording: its loudest frame decides what is silent. A minute is longer than any
/// utterance, and little memory; a longer recording is looked at in one pass, and windows in which nobody speaks have no say
/// anyway.
pub const MAX_TRIMMED_S: f64 = 60.0;

/// Samples that are looked at together, so that the memory for their frames stays small.
pub(crate) const N_PIECE: usize = 1 << 15;

/// A trained model, ready to recognise. Cheap to clone; one serves any number of threads.
///
/// A recording is brought to the front end's sample rate and, where the front end asks for it and the
/// recording lasts at most [`MAX_TRIMMED_S`], freed of its silent ends. It is cut into windows that overlap by
/// half, the last ending with the recording. Where there are several of them, and the network takes windows of any length, each is
/// freed of its own silent ends, to which then belongs what is no louder than the background.
///
/// The answer is the mean of the windows' probabilities. Each counts as much as there is voice in it: what rises 10 dB above the
/// background. Where there is no voice in any window, those in which something rises by 5 dB count, all alike. The others have no
/// say, nor has one in which the recording swings less than 60 dB below full scale; where none has, the answer is
/// [`Scores::silence`]. The background is the level that is not reached in a tenth of the ten seconds before the window's
/// end, at most 40 dB below full scale; in less than half a second there is none to be found.
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
    /// [`timeline::join`](crate::timeline::join) to get spans of the same emotion. Silent ends of the recording are gaps, those of a
    /// window are trimmed where the front end asks for it and the network takes windows of any length. But for that a recording of
    /// one window is read as [`recognize`](Recognizer::recognize) does.
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

    /// What the answer to a recording rests on: the answer, what the network was shown, and which windows have a say. All frames are
    /// in memory then: 1.9 MB for each minute with the front end of the embedded model.
    ///
    /// # Errors
    /// As [`recognize`](Recognizer::recognize), and for a recording that is too long for memory.
    pub fn view(&self, audio: &Audio) -> Result<View> {
        in_pool(|| {
            let front_end = self.extractor.front_end();
            let mut pass = Pass::new(self, audio.sample_rate())?;
            pass.note_windows();
            pass.push(audio.samples())?;
            let (scores, windows) = pass.finish_noted()?;
            let audio = audio.resample(SampleRate(front_end.sample_rate_hz))?;
            let trimmed = match audio.samples().len() <= front_end.max_trimmed() {
                true => &front_end.trimmed(audio.samples()),
                false => audio.samples(),
            };
            let frames = self.extractor.frames(trimmed);
            let n_own = front_end.frames_of(trimmed.len()).min(frames.range().len());
            Ok(View { scores, frames, n_own, windows })
        })
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

    /// Adds what the network says of windows of one length, `[n, n_mels, n_frames]`, to `votes`. Of each of them
    /// stands in `hearings` what is to be heard in it.
    pub(crate) fn vote(&self, windows: &[f32], hearings: &[Hearing], votes: &mut Votes) -> Result<()> {
        let (n, n_labels) = (hearings.len(), self.labels.len());
        let front_end = self.extractor.front_end();
        let sound_s = front_end.frames_s(windows.len() / (n * front_end.n_mels));
        let embeddings = self.classifier.embed(windows, n)?;
        let logits = self.classifier.classify(&embeddings, n);
        if logits.len() != n * n_labels || !logits.iter().all(|x| x.is_finite()) {
            return Err(ModelError::Answer.into());
        }
        let embeddings = embeddings.chunks_exact(self.classifier.n_embedding());
        for ((logits, embedding), &hearing) in logits.chunks_exact(n_labels).zip(embeddings).zip(hearings) {
            votes.add(logits, embedding, self.meta.calibration(), sound_s, hearing);
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

/// What the answer to a recording rests on, see [`Recognizer::view`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct View {
    /// The answer.
    pub scores: Scores,
    /// Frames of what was looked at: the recording, without its silent ends where these were trimmed.
    pub frames: Frames,
    /// Number of [`frames`](View::frames) that the recording has of its own. Those behind them fill up a short one.
    pub n_own: usize,
    /// The windows that have a say, in their order; none for silence.
    pub windows: Vec<Seen>,
}

/// A window that has a say in an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Which of [`View::frames`] the network was shown.
    pub frames: Range<usize>,
    /// What it counts beside the others, more than 0.
    pub weight: f64,
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::Error;
    use crate::features::{FrontEnd, Style};
    use crate::model::{Architecture, VggConfig};
    use crate::pass::MAX_BATCH;
    use crate::testing::noise;

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
        let samples = [tone(200.0, 0.1, 10.0, RATE), tone(3_000.0, 1.0, 0.1, RATE)].concat();
        let n_frames = 1 + samples.len() / 256;
        let scores = recognizer.recognize(&audio(samples, RATE)).unwrap();
        assert_eq!(scores.n_windows, (n_frames - 32).div_ceil(16) + 1);
        assert_eq!(fake.batches.lock().unwrap().iter().sum::<usize>(), scores.n_windows);
        let (quiet, _) = recognizer_of(front_end(), low_or_high);
        let without = quiet.recognize(&audio(tone(200.0, 0.1, 10.1, RATE), RATE)).unwrap();
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

        let islet =
            |amplitude: f32| [tone(200.0, amplitude, 0.5, RATE), vec![0.0; 4 * RATE as usize]].concat();
        let silence = recognizer.recognize(&audio(islet(0.000_9), RATE)).unwrap();
        assert!(silence.silence && silence.label().is_none());
        assert_eq!(silence.probabilities(), [0.5, 0.5]);
        assert_eq!(silence.embedding(), [0.0, 0.0]);
        assert!(!recognizer.recognize(&audio(islet(0.001_1), RATE)).unwrap().silence);
    }

    /// The front end above, and the same with windows of any length whose ends are trimmed.
    fn front_ends() -> [FrontEnd; 2] {
        [front_end(), FrontEnd { style: Style::Whisper, trim_top_db: Some(30.0), ..front_end() }]
    }

    /// Noise of this effective value under something, and behind it for so many seconds.
    fn in_noise(mut samples: Vec<f32>, effective: f32, behind_s: usize) -> Audio {
        samples.resize(samples.len() + behind_s * RATE as usize, 0.0);
        let noise = noise(samples.len(), 1);
        let scale = effective * 3f32.sqrt();
        audio(samples.iter().zip(noise).map(|(x, noise)| x + scale * noise).collect(), RATE)
    }

    #[test]
    fn noise_behind_a_recording_changes_nothing() {
        for front_end in front_ends() {
            let (recognizer, _) = recognizer_of(front_end, low_or_high);
            // Words, and in what follows the noise of an ordinary room, too loud to be trimmed.
            let words =
                || [tone(200.0, 0.1, 0.8, RATE), vec![0.0; 2_000], tone(200.0, 0.1, 0.9, RATE)].concat();
            let alone = recognizer.recognize(&in_noise(words(), 0.004, 0)).unwrap();
            let long = recognizer.recognize(&in_noise(words(), 0.004, 20)).unwrap();
            let (p_alone, p_long) = (alone.probabilities()[0], long.probabilities()[0]);
            assert!((p_alone - p_long).abs() < 0.05 && p_alone > 0.6, "{alone:?} {long:?}");
            assert!(long.n_silent > 30 && alone.n_silent == 0, "{alone:?} {long:?}");

            let noise = recognizer.recognize(&in_noise(Vec::new(), 0.004, 20)).unwrap();
            assert!(noise.silence, "{noise:?}");
        }
    }

    #[test]
    fn what_is_fainter_than_a_voice_is_answered_where_there_is_none() {
        for front_end in front_ends() {
            let (recognizer, _) = recognizer_of(front_end, low_or_high);
            // Its level is 7 dB above that of the noise.
            let whisper = |duration_s: f32| tone(200.0, 0.004_4, duration_s, RATE);
            let pause = |duration_s: f32| vec![0.0; (duration_s * RATE as f32) as usize];
            let samples = [pause(0.2), whisper(0.4), pause(0.2)].concat();
            let short = recognizer.recognize(&in_noise(samples, 0.001_5, 0)).unwrap();
            assert!(!short.silence, "{short:?}");
            let samples = || [pause(3.0), whisper(0.8), pause(3.0)].concat();
            let long = recognizer.recognize(&in_noise(samples(), 0.001_5, 0)).unwrap();
            assert!(!long.silence && long.n_silent > 5, "{long:?}");
            // Beside a voice it has no say.
            let spoken = [samples(), tone(3_000.0, 0.1, 0.8, RATE)].concat();
            let spoken = recognizer.recognize(&in_noise(spoken, 0.001_5, 0)).unwrap();
            assert!(spoken.label() == Some("high") && spoken.n_windows - spoken.n_silent <= 3, "{spoken:?}");
        }
    }

    #[test]
    fn too_little_to_know_a_background_is_answered() {
        for front_end in front_ends() {
            let (recognizer, _) = recognizer_of(front_end, low_or_high);
            // Nothing rises in a vowel.
            let vowel = |duration_s: f32| audio(tone(200.0, 0.005, duration_s, RATE), RATE);
            assert!(!recognizer.recognize(&vowel(0.3)).unwrap().silence);
            assert!(recognizer.recognize(&vowel(3.0)).unwrap().silence, "a hum");
            let loud = audio(tone(200.0, 0.1, 3.0, RATE), RATE);
            assert!(!recognizer.recognize(&loud).unwrap().silence, "what is loud is a voice");
        }
    }

    #[test]
    fn silent_ends_of_windows_do_not_reach_a_network_that_takes_any_length() {
        let [_, front_end] = front_ends();
        let (recognizer, _) = recognizer_of(front_end, |window| vec![(window.len() / 16) as f32, 0.0]);
        let samples = [vec![0.0; 24_000], tone(200.0, 0.3, 0.3, RATE), vec![0.0; 24_000]].concat();
        // Too long to be trimmed as a whole.
        let longer = [samples.clone(), vec![0.0; 60 * RATE as usize]].concat();
        let scores = recognizer.recognize(&audio(longer, RATE)).unwrap();
        // 0.3 s are 9.4 frames; trimming leaves 2,048 samples, 8 frames, more at most.
        assert_eq!(scores.n_windows - scores.n_silent, 2, "{scores:?}");
        assert!((9.0..19.0).contains(&scores.embedding()[0]), "{:?}", scores.embedding());
        for reading in recognizer.timeline(&audio(samples, RATE), Window::seconds(1.0).hop(0.3)).unwrap() {
            assert!(reading.scores.silence || reading.scores.embedding()[0] < 19.0, "{reading:?}");
        }
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
        // the windows, 0.992 s long, one every 0.512 s, the 6th to the 22nd lie in it. Of the 5th all but 0.04 s do.
        assert_eq!((scores.n_windows, scores.n_silent), (29, 18), "{scores:?}");
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
    fn a_view_has_all_that_the_answer_rests_on() {
        let trimming = FrontEnd { trim_top_db: Some(30.0), ..front_end() };
        for front_end in front_ends().into_iter().chain([trimming]) {
            let (recognizer, _) = recognizer_of(front_end.clone(), low_or_high);
            let pause = |n: usize| vec![0.0; n];
            let words =
                [pause(9_000), tone(300.0, 0.2, 2.0, RATE), pause(20_000), tone(2_000.0, 0.4, 0.7, RATE)];
            for samples in [words.concat(), tone(300.0, 0.2, 0.4, RATE), pause(20_000), vec![0.1]] {
                let audio = audio(samples, RATE);
                let view = recognizer.view(&audio).unwrap();
                assert_eq!(view.scores, recognizer.recognize(&audio).unwrap());
                assert_eq!(view.windows.len(), view.scores.n_windows - view.scores.n_silent);
                let mut mean = [0.0; 2];
                let total: f64 = view.windows.iter().map(|seen| seen.weight).sum();
                for Seen { frames, weight } in &view.windows {
                    let mut window = vec![0.0; frames.len() * 16];
                    view.frames.window(&front_end, frames.start, &mut window).unwrap();
                    let logits = low_or_high(&window);
                    mean.iter_mut().zip(logits).for_each(|(mean, x)| *mean += weight / total * f64::from(x));
                }
                for (mean, embedding) in mean.iter().zip(view.scores.embedding()) {
                    assert!((mean - f64::from(*embedding)).abs() < 1e-5, "{:?} {mean}", view.scores);
                }
                let filled = !front_end.makes_shorter_windows() && audio.samples().len() < 8_000;
                assert_eq!(view.n_own < view.frames.range().len(), filled, "{}", view.n_own);
            }
        }
    }

    #[test]
    fn any_pieces_give_the_same_answer() {
        let trimming = FrontEnd { trim_top_db: Some(30.0), ..front_end() };
        for front_end in front_ends().into_iter().chain([trimming]) {
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
