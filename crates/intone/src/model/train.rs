//! What the networks that can be trained have in common: parameters and their way to and from plain numbers.

use burn::module::Param;
use burn::tensor::{Device, Gradients, Tensor, TensorData};

/// What an optimiser sees of one parameter: its name in the model file, its values, and their gradient.
pub type Update<'a> = &'a mut dyn FnMut(&str, &mut [f32], &[f32]);

pub(super) fn parameter<const D: usize>(
    values: Vec<f32>,
    shape: [usize; D],
    device: &Device,
) -> Param<Tensor<D>> {
    Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), device))
}

pub(super) fn set<const D: usize>(
    parameter: &mut Param<Tensor<D>>,
    data: TensorData,
    device: &Device,
    trained: bool,
) {
    let tensor = Tensor::from_data(data, device);
    *parameter = Param::initialized(parameter.id, if trained { tensor.require_grad() } else { tensor });
}

pub(super) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("networks compute in single precision")
}

pub(super) fn read<const D: usize>(parameter: &Param<Tensor<D>>) -> Vec<f32> {
    values(parameter.val())
}

pub(super) fn update_parameter<const D: usize>(
    parameter: &mut Param<Tensor<D>>,
    gradients: &mut Gradients,
    name: &str,
    update: Update<'_>,
) {
    let tensor = parameter.val();
    let Some(gradient) = tensor.grad_remove(gradients) else { return };
    let device = tensor.device();
    let shape = tensor.dims();
    drop(tensor);
    let gradient = values(gradient);
    let mut data = read(parameter);
    update(name, &mut data, &gradient);
    set(parameter, TensorData::new(data, shape), &device, true);
}

/// A well-mixed 32-bit seed for one layer of one step (the finaliser of SplitMix64, Steele et al. 2014).
pub(super) fn mix_seed(seed: u64, layer: u64) -> u32 {
    let mut z = seed.wrapping_add((layer + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) as u32
}
