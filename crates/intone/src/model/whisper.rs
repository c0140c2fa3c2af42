//! Whisper's encoder as others publish it: safetensors with the names of `transformers`, and CTranslate2's `model.bin`.
//!
//! Only the encoder is read; a decoder beside it is passed over without being loaded. The architecture is told by the
//! shapes, for every size of Whisper; heads are 64 values wide in all of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use half::{bf16, f16};
use safetensors::tensor::Dtype;

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
            let mut start = [0; 6];
            let n_start = read_up_to(&mut file, &mut start)?;
            file.seek(SeekFrom::Start(0))?;
            // CTranslate2: a small version number and the length of a name; safetensors: 8 bytes of length, then `{`.
            let names = u16::from_le_bytes([start[4], start[5]]) as usize;
            let published = if n_start == 6 && names == CT2_SPECIFICATION.len() + 1 && start[1..4] == [0; 3] {
                read_ctranslate2(&mut file, n_file)?
            } else {
                read_safetensors(&mut file, n_file)?
            };
            Ok(WhisperEncoder::new(published)?)
        };
        read().map_err(|error| error.in_file(path))
    }

    /// Takes the tensors under their published names (those of `transformers`, without prefix).
    fn new(mut published: BTreeMap<String, Tensor>) -> Result<WhisperEncoder, ModelError> {
        let shape = |name: &str, rank: usize| match published.get(name) {
            None => Err(ModelError::MissingTensor { tensor: name.to_owned() }),
            Some(tensor) if tensor.shape.len() == rank => Ok(tensor.shape.clone()),
            Some(tensor) => Err(ModelError::Shape {
                tensor: name.to_owned(),
                expected: vec![0; rank],
                actual: tensor.shape.clone(),
            }),
        };
        let (conv, up) = (shape("conv1.weight", 3)?, shape("layers.0.fc1.weight", 2)?);
        let (width, n_mels, hidden) = (conv[0], conv[1], up[0]);
        let n_blocks =
            (0..).take_while(|i| published.contains_key(&format!("layers.{i}.fc1.weight"))).count();
        let n_heads = width / HEAD_WIDTH;
        let config = EncoderConfig {
            n_mels,
            width,
            n_heads: n_heads.max(1),
            hidden,
            n_blocks,
            ..EncoderConfig::tiny(n_blocks)
        };
        config.validate()?;

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
            None => Ok(WhisperEncoder { n_mels, width, n_heads: config.n_heads, hidden, n_blocks, tensors }),
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

/// Numbers of a tensor as single-precision floats.
fn floats(name: &str, dtype: &str, bytes: &[u8]) -> Result<Vec<f32>, ModelError> {
    Ok(match dtype {
        "F32" => bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
        "F16" => bytes.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect(),
        "BF16" => bytes.as_chunks().0.iter().map(|&b| bf16::from_le_bytes(b).to_f32()).collect(),
        other => {
            return Err(ModelError::PublishedNumberType {
                tensor: name.to_owned(),
                actual: other.to_owned(),
            });
        }
    })
}

fn count(name: &str, shape: &[usize]) -> Result<usize, ModelError> {
    let n = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= MAX_VALUES);
    n.ok_or_else(|| ModelError::Layout(format!("`{name}` claims the shape {shape:?}")))
}

fn read_safetensors(file: &mut (impl Read + Seek), n_file: u64) -> Result<BTreeMap<String, Tensor>> {
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
    let mut tensors = BTreeMap::new();
    let mut stranger = None;
    let mut n_left = n_file - n_before;
    for (name, info) in header.tensors {
        let Some(short) = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)) else {
            let is_decoder =
                ["model.decoder.", "decoder.", "proj_out."].iter().any(|prefix| name.starts_with(prefix));
            if !is_decoder {
                stranger.get_or_insert(name);
            }
            continue;
        };
        let (from, to) = info.data_offsets;
        let end = n_before.saturating_add(to as u64);
        if from > to || end > n_file {
            return Err(ModelError::Length { expected: end, actual: n_file }.into());
        }
        // Tensors that share bytes could be many times larger together than their file.
        n_left = n_left
            .checked_sub((to - from) as u64)
            .ok_or_else(|| ModelError::Layout(format!("`{name}` lies where other tensors do")))?;
        let dtype = format!("{:?}", info.dtype);
        let n = count(&name, &info.shape)?;
        let width = if info.dtype == Dtype::F32 { 4 } else { 2 };
        if matches!(dtype.as_str(), "F32" | "F16" | "BF16") && n * width != to - from {
            return Err(
                ModelError::Layout(format!("`{name}` has {} bytes for {:?}", to - from, info.shape)).into()
            );
        }
        if !matches!(dtype.as_str(), "F32" | "F16" | "BF16") {
            return Err(ModelError::PublishedNumberType { tensor: name, actual: dtype }.into());
        }
        file.seek(SeekFrom::Start(n_before + from as u64))?;
        let mut bytes = vec![0; to - from];
        file.read_exact(&mut bytes)?;
        tensors.insert(short.to_owned(), Tensor { shape: info.shape, data: floats(&name, &dtype, &bytes)? });
    }
    if tensors.is_empty() {
        let tensor = "model.encoder.conv1.weight".to_owned();
        return Err(ModelError::MissingTensor { tensor }.into());
    }
    match stranger {
        Some(tensor) => Err(ModelError::UnexpectedTensor { tensor }.into()),
        None => Ok(tensors),
    }
}

/// CTranslate2's binary format: u32 version, name of the specification, u32 revision, u32 number of variables; for each
/// its name, u8 rank, u32 dimensions, u8 number type, u32 size in bytes, and the bytes. All little-endian; names are a
/// u16 length and as many bytes, the last of them 0.
fn read_ctranslate2(file: &mut (impl Read + Seek), n_file: u64) -> Result<BTreeMap<String, Tensor>> {
    let mut reader = Ct2 { file, n_file, at: 0 };
    reader.number(4)?;
    let specification = reader.name()?;
    if specification != CT2_SPECIFICATION {
        let what = format!("a CTranslate2 model of '{specification}'; expected '{CT2_SPECIFICATION}'");
        return Err(ModelError::Header(what).into());
    }
    reader.number(4)?;
    let n_variables = reader.number(4)?;
    let mut tensors = BTreeMap::new();
    for _ in 0..n_variables {
        let name = reader.name()?;
        let rank = reader.number(1)?;
        let shape = (0..rank).map(|_| Ok(reader.number(4)? as usize)).collect::<Result<Vec<usize>>>()?;
        let dtype = reader.number(1)?;
        let n_bytes = reader.number(4)?;
        let Some(short) = name.strip_prefix("encoder/").filter(|_| rank > 0) else {
            reader.skip(n_bytes)?;
            continue;
        };
        let dtype = match dtype {
            0 => "F32",
            1 => "I8",
            2 => "I16",
            3 => "I32",
            4 => "F16",
            5 => "BF16",
            _ => "an unknown number type",
        };
        let width = if dtype == "F32" { 4 } else { 2 };
        if !matches!(dtype, "F32" | "F16" | "BF16") {
            return Err(ModelError::PublishedNumberType { tensor: name, actual: dtype.to_owned() }.into());
        }
        if (count(&name, &shape)? * width) as u64 != n_bytes {
            return Err(ModelError::Layout(format!("`{name}` has {n_bytes} bytes for {shape:?}")).into());
        }
        let data = floats(&name, dtype, &reader.bytes(n_bytes)?)?;
        for (name, tensor) in published_names(short, Tensor { shape, data }) {
            tensors.insert(name, tensor);
        }
    }
    if tensors.is_empty() {
        return Err(ModelError::MissingTensor { tensor: "encoder/conv1/weight".to_owned() }.into());
    }
    Ok(tensors)
}

struct Ct2<'a, F> {
    file: &'a mut F,
    n_file: u64,
    at: u64,
}

impl<F: Read + Seek> Ct2<'_, F> {
    /// Claims of the file are held against its length before anything is allocated.
    fn advance(&mut self, n: u64) -> Result<()> {
        self.at = self.at.saturating_add(n);
        if self.at > self.n_file {
            return Err(ModelError::Length { expected: self.at, actual: self.n_file }.into());
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

/// A CTranslate2 variable of the encoder under the names of `transformers`: one, or three where several were fused.
fn published_names(name: &str, tensor: Tensor) -> Vec<(String, Tensor)> {
    let parts: Vec<&str> = name.split('/').collect();
    let kind = |kind: &str| match kind {
        "gamma" => "weight".to_owned(),
        "beta" => "bias".to_owned(),
        other => other.to_owned(),
    };
    let renamed = match parts.as_slice() {
        ["layer_norm", last] => format!("layer_norm.{}", kind(last)),
        ["position_encodings", "encodings"] => "embed_positions.weight".to_owned(),
        [layer, rest @ ..] if layer.starts_with("layer_") => {
            let layer = layer.trim_start_matches("layer_");
            match rest {
                ["self_attention", "linear_0", last] => {
                    let n = tensor.data.len() / 3;
                    let pieces = ["q", "k", "v"].iter().zip(tensor.data.chunks(n.max(1)));
                    let shape = |n: usize| match tensor.shape.as_slice() {
                        [_, c_in] => vec![n / (*c_in).max(1), *c_in],
                        _ => vec![n],
                    };
                    return pieces
                        .filter(|(piece, _)| (**piece, *last) != ("k", "bias"))
                        .map(|(piece, data)| {
                            let name = format!("layers.{layer}.self_attn.{piece}_proj.{last}");
                            (name, Tensor { shape: shape(data.len()), data: data.to_vec() })
                        })
                        .collect();
                }
                ["self_attention", "layer_norm", last] => {
                    format!("layers.{layer}.self_attn_layer_norm.{}", kind(last))
                }
                ["self_attention", "linear_1", last] => format!("layers.{layer}.self_attn.out_proj.{last}"),
                ["ffn", "layer_norm", last] => format!("layers.{layer}.final_layer_norm.{}", kind(last)),
                ["ffn", "linear_0", last] => format!("layers.{layer}.fc1.{last}"),
                ["ffn", "linear_1", last] => format!("layers.{layer}.fc2.{last}"),
                _ => name.to_owned(),
            }
        }
        _ => parts.join("."),
    };
    vec![(renamed, tensor)]
}
