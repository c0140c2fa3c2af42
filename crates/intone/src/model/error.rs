//! Why a model file cannot be used: one variant for each reason.

/// What is wrong with a model, or with the file that holds it.
///
/// [`Error::in_file`](crate::Error::in_file) adds the path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The file is larger than [`MAX_FILE_BYTES`](super::file::MAX_FILE_BYTES).
    #[error("{actual} bytes are more than the limit of {limit}")]
    FileTooLarge {
        /// The largest size that is read, bytes.
        limit: u64,
        /// The size of the file, bytes.
        actual: u64,
    },

    /// Too few bytes even for the length of the header.
    #[error("not a safetensors file: it has only {actual} bytes")]
    TooShort {
        /// The number of bytes that came.
        actual: usize,
    },

    /// The header claims more than [`MAX_HEADER_BYTES`](super::file::MAX_HEADER_BYTES).
    #[error(
        "not a safetensors file, or a hostile one: its header claims {actual} bytes, the limit is {limit}"
    )]
    HeaderTooLarge {
        /// The largest header that is read, bytes.
        limit: u64,
        /// The size that the file claims, bytes.
        actual: u64,
    },

    /// The file ends before, or goes on after, what its header describes.
    #[error("its header describes {expected} bytes, but there are {actual}")]
    Length {
        /// The length of a whole file with this header, bytes.
        expected: u64,
        /// The length of what came, bytes.
        actual: u64,
    },

    /// A published file ends before one of its tensors does.
    #[error("cut short in tensor `{tensor}`: it reaches to {expected} bytes, but there are {actual}")]
    Truncated {
        /// The first tensor that is not there as a whole.
        tensor: String,
        /// Where it would end, bytes from the beginning of the file.
        expected: u64,
        /// The length of the file, bytes.
        actual: u64,
    },

    /// A CTranslate2 file of another kind of network.
    #[error("a CTranslate2 model of '{actual}'; expected '{expected}'")]
    Specification {
        /// The specification of the networks that are read.
        expected: &'static str,
        /// The specification that the file names.
        actual: String,
    },

    /// The header is no table of tensors.
    #[error("the safetensors header cannot be read: {0}")]
    Header(String),

    /// A tensor's bytes lie where they must not: a gap, an overlap, or another size than its shape has.
    #[error("the tensors are not laid out one after the other: {0}")]
    Layout(String),

    /// The safetensors file was not written by Intone.
    #[error("a safetensors file of another program: its metadata has no entry `{key}`")]
    NoMetadata {
        /// The metadata key that is missing.
        key: &'static str,
    },

    /// The metadata is not the JSON that this version of the format has.
    #[error("its metadata cannot be read: {0}")]
    Metadata(String),

    /// A file of another version of the format.
    #[error("format version {actual}, but this program reads version {expected}")]
    Version {
        /// The version that this program reads.
        expected: u32,
        /// The version of the file.
        actual: u32,
    },

    /// Weights of a number type that this format does not have.
    #[error("tensor `{tensor}` holds {actual}; expected F32, F16 or I8 with a scale per channel")]
    NumberType {
        /// The tensor.
        tensor: String,
        /// Its number type, as safetensors calls it.
        actual: String,
    },

    /// Published weights of a number type that is not read.
    #[error("tensor `{tensor}` holds {actual}; expected {expected}")]
    PublishedNumberType {
        /// The tensor.
        tensor: String,
        /// The number types that are read from such a file.
        expected: &'static str,
        /// Its number type.
        actual: String,
    },

    /// A tensor of another shape than the architecture has.
    #[error("tensor `{tensor}`: expected shape {expected:?}, got {actual:?}")]
    Shape {
        /// The tensor.
        tensor: String,
        /// The shape that the architecture asks for.
        expected: Vec<usize>,
        /// The shape that came.
        actual: Vec<usize>,
    },

    /// A published tensor whose shape no size of the network has.
    #[error("tensor `{tensor}`: expected {expected}, got {actual:?}")]
    Dimensions {
        /// The tensor.
        tensor: String,
        /// What its shape would have to be, such as `rank 3, [width, n_mels, 3]`.
        expected: String,
        /// The shape that came.
        actual: Vec<usize>,
    },

    /// A scale of quantised weights by which nothing can be divided.
    #[error("tensor `{tensor}`: scale {index} is {actual}; expected a positive number")]
    Scale {
        /// The tensor of the scales.
        tensor: String,
        /// The place of the first such scale.
        index: usize,
        /// The scale that came.
        actual: f32,
    },

    /// The architecture needs a tensor that the file does not have.
    #[error("tensor `{tensor}` is missing")]
    MissingTensor {
        /// The tensor.
        tensor: String,
    },

    /// The file has a tensor that the architecture does not know.
    #[error("tensor `{tensor}` is not part of the architecture")]
    UnexpectedTensor {
        /// The tensor.
        tensor: String,
    },

    /// A weight is NaN or infinite.
    #[error("tensor `{tensor}`: element {index} is not a finite number")]
    NotFinite {
        /// The tensor.
        tensor: String,
        /// The place of the first such element, row-major.
        index: usize,
    },

    /// No class, or more than [`MAX_LABELS`](super::meta::MAX_LABELS).
    #[error("{actual} labels; expected 1 to {limit}")]
    LabelCount {
        /// The largest number of classes.
        limit: usize,
        /// The number that came.
        actual: usize,
    },

    /// Two classes of the same name.
    #[error("the label `{label}` stands twice")]
    DuplicateLabel {
        /// The name.
        label: String,
    },

    /// A name that cannot be shown or asked for: empty, overlong, with a comma, a control character or space
    /// at its ends.
    #[error("{label:?} is no usable label")]
    InvalidLabel {
        /// The name.
        label: String,
    },

    /// A confidence to be certain that is no probability.
    #[error("uncertain_below {actual}; expected 0 to 1")]
    UncertainBelow {
        /// The confidence that came.
        actual: f32,
    },

    /// A calibration temperature outside of
    /// [`MIN_TEMPERATURE`](super::meta::MIN_TEMPERATURE)..=[`MAX_TEMPERATURE`](super::meta::MAX_TEMPERATURE).
    #[error("temperature {actual}; expected {min} to {max}")]
    Temperature {
        /// The lowest temperature.
        min: f32,
        /// The highest temperature.
        max: f32,
        /// The temperature that came.
        actual: f32,
    },

    /// An exponent of the gaps between logits outside of
    /// [`MIN_GAP_EXPONENT`](super::meta::MIN_GAP_EXPONENT)..=[`MAX_GAP_EXPONENT`](super::meta::MAX_GAP_EXPONENT).
    #[error("gap_exponent {actual}; expected {min} to {max}")]
    GapExponent {
        /// The lowest exponent.
        min: f32,
        /// The highest exponent.
        max: f32,
        /// The exponent that came.
        actual: f32,
    },

    /// A length of short sounds that is out of range, or belongs to a network whose windows are of one length.
    #[error("short_s {actual}; expected 0 to {max} for this network")]
    ShortSound {
        /// The longest sound that may count as short, seconds.
        max: f32,
        /// The length that came.
        actual: f32,
    },

    /// Feature parameters that no front end can have.
    #[error("front end: {0}")]
    FrontEnd(Box<crate::Error>),

    /// Hyperparameters that no network can have, or that contradict the labels or the front end.
    #[error("architecture: {what}: expected {expected}, got {actual}")]
    Architecture {
        /// The name of the hyperparameter.
        what: &'static str,
        /// The values that are allowed.
        expected: String,
        /// The value that came.
        actual: String,
    },

    /// A layer of a chain that cannot be, or does not fit what comes before it.
    #[error("layer {index} ({kind}): {what}")]
    Layer {
        /// Its place in the chain, counted from 0.
        index: usize,
        /// The name of its kind, as it stands in the file.
        kind: &'static str,
        /// What was expected and what came.
        what: String,
    },

    /// The network answered with something that is not a number: its weights are finite, but useless.
    #[error("the network's answer is not a finite number")]
    Answer,

    /// A value of the provenance that JSON cannot hold.
    #[error("score `{name}` is not a finite number")]
    Score {
        /// The name of the score.
        name: String,
    },
}

impl ModelError {
    /// The same with the tensor, where the error is about one that a file misses or has wrong, under its name in that file.
    pub(super) fn renamed(mut self, in_file: impl FnOnce(&str) -> String) -> ModelError {
        if let ModelError::MissingTensor { tensor }
        | ModelError::UnexpectedTensor { tensor }
        | ModelError::NotFinite { tensor, .. }
        | ModelError::Shape { tensor, .. }
        | ModelError::Dimensions { tensor, .. } = &mut self
        {
            *tensor = in_file(tensor);
        }
        self
    }
}
