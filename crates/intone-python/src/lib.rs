//! `intone._native`: the library as Python sees it.
//!
//! Everything that is decided about audio and emotions is decided in [`intone`]; here are conversions. What comes back is made
//! of the Python classes of `intone.answers` and `intone.errors`. Work is done by threads of our own with the interpreter
//! released, and Ctrl-C ends the waiting for it.

mod answers;
mod arguments;
mod batch;
mod error;
mod features;
mod recognizer;
mod samples;
mod source;
mod stream;
mod threads;

use pyo3::prelude::*;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // Missing, this is an ImportError; looked for later, by the bindings to it, it would be a panic.
    module.py().import("numpy")?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<recognizer::Recognizer>()?;
    module.add_class::<stream::Stream>()?;
    module.add_function(wrap_pyfunction!(features::log_mel, module)?)
}
