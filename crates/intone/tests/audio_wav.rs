//! WAV and AIFF as programs write them, and as they should not be: headers made by hand.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Cursor, Read};

use intone::Error;
use intone::audio::{Audio, AudioStream, SampleRate, Warning};

/// A chunk with its length, little-endian, padded to an even length.
fn chunk(id: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let padding = vec![0; body.len() % 2];
    [id, (body.len() as u32).to_le_bytes().as_slice(), body, &padding].concat()
}

/// The 16 bytes that every `fmt ` chunk begins with.
fn fmt(tag: u16, n_channels: u16, rate: u32, bits: u16) -> Vec<u8> {
    let block = n_channels.wrapping_mul(bits / 8);
    let head = [tag.to_le_bytes(), n_channels.to_le_bytes()].concat();
    let middle = [rate.to_le_bytes(), rate.wrapping_mul(block.into()).to_le_bytes()].concat();
    [head, middle, block.to_le_bytes().to_vec(), bits.to_le_bytes().to_vec()].concat()
}

/// A `fmt ` chunk of WAVE_FORMAT_EXTENSIBLE.
fn extensible(tag: u16, n_channels: u16, rate: u32, bits: u16, valid_bits: u16) -> Vec<u8> {
    let guid = [tag as u8, 0, 0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71];
    let mask = (1u32 << n_channels.min(18)) - 1;
    let extra = [22u16.to_le_bytes(), valid_bits.to_le_bytes()].concat();
    [fmt(0xFFFE, n_channels, rate, bits), extra, mask.to_le_bytes().to_vec(), guid.to_vec()].concat()
}

fn riff(chunks: &[Vec<u8>]) -> Vec<u8> {
    let body = [b"WAVE".to_vec(), chunks.concat()].concat();
    [b"RIFF", (body.len() as u32).to_le_bytes().as_slice(), &body].concat()
}

fn wav(fmt: Vec<u8>, data: &[u8]) -> Vec<u8> {
    riff(&[chunk(b"fmt ", &fmt), chunk(b"data", data)])
}

/// 16-bit mono at 16 kHz, of these samples.
fn simple(samples: &[i16]) -> Vec<u8> {
    wav(fmt(1, 1, 16_000, 16), &le(samples))
}

fn le(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

/// Overwrites the 32-bit number behind the first occurrence of a chunk's name.
fn set_len(mut file: Vec<u8>, id: &[u8; 4], len: u32) -> Vec<u8> {
    let at = file.windows(4).position(|window| window == id).unwrap() + 4;
    file[at..at + 4].copy_from_slice(&len.to_le_bytes());
    file
}

fn samples(file: Vec<u8>) -> Vec<f32> {
    let audio = Audio::from_bytes(file.clone()).unwrap();
    assert_eq!(audio.warnings(), []);
    let piped = Audio::from_stream(AudioStream::from_unseekable(Cursor::new(file)).unwrap()).unwrap();
    assert_eq!(piped, audio, "from a pipe");
    audio.samples().to_vec()
}

fn message(file: Vec<u8>) -> String {
    Audio::from_bytes(file).unwrap_err().to_string()
}

#[test]
fn integers_are_scaled_by_their_width() {
    assert_eq!(
        samples(wav(fmt(1, 1, 8_000, 8), &[0, 128, 129, 255])),
        [-1.0, 0.0, 1.0 / 128.0, 127.0 / 128.0]
    );
    assert_eq!(
        samples(simple(&[i16::MIN, 0, 1, i16::MAX])),
        [-1.0, 0.0, 1.0 / 32_768.0, 32_767.0 / 32_768.0]
    );
    let data = [0, 0, 0x80, 0, 0, 0, 1, 0, 0, 0xFF, 0xFF, 0x7F];
    let step = 1.0 / 8_388_608.0;
    assert_eq!(samples(wav(fmt(1, 1, 16_000, 24), &data)), [-1.0, 0.0, step, 1.0 - step]);
    let data: Vec<u8> = [i32::MIN, 0, 1 << 16, 1 << 30].iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(samples(wav(fmt(1, 1, 16_000, 32), &data)), [-1.0, 0.0, 1.0 / 32_768.0, 0.5]);
}

#[test]
fn floats_are_taken_as_they_are() {
    let values = [0.25f32, -1.5, 1e-20, 32_768.0];
    let data: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(samples(wav(fmt(3, 1, 16_000, 32), &data)), values);
    let data: Vec<u8> = values.iter().flat_map(|x| f64::from(*x).to_le_bytes()).collect();
    assert_eq!(samples(wav(fmt(3, 1, 16_000, 64), &data)), values);
}

#[test]
fn extensible_headers_say_the_same() {
    let data = le(&[-32_768, 16_384]);
    assert_eq!(samples(wav(extensible(1, 1, 16_000, 16, 16), &data)), [-1.0, 0.5]);
    // 24 valid bits, left-justified in 32.
    let data: Vec<u8> = [i32::MIN, 0x4000_0000, 0x100].iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(samples(wav(extensible(1, 1, 16_000, 32, 24), &data)), [-1.0, 0.5, 1.0 / 8_388_608.0]);
    let data: Vec<u8> = [0.25f32, -4.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(samples(wav(extensible(3, 1, 16_000, 32, 32), &data)), [0.25, -4.0]);
    // Eight channels, of which one sounds.
    let data = le(&[8_000, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(samples(wav(extensible(1, 8, 48_000, 16, 16), &data)), [1_000.0 / 32_768.0]);
}

#[test]
fn telephone_codecs() {
    // G.711: the codes of silence, and of the largest values (32,256 and 32,124 of 32,768).
    assert_eq!(
        samples(wav(fmt(6, 1, 8_000, 8), &[0xD5, 0x55, 0xAA])),
        [8.0, -8.0, 32_256.0].map(|x| x / 32_768.0)
    );
    assert_eq!(
        samples(wav(fmt(7, 1, 8_000, 8), &[0xFF, 0x7F, 0x80])),
        [0.0, 0.0, 32_124.0].map(|x| x / 32_768.0)
    );
}

#[test]
fn channels_become_their_mean() {
    assert_eq!(samples(wav(fmt(1, 2, 16_000, 16), &le(&[100, 300, -500, 500]))), [200.0 / 32_768.0, 0.0]);
    let data = le(&[3, 6, 9, 300, -300, 0]);
    assert_eq!(samples(wav(fmt(1, 3, 16_000, 16), &data)), [6.0 / 32_768.0, 0.0]);
    // The most channels that are accepted.
    let data = le(&[256; 512]);
    assert_eq!(samples(wav(fmt(1, 256, 16_000, 16), &data)), [1.0 / 128.0; 2]);
}

#[test]
fn other_chunks_are_skipped_wherever_they_stand() {
    let format = chunk(b"fmt ", &fmt(1, 1, 16_000, 16));
    let data = chunk(b"data", &le(&[1, 2, 3]));
    let list = chunk(b"LIST", b"INFOISFT\x05\0\0\0Lavf\0\0");
    let file = riff(&[
        chunk(b"FLLR", &[0xFF; 4_044]),
        chunk(b"bext", &[7; 603]),
        list.clone(),
        format.clone(),
        chunk(b"odd ", &[9; 3]),
        data.clone(),
        list,
        chunk(b"id3 ", b"ID3"),
    ]);
    assert_eq!(samples(file), [1, 2, 3].map(|x| x as f32 / 32_768.0));
    // A list that claims another length inside than outside, and `fmt ` chunks of unusual lengths.
    for extra in [2, 4, 24, 100] {
        let long_format = chunk(b"fmt ", &[fmt(1, 1, 16_000, 16), vec![0; extra]].concat());
        let file = riff(&[chunk(b"LIST", b"INFOISFT\xFF\xFF\xFF\x7F"), long_format, data.clone()]);
        assert_eq!(samples(file).len(), 3, "{extra} bytes more");
    }
}

#[test]
fn lengths_that_the_writer_did_not_know() {
    let file = simple(&[5; 1_000]);
    for (riff_len, data_len) in [
        (u32::MAX, u32::MAX),            // ffmpeg into a pipe
        (2_036, u32::MAX),               // the same, with one of them repaired
        (0x7FFF_F024, 0x7FFF_F000),      // SoX into a pipe
        (0x7FFF_FFFF, 0x7FFF_FFFF - 36), // others
        (0, 0),                          // a recorder that was switched off
        (36, 0),                         // a program that was killed
    ] {
        let file = set_len(set_len(file.clone(), b"RIFF", riff_len), b"data", data_len);
        assert_eq!(samples(file), [5.0 / 32_768.0; 1_000], "{riff_len:#x} {data_len:#x}");
    }
    // A length of 0 that is meant: other chunks follow.
    let file =
        riff(&[chunk(b"fmt ", &fmt(1, 1, 16_000, 16)), chunk(b"data", b""), chunk(b"LIST", &[1; 100])]);
    assert_eq!(message(file), "the audio holds no samples");
}

#[test]
fn files_of_more_than_four_gigabytes_have_their_length_elsewhere() {
    let sizes = [1_000u64.to_le_bytes(), 6u64.to_le_bytes(), 3u64.to_le_bytes()].concat();
    let chunks = [
        chunk(b"ds64", &[sizes, vec![0; 4]].concat()),
        chunk(b"fmt ", &fmt(1, 1, 16_000, 16)),
        set_len(chunk(b"data", &le(&[1, 2, 3, 4, 5])), b"data", u32::MAX),
    ];
    for id in [b"RF64", b"BW64"] {
        let mut file = set_len(riff(&chunks), b"RIFF", u32::MAX);
        file[..4].copy_from_slice(id);
        assert_eq!(samples(file).len(), 3, "as ds64 says");
    }
}

#[test]
fn what_is_missing_is_said() {
    for (promised_len, promised_s) in [(4_000_000_000, 125_000.0), (32_000, 1.0), (2_002, 1_001.0 / 16_000.0)]
    {
        let file = set_len(simple(&[5; 1_000]), b"data", promised_len);
        let audio = Audio::from_bytes(file).unwrap();
        assert_eq!(audio.samples().len(), 1_000);
        let expected = Warning::Truncated { decoded_s: 0.0625, promised_s: Some(promised_s) };
        assert_eq!(audio.warnings(), [expected]);
    }
    let warning = Warning::Truncated { decoded_s: 1.25, promised_s: Some(3.0) }.to_string();
    assert_eq!(warning, "the file is cut short: 1.75 s of 3.00 s are missing at the end");
    // Cut within a sample.
    let mut file = wav(fmt(1, 2, 16_000, 16), &le(&[5; 1_000]));
    file.truncate(44 + 403);
    assert_eq!(Audio::from_bytes(file).unwrap().samples().len(), 100);
    // ADPCM, cut within a block: 500 frames in each.
    let format = [fmt(0x11, 1, 16_000, 4), vec![2, 0, 0xF4, 0x01]].concat();
    let format = [&format[..12], &254u16.to_le_bytes(), &format[14..]].concat();
    let fact = chunk(b"fact", &1_400u32.to_le_bytes());
    let file = riff(&[chunk(b"fmt ", &format), fact, chunk(b"data", &[0; 3 * 254])]);
    assert_eq!(samples(file.clone()).len(), 1_400, "as `fact` says");
    let audio = Audio::from_bytes(file[..file.len() - 20].to_vec()).unwrap();
    assert_eq!(audio.samples().len(), 1_002);
    assert!(matches!(audio.warnings(), [Warning::Truncated { .. }]), "{:?}", audio.warnings());
}

#[test]
fn impossible_headers_are_refused_by_name() {
    let data = [0; 64];
    assert!(message(wav(fmt(1, 0, 16_000, 16), &data)).contains("there are 0 channels"));
    assert!(message(wav(fmt(1, 257, 16_000, 16), &data)).contains("more than 256 channels"));
    assert!(message(wav(fmt(1, u16::MAX, 16_000, 16), &data)).contains("more than 256 channels"));
    assert!(message(wav(extensible(1, 40_000, 16_000, 16, 16), &data)).contains("more than 256 channels"));
    assert!(message(wav(fmt(1, 1, 16_000, 0), &data)).contains("neither 8, 16, 24 nor 32 bits"));
    assert!(message(wav(fmt(1, 1, 16_000, 40), &data)).contains("neither 8, 16, 24 nor 32 bits"));
    assert!(message(wav(fmt(3, 1, 16_000, 16), &data)).contains("neither 32 nor 64 bits"));
    assert!(message(wav(fmt(1, 1, 16_000, 16)[..10].to_vec(), &data)).contains("shorter than 16 bytes"));
    assert!(message(wav(fmt(0xFFFE, 1, 16_000, 16), &data)).contains("cut short"));
    assert!(message(riff(&[chunk(b"data", &data)])).contains("no `fmt ` chunk"));
    assert_eq!(message(riff(&[chunk(b"fmt ", &fmt(1, 1, 16_000, 16))])), "the file ends inside its header");
    for rate in [0, 999, 768_001, 10_000_000, u32::MAX] {
        match Audio::from_bytes(wav(fmt(1, 1, rate, 16), &data)) {
            Err(Error::OutOfRange { what: "sample rate", actual, .. }) => {
                assert_eq!(actual, format!("{rate} Hz"))
            }
            other => panic!("{rate}: {other:?}"),
        }
    }
    for (tag, name) in [(0x55, "WAV with MP3"), (0xFF, "WAV with AAC"), (0x1234, "WAV with an unusual codec")]
    {
        match Audio::from_bytes(wav(fmt(tag, 1, 16_000, 16), &data)) {
            Err(Error::UnsupportedCodec { codec }) => assert_eq!(codec, name),
            other => panic!("{tag}: {other:?}"),
        }
    }
    let mut avi = simple(&[0; 100]);
    avi[8..12].copy_from_slice(b"AVI ");
    assert!(message(avi).starts_with("encoded as AVI, "));
    assert_eq!(message(simple(&[])), "the audio holds no samples");
    assert_eq!(message(wav(fmt(1, 2, 16_000, 16), &[0; 3])), "the audio holds no samples");
}

#[test]
fn samples_that_are_no_numbers_are_refused_with_their_place() {
    let file = |values: Vec<f32>, n_channels| {
        wav(fmt(3, n_channels, 16_000, 32), &values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())
    };
    let mut values = vec![0.5f32; 30_000];
    values[12_345] = f32::NAN;
    assert_eq!(message(file(values.clone(), 1)), "sample 12345 is not a finite number (NaN)");
    // The same, as the second channel of frame 6,172.
    assert_eq!(message(file(values.clone(), 2)), "sample 6172 is not a finite number (NaN)");
    values[12_345] = f32::INFINITY;
    assert_eq!(message(file(values.clone(), 1)), "sample 12345 is not a finite number (inf)");
    values[12_344] = f32::NEG_INFINITY;
    assert!(matches!(Audio::from_bytes(file(values, 2)), Err(Error::BadSample { index: 6_172, .. })));
    // Finite as they stand, but not as f32 and not in sum.
    let data: Vec<u8> = [0.0, 1e300f64].iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(message(wav(fmt(3, 1, 16_000, 64), &data)), "sample 1 is not a finite number (inf)");
    assert_eq!(message(file(vec![f32::MAX, f32::MAX], 2)), "sample 0 is not a finite number (inf)");
    assert!(message(file(vec![3e38], 1)).starts_with("sample 0 is 3e38, and more than 1e10"));
}

#[test]
fn streams_of_any_length_need_little_memory() {
    /// A WAV header of unknown length, and then the same sample without end.
    struct Endless {
        header: Cursor<Vec<u8>>,
    }
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            match self.header.read(buffer)? {
                0 => {
                    buffer.fill(0x40);
                    Ok(buffer.len())
                }
                n => Ok(n),
            }
        }
    }
    let header = set_len(set_len(simple(&[]), b"RIFF", u32::MAX), b"data", u32::MAX);
    let mut stream = AudioStream::from_unseekable(Endless { header: Cursor::new(header) }).unwrap();
    assert_eq!(stream.sample_rate(), SampleRate(16_000));
    let mut n_samples = 0;
    while n_samples < 600 * 16_000 {
        let chunk = stream.next_chunk().unwrap().unwrap();
        assert!((1..=1 << 16).contains(&chunk.len()), "{}", chunk.len());
        assert!(chunk.iter().all(|&x| x == f32::from(0x4040i16) / 32_768.0));
        n_samples += chunk.len();
    }
}

#[test]
fn failures_of_the_reader_are_errors_and_not_the_end() {
    struct Failing(Cursor<Vec<u8>>);
    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(std::io::Error::new(std::io::ErrorKind::ConnectionReset, "the line is dead")),
                n => Ok(n),
            }
        }
    }
    let file = set_len(simple(&[1; 100_000]), b"data", 1 << 30);
    let stream = AudioStream::from_unseekable(Failing(Cursor::new(file))).unwrap();
    assert!(
        matches!(Audio::from_stream(stream), Err(Error::Io(error)) if error.to_string() == "the line is dead")
    );
}

/// AIFF: a chunk with its length, big-endian.
fn aiff_chunk(id: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let padding = vec![0; body.len() % 2];
    [id, (body.len() as u32).to_be_bytes().as_slice(), body, &padding].concat()
}

/// The common chunk, at 16 kHz, which is 0x400C FA00... as an 80-bit number.
fn comm(n_channels: u16, n_frames: u32, bits: u16, compression: &[u8]) -> Vec<u8> {
    let rate = [0x40, 0x0C, 0xFA, 0, 0, 0, 0, 0, 0, 0];
    let head = [n_channels.to_be_bytes().as_slice(), &n_frames.to_be_bytes(), &bits.to_be_bytes()].concat();
    aiff_chunk(b"COMM", &[&head, rate.as_slice(), compression].concat())
}

fn ssnd(data: &[u8]) -> Vec<u8> {
    aiff_chunk(b"SSND", &[&[0; 8], data].concat())
}

fn form(kind: &[u8; 4], chunks: &[Vec<u8>]) -> Vec<u8> {
    aiff_chunk(b"FORM", &[kind.as_slice(), &chunks.concat()].concat())
}

#[test]
fn aiff_in_all_its_kinds() {
    let expected = [0.5, -1.0];
    let big = |values: [i16; 2]| values.iter().flat_map(|x| x.to_be_bytes()).collect::<Vec<u8>>();
    let plain = big([16_384, -32_768]);
    assert_eq!(samples(form(b"AIFF", &[comm(1, 2, 16, b""), ssnd(&plain)])), expected);
    assert_eq!(
        samples(form(b"AIFF", &[comm(1, 2, 12, b""), ssnd(&plain)])),
        expected,
        "12 bits, left-justified"
    );
    assert_eq!(samples(form(b"AIFF", &[comm(1, 2, 8, b""), ssnd(&[64, 128])])), expected);
    assert_eq!(samples(form(b"AIFF", &[comm(1, 2, 24, b""), ssnd(&[64, 0, 0, 128, 0, 0])])), expected);
    assert_eq!(samples(form(b"AIFF", &[comm(2, 1, 16, b""), ssnd(&plain)])), [-0.25]);
    for (compression, bits, data) in [
        (b"NONE\0\0", 16, plain.clone()),
        (b"sowt\0\0", 16, le(&[16_384, -32_768])),
        (b"raw \0\0", 8, vec![192, 0]),
        (b"in32\0\0", 32, vec![64, 0, 0, 0, 128, 0, 0, 0]),
        (b"fl32\0\0", 32, [0.5f32, -1.0].iter().flat_map(|x| x.to_be_bytes()).collect()),
        (b"fl64\0\0", 64, [0.5f64, -1.0].iter().flat_map(|x| x.to_be_bytes()).collect()),
    ] {
        let file =
            form(b"AIFC", &[aiff_chunk(b"FVER", &[0xA2; 4]), comm(1, 2, bits, compression), ssnd(&data)]);
        assert_eq!(samples(file), expected, "{}", compression.escape_ascii());
    }
    let file = form(b"AIFC", &[comm(1, 2, 16, b"ima4\0\0"), ssnd(&plain)]);
    assert!(
        matches!(Audio::from_bytes(file), Err(Error::UnsupportedCodec { codec }) if codec.starts_with("AIFF-C"))
    );

    // The samples first: fine in a file, not in a pipe.
    let file = form(b"AIFF", &[ssnd(&plain), aiff_chunk(b"NAME", b"odd"), comm(1, 2, 16, b"")]);
    assert_eq!(Audio::from_bytes(file.clone()).unwrap().samples(), expected);
    assert!(AudioStream::from_unseekable(Cursor::new(file)).is_err());

    // ffmpeg into a pipe; SoX into a pipe; cut short.
    let streamed = |n_frames, len: u32| {
        let mut sound = ssnd(&plain);
        sound[4..8].copy_from_slice(&len.to_be_bytes());
        form(b"AIFF", &[comm(1, n_frames, 16, b""), sound])
    };
    assert_eq!(samples(streamed(0, 0)), expected);
    assert_eq!(samples(streamed(0x3F80_0000, 0x7F00_0008)), expected);
    let audio = Audio::from_bytes(streamed(16_000, 32_008)).unwrap();
    let expected = Warning::Truncated { decoded_s: 2.0 / 16_000.0, promised_s: Some(1.0) };
    assert_eq!(audio.warnings(), [expected]);
    assert!(message(form(b"AIFF", &[comm(0, 2, 16, b""), ssnd(&plain)])).contains("0 channels"));
    assert!(message(form(b"AIFF", &[comm(1, 2, 0, b""), ssnd(&plain)])).contains("neither 8, 16, 24 nor 32"));
}
