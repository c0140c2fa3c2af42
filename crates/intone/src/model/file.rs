//! Model files: safetensors with one JSON string of metadata.
