//! Decoding piece by piece, with bounded memory, whatever the file holds.

use std::fmt;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as DecoderError;
use symphonia::core::formats::{FormatReader, Track, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream, ReadOnlySource};
use symphonia::core::packet::Packet;

use super::probe::{self, Trim, guard};
use super::{SampleRate, Warning, check_samples};
use crate::{Error, Result};

/// Packets in a row that may yield no audio (those of other tracks, empty ones) before the file counts as
/// damaged. Half a day of video at 24 pictures a second; empty packets cost no bytes in some formats.
const MAX_IDLE_PACKETS: u64 = 1_000_000;

/// A recording that is decoded piece by piece: mono samples at the rate of its file, as in
/// [`Audio`](super::Audio), in bounded memory. Several that follow each other in one MP3, FLAC or Ogg file are
/// heard as one, as far as they have the sample rate of the first.
pub struct AudioStream {
    demuxer: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    track_id: u32,
    trim: Trim,
    sample_rate: SampleRate,
    n_channels: usize,
    /// Frames that came out of the decoder, those that are trimmed away included.
    n_decoded: u64,
    /// Samples that were given out or are ready to be.
    n_samples: u64,
    /// Frames in damaged packets, where the container counts in frames.
    n_lost: u64,
    interleaved: Vec<f32>,
    chunk: Vec<f32>,
    state: State,
    damage: Option<Damage>,
    warnings: Vec<Warning>,
    /// For error messages.
    path: Option<PathBuf>,
}

#[derive(Debug, PartialEq)]
enum State {
    /// The first chunk was decoded to learn the sample rate, and is to be given out next.
    First,
    Running,
    Finished,
}

/// The end of what a demuxer can tell.
enum End {
    Regular,
    /// The container is damaged or cut from here on.
    Abrupt,
}

#[derive(Debug)]
struct Damage {
    n_packets: u64,
    first_at: u64,
    reason: String,
}

impl AudioStream {
    /// Opens a file, a pipe or a device. Its content says what it is; its name does not matter.
    ///
    /// # Errors
    /// With the path in all of them: [`Error::Io`]; [`Error::Audio`] for what is no audio;
    /// [`Error::UnsupportedCodec`]; [`Error::OutOfRange`] for an impossible sample rate;
    /// [`Error::NoSamples`].
    pub fn open(path: impl AsRef<Path>) -> Result<AudioStream> {
        let path = path.as_ref();
        let open = || AudioStream::from_source(Box::new(File::open(path)?));
        match open() {
            Ok(stream) => Ok(AudioStream { path: Some(path.to_owned()), ..stream }),
            Err(error) => Err(error.in_file(path)),
        }
    }

    /// Decodes the bytes of a file.
    ///
    /// # Errors
    /// As [`AudioStream::open`], without a path.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Result<AudioStream> {
        AudioStream::from_source(Box::new(Cursor::new(bytes.into())))
    }

    /// Decodes what a reader holds, from its beginning on, wherever it stands.
    ///
    /// # Errors
    /// As [`AudioStream::open`], without a path.
    pub fn from_reader(mut reader: impl Read + Seek + Send + Sync + 'static) -> Result<AudioStream> {
        let len = reader.seek(SeekFrom::End(0))?;
        reader.rewind()?;
        AudioStream::from_source(Box::new(Seekable { reader, len }))
    }

    /// Decodes what comes out of a reader that cannot seek, such as standard input.
    ///
    /// MP4 files are held in memory for that, up to 64 MiB; all others stream.
    ///
    /// # Errors
    /// As [`AudioStream::open`], without a path.
    pub fn from_unseekable(reader: impl Read + Send + Sync + 'static) -> Result<AudioStream> {
        AudioStream::from_source(Box::new(ReadOnlySource::new(reader)))
    }

    fn from_source(source: Box<dyn MediaSource>) -> Result<AudioStream> {
        let (mut demuxer, edits) = probe::demuxer(MediaSourceStream::new(source, Default::default()))?;
        let track = audio_track(demuxer.as_ref())?.clone();
        let decoder = make_decoder(&track)?;
        let trim = probe::trim(demuxer.as_mut(), &track, &edits);
        let mut stream = AudioStream {
            demuxer,
            decoder,
            track_id: track.id,
            trim,
            sample_rate: SampleRate(0),
            n_channels: 0,
            n_decoded: 0,
            n_samples: 0,
            n_lost: 0,
            interleaved: Vec::new(),
            chunk: Vec::new(),
            state: State::First,
            damage: None,
            warnings: Vec::new(),
            path: None,
        };
        if stream.decode_chunk()? {
            let codec = stream.decoder.codec_info().short_name;
            log::debug!("{codec}, {} Hz, {} channels", stream.sample_rate.0, stream.n_channels);
            return Ok(stream);
        }
        Err(match stream.damage {
            None => Error::NoSamples,
            Some(damage) => Error::Audio(format!("nothing in it can be decoded: {}", damage.reason)),
        })
    }

    /// Samples per second.
    pub fn sample_rate(&self) -> SampleRate {
        self.sample_rate
    }

    /// Channels in the file, before they are mixed to one.
    pub fn n_channels(&self) -> usize {
        self.n_channels
    }

    /// The next mono samples, at most some thousands and at least one; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::BadSample`]; [`Error::Audio`] where the sample rate changes within a
    /// recording. Damage is no error: what can be decoded is given out, and [`AudioStream::warnings`] say
    /// what is missing.
    pub fn next_chunk(&mut self) -> Result<Option<&[f32]>> {
        match self.state {
            State::Finished => return Ok(None),
            State::First => self.state = State::Running,
            State::Running => match self.decode_chunk() {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(error) => {
                    self.state = State::Finished;
                    return Err(match &self.path {
                        Some(path) => error.in_file(path),
                        None => error,
                    });
                }
            },
        }
        Ok(Some(&self.chunk))
    }

    /// What is missing from the audio although the file or its header promises it. Complete when
    /// [`AudioStream::next_chunk`] has returned `None`.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Fills `chunk`; false at the end.
    fn decode_chunk(&mut self) -> Result<bool> {
        let mut n_idle = 0;
        loop {
            if self.trim.end.is_some_and(|end| self.n_decoded >= end) {
                return Ok(self.finish(End::Regular));
            }
            if n_idle > MAX_IDLE_PACKETS {
                self.record_damage("endless packets without audio");
                return Ok(self.finish(End::Abrupt));
            }
            n_idle += 1;
            let packet = match guard(|| self.demuxer.next_packet()) {
                Ok(Some(packet)) => packet,
                Ok(None) => return Ok(self.finish(End::Regular)),
                Err(DecoderError::ResetRequired) => match self.restart() {
                    Ok(()) => continue,
                    Err(error) if self.n_samples == 0 => return Err(error),
                    Err(error) => {
                        let at_s = self.seconds(self.n_samples);
                        self.warnings.push(Warning::Unread { at_s, reason: error.to_string() });
                        return Ok(self.finish(End::Regular));
                    }
                },
                Err(DecoderError::IoError(error)) if is_failure(&error) => return Err(Error::Io(error)),
                // The only end that Matroska has when its length is not known.
                Err(DecoderError::IoError(_)) if self.trim.tolerance > 0 => {
                    return Ok(self.finish(End::Regular));
                }
                Err(DecoderError::IoError(_)) => return Ok(self.finish(End::Abrupt)),
                Err(error) => {
                    self.record_damage(&error.to_string());
                    return Ok(self.finish(End::Abrupt));
                }
            };
            if packet.track_id != self.track_id || packet.data.is_empty() {
                continue;
            }
            match guard(|| decode(self.decoder.as_mut(), &packet, &mut self.interleaved)) {
                Ok(None) => {}
                Ok(Some((sample_rate, n_channels))) => {
                    if self.n_decoded == 0 {
                        let delay = probe::matroska_delay(self.demuxer.as_ref(), &packet, sample_rate);
                        self.trim.start += delay;
                        self.trim.promised =
                            self.trim.promised.map(|promised| promised.saturating_sub(delay));
                    }
                    if self.take(sample_rate, n_channels)? {
                        return Ok(true);
                    }
                }
                Err(error) => {
                    self.n_lost += packet.dur.get();
                    self.record_damage(&error.to_string());
                    if probe::is_panic(&error) {
                        return Ok(self.finish(End::Abrupt));
                    }
                }
            }
        }
    }

    /// Turns the decoded frames in `interleaved` into `chunk`; false if all of them are trimmed away.
    fn take(&mut self, sample_rate: SampleRate, n_channels: usize) -> Result<bool> {
        if self.n_decoded == 0 {
            self.sample_rate = sample_rate.validate()?;
            self.n_channels = n_channels;
        } else if self.sample_rate != sample_rate {
            let (old, at_s) = (self.sample_rate, self.seconds(self.n_samples));
            return Err(Error::Audio(format!(
                "the sample rate changes from {old} to {sample_rate} after {at_s:.2} s"
            )));
        }
        mix(&self.interleaved, n_channels, &mut self.chunk);

        let n_frames = self.chunk.len() as u64;
        if let Some(end) = self.trim.end {
            self.chunk.truncate(end.saturating_sub(self.n_decoded).min(n_frames) as usize);
        }
        let n_skip = self.trim.start.saturating_sub(self.n_decoded).min(self.chunk.len() as u64);
        self.chunk.drain(..n_skip as usize);
        self.n_decoded += n_frames;

        check_samples(&self.chunk, self.n_samples)?;
        self.n_samples += self.chunk.len() as u64;
        Ok(!self.chunk.is_empty())
    }

    /// Begins the next of several recordings that follow each other in one file, as Ogg allows. An error says
    /// why it cannot be read.
    fn restart(&mut self) -> Result<()> {
        let n_so_far = self.n_samples.saturating_add(self.n_lost);
        let promised = self.trim.promised.take();
        let is_exact = probe::promises_one_by_one(self.demuxer.as_ref());
        if is_exact && promised.is_some_and(|promised| promised > n_so_far) {
            self.record_damage("a recording that others follow is cut short");
        }
        let track = audio_track(self.demuxer.as_ref())?.clone();
        let decoder = make_decoder(&track)?;
        let rate = track.codec_params.as_ref().and_then(|params| params.audio()?.sample_rate).map(SampleRate);
        if let Some(rate) = rate.filter(|&rate| self.n_decoded > 0 && rate != self.sample_rate) {
            let old = self.sample_rate;
            return Err(Error::Audio(format!("its sample rate is {rate} instead of {old}")));
        }
        self.decoder = decoder;
        self.track_id = track.id;
        if is_exact {
            let promised = probe::trim(self.demuxer.as_mut(), &track, &[]).promised;
            self.trim.promised = promised.map(|promised| promised.saturating_add(n_so_far));
        }
        Ok(())
    }

    fn record_damage(&mut self, reason: &str) {
        let first_at = self.n_samples;
        let new = || Damage { n_packets: 0, first_at, reason: reason.to_owned() };
        self.damage.get_or_insert_with(new).n_packets += 1;
    }

    /// Sums up what is missing. Always false: there is no further chunk.
    fn finish(&mut self, end: End) -> bool {
        self.state = State::Finished;
        if self.n_samples == 0 {
            return false;
        }
        if let Some(Damage { n_packets, first_at, reason }) = &self.damage {
            let (n_packets, first_s, reason) = (*n_packets, self.seconds(*first_at), reason.clone());
            self.warnings.push(Warning::Damaged { n_packets, first_s, reason });
        }
        let n_expected = self.n_samples.saturating_add(self.n_lost).saturating_add(self.trim.tolerance);
        let promised = self.trim.promised.filter(|&promised| promised > n_expected);
        if promised.is_some() || matches!(end, End::Abrupt) {
            let (decoded_s, promised_s) = (self.seconds(self.n_samples), promised.map(|n| self.seconds(n)));
            self.warnings.push(Warning::Truncated { decoded_s, promised_s });
        }
        false
    }

    fn seconds(&self, n_samples: u64) -> f64 {
        n_samples as f64 / f64::from(self.sample_rate.0)
    }
}

impl fmt::Debug for AudioStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AudioStream")
            .field("format", &self.demuxer.format_info().short_name)
            .field("codec", &self.decoder.codec_info().short_name)
            .field("sample_rate", &self.sample_rate)
            .field("n_samples", &self.n_samples)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// The track that a player would play.
fn audio_track(demuxer: &dyn FormatReader) -> Result<&Track> {
    demuxer.default_track(TrackType::Audio).or_else(|| demuxer.first_track(TrackType::Audio)).ok_or_else(
        || {
            let format = demuxer.format_info().long_name;
            Error::Audio(format!("no audio track in this file ({format})"))
        },
    )
}

fn make_decoder(track: &Track) -> Result<Box<dyn AudioDecoder>> {
    let Some(CodecParameters::Audio(params)) = &track.codec_params else {
        return Err(Error::Audio("no audio track in this file".to_owned()));
    };
    if let Some(rate) = params.sample_rate {
        SampleRate(rate).validate()?;
    }
    let registry = symphonia::default::get_codecs();
    if registry.get_audio_decoder(params.codec).is_none() {
        return Err(Error::UnsupportedCodec { codec: probe::codec_name(params.codec) });
    }
    guard(|| registry.make_audio_decoder(params, &AudioDecoderOptions::default())).map_err(
        |error| match error {
            DecoderError::Unsupported(reason) => {
                Error::UnsupportedCodec { codec: format!("{} ({reason})", probe::codec_name(params.codec)) }
            }
            error => probe::explain(error),
        },
    )
}

/// Whether an I/O error comes from the source rather than from a decoder that ran out of data.
fn is_failure(error: &io::Error) -> bool {
    !matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::Other)
        || error.raw_os_error().is_some()
}

/// Decodes a packet into floats, frame by frame; the rate and the number of channels if there are any.
fn decode(
    decoder: &mut dyn AudioDecoder,
    packet: &Packet,
    interleaved: &mut Vec<f32>,
) -> Result<Option<(SampleRate, usize)>, DecoderError> {
    let buffer = decoder.decode(packet)?;
    if buffer.is_empty() {
        return Ok(None);
    }
    interleaved.clear();
    buffer.copy_to_vec_interleaved(interleaved);
    Ok(Some((SampleRate(buffer.spec().rate()), buffer.spec().channels().count())))
}

/// Replaces `mono` by the mean of all channels of `interleaved`, frames of `n_channels` samples each. An incomplete frame
/// at the end is left out; no channels make no samples.
pub fn mix(interleaved: &[f32], n_channels: usize, mono: &mut Vec<f32>) {
    mono.clear();
    match n_channels {
        0 => {}
        1 => mono.extend_from_slice(interleaved),
        n => mono.extend(interleaved.chunks_exact(n).map(|frame| frame.iter().sum::<f32>() / n as f32)),
    }
}

/// A reader whose length was asked for once.
struct Seekable<R> {
    reader: R,
    len: u64,
}

impl<R: Read> Read for Seekable<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

impl<R: Seek> Seek for Seekable<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.reader.seek(to)
    }
}

impl<R: Read + Seek + Send + Sync> MediaSource for Seekable<R> {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.len)
    }
}
