//! Damaged and malicious files: always an answer or an error, never a panic, in bounded memory.
//!
//! `PROPTEST_CASES=20000 cargo test --release -p intone --test audio_hostile` searches longer.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Cursor;

use intone::audio::AudioStream;
use proptest::prelude::*;

/// Valid files of every format: the mutations begin with them.
fn fixtures() -> Vec<(String, Vec<u8>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension != "sh"))
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()))
        .collect();
    for (name, format, bits) in [
        ("16.wav", hound::SampleFormat::Int, 16),
        ("24.wav", hound::SampleFormat::Int, 24),
        ("f32.wav", hound::SampleFormat::Float, 32),
    ] {
        let mut bytes = Cursor::new(Vec::new());
        let spec =
            hound::WavSpec { channels: 2, sample_rate: 16_000, bits_per_sample: bits, sample_format: format };
        let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
        for i in 0..2_000 {
            match format {
                hound::SampleFormat::Int => writer.write_sample(i * 7 % 5_000).unwrap(),
                hound::SampleFormat::Float => writer.write_sample((i as f32 * 0.1).sin()).unwrap(),
            }
        }
        writer.finalize().unwrap();
        files.push((name.to_owned(), bytes.into_inner()));
    }
    for name in ["chirp.mp3", "chirp.flac", "chirp.ogg"] {
        let (_, file) = files.iter().find(|(other, _)| other == name).unwrap();
        files.push((format!("joined, {name}"), file.repeat(2)));
    }
    files.sort();
    assert!(files.len() > 20, "the fixtures are there");
    files
}

#[derive(Debug, Clone)]
enum Mutation {
    Truncate {
        at: usize,
    },
    Flip {
        at: usize,
        bit: u8,
    },
    /// One of the numbers that break parsers, big- or little-endian.
    Number {
        at: usize,
        which: usize,
    },
    Noise {
        at: usize,
        bytes: Vec<u8>,
    },
    Remove {
        at: usize,
        len: usize,
    },
    Repeat {
        at: usize,
        len: usize,
    },
}

/// Positions, more often than not among the headers.
fn position() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0..64usize, 4 => 0..1_000usize, 2 => 0..20_000usize]
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        1 => position().prop_map(|at| Mutation::Truncate { at }),
        6 => (position(), 0..8u8).prop_map(|(at, bit)| Mutation::Flip { at, bit }),
        4 => (position(), 0..12usize).prop_map(|(at, which)| Mutation::Number { at, which }),
        4 => (position(), prop::collection::vec(any::<u8>(), 1..16)).prop_map(|(at, bytes)| Mutation::Noise { at, bytes }),
        1 => (position(), 1..40usize).prop_map(|(at, len)| Mutation::Remove { at, len }),
        1 => (position(), 1..400usize).prop_map(|(at, len)| Mutation::Repeat { at, len }),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: &Mutation) {
    let len = bytes.len().max(1);
    let overwrite = |bytes: &mut Vec<u8>, at: usize, new: &[u8]| {
        for (old, new) in bytes.iter_mut().skip(at % len).zip(new) {
            *old = *new;
        }
    };
    match mutation {
        Mutation::Truncate { at } => bytes.truncate(at % len),
        Mutation::Flip { at, bit } => {
            if let Some(byte) = bytes.get_mut(at % len) {
                *byte ^= 1 << bit;
            }
        }
        Mutation::Number { at, which } => {
            let number = [0u32, 1, 0x7F, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0x1_0000, 0xFFFF][which % 8];
            overwrite(bytes, *at, &if *which < 8 { number.to_be_bytes() } else { number.to_le_bytes() });
        }
        Mutation::Noise { at, bytes: new } => overwrite(bytes, *at, new),
        Mutation::Remove { at, len: n } => {
            let at = at % len;
            bytes.drain(at.min(bytes.len())..(at + n).min(bytes.len()));
        }
        Mutation::Repeat { at, len: n } => {
            let at = (at % len).min(bytes.len());
            let part = bytes[at..(at + n).min(bytes.len())].to_vec();
            bytes.splice(at..at, part);
        }
    }
}

/// Decodes everything and checks what must hold for any file at all.
fn decode(stream: intone::Result<AudioStream>, n_bytes: usize) {
    let mut stream = match stream {
        Ok(stream) => stream,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    // FLAC says up to 65,535 equal samples in about a dozen bytes; no format says more.
    let limit = 6_000 * n_bytes + 100_000;
    let mut n_samples = 0;
    loop {
        match stream.next_chunk() {
            Ok(Some(chunk)) => {
                assert!(!chunk.is_empty() && chunk.iter().all(|x| x.is_finite()));
                n_samples += chunk.len();
                assert!(n_samples < limit, "{n_samples} samples from {n_bytes} bytes");
            }
            Ok(None) => break,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                break;
            }
        }
    }
    assert!(matches!(stream.next_chunk(), Ok(None)), "a finished stream stays so");
    for warning in stream.warnings() {
        assert!(!warning.to_string().is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_files_never_panic(
        which in any::<prop::sample::Index>(),
        mutations in prop::collection::vec(mutation(), 1..6),
    ) {
        thread_local!(static FILES: Vec<(String, Vec<u8>)> = fixtures());
        FILES.with(|files| {
            let (_, mut bytes) = files[which.index(files.len())].clone();
            for mutation in &mutations {
                mutate(&mut bytes, mutation);
            }
            let n_bytes = bytes.len();
            decode(AudioStream::from_bytes(bytes.clone()), n_bytes);
            decode(AudioStream::from_unseekable(Cursor::new(bytes)), n_bytes);
        });
        check_memory();
    }

    #[test]
    fn noise_behind_a_format_s_mark_never_panics(
        mark in prop::sample::select([
            b"RIFF\0\x01\0\0WAVE".as_slice(), b"RF64\xFF\xFF\xFF\xFFWAVEds64", b"FORM\0\x01\0\0AIFF", b"fLaC",
            b"OggS\0\x02", b"ID3\x04\0\0\0\0\x01\0", b"\xFF\xFB\x90\x64", b"\xFF\xF1\x60\x40", b"\0\0\0\x18ftypM4A ",
            b"\x1A\x45\xDF\xA3",
        ].to_vec()),
        noise in prop::collection::vec(any::<u8>(), 0..2_000),
    ) {
        let bytes = [mark, &noise].concat();
        decode(AudioStream::from_bytes(bytes.clone()), bytes.len());
        decode(AudioStream::from_unseekable(Cursor::new(bytes.clone())), bytes.len());
        check_memory();
    }
}

#[test]
fn a_fragment_that_claims_four_thousand_million_packets() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/fragmented.m4a");
    let mut file = std::fs::read(path).unwrap();
    let run = file.windows(4).position(|window| window == b"trun").unwrap();
    // No flags, so that no packet has an entry of its own, and the largest number of them.
    file[run + 5..run + 8].fill(0);
    file[run + 8..run + 12].fill(0xFF);
    for stream in [AudioStream::from_bytes(file.clone()), AudioStream::from_unseekable(Cursor::new(file))] {
        let message = stream.unwrap_err().to_string();
        assert_eq!(message, "a damaged MP4 file: its fragments claim too many packets");
    }
}

/// Nothing in these small files may make the process grow: it stays below 128 MiB, the test's own data included.
fn check_memory() {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return };
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak_kib < 128 << 10, "the process grew to {peak_kib} KiB");
}
