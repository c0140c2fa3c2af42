//! Our own CPU layers.
