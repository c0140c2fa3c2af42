//! The graph of a plain chain of layers.

use super::graph::{Graph, int, ints};
use super::proto::AttributeProto;
use crate::model::chain::{Activation, ChainLayer, Size, slides};
use crate::model::{ChainConfig, ModelError, Weights};
use crate::nn::infer::{CONTRAST_EPSILON, Slide};

/// Windows `[batch, n_mels, n_frames]`, scaled, to logits `[batch, n_classes]`. Pictures are `[batch, channels, height,
/// width]` here.
pub(super) fn logits(
    graph: &mut Graph,
    config: &ChainConfig,
    mut weights: Weights,
    x: &str,
) -> Result<String, ModelError> {
    let mut x = graph.picture(x);
    let mut before = Size::Picture { height: config.n_mels, width: config.n_frames, channels: 1 };
    for (index, (layer, behind)) in config.layers.iter().zip(config.sizes()?).enumerate() {
        let name = format!("layers.{index}");
        let mut take = |part: &str, shape: &[usize]| weights.take(&format!("{name}.{part}"), shape);
        x = match (layer, before) {
            (ChainLayer::Standardise, _) => standardised(graph, &name, &x),
            (
                ChainLayer::Conv { channels, kernel, stride, padding },
                Size::Picture { height, width, channels: c_in },
            ) => {
                let shape = [*channels, c_in, kernel[0], kernel[1]];
                let weight = graph.floats(&format!("{name}.weight"), &shape, &take("weight", &shape)?);
                let bias = graph.floats(&format!("{name}.bias"), &[*channels], &take("bias", &[*channels])?);
                let sides = [height, width];
                let around = window(sides, slides(sides, *kernel, *stride, *padding));
                graph.node("Conv", &format!("{name}/convolved"), &[&x, &weight, &bias], around)
            }
            (ChainLayer::MaxPool { size, stride, padding }, Size::Picture { height, width, .. }) => {
                let sides = [height, width];
                let around = window(sides, slides(sides, *size, *stride, *padding));
                graph.node("MaxPool", &format!("{name}/pooled"), &[&x], around)
            }
            (ChainLayer::Dense { width }, Size::Row(n_in)) => {
                let (weight, bias) = (take("weight", &[*width, n_in])?, take("bias", &[*width])?);
                graph.linear(&name, &x, &weight, n_in, Some(&bias))
            }
            (ChainLayer::Affine, Size::Picture { channels: n, .. } | Size::Row(n)) => {
                let shape = if matches!(before, Size::Row(_)) { vec![n] } else { vec![n, 1, 1] };
                let scale = graph.floats(&format!("{name}.scale"), &shape, &take("scale", &[n])?);
                let shift = graph.floats(&format!("{name}.shift"), &shape, &take("shift", &[n])?);
                let scaled = graph.node("Mul", &format!("{name}/scaled"), &[&x, &scale], vec![]);
                graph.node("Add", &format!("{name}/shifted"), &[&scaled, &shift], vec![])
            }
            (ChainLayer::Activation { function }, _) => activated(graph, &name, &x, *function),
            (ChainLayer::GlobalMean, _) => {
                let over = vec![ints("axes", &[2, 3]), int("keepdims", 0)];
                graph.node("ReduceMean", &format!("{name}/mean"), &[&x], over)
            }
            (ChainLayer::Flatten, _) => graph.flat(&x),
            (ChainLayer::Conv { .. } | ChainLayer::MaxPool { .. } | ChainLayer::Dense { .. }, _) => {
                unreachable!("the sizes of a valid chain fit")
            }
        };
        before = behind;
    }
    weights.finish()?;
    Ok(x)
}

fn standardised(graph: &mut Graph, name: &str, x: &str) -> String {
    let whole = || vec![ints("axes", &[1, 2, 3]), int("keepdims", 1)];
    let mean = graph.node("ReduceMean", &format!("{name}/mean"), &[x], whole());
    let centred = graph.node("Sub", &format!("{name}/centred"), &[x, &mean], vec![]);
    let square = graph.node("Mul", &format!("{name}/square"), &[&centred, &centred], vec![]);
    let variance = graph.node("ReduceMean", &format!("{name}/variance"), &[&square], whole());
    let deviation = graph.node("Sqrt", &format!("{name}/deviation"), &[&variance], vec![]);
    let epsilon = graph.float(&format!("{name}.epsilon"), CONTRAST_EPSILON as f32);
    let above = graph.node("Add", &format!("{name}/above_zero"), &[&deviation, &epsilon], vec![]);
    graph.node("Div", &format!("{name}/standardised"), &[&centred, &above], vec![])
}

fn activated(graph: &mut Graph, name: &str, x: &str, function: Activation) -> String {
    let op = match function {
        Activation::Relu => "Relu",
        Activation::Elu => "Elu",
        Activation::Sigmoid | Activation::Silu => "Sigmoid",
        Activation::Tanh => "Tanh",
    };
    let value = graph.node(op, &format!("{name}/activated"), &[x], vec![]);
    match function {
        Activation::Silu => graph.node("Mul", &format!("{name}/gated"), &[x, &value], vec![]),
        _ => value,
    }
}

/// The attributes of a window that slides over a picture of these sides.
fn window(sides: [usize; 2], slides: [Slide; 2]) -> Vec<AttributeProto> {
    let signed = |of: fn(&Slide) -> usize| slides.each_ref().map(|slide| of(slide) as i64);
    let [top, left] = signed(|slide| slide.before);
    let [bottom, right] = [0, 1].map(|i| slides[i].after(sides[i]) as i64);
    vec![
        ints("kernel_shape", &signed(|slide| slide.size)),
        ints("strides", &signed(|slide| slide.stride)),
        ints("pads", &[top, left, bottom, right]),
    ]
}
