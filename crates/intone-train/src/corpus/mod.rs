//! Readers for speech corpora.
