//! A demultiplexer for MP3 that plugs into symphonia's probe in the place of symphonia's own.
//!
//! The first frame of most MP3 files is no audio but a tag (Xing, Info, VBRI) that counts the frames behind
//! it and says what the encoder added at both ends. The count is wrong where files were joined, cut or never
//! finished; symphonia's reader makes silence of all that lies beyond it, and passes over the tags of further
//! files. Here the count only tells where the padding is, if the recording does end there: what follows is
//! read on, as the same recording or as the next one. A packet here is what the standard calls a frame.
//!
//! Sources: ISO/IEC 11172-3, section 2.4.2.3, and ISO/IEC 13818-3, section 2.4.2.3, for the header; the tags
//! are read by symphonia.

use std::collections::VecDeque;
use std::io::{self, Cursor};

use symphonia::core::errors::{Error, Result, SeekErrorKind, seek_error};
use symphonia::core::formats::probe::{ProbeFormatData, ProbeableFormat, Score, Scoreable};
use symphonia::core::formats::well_known::FORMAT_ID_MP3;
use symphonia::core::formats::{
    FormatInfo, FormatOptions, FormatReader, MediaInfo, SeekMode, SeekTo, SeekedTo, Track,
};
use symphonia::core::io::{MediaSourceStream, ReadBytes, ScopedStream, SeekBuffered};
use symphonia::core::meta::{Metadata, MetadataLog};
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, Timestamp};
use symphonia::default::formats::MpaReader;

use super::probe::{peek, skip_id3v2};

const MP3: FormatInfo =
    FormatInfo { format: FORMAT_ID_MP3, short_name: "mp3", long_name: "MPEG Audio Layer 3 Native" };

/// Bytes of a packet's header.
const HEADER_LEN: usize = 4;

/// Where the VBRI tag stands in its packet, whatever the side information's length.
const VBRI_AT: usize = HEADER_LEN + 32;

/// Bit rates, kbit/s, by their index in the header: of MPEG 2 and 2.5, and of MPEG 1. The first means any
/// other rate, which symphonia does not decode; the last of 16 is not allowed.
const BIT_RATES: [[u32; 15]; 2] = [
    [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
];

/// What the header of a packet says.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Header {
    /// The bits that are the same in all packets of a recording: version, layer and sample rate.
    kind: u32,
    is_mpeg1: bool,
    is_mono: bool,
    /// Bytes of the packet, the header included.
    len: usize,
}

impl Header {
    /// `None` for what is no header of layer 3.
    fn parse(bytes: &[u8]) -> Option<Header> {
        let word = u32::from_be_bytes(bytes.get(..HEADER_LEN)?.try_into().ok()?);
        let (sync, layer) = (word >> 21, word >> 17 & 3);
        if sync != 0x7FF || layer != 1 {
            return None;
        }
        let (is_mpeg1, rates) = match word >> 19 & 3 {
            0 => (false, [11_025, 12_000, 8_000]),
            2 => (false, [22_050, 24_000, 16_000]),
            3 => (true, [44_100, 48_000, 32_000]),
            _ => return None,
        };
        let rate = rates.get((word >> 10 & 3) as usize)?;
        let bit_rate = BIT_RATES[usize::from(is_mpeg1)].get((word >> 12 & 15) as usize)?;
        if *bit_rate == 0 {
            return None;
        }
        let (kind, is_mono) = (word & 0xFFFE_0C00, word >> 6 & 3 == 3);
        let mut header = Header { kind, is_mpeg1, is_mono, len: 0 };
        // 1,000 bits are 125 bytes; one more byte pads packets where the quotient is no integer.
        header.len = (header.n_frames() * 125 * bit_rate / rate + (word >> 9 & 1)) as usize;
        Some(header)
    }

    /// Whether both can belong to the same recording.
    fn is_like(&self, other: &Header) -> bool {
        (self.kind, self.is_mono) == (other.kind, other.is_mono)
    }

    /// Frames of audio in a packet, that is samples of each channel.
    fn n_frames(&self) -> u32 {
        if self.is_mpeg1 { 1_152 } else { 576 }
    }

    /// Whether a packet deserves a closer look for a tag.
    fn may_be_tag(&self, data: &[u8]) -> bool {
        let at = self.xing_at();
        matches!(data.get(at..at + 4), Some(b"Xing" | b"Info"))
            || matches!(data.get(VBRI_AT..VBRI_AT + 4), Some(b"VBRI"))
    }

    /// The packets that a tag counts, where it does so.
    fn n_packets(&self, tag: &[u8]) -> Option<u32> {
        let number = |at: usize| Some(u32::from_be_bytes(tag.get(at..at + 4)?.try_into().ok()?));
        let at = self.xing_at();
        let n_packets = match tag.get(at..at + 4)? {
            b"Xing" | b"Info" if number(at + 4)? & 1 == 0 => return None,
            b"Xing" | b"Info" => number(at + 8)?,
            _ => number(VBRI_AT + 14)?,
        };
        // Nothing is what programs write that do not know yet.
        (n_packets > 0).then_some(n_packets)
    }

    /// Where the Xing or Info tag stands in its packet: behind the side information.
    fn xing_at(&self) -> usize {
        HEADER_LEN
            + match (self.is_mpeg1, self.is_mono) {
                (true, false) => 32,
                (true, true) | (false, false) => 17,
                (false, true) => 9,
            }
    }
}

/// The beginning of a recording.
struct Start {
    header: Header,
    /// What symphonia makes of the first packet.
    track: Track,
    /// The packets that follow the tag as it counts them.
    n_packets: Option<u32>,
    /// The first packet if it is audio instead of a tag.
    audio: Option<Vec<u8>>,
}

impl Start {
    fn new(header: Header, data: Vec<u8>) -> Result<Start> {
        let source = MediaSourceStream::new(Box::new(Cursor::new(data.clone())), Default::default());
        let mut reader = MpaReader::try_new(source, Default::default())?;
        let track = reader.tracks()[0].clone();
        // The reader keeps tags to itself.
        let is_tag = reader.next_packet()?.is_none();
        let n_packets = if is_tag { header.n_packets(&data) } else { None };
        Ok(Start { header, track, n_packets, audio: (!is_tag).then_some(data) })
    }
}

/// What comes next in a file.
enum Next {
    /// More of the same recording.
    Packet(Header, Vec<u8>),
    Recording(Box<Start>),
    End,
}

/// The packets of an MP3 file, which may hold several recordings one after the other.
pub(super) struct Mp3Reader<'s> {
    source: MediaSourceStream<'s>,
    tracks: [Track; 1],
    media_info: MediaInfo,
    metadata: MetadataLog,
    /// Of the first packet of the present recording.
    header: Header,
    /// Whether audio of the present recording was met.
    is_begun: bool,
    /// Where the next packet begins, frames. What the encoder put in front of the audio counts below zero.
    next_at: i64,
    /// Where the tag says that the audio ends, and where it says that the padding behind it does.
    audio_end: Option<i64>,
    padding_end: Option<i64>,
    /// Packets with padding, until it is known whether the recording ends as the tag says: at most eight.
    held: Vec<Packet>,
    ready: VecDeque<Packet>,
    next: Option<Start>,
    is_finished: bool,
}

impl<'s> Mp3Reader<'s> {
    fn new(mut source: MediaSourceStream<'s>) -> Result<Mp3Reader<'s>> {
        let Some((header, data)) = find_packet(&mut source, true)? else {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        };
        let start = Start::new(header, data)?;
        let mut reader = Mp3Reader {
            source,
            media_info: MediaInfo::from_track(&start.track),
            tracks: [start.track.clone()],
            metadata: MetadataLog::default(),
            header,
            is_begun: false,
            next_at: 0,
            audio_end: None,
            padding_end: None,
            held: Vec::new(),
            ready: VecDeque::new(),
            next: None,
            is_finished: false,
        };
        reader.begin(start);
        Ok(reader)
    }

    fn begin(&mut self, start: Start) {
        let delay = i64::from(start.track.delay.unwrap_or(0));
        self.next_at = -delay;
        self.padding_end = start.n_packets.map(|n| i64::from(n) * i64::from(start.header.n_frames()) - delay);
        self.audio_end = self.padding_end.map(|end| {
            let n_frames = start.track.num_frames.and_then(|n| i64::try_from(n).ok());
            n_frames.map_or(end, |n_frames| n_frames.min(end))
        });
        self.header = start.header;
        self.is_begun = false;
        self.media_info = MediaInfo::from_track(&start.track);
        self.tracks = [start.track];
        if let Some(data) = start.audio {
            self.hold(start.header, data);
        }
    }

    /// Reads on up to the next packet, or to the end of the recording.
    fn advance(&mut self) -> Result<()> {
        let is_counted = self.padding_end.is_none_or(|end| self.next_at < end);
        match if is_counted { self.read_on()? } else { self.read_behind_end()? } {
            Next::Packet(header, data) => {
                if !is_counted {
                    // The count is wrong: what looked like padding may be audio.
                    (self.audio_end, self.padding_end) = (None, None);
                    self.release();
                }
                self.hold(header, data);
            }
            Next::Recording(start) => {
                self.release();
                self.next = Some(*start);
            }
            Next::End => {
                self.release();
                self.is_finished = true;
            }
        }
        Ok(())
    }

    fn read_on(&mut self) -> Result<Next> {
        loop {
            skip_tags(&mut self.source)?;
            let Some((header, data)) = read_packet(&mut self.source)? else { return Ok(Next::End) };
            if header.may_be_tag(&data) {
                let start = Start::new(header, data)?;
                match start.audio {
                    Some(data) => return Ok(Next::Packet(header, data)),
                    // Programs that write a tag may leave the old one behind it.
                    None if !self.is_begun => continue,
                    None => return Ok(Next::Recording(Box::new(start))),
                }
            }
            return Ok(Next::Packet(header, data));
        }
    }

    /// Looks for more behind the last packet that the tag counts. What only resembles MP3, such as pictures
    /// in tags, must not pass for audio here.
    fn read_behind_end(&mut self) -> Result<Next> {
        let is_like = |header: Header| header.is_like(&self.header);
        if skip_tags(&mut self.source)? == 0
            && Header::parse(&peek::<HEADER_LEN>(&mut self.source)?).is_some_and(is_like)
        {
            return self.read_on();
        }
        Ok(match find_packet(&mut self.source, false)? {
            Some((header, data)) => Next::Recording(Box::new(Start::new(header, data)?)),
            None => Next::End,
        })
    }

    /// Appends a packet of the present recording.
    fn hold(&mut self, header: Header, data: Vec<u8>) {
        let n_frames = header.n_frames();
        let mut packet = Packet::new(0, Timestamp::new(self.next_at), Duration::new(n_frames.into()), data);
        packet.trim_start = frames(-self.next_at).min(packet.dur);
        self.is_begun = true;
        self.next_at += i64::from(n_frames);
        self.held.push(packet);
        if self.audio_end.is_none_or(|end| self.next_at <= end) {
            self.release();
        }
    }

    /// Hands out what was held, without what lies behind the end of the audio.
    fn release(&mut self) {
        let audio_end = self.audio_end;
        self.ready.extend(self.held.drain(..).map(|mut packet| {
            let end = packet.pts.get().saturating_add_unsigned(packet.dur.get());
            packet.trim_end = frames(audio_end.map_or(0, |audio_end| end - audio_end)).min(packet.dur);
            packet
        }));
    }
}

impl FormatReader for Mp3Reader<'_> {
    fn format_info(&self) -> &FormatInfo {
        &MP3
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

    /// A new recording is announced by [`Error::ResetRequired`].
    fn next_packet(&mut self) -> Result<Option<Packet>> {
        loop {
            if let Some(packet) = self.ready.pop_front() {
                return Ok(Some(packet));
            }
            if let Some(start) = self.next.take() {
                self.begin(start);
                return Err(Error::ResetRequired);
            }
            if self.is_finished {
                return Ok(None);
            }
            self.advance()?;
        }
    }

    fn into_inner<'s>(self: Box<Self>) -> MediaSourceStream<'s>
    where
        Self: 's,
    {
        self.source
    }
}

impl Scoreable for Mp3Reader<'_> {
    fn score(source: ScopedStream<&mut MediaSourceStream<'_>>) -> Result<Score> {
        MpaReader::score(source)
    }
}

impl ProbeableFormat<'_> for Mp3Reader<'_> {
    fn try_probe_new(
        mut source: MediaSourceStream<'_>,
        options: FormatOptions,
    ) -> Result<Box<dyn FormatReader + '_>> {
        // Symphonia's reader knows the name of layers 1 and 2; nothing here decodes them.
        match peek::<2>(&mut source)?[..] {
            [_, second] if second >> 1 & 3 != 1 => Ok(Box::new(MpaReader::try_new(source, options)?)),
            _ => Ok(Box::new(Mp3Reader::new(source)?)),
        }
    }

    fn probe_data() -> &'static [ProbeFormatData] {
        MpaReader::probe_data()
    }
}

/// A number of frames; none if it is negative.
fn frames(n: i64) -> Duration {
    Duration::new(u64::try_from(n).unwrap_or(0))
}

/// The next packet, wherever it begins; `None` at the end.
fn read_packet(source: &mut MediaSourceStream<'_>) -> Result<Option<(Header, Vec<u8>)>> {
    let Some(header) = find_header(source)? else { return Ok(None) };
    let mut data = vec![0; header.len];
    match source.read_buf_exact(&mut data) {
        Ok(()) => Ok(Some((header, data))),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The next packet that another one like it follows, or, if `last_will_do`, nothing at all.
fn find_packet(source: &mut MediaSourceStream<'_>, last_will_do: bool) -> Result<Option<(Header, Vec<u8>)>> {
    while find_header(source)?.is_some() {
        let at = source.pos();
        if let Some((header, data)) = read_packet(source)? {
            let behind = peek::<HEADER_LEN>(source)?;
            let is_sure = match behind.len() {
                HEADER_LEN => Header::parse(&behind).is_some_and(|other| other.is_like(&header)),
                _ => last_will_do,
            };
            if is_sure {
                return Ok(Some((header, data)));
            }
        }
        source.seek_buffered(at + 1);
    }
    Ok(None)
}

/// Moves to the next header; `None` at the end.
fn find_header(source: &mut MediaSourceStream<'_>) -> Result<Option<Header>> {
    let mut word = 0u32;
    loop {
        match source.read_byte() {
            Ok(byte) => word = word << 8 | u32::from(byte),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        if let Some(header) = Header::parse(&word.to_be_bytes()) {
            source.seek_buffered_rel(-(HEADER_LEN as isize));
            return Ok(Some(header));
        }
    }
}

/// Skips the tags that stand between recordings and behind the last one, and counts them: ID3v2, ID3v1 and
/// APE. Sources: id3.org/ID3v1; the APE tags specification, wiki.hydrogenaud.io.
fn skip_tags(source: &mut MediaSourceStream<'_>) -> Result<usize> {
    let mut n_tags = 0;
    loop {
        n_tags += skip_id3v2(source)?;
        let len = match peek::<16>(source)?[..] {
            [b'T', b'A', b'G', ..] => 128,
            [b'A', b'P', b'E', b'T', b'A', b'G', b'E', b'X', _, _, _, _, l0, l1, l2, l3] => {
                32 + u64::from(u32::from_le_bytes([l0, l1, l2, l3]))
            }
            _ => return Ok(n_tags),
        };
        n_tags += 1;
        match source.ignore_bytes(len) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(n_tags),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All headers without a checksum.
    fn words() -> impl Iterator<Item = [u8; HEADER_LEN]> {
        (0..1u32 << 12)
            .map(|bits| (0x7FF << 21 | bits >> 8 << 17 | 1 << 16 | (bits & 0xFF) << 8).to_be_bytes())
            .flat_map(|word| [0x00, 0x40, 0x80, 0xC0].map(|mode| [word[0], word[1], word[2], mode]))
    }

    fn reader(bytes: Vec<u8>) -> Result<MpaReader<'static>> {
        MpaReader::try_new(
            MediaSourceStream::new(Box::new(Cursor::new(bytes)), Default::default()),
            Default::default(),
        )
    }

    #[test]
    fn headers_are_read_as_symphonia_reads_them() {
        let mut n_headers = 0;
        for word in words() {
            let Some(header) = Header::parse(&word) else { continue };
            let mut file = word.to_vec();
            file.resize(header.len, 0);
            file.extend(word);
            file.resize(2 * header.len, 0);
            let mut reader = reader(file).unwrap();
            for _ in 0..2 {
                let packet = reader.next_packet().unwrap().unwrap();
                assert_eq!(packet.data.len(), header.len, "{word:X?}");
                assert_eq!(packet.dur.get(), u64::from(header.n_frames()), "{word:X?}");
            }
            assert!(reader.next_packet().unwrap().is_none(), "{word:X?}");
            n_headers += 1;
        }
        // Three versions, 14 bit rates, three sample rates, padding and private bit or not, four modes.
        assert_eq!(n_headers, 3 * 14 * 3 * 4 * 4);
    }

    #[test]
    fn tags_are_found_where_symphonia_finds_them() {
        for word in [
            [0xFF, 0xFB, 0x90, 0x00],
            [0xFF, 0xFB, 0x90, 0xC0],
            [0xFF, 0xF3, 0xC0, 0x40],
            [0xFF, 0xE3, 0xC8, 0xC0],
        ] {
            let header = Header::parse(&word).unwrap();
            let packet = |at: usize, tag: &[u8]| {
                let mut data = word.to_vec();
                data.resize(header.len, 0);
                data[at..at + tag.len()].copy_from_slice(tag);
                data
            };
            let vbri = b"VBRI\0\x01\0\0\0\0\0\0\0\0\0\0\0\x07";
            for (at, tag, n_packets) in [
                (header.xing_at(), b"Xing\0\0\0\x01\0\0\0\x07".as_slice(), Some(7)),
                (header.xing_at(), b"Info\0\0\0\x0F\0\0\0\x07", Some(7)),
                (header.xing_at(), b"Info\0\0\0\x0E\0\0\0\x07", None),
                (header.xing_at(), b"Info\0\0\0\x0F\0\0\0\0", None),
                (VBRI_AT, vbri, Some(7)),
            ] {
                let data = packet(at, tag);
                assert!(header.may_be_tag(&data), "{word:X?}, {tag:?}");
                let start = Start::new(header, data).unwrap();
                assert_eq!((start.n_packets, start.audio), (n_packets, None), "{word:X?}, {tag:?}");
                if let Some(n_packets) = n_packets {
                    let n_frames = u64::from(n_packets * header.n_frames());
                    assert_eq!(start.track.num_frames, Some(n_frames), "{word:X?}, {tag:?}");
                }
            }
            // The same letters elsewhere, and in the side information, are audio.
            let data = packet(header.xing_at() + 1, b"Xing\0\0\0\x01\0\0\0\x07");
            assert!(!header.may_be_tag(&data));
            let mut data = packet(header.xing_at(), b"Xing\0\0\0\x01\0\0\0\x07");
            data[HEADER_LEN] = 1;
            let start = Start::new(header, data.clone()).unwrap();
            assert_eq!((start.n_packets, start.audio), (None, Some(data)));
        }
    }
}
