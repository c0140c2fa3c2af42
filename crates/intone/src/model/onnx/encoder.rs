//! The graph of Whisper's encoder and the head above it.

use super::graph::{Graph, float, int, ints};
use crate::model::encoder::{POOLED_MEAN, POOLED_SCALE, positions, rows_of};
use crate::model::{EncoderConfig, ModelError, Weights};
use crate::nn::LAYER_NORM_EPSILON;
use crate::nn::pooling::{POOLING_EPSILON, softmax};

/// Windows `[batch, n_mels, frames]`, of at most the configured number of frames, to logits `[batch, n_classes]`.
pub(super) fn logits(
    graph: &mut Graph,
    config: &EncoderConfig,
    weights: Weights,
    x: &str,
) -> Result<String, ModelError> {
    let mut writer = Writer { graph, config, weights };
    let rows = writer.rows(x)?;
    let layers = writer.layers(rows)?;
    let pooled = writer.pooled(&layers)?;
    let logits = writer.head(pooled)?;
    writer.weights.finish()?;
    Ok(logits)
}

struct Writer<'a> {
    graph: &'a mut Graph,
    config: &'a EncoderConfig,
    weights: Weights<'a>,
}

impl Writer<'_> {
    /// The input of the first block: `[batch, frames / 2, width]`.
    fn rows(&mut self, x: &str) -> Result<String, ModelError> {
        let EncoderConfig { n_mels, n_frames, width: c, .. } = *self.config;
        let mut x = x.to_owned();
        for (name, c_in, stride) in [("conv1", n_mels, 1), ("conv2", c, 2)] {
            let weight = self.weights.take(&format!("{name}.weight"), &[c, c_in, 3])?;
            let weight = self.graph.floats(&format!("{name}.weight"), &[c, c_in, 3], &weight);
            let bias = self.weights.take(&format!("{name}.bias"), &[c])?;
            let bias = self.graph.floats(&format!("{name}.bias"), &[c], &bias);
            let around = vec![ints("kernel_shape", &[3]), ints("pads", &[1, 1]), ints("strides", &[stride])];
            x = self.graph.node("Conv", &format!("{name}/convolved"), &[&x, &weight, &bias], around);
            x = self.gelu(name, &x);
        }
        let graph = &mut *self.graph;
        let rows = graph.node("Transpose", "rows", &[&x], vec![ints("perm", &[0, 2, 1])]);
        // Positions for as many rows as there are.
        let n_positions = rows_of(n_frames);
        let all = graph.floats("positions", &[n_positions, c], &positions(n_positions, c));
        let n_rows = graph.node("Shape", "positions/n", &[&rows], vec![int("start", 1), int("end", 2)]);
        let (first, axis) = (graph.ints("positions/first", &[0]), graph.ints("positions/axis", &[0]));
        let here = graph.node("Slice", "positions/here", &[&all, &first, &n_rows, &axis], vec![]);
        Ok(graph.node("Add", "rows/placed", &[&rows, &here], vec![]))
    }

    /// What goes into the first block and what comes out of each, every row normalised.
    fn layers(&mut self, mut x: String) -> Result<Vec<String>, ModelError> {
        let EncoderConfig { width: c, n_blocks, hidden, .. } = *self.config;
        let mut layers = vec![self.normed(0, &x)];
        for block in 0..n_blocks {
            let name = |part: &str| format!("blocks.{block}.{part}");
            let normed = self.layer_norm(&name("attention.norm"), &x)?;
            let attended = self.attention(&name("attention"), &normed)?;
            x = self.graph.node("Add", &name("attended"), &[&x, &attended], vec![]);
            let normed = self.layer_norm(&name("mlp.norm"), &x)?;
            let up = self.linear(&name("mlp.up"), &normed, hidden, c)?;
            let up = self.gelu(&name("mlp.up"), &up);
            let down = self.linear(&name("mlp.down"), &up, c, hidden)?;
            x = self.graph.node("Add", &name("out"), &[&x, &down], vec![]);
            layers.push(self.normed(block + 1, &x));
        }
        Ok(layers)
    }

    /// A layer's output, each row normalised.
    fn normed(&mut self, layer: usize, x: &str) -> String {
        let c = self.config.width;
        let scale = self.graph.floats(&format!("layers.{layer}.gamma"), &[c], &vec![1.0; c]);
        let attributes = vec![int("axis", -1), float("epsilon", LAYER_NORM_EPSILON)];
        self.graph.node("LayerNormalization", &format!("layers.{layer}/normed"), &[x, &scale], attributes)
    }

    /// The weighted sum of the layers.
    fn mixed(&mut self, layers: &[String]) -> Result<String, ModelError> {
        let mix = softmax(&self.weights.take("mix", &[layers.len()])?);
        let weighted = layers.iter().zip(mix).enumerate().map(|(layer, (x, weight))| {
            let weight = self.graph.float(&format!("mix.{layer}"), weight);
            self.graph.node("Mul", &format!("mix.{layer}/weighted"), &[x, &weight], vec![])
        });
        let weighted: Vec<String> = weighted.collect();
        let weighted: Vec<&str> = weighted.iter().map(String::as_str).collect();
        Ok(self.graph.node("Sum", "mixed", &weighted, vec![]))
    }

    fn attention(&mut self, name: &str, x: &str) -> Result<String, ModelError> {
        let EncoderConfig { width: c, n_heads, .. } = *self.config;
        let width = c / n_heads;
        let qkv = self.linear(&format!("{name}.qkv"), x, 3 * c, c)?;
        let graph = &mut *self.graph;
        let parts = ["q", "k", "v"].map(|part| format!("{name}.{part}"));
        let [q, k, v] = parts.each_ref().map(String::as_str);
        graph.node_of_many("Split", &format!("{name}.split"), &[&qkv], vec![int("axis", -1)], &[q, k, v]);
        let by_head = graph.ints(&format!("{name}.by_head"), &[0, 0, n_heads as i64, width as i64]);
        // `[batch, heads, rows, width]`; the keys with their last axes exchanged.
        let mut heads = |part: &str, perm: [i64; 4]| {
            let part_by_head = graph.node("Reshape", &format!("{part}/by_head"), &[part, &by_head], vec![]);
            graph.node("Transpose", &format!("{part}/heads"), &[&part_by_head], vec![ints("perm", &perm)])
        };
        let (q, k, v) = (heads(q, [0, 2, 1, 3]), heads(k, [0, 2, 3, 1]), heads(v, [0, 2, 1, 3]));
        let scale = graph.float(&format!("{name}.scale"), 1.0 / (width as f32).sqrt());
        let q = graph.node("Mul", &format!("{name}/scaled"), &[&q, &scale], vec![]);
        let scores = graph.node("MatMul", &format!("{name}/scores"), &[&q, &k], vec![]);
        let shares = graph.node("Softmax", &format!("{name}/shares"), &[&scores], vec![int("axis", -1)]);
        let heads = graph.node("MatMul", &format!("{name}/heads"), &[&shares, &v], vec![]);
        let perm = vec![ints("perm", &[0, 2, 1, 3])];
        let rows = graph.node("Transpose", &format!("{name}/by_row"), &[&heads], perm);
        let joined = graph.ints(&format!("{name}.joined"), &[0, 0, c as i64]);
        let rows = graph.node("Reshape", &format!("{name}/rows"), &[&rows, &joined], vec![]);
        self.linear(&format!("{name}.out"), &rows, c, c)
    }

    /// Weighted means and standard deviations over time, standardised: `[batch, n_pooled]`.
    fn pooled(&mut self, layers: &[String]) -> Result<String, ModelError> {
        let EncoderConfig { width: c, pooling, .. } = *self.config;
        let n_pooled = self.config.n_pooled();
        let mixed = self.mixed(layers)?;
        let hidden = self.linear("pooling.hidden", &mixed, pooling, c)?;
        let weight = self.weights.take("pooling.score.weight", &[1, pooling])?;
        let mean = self.weights.take(POOLED_MEAN, &[n_pooled])?;
        let scale = self.weights.take(POOLED_SCALE, &[n_pooled])?;
        let pooled: Vec<(String, &str)> = if self.config.pooled_layers.is_empty() {
            vec![("pooling".to_owned(), &mixed)]
        } else {
            let of_layer = |&layer: &usize| (format!("pooling.{layer}"), layers[layer].as_str());
            self.config.pooled_layers.iter().map(of_layer).collect()
        };
        let graph = &mut *self.graph;
        let hidden = graph.node("Tanh", "pooling.hidden/tanh", &[&hidden], vec![]);
        let scores = graph.linear("pooling.score", &hidden, &weight, pooling, None);
        let shares = graph.node("Softmax", "pooling/shares", &[&scores], vec![int("axis", 1)]);
        let time = graph.ints("pooling.axis", &[1]);
        let over_time = |graph: &mut Graph, name: &str, x: &str, keep: i64| {
            let product = graph.node("Mul", &format!("{name}/weighted"), &[&shares, x], vec![]);
            graph.node("ReduceSum", name, &[&product, &time], vec![int("keepdims", keep)])
        };
        let epsilon = graph.float("pooling.epsilon", POOLING_EPSILON);
        let mut statistics = Vec::new();
        for (name, x) in &pooled {
            let name = |part: &str| format!("{name}/{part}");
            let kept = over_time(graph, &name("mean"), x, 1);
            let off = graph.node("Sub", &name("off"), &[x, &kept], vec![]);
            let squares = graph.node("Mul", &name("squares"), &[&off, &off], vec![]);
            let var = over_time(graph, &name("var"), &squares, 0);
            let var = graph.node("Add", &name("positive"), &[&var, &epsilon], vec![]);
            let deviation = graph.node("Sqrt", &name("deviation"), &[&var], vec![]);
            statistics.push(graph.node("Squeeze", &name("flat_mean"), &[&kept, &time], vec![]));
            statistics.push(deviation);
        }
        let statistics: Vec<&str> = statistics.iter().map(String::as_str).collect();
        let pooled = graph.node("Concat", "pooling/all", &statistics, vec![int("axis", 1)]);
        let mean = graph.floats(POOLED_MEAN, &[n_pooled], &mean);
        let scale = graph.floats(POOLED_SCALE, &[n_pooled], &scale);
        let centred = graph.node("Sub", "pooling/centred", &[&pooled, &mean], vec![]);
        Ok(graph.node("Mul", "embedding", &[&centred, &scale], vec![]))
    }

    fn head(&mut self, mut x: String) -> Result<String, ModelError> {
        let mut n_in = self.config.n_pooled();
        for (i, &n) in self.config.dense.iter().enumerate() {
            let name = format!("dense.{i}");
            x = self.linear(&name, &x, n, n_in)?;
            x = self.gelu(&name, &x);
            n_in = n;
        }
        self.linear("output", &x, self.config.n_classes, n_in)
    }

    fn linear(&mut self, name: &str, x: &str, c_out: usize, c_in: usize) -> Result<String, ModelError> {
        let weight = self.weights.take(&format!("{name}.weight"), &[c_out, c_in])?;
        let bias = self.weights.take(&format!("{name}.bias"), &[c_out])?;
        Ok(self.graph.linear(name, x, &weight, c_in, Some(&bias)))
    }

    fn layer_norm(&mut self, name: &str, x: &str) -> Result<String, ModelError> {
        let c = self.config.width;
        let gamma = self.weights.take(&format!("{name}.gamma"), &[c])?;
        let gamma = self.graph.floats(&format!("{name}.gamma"), &[c], &gamma);
        let beta = self.weights.take(&format!("{name}.beta"), &[c])?;
        let beta = self.graph.floats(&format!("{name}.beta"), &[c], &beta);
        let attributes = vec![int("axis", -1), float("epsilon", LAYER_NORM_EPSILON)];
        Ok(self.graph.node("LayerNormalization", &format!("{name}/normed"), &[x, &gamma, &beta], attributes))
    }

    /// `x / 2 (1 + erf(x / sqrt 2))`, in the order of operations that runtimes recognise.
    fn gelu(&mut self, name: &str, x: &str) -> String {
        let graph = &mut *self.graph;
        let name = |part: &str| format!("{name}/gelu/{part}");
        let root = graph.float(&name("root_2"), std::f32::consts::SQRT_2);
        let (one, half) = (graph.float(&name("1"), 1.0), graph.float(&name("half"), 0.5));
        let scaled = graph.node("Div", &name("scaled"), &[x, &root], vec![]);
        let erf = graph.node("Erf", &name("erf"), &[&scaled], vec![]);
        let positive = graph.node("Add", &name("positive"), &[&erf, &one], vec![]);
        let product = graph.node("Mul", &name("product"), &[x, &positive], vec![]);
        graph.node("Mul", &name("out"), &[&product, &half], vec![])
    }
}
