//! A demultiplexer for FLAC that plugs into symphonia's probe in the place of symphonia's own.
//!
//! Files are joined byte by byte although the format does not provide for it. Symphonia's reader takes the
//! header of the second file for a part of the last packet before it, and loses both that packet and most of
//! what follows. Here it is given one file at a time.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

use symphonia::core::errors::{Error, Result, SeekErrorKind, seek_error};
use symphonia::core::formats::probe::{ProbeFormatData, ProbeableFormat, Score, Scoreable};
use symphonia::core::formats::{
    FormatInfo, FormatOptions, FormatReader, MediaInfo, SeekMode, SeekTo, SeekedTo, Track,
};
use symphonia::core::io::{MediaSource, MediaSourceStream, ScopedStream, SeekBuffered};
use symphonia::core::meta::Metadata;
use symphonia::core::packet::Packet;
use symphonia::default::formats::FlacReader;

use super::probe::peek;

/// The first bytes of a FLAC file: its mark, and the head of a STREAMINFO block of 34 bytes, which may be the
/// last block or not. Source: RFC 9639, section 8.
const MARKS: [[u8; MARK_LEN]; 2] = [*b"fLaC\x00\x00\x00\x22", *b"fLaC\x80\x00\x00\x22"];
const MARK_LEN: usize = 8;

/// The most bytes that are read at once, to be searched for a mark.
const MAX_READ_LEN: usize = 32 << 10;

/// A source that holds one FLAC file or several.
struct Files<'s> {
    source: MediaSourceStream<'s>,
    /// The next byte is the first of a file.
    is_at_start: bool,
    /// All of the present file was read.
    is_at_end: bool,
}

impl Files<'_> {
    /// Reads from the present file.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_at_end || buffer.is_empty() {
            return Ok(0);
        }
        let n_wanted = buffer.len().min(MAX_READ_LEN);
        let mut bytes = vec![0; n_wanted];
        let n_read = self.source.read(&mut bytes)?;
        bytes.truncate(n_read);
        // A mark may begin with the last byte that was read.
        bytes.extend(peek::<{ MARK_LEN - 1 }>(&mut self.source)?);
        let n_skip = usize::from(self.is_at_start);
        let mark = bytes.windows(MARK_LEN).skip(n_skip).position(|window| MARKS.iter().any(|m| m == window));
        let n = match mark {
            Some(at) => at + n_skip,
            None => n_read,
        };
        self.source.seek_buffered_rel(-((n_read - n) as isize));
        self.is_at_end = n == 0 || mark.is_some();
        self.is_at_start = false;
        buffer[..n].copy_from_slice(&bytes[..n]);
        Ok(n)
    }

    /// Moves on to the next file, if there is one.
    fn begin_next(&mut self) -> io::Result<bool> {
        let mut rest = vec![0; MAX_READ_LEN];
        while self.read(&mut rest)? > 0 {}
        let is_there = !peek::<1>(&mut self.source)?.is_empty();
        if is_there {
            (self.is_at_start, self.is_at_end) = (true, false);
        }
        Ok(is_there)
    }
}

/// One of the files as a source of its own.
struct File<'s>(Arc<Mutex<Files<'s>>>);

impl Read for File<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).read(buffer)
    }
}

impl Seek for File<'_> {
    /// Not offered: recordings are read from the beginning to the end.
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl MediaSource for File<'_> {
    fn is_seekable(&self) -> bool {
        false
    }

    fn byte_len(&self) -> Option<u64> {
        None
    }
}

/// The packets of one FLAC file or of several that follow each other.
pub(super) struct FlacFiles<'s> {
    files: Arc<Mutex<Files<'s>>>,
    reader: FlacReader<'s>,
}

impl<'s> FlacFiles<'s> {
    fn new(mut source: MediaSourceStream<'s>) -> Result<FlacFiles<'s>> {
        source.ensure_seekback_buffer(MAX_READ_LEN + MARK_LEN);
        let files = Arc::new(Mutex::new(Files { source, is_at_start: true, is_at_end: false }));
        Ok(FlacFiles { reader: open(&files)?, files })
    }
}

/// Opens the file at whose beginning a source stands, or, where that file holds no packets, a later one.
fn open<'s>(files: &Arc<Mutex<Files<'s>>>) -> Result<FlacReader<'s>> {
    loop {
        let source = MediaSourceStream::new(Box::new(File(Arc::clone(files))), Default::default());
        match FlacReader::try_new(source, Default::default()) {
            Err(error) if is_end(&error) && begin_next(files)? => {}
            result => return result,
        }
    }
}

fn begin_next(files: &Mutex<Files<'_>>) -> io::Result<bool> {
    files.lock().unwrap_or_else(PoisonError::into_inner).begin_next()
}

fn is_end(error: &Error) -> bool {
    matches!(error, Error::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof)
}

impl FormatReader for FlacFiles<'_> {
    fn format_info(&self) -> &FormatInfo {
        self.reader.format_info()
    }

    fn media_info(&self) -> &MediaInfo {
        self.reader.media_info()
    }

    fn metadata(&mut self) -> Metadata<'_> {
        self.reader.metadata()
    }

    /// Not offered: recordings are read from the beginning to the end.
    fn seek(&mut self, _: SeekMode, _: SeekTo) -> Result<SeekedTo> {
        seek_error(SeekErrorKind::Unseekable)
    }

    fn tracks(&self) -> &[Track] {
        self.reader.tracks()
    }

    /// A new file is announced by [`Error::ResetRequired`].
    fn next_packet(&mut self) -> Result<Option<Packet>> {
        let result = self.reader.next_packet();
        let is_at_end = match &result {
            Ok(packet) => packet.is_none(),
            Err(error) => is_end(error),
        };
        if is_at_end && begin_next(&self.files)? {
            self.reader = open(&self.files)?;
            return Err(Error::ResetRequired);
        }
        result
    }

    fn into_inner<'s>(self: Box<Self>) -> MediaSourceStream<'s>
    where
        Self: 's,
    {
        Box::new(self.reader).into_inner()
    }
}

impl Scoreable for FlacFiles<'_> {
    fn score(source: ScopedStream<&mut MediaSourceStream<'_>>) -> Result<Score> {
        FlacReader::score(source)
    }
}

impl ProbeableFormat<'_> for FlacFiles<'_> {
    fn try_probe_new(source: MediaSourceStream<'_>, _: FormatOptions) -> Result<Box<dyn FormatReader + '_>> {
        Ok(Box::new(FlacFiles::new(source)?))
    }

    fn probe_data() -> &'static [ProbeFormatData] {
        FlacReader::probe_data()
    }
}
