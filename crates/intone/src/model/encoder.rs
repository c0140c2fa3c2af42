//! Whisper's encoder (Radford et al. 2022) under a head that answers with emotions.
//!
//! Two convolutions over time, the second of which halves the number of frames; sinusoidal positions; pre-norm Transformer
//! blocks. Above them attentive statistics pooling (Okabe et al. 2018): mean and standard deviation over time, weighted by a
//! small network that sees the softmax-weighted sum of the layers' outputs, each layer-normalised without parameters (as SUPERB
//! does; Yang et al. 2021); either of this sum or of several layers one by one; standardised over the training set; and a
//! multi-layer perceptron.
//!
//! Only a clip's own frames are encoded, and positions begin at 0: Whisper's filling up to 30 s is left out.

use std::sync::Arc;

use super::rounding::Moments;
use super::{EncoderConfig, ModelError, Weights};
use crate::nn::attention::{self, Heads};
use crate::nn::linear::{Int8Packed, LayerWeights, Packed, add_to_rows, bias_gelu, layer_norm};
use crate::nn::pooling::{self, softmax};

#[cfg(feature = "train")]
mod train;
#[cfg(feature = "train")]
pub use train::{ClipBatch, EncoderNetwork, FrozenClip, FrozenEncoder};

pub use crate::nn::linear::ProductPrecision;

/// Longest period of the sinusoidal positions, in units of `2 pi` rows.
const MAX_TIMESCALE: f64 = 10_000.0;

/// What is pooled is brought to mean 0 and deviation 1 over the training set: less this, times that. These two are
/// statistics, not learned.
pub(crate) const POOLED_MEAN: &str = "pooling.mean";
pub(crate) const POOLED_SCALE: &str = "pooling.scale";

/// Name and shape of every tensor of the network, in the order of computation.
pub(crate) fn tensors(config: &EncoderConfig) -> Vec<(String, Vec<usize>)> {
    let EncoderConfig { n_mels, width: c, hidden, n_blocks, pooling, n_classes, .. } = *config;
    let mut all: Vec<(String, Vec<usize>)> = Vec::new();
    let mut put = |name: &str, shape: &[usize]| all.push((name.to_owned(), shape.to_vec()));
    for (conv, c_in) in [("conv1", n_mels), ("conv2", c)] {
        put(&format!("{conv}.weight"), &[c, c_in, 3]);
        put(&format!("{conv}.bias"), &[c]);
    }
    for block in 0..n_blocks {
        let mut put = |name: &str, shape: &[usize]| put(&format!("blocks.{block}.{name}"), shape);
        put("attention.norm.gamma", &[c]);
        put("attention.norm.beta", &[c]);
        put("attention.qkv.weight", &[3 * c, c]);
        put("attention.qkv.bias", &[3 * c]);
        put("attention.out.weight", &[c, c]);
        put("attention.out.bias", &[c]);
        put("mlp.norm.gamma", &[c]);
        put("mlp.norm.beta", &[c]);
        put("mlp.up.weight", &[hidden, c]);
        put("mlp.up.bias", &[hidden]);
        put("mlp.down.weight", &[c, hidden]);
        put("mlp.down.bias", &[c]);
    }
    put("mix", &[n_blocks + 1]);
    put("pooling.hidden.weight", &[pooling, c]);
    put("pooling.hidden.bias", &[pooling]);
    put("pooling.score.weight", &[1, pooling]);
    let mut n_in = config.n_pooled();
    put(POOLED_MEAN, &[n_in]);
    put(POOLED_SCALE, &[n_in]);
    for (i, &n) in config.dense.iter().enumerate() {
        put(&format!("dense.{i}.weight"), &[n, n_in]);
        put(&format!("dense.{i}.bias"), &[n]);
        n_in = n;
    }
    put("output.weight", &[n_classes, n_in]);
    put("output.bias", &[n_classes]);
    all
}

/// Number of trainable parameters.
pub fn n_parameters(config: &EncoderConfig) -> usize {
    let learned =
        tensors(config).into_iter().filter(|(name, _)| ![POOLED_MEAN, POOLED_SCALE].contains(&name.as_str()));
    learned.map(|(_, shape)| shape.iter().product::<usize>()).sum()
}

/// Sinusoidal positions `[n, c]`: sines in the first half of each row, cosines in the second.
pub(crate) fn positions(n: usize, c: usize) -> Vec<f32> {
    let half = c / 2;
    let step = MAX_TIMESCALE.ln() / (half.max(2) - 1) as f64;
    let mut rows = Vec::with_capacity(n * c);
    for t in 0..n {
        // In single precision where Whisper has it.
        let angles = (0..half).map(|i| t as f32 * (-(step as f32) * i as f32).exp());
        rows.extend(angles.clone().map(f32::sin));
        rows.extend(angles.map(f32::cos));
    }
    rows
}

/// Rows that `n_frames` frames become: half of them, rounded up.
pub(crate) fn rows_of(n_frames: usize) -> usize {
    n_frames.div_ceil(2)
}

/// The matrix of a dense layer.
#[derive(Debug, Clone)]
enum Matrix {
    F32(Packed),
    Int8(Int8Packed),
    /// One that keeps the moments of what it is given.
    Hearing(Packed, Arc<Moments>),
}

impl Matrix {
    /// Takes a weight `[c_out, c_in]`, or a filter over time `[c_out, c_in, 3]`. 8-bit integers stay what they are, where there
    /// is a kernel for them.
    fn take(weights: &mut Weights, name: &str, shape: &[usize]) -> Result<Matrix, ModelError> {
        let (c_out, c_in) = (shape[0], shape[1..].iter().product());
        let is_filter = shape.len() > 2;
        if weights.is_int8(name) {
            let layer = weights.take_layer(name, shape)?;
            if let LayerWeights::Int8 { values, scales } = &layer {
                let packed = if is_filter {
                    Int8Packed::new(&taps_first(values, shape[1]), scales)
                } else {
                    Int8Packed::new(values, scales)
                };
                if let Some(packed) = packed {
                    return Ok(Matrix::Int8(packed));
                }
            }
            let floats = layer.into_floats();
            let rows = if is_filter { taps_first(&floats, shape[1]) } else { floats };
            return Ok(Matrix::F32(Packed::from_rows(&rows, c_in)));
        }
        let mut packed = Packed::zeros(c_out, c_in);
        weights.take_rows(name, shape, |o, row| {
            if is_filter { packed.put_row(o, &taps_first(row, shape[1])) } else { packed.put_row(o, row) }
        })?;
        Ok(match weights.moments(name, c_in) {
            Some(moments) => Matrix::Hearing(packed, moments),
            None => Matrix::F32(packed),
        })
    }

    fn product(&self, x: &[f32], n: usize, pitch: usize) -> Vec<f32> {
        match self {
            Matrix::F32(packed) => packed.product(x, n, pitch),
            Matrix::Int8(packed) => packed.product(x, n, pitch),
            Matrix::Hearing(packed, moments) => {
                moments.add(x, n, pitch);
                packed.product(x, n, pitch)
            }
        }
    }
}

/// A dense layer.
#[derive(Debug, Clone)]
struct Linear {
    weight: Matrix,
    bias: Vec<f32>,
}

impl Linear {
    fn take(weights: &mut Weights, name: &str, c_out: usize, c_in: usize) -> Result<Linear, ModelError> {
        let weight = Matrix::take(weights, &format!("{name}.weight"), &[c_out, c_in])?;
        Ok(Linear { weight, bias: weights.take(&format!("{name}.bias"), &[c_out])? })
    }

    /// A convolution over three frames: a dense layer over what lies side by side in memory.
    fn take_conv(weights: &mut Weights, name: &str, c_out: usize, c_in: usize) -> Result<Linear, ModelError> {
        let weight = Matrix::take(weights, &format!("{name}.weight"), &[c_out, c_in, 3])?;
        Ok(Linear { weight, bias: weights.take(&format!("{name}.bias"), &[c_out])? })
    }

    /// `x W + bias`: `n` rows `[n, c_out]`.
    fn apply(&self, x: &[f32], n: usize) -> Vec<f32> {
        let mut out = self.weight.product(x, n, x.len() / n);
        add_to_rows(&mut out, &self.bias);
        out
    }

    /// Adds `x W + bias` to the rows of `sum`.
    fn add_to(&self, x: &[f32], sum: &mut [f32]) {
        let out = self.apply(x, sum.len() / self.bias.len());
        sum.iter_mut().zip(out).for_each(|(sum, x)| *sum += x);
    }

    /// `gelu(x W + bias)`; the input of each row begins `pitch` after that of the last one.
    fn apply_gelu(&self, x: &[f32], n: usize, pitch: usize) -> Vec<f32> {
        let out = self.weight.product(x, n, pitch);
        let mut activated = vec![0.0; out.len()];
        bias_gelu(&out, &self.bias, &mut activated);
        activated
    }
}

/// A filter over time `[c_out, c_in, 3]` as `[c_out, 3, c_in]`.
pub(crate) fn taps_first<T: Copy>(weight: &[T], c_in: usize) -> Vec<T> {
    let filters = weight.chunks_exact(3 * c_in);
    filters.flat_map(|filter| (0..3 * c_in).map(|i| filter[i % c_in * 3 + i / c_in])).collect()
}

#[derive(Debug, Clone)]
struct Norm {
    gamma: Vec<f32>,
    beta: Vec<f32>,
}

impl Norm {
    fn take(weights: &mut Weights, name: &str, c: usize) -> Result<Norm, ModelError> {
        let gamma = weights.take(&format!("{name}.gamma"), &[c])?;
        Ok(Norm { gamma, beta: weights.take(&format!("{name}.beta"), &[c])? })
    }

    fn apply(&self, x: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; x.len()];
        layer_norm(x, &self.gamma, &self.beta, &mut out);
        out
    }
}

#[derive(Debug, Clone)]
struct Block {
    attention_norm: Norm,
    qkv: Linear,
    attention_out: Linear,
    mlp_norm: Norm,
    up: Linear,
    down: Linear,
}

/// The network, ready for answers.
#[derive(Debug, Clone)]
pub(super) struct Encoder {
    n_mels: usize,
    heads: Heads,
    convs: [Linear; 2],
    positions: Vec<f32>,
    blocks: Vec<Block>,
    /// Weights of the layers' outputs, sum 1.
    mix: Vec<f32>,
    pooling_hidden: Linear,
    pooling_score: Vec<f32>,
    /// Layers that are pooled one by one; none: their sum.
    pooled_layers: Vec<usize>,
    pooled_mean: Vec<f32>,
    pooled_scale: Vec<f32>,
    dense: Vec<Linear>,
    output: Linear,
}

impl Encoder {
    /// Takes the tensors of a model file.
    pub(super) fn new(config: &EncoderConfig, mut weights: Weights) -> Result<Encoder, ModelError> {
        let EncoderConfig { n_mels, width: c, n_heads, hidden, n_blocks, pooling, n_classes, .. } = *config;
        let convs = [
            Linear::take_conv(&mut weights, "conv1", c, n_mels)?,
            Linear::take_conv(&mut weights, "conv2", c, c)?,
        ];
        let mut blocks = Vec::with_capacity(n_blocks);
        for block in 0..n_blocks {
            let name = |part: &str| format!("blocks.{block}.{part}");
            blocks.push(Block {
                attention_norm: Norm::take(&mut weights, &name("attention.norm"), c)?,
                qkv: Linear::take(&mut weights, &name("attention.qkv"), 3 * c, c)?,
                attention_out: Linear::take(&mut weights, &name("attention.out"), c, c)?,
                mlp_norm: Norm::take(&mut weights, &name("mlp.norm"), c)?,
                up: Linear::take(&mut weights, &name("mlp.up"), hidden, c)?,
                down: Linear::take(&mut weights, &name("mlp.down"), c, hidden)?,
            });
        }
        let mix = softmax(&weights.take("mix", &[n_blocks + 1])?);
        let pooling_hidden = Linear::take(&mut weights, "pooling.hidden", pooling, c)?;
        let pooling_score = weights.take("pooling.score.weight", &[1, pooling])?;
        let mut n_in = config.n_pooled();
        let pooled_mean = weights.take(POOLED_MEAN, &[n_in])?;
        let pooled_scale = weights.take(POOLED_SCALE, &[n_in])?;
        let mut dense = Vec::with_capacity(config.dense.len());
        for (i, &n) in config.dense.iter().enumerate() {
            dense.push(Linear::take(&mut weights, &format!("dense.{i}"), n, n_in)?);
            n_in = n;
        }
        let output = Linear::take(&mut weights, "output", n_classes, n_in)?;
        weights.finish()?;
        let positions = positions(rows_of(config.n_frames), c);
        let heads = Heads { n: n_heads, c };
        Ok(Encoder {
            n_mels,
            heads,
            convs,
            positions,
            blocks,
            mix,
            pooling_hidden,
            pooling_score,
            pooled_layers: config.pooled_layers.clone(),
            pooled_mean,
            pooled_scale,
            dense,
            output,
        })
    }

    /// Values of an embedding.
    pub(super) fn n_embedding(&self) -> usize {
        self.pooled_mean.len()
    }

    /// Embeddings `[n, n_embedding]` to logits `[n, n_classes]`.
    pub(super) fn classify(&self, embeddings: &[f32], n: usize) -> Vec<f32> {
        let mut x = embeddings.to_vec();
        for layer in &self.dense {
            x = layer.apply_gelu(&x, n, x.len() / n);
        }
        self.output.apply(&x, n)
    }

    /// Windows `[n, n_mels, n_frames]` to what is pooled of each, `[n, n_embedding]`: means, then standard deviations, of one
    /// layer after the other, all standardised.
    pub(super) fn embed(&self, windows: &[f32], n: usize) -> Vec<f32> {
        let c = self.heads.c;
        let (mut mixed, mut layers) = (Vec::new(), Vec::new());
        self.normalised_layers(windows, n, &mut |layer, x| {
            mixed.resize(x.len(), 0.0);
            mixed.iter_mut().zip(&x).for_each(|(sum, x)| *sum += self.mix[layer] * x);
            if self.pooled_layers.contains(&layer) {
                layers.push(x);
            }
        });
        let n_rows = mixed.len() / c;
        let hidden = self.pooling_hidden.apply(&mixed, n_rows);
        let score = |hidden: &[f32]| -> f32 {
            hidden.iter().zip(&self.pooling_score).map(|(h, weight)| h.tanh() * weight).sum()
        };
        let scores: Vec<f32> = hidden.chunks_exact(self.pooling_score.len()).map(score).collect();
        let lengths = vec![n_rows / n; n];
        if layers.is_empty() {
            layers.push(mixed);
        }
        let pooled_layers: Vec<_> =
            layers.iter().map(|x| pooling::forward(x, &scores, c, &lengths)).collect();
        let of_clip =
            |clip: usize| pooled_layers.iter().flat_map(move |pooled| &pooled[clip * 2 * c..][..2 * c]);
        let mut pooled: Vec<f32> = (0..n).flat_map(of_clip).copied().collect();
        for clip in pooled.chunks_exact_mut(self.n_embedding()) {
            let standard = self.pooled_mean.iter().zip(&self.pooled_scale);
            clip.iter_mut().zip(standard).for_each(|(x, (mean, scale))| *x = (*x - mean) * scale);
        }
        pooled
    }

    /// As [`layers`](Encoder::layers), each row layer-normalised without parameters.
    fn normalised_layers(&self, windows: &[f32], n: usize, visit: &mut dyn FnMut(usize, Vec<f32>)) {
        let unit = Norm { gamma: vec![1.0; self.heads.c], beta: vec![0.0; self.heads.c] };
        self.layers(windows, n, &mut |layer, x| visit(layer, unit.apply(x)));
    }

    /// Calls `visit` with the input of the first block and the output of every block, `[n * rows, c]`.
    fn layers(&self, windows: &[f32], n: usize, visit: &mut dyn FnMut(usize, &[f32])) {
        let c = self.heads.c;
        let n_frames = windows.len() / n / self.n_mels;
        let mut x = Vec::with_capacity(n * rows_of(n_frames) * c);
        for window in windows.chunks_exact(n_frames * self.n_mels) {
            let padded = padded_frames(window, self.n_mels);
            let first = self.convs[0].apply_gelu(&padded, n_frames, self.n_mels);
            let second = self.convs[1].apply_gelu(&padded_rows(&first, c), rows_of(n_frames), 2 * c);
            x.extend(second.iter().zip(&self.positions).map(|(x, position)| x + position));
        }
        let lengths = vec![rows_of(n_frames); n];
        let n_rows = x.len() / c;
        visit(0, &x);
        for (i, block) in self.blocks.iter().enumerate() {
            let qkv = block.qkv.apply(&block.attention_norm.apply(&x), n_rows);
            let mut attended = vec![0.0; x.len()];
            attention::forward(self.heads, &lengths, &qkv, &mut attended);
            block.attention_out.add_to(&attended, &mut x);
            let hidden = block.up.apply_gelu(&block.mlp_norm.apply(&x), n_rows, c);
            block.down.add_to(&hidden, &mut x);
            visit(i + 1, &x);
        }
    }
}

/// A window `[n_mels, n_frames]` as `[n_frames + 2, n_mels]`, zeros at both ends.
pub(crate) fn padded_frames(window: &[f32], n_mels: usize) -> Vec<f32> {
    let n_frames = window.len() / n_mels;
    let mut padded = vec![0.0; (n_frames + 2) * n_mels];
    for (mel, row) in window.chunks_exact(n_frames).enumerate() {
        for (t, value) in row.iter().enumerate() {
            padded[(t + 1) * n_mels + mel] = *value;
        }
    }
    padded
}

/// Rows with one of zeros before and one behind them.
fn padded_rows(x: &[f32], c: usize) -> Vec<f32> {
    let mut padded = vec![0.0; x.len() + 2 * c];
    padded[c..c + x.len()].copy_from_slice(x);
    padded
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use safetensors::SafeTensors;

    use super::*;
    use crate::model::{Tensor, WhisperEncoder};
    use crate::testing::uniform;

    /// The largest difference from `transformers`, relative to the largest value.
    const TOLERANCE: f32 = 1e-5;

    fn goldens() -> Vec<u8> {
        std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/whisper_encoder.safetensors"))
            .unwrap()
    }

    fn golden(file: &SafeTensors<'_>, name: &str) -> Tensor {
        let tensor = file.tensor(name).unwrap();
        let data = tensor.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        Tensor { shape: tensor.shape().to_vec(), data }
    }

    /// The published part of the goldens in a file of its own.
    fn published() -> tempfile::NamedTempFile {
        let bytes = goldens();
        let all = SafeTensors::deserialize(&bytes).unwrap();
        let encoder = all.tensors().into_iter().filter(|(name, _)| name.starts_with("model.encoder."));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), safetensors::serialize(encoder, None).unwrap()).unwrap();
        file
    }

    /// Reproducible tensors for what the goldens do not have.
    fn filled(config: &EncoderConfig, known: BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
        let mut next = uniform(1);
        let mut all = known;
        for (name, shape) in tensors(config) {
            let n = shape.iter().product();
            all.entry(name)
                .or_insert_with(|| Tensor { shape, data: (0..n).map(|_| 0.3 * (next() - 0.5)).collect() });
        }
        all
    }

    fn encoder() -> (Encoder, EncoderConfig) {
        let whisper = WhisperEncoder::open(published().path()).unwrap();
        let config = EncoderConfig {
            width: whisper.width,
            n_heads: whisper.n_heads,
            hidden: whisper.hidden,
            ..EncoderConfig::tiny(whisper.n_blocks)
        };
        assert_eq!((config.width, config.n_heads, config.hidden, config.n_blocks), (128, 2, 96, 2));
        let weights = Weights::new(filled(&config, whisper.tensors));
        (Encoder::new(&config, weights).unwrap(), config)
    }

    #[test]
    fn every_layer_is_that_of_transformers() {
        let bytes = goldens();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let input = golden(&file, "input");
        let (encoder, config) = encoder();
        let mut n_seen = 0;
        encoder.layers(&input.data, 1, &mut |layer, rows| {
            let want = golden(&file, &format!("rows.{layer}"));
            assert_eq!(want.shape, [rows_of(input.shape[1]), config.width]);
            let scale = want.data.iter().fold(0.0f32, |max, x| max.max(x.abs()));
            let off = rows.iter().zip(&want.data).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            println!("rows {layer}: {:.1e} of {scale}", off / scale);
            assert!(off <= TOLERANCE * scale, "rows {layer}: off by {off}, the largest is {scale}");
            n_seen += 1;
        });
        assert_eq!(n_seen, config.n_blocks + 1);
    }

    #[test]
    fn a_window_does_not_see_its_neighbours() {
        let (encoder, config) = encoder();
        for n_frames in [1, 2, 7, 40] {
            let windows: Vec<f32> =
                (0..3 * config.n_mels * n_frames).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
            let logits = |windows: &[f32], n: usize| encoder.classify(&encoder.embed(windows, n), n);
            let together = logits(&windows, 3);
            let each = windows.chunks(config.n_mels * n_frames).flat_map(|window| logits(window, 1));
            for (a, b) in together.iter().zip(each) {
                assert!((a - b).abs() < 1e-5 && a.is_finite(), "{n_frames} frames: {a} {b}");
            }
        }
    }

    #[test]
    fn parameters_are_counted() {
        // 7.6 million in the encoder's convolutions and four blocks, and the head.
        let config = EncoderConfig::tiny(4);
        let encoder = 384 * (80 * 3 + 1) + 384 * (384 * 3 + 1) + 4 * (12 * 384 * 384 + 13 * 384);
        let head = 5 + 64 * (384 + 2) + 192 * (768 + 1) + 6 * 193;
        assert_eq!(n_parameters(&config), encoder + head);
    }
}
