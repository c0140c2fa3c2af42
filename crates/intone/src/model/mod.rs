//! Network architectures and the files they live in.

pub mod file;
