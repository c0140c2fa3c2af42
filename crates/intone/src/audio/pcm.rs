//! A demultiplexer for uncompressed audio, WAV and AIFF, that plugs into symphonia's probe in the place of
//! symphonia's own two.
//!
//! Recordings come from recorders that crashed, from pipes that could not go back to write a length, and
//! from programs that count a header's fields differently: symphonia's readers refuse such files and AIFF
//! files that are cut short, know no RF64, and overflow on large channel counts. Here the chunk of samples
//! and the end of the file decide how much audio there is.

use std::io;

use symphonia::core::audio::Channels;
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters};
use symphonia::core::errors::{Result, SeekErrorKind, decode_error, seek_error};
use symphonia::core::formats::probe::{
    ProbeDataMatchSpec, ProbeFormatData, ProbeableFormat, Score, Scoreable,
};
use symphonia::core::formats::well_known::{FORMAT_ID_AIFF, FORMAT_ID_WAVE};
use symphonia::core::formats::{
    FormatInfo, FormatOptions, FormatReader, MediaInfo, SeekMode, SeekTo, SeekedTo, Track,
};
use symphonia::core::io::{MediaSourceStream, ReadBytes, ScopedStream};
use symphonia::core::meta::{Metadata, MetadataLog};
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, Timestamp};

use super::{aiff, wav};

/// The most channels that are accepted: an ambisonic recording of order 15, far beyond any recorder.
const MAX_CHANNELS: u16 = 256;

/// The bytes of audio in one packet, roughly: large enough for speed, small enough for any memory.
const PACKET_LEN: u64 = 32 * 1024;

/// SoX writes 0x7FFFF000 in WAV and about 0x7F000000 in AIFF for lengths that it cannot know, others the
/// largest signed integer; a recording of just this size is less likely than a pipe.
const STREAMED_LENS: std::ops::RangeInclusive<u32> = 0x7F00_0000..=0x7FFF_FFFF;

const WAVE: FormatInfo =
    FormatInfo { format: FORMAT_ID_WAVE, short_name: "wave", long_name: "Waveform Audio File Format" };
const AIFF: FormatInfo =
    FormatInfo { format: FORMAT_ID_AIFF, short_name: "aiff", long_name: "Audio Interchange File Format" };

/// How samples lie in a file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Layout {
    pub(super) codec: AudioCodecId,
    pub(super) n_channels: u16,
    pub(super) sample_rate_hz: u32,
    /// Bytes of one block, and frames in it. PCM has blocks of one frame.
    pub(super) block_len: u64,
    pub(super) frames_per_block: u64,
}

/// What the header of a file says, with the source left at the first sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Header {
    pub(super) layout: Layout,
    /// Bytes of audio; `None`: the writer did not know.
    pub(super) n_bytes: Option<u64>,
    /// Frames of audio where the blocks hold a few more.
    pub(super) n_frames: Option<u64>,
}

/// The packets of one WAV or AIFF file.
pub(super) struct PcmReader<'s> {
    source: MediaSourceStream<'s>,
    format: &'static FormatInfo,
    tracks: [Track; 1],
    media_info: MediaInfo,
    metadata: MetadataLog,
    layout: Layout,
    /// Audio bytes to come as the header promises them; without end if it does not know.
    n_bytes_left: u64,
    next_frame: u64,
}

impl<'s> PcmReader<'s> {
    fn new(mut source: MediaSourceStream<'s>) -> Result<PcmReader<'s>> {
        let start = source.pos();
        let id = source.read_quad_bytes()?;
        let len = source.read_quad_bytes()?;
        let form = source.read_quad_bytes()?;
        let Some(format) = format_of(id, form) else { return decode_error("neither WAV nor AIFF") };
        let Header { layout, n_bytes, n_frames } = if format.format == FORMAT_ID_WAVE {
            wav::read_header(&mut source, start + 8 + u64::from(u32::from_le_bytes(len)))?
        } else {
            aiff::read_header(&mut source, form)?
        };

        let mut track = Track::new(0);
        track.with_codec_params(CodecParameters::Audio(layout.codec_params()));
        if let Some(n_bytes) = n_bytes {
            let n_in_blocks = (n_bytes / layout.block_len).saturating_mul(layout.frames_per_block);
            let n_frames = n_frames.map_or(n_in_blocks, |n_frames| n_frames.min(n_in_blocks));
            track.with_num_frames(n_frames).with_duration(Duration::new(n_frames));
        }
        Ok(PcmReader {
            source,
            format,
            media_info: MediaInfo::from_track(&track),
            tracks: [track],
            metadata: MetadataLog::default(),
            n_bytes_left: n_bytes.unwrap_or(u64::MAX),
            layout,
            next_frame: 0,
        })
    }
}

impl FormatReader for PcmReader<'_> {
    fn format_info(&self) -> &FormatInfo {
        self.format
    }

    fn media_info(&self) -> &MediaInfo {
        &self.media_info
    }

    fn metadata(&mut self) -> Metadata<'_> {
        self.metadata.metadata()
    }

    /// Not offered: recordings are read from the beginning to the end.
    fn seek(&mut self, _: SeekMode, _: SeekTo) -> Result<SeekedTo> {
        seek_error(SeekErrorKind::Unseekable)
    }

    fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    fn next_packet(&mut self) -> Result<Option<Packet>> {
        let Layout { block_len, frames_per_block, .. } = self.layout;
        let n_blocks = (self.n_bytes_left / block_len).min(self.layout.blocks_per_packet());
        if n_blocks == 0 {
            return Ok(None);
        }
        let mut data = match self.source.read_boxed_slice((n_blocks * block_len) as usize) {
            Ok(data) => data.into_vec(),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        // At the end of a truncated file the last block may be incomplete.
        let n_blocks = data.len() as u64 / block_len;
        if n_blocks == 0 {
            self.n_bytes_left = 0;
            return Ok(None);
        }
        data.truncate((n_blocks * block_len) as usize);
        self.n_bytes_left -= n_blocks * block_len;
        let n_frames = n_blocks * frames_per_block;
        let packet = Packet::new(0, Timestamp::new(self.next_frame as i64), Duration::new(n_frames), data);
        self.next_frame += n_frames;
        Ok(Some(packet))
    }

    fn into_inner<'s>(self: Box<Self>) -> MediaSourceStream<'s>
    where
        Self: 's,
    {
        self.source
    }
}

impl Scoreable for PcmReader<'_> {
    fn score(mut source: ScopedStream<&mut MediaSourceStream<'_>>) -> Result<Score> {
        let id = source.read_quad_bytes()?;
        source.ignore_bytes(4)?;
        Ok(match format_of(id, source.read_quad_bytes()?) {
            Some(_) => Score::Supported(u8::MAX),
            None => Score::Unsupported,
        })
    }
}

impl ProbeableFormat<'_> for PcmReader<'_> {
    fn try_probe_new(source: MediaSourceStream<'_>, _: FormatOptions) -> Result<Box<dyn FormatReader + '_>> {
        Ok(Box::new(PcmReader::new(source)?))
    }

    fn probe_data() -> &'static [ProbeFormatData] {
        const WAVE_SPEC: ProbeDataMatchSpec = ProbeDataMatchSpec {
            extensions: &["wav"],
            mime_types: &["audio/wav"],
            markers: &[b"RIFF", b"RF64", b"BW64"],
        };
        const AIFF_SPEC: ProbeDataMatchSpec = ProbeDataMatchSpec {
            extensions: &["aiff", "aif", "aifc"],
            mime_types: &["audio/aiff"],
            markers: &[b"FORM"],
        };
        &[ProbeFormatData { spec: WAVE_SPEC, info: WAVE }, ProbeFormatData { spec: AIFF_SPEC, info: AIFF }]
    }
}

impl Layout {
    /// Refuses channel counts that cannot be.
    pub(super) fn check_channels(n_channels: u16) -> Result<()> {
        match n_channels {
            0 => decode_error("its header says that there are 0 channels"),
            1..=MAX_CHANNELS => Ok(()),
            _ => decode_error("its header says that there are more than 256 channels"),
        }
    }

    /// PCM: blocks of one frame.
    pub(super) fn pcm(codec: AudioCodecId, sample_len: u64, n_channels: u16, sample_rate_hz: u32) -> Layout {
        let block_len = sample_len * u64::from(n_channels);
        Layout { codec, n_channels, sample_rate_hz, block_len, frames_per_block: 1 }
    }

    fn codec_params(&self) -> AudioCodecParameters {
        let mut params = AudioCodecParameters::new();
        params
            .for_codec(self.codec)
            .with_sample_rate(self.sample_rate_hz)
            .with_channels(Channels::Discrete(self.n_channels))
            .with_frames_per_block(self.frames_per_block)
            .with_max_frames_per_packet(self.blocks_per_packet() * self.frames_per_block);
        params
    }

    fn blocks_per_packet(&self) -> u64 {
        (PACKET_LEN / self.block_len).max(1)
    }
}

/// Whether a length is one that programs write which do not know it.
pub(super) fn is_streamed(len: u32) -> bool {
    STREAMED_LENS.contains(&len)
}

/// Skips the `len` bytes of a chunk but for those that were read, and the byte that pads it to an even length.
pub(super) fn skip_chunk(source: &mut MediaSourceStream<'_>, len: u32, n_read: usize) -> io::Result<()> {
    source.ignore_bytes(u64::from(len) + u64::from(len % 2) - n_read as u64)
}

fn format_of(id: [u8; 4], form: [u8; 4]) -> Option<&'static FormatInfo> {
    match (&id, &form) {
        (b"RIFF" | b"RF64" | b"BW64", b"WAVE") => Some(&WAVE),
        (b"FORM", b"AIFF" | b"AIFC") => Some(&AIFF),
        _ => None,
    }
}
