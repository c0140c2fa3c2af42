//! The header of AIFF and AIFF-C files.
//!
//! Sources: "Audio Interchange File Format, version 1.3" (Apple 1989); "AIFF-C, draft of 26 August 1991".

use std::io::{Seek, SeekFrom};

use symphonia::core::codecs::audio::well_known as codec;
use symphonia::core::errors::{Result, decode_error, unsupported_error};
use symphonia::core::io::{MediaSource, MediaSourceStream, ReadBytes};

use super::pcm::{Header, Layout, is_streamed, skip_chunk};

/// Bytes of a `COMM` chunk that are of interest: up to the compression type.
const MAX_COMM_LEN: usize = 22;

/// Reads the chunks up to the audio, and, if the audio comes first, those behind it as well.
pub(super) fn read_header(source: &mut MediaSourceStream<'_>, form: [u8; 4]) -> Result<Header> {
    let mut comm = None;
    let mut sound = None;
    loop {
        if let (Some((layout, n_frames)), Some((start, len))) = (comm, sound) {
            if source.pos() != start {
                source.seek(SeekFrom::Start(start))?;
            }
            return Ok(Header { layout, n_bytes: n_bytes(layout, n_frames, len), n_frames: None });
        }
        let id = source.read_quad_bytes()?;
        let len = source.read_be_u32()?;
        match &id {
            b"COMM" => {
                let mut bytes = [0; MAX_COMM_LEN];
                let n_read = bytes.len().min(len as usize);
                source.read_buf_exact(&mut bytes[..n_read])?;
                skip_chunk(source, len, n_read)?;
                comm = Some(parse_comm(&bytes[..n_read], form == *b"AIFC")?);
            }
            b"SSND" => {
                let offset = source.read_be_u32()?;
                let _block_size = source.read_be_u32()?;
                source.ignore_bytes(u64::from(offset))?;
                let data_len = len.saturating_sub(8).saturating_sub(offset);
                sound = Some((source.pos(), data_len));
                if comm.is_none() {
                    if !source.is_seekable() {
                        return unsupported_error(
                            "an AIFF file from a pipe whose samples come before their description",
                        );
                    }
                    skip_chunk(source, data_len, 0)?;
                }
            }
            _ => skip_chunk(source, len, 0)?,
        }
    }
}

/// How much audio there is, if the writer knew: the shorter of what the two chunks say.
fn n_bytes(layout: Layout, n_frames: u32, data_len: u32) -> Option<u64> {
    if data_len == 0 || is_streamed(data_len) {
        return None;
    }
    let in_frames = u64::from(n_frames) * layout.block_len;
    Some(u64::from(data_len).min(if n_frames == 0 { u64::MAX } else { in_frames }))
}

/// Reads a `COMM` chunk: the layout, and the number of frames.
fn parse_comm(comm: &[u8], is_aifc: bool) -> Result<(Layout, u32)> {
    let &[c0, c1, f0, f1, f2, f3, b0, b1, ref rest @ ..] = comm else {
        return decode_error("the COMM chunk of its AIFF header is cut short");
    };
    let Some((rate, rest)) = rest.split_first_chunk() else {
        return decode_error("the COMM chunk of its AIFF header is cut short");
    };
    let n_channels = u16::from_be_bytes([c0, c1]);
    Layout::check_channels(n_channels)?;
    let n_bits = u16::from_be_bytes([b0, b1]);
    let (codec, sample_len) = match (is_aifc, rest.first_chunk()) {
        (false, _) | (true, Some(b"NONE" | b"none" | b"twos")) => match n_bits.div_ceil(8) {
            1 => (codec::CODEC_ID_PCM_S8, 1),
            2 => (codec::CODEC_ID_PCM_S16BE, 2),
            3 => (codec::CODEC_ID_PCM_S24BE, 3),
            4 => (codec::CODEC_ID_PCM_S32BE, 4),
            _ => return decode_error("its AIFF header says that samples have neither 8, 16, 24 nor 32 bits"),
        },
        (true, Some(b"sowt")) => match n_bits.div_ceil(8) {
            1 => (codec::CODEC_ID_PCM_S8, 1),
            2 => (codec::CODEC_ID_PCM_S16LE, 2),
            3 => (codec::CODEC_ID_PCM_S24LE, 3),
            4 => (codec::CODEC_ID_PCM_S32LE, 4),
            _ => return decode_error("its AIFF header says that samples have neither 8, 16, 24 nor 32 bits"),
        },
        (true, Some(b"raw ")) => (codec::CODEC_ID_PCM_U8, 1),
        (true, Some(b"in24")) => (codec::CODEC_ID_PCM_S24BE, 3),
        (true, Some(b"in32")) => (codec::CODEC_ID_PCM_S32BE, 4),
        (true, Some(b"42ni")) => (codec::CODEC_ID_PCM_S24LE, 3),
        (true, Some(b"23ni")) => (codec::CODEC_ID_PCM_S32LE, 4),
        (true, Some(b"fl32" | b"FL32")) => (codec::CODEC_ID_PCM_F32BE, 4),
        (true, Some(b"fl64" | b"FL64")) => (codec::CODEC_ID_PCM_F64BE, 8),
        (true, Some(b"alaw" | b"ALAW")) => (codec::CODEC_ID_PCM_ALAW, 1),
        (true, Some(b"ulaw" | b"ULAW")) => (codec::CODEC_ID_PCM_MULAW, 1),
        (true, _) => return unsupported_error("AIFF-C with an unusual codec"),
    };
    let layout = Layout::pcm(codec, sample_len, n_channels, extended_to_u32(rate));
    Ok((layout, u32::from_be_bytes([f0, f1, f2, f3])))
}

/// An 80-bit IEEE 754 number, rounded; 0 for what is negative, not finite, or too large.
fn extended_to_u32(bytes: &[u8; 10]) -> u32 {
    let [e0, e1, mantissa @ ..] = bytes;
    let exponent = i32::from(u16::from_be_bytes([*e0, *e1])) - 16_383;
    if !(-1..32).contains(&exponent) {
        return 0;
    }
    let doubled = u64::from_be_bytes(*mantissa) >> (62 - exponent);
    u32::try_from(doubled.div_ceil(2)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::extended_to_u32;

    #[test]
    fn sample_rates_as_they_stand_in_files() {
        let rate = |exponent: u16, mantissa: u64| {
            let mut bytes = [0; 10];
            bytes[..2].copy_from_slice(&exponent.to_be_bytes());
            bytes[2..].copy_from_slice(&mantissa.to_be_bytes());
            extended_to_u32(&bytes)
        };
        assert_eq!(rate(0x400C, 0xFA00 << 48), 16_000);
        assert_eq!(rate(0x400E, 0xAC44 << 48), 44_100);
        // 22,254.5454..., the rate of the first Macintosh.
        assert_eq!(rate(0x400D, 0xADDD_1745_D145_D000), 22_255);
        assert_eq!(rate(0x3FFF, 1 << 63), 1);
        assert_eq!(rate(0x401E, u64::MAX), 0, "rounds up to 2^32");
        for exponent in [0, 0x3FFD, 0x401F, 0x7FFF, 0x8000, 0xC00C, 0xFFFF] {
            assert_eq!(rate(exponent, 0xFA00 << 48), 0, "{exponent:#x}");
        }
    }
}
