//! The pickled parameters that lie beside a model: how recordings become its input.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use intone::features::{Filling, FrontEnd};

use crate::error::{Error, Result};
use crate::labels::{Labels, labels_of};
use crate::pickle::{self, Value};
use crate::read_limited;

/// What the values of the picture are that the network was trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Values {
    /// 0 to 1: from 80 dB below the picture's peak to its peak.
    #[default]
    Unit,
    /// dB relative to the picture's peak, -80 to 0: what `librosa.power_to_db(ref=np.max)` gives.
    Decibels,
    /// Those less their mean, over their standard deviation, picture by picture.
    Standardised,
}

impl Values {
    /// The name, as a user writes it.
    pub fn name(self) -> &'static str {
        match self {
            Values::Unit => "unit",
            Values::Decibels => "decibels",
            Values::Standardised => "standardised",
        }
    }
}

/// The way from a recording to the network's input.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// Up to the picture in [0, 1].
    pub front_end: FrontEnd,
    /// What the network gets of it.
    pub values: Values,
}

/// A dictionary of parameters.
///
/// | key, in any case | what |
/// |---|---|
/// | `sr`, `sample_rate`, `sampling_rate` | Hz |
/// | `n_fft`; `hop_length`; `n_mels` | samples; samples; bands |
/// | `fmin`, `fmax` | Hz; `None` for 0 and half the sample rate |
/// | `max_time_frames`, `n_frames`, `max_frames`, `time_steps` | frames of the input |
/// | `max_len`, `max_length`, `max_pad_len` | frames of the input, or the samples that make them |
/// | `duration` | seconds that make the frames of the input |
/// | `input_shape`, `shape` | bands and frames |
/// | `amin` | of `power_to_db` |
/// | `trim_top_db` | dB, of `librosa.effects.trim` |
/// | `top_db` and `ref` (of `power_to_db`), `win_length`, `window`, `center`, `pad_mode`, `power`, `htk`, `norm`, `mono`, `offset` | must be librosa's defaults |
/// | `emotion_classes`, `classes`, `class_names`, `labels`, `emotions` | the classes, in the order of the outputs |
/// | `n_classes`, `num_classes` | their number |
/// | `batch_size`, `epochs`, `learning_rate`, `seed`, `random_state`, `test_size` | of the training, and not looked at |
///
/// What is not given is as in librosa. A key that is not in the table is refused by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters {
    /// By their names in lower case, each with the name as it stands in the file.
    values: BTreeMap<String, (String, Value)>,
    /// Where they were read from.
    path: Option<PathBuf>,
}

/// The keys of one meaning each, the first of them for messages.
const SAMPLE_RATE: &[&str] = &["sr", "sample_rate", "sampling_rate"];
const FRAMES: &[&str] = &["max_time_frames", "n_frames", "max_frames", "time_steps"];
const LENGTH: &[&str] = &["max_len", "max_length", "max_pad_len"];
const SHAPE: &[&str] = &["input_shape", "shape"];
const CLASSES: &[&str] = &["emotion_classes", "classes", "class_names", "labels", "emotions"];
const N_CLASSES: &[&str] = &["n_classes", "num_classes"];
const OF_THE_TRAINING: &[&str] =
    &["batch_size", "epochs", "learning_rate", "seed", "random_state", "test_size"];

/// The keys of the reference project's `audio_params.pkl`. Its notebook does four things that they do not say: it trims at
/// 20 dB, fills short recordings up with 0 dB, standardises each picture, and keeps the maximum as the reference.
const REFERENCE_PROJECT: [&str; 7] =
    ["duration", "emotion_classes", "hop_length", "max_time_frames", "n_fft", "n_mels", "sr"];

/// At what the reference project trims, dB below the loudest frame.
const REFERENCE_TRIM_DB: f32 = 20.0;

impl Parameters {
    /// Reads a pickled dictionary.
    ///
    /// # Errors
    /// A pickle that holds something else or asks for code to be run; a key that stands twice; all with the path.
    pub fn open(path: impl AsRef<Path>) -> Result<Parameters> {
        let path = path.as_ref();
        let read = || Parameters::read(&read_limited(path, pickle::MAX_BYTES)?);
        let parameters = read().map_err(|error| error.in_file(path))?;
        Ok(Parameters { path: Some(path.to_owned()), ..parameters })
    }

    /// The same from a pickle that lies in memory.
    ///
    /// # Errors
    /// As [`Parameters::open`].
    pub fn read(pickle: &[u8]) -> Result<Parameters> {
        let Value::Dict(pairs) = pickle::read(pickle)? else {
            return Err(refuse("*", "expected a dictionary of parameters"));
        };
        let mut values = BTreeMap::new();
        for (key, value) in pairs {
            let Value::Text(key) = key else {
                return Err(refuse("*", format!("expected names as keys, got {}", key.kind())));
            };
            if let Some((other, _)) = values.insert(key.to_ascii_lowercase(), (key.clone(), value)) {
                return Err(refuse(&key, format!("it stands there as `{other}`, too")));
            }
        }
        Ok(Parameters { values, path: None })
    }

    /// Whether these are the reference project's, by their keys. What they do not say is then taken from its notebook: see
    /// [`Parameters::picture`].
    pub fn are_the_reference_projects(&self) -> bool {
        self.values.keys().map(String::as_str).eq(REFERENCE_PROJECT)
    }

    /// The classes, where they are given.
    ///
    /// # Errors
    /// [`Error::Parameter`] where they are no names, or not as many as they are said to be; with the path, where they were read
    /// from a file.
    pub fn labels(&self) -> Result<Option<Labels>> {
        self.read_labels().map_err(|error| error.in_source(self.path.as_deref()))
    }

    fn read_labels(&self) -> Result<Option<Labels>> {
        let Some((key, value)) = self.one(CLASSES)? else { return Ok(None) };
        let labels = labels_of(value).map_err(|error| refuse(key, error.to_string()))?;
        match self.one(N_CLASSES)? {
            Some((key, n)) if whole(key, n)? != labels.len() => {
                Err(refuse(key, format!("{}, but {} are named", shown(n), labels.len())))
            }
            _ => Ok(Some(Labels { path: self.path.clone(), ..Labels::new(labels) })),
        }
    }

    /// The front end for a network whose input is `[n_mels, n_frames]`, where it says so.
    ///
    /// For [the reference project](Parameters::are_the_reference_projects) silent ends are trimmed at 20 dB, short recordings
    /// filled up with 0 dB, and the values [standardised](Values::Standardised); else nothing is trimmed, silence
    /// fills up, and values are in [0, 1].
    ///
    /// # Errors
    /// [`Error::Parameter`] with the first that cannot be honoured, or that contradicts the network or another; with the path,
    /// where they were read from a file.
    pub fn picture(&self, input: [Option<usize>; 2]) -> Result<Picture> {
        self.read_picture(input).map_err(|error| error.in_source(self.path.as_deref()))
    }

    fn read_picture(&self, input: [Option<usize>; 2]) -> Result<Picture> {
        self.check_names()?;
        self.check_defaults()?;
        let mut front_end = FrontEnd::reference();
        if let Some((key, value)) = self.one(SAMPLE_RATE)? {
            front_end.sample_rate_hz = u32::try_from(whole(key, value)?).unwrap_or(u32::MAX);
        }
        for (key, field) in [
            ("n_fft", &mut front_end.n_fft),
            ("hop_length", &mut front_end.hop_length),
            ("n_mels", &mut front_end.n_mels),
        ] {
            if let Some((key, value)) = self.one(&[key])? {
                *field = match whole(key, value)? {
                    0 => return Err(refuse(key, "0; expected a number from 1 on")),
                    n => n,
                };
            }
        }
        front_end.fmax_hz = front_end.sample_rate_hz as f32 / 2.0;
        for (key, field) in [
            ("fmin", &mut front_end.fmin_hz),
            ("fmax", &mut front_end.fmax_hz),
            ("amin", &mut front_end.amin),
        ] {
            match self.one(&[key])? {
                None | Some((_, Value::None)) => (),
                Some((key, value)) => *field = number(key, value)? as f32,
            }
        }
        if let Some((key, value)) = self.one(&["trim_top_db"])? {
            front_end.trim_top_db = Some(number(key, value)? as f32);
        }
        front_end.n_frames = self.frames(&front_end, input[1])?;
        if let Some((key, value)) = self.one(SHAPE)? {
            self.check_shape(key, value, &front_end)?;
        }
        if let Some(n_mels) = input[0].filter(|&n_mels| n_mels != front_end.n_mels) {
            return Err(refuse(
                "n_mels",
                format!("{}, but the network's input has {n_mels} bands", front_end.n_mels),
            ));
        }
        front_end.validate()?;
        if self.are_the_reference_projects() {
            front_end.trim_top_db = Some(REFERENCE_TRIM_DB);
            front_end.filling = Filling::Peak;
            return Ok(Picture { front_end, values: Values::Standardised });
        }
        Ok(Picture { front_end, values: Values::Unit })
    }

    /// Frames of the input: as the network has it, which all that is said of them must fit.
    fn frames(&self, front_end: &FrontEnd, of_network: Option<usize>) -> Result<usize> {
        let of_samples = |n: usize| front_end.frames_of(n);
        let mut n_frames = of_network;
        let mut agree = |key: &str, shown: String, candidates: [Option<usize>; 2]| match n_frames {
            Some(n) if candidates.contains(&Some(n)) => Ok(()),
            Some(n) => Err(refuse(key, format!("{shown}, but the network's input has {n} frames"))),
            None => {
                n_frames = candidates[0];
                Ok(())
            }
        };
        let mut told = false;
        if let Some((key, value)) = self.one(FRAMES)? {
            let n = whole(key, value)?;
            agree(key, format!("{n} frames"), [Some(n), None])?;
            told = true;
        }
        if let Some((key, value)) = self.one(LENGTH)? {
            let n = whole(key, value)?;
            agree(
                key,
                format!("{n} frames, or samples for {}", of_samples(n)),
                [Some(n), Some(of_samples(n))],
            )?;
            told = true;
        }
        if let Some((key, value)) = self.one(&["duration"])? {
            let duration_s = number(key, value)?;
            if !(0.0..=3_600.0).contains(&duration_s) {
                return Err(refuse(key, format!("{duration_s}; expected seconds, at most 3600")));
            }
            let n = of_samples((duration_s * f64::from(front_end.sample_rate_hz)) as usize);
            // Where the frames are given, it is how much of a recording was loaded.
            if !told {
                agree(key, format!("{duration_s} s make {n} frames"), [Some(n), None])?;
            }
        }
        Ok(n_frames.unwrap_or(FrontEnd::reference().n_frames))
    }

    fn check_shape(&self, key: &str, value: &Value, front_end: &FrontEnd) -> Result<()> {
        let sides = match value {
            Value::List(sides) => {
                sides.iter().map(|side| whole(key, side)).collect::<Result<Vec<usize>>>()?
            }
            other => return Err(refuse(key, format!("expected bands and frames, got {}", other.kind()))),
        };
        match sides.as_slice() {
            [n_mels, n_frames] | [n_mels, n_frames, 1]
                if (*n_mels, *n_frames) == (front_end.n_mels, front_end.n_frames) =>
            {
                Ok(())
            }
            sides => {
                let (n_mels, n_frames) = (front_end.n_mels, front_end.n_frames);
                Err(refuse(key, format!("{sides:?}; expected {n_mels} bands and {n_frames} frames")))
            }
        }
    }

    /// Parameters that this front end has no choice in.
    fn check_defaults(&self) -> Result<()> {
        let n_fft = self.one(&["n_fft"])?.map_or(&Value::Int(2_048), |(_, value)| value).clone();
        let text = |text: &str| Value::Text(text.to_owned());
        let fixed: [(&str, Vec<Value>); 12] = [
            // Of `power_to_db`; another value is most likely that of `librosa.effects.trim`.
            ("top_db", vec![Value::Int(80), Value::Float(80.0), Value::None]),
            ("win_length", vec![Value::None, n_fft]),
            ("window", vec![text("hann")]),
            ("center", vec![Value::Bool(true)]),
            ("pad_mode", vec![text("constant")]),
            ("power", vec![Value::Int(2), Value::Float(2.0)]),
            ("htk", vec![Value::Bool(false)]),
            ("norm", vec![text("slaney")]),
            ("mono", vec![Value::Bool(true)]),
            ("offset", vec![Value::Int(0), Value::Float(0.0), Value::None]),
            ("ref", vec![text("max"), text("np.max")]),
            ("n_channels", vec![Value::Int(1)]),
        ];
        for (key, allowed) in &fixed {
            let Some((name, value)) = self.one(&[key])? else { continue };
            if !allowed.contains(value) {
                let expected = allowed.iter().map(shown).collect::<Vec<_>>().join(" or ");
                return Err(refuse(
                    name,
                    format!("{} cannot be honoured; expected {expected}", shown(value)),
                ));
            }
        }
        Ok(())
    }

    fn check_names(&self) -> Result<()> {
        let single = [
            "n_fft",
            "hop_length",
            "n_mels",
            "fmin",
            "fmax",
            "amin",
            "top_db",
            "trim_top_db",
            "duration",
            "win_length",
            "window",
            "center",
            "pad_mode",
            "power",
            "htk",
            "norm",
            "mono",
            "offset",
            "ref",
            "n_channels",
        ];
        let groups = [SAMPLE_RATE, FRAMES, LENGTH, SHAPE, CLASSES, N_CLASSES, OF_THE_TRAINING, &single];
        match self.values.iter().find(|(key, _)| !groups.iter().any(|group| group.contains(&key.as_str()))) {
            Some((_, (key, value))) => {
                Err(refuse(key, format!("{} cannot be honoured: it is not known here", shown(value))))
            }
            None => Ok(()),
        }
    }

    /// The parameter that goes by one of these keys, and the key as it stands in the file.
    fn one(&self, keys: &[&str]) -> Result<Option<(&str, &Value)>> {
        let mut found = keys.iter().filter_map(|&key| self.values.get(key));
        match (found.next(), found.next()) {
            (Some((first, _)), Some((second, _))) => {
                Err(refuse(second, format!("it stands there as `{first}`, too")))
            }
            (first, _) => Ok(first.map(|(key, value)| (key.as_str(), value))),
        }
    }
}

fn refuse(key: &str, what: impl Into<String>) -> Error {
    Error::Parameter { key: key.to_owned(), what: what.into() }
}

/// A value as Python shows it, or its kind.
fn shown(value: &Value) -> String {
    match value {
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Int(n) => n.to_string(),
        Value::Float(x) => format!("{x:?}"),
        Value::Text(text) => format!("'{}'", text.chars().take(64).collect::<String>().escape_debug()),
        other => other.kind().to_owned(),
    }
}

fn number(key: &str, value: &Value) -> Result<f64> {
    match value {
        Value::Int(n) => Ok(*n as f64),
        Value::Float(x) if x.is_finite() => Ok(*x),
        other => Err(refuse(key, format!("expected a number, got {}", shown(other)))),
    }
}

/// A whole number from 0 on, which may be written as a float.
fn whole(key: &str, value: &Value) -> Result<usize> {
    let x = number(key, value)?;
    if x.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&x) {
        return Ok(x as usize);
    }
    Err(refuse(key, format!("expected a whole number, got {}", shown(value))))
}
