//! Our own CPU layers: convolution, batch normalisation, pooling and dropout, fused and, for training,
//! differentiable.
//!
//! [`infer`] runs a trained network on the kernels in [`simd`] alone. [`layers`] makes the same kernels operations of
//! the framework, with their own way back.

#![cfg_attr(not(feature = "train"), allow(dead_code, reason = "the ways back are for training alone"))]

pub(crate) mod attention;
mod conv;
pub(crate) mod infer;
pub(crate) mod linear;
mod norm;
mod pictures;
pub(crate) mod pooling;
mod simd;

#[cfg(feature = "train")]
mod autodiff;
#[cfg(feature = "train")]
pub(crate) mod layers;
#[cfg(feature = "train")]
mod ops;
#[cfg(feature = "train")]
mod row_ops;
#[cfg(feature = "train")]
pub(crate) mod rows;

#[cfg(feature = "train")]
pub(crate) use norm::EPSILON;
pub(crate) use norm::Statistics;
#[cfg(feature = "onnx")]
pub(crate) use simd::LAYER_NORM_EPSILON;
pub(crate) use simd::{Affine, Vectorised, vectorised};
