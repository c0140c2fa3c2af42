//! What is wrong with files that can be decoded all the same.

use std::fmt;

/// What was wrong with a file although it could be decoded.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Warning {
    /// The file ends before the audio that it promises.
    Truncated {
        /// Length that was decoded, seconds.
        decoded_s: f64,
        /// Length that the header promises, seconds, where it says so.
        promised_s: Option<f64>,
    },
    /// Packets that could not be decoded were left out.
    Damaged {
        /// How many.
        n_packets: u64,
        /// Where the first of them was, seconds from the beginning of what was decoded.
        first_s: f64,
        /// What the decoder said about the first of them.
        reason: String,
    },
    /// The file holds a further recording that was not read.
    Unread {
        /// Where it begins, seconds from the beginning of what was decoded.
        at_s: f64,
        /// Why it was not.
        reason: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::Truncated { decoded_s, promised_s: Some(promised_s) } => {
                let missing_s = promised_s - decoded_s;
                write!(
                    f,
                    "the file is cut short: {missing_s:.2} s of {promised_s:.2} s are missing at the end"
                )
            }
            Warning::Truncated { decoded_s, promised_s: None } => {
                write!(f, "the file is cut short after {decoded_s:.2} s")
            }
            Warning::Damaged { n_packets, first_s, reason } => {
                write!(f, "{n_packets} damaged packets were left out, the first at {first_s:.2} s: {reason}")
            }
            Warning::Unread { at_s, reason } => {
                write!(f, "the file goes on after {at_s:.2} s, which was not read: {reason}")
            }
        }
    }
}
