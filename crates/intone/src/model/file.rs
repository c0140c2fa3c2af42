//! Model files: safetensors with one JSON string of metadata. This module alone reads and writes them.
//!
//! ```text
//! 8 bytes   length of the header, little-endian
//! header    {"__metadata__": {"intone": "<ModelMeta as JSON>"}, "<tensor>": {dtype, shape, data_offsets}, ...}
//! data      the tensors one after the other, little-endian, row-major
//! ```
//!
//! Weights lie as f32, as f16, or as int8 with one f32 scale per output channel; in the last two only tensors
//! of rank two and more are made smaller, because the others are few and sensitive (biases, statistics). A file is hostile
//! until proved otherwise: nothing is allocated by its claims, and every way to be wrong has its own [`ModelError`].

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::sync::Arc;

use half::f16;
use safetensors::tensor::{Dtype, Metadata, SafeTensorError, TensorInfo, TensorView};
use serde::Deserialize;

use super::ModelError;
use super::meta::{FORMAT_VERSION, ModelMeta};
use super::rounding::{Heard, Moments};
use crate::Result;
use crate::nn::linear::LayerWeights;

/// The largest header that is read. A header holds about 100 bytes for each tensor and some kilobytes of
/// metadata; whatever claims more than this is no model file.
pub const MAX_HEADER_BYTES: u64 = 1 << 20;

/// The largest file that is read, bytes: room for two billion f32 weights. The encoder of Whisper's largest size has 637
/// million, 2.5 GB, and its published file with the decoder 6.2 GB.
pub const MAX_FILE_BYTES: u64 = 8 << 30;

/// The metadata entry that holds [`ModelMeta`] as JSON.
pub const METADATA_KEY: &str = "intone";

/// The int8 tensor `name` has its scales in the f32 tensor `name` + this, `[shape[0]]`.
pub const SCALE_SUFFIX: &str = ".scale";

/// Bytes of the header's length.
const N_LENGTH: usize = 8;

/// A model as it lies in a file: metadata and named weights.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFile {
    /// Everything but the weights.
    pub meta: ModelMeta,
    /// The weights, by name.
    pub tensors: BTreeMap<String, Tensor>,
    /// How the weights lay in the file that this was read from; [`Precision::F32`] for one that was not read.
    pub precision: Precision,
}

/// Weights, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Its dimensions; their product is the length of `data`.
    pub shape: Vec<usize>,
    /// Its elements.
    pub data: Vec<f32>,
}

/// How weights lie in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Precision {
    /// 32-bit floats: bit for bit what the network has.
    #[default]
    F32,
    /// 16-bit floats (IEEE 754 binary16), relative error up to 2^-11.
    F16,
    /// 8-bit integers times one f32 scale per output channel (the first dimension), symmetric. Where the processor has
    /// instructions for it (AVX-512 VNNI), a network from such a file rounds its inputs to 16 bits and computes with integers,
    /// in 0.6 times the time; its probabilities differ by less than 0.002 from those in single precision.
    Int8,
}

impl Precision {
    /// The name, as a user writes it: `f32`, `f16` or `int8`.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::F16 => "f16",
            Precision::Int8 => "int8",
        }
    }
}

impl ModelFile {
    /// A model to be written.
    pub fn new(meta: ModelMeta, tensors: BTreeMap<String, Tensor>) -> ModelFile {
        ModelFile { meta, tensors, precision: Precision::F32 }
    }

    /// Reads the file at `path`.
    ///
    /// # Errors
    /// As [`ModelFile::read`], with the path; and what the operating system says.
    pub fn open(path: impl AsRef<Path>) -> Result<ModelFile> {
        let path = path.as_ref();
        read_limited(path).and_then(|bytes| ModelFile::read(&bytes)).map_err(|error| error.in_file(path))
    }

    /// Reads a whole file that lies in memory.
    ///
    /// # Errors
    /// [`Error::Model`](crate::Error::Model) with what is wrong. Whether the tensors are those of the
    /// architecture is found out when the network is built from them, through [`Weights`].
    pub fn read(bytes: &[u8]) -> Result<ModelFile> {
        let FileView { meta, precision, tensors } = FileView::new(bytes)?;
        let decode = |(name, tensor): (String, EncodedTensor<'_>)| {
            let data = tensor.decode(&name)?;
            Ok((name, Tensor { shape: tensor.shape, data }))
        };
        let tensors = tensors.into_iter().map(decode).collect::<Result<_, ModelError>>()?;
        Ok(ModelFile { meta, tensors, precision })
    }

    /// Writes the file: to a temporary one beside it, which then takes its place, so that a reader never sees
    /// half a model. The same model gives the same bytes.
    ///
    /// # Errors
    /// Whatever [`ModelFile::read`] would refuse is refused here too; and what the operating system says.
    pub fn write(&self, path: impl AsRef<Path>, precision: Precision) -> Result<()> {
        write_bytes(path.as_ref(), self.to_bytes(precision))
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// Whatever [`ModelFile::read`] would refuse.
    pub fn to_bytes(&self, precision: Precision) -> Result<Vec<u8>> {
        self.encode(precision, &|_, _| None)
    }

    /// The same, the tensors that `round` has integers for rounded to these.
    pub(super) fn encode(&self, precision: Precision, round: &Round<'_>) -> Result<Vec<u8>> {
        self.meta.validate()?;
        let mut encoded = BTreeMap::new();
        for (name, tensor) in &self.tensors {
            encode_tensor(name, tensor, precision, round, &mut encoded)?;
        }
        let views =
            encoded.iter().map(|(name, (dtype, shape, data))| (name, *dtype, shape.clone(), &data[..]));
        serialized(&self.meta, views)
    }

    /// Writes the file at `from` once more, to `to`, with other metadata; its weights stay what they are, to the bit, in
    /// whatever form they lie there. The two may be the same file.
    ///
    /// # Errors
    /// As [`ModelFile::open`] for `from`, and as [`ModelFile::write`]; metadata of a network of another architecture are
    /// refused when the file is used, not here.
    pub fn write_again(from: impl AsRef<Path>, to: impl AsRef<Path>, meta: &ModelMeta) -> Result<()> {
        let from = from.as_ref();
        let bytes = read_limited(from).map_err(|error| error.in_file(from))?;
        write_bytes(to.as_ref(), with_meta(&bytes, meta).map_err(|error| error.in_file(from)))
    }

    /// Number of weights, all tensors together.
    pub fn n_values(&self) -> usize {
        self.tensors.values().map(|tensor| tensor.data.len()).sum()
    }
}

/// A file that lies in memory, its metadata read, its weights as they lie there.
#[derive(Debug)]
pub(super) struct FileView<'a> {
    pub(super) meta: ModelMeta,
    precision: Precision,
    tensors: BTreeMap<String, EncodedTensor<'a>>,
}

impl<'a> FileView<'a> {
    /// # Errors
    /// As [`ModelFile::read`], but for weights that are no numbers, which are found when they are taken.
    pub(super) fn new(bytes: &'a [u8]) -> Result<FileView<'a>> {
        let (header, data) = split_header(bytes)?;
        let (layout, meta) = parse_header(header, data.len())?;
        let (tensors, precision) = encoded_tensors(&layout, data)?;
        Ok(FileView { meta, precision, tensors })
    }

    /// Metadata, and the weights for the network that it describes.
    pub(super) fn into_parts(self) -> (ModelMeta, Weights<'a>) {
        let tensors = self.tensors.into_iter().map(|(name, tensor)| (name, Source::File(tensor)));
        (self.meta, Weights { sources: tensors.collect(), heard: None })
    }
}

/// The weights of a file, handed over one by one, by name and shape, to a network that is being built: so that no more
/// than one copy of them is ever in memory.
#[derive(Debug)]
pub struct Weights<'a> {
    sources: BTreeMap<String, Source<'a>>,
    /// Where the network's matrices are to keep what they are given.
    heard: Option<Heard>,
}

#[derive(Debug)]
enum Source<'a> {
    Memory(Tensor),
    File(EncodedTensor<'a>),
}

impl<'a> Weights<'a> {
    /// Hands over these tensors.
    pub fn new(tensors: BTreeMap<String, Tensor>) -> Weights<'a> {
        let sources = tensors.into_iter().map(|(name, tensor)| (name, Source::Memory(tensor))).collect();
        Weights { sources, heard: None }
    }

    /// The same weights for a network whose matrices keep the moments of what they are given.
    pub(crate) fn heard_by(self, heard: Heard) -> Weights<'a> {
        Weights { heard: Some(heard), ..self }
    }

    /// Where the matrix `name` with `n` inputs keeps the moments of what it is given, if it does.
    pub(crate) fn moments(&self, name: &str, n: usize) -> Option<Arc<Moments>> {
        let mut heard = self.heard.as_ref()?.lock().ok()?;
        Some(heard.entry(name.to_owned()).or_insert_with(|| Arc::new(Moments::new(n))).clone())
    }

    /// The elements of the tensor `name`, row-major, in the shape `expected`.
    ///
    /// # Errors
    /// [`ModelError::MissingTensor`], [`ModelError::Shape`]; [`ModelError::NotFinite`] from a file that was not read before.
    pub fn take(&mut self, name: &str, expected: &[usize]) -> Result<Vec<f32>, ModelError> {
        match self.take_source(name, expected)? {
            Source::Memory(tensor) => Ok(tensor.data),
            Source::File(tensor) => tensor.decode(name),
        }
    }

    /// As [`Weights::take`], but 8-bit integers stay what they are.
    pub(crate) fn take_layer(&mut self, name: &str, expected: &[usize]) -> Result<LayerWeights, ModelError> {
        match self.take_source(name, expected)? {
            Source::Memory(tensor) => Ok(LayerWeights::F32(tensor.data)),
            Source::File(tensor) => tensor.decode_layer(name),
        }
    }

    /// Whether the tensor `name` lies there as 8-bit integers.
    pub(crate) fn is_int8(&self, name: &str) -> bool {
        let source = self.sources.get(name);
        matches!(source, Some(Source::File(EncodedTensor { values: Numbers::Int8 { .. }, .. })))
    }

    /// As [`Weights::take`], but a row of the first dimension at a time, with its place: of a file that was not read
    /// before, no more than that is ever there as floats.
    pub(crate) fn take_rows(
        &mut self,
        name: &str,
        expected: &[usize],
        mut put: impl FnMut(usize, &[f32]),
    ) -> Result<(), ModelError> {
        match self.take_source(name, expected)? {
            Source::Memory(tensor) => {
                tensor.data.chunks(row_len(expected)).enumerate().for_each(|(i, row)| put(i, row));
                Ok(())
            }
            Source::File(tensor) => tensor.decode_rows(name, &mut put),
        }
    }

    fn take_source(&mut self, name: &str, expected: &[usize]) -> Result<Source<'a>, ModelError> {
        let Entry::Occupied(entry) = self.sources.entry(name.to_owned()) else {
            return Err(ModelError::MissingTensor { tensor: name.to_owned() });
        };
        let shape = match entry.get() {
            Source::Memory(tensor) => &tensor.shape,
            Source::File(tensor) => &tensor.shape,
        };
        if shape != expected {
            let (expected, actual) = (expected.to_vec(), shape.clone());
            return Err(ModelError::Shape { tensor: name.to_owned(), expected, actual });
        }
        Ok(entry.remove())
    }

    /// To be called at the end: every tensor of the file must have been taken.
    ///
    /// # Errors
    /// [`ModelError::UnexpectedTensor`] with the first that was not.
    pub fn finish(self) -> Result<(), ModelError> {
        match self.sources.into_keys().next() {
            Some(tensor) => Err(ModelError::UnexpectedTensor { tensor }),
            None => Ok(()),
        }
    }
}

/// The safetensors header; the crate's own `SafeTensors::read_metadata` adds sizes without a check for overflow.
#[derive(Deserialize)]
pub(super) struct Header {
    #[serde(rename = "__metadata__", default)]
    metadata: HashMap<String, String>,
    #[serde(flatten)]
    pub(super) tensors: BTreeMap<String, TensorInfo>,
}

/// The first thing to know about metadata: whether the rest can be understood.
#[derive(Deserialize)]
struct Version {
    format_version: u32,
}

/// Integers for a tensor of this name, and what each row of its first dimension is to be multiplied with; `None` for the nearest
/// ones.
type Round<'a> = dyn Fn(&str, &Tensor) -> Option<(Vec<i8>, Vec<f32>)> + 'a;

/// An encoded tensor: number type, shape, little-endian elements.
type Encoded = (Dtype, Vec<usize>, Vec<u8>);

pub(crate) fn read_limited(path: &Path) -> Result<Vec<u8>> {
    let mut file = std::fs::File::open(path)?;
    let metadata = file.metadata()?;
    let n_file = metadata.len();
    if n_file > MAX_FILE_BYTES {
        return Err(ModelError::FileTooLarge { limit: MAX_FILE_BYTES, actual: n_file }.into());
    }
    // The header is looked at before the rest is read: a wrong file of eight gigabytes costs nothing.
    let mut bytes = Vec::new();
    (&mut file).take(N_LENGTH as u64).read_to_end(&mut bytes)?;
    let n_header = header_length(&bytes)?;
    (&mut file).take(n_header as u64).read_to_end(&mut bytes)?;
    // A pipe has no length.
    if metadata.is_file() {
        let n_data = n_file.saturating_sub((N_LENGTH + n_header) as u64);
        parse_header(split_header(&bytes)?.0, usize::try_from(n_data).unwrap_or(usize::MAX))?;
    }
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The header's length in bytes, as the file claims, if it is credible.
pub(super) fn header_length(bytes: &[u8]) -> Result<usize, ModelError> {
    let length = bytes.first_chunk::<N_LENGTH>().ok_or(ModelError::TooShort { actual: bytes.len() })?;
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER_BYTES {
        return Err(ModelError::HeaderTooLarge { limit: MAX_HEADER_BYTES, actual: length });
    }
    Ok(length as usize)
}

/// Header and data of a file.
fn split_header(bytes: &[u8]) -> Result<(&[u8], &[u8]), ModelError> {
    let n_header = header_length(bytes)?;
    let length = || ModelError::Length { expected: (N_LENGTH + n_header) as u64, actual: bytes.len() as u64 };
    bytes[N_LENGTH..].split_at_checked(n_header).ok_or_else(length)
}

fn parse_header(header: &[u8], n_data: usize) -> Result<(Metadata, ModelMeta), ModelError> {
    let parsed: Header = serde_json::from_slice(header).map_err(|e| ModelError::Header(e.to_string()))?;
    let mut tensors: Vec<_> = parsed.tensors.into_iter().collect();
    tensors.sort_by_key(|(_, info)| info.data_offsets);
    // Proves that the tensors lie without gap and overlap from 0 on, each as long as its shape says.
    let layout = Metadata::new(None, tensors).map_err(layout_error)?;
    if layout.data_len() != n_data {
        let n_before = (N_LENGTH + header.len()) as u64;
        let expected = n_before.saturating_add(layout.data_len() as u64);
        return Err(ModelError::Length { expected, actual: n_before + n_data as u64 });
    }
    let json = parsed.metadata.get(METADATA_KEY).ok_or(ModelError::NoMetadata { key: METADATA_KEY })?;
    let unreadable = |e: serde_json::Error| ModelError::Metadata(e.to_string());
    let Version { format_version } = serde_json::from_str(json).map_err(unreadable)?;
    if format_version != FORMAT_VERSION {
        return Err(ModelError::Version { expected: FORMAT_VERSION, actual: format_version });
    }
    let meta: ModelMeta = serde_json::from_str(json).map_err(unreadable)?;
    meta.validate()?;
    Ok((layout, meta))
}

fn encoded_tensors<'a>(
    layout: &Metadata,
    data: &'a [u8],
) -> Result<(BTreeMap<String, EncodedTensor<'a>>, Precision), ModelError> {
    let infos: BTreeMap<String, &TensorInfo> = layout.tensors().into_iter().collect();
    let mut precision = Precision::F32;
    let mut tensors = BTreeMap::new();
    let bytes_of = |info: &TensorInfo| &data[info.data_offsets.0..info.data_offsets.1];
    for (name, info) in &infos {
        let values = match info.dtype {
            Dtype::F32 if is_scale(name, &infos) => continue,
            Dtype::F32 => Numbers::F32(bytes_of(info)),
            Dtype::F16 => {
                precision = Precision::F16;
                Numbers::F16(bytes_of(info))
            }
            Dtype::I8 => {
                precision = Precision::Int8;
                let scale = scale_name(name);
                let scales =
                    infos.get(&scale).ok_or_else(|| ModelError::MissingTensor { tensor: scale.clone() })?;
                check_scales(info, &scale, scales)?;
                Numbers::Int8 { values: bytes_of(info), scales: bytes_of(scales) }
            }
            other => {
                return Err(ModelError::NumberType { tensor: name.clone(), actual: format!("{other:?}") });
            }
        };
        tensors.insert(name.clone(), EncodedTensor { shape: info.shape.clone(), values });
    }
    Ok((tensors, precision))
}

/// A tensor as it lies in a file.
#[derive(Debug)]
struct EncodedTensor<'a> {
    shape: Vec<usize>,
    values: Numbers<'a>,
}

#[derive(Debug)]
enum Numbers<'a> {
    F32(&'a [u8]),
    F16(&'a [u8]),
    Int8 { values: &'a [u8], scales: &'a [u8] },
}

impl Numbers<'_> {
    fn len(&self) -> usize {
        match self {
            Numbers::F32(bytes) => bytes.len() / 4,
            Numbers::F16(bytes) => bytes.len() / 2,
            Numbers::Int8 { values, .. } => values.len(),
        }
    }
}

impl EncodedTensor<'_> {
    /// Its elements, which all are numbers; `name` is for the error where one is not.
    fn decode(&self, name: &str) -> Result<Vec<f32>, ModelError> {
        // Room for all at once: a vector that grows ends up with up to twice what it needs.
        let mut values = Vec::with_capacity(self.values.len());
        self.decode_rows(name, &mut |_, row| values.extend_from_slice(row))?;
        Ok(values)
    }

    /// The same, but 8-bit integers stay what they are.
    fn decode_layer(&self, name: &str) -> Result<LayerWeights, ModelError> {
        if let Numbers::Int8 { values, scales } = self.values {
            let scales = floats(scales);
            // One that makes more than a float can hold is an error if a value needs it: that is found below.
            if scales.iter().all(|scale| (scale * 128.0).is_finite()) {
                return Ok(LayerWeights::Int8 { values: values.iter().map(|&q| q as i8).collect(), scales });
            }
        }
        self.decode(name).map(LayerWeights::F32)
    }

    /// The same, a row of the first dimension at a time, with its place.
    fn decode_rows(&self, name: &str, put: &mut dyn FnMut(usize, &[f32])) -> Result<(), ModelError> {
        let n_row = row_len(&self.shape);
        let mut rows = RowDecoder { name, row: Vec::new(), n_done: 0, put };
        match self.values {
            Numbers::F32(bytes) => {
                let mut encoded = bytes.as_chunks().0.chunks(n_row);
                encoded.try_for_each(|row| rows.push(row.iter().map(|&b| f32::from_le_bytes(b))))
            }
            Numbers::F16(bytes) => {
                let mut encoded = bytes.as_chunks().0.chunks(n_row);
                encoded.try_for_each(|row| rows.push(row.iter().map(|&b| f16::from_le_bytes(b).to_f32())))
            }
            Numbers::Int8 { values, scales } => {
                let scales = floats(scales);
                check_finite(&scale_name(name), 0, &scales)?;
                let mut encoded = values.chunks(n_row).zip(scales);
                encoded
                    .try_for_each(|(row, scale)| rows.push(row.iter().map(|&q| f32::from(q as i8) * scale)))
            }
        }
    }
}

/// Hands on the rows of a tensor once they are floats.
struct RowDecoder<'a> {
    name: &'a str,
    row: Vec<f32>,
    n_done: usize,
    put: &'a mut dyn FnMut(usize, &[f32]),
}

impl RowDecoder<'_> {
    fn push(&mut self, values: impl Iterator<Item = f32>) -> Result<(), ModelError> {
        self.row.clear();
        self.row.extend(values);
        check_finite(self.name, self.n_done * self.row.len(), &self.row)?;
        (self.put)(self.n_done, &self.row);
        self.n_done += 1;
        Ok(())
    }
}

/// Values of a row of the first dimension, as the shape claims: where there is no row, that can be any number.
fn row_len(shape: &[usize]) -> usize {
    shape.iter().skip(1).fold(1usize, |n, &d| n.saturating_mul(d)).max(1)
}

fn scale_name(name: &str) -> String {
    format!("{name}{SCALE_SUFFIX}")
}

/// Whether the tensor `name` holds the scales of another.
fn is_scale(name: &str, infos: &BTreeMap<String, &TensorInfo>) -> bool {
    let base = name.strip_suffix(SCALE_SUFFIX).and_then(|base| infos.get(base));
    base.is_some_and(|info| info.dtype == Dtype::I8)
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
}

/// The scales of an int8 tensor are floats, one for each row of its first dimension.
fn check_scales(info: &TensorInfo, scale_name: &str, scales: &TensorInfo) -> Result<(), ModelError> {
    if scales.dtype != Dtype::F32 {
        let actual = format!("{:?}", scales.dtype);
        return Err(ModelError::NumberType { tensor: scale_name.to_owned(), actual });
    }
    let expected = info.shape.first().copied().into_iter().collect::<Vec<_>>();
    if scales.shape != expected {
        let actual = scales.shape.clone();
        return Err(ModelError::Shape { tensor: scale_name.to_owned(), expected, actual });
    }
    Ok(())
}

fn encode_tensor(
    name: &str,
    tensor: &Tensor,
    precision: Precision,
    round: &Round<'_>,
    encoded: &mut BTreeMap<String, Encoded>,
) -> Result<(), ModelError> {
    if tensor.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)) != Some(tensor.data.len()) {
        let actual = vec![tensor.data.len()];
        return Err(ModelError::Shape { tensor: name.to_owned(), expected: tensor.shape.clone(), actual });
    }
    check_finite(name, 0, &tensor.data)?;
    let shape = tensor.shape.clone();
    let small = shape.len() < 2;
    let mut put = |name: String, encoding: Encoded| match encoded.insert(name.clone(), encoding) {
        Some(_) => Err(ModelError::Layout(format!("two tensors are called `{name}`"))),
        None => Ok(()),
    };
    match precision {
        Precision::F16 if !small => {
            let halves: Vec<f16> = tensor.data.iter().map(|&x| f16::from_f32(x)).collect();
            if let Some(index) = halves.iter().position(|x| !x.is_finite()) {
                return Err(ModelError::NotFinite { tensor: name.to_owned(), index });
            }
            let bytes = halves.iter().flat_map(|x| x.to_le_bytes()).collect();
            put(name.to_owned(), (Dtype::F16, shape, bytes))
        }
        Precision::Int8 if !small => {
            let (integers, scales) = round(name, tensor).unwrap_or_else(|| quantise(&shape, &tensor.data));
            let n_channels = scales.len();
            put(name.to_owned(), (Dtype::I8, shape, integers.iter().map(|&q| q as u8).collect()))?;
            put(scale_name(name), (Dtype::F32, vec![n_channels], float_bytes(&scales)))
        }
        _ => put(name.to_owned(), (Dtype::F32, shape, float_bytes(&tensor.data))),
    }
}

fn float_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// Symmetric int8 per channel: the largest magnitude of each row of the first dimension becomes 127.
fn quantise(shape: &[usize], data: &[f32]) -> (Vec<i8>, Vec<f32>) {
    let n_row = shape[1..].iter().product::<usize>();
    let mut integers = Vec::with_capacity(data.len());
    let mut scales = Vec::with_capacity(shape[0]);
    for channel in 0..shape[0] {
        let row = &data[channel * n_row..(channel + 1) * n_row];
        let scale = row.iter().fold(0.0f32, |max, x| max.max(x.abs())) / 127.0;
        // A scale of zero has only zeros; `as` turns the 0/0 into 0.
        integers.extend(row.iter().map(|x| (x / scale).round() as i8));
        scales.push(scale);
    }
    (integers, scales)
}

/// Values from the place `first` of a tensor on.
fn check_finite(tensor: &str, first: usize, values: &[f32]) -> Result<(), ModelError> {
    match values.iter().position(|x| !x.is_finite()) {
        Some(index) => Err(ModelError::NotFinite { tensor: tensor.to_owned(), index: first + index }),
        None => Ok(()),
    }
}

fn layout_error(error: SafeTensorError) -> ModelError {
    ModelError::Layout(error.to_string())
}

/// The bytes of a file with other metadata.
fn with_meta(bytes: &[u8], meta: &ModelMeta) -> Result<Vec<u8>> {
    meta.validate()?;
    let (header, data) = split_header(bytes)?;
    let (layout, _) = parse_header(header, data.len())?;
    let tensors = layout.tensors();
    let views = tensors.iter().map(|(name, info)| {
        let (from, to) = info.data_offsets;
        (name, info.dtype, info.shape.clone(), &data[from..to])
    });
    serialized(meta, views)
}

/// The bytes of a file with this metadata and these tensors: name, number type, shape, little-endian elements.
fn serialized<'a>(
    meta: &ModelMeta,
    tensors: impl Iterator<Item = (&'a String, Dtype, Vec<usize>, &'a [u8])>,
) -> Result<Vec<u8>> {
    let meta = serde_json::to_string(meta).map_err(|e| ModelError::Metadata(e.to_string()))?;
    let metadata = HashMap::from([(METADATA_KEY.to_owned(), meta)]);
    let view =
        |(name, dtype, shape, data)| Ok((name, TensorView::new(dtype, shape, data).map_err(layout_error)?));
    let views = tensors.map(view).collect::<Result<Vec<_>, ModelError>>()?;
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(layout_error)?;
    split_header(&bytes)?;
    Ok(bytes)
}

/// Writes the bytes of a model file, if there are any.
pub(super) fn write_bytes(path: &Path, bytes: Result<Vec<u8>>) -> Result<()> {
    let bytes = bytes?;
    write_atomically(path, |file| file.write_all(&bytes))
        .map_err(|error| crate::Error::from(error).in_file(path))
}

/// Writes a file as a whole: `write` fills one beside it under another name, which then takes its place. Where that
/// fails, what was there before stays.
///
/// # Errors
/// Those of `write`, and what the operating system says.
pub fn write_atomically<E: From<std::io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut File) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let refuse = |kind, what: String| Err(std::io::Error::new(kind, what).into());
    if !folder.is_dir() {
        return refuse(ErrorKind::NotFound, format!("there is no folder {}", folder.display()));
    }
    if path.is_dir() {
        return refuse(ErrorKind::IsADirectory, "expected the name of a file, got a folder".to_owned());
    }
    let mut builder = tempfile::Builder::new();
    builder.prefix(".unfinished-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As any other new file (the umask applies), not private as temporary files are.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    // The message would name the file beside it.
    let mut file = builder.tempfile_in(folder).map_err(|error| std::io::Error::from(error.kind()))?;
    write(file.as_file_mut())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(std::io::Error::from)?;
    Ok(())
}
