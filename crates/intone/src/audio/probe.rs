//! Finding out what a file is, and saying it where that is nothing that can be decoded.

use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::sync::LazyLock;

use symphonia::core::codecs::audio::{AudioCodecId, well_known as codec};
use symphonia::core::errors::Error as DecoderError;
use symphonia::core::formats::probe::{Hint, Probe};
use symphonia::core::formats::well_known::{
    FORMAT_ID_ADTS, FORMAT_ID_FLAC, FORMAT_ID_MKV, FORMAT_ID_MP3, FORMAT_ID_WAVE,
};
use symphonia::core::formats::{FormatReader, Track};
use symphonia::core::io::{MediaSource, MediaSourceStream, ReadBytes, ReadOnlySource, SeekBuffered};
use symphonia::core::meta::{RawValue, Tag};
use symphonia::core::packet::Packet;
use symphonia::core::units::TimeBase;
use symphonia::default::formats;

use super::SampleRate;
use super::flac::FlacFiles;
use super::mp3::Mp3Reader;
use super::mp4::{self, Edit, Inspection};
use super::pcm::PcmReader;
use crate::{Error, Result};

/// The beginning of a file that tells what it is.
const HEAD_LEN: usize = 64;

/// The largest MP4 file that is read from a pipe, which must be held in memory because its index often comes
/// last: an hour at 128 kbit/s.
const MAX_PIPED_MP4_LEN: u64 = 64 << 20;

/// Formats that are met in place of audio that is decoded here: where their magic bytes stand, and their name.
const OTHER_FORMATS: [(usize, &[u8], &str); 12] = [
    (0, b"wvpk", "WavPack"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"caff", "Core Audio Format"),
    (0, b"#!AMR", "AMR"),
    (0, b"\x30\x26\xB2\x75\x8E\x66\xCF\x11", "Windows Media (ASF)"),
    (0, b".snd", "AU"),
    (0, b"NIST_1A", "NIST SPHERE"),
    (0, b".RMF", "RealMedia"),
    (0, b"FLV\x01", "Flash Video"),
    (8, b"AVI ", "AVI"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"%PDF", "PDF"),
];

/// The elements that a Matroska file consists of.
const EBML: [u8; 4] = [0x1A, 0x45, 0xDF, 0xA3];
const SEGMENT: [u8; 4] = [0x18, 0x53, 0x80, 0x67];

/// The demultiplexers that are tried but for MP4's, which must not get files that were not inspected. Tags
/// other than ID3v2, which is skipped, matter to none of them.
static PROBE: LazyLock<Probe> = LazyLock::new(|| {
    let mut probe = Probe::default();
    probe.register_format::<PcmReader<'_>>();
    probe.register_format::<FlacFiles<'_>>();
    probe.register_format::<formats::OggReader<'_>>();
    probe.register_format::<Mp3Reader<'_>>();
    probe.register_format::<formats::AdtsReader<'_>>();
    probe.register_format::<formats::MkvReader<'_>>();
    probe
});

/// What reads the packets of a file, and its edit lists if it is an MP4 file.
pub(super) fn demuxer(mut source: MediaSourceStream<'static>) -> Result<(Box<dyn FormatReader>, Vec<Edit>)> {
    let head = peek::<HEAD_LEN>(&mut source)?;
    if head.is_empty() {
        return Err(Error::Audio("the file is empty".to_owned()));
    }
    let n_tags = skip_id3v2(&mut source)?;
    if n_tags > 0 && peek::<1>(&mut source)?.is_empty() {
        return Err(Error::Audio("an ID3 tag without audio behind it".to_owned()));
    }
    if head.get(4..8) == Some(b"ftyp") {
        if !source.is_seekable() {
            source = buffered(source)?;
        }
        let Inspection { edits, is_cut } = mp4::inspect(&mut source)?;
        source.seek(SeekFrom::Start(0))?;
        if is_cut {
            source = unseekable(source);
        }
        // The reader expects that a probe has read up to the marker.
        source.ignore_bytes(4)?;
        let demuxer =
            guard(|| formats::IsoMp4Reader::try_new(source, Default::default())).map_err(explain)?;
        return Ok((Box::new(demuxer), edits));
    }
    if head.starts_with(&EBML) && source.is_seekable() && matroska_is_cut(&mut source)? {
        source = unseekable(source);
    }
    match guard(|| PROBE.probe(&Hint::new(), source, Default::default(), Default::default())) {
        Ok(demuxer) => Ok((demuxer, Vec::new())),
        Err(error) => Err(describe(&head).unwrap_or_else(|| explain(error))),
    }
}

/// All that comes out of a pipe, in memory.
fn buffered(source: MediaSourceStream<'static>) -> Result<MediaSourceStream<'static>> {
    let mut bytes = Vec::new();
    let n_read = source.take(MAX_PIPED_MP4_LEN + 1).read_to_end(&mut bytes)?;
    if n_read as u64 > MAX_PIPED_MP4_LEN {
        let limit = MAX_PIPED_MP4_LEN >> 20;
        return Err(Error::Audio(format!(
            "an MP4 file of more than {limit} MiB from a pipe: write it to a file first"
        )));
    }
    Ok(MediaSourceStream::new(Box::new(Cursor::new(bytes)), Default::default()))
}

/// The same without its length. Symphonia's readers of MP4 and Matroska refuse what is shorter than it says if
/// they know so, and read to its end what comes out of a pipe.
fn unseekable(source: MediaSourceStream<'static>) -> MediaSourceStream<'static> {
    MediaSourceStream::new(Box::new(ReadOnlySource::new(source)), Default::default())
}

/// Whether a Matroska file is shorter than its one segment. Moves back to the beginning. Source: RFC 8794.
fn matroska_is_cut(source: &mut MediaSourceStream<'_>) -> Result<bool> {
    let head = peek::<HEAD_LEN>(source)?;
    let is_cut = || {
        let (len, at) = ebml_size(&head, EBML.len())?;
        let at = at.checked_add(usize::try_from(len).ok()?)?;
        let (len, at) = ebml_size(&head, at.checked_add(SEGMENT.len())?)?;
        let is_segment = head.get(..at)?.windows(SEGMENT.len()).any(|id| id == SEGMENT);
        Some(is_segment && (at as u64).checked_add(len)? > source.byte_len()?)
    };
    Ok(is_cut().unwrap_or(false))
}

/// A variable-length size at a place, and the place behind it; `None` also for the size that means unknown.
fn ebml_size(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let n_more = bytes.get(at)?.leading_zeros() as usize;
    let size = bytes.get(at..=at + n_more)?.iter().fold(0u64, |size, &byte| size << 8 | u64::from(byte));
    let mask = (1u64 << (7 * (n_more + 1))) - 1;
    (n_more < 8 && size & mask != mask).then_some((size & mask, at + n_more + 1))
}

/// What of a track's decoded audio is to be heard, in frames.
#[derive(Debug, Default)]
pub(super) struct Trim {
    /// Frames to drop at the beginning, and where to stop, both counted in what the decoder gives.
    pub(super) start: u64,
    pub(super) end: Option<u64>,
    /// The frames that the file promises after trimming.
    pub(super) promised: Option<u64>,
    /// Frames by which the promise may be broken without a word: it is not exact.
    pub(super) tolerance: u64,
}

/// What the file says about a track's length and its encoder's delay, as far as it is not applied by the
/// demultiplexer and the decoder themselves.
pub(super) fn trim(demuxer: &mut dyn FormatReader, track: &Track, edits: &[Edit]) -> Trim {
    let params = track.codec_params.as_ref().and_then(|params| params.audio());
    let rate = params.and_then(|params| params.sample_rate);
    match demuxer.format_info().format {
        // Only tags that also say what the encoder added are exact.
        FORMAT_ID_MP3 => return Trim { promised: track.delay.and(track.num_frames), ..Trim::default() },
        FORMAT_ID_ADTS => return Trim::default(),
        // Blocks of ADPCM may hold more frames than the header says.
        FORMAT_ID_WAVE => {
            return Trim { end: track.num_frames, promised: track.num_frames, ..Trim::default() };
        }
        FORMAT_ID_MKV => {
            let info = demuxer.media_info();
            let promised = info
                .time_base
                .zip(info.duration)
                .zip(rate)
                .map(|((time_base, duration), rate)| ticks_to_frames(duration.get(), time_base, rate));
            // The length is that of the longest track, whose last packet may count in part.
            let n_tracks = demuxer.tracks().len();
            let promised = promised.filter(|_| n_tracks == 1);
            return Trim { promised, tolerance: u64::from(rate.unwrap_or(0) / 10), ..Trim::default() };
        }
        _ => {}
    }
    if let Some((start, len)) = itunes_gapless(demuxer) {
        return Trim { start, end: Some(start + len), promised: Some(len), ..Trim::default() };
    }
    let (Some(edit), Some(rate)) = (edits.iter().find(|edit| edit.track_id == track.id), rate) else {
        return Trim { promised: track.num_frames, ..Trim::default() };
    };
    let frames = |ticks: u64| {
        let frames = u128::from(ticks) * u128::from(rate) / u128::from(edit.timescale);
        u64::try_from(frames).unwrap_or(u64::MAX)
    };
    // The movie's clock is coarse, often a millisecond. The sum of all packets is exact, and is what was
    // meant where both agree within the rounding.
    let n_total = track.duration.map(|duration| duration.get());
    let len = match (edit.len, n_total.and_then(|n| n.checked_sub(edit.start))) {
        (Some(len), Some(rest)) if len.abs_diff(rest) <= edit.rounding => Some(rest),
        (Some(len), Some(rest)) => Some(len.min(rest)),
        (len, rest) => len.or(rest),
    };
    let (start, len) = (frames(edit.start), len.map(frames));
    Trim { start, end: len.map(|len| start.saturating_add(len)), promised: len, ..Trim::default() }
}

/// Whether each of several recordings in a file says for itself how long it is.
pub(super) fn promises_one_by_one(demuxer: &dyn FormatReader) -> bool {
    matches!(demuxer.format_info().format, FORMAT_ID_FLAC | FORMAT_ID_MP3)
}

/// Frames before a Matroska track's beginning: its codec's delay shows as a negative time of the first packet.
pub(super) fn matroska_delay(demuxer: &dyn FormatReader, first: &Packet, sample_rate: SampleRate) -> u64 {
    let track = demuxer.tracks().iter().find(|track| track.id == first.track_id);
    let Some(time_base) = track.and_then(|track| track.time_base) else { return 0 };
    if demuxer.format_info().format != FORMAT_ID_MKV || !first.pts.is_negative() {
        return 0;
    }
    ticks_to_frames(first.pts.get().unsigned_abs(), time_base, sample_rate.0)
}

fn ticks_to_frames(ticks: u64, time_base: TimeBase, rate: u32) -> u64 {
    let (numerator, denominator) = (u128::from(time_base.numer.get()), u128::from(time_base.denom.get()));
    let frames = u128::from(ticks) * numerator * u128::from(rate);
    u64::try_from((frames + denominator / 2) / denominator).unwrap_or(u64::MAX)
}

/// iTunes' own note on delay and length, in frames: `iTunSMPB` = ` 00000000 DELAY PADDING LENGTH ...` in
/// hexadecimal digits.
fn itunes_gapless(demuxer: &mut dyn FormatReader) -> Option<(u64, u64)> {
    let mut metadata = demuxer.metadata();
    let is_note = |tag: &&Tag| tag.raw.key.ends_with(":iTunSMPB");
    let tag = loop {
        let revision = metadata.current()?;
        match revision.media.tags.iter().find(is_note) {
            Some(tag) => break tag.clone(),
            None => metadata.pop()?,
        };
    };
    let RawValue::String(text) = &tag.raw.value else { return None };
    let mut fields = text.split_ascii_whitespace().skip(1);
    let mut field = || u64::from_str_radix(fields.next()?, 16).ok();
    let (delay, _padding, len) = (field()?, field()?, field()?);
    (delay < 1 << 20 && len > 0 && len < 1 << 48).then_some((delay, len))
}

/// What a demultiplexer or decoder says when it panics.
const PANICKED: &str = "the decoder gave up on it";

/// Runs a part of symphonia and turns a panic into an error.
///
/// Damaged files do make symphonia 0.6.1 panic: an assertion in `MediaSourceStream::seek_buffered`
/// (media_source_stream.rs:536) and a subtraction in `sample_timing` (isomp4 stream.rs:152) fail on MP4
/// fragments, a product overflows in MS ADPCM (codec_ms.rs:96). What panicked is not used again.
pub(super) fn guard<T>(run: impl FnOnce() -> Result<T, DecoderError>) -> Result<T, DecoderError> {
    // Unwind safe: after a panic the caller drops the demultiplexer or decoder without calling it again.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run))
        .unwrap_or(Err(DecoderError::DecodeError(PANICKED)))
}

/// Whether an error stands for a panic.
pub(super) fn is_panic(error: &DecoderError) -> bool {
    matches!(error, DecoderError::DecodeError(reason) if *reason == PANICKED)
}

/// The name of a codec, as people know it.
pub(super) fn codec_name(id: AudioCodecId) -> String {
    let name = match id {
        codec::CODEC_ID_OPUS => "Opus",
        codec::CODEC_ID_SPEEX => "Speex",
        codec::CODEC_ID_AAC => "AAC",
        codec::CODEC_ID_ALAC => "ALAC",
        codec::CODEC_ID_MP1 => "MPEG layer 1",
        codec::CODEC_ID_MP2 => "MPEG layer 2",
        codec::CODEC_ID_MP3 => "MP3",
        codec::CODEC_ID_VORBIS => "Vorbis",
        codec::CODEC_ID_FLAC => "FLAC",
        codec::CODEC_ID_AC3 => "AC-3",
        codec::CODEC_ID_EAC3 => "E-AC-3",
        codec::CODEC_ID_AC4 => "AC-4",
        codec::CODEC_ID_DCA => "DTS",
        codec::CODEC_ID_TRUEHD => "TrueHD",
        codec::CODEC_ID_WMA => "Windows Media Audio",
        codec::CODEC_ID_WAVPACK => "WavPack",
        codec::CODEC_ID_TTA => "TTA",
        codec::CODEC_ID_MUSEPACK => "Musepack",
        codec::CODEC_ID_ADPCM_G722 => "G.722",
        codec::CODEC_ID_ADPCM_G726 | codec::CODEC_ID_ADPCM_G726LE => "G.726",
        codec::CODEC_ID_ADPCM_MS | codec::CODEC_ID_ADPCM_IMA_WAV | codec::CODEC_ID_ADPCM_IMA_QT => "ADPCM",
        _ => return format!("an unusual codec ({id})"),
    };
    name.to_owned()
}

/// A decoder's error in this crate's words.
pub(super) fn explain(error: DecoderError) -> Error {
    match error {
        DecoderError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Error::Audio("the file ends inside its header".to_owned())
        }
        DecoderError::IoError(error) => Error::Io(error),
        DecoderError::Unsupported("core (probe): no suitable format reader found") => Error::Audio(
            "no audio format that is known here (WAV, FLAC, Ogg Vorbis, MP3, AAC, M4A, AIFF, Matroska, WebM)"
                .to_owned(),
        ),
        DecoderError::Unsupported(what)
            if what.starts_with("WAV with ") || what.starts_with("AIFF-C with ") =>
        {
            Error::UnsupportedCodec { codec: what.to_owned() }
        }
        DecoderError::Unsupported(what) => Error::Audio(format!("not decoded here: {what}")),
        DecoderError::DecodeError(what) => Error::Audio(format!("a damaged file: {what}")),
        error => Error::Audio(error.to_string()),
    }
}

/// What a file is that is no audio, if its beginning tells.
fn describe(head: &[u8]) -> Option<Error> {
    if head.starts_with(b"version https://git-lfs") {
        let text = "a pointer of Git LFS instead of the audio; `git lfs pull` fetches it";
        return Some(Error::Audio(text.to_owned()));
    }
    for (at, magic, name) in OTHER_FORMATS {
        if head.get(at..at + magic.len()) == Some(magic) {
            return Some(Error::UnsupportedCodec { codec: name.to_owned() });
        }
    }
    let is_text = |&byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7E);
    head.iter().all(is_text).then(|| Error::Audio("text, not audio".to_owned()))
}

/// The next bytes, `N` or what is left, without moving on.
pub(super) fn peek<const N: usize>(source: &mut MediaSourceStream<'_>) -> io::Result<Vec<u8>> {
    source.ensure_seekback_buffer(N);
    let mut bytes = vec![0; N];
    let mut n_read = 0;
    while n_read < N {
        match source.read(&mut bytes[n_read..])? {
            0 => break,
            n => n_read += n,
        }
    }
    bytes.truncate(n_read);
    source.seek_buffered_rel(-(n_read as isize));
    Ok(bytes)
}

/// Skips the ID3v2 tags that precede MP3, AAC and sometimes FLAC and WAV files, and counts them. Source:
/// id3.org/id3v2.4.0-structure, section 3.1.
pub(super) fn skip_id3v2(source: &mut MediaSourceStream<'_>) -> io::Result<usize> {
    let mut n_tags = 0;
    while let [b'I', b'D', b'3', _, _, flags, l0, l1, l2, l3] = peek::<10>(source)?[..] {
        let len = [l0, l1, l2, l3].iter().fold(0, |len, byte| len << 7 | u64::from(byte & 0x7F));
        let footer_len = if flags & 0x10 == 0 { 0 } else { 10 };
        match source.ignore_bytes(10 + len + footer_len) {
            Ok(()) => n_tags += 1,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(n_tags + 1),
            Err(error) => return Err(error),
        }
    }
    Ok(n_tags)
}
