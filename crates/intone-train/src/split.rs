//! Speaker-independent splits.
