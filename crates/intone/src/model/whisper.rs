//! Whisper's encoder as others publish it: safetensors with the names of `transformers`, and CTranslate2's `model.bin`.
//!
//! Only the encoder is read; a decoder beside it is passed over without being loaded. The architecture is told by the
//! shapes, for every size of Whisper; heads are 64 values wide in all of them. Of CTranslate2's quantised files those in
//! int8 are read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, TensorInfo};

use super::file::{Header, header_length, write_atomically};
use super::{EncoderConfig, ModelError, Tensor};
use crate::Result;

/// Width of a head, in every published Whisper.
const HEAD_WIDTH: usize = 64;

/// The most values of one tensor: those of large-v3's largest encoder tensor, `[5120, 1280]`, ten times.
const MAX_VALUES: usize = 1 << 26;

/// What stands before a tensor's name in a published safetensors file.
const PREFIXES: [&str; 2] = ["model.encoder.", "encoder."];

/// The specification that a CTranslate2 file of Whisper names.
const CT2_SPECIFICATION: &str = "WhisperSpec";

/// What stands before the names of the encoder's variables in it.
const CT2_ENCODER: &str = "encoder/";

/// The encoder's layers as CTranslate2 and `transformers` call them, those of a block without what stands before them.
const CT2_LAYERS: [(&str, &str); 8] = [
    ("conv1", "conv1"),
    ("conv2", "conv2"),
    ("self_attention/layer_norm", "self_attn_layer_norm"),
    ("self_attention/linear_1", "self_attn.out_proj"),
    ("ffn/layer_norm", "final_layer_norm"),
    ("ffn/linear_0", "fc1"),
    ("ffn/linear_1", "fc2"),
    ("layer_norm", "layer_norm"),
];

/// CTranslate2's layer of queries, keys and values, which `transformers` has apart from each other.
const CT2_FUSED: &str = "self_attention/linear_0";

/// CTranslate2's positions, and what `transformers` calls them.
const CT2_POSITIONS: (&str, &str) = ("position_encodings/encodings", "embed_positions.weight");

/// CTranslate2's number types, by their numbers (`DataType` in its `types.h`).
const CT2_TYPES: [Dtype; 6] = [Dtype::F32, Dtype::I8, Dtype::I16, Dtype::I32, Dtype::F16, Dtype::BF16];

/// A published encoder: its size, and its tensors under the names of this library.
#[derive(Debug, Clone, PartialEq)]
pub struct WhisperEncoder {
    /// Mel bands of the input.
    pub n_mels: usize,
    /// Values of a row.
    pub width: usize,
    /// Attention heads in a block.
    pub n_heads: usize,
    /// Values in the middle of a block's perceptron.
    pub hidden: usize,
    /// Transformer blocks.
    pub n_blocks: usize,
    /// The tensors of [`encoder`](super::encoder) up to the last block.
    pub tensors: BTreeMap<String, Tensor>,
}

impl WhisperEncoder {
    /// Reads a published file. Which of the two formats it has is told by its first bytes.
    ///
    /// # Errors
    /// [`Error::Model`](crate::Error::Model) with what is wrong, the tensor's name where there is one; all with the path.
    pub fn open(path: impl AsRef<Path>) -> Result<WhisperEncoder> {
        let path = path.as_ref();
        let read = || -> Result<WhisperEncoder> {
            let mut file = BufReader::new(File::open(path)?);
            let n_file = file.get_ref().metadata()?.len();
            let (published, naming) = match is_ctranslate2(&mut file)? {
                true => (read_ctranslate2(&mut file, n_file)?, Naming::Ctranslate2),
                false => read_safetensors(&mut file, n_file)?,
            };
            Ok(WhisperEncoder::new(published).map_err(|error| error.renamed(|name| naming.in_file(name)))?)
        };
        read().map_err(|error| error.in_file(path))
    }

    /// Takes the tensors under their published names (those of `transformers`, without prefix).
    fn new(mut published: BTreeMap<String, Tensor>) -> Result<WhisperEncoder, ModelError> {
        let EncoderConfig { n_mels, width, n_heads, hidden, n_blocks, .. } = size(&published)?;
        let mut tensors = BTreeMap::new();
        let mut take = |name: &str, expected: &[usize]| -> Result<Vec<f32>, ModelError> {
            let tensor = name.to_owned();
            let found = published.remove(name).ok_or(ModelError::MissingTensor { tensor: tensor.clone() })?;
            if found.shape != expected {
                return Err(ModelError::Shape { tensor, expected: expected.to_vec(), actual: found.shape });
            }
            if let Some(index) = found.data.iter().position(|x| !x.is_finite()) {
                return Err(ModelError::NotFinite { tensor, index });
            }
            Ok(found.data)
        };
        let mut put = |name: String, shape: &[usize], data: Vec<f32>| {
            tensors.insert(name, Tensor { shape: shape.to_vec(), data });
        };
        for (conv, c_in) in [("conv1", n_mels), ("conv2", width)] {
            let shape = [width, c_in, 3];
            put(format!("{conv}.weight"), &shape, take(&format!("{conv}.weight"), &shape)?);
            put(format!("{conv}.bias"), &[width], take(&format!("{conv}.bias"), &[width])?);
        }
        for block in 0..n_blocks {
            let ours = |name: &str| format!("blocks.{block}.{name}");
            let mut take = |name: &str, shape: &[usize]| take(&format!("layers.{block}.{name}"), shape);
            for (ours_name, name) in
                [("attention.norm", "self_attn_layer_norm"), ("mlp.norm", "final_layer_norm")]
            {
                put(
                    ours(&format!("{ours_name}.gamma")),
                    &[width],
                    take(&format!("{name}.weight"), &[width])?,
                );
                put(ours(&format!("{ours_name}.beta")), &[width], take(&format!("{name}.bias"), &[width])?);
            }
            // Keys have no bias: it would change nothing.
            let mut weight = take("self_attn.q_proj.weight", &[width, width])?;
            weight.extend(take("self_attn.k_proj.weight", &[width, width])?);
            weight.extend(take("self_attn.v_proj.weight", &[width, width])?);
            let mut bias = take("self_attn.q_proj.bias", &[width])?;
            bias.extend(vec![0.0; width]);
            bias.extend(take("self_attn.v_proj.bias", &[width])?);
            put(ours("attention.qkv.weight"), &[3 * width, width], weight);
            put(ours("attention.qkv.bias"), &[3 * width], bias);
            for (ours_name, name, c_out, c_in) in [
                ("attention.out", "self_attn.out_proj", width, width),
                ("mlp.up", "fc1", hidden, width),
                ("mlp.down", "fc2", width, hidden),
            ] {
                put(
                    ours(&format!("{ours_name}.weight")),
                    &[c_out, c_in],
                    take(&format!("{name}.weight"), &[c_out, c_in])?,
                );
                put(ours(&format!("{ours_name}.bias")), &[c_out], take(&format!("{name}.bias"), &[c_out])?);
            }
        }
        // Positions are computed, and the last normalisation is not part of any layer's output that is used.
        for unused in ["embed_positions.weight", "layer_norm.weight", "layer_norm.bias"] {
            published.remove(unused);
        }
        match published.into_keys().next() {
            Some(tensor) => Err(ModelError::UnexpectedTensor { tensor }),
            None => Ok(WhisperEncoder { n_mels, width, n_heads, hidden, n_blocks, tensors }),
        }
    }

    /// Writes the encoder as safetensors under its published names (`model.encoder.*`), in half precision where that
    /// keeps every bit.
    ///
    /// # Errors
    /// What the operating system says, with the path.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let published = self.published();
        let exact = |x: &f32| f16::from_f32(*x).to_f32().to_bits() == x.to_bits();
        let halves = published.values().all(|tensor| tensor.data.iter().all(exact));
        let dtype = if halves { Dtype::F16 } else { Dtype::F32 };
        let encode = |tensor: &Tensor| -> Vec<u8> {
            if halves {
                tensor.data.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect()
            } else {
                tensor.data.iter().flat_map(|x| x.to_le_bytes()).collect()
            }
        };
        let encoded: Vec<(String, Vec<usize>, Vec<u8>)> = published
            .iter()
            .map(|(name, tensor)| (format!("{}{name}", PREFIXES[0]), tensor.shape.clone(), encode(tensor)))
            .collect();
        let layout = |error: safetensors::SafeTensorError| ModelError::Layout(error.to_string());
        let mut views = Vec::with_capacity(encoded.len());
        for (name, shape, bytes) in &encoded {
            views.push((
                name,
                safetensors::tensor::TensorView::new(dtype, shape.clone(), bytes).map_err(layout)?,
            ));
        }
        let bytes = safetensors::serialize(views, None).map_err(layout)?;
        write_atomically(path, |file| file.write_all(&bytes))
            .map_err(|error| crate::Error::from(error).in_file(path))
    }

    /// The tensors under their published names.
    fn published(&self) -> BTreeMap<String, Tensor> {
        let mut published = BTreeMap::new();
        for (name, tensor) in &self.tensors {
            let Some((block, part)) = name.strip_prefix("blocks.").and_then(|rest| rest.split_once('.'))
            else {
                published.insert(name.clone(), tensor.clone());
                continue;
            };
            let (layer, kind) = part.rsplit_once('.').unwrap_or((part, ""));
            let mut put = |layer: &str, kind: &str, data: &[f32]| {
                let shape = match tensor.shape.as_slice() {
                    [_, c_in] => vec![data.len() / c_in, *c_in],
                    _ => vec![data.len()],
                };
                published
                    .insert(format!("layers.{block}.{layer}.{kind}"), Tensor { shape, data: data.to_vec() });
            };
            let kind = match kind {
                "gamma" => "weight",
                "beta" => "bias",
                other => other,
            };
            match layer {
                "attention.norm" => put("self_attn_layer_norm", kind, &tensor.data),
                "mlp.norm" => put("final_layer_norm", kind, &tensor.data),
                "attention.out" => put("self_attn.out_proj", kind, &tensor.data),
                "mlp.up" => put("fc1", kind, &tensor.data),
                "mlp.down" => put("fc2", kind, &tensor.data),
                _ => {
                    for (name, data) in
                        ["q", "k", "v"].iter().zip(tensor.data.chunks_exact(tensor.data.len() / 3))
                    {
                        if (*name, kind) != ("k", "bias") {
                            put(&format!("self_attn.{name}_proj"), kind, data);
                        }
                    }
                }
            }
        }
        published
    }
}

/// The size of an encoder, as its tensors tell it under their published names.
fn size(published: &BTreeMap<String, Tensor>) -> Result<EncoderConfig, ModelError> {
    let shape = |name: &str, form: &str| {
        let missing = || ModelError::MissingTensor { tensor: name.to_owned() };
        let actual = published.get(name).ok_or_else(missing)?.shape.clone();
        let rank = form.split(',').count();
        if actual.len() == rank {
            return Ok(actual);
        }
        Err(ModelError::Dimensions {
            tensor: name.to_owned(),
            expected: format!("rank {rank}, {form}"),
            actual,
        })
    };
    // Biases tell the sizes: they cannot be the wrong way round.
    let conv = shape("conv1.weight", "[width, n_mels, 3]")?;
    let (width, hidden) = (shape("conv1.bias", "[width]")?[0], shape("layers.0.fc1.bias", "[hidden]")?[0]);
    if (conv[0], conv[2]) != (width, 3) {
        let expected = format!("[{width}, n_mels, 3]");
        return Err(ModelError::Dimensions { tensor: "conv1.weight".to_owned(), expected, actual: conv });
    }
    // By any tensor of the last block, so that one that it lacks is missed.
    let block = |name: &str| name.strip_prefix("layers.")?.split_once('.')?.0.parse::<usize>().ok();
    let blocks = published.keys().filter_map(|name| Some((block(name)?, name)));
    let (last, last_name) = blocks.max().map_or((0, ""), |(block, name)| (block, name.as_str()));
    let n_blocks = last.saturating_add(1);
    let n_heads = (width / HEAD_WIDTH).max(1);
    let config =
        EncoderConfig { n_mels: conv[1], width, n_heads, hidden, n_blocks, ..EncoderConfig::tiny(n_blocks) };
    config.validate().map_err(|error| match error {
        ModelError::Architecture { what, expected, .. } => {
            let tensor = match what.split(' ').next() {
                Some("hidden") => "layers.0.fc1.bias",
                Some("n_blocks") => last_name,
                _ => "conv1.weight",
            };
            let actual = published.get(tensor).map(|tensor| tensor.shape.clone()).unwrap_or_default();
            ModelError::Dimensions {
                tensor: tensor.to_owned(),
                expected: format!("{what} to be {expected}"),
                actual,
            }
        }
        other => other,
    })?;
    Ok(config)
}

/// As many bytes as there are, up to the buffer's length.
fn read_up_to(file: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut n = 0;
    while n < buffer.len() {
        match file.read(&mut buffer[n..])? {
            0 => break,
            more => n += more,
        }
    }
    Ok(n)
}

/// How the numbers of a tensor lie in a published file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    F32,
    F16,
    Bf16,
    Int8,
}

impl Kind {
    fn of(dtype: Dtype) -> Option<Kind> {
        match dtype {
            Dtype::F32 => Some(Kind::F32),
            Dtype::F16 => Some(Kind::F16),
            Dtype::BF16 => Some(Kind::Bf16),
            Dtype::I8 => Some(Kind::Int8),
            _ => None,
        }
    }

    /// Bytes of a number.
    fn width(self) -> usize {
        match self {
            Kind::F32 => 4,
            Kind::F16 | Kind::Bf16 => 2,
            Kind::Int8 => 1,
        }
    }

    /// The numbers as single-precision floats.
    fn floats(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Kind::F32 => bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
            Kind::F16 => bytes.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect(),
            Kind::Bf16 => bytes.as_chunks().0.iter().map(|&b| bf16::from_le_bytes(b).to_f32()).collect(),
            Kind::Int8 => bytes.iter().map(|&b| f32::from(b as i8)).collect(),
        }
    }
}

/// A tensor must have the bytes that its shape asks for, and be of a credible size.
fn check_size(name: &str, shape: &[usize], kind: Kind, n_bytes: u64) -> Result<(), ModelError> {
    let n = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= MAX_VALUES);
    let n = n.ok_or_else(|| ModelError::Layout(format!("`{name}` claims the shape {shape:?}")))?;
    if (n * kind.width()) as u64 != n_bytes {
        return Err(ModelError::Layout(format!("`{name}` has {n_bytes} bytes for {shape:?}")));
    }
    Ok(())
}

/// How a file calls the tensors that have their published names here, those of `transformers` without prefix.
enum Naming {
    /// With this before them.
    Prefixed(&'static str),
    Ctranslate2,
}

impl Naming {
    fn in_file(&self, published: &str) -> String {
        match self {
            Naming::Prefixed(prefix) => format!("{prefix}{published}"),
            Naming::Ctranslate2 => format!("{CT2_ENCODER}{}", ct2_name(published)),
        }
    }
}

fn read_safetensors(
    file: &mut (impl Read + Seek),
    n_file: u64,
) -> Result<(BTreeMap<String, Tensor>, Naming)> {
    let mut start = [0; 8];
    let n_start = read_up_to(file, &mut start)?;
    let n_header = header_length(&start[..n_start])?;
    let n_before = (start.len() + n_header) as u64;
    if n_before > n_file {
        return Err(ModelError::Length { expected: n_before, actual: n_file }.into());
    }
    let mut header = vec![0; n_header];
    file.read_exact(&mut header)?;
    let header: Header =
        serde_json::from_slice(&header).map_err(|error| ModelError::Header(error.to_string()))?;
    // Of a decoder too: a file that was cut short is no file to begin with.
    let end = |info: &TensorInfo| n_before.saturating_add(info.data_offsets.1 as u64);
    let beyond = header.tensors.iter().filter(|(_, info)| end(info) > n_file);
    if let Some((name, info)) = beyond.min_by_key(|(_, info)| info.data_offsets) {
        let (tensor, expected) = (name.clone(), end(info));
        return Err(ModelError::Truncated { tensor, expected, actual: n_file }.into());
    }
    let mut tensors = BTreeMap::new();
    let (mut stranger, mut used) = (None, PREFIXES[0]);
    let mut n_left = n_file - n_before;
    for (name, info) in header.tensors {
        let stripped = PREFIXES.iter().find_map(|&prefix| Some((prefix, name.strip_prefix(prefix)?)));
        let Some((prefix, short)) = stripped else {
            let is_decoder =
                ["model.decoder.", "decoder.", "proj_out."].iter().any(|prefix| name.starts_with(prefix));
            if !is_decoder {
                stranger.get_or_insert(name);
            }
            continue;
        };
        let (from, to) = info.data_offsets;
        let n_bytes = to.checked_sub(from).map(|n| n as u64);
        let n_bytes = n_bytes.ok_or_else(|| ModelError::Layout(format!("`{name}` ends before it begins")))?;
        // Tensors that share bytes could be many times larger together than their file.
        n_left = n_left
            .checked_sub(n_bytes)
            .ok_or_else(|| ModelError::Layout(format!("`{name}` lies where other tensors do")))?;
        let kind = Kind::of(info.dtype).filter(|&kind| kind != Kind::Int8);
        let kind = kind.ok_or_else(|| ModelError::PublishedNumberType {
            tensor: name.clone(),
            expected: "F32, F16 or BF16",
            actual: format!("{:?}", info.dtype),
        })?;
        check_size(&name, &info.shape, kind, n_bytes)?;
        file.seek(SeekFrom::Start(n_before + from as u64))?;
        let mut bytes = vec![0; to - from];
        file.read_exact(&mut bytes)?;
        used = prefix;
        tensors.insert(short.to_owned(), Tensor { shape: info.shape, data: kind.floats(&bytes) });
    }
    match stranger {
        Some(tensor) if !tensors.is_empty() => Err(ModelError::UnexpectedTensor { tensor }.into()),
        _ => Ok((tensors, Naming::Prefixed(used))),
    }
}

/// Whether a file begins as CTranslate2's do: a small version number, the length of a name, and a name that ends in 0.
/// The length of a safetensors header has zeros where that of the name is.
fn is_ctranslate2(file: &mut (impl Read + Seek)) -> std::io::Result<bool> {
    let mut start = [0; 6];
    read_up_to(file, &mut start)?;
    let mut name = vec![0; usize::from(u16::from_le_bytes([start[4], start[5]]))];
    let n_name = read_up_to(file, &mut name)?;
    file.seek(SeekFrom::Start(0))?;
    let is_name = |name: &[u8]| !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    Ok(start[1..4] == [0; 3] && n_name == name.len() && name.strip_suffix(&[0]).is_some_and(is_name))
}

/// CTranslate2's binary format: u32 version, name of the specification, u32 revision, u32 number of variables; for each
/// its name, u8 rank, u32 dimensions, u8 number type, u32 size in bytes, and the bytes. All little-endian; names are a
/// u16 length and as many bytes, the last of them 0.
fn read_ctranslate2(file: &mut (impl Read + Seek), n_file: u64) -> Result<BTreeMap<String, Tensor>> {
    let mut reader = Ct2 { file, n_file, at: 0, within: None };
    reader.number(4)?;
    let specification = reader.name()?;
    if specification != CT2_SPECIFICATION {
        let expected = CT2_SPECIFICATION;
        return Err(ModelError::Specification { expected, actual: specification }.into());
    }
    reader.number(4)?;
    let n_variables = reader.number(4)?;
    let mut variables = BTreeMap::new();
    let mut quantised = Vec::new();
    for index in 1..=n_variables {
        reader.within = Some(format!("number {index} of {n_variables}"));
        let name = reader.name()?;
        reader.within = Some(name.clone());
        let rank = reader.number(1)?;
        let shape = (0..rank).map(|_| Ok(reader.number(4)? as usize)).collect::<Result<Vec<usize>>>()?;
        let dtype = reader.number(1)?;
        let n_bytes = reader.number(4)?;
        if rank == 0 || !name.starts_with(CT2_ENCODER) {
            reader.skip(n_bytes)?;
            continue;
        }
        let dtype = CT2_TYPES.get(dtype as usize).ok_or(dtype);
        let kind = dtype.ok().and_then(|&dtype| Kind::of(dtype));
        let kind = kind.ok_or_else(|| ModelError::PublishedNumberType {
            tensor: name.clone(),
            expected: "F32, F16, BF16 or I8",
            actual: dtype.map_or_else(|number| format!("number type {number}"), |dtype| format!("{dtype:?}")),
        })?;
        check_size(&name, &shape, kind, n_bytes)?;
        let data = kind.floats(&reader.bytes(n_bytes)?);
        if kind == Kind::Int8 {
            quantised.push(name.clone());
        }
        variables.insert(name, Tensor { shape, data });
    }
    for name in quantised {
        dequantise(&name, &mut variables)?;
    }
    let short = |name: &str| name.strip_prefix(CT2_ENCODER).unwrap_or(name).to_owned();
    Ok(variables.into_iter().flat_map(|(name, tensor)| published_names(&short(&name), tensor)).collect())
}

/// CTranslate2's int8: each row of the first dimension was multiplied by a scale of its own, 127 by its largest magnitude,
/// and rounded (`_quantize` in its `model_spec.py`). The scales are the variable `NAME_scale`.
fn dequantise(name: &str, variables: &mut BTreeMap<String, Tensor>) -> Result<(), ModelError> {
    let scale_name = format!("{name}_scale");
    let scales = variables.remove(&scale_name);
    let scales = scales.ok_or_else(|| ModelError::MissingTensor { tensor: scale_name.clone() })?;
    let Some(tensor) = variables.get_mut(name) else {
        return Err(ModelError::MissingTensor { tensor: name.to_owned() });
    };
    if scales.shape != tensor.shape[..1] {
        let (expected, actual) = (tensor.shape[..1].to_vec(), scales.shape);
        return Err(ModelError::Shape { tensor: scale_name, expected, actual });
    }
    if let Some(index) = scales.data.iter().position(|scale| !(scale.is_finite() && *scale > 0.0)) {
        let actual = scales.data[index];
        return Err(ModelError::Scale { tensor: scale_name, index, actual });
    }
    let n_row = tensor.data.len() / scales.data.len().max(1);
    for (row, scale) in tensor.data.chunks_exact_mut(n_row.max(1)).zip(&scales.data) {
        row.iter_mut().for_each(|x| *x /= scale);
    }
    Ok(())
}

struct Ct2<'a, F> {
    file: &'a mut F,
    n_file: u64,
    at: u64,
    /// The variable that is being read.
    within: Option<String>,
}

impl<F: Read + Seek> Ct2<'_, F> {
    /// Claims of the file are held against its length before anything is allocated.
    fn advance(&mut self, n: u64) -> Result<()> {
        self.at = self.at.saturating_add(n);
        if self.at > self.n_file {
            let (expected, actual) = (self.at, self.n_file);
            return Err(match self.within.take() {
                Some(tensor) => ModelError::Truncated { tensor, expected, actual },
                None => ModelError::Length { expected, actual },
            }
            .into());
        }
        Ok(())
    }

    fn bytes(&mut self, n: u64) -> Result<Vec<u8>> {
        self.advance(n)?;
        let mut bytes = vec![0; n as usize];
        self.file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn skip(&mut self, n: u64) -> Result<()> {
        self.advance(n)?;
        self.file.seek(SeekFrom::Start(self.at))?;
        Ok(())
    }

    /// A little-endian number of up to four bytes.
    fn number(&mut self, n: u64) -> Result<u64> {
        Ok(self.bytes(n)?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn name(&mut self) -> Result<String> {
        let n = self.number(2)?;
        let bytes = self.bytes(n)?;
        let bytes = bytes.strip_suffix(&[0]).unwrap_or(&bytes);
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }
}

/// A CTranslate2 variable of the encoder under the names of `transformers`: one, or three where several were fused. One
/// that is not known keeps its name.
fn published_names(name: &str, tensor: Tensor) -> Vec<(String, Tensor)> {
    let (block, part) = match name.strip_prefix("layer_").and_then(|rest| rest.split_once('/')) {
        Some((block, part)) if block != "norm" => (format!("layers.{block}."), part),
        _ => (String::new(), name),
    };
    let (layer, kind) = part.rsplit_once('/').unwrap_or((part, ""));
    if layer == CT2_FUSED {
        let n = tensor.data.len() / 3;
        let pieces = ["q", "k", "v"].iter().zip(tensor.data.chunks(n.max(1)));
        let shape = |n: usize| match tensor.shape.as_slice() {
            [_, c_in] => vec![n / (*c_in).max(1), *c_in],
            _ => vec![n],
        };
        return pieces
            .filter(|(piece, _)| (**piece, kind) != ("k", "bias"))
            .map(|(piece, data)| {
                let name = format!("{block}self_attn.{piece}_proj.{kind}");
                (name, Tensor { shape: shape(data.len()), data: data.to_vec() })
            })
            .collect();
    }
    let kind = match kind {
        "gamma" => "weight",
        "beta" => "bias",
        other => other,
    };
    let renamed = match CT2_LAYERS.iter().find(|(ct2, _)| *ct2 == layer) {
        Some((_, published)) => format!("{block}{published}.{kind}"),
        None if name == CT2_POSITIONS.0 => CT2_POSITIONS.1.to_owned(),
        None => name.to_owned(),
    };
    vec![(renamed, tensor)]
}

/// The other way round: what CTranslate2 calls a tensor of `transformers`; of a third of a fused one, also which.
fn ct2_name(published: &str) -> String {
    let (block, part) = match published.strip_prefix("layers.").and_then(|rest| rest.split_once('.')) {
        Some((block, part)) => (format!("layer_{block}/"), part),
        None => (String::new(), published),
    };
    let (layer, kind) = part.rsplit_once('.').unwrap_or((part, ""));
    if let Some(piece) = layer.strip_prefix("self_attn.").filter(|piece| *piece != "out_proj") {
        return format!("{block}{CT2_FUSED}/{kind} ({piece})");
    }
    let kind = match kind {
        "weight" if layer.ends_with("layer_norm") => "gamma",
        "bias" if layer.ends_with("layer_norm") => "beta",
        other => other,
    };
    match CT2_LAYERS.iter().find(|(_, published)| *published == layer) {
        Some((ct2, _)) => format!("{block}{ct2}/{kind}"),
        None => published.to_owned(),
    }
}
