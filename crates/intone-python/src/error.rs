//! The library's errors as exceptions of `intone.errors`, in the library's words.

use intone::Error;
use pyo3::PyTypeInfo;
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;

/// The exceptions of `intone.errors`. In a module of their own, as the macro leaves them without documentation.
mod exceptions {
    pyo3::import_exception!(intone.errors, IntoneError);
    pyo3::import_exception!(intone.errors, AudioError);
    pyo3::import_exception!(intone.errors, ModelError);
    pyo3::import_exception!(intone.errors, FileError);
    pyo3::import_exception!(intone.errors, ArgumentError);
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The library refused.
    Library(Error),
    /// Python refused, or what it gave is of no use.
    Python(PyErr),
    /// It was told to stop.
    Stopped,
    /// The library panicked: a defect of ours. The process and the other recordings go on.
    Panic,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Library(error)
    }
}

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Failure {
        Failure::Python(error)
    }
}

impl Failure {
    /// The exception that says so.
    pub(crate) fn into_exception(self, py: Python<'_>) -> PyErr {
        match self {
            Failure::Library(error) => exception(py, &error),
            Failure::Python(error) => error,
            Failure::Stopped => PyKeyboardInterrupt::new_err(()),
            Failure::Panic => exceptions::IntoneError::new_err(
                "intone failed on this recording, which is a defect of intone; please report it",
            ),
        }
    }
}

/// The exception for an error of the library.
pub(crate) fn exception(py: Python<'_>, error: &Error) -> PyErr {
    let message = error.to_string();
    let (path, cause) = match error {
        Error::InFile { path, error } => (Some(path), error.as_ref()),
        _ => (None, error),
    };
    match cause {
        Error::Model(_) => exceptions::ModelError::new_err(message),
        Error::OutOfRange { .. } | Error::UnknownLabel { .. } => exceptions::IntoneError::new_err(message),
        Error::Io(cause) => {
            let exception = exceptions::FileError::new_err(message);
            let value = exception.value(py);
            let described = value
                .setattr("errno", cause.raw_os_error())
                .and_then(|()| value.setattr("filename", path.map(|path| path.as_os_str())));
            described.err().unwrap_or(exception)
        }
        _ => exceptions::AudioError::new_err(message),
    }
}

/// A value outside what is possible, in the library's words.
pub(crate) fn out_of_range(
    py: Python<'_>,
    what: &'static str,
    expected: impl ToString,
    actual: impl ToString,
) -> PyErr {
    exception(py, &Error::OutOfRange { what, expected: expected.to_string(), actual: actual.to_string() })
}

/// What cannot be done, whatever the recording.
pub(crate) fn refused(message: String) -> PyErr {
    exceptions::IntoneError::new_err(message)
}

/// Samples that are of no use.
pub(crate) fn unusable_samples(message: String) -> PyErr {
    exceptions::AudioError::new_err(message)
}

/// An argument of another type than expected.
pub(crate) fn wrong_type(what: &str, expected: &str, value: &Bound<'_, PyAny>) -> PyErr {
    let actual =
        value.get_type().name().map_or_else(|_| "another object".to_owned(), |name| name.to_string());
    wrong_argument(&format!("{what}: expected {expected}, got {actual}"))
}

/// The same, where the type alone does not say it.
pub(crate) fn wrong_argument(message: &str) -> PyErr {
    exceptions::ArgumentError::new_err(message.to_owned())
}

/// Whether this is an exception of `intone.errors`.
pub(crate) fn is_ours(py: Python<'_>, error: &PyErr) -> bool {
    error.get_type(py).is_subclass(&exceptions::IntoneError::type_object(py)).unwrap_or(false)
}
