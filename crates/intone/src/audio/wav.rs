//! The header of WAV files.
//!
//! Sources: "Multimedia Programming Interface and Data Specifications 1.0" (IBM, Microsoft 1991); RFC 2361
//! for the format tags; EBU Tech 3306 for RF64; ITU-R BS.2088 for BW64.

use symphonia::core::codecs::audio::well_known as codec;
use symphonia::core::errors::{Result, decode_error, unsupported_error};
use symphonia::core::io::{MediaSourceStream, ReadBytes};

use super::pcm::{Header, Layout, is_streamed, skip_chunk};

/// What ffmpeg writes for lengths that it cannot know, and RF64 for those that stand elsewhere.
const UNKNOWN_LEN: u32 = u32::MAX;

/// Bytes of a `fmt ` chunk that are of interest: WAVE_FORMAT_EXTENSIBLE has 40.
const MAX_FMT_LEN: usize = 40;

/// Reads the chunks up to the audio. `riff_end` is where the file ends according to its RIFF chunk, whose
/// length is otherwise ignored: it is wrong too often.
pub(super) fn read_header(source: &mut MediaSourceStream<'_>, riff_end: u64) -> Result<Header> {
    let mut layout = None;
    let mut n_frames = None;
    let mut long_len = None;
    let data_len = loop {
        let id = source.read_quad_bytes()?;
        let len = source.read_u32()?;
        if &id == b"data" {
            break len;
        }
        let mut bytes = [0; MAX_FMT_LEN];
        let n_read = match &id {
            b"fmt " | b"ds64" | b"fact" => bytes.len().min(len as usize),
            _ => 0,
        };
        source.read_buf_exact(&mut bytes[..n_read])?;
        skip_chunk(source, len, n_read)?;
        match (&id, &bytes[..n_read]) {
            (b"fmt ", fmt) => layout = Some(parse_fmt(fmt)?),
            (b"ds64", &[_, _, _, _, _, _, _, _, l0, l1, l2, l3, l4, l5, l6, l7, ..]) => {
                long_len = Some(u64::from_le_bytes([l0, l1, l2, l3, l4, l5, l6, l7]));
            }
            (b"fact", &[n0, n1, n2, n3, ..]) => n_frames = Some(u32::from_le_bytes([n0, n1, n2, n3])),
            _ => {}
        }
    };
    let Some(layout) = layout else {
        return decode_error("its WAV header has no `fmt ` chunk before the audio");
    };

    // A recorder that stopped without a word leaves the lengths that it began with: nothing at all, or a
    // RIFF chunk that ends where the audio begins.
    let is_unwritten = data_len == 0 && riff_end <= source.pos();
    let n_bytes = match (data_len, long_len) {
        (UNKNOWN_LEN, Some(len)) if len != 0 && len != u64::MAX => Some(len),
        (UNKNOWN_LEN, _) => None,
        (len, _) if is_streamed(len) || is_unwritten => None,
        (len, _) => Some(u64::from(len)),
    };
    // PCM needs no `fact`; where it has one, it is the chunk that programs forget to update.
    let n_frames = n_frames.filter(|&n| n > 0 && layout.frames_per_block > 1).map(u64::from);
    Ok(Header { layout, n_bytes, n_frames })
}

/// Reads a `fmt ` chunk.
fn parse_fmt(fmt: &[u8]) -> Result<Layout> {
    let u16_at = |at: usize| fmt.get(at..at + 2).map(|b| u16::from_le_bytes([b[0], b[1]]));
    let (Some(mut tag), Some(n_channels), Some(rate_low), Some(rate_high), Some(block_len), Some(n_bits)) =
        (u16_at(0), u16_at(2), u16_at(4), u16_at(6), u16_at(12), u16_at(14))
    else {
        return decode_error("the `fmt ` chunk of its WAV header is shorter than 16 bytes");
    };
    if tag == 0xFFFE {
        // WAVE_FORMAT_EXTENSIBLE: the tag proper is the beginning of a GUID.
        tag = match u16_at(24) {
            Some(tag) => tag,
            None => return decode_error("the extensible `fmt ` chunk of its WAV header is cut short"),
        };
    }
    Layout::check_channels(n_channels)?;
    let sample_rate_hz = u32::from(rate_low) | u32::from(rate_high) << 16;
    let pcm = |codec, sample_len| Ok(Layout::pcm(codec, sample_len, n_channels, sample_rate_hz));
    let adpcm = |codec, head_len, n_head_frames| {
        let frames_per_block = adpcm_frames(block_len, n_channels, head_len, n_head_frames)?;
        Ok(Layout { codec, n_channels, sample_rate_hz, block_len: u64::from(block_len), frames_per_block })
    };
    match tag {
        1 => match container(block_len, n_channels, n_bits) {
            1 => pcm(codec::CODEC_ID_PCM_U8, 1),
            2 => pcm(codec::CODEC_ID_PCM_S16LE, 2),
            3 => pcm(codec::CODEC_ID_PCM_S24LE, 3),
            4 => pcm(codec::CODEC_ID_PCM_S32LE, 4),
            _ => decode_error("its WAV header says that samples have neither 8, 16, 24 nor 32 bits"),
        },
        3 => match n_bits {
            32 => pcm(codec::CODEC_ID_PCM_F32LE, 4),
            64 => pcm(codec::CODEC_ID_PCM_F64LE, 8),
            _ => decode_error("its WAV header says that floats have neither 32 nor 64 bits"),
        },
        6 => pcm(codec::CODEC_ID_PCM_ALAW, 1),
        7 => pcm(codec::CODEC_ID_PCM_MULAW, 1),
        // Per channel, a block begins with a head that holds the first samples.
        0x02 => adpcm(codec::CODEC_ID_ADPCM_MS, 7, 2),
        0x11 => adpcm(codec::CODEC_ID_ADPCM_IMA_WAV, 4, 1),
        0x31 => unsupported_error("WAV with GSM 6.10"),
        0x50 => unsupported_error("WAV with MPEG layer 1 or 2"),
        0x55 => unsupported_error("WAV with MP3"),
        0xFF | 0x1600 | 0x1610 => unsupported_error("WAV with AAC"),
        0x160..=0x163 => unsupported_error("WAV with Windows Media Audio"),
        0xF1AC => unsupported_error("WAV with FLAC"),
        _ => unsupported_error("WAV with an unusual codec"),
    }
}

/// The bytes of one PCM sample. Samples are left-justified in containers whose size only the block length
/// tells; where that is nonsense, in the smallest that holds them.
fn container(block_len: u16, n_channels: u16, n_bits: u16) -> u16 {
    let len = block_len / n_channels;
    let is_sound = block_len.is_multiple_of(n_channels) && len <= 4 && len * 8 >= n_bits;
    if is_sound { len } else { n_bits.div_ceil(8) }
}

/// The frames in one block of 4-bit ADPCM.
fn adpcm_frames(block_len: u16, n_channels: u16, head_len: u16, n_head_frames: u64) -> Result<u64> {
    if n_channels > 2 {
        return unsupported_error("WAV with ADPCM of more than two channels");
    }
    match block_len.checked_sub(head_len * n_channels) {
        Some(n_bytes) => Ok(u64::from(n_bytes * 2 / n_channels) + n_head_frames),
        None => decode_error("its WAV header says that ADPCM blocks are shorter than their own heads"),
    }
}
