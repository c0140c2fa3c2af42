//! The graph of the reference network.

use super::graph::{Graph, ints};
use crate::model::vgg::{Normalised, layers};
use crate::model::{ModelError, VggConfig, Weights};

/// Windows `[batch, n_mels, n_frames]`, scaled, to logits `[batch, n_classes]`. Batch normalisation is folded into the
/// weights before it.
pub(super) fn logits(
    graph: &mut Graph,
    config: &VggConfig,
    mut weights: Weights,
    x: &str,
) -> Result<String, ModelError> {
    let mut x = graph.picture(x);
    let mut is_flat = false;
    for layer in layers(config) {
        let mut weight = weights.take(&format!("{}.weight", layer.name), &layer.shape)?;
        let (c, n_in) = (layer.shape[0], weight.len() / layer.shape[0]);
        let bias = if layer.norm {
            let Normalised { gamma, beta, statistics } = Normalised::take(&mut weights, &layer)?;
            let affine = statistics.affine(&gamma, &beta);
            for (row, scale) in weight.chunks_exact_mut(n_in).zip(&affine.scale) {
                row.iter_mut().for_each(|w| *w *= scale);
            }
            affine.shift
        } else {
            weights.take(&format!("{}.bias", layer.name), &[c])?
        };
        let name = &layer.name;
        match layer.block {
            Some(block) => {
                let weight = graph.floats(&format!("{name}.weight"), &layer.shape, &weight);
                let bias = graph.floats(&format!("{name}.bias"), &[c], &bias);
                let around = vec![ints("kernel_shape", &[3, 3]), ints("pads", &[1, 1, 1, 1])];
                x = graph.node("Conv", &format!("{name}/convolved"), &[&x, &weight, &bias], around);
                x = graph.node("Relu", &format!("{name}/relu"), &[&x], vec![]);
                if layer.is_last_of_block(config) {
                    let halves = vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
                    x = graph.node("MaxPool", &format!("blocks.{block}/pooled"), &[&x], halves);
                }
            }
            None => {
                if !is_flat {
                    x = graph.flat(&x);
                    is_flat = true;
                }
                x = graph.linear(name, &x, &weight, n_in, Some(&bias));
                if layer.norm {
                    x = graph.node("Relu", &format!("{name}/relu"), &[&x], vec![]);
                }
            }
        }
    }
    weights.finish()?;
    Ok(x)
}
