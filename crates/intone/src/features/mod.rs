//! Front ends: from mono samples to log-mel frames.
//!
//! [`FrontEnd`] is the value that says how; [`Extractor`] is that value made ready to work (a planned Fourier
//! transform, a window, a sparse filter bank). It answers in two forms:
//!
//! * [`Extractor::log_mel`]: the picture of a whole clip, in dB relative to its peak, equal to librosa's
//!   `power_to_db(melspectrogram(y, ...), ref=np.max, top_db=80)`;
//! * [`Extractor::frames`], and [`Extractor::stream`] for audio that arrives in pieces: absolute log-mel
//!   frames, from which [`Frames::window`] cuts the network's inputs.
//!
//! ```
//! use intone::features::{Extractor, FrontEnd};
//!
//! let front_end = FrontEnd::reference();
//! let extractor = Extractor::new(&front_end)?;
//! let samples: Vec<f32> = (0..66_150).map(|n| (n as f32 * 0.1).sin()).collect(); // 3 s at 22,050 Hz
//! let log_mel = extractor.log_mel(&samples);
//! assert_eq!((log_mel.n_mels(), log_mel.n_frames()), (128, 130));
//!
//! let mut input = vec![0.0; front_end.window_len()];
//! extractor.frames(&samples).window(&front_end, 0, &mut input)?;
//! assert!(input.iter().all(|value| (0.0..=1.0).contains(value)));
//! # Ok::<(), intone::Error>(())
//! ```

mod decibel;
mod extract;
mod frames;
mod front_end;
mod mel;
mod spectrum;
mod trim;

pub use extract::{Extractor, FrameStream, LogMel};
pub use frames::Frames;
pub use front_end::{Filling, FrontEnd, Style};
pub use trim::trim;
pub(crate) use trim::{FRAME_LENGTH, loud};
