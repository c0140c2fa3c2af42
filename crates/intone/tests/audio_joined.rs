//! Nothing of a file is lost in silence: recordings that were joined byte by byte, and counts that are wrong.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Cursor, Read};

use intone::audio::{Audio, AudioStream, SampleRate, Warning};

/// Frames in `chirp.mp3` and in one of its packets, the packets that its tag counts, and the frames that the
/// encoder added.
const N_SAMPLES: usize = 8_123;
const PACKET_LEN: usize = 576;
const N_PACKETS: u32 = 17;
const DELAY: usize = 1_105;
const PADDING: usize = 564;

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// A reader that gives a few bytes at a time.
struct Trickle(Cursor<Vec<u8>>);

impl Read for Trickle {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let len = buffer.len().min(1 + self.0.position() as usize % 7);
        self.0.read(&mut buffer[..len])
    }
}

/// Decodes a file in every way, which must make no difference.
fn decode(bytes: Vec<u8>) -> Audio {
    let audio = Audio::from_bytes(bytes.clone()).unwrap();
    let pipe = AudioStream::from_unseekable(Cursor::new(bytes.clone())).unwrap();
    assert_eq!(Audio::from_stream(pipe).unwrap(), audio, "from a pipe");
    let slow = AudioStream::from_unseekable(Trickle(Cursor::new(bytes))).unwrap();
    assert_eq!(Audio::from_stream(slow).unwrap(), audio, "from a slow pipe");
    audio
}

/// The samples of a file that is sound.
fn samples(bytes: Vec<u8>) -> Vec<f32> {
    let audio = decode(bytes);
    assert_eq!(audio.warnings(), []);
    audio.samples().to_vec()
}

/// `chirp.mp3` with another count in its tag.
fn counting(n_packets: u32) -> Vec<u8> {
    let mut file = bytes("chirp.mp3");
    let at = file.windows(4).position(|window| window == b"Info").unwrap() + 8;
    assert_eq!(file[at..at + 4], N_PACKETS.to_be_bytes());
    file[at..at + 4].copy_from_slice(&n_packets.to_be_bytes());
    file
}

/// What looks like MP3 but for what follows, as pictures in tags do.
fn junk() -> Vec<u8> {
    [[0x5A; 61].as_slice(), &[0xFF, 0xF3, 0x68, 0xC0]].concat().repeat(40)
}

/// An ID3v2 tag in UTF-16, whose mark begins as MP3 does, with junk inside.
fn id3v2() -> Vec<u8> {
    let body = [b"TIT2\0\0\0\x07\0\0\x01\xFF\xFEH\0i\0".as_slice(), &junk()].concat();
    let len = body.len();
    [b"ID3\x04\0\0\0\0", &[(len >> 7) as u8, (len & 0x7F) as u8][..], &body].concat()
}

fn id3v1() -> Vec<u8> {
    let mut tag = b"TAG\xFF\xF3\x68\xC0".to_vec();
    tag.resize(128, b' ');
    tag
}

fn ape() -> Vec<u8> {
    let body = junk();
    let head = |flags: u32| {
        let numbers = [2_000, body.len() as u32 + 32, 1, flags, 0, 0];
        [b"APETAGEX".as_slice(), &numbers.map(u32::to_le_bytes).concat()].concat()
    };
    [head(0xA000_0000), body.clone(), head(0x8000_0000)].concat()
}

#[test]
fn joined_mp3_files_are_heard_one_after_the_other() {
    let (tagged, plain) = (bytes("chirp.mp3"), bytes("vbr-no-tag.mp3"));
    let (chirp, tone) = (samples(tagged.clone()), samples(plain.clone()));
    assert_eq!(chirp.len(), N_SAMPLES);
    for (name, between) in [
        ("nothing", vec![]),
        ("ID3v1", id3v1()),
        ("ID3v2", id3v2()),
        ("APE", ape()),
        ("all of them", [ape(), id3v1(), id3v2(), id3v2()].concat()),
        ("junk", junk()),
        ("zeros", vec![0; 10_000]),
    ] {
        let file = [&tagged[..], &between, &tagged].concat();
        assert!(samples(file) == [&chirp[..], &chirp].concat(), "{name}");
        let file = [&tagged[..], &between, &tagged, &between, &tagged, &between].concat();
        assert!(samples(file) == chirp.repeat(3), "three with {name}");
        if name != "nothing" {
            let file = [&tagged[..], &between, &plain].concat();
            assert!(samples(file) == [&chirp[..], &tone].concat(), "the second without a tag, {name}");
        }
        if name != "junk" {
            let file = [&plain[..], &between, &tagged].concat();
            assert!(samples(file) == [&tone[..], &chirp].concat(), "the first without a tag, {name}");
        }
    }
}

#[test]
fn an_mp3_without_a_tag_behind_another_is_heard() {
    let tone = samples(bytes("vbr-no-tag.mp3"));
    let chirp = samples(bytes("chirp.mp3"));
    let joined = samples([bytes("chirp.mp3"), bytes("vbr-no-tag.mp3")].concat());
    // Nothing says that another recording begins, and what may be more of the first is not trimmed.
    assert_eq!(joined.len(), N_SAMPLES + PADDING + tone.len());
    assert!(joined[..N_SAMPLES] == chirp);
    // The first packet overlaps with what is before it.
    let at = N_SAMPLES + PADDING + 2 * PACKET_LEN;
    assert!(joined[at..] == tone[2 * PACKET_LEN..]);
}

#[test]
fn an_mp3_goes_on_behind_the_count_of_its_tag() {
    let whole = samples(bytes("chirp.mp3"));
    // Zero is what programs write that were never finished.
    for n_packets in [N_PACKETS - 1, N_PACKETS / 2, 2, 1, 0] {
        let audio = samples(counting(n_packets));
        // Where the padding is cannot be known.
        assert_eq!(audio.len(), N_PACKETS as usize * PACKET_LEN - DELAY, "{n_packets} packets");
        assert!(audio[..N_SAMPLES] == whole, "{n_packets} packets");
        let peak = audio[N_SAMPLES..].iter().fold(0.0f32, |peak, x| peak.max(x.abs()));
        assert!(peak < 0.5, "{n_packets} packets: the padding is no louder than the audio");
    }
    // The same with another file behind it, whose own tag is right.
    let joined = samples([counting(5), id3v1(), bytes("chirp.mp3")].concat());
    assert!(joined[joined.len() - N_SAMPLES..] == whole);
    assert_eq!(joined.len(), N_PACKETS as usize * PACKET_LEN - DELAY + N_SAMPLES);
}

#[test]
fn a_count_that_is_too_large_means_that_the_file_is_cut() {
    let whole = samples(bytes("chirp.mp3"));
    for n_packets in [N_PACKETS + 1, 2 * N_PACKETS, u32::MAX] {
        let audio = decode(counting(n_packets));
        let n_samples =
            (N_PACKETS as usize * PACKET_LEN - DELAY).min(n_packets as usize * PACKET_LEN - DELAY - PADDING);
        assert_eq!(audio.samples().len(), n_samples, "{n_packets} packets");
        assert!(audio.samples()[..N_SAMPLES] == whole);
        match audio.warnings() {
            // Of one packet, the promised part is there.
            [] => assert_eq!(n_packets, N_PACKETS + 1),
            [Warning::Truncated { promised_s: Some(promised_s), .. }] => {
                let n_promised = n_packets as usize * PACKET_LEN - DELAY - PADDING;
                assert_eq!(*promised_s, n_promised as f64 / 16_000.0);
            }
            other => panic!("{n_packets} packets: {other:?}"),
        }
    }
}

#[test]
fn what_resembles_mp3_behind_the_end_is_no_audio() {
    let file = bytes("chirp.mp3");
    let whole = samples(file.clone());
    for (name, behind) in [
        ("ID3v1", id3v1()),
        ("APE and ID3v1", [ape(), id3v1()].concat()),
        ("junk", junk()),
        ("zeros", vec![0; 100_000]),
        ("half a header", vec![0xFF, 0xF3]),
        ("a header", vec![0xFF, 0xF3, 0x68, 0xC0]),
        ("half a packet", file[500..700].to_vec()),
        ("a packet behind junk", [&[0x5A, 0xFF, 0xF3, 0x68, 0xC0], [0; 212].as_slice()].concat()),
        ("a tag that is cut short", id3v2()[..100].to_vec()),
    ] {
        assert!(samples([&file[..], &behind].concat()) == whole, "{name}");
    }
}

#[test]
fn a_second_tag_at_the_beginning_is_not_heard() {
    // Programs that correct a tag may put theirs in front of the old one.
    let file = bytes("chirp.mp3");
    let at = file.windows(4).position(|window| window == b"Info").unwrap() - 13;
    let tag = &file[at..at + 216];
    assert!(samples([&file[..at], tag, &file[at..]].concat()) == samples(file));
}

/// `chirp.mp3` as it would be at 8 kHz, in packets of the same size: 216 bytes behind a tag of 10.
fn at_8_khz() -> Vec<u8> {
    let mut file = bytes("chirp.mp3");
    for packet in file.split_off(10 + 10).chunks_exact(216) {
        assert_eq!((packet[0], packet[1], packet[2] & 0xFE), (0xFF, 0xF3, 0x68));
        file.extend([&[0xFF, 0xE3, 0x38], &packet[3..]].concat());
    }
    file
}

#[test]
fn a_recording_at_another_rate_is_named_where_it_is_left_out() {
    assert_eq!(decode(at_8_khz()).sample_rate(), SampleRate(8_000));
    let first = [0.25, -0.5].map(|x| (x * 32_768.0) as i16);
    for (whole, second) in
        [(bytes("chirp.mp3"), at_8_khz()), (flac(16_000, &first, 4), flac(44_100, &first, 4))]
    {
        let audio = decode([&whole[..], &second].concat());
        assert!(audio.samples() == samples(whole));
        match audio.warnings() {
            [warning @ Warning::Unread { at_s, .. }] => {
                assert_eq!(*at_s, audio.duration_s());
                let text = warning.to_string();
                assert!(text.starts_with("the file goes on after 0."), "{text}");
                assert!(text.contains(" s, which was not read: its sample rate is "), "{text}");
                assert!(text.ends_with(" Hz instead of 16000 Hz"), "{text}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_recording_in_another_codec_is_named_where_it_is_left_out() {
    let audio = decode([bytes("chirp.ogg"), bytes("opus.ogg")].concat());
    assert!(audio.samples() == samples(bytes("chirp.ogg")));
    match audio.warnings() {
        [Warning::Unread { at_s, reason }] => {
            assert_eq!(*at_s, audio.duration_s());
            assert!(reason.starts_with("encoded as Opus, which is not decoded here"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn joined_files_that_are_cut_say_so() {
    let mp3 = bytes("chirp.mp3");
    for (file, cut) in [(mp3.clone(), mp3.len() - 5 * 216), (bytes("chirp.flac"), 10_600)] {
        let whole = samples(file.clone());
        let first = decode(file[..cut].to_vec()).samples().len();

        let audio = decode([&file[..], &file[..cut]].concat());
        assert!(audio.samples()[..N_SAMPLES] == whole);
        assert_eq!(audio.samples().len(), N_SAMPLES + first);
        let (decoded_s, promised_s) = (audio.duration_s(), Some(2.0 * N_SAMPLES as f64 / 16_000.0));
        assert_eq!(audio.warnings(), [Warning::Truncated { decoded_s, promised_s }]);

        let audio = decode([&file[..cut], &file].concat());
        assert!(audio.samples()[first..] == whole);
        match audio.warnings() {
            [Warning::Damaged { n_packets: 1, first_s, reason }] => {
                assert_eq!(*first_s, first as f64 / 16_000.0);
                assert_eq!(reason, "a recording that others follow is cut short");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn joined_flac_files_are_heard_one_after_the_other() {
    let (chirp, stereo) = (bytes("chirp.flac"), bytes("stereo.flac"));
    let (mono_samples, stereo_samples) = (samples(chirp.clone()), samples(stereo.clone()));
    assert!(samples(chirp.repeat(2)) == mono_samples.repeat(2));
    assert!(samples(chirp.repeat(30)) == mono_samples.repeat(30));
    let file = [&chirp[..], &stereo, &chirp].concat();
    assert!(samples(file) == [&mono_samples[..], &stereo_samples, &mono_samples].concat());
    // Files without audio: a header and nothing else.
    let empty = flac(16_000, &[], 0);
    let file = [&empty[..], &chirp, &empty, &empty, &stereo].concat();
    assert!(samples(file) == [mono_samples, stereo_samples].concat());
}

#[test]
fn the_header_of_a_joined_flac_file_may_lie_anywhere() {
    // The first block that is read has 1,024 bytes: the second header before it, across its end, behind it.
    let (first, second) = ([7; 73], [100, -100, 3]);
    let expected: Vec<f32> =
        first.iter().chain(&second).flat_map(|&x| [f32::from(x) / 32_768.0; BLOCK_LEN]).collect();
    let second = flac(16_000, &second, 0);
    let mut places = Vec::new();
    for n_padding in 80..120 {
        let file = flac(16_000, &first, n_padding);
        places.push(file.len());
        let audio = Audio::from_bytes([&file[..], &second].concat()).unwrap();
        assert!(audio.samples() == expected, "the second at {}: {audio:?}", file.len());
        assert_eq!(audio.warnings(), [], "the second at {}", file.len());
    }
    assert!((1_016..=1_025).all(|at| places.contains(&at)), "{places:?}");
}

/// Samples in a block of [`flac`]'s files.
const BLOCK_LEN: usize = 16;

/// A FLAC file of blocks that each hold one value, and `n_padding` bytes of padding in its header.
fn flac(rate: u32, values: &[i16], n_padding: usize) -> Vec<u8> {
    let crc = |bytes: &[u8], n_bits: u32, polynomial: u32| {
        bytes.iter().fold(0u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte) << (n_bits - 8), |crc, _| {
                let shifted = crc << 1;
                if crc >> (n_bits - 1) & 1 == 1 { shifted ^ polynomial } else { shifted }
            }) & ((1 << n_bits) - 1)
        })
    };
    let n_samples = (values.len() * BLOCK_LEN) as u64;
    // 20 bits of rate, 3 of channels less one, 5 of bits less one, 36 of length.
    let packed = u64::from(rate) << 44 | 15 << 36 | n_samples;
    let is_last = if n_padding == 0 { 0x80 } else { 0 };
    let block_len = (BLOCK_LEN as u16).to_be_bytes();
    let mut file = [
        b"fLaC".as_slice(),
        &[is_last, 0, 0, 34],
        &block_len,
        &block_len,
        &[0; 6],
        &packed.to_be_bytes(),
        &[0; 16],
    ]
    .concat();
    if n_padding > 0 {
        file.extend([0x81, 0, 0, n_padding as u8]);
        file.resize(file.len() + n_padding, 0);
    }
    for (i, value) in values.iter().enumerate() {
        // Its length in the next byte, the rate and 16 bits as the header says, one channel.
        let mut frame = vec![0xFF, 0xF8, 0x60, 0x00];
        frame.extend(char::from_u32(i as u32).unwrap().to_string().bytes());
        frame.push(BLOCK_LEN as u8 - 1);
        frame.push(crc(&frame, 8, 0x07) as u8);
        // One subframe, constant.
        frame.push(0);
        frame.extend(value.to_be_bytes());
        frame.extend((crc(&frame, 16, 0x8005) as u16).to_be_bytes());
        file.extend(frame);
    }
    file
}
