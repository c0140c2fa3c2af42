//! A trained network of these layers, made ready for answers: no gradients, packed weights, known statistics.
//!
//! A [`Builder`] is told the layers one after the other and fuses what the kernels can do at once: a bias, a
//! normalisation and a ReLU are applied while the next layer reads, a normalisation behind a dense layer goes into its
//! weights. Pictures are channels-last; their channels are filled up with zeros to whole blocks.

use rayon::prelude::*;

use super::conv::{self, ConvShape, Input};
use super::linear::LayerWeights;
use super::norm;
use super::pictures::{Sliding, WindowConv};
use super::simd::{Affine, BLOCK, Dropout, Filters, buffer, kernels};

/// A function of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Relu,
    Elu,
    Sigmoid,
    Tanh,
    Silu,
}

impl Function {
    fn of(self, x: f32) -> f32 {
        match self {
            Function::Relu => x.max(0.0),
            Function::Elu => {
                if x > 0.0 {
                    x
                } else {
                    x.exp_m1()
                }
            }
            Function::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Function::Tanh => x.tanh(),
            Function::Silu => x / (1.0 + (-x).exp()),
        }
    }
}

/// One pass over a whole batch.
#[derive(Debug, Clone)]
enum Step {
    /// Each window minus its mean, over its standard deviation.
    Standardise,
    /// 3 x 3, one by one, the border filled with zeros; of `relu(x * scale + shift)` where there is a `before`, and another
    /// convolution before that where there is a `first`; with 2 x 2 max pooling of `relu(x * scale + shift)` behind it where
    /// there is a `pool`.
    Conv {
        shape: ConvShape,
        first: Option<Vec<f32>>,
        before: Option<Affine>,
        filters: Filters,
        pool: Option<Affine>,
    },
    /// Any other convolution.
    WindowConv(WindowConv),
    /// Takes one pixel off each side of a picture of this size and so many channels.
    Crop {
        height: usize,
        width: usize,
        c: usize,
    },
    /// `function(x * scale + shift)`.
    Affine {
        affine: Affine,
        function: Option<Function>,
    },
    /// 2 x 2 max pooling of `relu(x * scale + shift)`.
    ReluPool {
        height: usize,
        width: usize,
        affine: Affine,
    },
    MaxPool(Sliding),
    /// The mean of all pixels, of the first `c` of `wide` channels.
    Mean {
        wide: usize,
        c: usize,
    },
    /// Leaves the first `c` of `wide` channels.
    Narrow {
        wide: usize,
        c: usize,
    },
    Dense(DenseLayer),
}

/// A dense layer.
#[derive(Debug, Clone)]
struct DenseLayer {
    /// `[n_out, n_in]`.
    weight: LayerWeights,
    /// `[n_out]`.
    bias: Vec<f32>,
    relu: bool,
}

/// A whole network, whose last layer is a dense one.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    steps: Vec<Step>,
    output: DenseLayer,
}

impl Network {
    /// Values that the last layer sees.
    pub(crate) fn n_embedding(&self) -> usize {
        self.output.n_in()
    }

    /// What the last layer sees, `[n, n_embedding]`, to `[n, n_out]`.
    pub(crate) fn classify(&self, embeddings: &[f32], n: usize) -> Vec<f32> {
        self.output.forward(embeddings, n)
    }

    /// `x` `[n, height, width]` to what the last layer sees, `[n, n_embedding]`.
    pub(crate) fn embed(&self, x: &[f32], n: usize) -> Vec<f32> {
        let mut x = x.to_vec();
        for step in &self.steps {
            match step {
                Step::Standardise => standardise(&mut x, n),
                Step::Affine { affine, function } => apply(&mut x, affine, *function),
                other => {
                    let out = other.forward(&x, n);
                    buffer::put(std::mem::replace(&mut x, out));
                }
            }
        }
        x
    }
}

impl Step {
    fn forward(&self, x: &[f32], n: usize) -> Vec<f32> {
        match self {
            Step::Conv { shape, first, before, filters, pool } => {
                let mut out = buffer::take(n * shape.kept_len(pool.as_ref()));
                let input = match (first, before) {
                    (Some(taps), Some(affine)) => Input::Convolved { taps, affine },
                    (_, before) => before.as_ref().into(),
                };
                conv::infer(*shape, x, input, filters.view(), pool.as_ref(), &mut out);
                out
            }
            Step::WindowConv(conv) => conv.forward(x, n),
            Step::Crop { height, width, c } => {
                let row = width * c;
                let rows = x.chunks_exact(height * row).flat_map(|picture| {
                    picture[row..(height - 1) * row].chunks_exact(row).map(|row| &row[*c..row.len() - c])
                });
                let mut out = buffer::take(n * (height - 2) * (width - 2) * c);
                out.chunks_exact_mut((width - 2) * c)
                    .zip(rows)
                    .for_each(|(out, row)| out.copy_from_slice(row));
                out
            }
            Step::ReluPool { height, width, affine } => {
                let mut out = buffer::take(n * (height / 2) * (width / 2) * affine.scale.len());
                norm::pool(x, *height, *width, affine, Dropout::OFF, &mut out);
                out
            }
            Step::MaxPool(sliding) => sliding.max(x, n),
            Step::Mean { wide, c } => x
                .chunks_exact(x.len() / n)
                .flat_map(|picture| {
                    let mut sums = vec![0.0f64; *c];
                    for pixel in picture.chunks_exact(*wide) {
                        sums.iter_mut().zip(pixel).for_each(|(sum, x)| *sum += f64::from(*x));
                    }
                    let n_pixels = (picture.len() / wide) as f64;
                    sums.into_iter().map(move |sum| (sum / n_pixels) as f32)
                })
                .collect(),
            Step::Narrow { wide, c } => {
                x.chunks_exact(*wide).flat_map(|pixel| &pixel[..*c]).copied().collect()
            }
            Step::Dense(layer) => layer.forward(x, n),
            Step::Standardise | Step::Affine { .. } => unreachable!("done in place"),
        }
    }
}

/// Added to the standard deviation, so that a window without any contrast becomes zeros.
pub(crate) const CONTRAST_EPSILON: f64 = 1e-8;

fn standardise(x: &mut [f32], n: usize) {
    let len = x.len() / n;
    x.par_chunks_exact_mut(len).for_each(|x| {
        let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / len as f64;
        let var = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / len as f64;
        let scale = 1.0 / (var.sqrt() + CONTRAST_EPSILON);
        x.iter_mut().for_each(|x| *x = ((f64::from(*x) - mean) * scale) as f32);
    });
}

fn apply(x: &mut [f32], affine: &Affine, function: Option<Function>) {
    let c = affine.scale.len();
    x.par_chunks_mut((16_384 / c).max(1) * c).for_each(|x| {
        for pixel in x.chunks_exact_mut(c) {
            for ((x, scale), shift) in pixel.iter_mut().zip(&affine.scale).zip(&affine.shift) {
                *x = *x * scale + shift;
            }
        }
        match function {
            None => (),
            // Of its own, so that it is compiled to vectors.
            Some(Function::Relu) => x.iter_mut().for_each(|x| *x = x.max(0.0)),
            Some(function) => x.iter_mut().for_each(|x| *x = function.of(*x)),
        }
    });
}

impl DenseLayer {
    fn n_in(&self) -> usize {
        let n_values = match &self.weight {
            LayerWeights::F32(weight) => weight.len(),
            LayerWeights::Int8 { values, .. } => values.len(),
        };
        n_values / self.bias.len()
    }

    /// Multiplies what comes out, channel by channel, and adds to it.
    fn affine(&mut self, Affine { scale, shift }: &Affine) {
        let n_in = self.n_in();
        match &mut self.weight {
            LayerWeights::F32(weight) => {
                for (row, scale) in weight.chunks_exact_mut(n_in).zip(scale) {
                    row.iter_mut().for_each(|w| *w *= scale);
                }
            }
            LayerWeights::Int8 { scales, .. } => {
                scales.iter_mut().zip(scale).for_each(|(row, scale)| *row *= scale);
            }
        }
        for ((bias, scale), shift) in self.bias.iter_mut().zip(scale).zip(shift) {
            *bias = *bias * scale + shift;
        }
    }

    fn forward(&self, x: &[f32], n: usize) -> Vec<f32> {
        let (n_out, n_in) = (self.bias.len(), x.len() / n);
        let mut out = vec![0.0; n * n_out];
        // A few rows of weights serve all samples while they are in the cache.
        let samples = || x.chunks_exact(n_in);
        let columns: Vec<Vec<f32>> = match &self.weight {
            LayerWeights::F32(weight) => {
                let rows = weight.par_chunks_exact(n_in).with_min_len(16);
                rows.map(|row| samples().map(|x| kernels().dot(row, x)).collect()).collect()
            }
            LayerWeights::Int8 { values, scales } => {
                let fours = values.par_chunks(4 * n_in).zip(scales.par_chunks(4)).with_min_len(4);
                let columns = fours.flat_map_iter(|(rows, scales)| {
                    // The last four may be fewer.
                    let row = |o: usize| &rows[o.min(scales.len() - 1) * n_in..][..n_in];
                    let rows = std::array::from_fn(row);
                    let sums: Vec<[f32; 4]> = samples().map(|x| kernels().dot_int8(x, rows)).collect();
                    let column = move |(o, scale)| sums.iter().map(|sum| sum[o] * scale).collect();
                    scales.iter().enumerate().map(column)
                });
                columns.collect()
            }
        };
        for (o, column) in columns.iter().enumerate() {
            for (i, value) in column.iter().enumerate() {
                let value = value + self.bias[o];
                out[i * n_out + o] = if self.relu { value.max(0.0) } else { value };
            }
        }
        out
    }
}

/// The way a window slides over a picture, along one side of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slide {
    pub(crate) size: usize,
    pub(crate) stride: usize,
    /// Pixels beyond the picture's first edge that the first window covers.
    pub(crate) before: usize,
    /// Places where a window stands.
    pub(crate) n_out: usize,
}

impl Slide {
    /// Over `n` pixels; only whole windows, or, with `same`, as many as there are strides, the picture lying in their
    /// middle. What is left over lies at the far edge, as in TensorFlow. At least one window must fit.
    pub(crate) fn new(n: usize, size: usize, stride: usize, same: bool) -> Slide {
        if same {
            let n_out = n.div_ceil(stride);
            let covered = (n_out - 1) * stride + size;
            return Slide { size, stride, before: covered.saturating_sub(n) / 2, n_out };
        }
        Slide { size, stride, before: 0, n_out: (n - size) / stride + 1 }
    }

    /// Pixels beyond the far edge of a picture of `n` that the last window covers.
    #[cfg(feature = "onnx")]
    pub(crate) fn after(&self, n: usize) -> usize {
        ((self.n_out - 1) * self.stride + self.size).saturating_sub(self.before + n)
    }
}

/// What is known of the values between two layers.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// The first `c` of `wide` channels are there, the others stand for nothing.
    Picture {
        height: usize,
        width: usize,
        c: usize,
        wide: usize,
    },
    Row(usize),
}

/// A scale and a shift, and possibly a ReLU behind them, that are not applied yet.
#[derive(Debug)]
struct Pending {
    affine: Affine,
    relu: bool,
}

/// Makes a [`Network`]. The layers must fit each other; whoever reads them from a file checks that before.
#[derive(Debug)]
pub(crate) struct Builder {
    steps: Vec<Step>,
    shape: Shape,
    pending: Option<Pending>,
}

impl Builder {
    /// For windows of `height` x `width`.
    pub(crate) fn new(height: usize, width: usize) -> Builder {
        let shape = Shape::Picture { height, width, c: 1, wide: 1 };
        Builder { steps: Vec::new(), shape, pending: None }
    }

    /// Channels, with those that stand for nothing.
    fn wide(&self) -> usize {
        match self.shape {
            Shape::Picture { wide, .. } => wide,
            Shape::Row(n) => n,
        }
    }

    /// Each window minus its mean, over its standard deviation; before any other layer.
    pub(crate) fn standardise(&mut self) {
        self.steps.push(Step::Standardise);
    }

    /// `weight` `[c_out, c_in, size, size]`; what lies in 8-bit integers is computed in 16-bit ones, where there is a kernel
    /// for them.
    pub(crate) fn conv(&mut self, weight: LayerWeights, c_out: usize, [down, across]: [Slide; 2]) {
        let Shape::Picture { height, width, c, wide } = self.shape else { return };
        let rounded = matches!(weight, LayerWeights::Int8 { .. });
        let weight = weight.into_floats();
        let is_kernel = [down, across].iter().all(|slide| (slide.size, slide.stride) == (3, 1));
        let filled = c_out.next_multiple_of(BLOCK);
        if is_kernel {
            let before = match self.pending.take() {
                Some(Pending { affine, relu: true }) if wide > 1 => Some(affine),
                pending => {
                    self.pending = pending;
                    self.flush();
                    None
                }
            };
            let shape = ConvShape { height, width, c_in: wide, c_out: filled };
            let mut padded = vec![0.0; c_out * wide * 9];
            for (wider, narrow) in padded.chunks_exact_mut(wide * 9).zip(weight.chunks_exact(c * 9)) {
                wider[..c * 9].copy_from_slice(narrow);
            }
            let filters = conv::pack_filters(&padded, wide, c_out, rounded);
            // The first layer's rows are made where the second one needs them.
            let first = match (&before, self.steps.pop()) {
                (
                    Some(_),
                    Some(Step::Conv {
                        shape,
                        first: None,
                        before: None,
                        filters: Filters::F32(taps),
                        pool: None,
                    }),
                ) if shape.c_in == 1 => Some(taps),
                (_, last) => {
                    self.steps.extend(last);
                    None
                }
            };
            self.steps.push(Step::Conv { shape, first, before, filters, pool: None });
            if down.before == 0 {
                self.steps.push(Step::Crop { height, width, c: filled });
            }
        } else {
            self.flush();
            self.steps.push(Step::WindowConv(WindowConv::new(
                &weight,
                c,
                c_out,
                Sliding { height, width, c: wide, down, across },
            )));
        }
        self.shape = Shape::Picture { height: down.n_out, width: across.n_out, c: c_out, wide: filled };
    }

    /// `weight` `[n_out, n_in]`, `bias` `[n_out]`.
    pub(crate) fn dense(&mut self, weight: LayerWeights, bias: Vec<f32>) {
        self.flush();
        self.shape = Shape::Row(bias.len());
        self.steps.push(Step::Dense(DenseLayer { weight, bias, relu: false }));
    }

    /// `x * scale + shift`, channel by channel.
    pub(crate) fn affine(&mut self, mut affine: Affine) {
        if let (None, Some(Step::Dense(layer))) = (&self.pending, self.steps.last_mut())
            && !layer.relu
        {
            layer.affine(&affine);
            return;
        }
        if self.pending.as_ref().is_some_and(|pending| pending.relu) {
            self.flush();
        }
        if let Some(Pending { affine: first, .. }) = self.pending.take() {
            for (i, (scale, shift)) in
                first.scale.into_iter().zip(first.shift).take(affine.scale.len()).enumerate()
            {
                affine.shift[i] += affine.scale[i] * shift;
                affine.scale[i] *= scale;
            }
        }
        let wide = self.wide();
        affine.scale.resize(wide, 0.0);
        affine.shift.resize(wide, 0.0);
        self.pending = Some(Pending { affine, relu: false });
    }

    pub(crate) fn activation(&mut self, function: Function) {
        if let (None, Some(Step::Dense(layer)), Function::Relu) =
            (&self.pending, self.steps.last_mut(), function)
        {
            layer.relu = true;
            return;
        }
        if function != Function::Relu {
            self.flush_with(Some(function));
            return;
        }
        let wide = self.wide();
        let identity = || Affine { scale: vec![1.0; wide], shift: vec![0.0; wide] };
        let affine = self.pending.take().map_or_else(identity, |pending| pending.affine);
        self.pending = Some(Pending { affine, relu: true });
    }

    pub(crate) fn max_pool(&mut self, [down, across]: [Slide; 2]) {
        let Shape::Picture { height, width, c, wide } = self.shape else { return };
        let halves = [down, across].iter().all(|slide| (slide.size, slide.stride, slide.before) == (2, 2, 0))
            && (down.n_out, across.n_out) == (height / 2, width / 2);
        match self.pending.take() {
            Some(Pending { affine, relu: true }) if halves && wide > 1 => match self.steps.last_mut() {
                Some(Step::Conv { shape, pool: pool @ None, .. }) if shape.c_in > 1 => *pool = Some(affine),
                _ => self.steps.push(Step::ReluPool { height, width, affine }),
            },
            pending => {
                self.pending = pending;
                self.flush();
                self.steps.push(Step::MaxPool(Sliding { height, width, c: wide, down, across }));
            }
        }
        self.shape = Shape::Picture { height: down.n_out, width: across.n_out, c, wide };
    }

    /// The mean of each channel.
    pub(crate) fn mean(&mut self) {
        self.flush();
        if let Shape::Picture { c, wide, .. } = self.shape {
            self.steps.push(Step::Mean { wide, c });
            self.shape = Shape::Row(c);
        }
    }

    /// A picture as a row, in the order (row, column, channel).
    pub(crate) fn flatten(&mut self) {
        self.flush();
        if let Shape::Picture { height, width, c, wide } = self.shape {
            if c < wide {
                self.steps.push(Step::Narrow { wide, c });
            }
            self.shape = Shape::Row(height * width * c);
        }
    }

    /// The network, where its last layer is a dense one with nothing behind it but a scale and a shift.
    pub(crate) fn finish(mut self) -> Option<Network> {
        match (self.pending, self.steps.pop()) {
            (None, Some(Step::Dense(output))) if !output.relu => Some(Network { steps: self.steps, output }),
            _ => None,
        }
    }

    fn flush(&mut self) {
        if self.pending.is_some() {
            self.flush_with(None);
        }
    }

    /// Applies what is pending, and a function behind it.
    fn flush_with(&mut self, function: Option<Function>) {
        let wide = self.wide();
        let pending = self.pending.take();
        let relu = pending.as_ref().is_some_and(|pending| pending.relu);
        let mut affine = pending.map_or_else(
            || Affine { scale: vec![1.0; wide], shift: vec![0.0; wide] },
            |pending| pending.affine,
        );
        if relu {
            self.steps.push(Step::Affine { affine, function: Some(Function::Relu) });
            if function.is_none() {
                return;
            }
            affine = Affine { scale: vec![1.0; wide], shift: vec![0.0; wide] };
        }
        self.steps.push(Step::Affine { affine, function });
    }
}

#[cfg(test)]
mod tests;
