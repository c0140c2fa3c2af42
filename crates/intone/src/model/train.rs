//! What the networks that can be trained have in common: parameters and their way to and from plain numbers.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use rayon::prelude::*;

/// What an optimiser sees of a parameter that has a gradient. The values of a convolution over time come in the order of
/// computation, taps first.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Its name in the model file.
    pub name: String,
    /// Its values, to be moved.
    pub values: Vec<f32>,
    /// Their gradient.
    pub gradient: Vec<f32>,
}

/// Values of parameters by name, in the order of [`Parameter::values`].
pub type Values = BTreeMap<String, Vec<f32>>;

/// What moves the parameters of a network: all of one step at once.
pub type Update<'a> = &'a mut dyn FnMut(&mut [Parameter]);

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

/// Calls `update` with every parameter that has a gradient, and takes over what it has moved; `names` are those of all
/// parameters, in the order in which the module declares them.
pub(super) fn update_all<M: Module>(
    module: &mut M,
    names: impl Iterator<Item = String>,
    gradients: &mut Gradients,
    update: Update<'_>,
) {
    /// Reads a tensor.
    type Read = Box<dyn FnOnce() -> Vec<f32> + Send>;
    struct Collect<'a> {
        names: std::slice::Iter<'a, String>,
        gradients: &'a mut Gradients,
        found: Vec<(String, [Read; 2])>,
    }
    impl ModuleVisitor for Collect<'_> {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            let name = self.names.next().expect("as many names as parameters");
            let tensor = parameter.val();
            if let Some(gradient) = tensor.grad_remove(self.gradients) {
                let read: [Read; 2] = [Box::new(|| values(tensor)), Box::new(|| values(gradient))];
                self.found.push((name.clone(), read));
            }
        }
    }
    let names: Vec<String> = names.collect();
    let mut collect = Collect { names: names.iter(), gradients, found: Vec::new() };
    module.visit(&mut collect);
    let parameter = |(name, [values, gradient]): (String, [Read; 2])| {
        let (values, gradient) = rayon::join(values, gradient);
        Parameter { name, values, gradient }
    };
    let mut parameters: Vec<Parameter> = collect.found.into_par_iter().map(parameter).collect();
    update(&mut parameters);
    let moved = parameters.into_iter().map(|parameter| (parameter.name, parameter.values)).collect();
    replace_all(module, names.into_iter(), moved);
}

/// Puts these values in place of those that the parameters of these names have.
pub(super) fn replace_all<M: Module>(module: &mut M, names: impl Iterator<Item = String>, values: Values) {
    struct Replace<I> {
        names: I,
        values: Values,
    }
    impl<I: Iterator<Item = String>> ModuleMapper for Replace<I> {
        fn map_float<const D: usize>(&mut self, mut parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let name = self.names.next().expect("as many names as parameters");
            if let Some(values) = self.values.remove(&name) {
                let old = parameter.val();
                let (device, shape) = (old.device(), old.dims());
                set(&mut parameter, TensorData::new(values, shape), &device, true);
            }
            parameter
        }
    }
    *module = module.clone().map(&mut Replace { names, values });
}

/// A well-mixed 32-bit seed for one layer of one step (the finaliser of SplitMix64, Steele et al. 2014).
pub(super) fn mix_seed(seed: u64, layer: u64) -> u32 {
    let mut z = seed.wrapping_add((layer + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) as u32
}
