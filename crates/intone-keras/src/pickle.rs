//! A reader of Python's pickles that can build plain data and nothing else.
//!
//! A pickle is a program for a stack machine, and may ask for any function to be called. Here the machine has no functions:
//! a handful of names that numpy and scikit-learn need for arrays and label encoders become values of their own, and
//! a pickle that names anything else is refused by that name. Nothing is ever executed.
//!
//! Protocols 2 to 5 (Python 2.3 to date), as documented in Python's `pickletools`. Values are kept once and referred to by
//! number, so that a pickle which uses a value a thousand times takes no more memory than its own length asks for; and what it
//! makes is counted, so that one which makes a value a thousand times is refused.

use crate::error::{Error, Result};

mod array;
mod machine;

use machine::Machine;

/// The largest pickle that is read, bytes. Label encoders and parameters have some hundred.
pub(crate) const MAX_BYTES: u64 = 1 << 20;

/// The most values that a whole pickle is spread out to.
const MAX_VALUES: usize = 1 << 16;

/// The deepest nesting of values.
const MAX_DEPTH: usize = 32;

/// Plain data, as pickled.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// A list, a tuple, a set, or a numpy array as nested lists.
    List(Vec<Value>),
    /// A dictionary in its order.
    Dict(Vec<(Value, Value)>),
    /// scikit-learn's label encoder, by its attributes.
    LabelEncoder(Vec<(Value, Value)>),
}

impl Value {
    /// What kind of value it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::None => "None",
            Value::Bool(_) => "a bool",
            Value::Int(_) => "an int",
            Value::Float(_) => "a float",
            Value::Text(_) => "a string",
            Value::Bytes(_) => "bytes",
            Value::List(_) => "a list",
            Value::Dict(_) => "a dictionary",
            Value::LabelEncoder(_) => "a label encoder",
        }
    }
}

/// The names that stand for something, and what for. Modules were renamed: numpy's in 2.0, scikit-learn's in 0.22.
const NAMES: [(&str, &str, Name); 14] = [
    ("numpy.core.multiarray", "_reconstruct", Name::Reconstruct),
    ("numpy._core.multiarray", "_reconstruct", Name::Reconstruct),
    ("numpy.core.multiarray", "scalar", Name::Scalar),
    ("numpy._core.multiarray", "scalar", Name::Scalar),
    ("numpy.core.numeric", "_frombuffer", Name::FromBuffer),
    ("numpy._core.numeric", "_frombuffer", Name::FromBuffer),
    ("numpy", "ndarray", Name::Ndarray),
    ("numpy", "dtype", Name::Dtype),
    ("sklearn.preprocessing._label", "LabelEncoder", Name::LabelEncoder),
    ("sklearn.preprocessing.label", "LabelEncoder", Name::LabelEncoder),
    // Protocol 2 has no bytes; it writes them as text with this name.
    ("_codecs", "encode", Name::Encode),
    ("__builtin__", "bytes", Name::Bytes),
    ("builtins", "bytes", Name::Bytes),
    ("collections", "OrderedDict", Name::OrderedDict),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Reconstruct,
    Scalar,
    FromBuffer,
    Ndarray,
    Dtype,
    LabelEncoder,
    Encode,
    Bytes,
    OrderedDict,
}

/// Reads a pickle.
pub(crate) fn read(bytes: &[u8]) -> Result<Value> {
    if bytes.len() as u64 > MAX_BYTES {
        return refuse(0, format!("{} bytes; expected at most {MAX_BYTES}", bytes.len()));
    }
    let mut machine = Machine::new(bytes);
    let result = machine.run()?;
    let mut n_left = MAX_VALUES;
    machine.spread(result, 0, &mut n_left)
}

fn refuse<T>(at: usize, what: impl Into<String>) -> Result<T> {
    Err(Error::Pickle { at, what: what.into() })
}

#[cfg(test)]
mod tests;
