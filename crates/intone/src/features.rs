//! Front ends: from mono samples to log-mel frames.

use serde::{Deserialize, Serialize};

/// Every parameter of the way from samples to the network's input. It travels in the model file, so that
/// training and inference cannot differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrontEnd {
    /// Sample rate that the audio is brought to, Hz.
    pub sample_rate_hz: u32,
    /// Length of the Fourier transform and of the Hann window, samples.
    pub n_fft: usize,
    /// Distance between two frames, samples.
    pub hop_length: usize,
    /// Number of mel bands (Slaney scale, Slaney normalisation).
    pub n_mels: usize,
    /// Lower edge of the lowest band, Hz.
    pub fmin_hz: f32,
    /// Upper edge of the highest band, Hz.
    pub fmax_hz: f32,
    /// Powers below this count as this much, before the logarithm.
    pub amin: f32,
    /// Values more than this below the window's peak are raised to it, dB.
    pub top_db: f32,
    /// Frames in one input of the network.
    pub n_frames: usize,
    /// Trim leading and trailing parts that are more than this below the clip's loudest frame, dB
    /// (`librosa.effects.trim` with its default frame of 2048 and hop of 512 samples). `None`: no trimming.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trim_top_db: Option<f32>,
}
