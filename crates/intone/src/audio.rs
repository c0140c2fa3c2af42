//! Decoding, downmixing and resampling: from a file of any common format to mono samples.
