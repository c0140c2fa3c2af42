//! Files that are broken, hostile, or of models that are not read: errors that name what is wrong, and no panic.

#![expect(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod common;

use std::io::{Cursor, Read, Write};

use common::{MODELS, golden, golden_path, parameters_for};
use intone_keras::{Beside, KerasModel, Labels, Parameters, Values};
use serde_json::{Value, json};
use zip::write::SimpleFileOptions;

/// The parts of a `.keras` file by their names.
fn parts(name: &str) -> Vec<(String, Vec<u8>)> {
    let mut zip = zip::ZipArchive::new(Cursor::new(golden(name))).unwrap();
    (0..zip.len())
        .map(|index| {
            let mut entry = zip.by_index(index).unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.name().unwrap().into_owned(), content)
        })
        .collect()
}

fn zip_of(parts: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in parts {
        zip.start_file(name.as_str(), SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// The golden with its configuration changed.
fn changed(name: &str, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut parts = parts(name);
    let (_, config) = parts.iter_mut().find(|(name, _)| name == "config.json").unwrap();
    let mut json: Value = serde_json::from_slice(config).unwrap();
    change(&mut json);
    *config = serde_json::to_vec(&json).unwrap();
    zip_of(&parts)
}

/// What is wrong with a file, up to the model file that is made of it.
fn error(bytes: &[u8]) -> String {
    let model = match KerasModel::read(bytes) {
        Ok(model) => model,
        Err(error) => return error.to_string(),
    };
    let [n_mels, n_frames] = model.input();
    let parameters = Some(parameters_for(n_mels.unwrap_or(128), n_frames.unwrap_or(130)));
    model.into_file(Beside { parameters, ..Beside::default() }).expect_err("an error").to_string()
}

fn layer<'a>(config: &'a mut Value, class: &str) -> &'a mut Value {
    let layers = config["config"]["layers"].as_array_mut().unwrap();
    layers.iter_mut().find(|layer| layer["class_name"] == class).unwrap()
}

#[test]
fn layers_and_settings_that_are_not_read_are_named_with_their_place() {
    type Change = fn(&mut Value);
    let cases: &[(Change, &[&str])] = &[
        (
            |c| layer(c, "Conv2D")["class_name"] = json!("SeparableConv2D"),
            &["layer 1 (`conv2d`, SeparableConv2D)", "not read"],
        ),
        (
            |c| layer(c, "Flatten")["class_name"] = json!("Custom>Attention"),
            &["Custom>Attention", "not read"],
        ),
        (|c| layer(c, "Conv2D")["config"]["dilation_rate"] = json!([2, 2]), &["dilation_rate", "[2,2]"]),
        (|c| layer(c, "Conv2D")["config"]["groups"] = json!(3), &["groups", "expected 1, got 3"]),
        (
            |c| layer(c, "Conv2D")["config"]["data_format"] = json!("channels_first"),
            &["data_format", "channels_first"],
        ),
        (|c| layer(c, "Conv2D")["config"]["padding"] = json!("causal"), &["padding", "causal"]),
        (|c| layer(c, "Conv2D")["config"]["filters"] = json!(-3), &["filters", "-3"]),
        (|c| layer(c, "Conv2D")["config"]["filters"] = json!(1e300), &["filters"]),
        (|c| layer(c, "Conv2D")["config"]["strides"] = json!([0, 1]), &["strides", "[0,1]"]),
        (
            |c| layer(c, "Conv2D")["config"]["strides"] = json!([9_999_999_999u64, 1]),
            &["stride", "9999999999"],
        ),
        (
            |c| layer(c, "Activation")["config"]["activation"] = json!("gelu"),
            &["layer 3", "activation \"gelu\"", "relu, elu"],
        ),
        (|c| layer(c, "Activation")["config"]["activation"] = json!("softmax"), &["behind the softmax"]),
        (
            |c| layer(c, "BatchNormalization")["config"]["axis"] = json!(1),
            &["batch_normalization", "axis", "got 1"],
        ),
        (|c| layer(c, "BatchNormalization")["config"]["epsilon"] = json!(-100.0), &["moving_variance"]),
        (
            |c| layer(c, "MaxPooling2D")["config"]["pool_size"] = json!([200, 200]),
            &["max_pooling2d", "does not fit into"],
        ),
        (
            |c| layer(c, "InputLayer")["config"]["batch_shape"] = json!([null, 16, 12, 3]),
            &["[null,16,12,3]", "expected [null, mel"],
        ),
        (|c| layer(c, "InputLayer")["config"]["batch_shape"] = json!([null, 40, 130]), &["[null,40,130]"]),
        (
            |c| layer(c, "InputLayer")["config"]["batch_shape"] = json!([null, 130, 128, 1]),
            &["(`dense`, Dense): weights of the shape [60, 7]"],
        ),
        (
            |c| layer(c, "InputLayer")["config"]["batch_shape"] = json!([null, null, null, 1]),
            &["[60, 7]; what comes before it asks for [5120, 7]"],
        ),
        (|c| c["class_name"] = json!("Functional"), &["without an input"]),
        (|c| c["class_name"] = json!("MyModel"), &["expected a Sequential or Functional model, got MyModel"]),
        (|c| c["config"]["layers"] = json!({}), &["expected a list of layers"]),
        (|c| c["config"]["layers"] = json!([]), &["configuration"]),
        (|c| c["config"]["layers"] = json!([1, 2]), &["layer 0 has no class"]),
        (
            |c| {
                c["config"]["layers"].as_array_mut().unwrap().pop();
            },
            &["expected Dense as the last layer"],
        ),
    ];
    for (change, expected) in cases {
        let error = error(&changed("flatten.keras", change));
        for part in *expected {
            assert!(error.contains(part), "{part:?} is not in: {error}");
        }
    }
}

#[test]
fn a_network_with_another_input_asks_for_its_parameters() {
    let model = KerasModel::read(&golden("flatten.keras")).unwrap();
    assert_eq!((model.input(), model.n_classes()), ([Some(16), Some(12)], 6));
    let error = model.into_file(Beside::default()).unwrap_err().to_string();
    assert!(
        error.contains("input has 16 mel bands, the front end makes 128; its parameters must be given"),
        "{error}"
    );
}

#[test]
fn a_network_that_branches_is_refused_where_it_does() {
    let branch = |change: fn(&mut Vec<Value>)| {
        error(&changed("mean.keras", |config| change(config["config"]["layers"].as_array_mut().unwrap())))
    };
    // Both convolutions take the input; the second normalisation takes two.
    let shared = branch(|layers| layers[5]["inbound_nodes"] = layers[1]["inbound_nodes"].clone());
    assert!(shared.contains("several layers take its output"), "{shared}");
    let merged = branch(|layers| {
        let other = layers[2]["inbound_nodes"][0].clone();
        layers[6]["inbound_nodes"].as_array_mut().unwrap().push(other);
    });
    assert!(merged.contains("only a plain chain"), "{merged}");
    let ring = branch(|layers| {
        let last = layers.len() - 1;
        let name = layers[last]["name"].clone();
        layers[1]["inbound_nodes"] = json!([[[name, 0, 0, {}]]]);
    });
    assert!(ring.contains("not connected to the input") || ring.contains("ring"), "{ring}");
}

#[test]
fn weights_that_are_missing_or_do_not_fit_are_named() {
    let config = |change: fn(&mut Value)| error(&changed("flatten.keras", change));
    let units = config(|c| layer(c, "Dense")["config"]["units"] = json!(8));
    assert!(
        units.contains("layer 13 (`dense`, Dense)")
            && units.contains("bias: expected the shape [8], got [7]"),
        "{units}"
    );
    let bias = config(|c| layer(c, "Conv2D")["config"]["use_bias"] = json!(false));
    assert!(bias.contains("expected the weights kernel, got `1`"), "{bias}");
    let scale = config(|c| layer(c, "BatchNormalization")["config"]["scale"] = json!(false));
    assert!(scale.contains("batch_normalization") && scale.contains("moving_variance"), "{scale}");
    let kernel = config(|c| layer(c, "Conv2D")["config"]["kernel_size"] = json!([5, 5]));
    assert!(kernel.contains("[3, 3, 1, 3]; expected [5, 5, .., 3]"), "{kernel}");
    // A layer more than the file has weights for.
    let missing = config(|c| {
        let layers = c["config"]["layers"].as_array_mut().unwrap();
        let dense = layers.last().unwrap().clone();
        layers.insert(layers.len() - 1, dense);
        let at = layers.len() - 2;
        layers[at]["config"]["activation"] = json!("relu");
    });
    assert!(
        missing.contains("`kernel` is missing from the file") || missing.contains("weights of the shape"),
        "{missing}"
    );
    // A layer less: what it had between its neighbours is missed.
    let less = config(|c| {
        c["config"]["layers"].as_array_mut().unwrap().remove(1);
    });
    assert!(less.contains("expected") && less.contains("conv2d"), "{less}");
}

/// Replaces the first float of this value in the weights.
fn with_weight(name: &str, from: f32, to: f32) -> Vec<u8> {
    let mut parts = parts(name);
    let (_, weights) = parts.iter_mut().find(|(name, _)| name.ends_with(".h5")).unwrap();
    let at = weights.windows(4).position(|bytes| bytes == from.to_le_bytes()).unwrap();
    weights[at..at + 4].copy_from_slice(&to.to_le_bytes());
    zip_of(&parts)
}

#[test]
fn weights_that_are_no_numbers_are_refused() {
    let file = KerasModel::read(&golden("reference.keras")).unwrap().into_file(Beside::default()).unwrap();
    let first = file.tensors["layers.0.weight"].data[0];
    for bad in [f32::NAN, f32::INFINITY] {
        let error = error(&with_weight("reference.keras", first, bad));
        assert!(error.contains("Conv2D") && error.contains("is not a finite number"), "{error}");
    }
}

#[test]
fn archives_that_are_none_are_refused() {
    for (bytes, expected) in [
        (b"".to_vec(), "expected a .keras archive or an HDF5 file"),
        (b"hello, world".to_vec(), "expected a .keras archive or an HDF5 file"),
        (b"PK\x03\x04 and no more".to_vec(), ""),
        (zip_of(&[("a.txt".into(), b"hello".to_vec())]), "a ZIP archive without `config.json`"),
        (zip_of(&parts("flatten.keras")[..2]), "a ZIP archive without `model.weights.h5`"),
        (
            zip_of(&[
                ("config.json".into(), b"{".to_vec()),
                ("metadata.json".into(), b"{}".to_vec()),
                ("model.weights.h5".into(), Vec::new()),
            ]),
            "configuration",
        ),
        (
            zip_of(&[("config.json".into(), b"{}".to_vec()), ("metadata.json".into(), b"[".to_vec())]),
            "`metadata.json`",
        ),
    ] {
        let error = error(&bytes);
        assert!(error.contains(expected), "{expected:?} is not in: {error}");
    }
    let missing = KerasModel::open("no-such-file.keras").unwrap_err().to_string();
    assert!(missing.starts_with("no-such-file.keras: "), "{missing}");
    let labels = KerasModel::open(golden_path("labels_text_4.pkl")).unwrap_err().to_string();
    assert!(labels.contains("labels_text_4.pkl: expected a .keras archive"), "{labels}");
}

#[test]
fn a_zip_bomb_is_given_up_early() {
    let bomb = |name: &str, n: usize| {
        let mut parts = parts("flatten.keras");
        let (_, content) = parts.iter_mut().find(|(other, _)| other == name).unwrap();
        content.resize(n, 0);
        zip_of(&parts)
    };
    let weights = bomb("model.weights.h5", 40 << 20);
    assert!(weights.len() < 1 << 20);
    assert!(error(&weights).contains("`model.weights.h5`: more than"), "{}", error(&weights));
    let config = bomb("config.json", 40 << 20);
    assert!(error(&config).contains("`config.json`: more than 4194304 bytes"), "{}", error(&config));
}

/// All goldens, cut and with bytes changed, in a fixed order: a model or an error.
#[test]
fn damaged_models_do_not_panic() {
    let mut state = 7u32;
    let mut next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize
    };
    for name in MODELS {
        let whole = golden(name);
        for step in 0..40 {
            drop(KerasModel::read(&whole[..whole.len() * step / 40]));
        }
        for round in 0..60 {
            let mut changed = whole.clone();
            for _ in 0..1 + round % 4 {
                let at = next() % whole.len();
                changed[at] ^= 1 << (next() % 8);
            }
            if let Ok(model) = KerasModel::read(&changed) {
                drop(model.into_file(Beside::default()));
            }
        }
    }
    // Within the archive, past its checksums.
    for part in ["config.json", "model.weights.h5"] {
        for round in 0..400 {
            let mut parts = parts("double.keras");
            let (_, content) = parts.iter_mut().find(|(name, _)| name == part).unwrap();
            for _ in 0..1 + round % 3 {
                let at = next() % content.len();
                content[at] = if next() % 2 == 0 { next() as u8 } else { content[at] ^ (1 << (next() % 8)) };
            }
            if let Ok(model) = KerasModel::read(&zip_of(&parts)) {
                drop(model.into_file(Beside::default()));
            }
        }
    }
}

/// A key, and the instructions for its value.
type Pair<'a> = (&'a str, &'a [u8]);

/// A pickle of protocol 2, of a dictionary.
fn dictionary(pairs: &[Pair<'_>]) -> Vec<u8> {
    let mut bytes = b"\x80\x02}(".to_vec();
    for (key, value) in pairs {
        bytes.extend(text(key));
        bytes.extend(*value);
    }
    bytes.extend(b"u.");
    bytes
}

fn text(text: &str) -> Vec<u8> {
    [b"X".as_slice(), &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

fn number(n: i32) -> Vec<u8> {
    [b"J".as_slice(), &n.to_le_bytes()].concat()
}

#[test]
fn parameters_are_honoured_or_refused_by_name() {
    let mono = text("slaney");
    let picture =
        |pairs: &[(&str, &[u8])]| Parameters::read(&dictionary(pairs))?.picture([Some(64), Some(94)]);
    let (n16000, n1024, n256, n64, n94, n24000) =
        (number(16_000), number(1_024), number(256), number(64), number(94), number(24_000));
    let good: Vec<Pair<'_>> = vec![
        ("Sample_Rate", &n16000),
        ("n_fft", &n1024),
        ("hop_length", &n256),
        ("n_mels", &n64),
        ("max_len", &n24000),
        ("fmin", b"N"),
        ("fmax", b"N"),
        ("center", b"\x88"),
        ("norm", &mono),
        ("batch_size", &n64),
    ];
    let found = picture(&good).unwrap();
    assert_eq!(found.values, Values::Unit);
    let front_end = found.front_end;
    assert_eq!((front_end.sample_rate_hz, front_end.n_fft, front_end.hop_length), (16_000, 1_024, 256));
    assert_eq!((front_end.n_mels, front_end.n_frames, front_end.fmax_hz), (64, 94, 8_000.0));

    let stft = text("stft");
    let cases: [(&[Pair<'_>], &str); 12] = [
        (&[("n_mfcc", &n64)], "parameter `n_mfcc`: 64 cannot be honoured"),
        (&[("sr", &n16000), ("SR", &n16000)], "`SR`"),
        (&[("sr", &n16000), ("sample_rate", &n16000)], "it stands there as `sr`, too"),
        (&[("sr", &stft)], "parameter `sr`: expected a number, got 'stft'"),
        (&[("sr", b"N")], "parameter `sr`: expected a number, got None"),
        (&[("offset", b"G\x3f\xe0\0\0\0\0\0\0")], "parameter `offset`: 0.5 cannot be honoured; expected 0"),
        (&[("top_db", &n64)], "parameter `top_db`: 64 cannot be honoured; expected 80"),
        (&[("n_mels", &n94)], "but the network's input has 64 bands"),
        (&[("n_mels", &n64), ("max_len", &n64)], "but the network's input has 94 frames"),
        (&[("n_mels", &n64), ("duration", &n64)], "parameter `duration`: 64 s make"),
        (
            &[("n_mels", &n64), ("hop_length", b"J\0\0\0\0"), ("duration", &n64)],
            "parameter `hop_length`: 0; expected",
        ),
        (&[("n_mels", &n64), ("sr", b"J\x01\0\0\0"), ("n_frames", &n94)], "sample_rate_hz"),
    ];
    for (pairs, expected) in cases {
        let error = picture(pairs).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected:?} is not in: {error}");
    }
    assert!(Parameters::read(b"\x80\x02].").unwrap_err().to_string().contains("expected a dictionary"));
}

#[test]
fn labels_come_in_several_forms_and_fit_the_network() {
    let list = |names: &[&str]| {
        let names: Vec<u8> = names.iter().flat_map(|name| text(name)).collect();
        [b"\x80\x02](".as_slice(), &names, b"e."].concat()
    };
    assert_eq!(Labels::read(&list(&["Calm", "fearful", "HAP"])).unwrap().names(), ["Calm", "fear", "happy"]);
    let by_name = dictionary(&[("sad", b"K\x01"), ("anger", b"K\x00")]);
    assert_eq!(Labels::read(&by_name).unwrap().names(), ["angry", "sad"]);
    for (bytes, expected) in [
        (b"\x80\x02N.".to_vec(), "expected a label encoder or a list of names, got None"),
        (b"\x80\x02]K\x01a.".to_vec(), "got the number 1"),
        (dictionary(&[("sad", b"K\x01"), ("angry", b"K\x02")]), "expected the indices 0 to 1, got 1, 2"),
    ] {
        let error = Labels::read(&bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected:?} is not in: {error}");
    }
    let with = |labels: &[&str]| {
        let labels = Some(Labels::new(labels.iter().map(|&label| label.to_owned()).collect()));
        KerasModel::read(&golden("reference.keras"))
            .unwrap()
            .into_file(Beside { labels, ..Beside::default() })
    };
    let few = with(&["a", "b"]).unwrap_err().to_string();
    assert!(few.contains("2 classes (a, b), but the network has 6 outputs"), "{few}");
    let twice = with(&["a", "b", "c", "d", "e", "a"]).unwrap_err().to_string();
    assert!(twice.contains("`a` stands twice"), "{twice}");
    let comma = with(&["a,b", "b", "c", "d", "e", "f"]).unwrap_err().to_string();
    assert!(comma.contains("\"a,b\" is no usable label"), "{comma}");
}

#[test]
fn the_values_of_the_picture_can_be_told() {
    let file = |values| {
        let beside = Beside { values: Some(values), ..Beside::default() };
        KerasModel::read(&golden("reference.keras")).unwrap().into_file(beside).unwrap()
    };
    let decibels = file(Values::Decibels);
    assert_eq!(decibels.tensors["layers.0.scale"].data, [80.0]);
    assert_eq!(decibels.tensors["layers.0.shift"].data, [-80.0]);
    assert_eq!(file(Values::Standardised).tensors.len(), file(Values::Unit).tensors.len());
}
