//! Model files: what is written is read again bit for bit, and whatever is wrong has its own error.

use std::collections::BTreeMap;

use intone::features::FrontEnd;
use intone::model::file::{MAX_FILE_BYTES, MAX_HEADER_BYTES, METADATA_KEY};
use intone::model::{
    Architecture, CorpusInfo, EncoderConfig, ModelError, ModelFile, ModelMeta, Precision, Provenance, Tensor,
    VggConfig, Weights,
};
use intone::{Error, Result};
use proptest::prelude::*;

fn meta() -> ModelMeta {
    let front_end = FrontEnd { trim_top_db: Some(30.0), ..FrontEnd::reference() };
    let labels = ["angry", "disgust", "fear", "happy", "neutral", "sad"].map(String::from).to_vec();
    let mut meta = ModelMeta::new(Architecture::Vgg(VggConfig::reference()), front_end, labels);
    meta.temperature = 1.37;
    meta.gap_exponent = 0.85;
    meta.uncertain_below = 0.61;
    meta.provenance = Provenance {
        created: "2026-01-31T12:00:00Z".into(),
        commit: "a42b3d4".into(),
        config: "[train]\nseed = 7\nname = \"\u{e9}\u{1f600}\"\n".into(),
        init_sha256: Some("0f".repeat(32)),
        corpora: vec![CorpusInfo {
            name: "crema-d".into(),
            clips: 7442,
            hash: "ab".into(),
            licence: "ODbL".into(),
        }],
        seed: u64::MAX,
        scores: BTreeMap::from([("test_uar".into(), 0.1 + 0.2)]),
        ..Provenance::default()
    };
    meta
}

fn tensors() -> BTreeMap<String, Tensor> {
    let wave = |n: usize| (0..n).map(|i| (i as f32 * 0.7).sin() * (1 + i % 3) as f32).collect();
    BTreeMap::from([
        ("conv.weight".into(), Tensor { shape: vec![4, 2, 3, 3], data: wave(72) }),
        ("conv.bias".into(), Tensor { shape: vec![4], data: wave(4) }),
        ("dense.weight".into(), Tensor { shape: vec![3, 5], data: wave(15) }),
    ])
}

fn model() -> ModelFile {
    ModelFile::new(meta(), tensors())
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    tensor.data.iter().map(|x| x.to_bits()).collect()
}

/// A safetensors file by hand: the header as given, then `data`.
fn by_hand(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

/// A header with `meta` and the tensors written as JSON.
fn header(meta: &serde_json::Value, tensors: &str) -> String {
    let metadata = serde_json::json!({ METADATA_KEY: meta.to_string() });
    let comma = if tensors.is_empty() { "" } else { "," };
    format!("{{\"__metadata__\":{metadata}{comma}{tensors}}}")
}

fn meta_json() -> serde_json::Value {
    serde_json::to_value(meta()).expect("metadata is JSON")
}

/// The error that reading `bytes` gives.
fn refusal(bytes: &[u8]) -> ModelError {
    match ModelFile::read(bytes) {
        Err(Error::Model(error)) => error,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

/// The error of a file whose metadata was changed.
fn refusal_of(change: impl FnOnce(&mut serde_json::Value)) -> ModelError {
    let mut meta = meta_json();
    change(&mut meta);
    refusal(&by_hand(&header(&meta, ""), &[]))
}

#[test]
fn the_metadata_survives_a_round_trip() -> Result<()> {
    let read = ModelFile::read(&model().to_bytes(Precision::F32)?)?;
    assert_eq!(read.meta, meta());
    assert_eq!(read.precision, Precision::F32);
    assert_eq!(read.n_values(), 72 + 4 + 15);
    Ok(())
}

proptest! {
    #[test]
    fn f32_weights_and_the_temperature_survive_bit_for_bit(
        data in prop::collection::vec(any::<f32>().prop_filter("finite", |x| x.is_finite()), 12),
        temperature in 0.05f32..=100.0,
    ) {
        let mut model = model();
        model.meta.temperature = temperature;
        model.tensors.insert("x".into(), Tensor { shape: vec![3, 4], data });
        let read = ModelFile::read(&model.to_bytes(Precision::F32).unwrap()).unwrap();
        prop_assert_eq!(read.meta.temperature.to_bits(), temperature.to_bits());
        for (name, tensor) in &model.tensors {
            prop_assert_eq!(bits(tensor), bits(&read.tensors[name]));
            prop_assert_eq!(&tensor.shape, &read.tensors[name].shape);
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(ModelFile::read(&bytes).is_err());
    }

    #[test]
    fn an_arbitrary_header_is_refused_without_a_panic(
        text in "[{}\\[\\]\":,_a-z0-9]{0,80}",
        data in prop::collection::vec(any::<u8>(), 0..16),
    ) {
        prop_assert!(ModelFile::read(&by_hand(&text, &data)).is_err());
    }

    #[test]
    fn damage_to_one_byte_never_panics(place in 0usize..4096, value in any::<u8>()) {
        let mut bytes = model().to_bytes(Precision::Int8).unwrap();
        let place = place % bytes.len();
        bytes[place] = value;
        let _ = ModelFile::read(&bytes);
    }
}

#[test]
fn halves_are_the_nearest_and_small_tensors_stay_exact() -> Result<()> {
    let read = ModelFile::read(&model().to_bytes(Precision::F16)?)?;
    assert_eq!(read.precision, Precision::F16);
    for (name, tensor) in tensors() {
        let got = &read.tensors[&name];
        for (x, y) in tensor.data.iter().zip(&got.data) {
            assert!((x - y).abs() <= x.abs() * 2f32.powi(-11) + 2f32.powi(-25), "{name}: {x} became {y}");
        }
    }
    assert_eq!(bits(&tensors()["conv.bias"]), bits(&read.tensors["conv.bias"]));
    // What is half already does not change again.
    let again = ModelFile::read(&read.to_bytes(Precision::F16)?)?;
    assert_eq!(again, read);
    Ok(())
}

#[test]
fn int8_is_within_half_a_step_of_its_channel() -> Result<()> {
    let mut model = model();
    // A channel of zeros must not become NaN; the largest magnitude is exact.
    model.tensors.get_mut("dense.weight").unwrap().data[5..10].fill(0.0);
    let read = ModelFile::read(&model.to_bytes(Precision::Int8)?)?;
    assert_eq!(read.precision, Precision::Int8);
    assert_eq!(read.tensors.keys().collect::<Vec<_>>(), model.tensors.keys().collect::<Vec<_>>());
    for name in ["conv.weight", "dense.weight"] {
        let (tensor, got) = (&model.tensors[name], &read.tensors[name]);
        let n_row = tensor.data.len() / tensor.shape[0];
        for (row, got) in tensor.data.chunks(n_row).zip(got.data.chunks(n_row)) {
            let largest = row.iter().fold(0.0f32, |max, x| max.max(x.abs()));
            let half_step = largest / 127.0 / 2.0 * 1.000_01;
            for (x, y) in row.iter().zip(got) {
                assert!((x - y).abs() <= half_step, "{name}: {x} became {y}, half a step is {half_step}");
            }
        }
    }
    assert_eq!(bits(&model.tensors["conv.bias"]), bits(&read.tensors["conv.bias"]));
    Ok(())
}

#[test]
fn the_same_model_gives_the_same_bytes() -> Result<()> {
    for precision in [Precision::F32, Precision::F16, Precision::Int8] {
        assert_eq!(model().to_bytes(precision)?, model().to_bytes(precision)?);
    }
    Ok(())
}

#[test]
fn a_file_is_written_again_with_other_metadata_and_the_same_weights() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    for precision in [Precision::F32, Precision::F16, Precision::Int8] {
        let mut model = model();
        model.write(&from, precision)?;
        ModelFile::write_again(&from, &to, &model.meta)?;
        assert_eq!(std::fs::read(&from).unwrap(), std::fs::read(&to).unwrap());
        let before = ModelFile::open(&from)?;
        model.meta.temperature = 1.5;
        ModelFile::write_again(&from, &from, &model.meta)?;
        let after = ModelFile::open(&from)?;
        assert_eq!((after.meta.temperature, after.precision), (1.5, precision));
        assert_eq!(before.tensors, after.tensors);
        model.meta.temperature = 0.0;
        assert!(ModelFile::write_again(&from, &to, &model.meta).is_err());
        assert_eq!(ModelFile::open(&from)?, after);
    }
    std::fs::write(&from, b"no model").unwrap();
    let error = ModelFile::write_again(&from, &to, &meta()).unwrap_err().to_string();
    assert!(error.contains("from"), "{error}");
    Ok(())
}

#[test]
fn writing_replaces_a_file_whole_or_not_at_all() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("model.safetensors");
    model().write(&path, Precision::F32)?;
    assert_eq!(ModelFile::open(&path)?, model());

    let mut broken = model();
    broken.tensors.get_mut("conv.bias").unwrap().data[1] = f32::NAN;
    let error = broken.write(&path, Precision::F32).unwrap_err();
    assert!(
        matches!(&error, Error::Model(ModelError::NotFinite { tensor, index: 1 }) if tensor == "conv.bias")
    );
    assert_eq!(ModelFile::open(&path)?, model(), "the old file is still whole");

    model().write(&path, Precision::F16)?;
    assert_eq!(ModelFile::open(&path)?.precision, Precision::F16);
    assert_eq!(std::fs::read_dir(folder.path())?.count(), 1, "no temporary file is left");

    let nowhere = folder.path().join("missing").join("model.safetensors");
    let error = model().write(&nowhere, Precision::F32).unwrap_err();
    assert!(matches!(&error, Error::InFile { path, .. } if *path == nowhere), "{error}");
    Ok(())
}

#[test]
fn an_error_of_a_file_names_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    std::fs::write(&path, b"abc").unwrap();
    let error = ModelFile::open(&path).unwrap_err();
    assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
    assert!(matches!(ModelFile::open(folder.path()), Err(Error::InFile { .. })), "a folder is no model");
}

#[test]
fn every_truncation_is_refused() {
    let bytes = model().to_bytes(Precision::Int8).unwrap();
    for n in 0..bytes.len() {
        let error = refusal(&bytes[..n]);
        let expected = match n {
            0..8 => matches!(error, ModelError::TooShort { actual } if actual == n),
            _ => matches!(error, ModelError::Length { actual, .. } if actual == n as u64),
        };
        assert!(expected, "{n} bytes: {error:?}");
    }
    let longer = [bytes.as_slice(), b"x"].concat();
    assert!(matches!(refusal(&longer), ModelError::Length { expected, actual } if expected + 1 == actual));
}

#[test]
fn a_header_that_claims_too_much_is_refused_before_it_is_read() {
    for claim in [MAX_HEADER_BYTES + 1, 4 << 30, u64::MAX] {
        let mut bytes = model().to_bytes(Precision::F32).unwrap();
        bytes[..8].copy_from_slice(&claim.to_le_bytes());
        let error = refusal(&bytes);
        assert!(
            matches!(error, ModelError::HeaderTooLarge { limit: MAX_HEADER_BYTES, actual } if actual == claim)
        );
    }
}

#[test]
fn files_of_gigabytes_are_refused_by_their_size_or_their_header() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let refusal = |start: &[u8], n: u64| {
        // Sparse: it takes no room on the disk, and none in memory.
        std::fs::write(&path, start).unwrap();
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(n).unwrap();
        match ModelFile::open(&path).unwrap_err() {
            Error::InFile { error, .. } => *error,
            other => panic!("{other}"),
        }
    };
    let error = refusal(&[], MAX_FILE_BYTES + 1);
    assert!(matches!(error, Error::Model(ModelError::FileTooLarge { limit: MAX_FILE_BYTES, .. })), "{error}");
    let error = refusal(&[], MAX_FILE_BYTES);
    assert!(matches!(error, Error::Model(ModelError::Header(_))), "{error}");
    let whole = model().to_bytes(Precision::F32).unwrap();
    let error = refusal(&whole, MAX_FILE_BYTES);
    let Error::Model(ModelError::Length { expected, actual: MAX_FILE_BYTES }) = error else {
        panic!("{error}")
    };
    assert_eq!(expected, whole.len() as u64);
}

#[test]
fn a_header_that_is_no_table_of_tensors_is_refused() {
    for text in ["", "{", "[]", "null", "{\"a\": 1}", "{\"a\": {\"dtype\": \"F99\"}}", "\u{0}"] {
        let error = refusal(&by_hand(text, &[]));
        assert!(matches!(error, ModelError::Header(_)), "{text:?}: {error:?}");
    }
    let deep = "[".repeat(100_000);
    assert!(matches!(refusal(&by_hand(&deep, &[])), ModelError::Header(_)));
}

#[test]
fn tensors_that_overlap_or_leave_the_file_are_refused() {
    let tensor = |name: &str, n: &str, from: u64, to: u64| {
        format!("\"{name}\":{{\"dtype\":\"F32\",\"shape\":{n},\"data_offsets\":[{from},{to}]}}")
    };
    let half = 1u64 << 60;
    let cases = [
        ("overlap", [tensor("a", "[2]", 0, 8), tensor("b", "[2]", 4, 12)].join(",")),
        ("gap", [tensor("a", "[1]", 0, 4), tensor("b", "[1]", 8, 12)].join(",")),
        ("backwards", tensor("a", "[1]", 4, 0)),
        ("another size than its shape", tensor("a", "[3]", 0, 8)),
        ("a shape that overflows", tensor("a", &format!("[{half},{half}]"), 0, 12)),
        (
            "the same name twice",
            [tensor("a", "[1]", 0, 4), tensor("a", "[1]", 4, 8), tensor("b", "[1]", 8, 12)].join(","),
        ),
    ];
    for (what, tensors) in cases {
        let error = refusal(&by_hand(&header(&meta_json(), &tensors), &[0; 12]));
        assert!(matches!(error, ModelError::Layout(_)), "{what}: {error:?}");
    }
    // Tensors whose sizes are right one by one, but whose sum and the header's length wrap around 64 bits.
    let size = (1u64 << 61) - 32;
    let huge = |i: u64| tensor(&i.to_string(), &format!("[{}]", size / 4), i * size, (i + 1) * size);
    let wrapping = (0..8).map(huge).collect::<Vec<_>>().join(",");
    let error = refusal(&by_hand(&header(&meta_json(), &wrapping), &[0; 12]));
    assert!(matches!(error, ModelError::Length { expected: u64::MAX, .. }), "{error:?}");
    let beyond = tensor("a", "[1000000000]", 0, 4_000_000_000);
    let error = refusal(&by_hand(&header(&meta_json(), &beyond), &[0; 12]));
    assert!(matches!(error, ModelError::Length { actual, .. } if actual < 4000), "{error:?}");
}

#[test]
fn metadata_of_another_kind_is_refused() {
    let error = refusal(&by_hand("{}", &[]));
    assert!(matches!(error, ModelError::NoMetadata { key: METADATA_KEY }), "{error:?}");
    let error = refusal(&by_hand("{\"__metadata__\":{\"format\":\"pt\"}}", &[]));
    assert!(matches!(error, ModelError::NoMetadata { .. }), "{error:?}");
    let error = refusal(&by_hand("{\"__metadata__\":{\"intone\":\"{}\"}}", &[]));
    assert!(matches!(error, ModelError::Metadata(_)), "{error:?}");
    let error = refusal_of(|meta| meta["surprise"] = 1.into());
    assert!(matches!(&error, ModelError::Metadata(text) if text.contains("surprise")), "{error:?}");
    let error = refusal_of(|meta| meta["architecture"]["name"] = "unheard-of".into());
    assert!(matches!(&error, ModelError::Metadata(text) if text.contains("unheard-of")), "{error:?}");
    let error = refusal_of(|meta| meta["architecture"]["dropout"] = 0.5.into());
    assert!(matches!(&error, ModelError::Metadata(text) if text.contains("dropout")), "{error:?}");
}

#[test]
fn another_version_is_refused_even_if_the_rest_is_not_understood() {
    for version in [0, 2, u32::MAX] {
        let error =
            refusal_of(|meta| *meta = serde_json::json!({"format_version": version, "all": "different"}));
        assert!(
            matches!(error, ModelError::Version { expected: 1, actual } if actual == version),
            "{error:?}"
        );
    }
}

#[test]
fn provenance_may_grow_and_may_be_missing() {
    let mut json = meta_json();
    json["provenance"] = serde_json::json!({"commit": "abc", "weather": "fine"});
    json.as_object_mut().unwrap().remove("temperature");
    json.as_object_mut().unwrap().remove("gap_exponent");
    let read = ModelFile::read(&by_hand(&header(&json, ""), &[])).unwrap();
    assert_eq!(read.meta.provenance, Provenance { commit: "abc".into(), ..Provenance::default() });
    assert_eq!((read.meta.temperature, read.meta.gap_exponent), (1.0, 1.0));
}

#[test]
fn labels_must_be_names_and_fit_the_network() {
    let labels = |labels: &[&str]| {
        let labels = serde_json::json!(labels);
        refusal_of(move |meta| meta["labels"] = labels)
    };
    assert!(matches!(labels(&[]), ModelError::LabelCount { actual: 0, .. }));
    assert!(matches!(labels(&vec!["x"; 5000]), ModelError::LabelCount { actual: 5000, .. }));
    let error = labels(&["a", "b", "c", "d", "e", "b"]);
    assert!(matches!(&error, ModelError::DuplicateLabel { label } if label == "b"), "{error:?}");
    for bad in ["", " a", "a ", "a,b", "a\n", "\u{1b}[31m", &"x".repeat(65)] {
        let error = labels(&["a", "b", "c", "d", "e", bad]);
        assert!(matches!(&error, ModelError::InvalidLabel { label } if label == bad), "{bad:?}: {error:?}");
    }
    let error = labels(&["a", "b"]);
    assert!(matches!(error, ModelError::Architecture { .. }), "{error:?}");
}

#[test]
fn a_confidence_to_be_certain_that_is_no_probability_is_refused() {
    for confidence in [-0.1, 1.1, 1e38] {
        let error = refusal_of(|meta| meta["uncertain_below"] = confidence.into());
        assert!(error.to_string().contains("uncertain_below"), "{error}");
    }
}

#[test]
fn a_temperature_out_of_range_is_refused() {
    for temperature in [0.0, -1.0, 1e-3, 101.0, 1e38] {
        let error = refusal_of(|meta| meta["temperature"] = temperature.into());
        assert!(matches!(error, ModelError::Temperature { .. }), "{temperature}: {error:?}");
    }
    // Beyond single precision.
    let error = refusal_of(|meta| meta["temperature"] = 1e39.into());
    assert!(error.to_string().contains("out of range"), "{error}");
    let mut model = model();
    model.meta.temperature = f32::NAN;
    assert!(model.to_bytes(Precision::F32).is_err());
}

#[test]
fn an_exponent_out_of_range_is_refused() {
    for exponent in [0.0, -1.0, 0.2, 4.1, 1e38] {
        let error = refusal_of(|meta| meta["gap_exponent"] = exponent.into());
        assert!(error.to_string().contains("gap_exponent"), "{exponent}: {error}");
    }
    let mut model = model();
    model.meta.gap_exponent = f32::NAN;
    assert!(model.to_bytes(Precision::F32).is_err());
}

#[test]
fn a_length_of_short_sounds_is_refused_out_of_range_and_where_windows_are_of_one_length() {
    for short_s in [-0.1, 1.0, 11.0, 1e38] {
        let error = refusal_of(|meta| meta["short_s"] = short_s.into());
        assert!(error.to_string().contains("short_s"), "{short_s}: {error}");
    }
    let encoder = Architecture::Encoder(EncoderConfig::tiny(4));
    let labels = ["angry", "disgust", "fear", "happy", "neutral", "sad"].map(str::to_owned).to_vec();
    let mut meta = ModelMeta::new(encoder, FrontEnd::whisper(), labels);
    for (short_s, usable) in [(0.0, true), (1.2, true), (10.0, true), (10.1, false), (f32::NAN, false)] {
        meta.short_s = short_s;
        assert_eq!(meta.validate().is_ok(), usable, "{short_s}");
    }
}

#[test]
fn a_front_end_with_windows_of_many_lengths_is_refused_for_a_network_that_takes_those_of_one() {
    let error = refusal_of(|meta| meta["front_end"]["style"] = "whisper".into()).to_string();
    assert!(error.contains("style of the front end") && error.contains("'vgg', got whisper"), "{error}");
    let encoder =
        Architecture::Encoder(EncoderConfig { n_mels: 128, n_frames: 130, ..EncoderConfig::tiny(4) });
    assert!(encoder.fits(&FrontEnd::reference()).is_ok());
}

#[test]
fn scores_that_json_cannot_hold_are_refused_when_written() {
    let mut model = model();
    model.meta.provenance.scores.insert("test_uar".into(), f64::NAN);
    let error = model.to_bytes(Precision::F32).unwrap_err();
    assert!(matches!(error, Error::Model(ModelError::Score { .. })), "{error}");
}

#[test]
fn a_front_end_that_cannot_be_is_refused() {
    for (key, value) in [
        ("sample_rate_hz", 0),
        ("n_fft", 3),
        ("hop_length", 0),
        ("n_frames", 1_i64 << 40),
        ("trim_top_db", -1),
    ] {
        let error = refusal_of(|meta| meta["front_end"][key] = value.into());
        assert!(matches!(error, ModelError::FrontEnd(_)), "{key} = {value}: {error:?}");
    }
    for (key, value) in [("n_mels", 64), ("n_frames", 100)] {
        let error = refusal_of(|meta| meta["front_end"][key] = value.into());
        assert!(matches!(error, ModelError::Architecture { .. }), "{key} = {value}: {error:?}");
    }
    let error = refusal_of(|meta| meta["front_end"]["window"] = "hamming".into());
    assert!(matches!(&error, ModelError::Metadata(text) if text.contains("window")), "{error:?}");
}

#[test]
fn hyperparameters_out_of_range_are_refused() {
    let cases: [(&str, serde_json::Value); 10] = [
        ("channels", serde_json::json!([])),
        ("channels", serde_json::json!([32, 64, 128, 0])),
        ("channels", serde_json::json!([32, 64, 128, 1_000_000_000])),
        ("channels", serde_json::json!([16_384, 64, 128, 256])),
        ("convs_per_block", serde_json::json!([2, 2, 2])),
        ("convs_per_block", serde_json::json!([2, 2, 2, 0])),
        ("dense", serde_json::json!([0])),
        ("dense", serde_json::json!(vec![8; 100])),
        ("n_mels", 8.into()),
        ("n_classes", 7.into()),
    ];
    for (key, value) in cases {
        let error = refusal_of(|meta| meta["architecture"][key] = value.clone());
        assert!(matches!(error, ModelError::Architecture { .. }), "{key} = {value}: {error:?}");
    }
}

#[test]
fn weights_that_are_not_finite_are_refused() {
    let tensor = "\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]}";
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let data: Vec<u8> = [1.0, 2.0, bad].iter().flat_map(|x: &f32| x.to_le_bytes()).collect();
        let error = refusal(&by_hand(&header(&meta_json(), tensor), &data));
        assert!(
            matches!(&error, ModelError::NotFinite { tensor, index: 2 } if tensor == "a"),
            "{bad}: {error:?}"
        );
    }
    // The same in half precision, and through the scale of int8.
    let half = "\"a\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2]}";
    let error = refusal(&by_hand(&header(&meta_json(), half), &0x7c00u16.to_le_bytes()));
    assert!(matches!(error, ModelError::NotFinite { index: 0, .. }), "{error:?}");
    let int8 = "\"a.scale\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\
                \"a\":{\"dtype\":\"I8\",\"shape\":[2,1],\"data_offsets\":[8,10]}";
    let data = [f32::MAX.to_le_bytes(), f32::NAN.to_le_bytes()].concat();
    let error = refusal(&by_hand(&header(&meta_json(), int8), &[data.as_slice(), &[1, 1]].concat()));
    assert!(matches!(&error, ModelError::NotFinite { tensor, index: 1 } if tensor == "a.scale"), "{error:?}");
    let data = [f32::MAX.to_le_bytes(), 1f32.to_le_bytes()].concat();
    let error = refusal(&by_hand(&header(&meta_json(), int8), &[data.as_slice(), &[2, 1]].concat()));
    assert!(matches!(&error, ModelError::NotFinite { tensor, index: 0 } if tensor == "a"), "{error:?}");
    // And a weight too large for half precision when it is written.
    let mut model = model();
    model.tensors.get_mut("conv.weight").unwrap().data[7] = 70_000.0;
    assert!(matches!(
        model.to_bytes(Precision::F16),
        Err(Error::Model(ModelError::NotFinite { index: 7, .. }))
    ));
}

#[test]
fn int8_needs_one_scale_per_channel() {
    let int8 = "\"a\":{\"dtype\":\"I8\",\"shape\":[2,1],\"data_offsets\":[0,2]}";
    let error = refusal(&by_hand(&header(&meta_json(), int8), &[1, 1]));
    assert!(matches!(&error, ModelError::MissingTensor { tensor } if tensor == "a.scale"), "{error:?}");
    let one = "\"a.scale\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\
               \"a\":{\"dtype\":\"I8\",\"shape\":[2,1],\"data_offsets\":[4,6]}";
    let error = refusal(&by_hand(&header(&meta_json(), one), &[0, 0, 0, 0, 1, 1]));
    assert!(
        matches!(&error, ModelError::Shape { expected, actual, .. } if *expected == [2] && *actual == [1])
    );
    let half = "\"a.scale\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,4]},\
                \"a\":{\"dtype\":\"I8\",\"shape\":[2,1],\"data_offsets\":[4,6]}";
    let error = refusal(&by_hand(&header(&meta_json(), half), &[0, 0, 0, 0, 1, 1]));
    assert!(matches!(error, ModelError::NumberType { .. }), "{error:?}");
    // A name that would collide with the scales of another tensor.
    let mut model = model();
    model.tensors.insert("conv.weight.scale".into(), Tensor { shape: vec![1], data: vec![1.0] });
    assert!(model.to_bytes(Precision::F32).is_ok());
    assert!(matches!(model.to_bytes(Precision::Int8), Err(Error::Model(ModelError::Layout(_)))));
}

#[test]
fn other_number_types_are_refused() {
    let double = "\"a\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]}";
    let error = refusal(&by_hand(&header(&meta_json(), double), &[0; 8]));
    assert!(matches!(&error, ModelError::NumberType { actual, .. } if actual == "F64"), "{error:?}");
}

#[test]
fn a_tensor_without_rows_may_claim_rows_of_any_length() {
    let tensors = [
        ("F32", ""),
        ("F16", ""),
        ("I8", ",\"a.scale\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}"),
    ];
    for (number, scale) in tensors {
        for shape in ["[0,4611686018427387904]", "[0,9223372036854775807,9]"] {
            let tensor =
                format!("\"a\":{{\"dtype\":\"{number}\",\"shape\":{shape},\"data_offsets\":[0,0]}}{scale}");
            let file = ModelFile::read(&by_hand(&header(&meta_json(), &tensor), &[])).unwrap();
            assert_eq!(file.n_values(), 0, "{tensor}");
            assert!(
                intone::Recognizer::from_bytes(&by_hand(&header(&meta_json(), &tensor), &[])).is_err(),
                "{tensor}"
            );
        }
    }
}

#[test]
fn a_tensor_of_another_length_than_its_shape_is_not_written() {
    let mut model = model();
    model.tensors.get_mut("conv.bias").unwrap().data.pop();
    assert!(matches!(model.to_bytes(Precision::F32), Err(Error::Model(ModelError::Shape { .. }))));
}

#[test]
fn weights_are_handed_out_by_name_and_shape() {
    let model = model();
    let mut weights = Weights::new(model.tensors);
    assert_eq!(weights.take("conv.bias", &[4]).unwrap().len(), 4);
    let error = weights.take("conv.weight", &[4, 2, 9]).unwrap_err();
    assert!(
        matches!(&error, ModelError::Shape { expected, actual, .. } if *expected == [4, 2, 9] && *actual == [4, 2, 3, 3]),
        "{error:?}"
    );
    let error = weights.take("conv.gamma", &[4]).unwrap_err();
    assert!(matches!(&error, ModelError::MissingTensor { tensor } if tensor == "conv.gamma"), "{error:?}");
    weights.take("conv.weight", &[4, 2, 3, 3]).unwrap();
    let error = weights.finish().unwrap_err();
    assert!(
        matches!(&error, ModelError::UnexpectedTensor { tensor } if tensor == "dense.weight"),
        "{error:?}"
    );
}
