//! Weights rounded to 8 bits by what the network hears.
//!
//! Each weight rounded to the nearest step by itself moves the answers more than need be: the errors of a row add up along
//! the directions in which its inputs vary most. GPTQ (Frantar et al. 2022) rounds one weight of a row after the other and
//! lets those that are still to come make good for the errors made so far, as far as the inputs of real recordings go
//! together. With the second moments of the inputs `H = sum x x^T = R R^T`, `R` upper triangular, weight `j` is rounded not
//! from its value but from that plus `sum over i < j of R_ij / R_jj` times the errors made (Babai's nearest plane; Chen et
//! al. 2025 show that both are the same). Weights whose inputs are large go first, as GPTQ's authors advise.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use super::encoder::taps_first;
use super::file::write_bytes;
use super::{Model, ModelFile, Precision, Tensor, Weights};
use crate::audio::AudioStream;
use crate::nn::linear::{ProductPrecision, grad_by_weight};
use crate::{Error, Recognizer, Result};

/// Share of the mean of the moments' diagonal that is added to it: what was not heard may be heard yet.
const DAMPING: f64 = 0.01;

/// A model that hears recordings, so that its weights can be rounded to [`Precision::Int8`] with little change to what it
/// says about such recordings. Some hundred recordings of what the model was trained on do; those that it will be tested on
/// should not be among them.
#[derive(Debug)]
pub struct Rounding {
    file: ModelFile,
    recognizer: Recognizer,
    heard: Heard,
}

/// What the matrices of a network were given, by the names of the tensors.
pub(crate) type Heard = Arc<Mutex<BTreeMap<String, Arc<Moments>>>>;

impl Rounding {
    /// A model that has heard nothing yet.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for another architecture than an encoder; what is wrong with the file.
    pub fn new(file: ModelFile) -> Result<Rounding> {
        let heard = Heard::default();
        let weights = Weights::new(file.tensors.clone()).heard_by(heard.clone());
        let model = Model::from_weights(&file.meta.architecture, weights)?;
        if lock(&heard).is_empty() {
            return Err(Error::OutOfRange {
                what: "the network to be rounded by recordings",
                expected: "an encoder".to_owned(),
                actual: format!("'{}'", file.meta.architecture.name()),
            });
        }
        let recognizer = Recognizer::with_classifier(file.meta.clone(), Arc::new(model))?;
        Ok(Rounding { file, recognizer, heard })
    }

    /// Hears a recording. Several threads may do so at once.
    ///
    /// # Errors
    /// As [`Recognizer::recognize_stream`].
    pub fn hear(&self, recording: &mut AudioStream) -> Result<()> {
        self.recognizer.recognize_stream(recording).map(drop)
    }

    /// The bytes of a file in [`Precision::Int8`]. The more recordings were heard, the better it is; where none was, weights
    /// are rounded as [`ModelFile::to_bytes`] does.
    ///
    /// # Errors
    /// As [`ModelFile::to_bytes`].
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let heard = lock(&self.heard);
        self.file.encode(Precision::Int8, &|name, tensor| Some(heard.get(name)?.round(tensor)))
    }

    /// Writes the file, as [`ModelFile::write`] does.
    ///
    /// # Errors
    /// As [`ModelFile::write`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        write_bytes(path.as_ref(), self.to_bytes())
    }
}

/// Nothing that is locked here can be left half done but by a thread that panics, which a model never does.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The second moments of a matrix' inputs: the sum of `x x^T` over all rows `x`.
#[derive(Debug)]
pub(crate) struct Moments {
    /// Inputs of the matrix.
    n: usize,
    /// `[n, n]`
    sums: Mutex<Vec<f64>>,
}

impl Moments {
    /// Those of no rows; for a matrix with `n` inputs.
    pub(crate) fn new(n: usize) -> Moments {
        Moments { n, sums: Mutex::new(vec![0.0; n * n]) }
    }

    /// Adds those of `n_rows` rows that begin `pitch` apart.
    pub(crate) fn add(&self, x: &[f32], n_rows: usize, pitch: usize) {
        let rows: Vec<f32> = (0..n_rows).flat_map(|t| &x[t * pitch..][..self.n]).copied().collect();
        let products = grad_by_weight(&rows, &rows, n_rows, ProductPrecision::F32);
        lock(&self.sums).iter_mut().zip(products).for_each(|(sum, x)| *sum += f64::from(x));
    }

    /// The integers of a weight `[c_out, n]` or of a filter over time `[c_out, n / 3, 3]`, and what each row of them is to be
    /// multiplied with.
    fn round(&self, tensor: &Tensor) -> (Vec<i8>, Vec<f32>) {
        let plan = Plan::new(&lock(&self.sums), self.n);
        let c_in = tensor.shape[1];
        let is_filter = tensor.shape.len() > 2;
        let rows = if is_filter { taps_first(&tensor.data, c_in) } else { tensor.data.clone() };
        let rounded = rows.par_chunks_exact(self.n).map(|row| plan.round(row));
        let (rows, scales): (Vec<Vec<i8>>, Vec<f32>) = rounded.unzip();
        let integers = rows.concat();
        (if is_filter { taps_last(&integers, c_in) } else { integers }, scales)
    }
}

/// A filter over time `[c_out, 3, c_in]` as `[c_out, c_in, 3]`.
fn taps_last(weight: &[i8], c_in: usize) -> Vec<i8> {
    let filters = weight.chunks_exact(3 * c_in);
    filters.flat_map(|filter| (0..3 * c_in).map(|i| filter[i % 3 * c_in + i / 3])).collect()
}

/// How the weights of each row are rounded.
struct Plan {
    /// The places of the weights, in the order in which they are rounded.
    order: Vec<usize>,
    /// `R_ij / R_jj` at `[j, i]`, `i < j`, in that order.
    shares: Vec<f64>,
}

impl Plan {
    fn new(moments: &[f64], n: usize) -> Plan {
        let diagonal = |i: usize| moments[i * n + i];
        let mean = (0..n).map(diagonal).sum::<f64>() / n as f64;
        // Of a matrix that was given nothing, or zeros alone, any positive one rounds each weight by itself.
        let damping = if mean > 0.0 { DAMPING * mean } else { 1.0 };
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&a, &b| diagonal(b).total_cmp(&diagonal(a)));
        // Cholesky's decomposition of the moments from the last to the first is that into upper triangular ones.
        let reversed = |i: usize| order[n - 1 - i];
        let mut lower = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..=i {
                let (before, row) = lower.split_at_mut(i * n);
                let x = moments[reversed(i) * n + reversed(j)];
                if i == j {
                    // Exact arithmetic never goes below.
                    row[i] = (x + damping - dot(&row[..i], &row[..i])).max(damping).sqrt();
                } else {
                    let other = &before[j * n..];
                    row[j] = (x - dot(&row[..j], &other[..j])) / other[j];
                }
            }
        }
        let mut shares = vec![0.0; n * n];
        for j in 0..n {
            let pivot = lower[(n - 1 - j) * n + (n - 1 - j)];
            for i in 0..j {
                shares[j * n + i] = lower[(n - 1 - i) * n + (n - 1 - j)] / pivot;
            }
        }
        Plan { order, shares }
    }

    /// Integers for a row, and their scale: the largest magnitude becomes 127.
    fn round(&self, row: &[f32]) -> (Vec<i8>, f32) {
        let n = row.len();
        let scale = row.iter().fold(0.0f32, |max, x| max.max(x.abs())) / 127.0;
        let mut integers = vec![0; n];
        if scale == 0.0 {
            return (integers, scale);
        }
        let mut errors = Vec::with_capacity(n);
        for (j, &place) in self.order.iter().enumerate() {
            let weight = f64::from(row[place]);
            let wanted = weight + dot(&self.shares[j * n..][..j], &errors);
            let integer = (wanted / f64::from(scale)).round().clamp(-127.0, 127.0);
            errors.push(weight - integer * f64::from(scale));
            integers[place] = integer as i8;
        }
        (integers, scale)
    }
}

/// The scalar product, in as many sums as fit the processor's vectors.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 16];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    for (a, b) in a.iter().zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;

    const N: usize = 48;

    /// Rows whose values go together: each is a mixture of a few sources, and noise.
    fn rows(n_rows: usize) -> Vec<f32> {
        let (sources, mixing, own) = (noise(n_rows * 5, 1), noise(5 * N, 2), noise(n_rows * N, 3));
        let value = |t: usize, i: usize| {
            (0..5).map(|s| sources[t * 5 + s] * mixing[s * N + i]).sum::<f32>() + 0.1 * own[t * N + i]
        };
        (0..n_rows).flat_map(|t| (0..N).map(move |i| value(t, i))).collect()
    }

    fn heard(x: &[f32]) -> Moments {
        let moments = Moments::new(N);
        let half = x.len() / N / 2 * N;
        moments.add(&x[..half], half / N, N);
        moments.add(&x[half..], (x.len() - half) / N, N);
        moments
    }

    /// The mean square by which outputs change.
    fn change(x: &[f32], weight: &[f32], integers: &[i8], scales: &[f32]) -> f64 {
        let mut sum = 0.0;
        for x in x.chunks_exact(N) {
            for ((weight, integers), scale) in
                weight.chunks_exact(N).zip(integers.chunks_exact(N)).zip(scales)
            {
                let error = |i: usize| f64::from(x[i] * (f32::from(integers[i]) * scale - weight[i]));
                sum += (0..N).map(error).sum::<f64>().powi(2);
            }
        }
        sum
    }

    #[test]
    fn moments_are_the_sums_of_products() {
        let x = rows(37);
        let moments = heard(&x);
        let sums = lock(&moments.sums);
        for i in 0..N {
            for j in 0..N {
                let want: f64 = x.chunks_exact(N).map(|x| f64::from(x[i]) * f64::from(x[j])).sum();
                assert!((sums[i * N + j] - want).abs() < 1e-4, "{i} {j}: {} {want}", sums[i * N + j]);
            }
        }
    }

    #[test]
    fn rows_may_overlap() {
        let x = noise(10 * N, 4);
        let (overlapping, apart) = (Moments::new(N), Moments::new(N));
        overlapping.add(&x, 19, N / 2);
        let rows: Vec<f32> = (0..19).flat_map(|t| x[t * N / 2..][..N].to_vec()).collect();
        apart.add(&rows, 19, N);
        assert_eq!(*lock(&overlapping.sums), *lock(&apart.sums));
    }

    #[test]
    fn outputs_change_less_also_for_rows_that_were_not_heard() {
        let all = rows(800);
        let (training, test) = all.split_at(400 * N);
        let tensor = Tensor { shape: vec![20, N], data: noise(20 * N, 5) };
        let by_hearing = heard(training).round(&tensor);
        let by_itself = Moments::new(N).round(&tensor);
        let change = |(integers, scales): &(Vec<i8>, Vec<f32>)| change(test, &tensor.data, integers, scales);
        let (a, b) = (change(&by_hearing), change(&by_itself));
        assert!(a < 0.2 * b, "{a} {b}");
    }

    #[test]
    fn without_a_recording_each_weight_goes_to_the_nearest_step() {
        let mut data = noise(3 * N, 6);
        data[N..2 * N].fill(0.0);
        let (integers, scales) = Moments::new(N).round(&Tensor { shape: vec![3, N], data: data.clone() });
        assert_eq!((scales.len(), scales[1]), (3, 0.0));
        for ((row, integers), scale) in data.chunks_exact(N).zip(integers.chunks_exact(N)).zip(scales) {
            for (x, q) in row.iter().zip(integers) {
                assert!((x - f32::from(*q) * scale).abs() <= 0.5001 * scale, "{x} {q} {scale}");
            }
            assert!(scale == 0.0 || integers.iter().any(|q| q.unsigned_abs() == 127));
        }
    }

    #[test]
    fn filters_are_turned_and_turned_back() {
        let data: Vec<i8> = (0..2 * 3 * 16).map(|i| i as i8).collect();
        assert_eq!(taps_last(&taps_first(&data, 16), 16), data);
        // A filter and the matrix of the same numbers are rounded alike.
        let x = rows(100);
        let tensor = Tensor { shape: vec![4, 16, 3], data: noise(4 * N, 7) };
        let matrix = Tensor { shape: vec![4, N], data: taps_first(&tensor.data, 16) };
        let (filter, scales) = heard(&x).round(&tensor);
        let (rows, same) = heard(&x).round(&matrix);
        assert_eq!((taps_first(&filter, 16), scales), (rows, same));
    }
}
