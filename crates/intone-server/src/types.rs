//! What goes out, as it is written.

use intone::{Reading, Scores};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::{IntoParams, ToSchema};

/// What was recognised in one recording.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Answer {
    /// The most probable emotion; `null` for silence.
    pub label: Option<String>,
    /// The probability of each emotion, in the order of the model's labels; their sum is 1.
    #[serde(serialize_with = "as_map")]
    #[schema(value_type = BTreeMap<String, f32>)]
    pub scores: Vec<(String, f32)>,
    /// Nothing was to be heard.
    pub silence: bool,
    /// The model is too often wrong when it is this unsure.
    pub uncertain: bool,
    /// Length of the recording, seconds, to the millisecond.
    pub duration_s: f64,
    /// Windows that the recording was cut into.
    pub windows: usize,
    /// Those of them that were silent.
    pub silent_windows: usize,
    /// What the network decides by, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding: Option<Vec<f32>>,
    /// What was wrong with the recording although it could be decoded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Answer {
    /// The `top` most probable classes of an answer.
    pub fn new(scores: &Scores, top: usize, warnings: Vec<String>) -> Answer {
        let best = scores.top(top);
        let is_best = |label: &str| best.iter().any(|(other, _)| *other == label);
        let kept = scores.iter().filter(|(label, _)| is_best(label));
        Answer {
            label: scores.label().map(str::to_owned),
            scores: kept.map(|(label, probability)| (label.to_owned(), probability)).collect(),
            silence: scores.silence,
            uncertain: scores.uncertain(),
            duration_s: milliseconds(scores.duration_s),
            windows: scores.n_windows,
            silent_windows: scores.n_silent,
            embedding: None,
            warnings,
        }
    }
}

/// What is to be heard in one stretch of a recording.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ReadingAnswer {
    /// Where the stretch begins, seconds, to the millisecond.
    pub start_s: f64,
    /// Where it ends.
    pub end_s: f64,
    /// The most probable emotion; `null` where nobody speaks.
    pub label: Option<String>,
    /// The probability of each emotion, in the order of the model's labels; their sum is 1.
    #[serde(serialize_with = "as_map")]
    #[schema(value_type = BTreeMap<String, f32>)]
    pub scores: Vec<(String, f32)>,
    /// Nobody speaks.
    pub silence: bool,
    /// The model is too often wrong when it is this unsure.
    pub uncertain: bool,
    /// Share of the stretch in which something rises above the background, 0 to 1.
    pub voice: f32,
}

impl From<&Reading> for ReadingAnswer {
    fn from(reading: &Reading) -> ReadingAnswer {
        let scores = &reading.scores;
        ReadingAnswer {
            start_s: milliseconds(reading.start_s),
            end_s: milliseconds(reading.end_s),
            label: scores.label().map(str::to_owned),
            scores: scores.iter().map(|(label, probability)| (label.to_owned(), probability)).collect(),
            silence: scores.silence,
            uncertain: scores.uncertain(),
            voice: reading.voice,
        }
    }
}

/// The emotions over the course of a recording.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TimelineAnswer {
    /// The emotions, in the order of the model.
    pub labels: Vec<String>,
    /// Length of the recording, seconds.
    pub duration_s: f64,
    /// Length of a window, seconds.
    pub window_s: f64,
    /// Distance between two windows, seconds.
    pub hop_s: f64,
    /// One for each window, without gaps from the beginning to the end.
    pub readings: Vec<ReadingAnswer>,
    /// Neighbouring readings with the same label as one, their scores the mean.
    pub spans: Vec<ReadingAnswer>,
    /// What was wrong with the recording although it could be decoded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A request without parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoQuery {}

/// The windows of a timeline, as a request names them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, IntoParams, ToSchema)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WindowQuery {
    /// Length of a window, seconds; `/v1/model` says which the model takes.
    pub(crate) window: Option<f64>,
    /// Distance between two windows, seconds, 0.1 to the window.
    pub(crate) hop: Option<f64>,
    /// Time over which readings are smoothed, seconds, 0 to 60.
    pub(crate) smoothing: Option<f64>,
}

impl WindowQuery {
    pub(crate) fn window(self) -> intone::Window {
        let mut window = self.window.map_or_else(intone::Window::default, intone::Window::seconds);
        if let Some(hop_s) = self.hop {
            window = window.hop(hop_s);
        }
        if let Some(smoothing_s) = self.smoothing {
            window = window.smoothing(smoothing_s);
        }
        window
    }
}

/// The first message of a stream, from the client.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hello {
    /// Samples per second of the audio that follows, Hz.
    pub(crate) sample_rate: u32,
    /// Length of a window, seconds.
    #[serde(default)]
    pub(crate) window: Option<f64>,
    /// Distance between two windows, seconds.
    #[serde(default)]
    pub(crate) hop: Option<f64>,
    /// Time over which readings are smoothed, seconds.
    #[serde(default)]
    pub(crate) smoothing: Option<f64>,
    /// The token, where the service wants one and the client cannot set a header.
    #[serde(default)]
    pub(crate) token: Option<String>,
}

/// What a stream answers.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Message {
    /// The hello was understood; samples may come.
    Ready {
        /// The emotions, in the order of the model.
        labels: Vec<String>,
        /// Length of a window, seconds.
        window_s: f64,
        /// Distance between two windows, seconds.
        hop_s: f64,
    },
    /// The next reading.
    Reading(ReadingAnswer),
    /// The last message, after the client's `end`.
    End {
        /// Length of what was heard, seconds.
        duration_s: f64,
        /// Readings that were given.
        readings: usize,
    },
}

/// Seconds to the millisecond.
pub(crate) fn milliseconds(seconds: f64) -> f64 {
    (seconds * 1e3).round() / 1e3
}

fn as_map<S: Serializer>(scores: &[(String, f32)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(scores.iter().map(|(label, probability)| (label, probability)))
}
