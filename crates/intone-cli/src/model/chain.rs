//! The layers of a plain chain, a line each.

use intone::model::ChainConfig;
use intone::model::chain::{Activation, ChainLayer, Padding, Size};

/// One line for each layer: what it does, and the size of what lies behind it where it changes.
pub(super) fn lines(config: &ChainConfig) -> Vec<String> {
    let (height, width) = (config.n_mels, config.n_frames);
    let mut before = Some(Size::Picture { height, width, channels: 1 });
    // A file whose sizes do not fit is never opened.
    let sizes = config.sizes().unwrap_or_default();
    let line = |(layer, size): (&ChainLayer, &Size)| {
        let changed = before.replace(*size) != Some(*size);
        let what = what(layer);
        let size = match size {
            Size::Picture { height, width, channels } => format!("{height} x {width} x {channels}"),
            Size::Row(n) => n.to_string(),
        };
        if changed { format!("{what:<34} {size}") } else { what }
    };
    config.layers.iter().zip(&sizes).map(line).collect()
}

fn what(layer: &ChainLayer) -> String {
    let sides = |[height, width]: [usize; 2]| format!("{height} x {width}");
    let by =
        |stride: [usize; 2]| if stride == [1, 1] { String::new() } else { format!(" by {}", sides(stride)) };
    let padded = |padding: Padding| match padding {
        Padding::Same => "same",
        Padding::Valid => "valid",
    };
    match layer {
        ChainLayer::Standardise => "less its mean, over its deviation".to_owned(),
        ChainLayer::Conv { kernel, stride, padding, .. } => {
            format!("convolution {}{}, {}", sides(*kernel), by(*stride), padded(*padding))
        }
        ChainLayer::Affine => "scale and shift".to_owned(),
        ChainLayer::Activation { function } => match function {
            Activation::Relu => "ReLU".to_owned(),
            Activation::Elu => "ELU".to_owned(),
            Activation::Sigmoid => "sigmoid".to_owned(),
            Activation::Tanh => "tanh".to_owned(),
            Activation::Silu => "SiLU".to_owned(),
            other => format!("{other:?}"),
        },
        ChainLayer::MaxPool { size, stride, padding } => {
            format!("maximum of {} by {}, {}", sides(*size), sides(*stride), padded(*padding))
        }
        ChainLayer::GlobalMean => "mean".to_owned(),
        ChainLayer::Flatten => "flattened".to_owned(),
        ChainLayer::Dense { .. } => "dense".to_owned(),
        other => other.kind().to_owned(),
    }
}
