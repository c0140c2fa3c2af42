//! A first look into MP4 files: which part of a track is to be heard, and whether the file is a trap.
//!
//! AAC encoders begin with 1,024 to 2,112 samples of their own delay and end with a padded block. The edit
//! list (`elst`) says so; symphonia reads past it. Source: ISO/IEC 14496-12, sections 8.2.2, 8.3.2, 8.4.2, 8.6.6, 8.8.8.

use std::io::{self, Read, Seek, SeekFrom};

use crate::{Error, Result};

/// The part of one track that is to be heard.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Edit {
    pub(super) track_id: u32,
    /// Ticks of the track's own clock per second.
    pub(super) timescale: u32,
    /// Where the part begins, ticks.
    pub(super) start: u64,
    /// Its length, ticks; `None`: up to the end.
    pub(super) len: Option<u64>,
    /// The rounding of that length, ticks: it is given on the clock of the whole movie.
    pub(super) rounding: u64,
}

/// Boxes side by side at the top of a file: ten hours of two-second fragments have 72,000.
const MAX_TOP_BOXES: usize = 1 << 18;

/// Boxes side by side anywhere else.
const MAX_BOXES: usize = 10_000;

/// Tracks in a file. Every packet costs time for every track.
const MAX_TRACKS: usize = 64;

/// Packets in one run of a fragment: 49 minutes of AAC at 48 kHz. A run's packets cost time that grows with
/// their square in symphonia 0.6.1, which sums their durations anew for each.
const MAX_RUN_PACKETS: u64 = 1 << 17;

/// What a first look into a file shows.
#[derive(Debug, Default)]
pub(super) struct Inspection {
    /// The edits of all tracks that have a simple one: a single part, played at normal speed. What cannot be
    /// understood counts as no edit; whether the file is sound is for its demultiplexer to say.
    pub(super) edits: Vec<Edit>,
    /// The last box is longer than what is left of the file.
    pub(super) is_cut: bool,
}

/// Looks at a file before its demultiplexer does.
///
/// # Errors
/// For files that would take symphonia's demultiplexer unlimited time: it counts the packets that a
/// fragment claims one by one, up to 2^32 in a file of a kilobyte.
pub(super) fn inspect(source: &mut (impl Read + Seek)) -> Result<Inspection> {
    let end = source.seek(SeekFrom::End(0))?;
    let mut movie = None;
    let mut fragments = Vec::new();
    let is_cut = children(source, Span { start: 0, end }, MAX_TOP_BOXES, |kind, body| match kind {
        b"moov" => movie = movie.or(Some(body)),
        b"moof" => fragments.push(body),
        _ => {}
    })?;

    let mut n_packets = 0;
    for fragment in fragments {
        for track in all(source, fragment, b"traf")? {
            for run in all(source, track, b"trun")? {
                let n = u64::from(bytes(source, run, 4)?.map_or(0, u32::from_be_bytes));
                n_packets += n;
                if n > MAX_RUN_PACKETS || n_packets > end {
                    return Err(Error::Audio(
                        "a damaged MP4 file: its fragments claim too many packets".to_owned(),
                    ));
                }
            }
        }
    }

    let mut edits = Vec::new();
    let Some(movie) = movie else {
        let reason = if is_cut { ", as it is cut short" } else { "" };
        return Err(Error::Audio(format!("an MP4 file without its index (moov){reason}")));
    };
    let tracks = all(source, movie, b"trak")?;
    if tracks.len() > MAX_TRACKS {
        return Err(Error::Audio(format!(
            "an MP4 file of {} tracks; {MAX_TRACKS} are accepted",
            tracks.len()
        )));
    }
    if let Some(movie_timescale) = timescale(source, movie, b"mvhd")? {
        for track in tracks {
            edits.extend(edit(source, track, movie_timescale)?);
        }
    }
    Ok(Inspection { edits, is_cut })
}

/// The edit of one `trak` box.
fn edit(source: &mut (impl Read + Seek), track: Span, movie_timescale: u32) -> io::Result<Option<Edit>> {
    let Some(header) = find(source, track, b"tkhd")? else { return Ok(None) };
    let Some(track_id) = versioned_u32(source, header, 12, 20)? else { return Ok(None) };
    let Some(media) = find(source, track, b"mdia")? else { return Ok(None) };
    let Some(timescale) = timescale(source, media, b"mdhd")? else { return Ok(None) };
    let Some(list) = find(source, track, b"edts")? else { return Ok(None) };
    let Some(list) = find(source, list, b"elst")? else { return Ok(None) };

    let Some([version, _, _, _, n0, n1, n2, n3]) = bytes(source, list, 0)? else { return Ok(None) };
    let entry_len = if version == 1 { 20 } else { 12 };
    let mut single = None;
    // Entries without media (time -1) shift the track against others, which does not matter here.
    for entry in 0..u64::from(u32::from_be_bytes([n0, n1, n2, n3])).min(MAX_BOXES as u64) {
        let at = 8 + entry * entry_len;
        let (len, start) = if version == 1 {
            let Some(len) = bytes(source, list, at)? else { return Ok(None) };
            let Some(start) = bytes(source, list, at + 8)? else { return Ok(None) };
            (u64::from_be_bytes(len), i64::from_be_bytes(start))
        } else {
            let Some(len) = bytes(source, list, at)? else { return Ok(None) };
            let Some(start) = bytes(source, list, at + 4)? else { return Ok(None) };
            (u64::from(u32::from_be_bytes(len)), i64::from(i32::from_be_bytes(start)))
        };
        let Some(rate) = bytes(source, list, at + entry_len - 4)? else { return Ok(None) };
        let Ok(start) = u64::try_from(start) else { continue };
        if single.is_some() || rate != [0, 1, 0, 0] {
            return Ok(None);
        }
        single = Some((len, start));
    }
    Ok(single.map(|(len, start)| {
        let scaled = (u128::from(len) * u128::from(timescale) + u128::from(movie_timescale) / 2)
            / u128::from(movie_timescale);
        Edit {
            track_id,
            timescale,
            start,
            len: u64::try_from(scaled).ok().filter(|&len| len > 0),
            rounding: u64::from(timescale.div_ceil(movie_timescale)),
        }
    }))
}

/// The ticks per second in a header box (`mvhd`, `mdhd`) inside `parent`, if it is there and not zero.
fn timescale(source: &mut (impl Read + Seek), parent: Span, kind: &[u8; 4]) -> io::Result<Option<u32>> {
    let Some(header) = find(source, parent, kind)? else { return Ok(None) };
    Ok(versioned_u32(source, header, 12, 20)?.filter(|&timescale| timescale > 0))
}

/// The body of a box: bytes `start..end` of the file.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u64,
    end: u64,
}

/// The first child of a kind.
fn find(source: &mut (impl Read + Seek), parent: Span, kind: &[u8; 4]) -> io::Result<Option<Span>> {
    Ok(all(source, parent, kind)?.first().copied())
}

/// All children of a kind.
fn all(source: &mut (impl Read + Seek), parent: Span, kind: &[u8; 4]) -> io::Result<Vec<Span>> {
    let mut found = Vec::new();
    children(source, parent, MAX_BOXES, |child, body| {
        if child == kind {
            found.push(body);
        }
    })?;
    Ok(found)
}

/// Calls `visit` with the kind and the body of each child, of the first `limit` at most. True if the last of
/// them is longer than its parent.
fn children(
    source: &mut (impl Read + Seek),
    parent: Span,
    limit: usize,
    mut visit: impl FnMut(&[u8; 4], Span),
) -> io::Result<bool> {
    let mut at = parent.start;
    let mut is_cut = false;
    for _ in 0..limit {
        let rest = Span { start: at, ..parent };
        let Some([l0, l1, l2, l3, kind @ ..]) = bytes::<8>(source, rest, 0)? else { break };
        let (head_len, len) = match u32::from_be_bytes([l0, l1, l2, l3]) {
            0 => (8, parent.end - at),
            1 => match bytes(source, rest, 8)? {
                Some(len) => (16, u64::from_be_bytes(len)),
                None => break,
            },
            len => (8, u64::from(len)),
        };
        if len < head_len {
            break;
        }
        is_cut = len > parent.end - at;
        let end = at.saturating_add(len).min(parent.end);
        visit(&kind, Span { start: (at + head_len).min(end), end });
        at = end;
    }
    Ok(is_cut)
}

/// A 32-bit field of a box whose layout depends on its version: at `at_0` in version 0, at `at_1` in version 1.
fn versioned_u32(
    source: &mut (impl Read + Seek),
    span: Span,
    at_0: u64,
    at_1: u64,
) -> io::Result<Option<u32>> {
    let Some([version]) = bytes(source, span, 0)? else { return Ok(None) };
    Ok(bytes(source, span, if version == 1 { at_1 } else { at_0 })?.map(u32::from_be_bytes))
}

/// `N` bytes at an offset into a span, if they lie in it and in the file.
fn bytes<const N: usize>(
    source: &mut (impl Read + Seek),
    span: Span,
    at: u64,
) -> io::Result<Option<[u8; N]>> {
    if span.end.saturating_sub(span.start) < at.saturating_add(N as u64) {
        return Ok(None);
    }
    source.seek(SeekFrom::Start(span.start + at))?;
    let mut buffer = [0; N];
    match source.read_exact(&mut buffer) {
        Ok(()) => Ok(Some(buffer)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}
