//! What the networks that can be trained have in common: parameters and their way to and from plain numbers.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
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

/// The values of every parameter, in the order in which the module declares them.
pub(super) fn read_all(module: &impl Module) -> Vec<Vec<f32>> {
    struct Read(Vec<Vec<f32>>);
    impl ModuleVisitor for Read {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            self.0.push(values(parameter.val()));
        }
    }
    let mut read = Read(Vec::new());
    module.visit(&mut read);
    read.0
}

/// Calls `update` with every parameter that has a gradient; `names` are those of all parameters, in the order in which
/// the module declares them.
pub(super) fn update_all<M: Module>(
    module: &mut M,
    names: impl Iterator<Item = String>,
    gradients: &mut Gradients,
    update: Update<'_>,
) {
    struct Move<'a, I> {
        names: I,
        gradients: &'a mut Gradients,
        update: Update<'a>,
    }
    impl<I: Iterator<Item = String>> ModuleMapper for Move<'_, I> {
        fn map_float<const D: usize>(&mut self, mut parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let name = self.names.next().expect("as many names as parameters");
            let tensor = parameter.val();
            if let Some(gradient) = tensor.grad_remove(self.gradients) {
                let (device, shape) = (tensor.device(), tensor.dims());
                let mut data = values(tensor);
                (self.update)(&name, &mut data, &values(gradient));
                set(&mut parameter, TensorData::new(data, shape), &device, true);
            }
            parameter
        }
    }
    *module = module.clone().map(&mut Move { names, gradients, update });
}

/// A well-mixed 32-bit seed for one layer of one step (the finaliser of SplitMix64, Steele et al. 2014).
pub(super) fn mix_seed(seed: u64, layer: u64) -> u32 {
    let mut z = seed.wrapping_add((layer + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) as u32
}
