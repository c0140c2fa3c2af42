//! Networks as ONNX files, which other programs run: ONNX Runtime, OpenVINO, TensorRT, browsers.
//!
//! The graph takes log-mel frames and gives probabilities. What belongs to one window is part of the graph: its scaling
//! relative to its own peak, the calibration and the softmax.
//!
//! | | name | shape, float32 |
//! |---|---|---|
//! | input | `features` | `[batch, n_mels, n_frames]`; for an encoder `[batch, n_mels, frames]` with 1 to `n_frames` frames |
//! | output | `probabilities` | `[batch, n_classes]`, in the order of `labels`, each row with sum 1 |
//!
//! The features are [`LogMel`](crate::features::LogMel), what `intone features --model` writes: dB on any reference for
//! [`Style::Librosa`], Whisper's values for [`Style::Whisper`]. For a network that takes whole windows a shorter recording is
//! filled up with zeros before its features are made. Long recordings are cut into windows by the caller, see
//! [`Recognizer`](crate::Recognizer).
//!
//! The file's `metadata_props` hold every field of [`ModelMeta`] under its own name, as JSON: `labels`, `front_end`,
//! `temperature`, `gap_exponent`, `short_s` and `uncertain_below` (where they were chosen), `architecture`, `provenance`, `format_version`.
//!
//! Weights are float32 whatever the model file has. Operators are those of opset 17, the first with
//! `LayerNormalization`; GELU is written with `Erf`.

use std::io::Write;
use std::path::Path;

use prost::Message;

use self::graph::{Graph, int, ints};
use self::proto::{Dimension, ModelProto, OperatorSetIdProto, StringStringEntryProto, TensorProto};
use super::{Architecture, Calibration, ModelError, ModelFile, ModelMeta, Weights};
use crate::features::{FrontEnd, Style};
use crate::{Error, Result};

mod chain;
mod encoder;
mod graph;
mod proto;
mod vgg;

/// The version of ONNX's operators that is written.
pub const OPSET: i64 = 17;

/// The version of ONNX's file format that is written, that of ONNX 1.12, the first release with [`OPSET`].
pub const IR_VERSION: i64 = 8;

/// The name of the graph's input.
pub const INPUT: &str = "features";

/// The name of the graph's output.
pub const OUTPUT: &str = "probabilities";

/// The largest ONNX file, bytes: protocol buffers count in 31 bits.
pub const MAX_BYTES: usize = i32::MAX as usize;

/// Writes a model as an ONNX file: to a temporary one beside it, which then takes its place.
///
/// # Errors
/// As [`to_bytes`]; and what the operating system says, with the path.
pub fn write(file: ModelFile, path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let bytes = to_bytes(file)?;
    super::file::write_atomically(path, |file| file.write_all(&bytes))
        .map_err(|error| Error::from(error).in_file(path))
}

/// The bytes of the ONNX file. The same model gives the same bytes.
///
/// # Errors
/// [`ModelError`] where the tensors are not those of the architecture; [`Error::OutOfRange`] for a network that is larger
/// than [`MAX_BYTES`].
pub fn to_bytes(file: ModelFile) -> Result<Vec<u8>> {
    file.meta.validate()?;
    let (meta, weights) = (file.meta, Weights::new(file.tensors));
    let mut graph = Graph::default();
    let x = scaled(&mut graph, &meta.front_end);
    let frames = Dimension::Value(meta.front_end.n_frames as i64);
    let (logits, frames) = match &meta.architecture {
        Architecture::Vgg(config) => (vgg::logits(&mut graph, config, weights, &x)?, frames),
        Architecture::Encoder(config) => {
            let logits = encoder::logits(&mut graph, config, weights, &x)?;
            (logits, Dimension::Param("frames".to_owned()))
        }
        Architecture::Chain(config) => (chain::logits(&mut graph, config, weights, &x)?, frames),
    };
    let calibrated = calibrated(&mut graph, &meta, &logits);
    graph.node("Softmax", OUTPUT, &[&calibrated], vec![int("axis", -1)]);

    let batch = || Dimension::Param("batch".to_owned());
    let bands = Dimension::Value(meta.front_end.n_mels as i64);
    let classes = Dimension::Value(meta.labels.len() as i64);
    let input = graph::value(INPUT, vec![batch(), bands, frames], input_doc(meta.front_end.style));
    let output = graph::value(OUTPUT, vec![batch(), classes], "of the classes in `labels`; sum 1");
    let model = ModelProto {
        ir_version: IR_VERSION,
        producer_name: "intone".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        doc_string: "Speech emotion recognition: log-mel frames in, probabilities of emotions out."
            .to_owned(),
        graph: Some(graph.finish(input, output)),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        metadata_props: properties(&meta)?,
    };
    let n_bytes = model.encoded_len();
    if n_bytes > MAX_BYTES {
        let (expected, actual) = (format!("at most {MAX_BYTES} bytes"), n_bytes.to_string());
        return Err(Error::OutOfRange { what: "size of the ONNX file", expected, actual });
    }
    Ok(model.encode_to_vec())
}

/// What the softmax makes probabilities of.
fn calibrated(graph: &mut Graph, meta: &ModelMeta, logits: &str) -> String {
    let Calibration { temperature, gap_exponent, short_s } = meta.calibration();
    let mut bent = logits.to_owned();
    if gap_exponent != 1.0 {
        let of_classes = vec![ints("axes", &[-1]), int("keepdims", 1)];
        let highest = graph.node("ReduceMax", "highest", &[logits], of_classes);
        let gap = graph.node("Sub", "gap", &[&highest, logits], vec![]);
        let exponent = graph.float("gap_exponent", gap_exponent);
        let power = graph.node("Pow", "power", &[&gap, &exponent], vec![]);
        bent = graph.node("Neg", "bent", &[&power], vec![]);
    }
    let mut temperature = graph.float("temperature", temperature);
    if short_s > 0.0 {
        let short_frames = f64::from(short_s) / meta.front_end.frames_s(1);
        let (short, one) = (graph.float("short_frames", short_frames as f32), graph.float("one", 1.0));
        let (shape, axis) = (graph.node("Shape", "shape", &[INPUT], vec![]), graph.ints("frames_axis", &[2]));
        let n_frames = graph.node("Gather", "n_frames", &[&shape, &axis], vec![]);
        let as_float = vec![int("to", TensorProto::FLOAT.into())];
        let n_frames = graph.node("Cast", "n_frames/float", &[&n_frames], as_float);
        let times = graph.node("Div", "times", &[&short, &n_frames], vec![]);
        let times = graph.node("Max", "times/at_least_one", &[&times, &one], vec![]);
        temperature = graph.node("Mul", "temperature/of_the_length", &[&temperature, &times], vec![]);
    }
    graph.node("Div", "calibrated", &[&bent, &temperature], vec![])
}

/// The input relative to the window's peak, as [`Frames::window`](crate::features::Frames::window) has it.
fn scaled(graph: &mut Graph, front_end: &FrontEnd) -> String {
    let whole = vec![ints("axes", &[1, 2]), int("keepdims", 1)];
    let peak = graph.node("ReduceMax", "peak", &[INPUT], whole);
    match front_end.style {
        Style::Librosa => {
            let (top_db, lowest) =
                (graph.float("top_db", front_end.top_db), graph.float("lowest", -front_end.top_db));
            let relative = graph.node("Sub", "relative", &[INPUT, &peak], vec![]);
            let clipped = graph.node("Max", "clipped", &[&relative, &lowest], vec![]);
            let above = graph.node("Add", "above_lowest", &[&clipped, &top_db], vec![]);
            graph.node("Div", "scaled", &[&above, &top_db], vec![])
        }
        Style::Whisper => {
            // Whisper's values are 40 dB each.
            let range = graph.float("range", front_end.top_db / 40.0);
            let lowest = graph.node("Sub", "lowest", &[&peak, &range], vec![]);
            graph.node("Max", "scaled", &[INPUT, &lowest], vec![])
        }
    }
}

fn input_doc(style: Style) -> &'static str {
    match style {
        Style::Librosa => {
            "log-mel frames, dB on any reference, as librosa.power_to_db(melspectrogram(..)); see front_end"
        }
        Style::Whisper => "log-mel frames in Whisper's values, (log10 power + 4) / 4; see front_end",
    }
}

/// Every field of the metadata under its own name, as JSON.
fn properties(meta: &ModelMeta) -> Result<Vec<StringStringEntryProto>> {
    let fields = serde_json::to_value(meta).map_err(|e| ModelError::Metadata(e.to_string()))?;
    let fields = fields.as_object().into_iter().flatten();
    Ok(fields
        .map(|(key, value)| StringStringEntryProto { key: key.clone(), value: value.to_string() })
        .collect())
}

#[cfg(test)]
mod tests;
