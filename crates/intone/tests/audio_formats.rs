//! Every format that people have decodes to the signal that went in, at its place in time.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Cursor;
use std::path::PathBuf;

use intone::Error;
use intone::audio::{Audio, AudioStream, SampleRate, Warning};

/// The signal of the fixtures (tests/fixtures/make.sh).
const N_SAMPLES: usize = 8_123;

fn signal() -> Vec<f32> {
    (0..N_SAMPLES)
        .map(|i| {
            let t = i as f64 / 16_000.0;
            (0.5 * (std::f64::consts::TAU * (200.0 * t + 900.0 * t * t)).sin()) as f32
        })
        .collect()
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures")).join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).unwrap()
}

/// How alike two signals are, -1 to 1, over what both have.
fn correlation(a: &[f32], b: &[f32]) -> f64 {
    let sum = |f: fn(f64, f64) -> f64| a.iter().zip(b).map(|(&a, &b)| f(a.into(), b.into())).sum::<f64>();
    sum(|a, b| a * b) / (sum(|a, _| a * a) * sum(|_, b| b * b)).sqrt()
}

/// The largest difference of two signals over what both have.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn compressed_formats_hold_the_signal_at_its_place() {
    // Name; decoded length; where the signal begins; how alike it is. Lossless: to the bit, less rounding.
    let cases = [
        ("chirp.flac", N_SAMPLES, 0, 1.0),
        ("alac.m4a", N_SAMPLES, 0, 1.0),
        ("chirp.aiff", N_SAMPLES, 0, 1.0),
        ("chirp.mkv", N_SAMPLES, 0, 1.0),
        ("chirp.mp3", N_SAMPLES, 0, 0.9999),
        ("chirp.ogg", N_SAMPLES, 0, 0.999),
        ("chirp.m4a", N_SAMPLES, 0, 0.998),
        ("video.mp4", N_SAMPLES, 0, 0.998),
        // Their containers say nothing of the padding at the end, ...
        ("chirp.webm", 8_192, 0, 0.999),
        ("adpcm_ms.wav", 8_144, 0, 0.999),
        ("adpcm_ima.wav", 8_136, 0, 0.999),
        // ... and these nothing of the encoder's delay.
        ("chirp.aac", 9 * 1_024, 1_024, 0.998),
        ("aac.mkv", 9 * 1_024, 1_024, 0.998),
        ("fragmented.m4a", 9 * 1_024, 1_024, 0.998),
    ];
    for (name, n_samples, start, likeness) in cases {
        let audio = Audio::open(fixture(name)).unwrap();
        assert_eq!(audio.sample_rate(), SampleRate(16_000), "{name}");
        assert_eq!(audio.samples().len(), n_samples, "{name}");
        assert_eq!(audio.warnings(), [], "{name}");
        let expected = signal();
        if likeness == 1.0 {
            let difference = difference(audio.samples(), &expected);
            assert!(difference <= 0.5001 / 32_768.0, "{name}: off by {difference}");
        } else {
            let likeness_here = correlation(&audio.samples()[start..], &expected);
            assert!(likeness_here > likeness, "{name}: {likeness_here}");
            for lag in [start.wrapping_sub(2), start + 2] {
                let elsewhere = correlation(audio.samples().get(lag..).unwrap_or_default(), &expected);
                assert!(elsewhere.is_nan() || elsewhere < likeness_here, "{name} at {lag}: {elsewhere}");
            }
        }
    }
}

#[test]
fn the_name_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    for (name, other) in
        [("chirp.flac", "a.wav"), ("chirp.aiff", "b.mp3"), ("chirp.mp3", "c"), ("chirp.m4a", "d.flac")]
    {
        let copy = folder.path().join(other);
        std::fs::copy(fixture(name), &copy).unwrap();
        assert_eq!(Audio::open(copy).unwrap(), Audio::open(fixture(name)).unwrap(), "{name} as {other}");
    }
}

#[test]
fn all_ways_in_give_the_same_samples() {
    for name in [
        "chirp.flac",
        "chirp.mp3",
        "chirp.ogg",
        "chirp.m4a",
        "chirp.aac",
        "chirp.aiff",
        "chirp.mkv",
        "chirp.webm",
    ] {
        let expected = Audio::open(fixture(name)).unwrap();
        assert_eq!(Audio::from_bytes(bytes(name)).unwrap(), expected, "{name} from bytes");
        let mut reader = Cursor::new(bytes(name));
        reader.set_position(100);
        assert_eq!(
            Audio::from_reader(reader).unwrap(),
            expected,
            "{name} from a reader that stands elsewhere"
        );
        let stream = AudioStream::from_unseekable(Cursor::new(bytes(name))).unwrap();
        assert_eq!(Audio::from_stream(stream).unwrap(), expected, "{name} from a pipe");
    }
}

#[test]
fn channels_become_their_mean() {
    let audio = Audio::open(fixture("stereo.flac")).unwrap();
    assert_eq!(audio.samples().len(), N_SAMPLES);
    let expected: Vec<f32> = signal().iter().map(|x| 0.75 * x).collect();
    assert!(difference(audio.samples(), &expected) < 1.01 / 32_768.0);
}

#[test]
fn variable_bit_rate_without_a_tag_is_decoded_to_its_end() {
    // 4 s, of which the first 3 are silent and small: a guess from the first frames would cut the file short.
    // 114 frames of 576 samples, the encoder's delay and padding among them.
    let audio = Audio::open(fixture("vbr-no-tag.mp3")).unwrap();
    assert_eq!((audio.samples().len(), audio.warnings()), (114 * 576, [].as_slice()));
    let rms = |range: std::ops::Range<usize>| {
        (audio.samples()[range].iter().map(|x| f64::from(x * x)).sum::<f64>() / 16_000.0).sqrt()
    };
    assert!(rms(16_000..32_000) < 1e-3, "silence");
    assert!((rms(49_000..65_000) - 0.5 / 2f64.sqrt()).abs() < 0.05, "the tone at the end");
}

#[test]
fn gapless_notes_of_itunes_are_honoured() {
    // The atoms that iTunes writes: moov.udta.meta.ilst.---- with mean, name and data.
    let atom =
        |kind: &[u8; 4], body: &[u8]| [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat();
    let note = |delay: u32, padding: u32, len: u64| {
        let text = format!(" 00000000 {delay:08X} {padding:08X} {len:016X} 00000000 00000000");
        let dashes = [
            atom(b"mean", b"\0\0\0\0com.apple.iTunes"),
            atom(b"name", b"\0\0\0\0iTunSMPB"),
            atom(b"data", &[b"\0\0\0\x01\0\0\0\0".as_slice(), text.as_bytes()].concat()),
        ];
        let handler = atom(b"hdlr", b"\0\0\0\0\0\0\0\0mdirappl\0\0\0\0\0\0\0\0\0");
        let list = atom(b"ilst", &atom(b"----", &dashes.concat()));
        atom(b"meta", &[b"\0\0\0\0".as_slice(), &handler, &list].concat())
    };
    // Other numbers than those of the edit list, which begins at 1,024.
    let plain = Audio::open(fixture("chirp.m4a")).unwrap();
    let noted = [bytes("chirp.m4a"), note(1_224, 69, 5_000)].concat();
    let audio = Audio::from_bytes(noted).unwrap();
    assert!(audio.samples() == &plain.samples()[200..5_200], "{audio:?}");
}

#[test]
fn the_sample_utterances_are_short_speech_at_16_khz() {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples"));
    for name in ["hello.wav", "station.wav", "leave.wav", "rain.wav"] {
        let audio = Audio::open(folder.join(name)).unwrap();
        assert_eq!((audio.sample_rate(), audio.warnings()), (SampleRate(16_000), [].as_slice()), "{name}");
        assert!((2.0..4.0).contains(&audio.duration_s()), "{name}: {audio:?}");
        let peak = audio.samples().iter().fold(0.0f32, |peak, x| peak.max(x.abs()));
        assert!((peak - 10f32.powf(-3.0 / 20.0)).abs() < 0.01, "{name} has its peak at -3 dB: {peak}");
    }
}

#[test]
fn what_cannot_be_decoded_is_named() {
    for name in ["opus.webm", "opus.ogg"] {
        match Audio::open(fixture(name)) {
            Err(Error::InFile { path, error }) => {
                assert_eq!(path, fixture(name));
                assert!(matches!(&*error, Error::UnsupportedCodec { codec } if codec == "Opus"), "{error}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    let message = |bytes: &[u8]| Audio::from_bytes(bytes).unwrap_err().to_string();
    assert_eq!(message(&bytes("video-only.mp4")), "no audio track in this file (ISO Base Media File Format)");
    assert_eq!(message(b""), "the file is empty");
    assert_eq!(message(b"Dear diary, today I was happy.\n"), "text, not audio");
    assert_eq!(message(b"ID3\x04\0\0\0\0\0\x0A0123456789"), "an ID3 tag without audio behind it");
    assert_eq!(message(b"ID3\x04\0\0\x7F\x7F\x7F\x7Fshort"), "an ID3 tag without audio behind it");
    assert!(
        message(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n").contains("git lfs pull")
    );
    assert!(message(b"#!AMR\n\x3C\x91\x17").starts_with("encoded as AMR, "));
    assert!(message(&[0; 4_096]).starts_with("no audio format that is known here (WAV, FLAC"));
    assert_eq!(message(&bytes("chirp.flac")[..400]), "the file ends inside its header");
    assert_eq!(
        message(&bytes("chirp.m4a")[..2_000]),
        "an MP4 file without its index (moov), as it is cut short"
    );
}

#[test]
fn missing_and_unreadable_files_are_errors_with_their_path() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().to_owned(), folder.path().join("missing.wav")] {
        match Audio::open(&path) {
            Err(Error::InFile { path: named, error }) => {
                assert_eq!(named, path);
                assert!(matches!(*error, Error::Io(_)), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_id3_tag_in_front_is_skipped() {
    for name in ["chirp.mp3", "chirp.aac", "chirp.flac", "chirp.aiff", "adpcm_ms.wav"] {
        // A tag of 300 bytes with what looks like MP3 inside, and an empty one.
        let tag = [
            b"ID3\x03\0\0\0\0\x02\x2C".as_slice(),
            &[0xFF, 0xFB, 0x90, 0x64].repeat(75),
            b"ID3\x04\0\0\0\0\0\0",
        ];
        let tagged = [tag.concat(), bytes(name)].concat();
        assert_eq!(Audio::from_bytes(tagged).unwrap(), Audio::open(fixture(name)).unwrap(), "{name}");
    }
}

#[test]
fn truncated_files_give_what_they_hold_and_say_what_is_missing() {
    for name in ["chirp.flac", "chirp.mp3", "chirp.aiff", "chirp.ogg", "chirp.mkv", "chirp.m4a", "alac.m4a"] {
        let whole = Audio::open(fixture(name)).unwrap();
        let mut file = bytes(name);
        // MP4 has its index at the end: put it first, so that the samples are cut.
        if name.ends_with("m4a") {
            file = index_first(&file);
        }
        // What precedes the audio is large in files as short as these.
        let n_bytes_of_audio = match name {
            "chirp.flac" => 4_300,
            "chirp.ogg" => 700,
            "chirp.mp3" | "chirp.m4a" => 3_000,
            _ => 8_123,
        };
        file.truncate(file.len() - n_bytes_of_audio * 4 / 10);
        for (way, audio) in [
            ("file", Audio::from_bytes(file.clone())),
            ("pipe", Audio::from_stream(AudioStream::from_unseekable(Cursor::new(file)).unwrap())),
        ] {
            let audio = audio.unwrap_or_else(|error| panic!("{name}, {way}: {error}"));
            let n_samples = audio.samples().len();
            assert!((2_500..7_000).contains(&n_samples), "{name}, {way}: {n_samples}");
            assert!(
                difference(&audio.samples()[..n_samples - 1_200], whole.samples()) < 1e-6,
                "{name}, {way}"
            );
            match audio.warnings() {
                [Warning::Truncated { decoded_s, promised_s }] => {
                    assert_eq!(*decoded_s, audio.duration_s(), "{name}");
                    match (name, promised_s) {
                        // Its length is at its end.
                        ("chirp.ogg", _) => {}
                        (_, Some(promised_s)) => {
                            assert!((promised_s - whole.duration_s()).abs() < 0.001, "{name}: {promised_s}");
                        }
                        other => panic!("{way}: {other:?}"),
                    }
                }
                other => panic!("{name}, {way}: {other:?}"),
            }
        }
    }
}

#[test]
fn damaged_packets_are_left_out_and_counted() {
    let mut file = bytes("chirp.aac");
    // The fourth of nine packets, overwritten behind its header.
    let starts: Vec<usize> =
        (0..file.len() - 1).filter(|&i| file[i] == 0xFF && file[i + 1] == 0xF1).collect();
    file[starts[3] + 7..starts[4]].fill(0x5A);
    let audio = Audio::from_bytes(file).unwrap();
    assert_eq!(audio.samples().len(), 8 * 1_024);
    match audio.warnings() {
        [warning @ Warning::Damaged { n_packets: 1, first_s, .. }] => {
            assert_eq!(*first_s, 3.0 * 1_024.0 / 16_000.0);
            assert!(
                warning.to_string().starts_with("1 damaged packets were left out, the first at 0.19 s: ")
            );
        }
        other => panic!("{other:?}"),
    }
}

/// An EBML element: its id, its length in eight bytes, its content.
fn element(id: &[u8], body: &[u8]) -> Vec<u8> {
    [id, &(body.len() as u64 | 1 << 56).to_be_bytes(), body].concat()
}

/// A Matroska file of 16-bit samples at 16 kHz: blocks of 100 ms whose samples count up from `k * 1,600`.
fn matroska(codec_delay_ns: u32, n_blocks: u16, duration_ms: f64) -> Vec<u8> {
    let header = element(&[0x1A, 0x45, 0xDF, 0xA3], &element(&[0x42, 0x82], b"matroska"));
    let info = [
        element(&[0x2A, 0xD7, 0xB1], &1_000_000u32.to_be_bytes()), // nanoseconds per tick
        element(&[0x44, 0x89], &duration_ms.to_be_bytes()),
        element(&[0x4D, 0x80], b"test"), // the program that wrote it, twice
        element(&[0x57, 0x41], b"test"),
    ];
    let audio = [
        element(&[0xB5], &16_000f64.to_be_bytes()),
        element(&[0x9F], &[1]),        // channels
        element(&[0x62, 0x64], &[16]), // bits
    ];
    let track = [
        element(&[0xD7], &[1]),       // number
        element(&[0x73, 0xC5], &[1]), // unique number
        element(&[0x83], &[2]),       // audio
        element(&[0x86], b"A_PCM/INT/LIT"),
        element(&[0x56, 0xAA], &codec_delay_ns.to_be_bytes()),
        element(&[0xE1], &audio.concat()),
    ];
    let blocks = (0..n_blocks).flat_map(|k| {
        let [high, low] = (k * 100).to_be_bytes();
        let head = [0x81, high, low, 0x80];
        let samples = (0..1_600).flat_map(|i| (k as i16 * 1_600 + i).to_le_bytes());
        element(&[0xA3], &head.into_iter().chain(samples).collect::<Vec<u8>>())
    });
    let cluster: Vec<u8> = element(&[0xE7], &[0]).into_iter().chain(blocks).collect();
    let segment = [
        element(&[0x15, 0x49, 0xA9, 0x66], &info.concat()),
        element(&[0x16, 0x54, 0xAE, 0x6B], &element(&[0xAE], &track.concat())),
        element(&[0x1F, 0x43, 0xB6, 0x75], &cluster),
    ];
    [header, element(&[0x18, 0x53, 0x80, 0x67], &segment.concat())].concat()
}

#[test]
fn the_codec_delay_of_matroska_is_trimmed() {
    for (delay_ns, first) in [(0, 0), (10_000_000, 160), (64_000_000, 1_024), (150_000_000, 2_400)] {
        let audio = Audio::from_bytes(matroska(delay_ns, 10, 1_000.0)).unwrap();
        let expected: Vec<f32> = (first..16_000).map(|i| i as f32 / 32_768.0).collect();
        assert!(
            audio.samples() == expected,
            "{delay_ns} ns: {audio:?} from {}",
            audio.samples()[0] * 32_768.0
        );
        assert_eq!(audio.warnings(), [], "{delay_ns} ns");
    }
    // The header promises more than there is.
    let audio = Audio::from_bytes(matroska(0, 10, 2_500.0)).unwrap();
    assert_eq!(audio.warnings(), [Warning::Truncated { decoded_s: 1.0, promised_s: Some(2.5) }]);
}

/// An MP4 file with its `moov` before its `mdat`, and the chunk offsets moved accordingly.
fn index_first(file: &[u8]) -> Vec<u8> {
    let find = |what: &[u8; 4]| file.windows(4).position(|window| window == what).unwrap() - 4;
    let (data, index) = (find(b"mdat"), find(b"moov"));
    assert!(data < index);
    let mut moov = file[index..].to_vec();
    let offsets = moov.windows(4).position(|window| window == b"stco").unwrap() + 8;
    let n_offsets = u32::from_be_bytes(moov[offsets..offsets + 4].try_into().unwrap()) as usize;
    for offset in moov[offsets + 4..].chunks_exact_mut(4).take(n_offsets) {
        let moved = u32::from_be_bytes(offset.try_into().unwrap()) + (file.len() - index) as u32;
        offset.copy_from_slice(&moved.to_be_bytes());
    }
    [&file[..data], &moov, &file[data..index]].concat()
}
