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

impl FrontEnd {
    /// The reference front end of the field: `librosa.feature.melspectrogram(sr=22050, n_fft=2048, hop_length=512,
    /// n_mels=128)` and `power_to_db(ref=max, top_db=80)`; 130 frames are 3 s.
    pub fn reference() -> FrontEnd {
        FrontEnd {
            sample_rate_hz: 22_050,
            n_fft: 2048,
            hop_length: 512,
            n_mels: 128,
            fmin_hz: 0.0,
            fmax_hz: 11_025.0,
            amin: 1e-10,
            top_db: 80.0,
            n_frames: 130,
            trim_top_db: None,
        }
    }
}
