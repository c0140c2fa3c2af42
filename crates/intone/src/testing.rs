//! What unit tests share.

#[cfg(feature = "train")]
pub(crate) use tensors::{leaf_of, values};

/// Reproducible values in [0, 1) (a linear congruential generator, Numerical Recipes).
pub(crate) fn uniform(seed: u32) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1u32 << 24) as f32
    }
}

/// `n` reproducible values in [-1, 1).
pub(crate) fn noise(n: usize, seed: u32) -> Vec<f32> {
    let mut next = uniform(seed);
    (0..n).map(|_| 2.0 * next() - 1.0).collect()
}

/// `n` reproducible values in [-0.5, 0.5).
pub(crate) fn small_noise(n: usize, seed: u32) -> Vec<f32> {
    let mut next = uniform(seed);
    (0..n).map(|_| next() - 0.5).collect()
}

#[cfg(feature = "train")]
mod tensors {
    use burn::tensor::{Device, Tensor, TensorData};

    /// A tensor on the CPU that gradients are wanted of.
    pub(crate) fn leaf_of<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
        let data = TensorData::new(values, shape);
        Tensor::from_data(data, &Device::flex().autodiff()).require_grad()
    }

    /// The values of a tensor, row-major.
    pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_into_vec().unwrap()
    }
}
