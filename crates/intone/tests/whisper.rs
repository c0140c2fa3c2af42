//! Whisper's front end against its reference implementation, and published weights that are not what they should be.
//! Golden values made by `reference/whisper_goldens.py`.

#![expect(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use intone::features::{Extractor, FrontEnd};
use intone::model::{ModelError, WhisperEncoder};
use intone::{Error, Result};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

/// Largest difference of any value; a value of 1 is 40 dB.
const TOLERANCE: f32 = 2e-5;

fn golden_bytes(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/goldens/{name}.safetensors", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn log_mel_equals_whispers() {
    let bytes = golden_bytes("whisper_features");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let extractor = Extractor::new(&FrontEnd::whisper()).unwrap();
    let mut n_signals = 0;
    for (name, samples) in file.tensors().iter().filter(|(name, _)| name.ends_with(".samples")) {
        let samples: Vec<f32> = samples
            .data()
            .as_chunks()
            .0
            .iter()
            .map(|&b| f32::from(i16::from_le_bytes(b)) / 32_768.0)
            .collect();
        let want = file.tensor(&name.replace(".samples", ".log_mel")).unwrap();
        let got = extractor.log_mel(&samples);
        assert_eq!(want.shape(), [got.n_mels(), got.n_frames()], "{name}");
        let want = want.data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b));
        let off = got.data().iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        println!("{name}: largest difference {off:.1e}");
        assert!(off <= TOLERANCE, "{name}: off by {off}");
        n_signals += 1;

        let front_end = extractor.front_end();
        let frames = extractor.frames(&samples);
        let mut window = vec![f32::NAN; frames.values().len()];
        frames.window(front_end, 0, &mut window).unwrap();
        assert_eq!(window, got.data(), "{name}: a short recording is one window, and not filled up");
    }
    assert_eq!(n_signals, 6);
}

/// What a published file holds: name, number type, shape, bytes.
type Published = Vec<(String, Dtype, Vec<usize>, Vec<u8>)>;

fn published() -> Published {
    let bytes = golden_bytes("whisper_encoder");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let all = file.tensors().into_iter().filter(|(name, _)| name.starts_with("model.encoder."));
    all.map(|(name, view)| (name, view.dtype(), view.shape().to_vec(), view.data().to_vec())).collect()
}

fn serialize(tensors: &Published) -> Vec<u8> {
    let view = |(name, dtype, shape, data): &(String, Dtype, Vec<usize>, Vec<u8>)| {
        (name.clone(), TensorView::new(*dtype, shape.clone(), Vec::leak(data.clone())).unwrap())
    };
    safetensors::serialize(tensors.iter().map(view), None).unwrap()
}

fn open(bytes: &[u8]) -> Result<WhisperEncoder> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    WhisperEncoder::open(file.path())
}

/// A variable of CTranslate2: name, shape, number type, bytes.
type Variable = (String, Vec<usize>, u8, Vec<u8>);

/// CTranslate2's number types.
const CT2_F32: u8 = 0;
const CT2_I8: u8 = 1;
const CT2_I16: u8 = 2;
const CT2_F16: u8 = 4;

/// CTranslate2's form of the same weights.
fn variables(tensors: &Published) -> Vec<Variable> {
    let find = |name: &str| tensors.iter().find(|(n, ..)| n == &format!("model.encoder.{name}")).unwrap();
    let mut variables: Vec<Variable> = vec![
        ("decoder/num_heads".into(), vec![], CT2_I16, vec![6, 0]),
        ("decoder/embeddings/weight".into(), vec![2, 2], CT2_F16, vec![0; 8]),
        ("encoder/num_heads".into(), vec![], CT2_I16, vec![2, 0]),
    ];
    let mut put = |ct2: String, names: &[&str]| {
        let data: Vec<u8> = names
            .iter()
            .flat_map(|name| match *name {
                "zeros" => vec![0; 2 * 128],
                name => find(name).3.clone(),
            })
            .collect();
        let mut shape = find(names[0]).2.clone();
        shape[0] *= names.len();
        variables.push((ct2, shape, CT2_F16, data));
    };
    for conv in ["conv1", "conv2"] {
        put(format!("encoder/{conv}/weight"), &[&format!("{conv}.weight")]);
        put(format!("encoder/{conv}/bias"), &[&format!("{conv}.bias")]);
    }
    for layer in 0..2 {
        let name = |part: &str| format!("layers.{layer}.{part}");
        let ct2 = |part: &str| format!("encoder/layer_{layer}/{part}");
        let qkv = ["q", "k", "v"].map(|part| name(&format!("self_attn.{part}_proj.weight")));
        put(ct2("self_attention/linear_0/weight"), &qkv.each_ref().map(String::as_str));
        put(
            ct2("self_attention/linear_0/bias"),
            &[&name("self_attn.q_proj.bias"), "zeros", &name("self_attn.v_proj.bias")],
        );
        for (to, from) in [
            ("self_attention/layer_norm/gamma", "self_attn_layer_norm.weight"),
            ("self_attention/layer_norm/beta", "self_attn_layer_norm.bias"),
            ("self_attention/linear_1/weight", "self_attn.out_proj.weight"),
            ("self_attention/linear_1/bias", "self_attn.out_proj.bias"),
            ("ffn/layer_norm/gamma", "final_layer_norm.weight"),
            ("ffn/layer_norm/beta", "final_layer_norm.bias"),
            ("ffn/linear_0/weight", "fc1.weight"),
            ("ffn/linear_0/bias", "fc1.bias"),
            ("ffn/linear_1/weight", "fc2.weight"),
            ("ffn/linear_1/bias", "fc2.bias"),
        ] {
            put(ct2(to), &[&name(from)]);
        }
    }
    put("encoder/layer_norm/gamma".into(), &["layer_norm.weight"]);
    put("encoder/layer_norm/beta".into(), &["layer_norm.bias"]);
    variables
}

/// A CTranslate2 file, written by the rules of the format.
fn ctranslate2(variables: &[Variable], specification: &str) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u16 + 1).to_le_bytes()[..], text.as_bytes(), &[0]].concat();
    let mut bytes = [&6u32.to_le_bytes()[..], &text(specification), &3u32.to_le_bytes()].concat();
    bytes.extend((variables.len() as u32).to_le_bytes());
    for (name, shape, dtype, data) in variables {
        bytes.extend(text(name));
        bytes.push(shape.len() as u8);
        shape.iter().for_each(|&d| bytes.extend((d as u32).to_le_bytes()));
        bytes.push(*dtype);
        bytes.extend((data.len() as u32).to_le_bytes());
        bytes.extend(data);
    }
    bytes.extend(0u32.to_le_bytes());
    bytes
}

fn halves(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&b| half::f16::from_le_bytes(b).to_f32()).collect()
}

fn float_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// The variables with weights in int8 as CTranslate2's `_quantize` makes them, and the numbers that these stand for.
fn quantised(variables: &[Variable]) -> (Vec<Variable>, Vec<Variable>) {
    let (mut small, mut exact) = (Vec::new(), Vec::new());
    for variable in variables {
        let (name, shape, _, data) = variable;
        if shape.len() < 2 || !name.ends_with("weight") {
            small.push(variable.clone());
            exact.push(variable.clone());
            continue;
        }
        let (mut values, mut scales, mut numbers) = (halves(data), Vec::new(), Vec::new());
        let n_row = values.len() / shape[0];
        for row in values.chunks_exact_mut(n_row) {
            let largest = row.iter().fold(0.0f32, |max, x| max.max(x.abs()));
            let scale = 127.0 / if largest == 0.0 { 127.0 } else { largest };
            scales.push(scale);
            for x in row {
                let number = (*x * scale).round_ties_even() as i8;
                assert!((f32::from(number) / scale - *x).abs() <= 0.501 / scale);
                numbers.push(number as u8);
                *x = f32::from(number) / scale;
            }
        }
        small.push((name.clone(), shape.clone(), CT2_I8, numbers));
        small.push((format!("{name}_scale"), vec![shape[0]], CT2_F32, float_bytes(&scales)));
        exact.push((name.clone(), shape.clone(), CT2_F32, float_bytes(&values)));
    }
    (small, exact)
}

#[test]
fn weights_in_int8_are_what_they_stand_for() {
    let (mut small, exact) = quantised(&variables(&published()));
    let expected = open(&ctranslate2(&exact, "WhisperSpec")).unwrap();
    assert_eq!(open(&ctranslate2(&small, "WhisperSpec")).unwrap(), expected);
    // Scales may stand anywhere.
    small.reverse();
    assert_eq!(open(&ctranslate2(&small, "WhisperSpec")).unwrap(), expected);

    let refused = |change: &dyn Fn(&mut Variable), expected: &str| {
        let mut variables = small.clone();
        let scale = |variable: &&mut Variable| variable.0 == "encoder/layer_1/ffn/linear_0/weight_scale";
        change(variables.iter_mut().find(scale).unwrap());
        let error = open(&ctranslate2(&variables, "WhisperSpec")).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    };
    let name = "`encoder/layer_1/ffn/linear_0/weight_scale`";
    refused(&|variable| variable.0 += "s", &format!("{name} is missing"));
    refused(
        &|variable| (variable.1, variable.3) = (vec![95], vec![0; 4 * 95]),
        &format!("{name}: expected shape [96], got [95]"),
    );
    for (scale, shown) in [(0.0f32, "0"), (-1.0, "-1"), (f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        refused(
            &|variable| variable.3[8..12].copy_from_slice(&scale.to_le_bytes()),
            &format!("{name}: scale 2 is {shown}; expected a positive number"),
        );
    }
    refused(
        &|variable| (variable.0, variable.2, variable.3) = ("encoder/x".into(), CT2_I16, vec![0; 2 * 96]),
        "`encoder/x` holds I16; expected F32, F16, BF16 or I8",
    );
    refused(
        &|variable| (variable.0, variable.2) = ("encoder/x".into(), 9),
        "`encoder/x` holds number type 9; expected F32, F16, BF16 or I8",
    );
}

#[test]
fn both_published_formats_give_the_same_encoder_with_or_without_a_decoder() {
    let tensors = published();
    let encoder = open(&serialize(&tensors)).unwrap();
    assert_eq!(
        (encoder.n_mels, encoder.width, encoder.n_heads, encoder.hidden, encoder.n_blocks),
        (80, 128, 2, 96, 2)
    );
    assert_eq!(open(&ctranslate2(&variables(&tensors), "WhisperSpec")).unwrap(), encoder);

    let mut with_decoder = tensors.clone();
    with_decoder.push(("model.decoder.layers.0.fc1.weight".into(), Dtype::F64, vec![2], vec![0; 16]));
    with_decoder.push(("proj_out.weight".into(), Dtype::F32, vec![1], vec![0; 4]));
    assert_eq!(open(&serialize(&with_decoder)).unwrap(), encoder);

    // What is written is read again, bit for bit, in half precision and in single.
    for nudge in [0.0, 1e-6] {
        let mut encoder = encoder.clone();
        encoder.tensors.get_mut("conv1.weight").unwrap().data[7] += nudge;
        let file = tempfile::NamedTempFile::new().unwrap();
        encoder.write(file.path()).unwrap();
        assert_eq!(WhisperEncoder::open(file.path()).unwrap(), encoder);
    }
}

#[test]
fn files_that_are_no_whisper_encoder_are_refused_with_the_tensors_name() {
    let tensors = published();
    let changed = |change: &dyn Fn(&mut Published)| {
        let mut tensors = tensors.clone();
        change(&mut tensors);
        serialize(&tensors)
    };
    let rename = |from: &'static str, to: &'static str| {
        move |tensors: &mut Published| {
            let tensor = tensors.iter_mut().find(|(name, ..)| name == &format!("model.encoder.{from}"));
            tensor.unwrap().0 = to.to_owned();
        }
    };
    let reshape = |name: &'static str, shape: &'static [usize]| {
        move |tensors: &mut Published| {
            let tensor = tensors.iter_mut().find(|(n, ..)| n == &format!("model.encoder.{name}")).unwrap();
            tensor.3.resize(2 * shape.iter().product::<usize>(), 0);
            tensor.2 = shape.to_vec();
        }
    };
    let whole = serialize(&tensors);
    let with_decoder = changed(&|tensors| {
        tensors.push(("proj_out.weight".into(), Dtype::F16, vec![4], vec![0; 8]));
    });
    let ct2 = ctranslate2(&variables(&tensors), "WhisperSpec");
    let twice = ["a", "b"]
        .map(|name| format!(r#""model.encoder.{name}":{{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#));
    let twice = format!("{{{}}}", twice.join(","));
    let twice = [&(twice.len() as u64).to_le_bytes()[..], twice.as_bytes(), &[0; 8]].concat();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("two tensors in one place", twice, "lies where other tensors do"),
        ("empty", vec![], "only 0 bytes"),
        ("text", b"not a model, whatever the name says".to_vec(), "header claims"),
        ("cut in the header", whole[..100].to_vec(), "bytes, but there are"),
        (
            "truncated",
            whole[..whole.len() - 9].to_vec(),
            "cut short in tensor `model.encoder.layers.1.self_attn_layer_norm.weight`: it reaches to",
        ),
        (
            "truncated in the decoder",
            with_decoder[..with_decoder.len() - 1].to_vec(),
            "cut short in tensor `proj_out.weight`: it reaches to",
        ),
        (
            "truncated CTranslate2",
            ct2[..ct2.len() - 6].to_vec(),
            "cut short in tensor `encoder/layer_norm/beta`: it reaches to",
        ),
        (
            "CTranslate2, cut in the decoder",
            ct2[..100].to_vec(),
            "cut short in tensor `decoder/embeddings/weight`: it reaches to 104 bytes, but there are 100",
        ),
        ("CTranslate2, cut in a name", ct2[..44].to_vec(), "cut short in tensor `number 1 of 33`"),
        ("CTranslate2, cut in its head", ct2[..20].to_vec(), "bytes, but there are 20"),
        (
            "CTranslate2 of something else",
            ctranslate2(&variables(&tensors), "TransformerSpec"),
            "a CTranslate2 model of 'TransformerSpec'; expected 'WhisperSpec'",
        ),
        ("CTranslate2 of another name of this length", ctranslate2(&[], "WhisperSpek"), "'WhisperSpek'"),
        ("an empty CTranslate2", ctranslate2(&[], "WhisperSpec"), "`encoder/conv1/weight` is missing"),
        (
            "the last block without the tensor that blocks were counted by",
            changed(&rename("layers.1.fc1.weight", "model.decoder.x")),
            "`model.encoder.layers.1.fc1.weight` is missing",
        ),
        (
            "no first block",
            changed(&rename("layers.0.fc1.bias", "model.decoder.x")),
            "`model.encoder.layers.0.fc1.bias` is missing",
        ),
        (
            "far too many blocks",
            changed(&rename("layer_norm.weight", "model.encoder.layers.18446744073709551615.x")),
            "`model.encoder.layers.18446744073709551615.x`: expected n_blocks to be 1 to 64, got [128]",
        ),
        (
            "a convolution of rank 2",
            changed(&reshape("conv1.weight", &[128, 240])),
            "`model.encoder.conv1.weight`: expected rank 3, [width, n_mels, 3], got [128, 240]",
        ),
        (
            "a bias of rank 2",
            changed(&reshape("layers.0.fc1.bias", &[1, 96])),
            "`model.encoder.layers.0.fc1.bias`: expected rank 1, [hidden], got [1, 96]",
        ),
        (
            "a transposed convolution",
            changed(&reshape("conv1.weight", &[80, 128, 3])),
            "`model.encoder.conv1.weight`: expected [128, n_mels, 3], got [80, 128, 3]",
        ),
        (
            "a width that the kernels do not take",
            changed(&|tensors| {
                reshape("conv1.weight", &[80, 384, 3])(tensors);
                reshape("conv1.bias", &[80])(tensors);
            }),
            "`model.encoder.conv1.weight`: expected width to be a multiple of 32, got [80, 384, 3]",
        ),
        (
            "a perceptron that the kernels do not take",
            changed(&reshape("layers.0.fc1.bias", &[97])),
            "`model.encoder.layers.0.fc1.bias`: expected hidden to be a multiple of 32, got [97]",
        ),
        (
            "a transposed perceptron",
            changed(&reshape("layers.0.fc1.weight", &[128, 96])),
            "`model.encoder.layers.0.fc1.weight`: expected shape [96, 128], got [128, 96]",
        ),
        (
            "a missing tensor",
            changed(&rename("layers.1.fc2.weight", "model.decoder.x")),
            "`model.encoder.layers.1.fc2.weight` is missing",
        ),
        (
            "an extra tensor",
            changed(&rename("layer_norm.weight", "model.encoder.layers.0.extra")),
            "`model.encoder.layers.0.extra`",
        ),
        (
            "another architecture",
            changed(&rename("layer_norm.weight", "wav2vec2.masked_spec_embed")),
            "`wav2vec2.masked",
        ),
        (
            "a decoder only",
            {
                serialize(&vec![(
                    "model.decoder.layers.0.fc1.weight".into(),
                    Dtype::F16,
                    vec![1],
                    vec![0; 2],
                )])
            },
            "`model.encoder.conv1.weight` is missing",
        ),
        (
            "another shape",
            changed(&|tensors| {
                let tensor =
                    tensors.iter_mut().find(|(name, ..)| name.ends_with("layers.0.fc2.weight")).unwrap();
                tensor.2.reverse();
            }),
            "`model.encoder.layers.0.fc2.weight`: expected shape [128, 96], got [96, 128]",
        ),
        (
            "double precision",
            changed(&|tensors| {
                let tensor = tensors.iter_mut().find(|(name, ..)| name.ends_with("conv1.bias")).unwrap();
                (tensor.1, tensor.3) = (Dtype::F64, vec![0; 8 * 128]);
            }),
            "`model.encoder.conv1.bias` holds F64; expected F32, F16 or BF16",
        ),
        (
            "a weight that is no number",
            changed(&|tensors| {
                let tensor = tensors.iter_mut().find(|(name, ..)| name.ends_with("conv2.bias")).unwrap();
                tensor.3[6..8].copy_from_slice(&[0, 0x7e]);
            }),
            "`model.encoder.conv2.bias`: element 3 is not a finite number",
        ),
    ];
    let short_names: Published = tensors
        .iter()
        .map(|(name, dtype, shape, data)| (name.replace("model.", ""), *dtype, shape.clone(), data.clone()))
        .filter(|(name, ..)| name != "encoder.layers.1.fc2.bias")
        .collect();
    let ct2_changed = |change: &dyn Fn(&mut Variable)| {
        let mut variables = variables(&tensors);
        variables.iter_mut().for_each(change);
        ctranslate2(&variables, "WhisperSpec")
    };
    let ct2_renamed = |from: &'static str, to: &'static str| {
        ct2_changed(&|(name, ..)| {
            if name == from {
                *name = to.to_owned();
            }
        })
    };
    let ct2_reversed = |reversed: &'static str| {
        ct2_changed(&|(name, shape, ..)| {
            if name == reversed {
                shape.reverse();
            }
        })
    };
    let of_ct2 = [
        (
            "encoder/layer_1/ffn/layer_norm/gamma",
            ct2_renamed("encoder/layer_1/ffn/layer_norm/gamma", "decoder/x"),
            "is missing",
        ),
        (
            "encoder/layer_0/self_attention/linear_1/bias",
            ct2_renamed("encoder/layer_0/self_attention/linear_1/bias", "decoder/x"),
            "is missing",
        ),
        (
            "encoder/layer_1/self_attention/linear_0/weight (q_proj)",
            ct2_renamed("encoder/layer_1/self_attention/linear_0/weight", "decoder/x"),
            "is missing",
        ),
        ("encoder/conv2/bias", ct2_renamed("encoder/conv2/bias", "decoder/x"), "is missing"),
        (
            "encoder/layer_0/extra/weight",
            ct2_renamed("encoder/layer_norm/beta", "encoder/layer_0/extra/weight"),
            "is not part of the architecture",
        ),
        (
            "encoder/layer_1/ffn/linear_1/weight",
            ct2_reversed("encoder/layer_1/ffn/linear_1/weight"),
            "expected shape [128, 96], got [96, 128]",
        ),
    ];
    for (tensor, bytes, expected) in of_ct2 {
        let error = open(&bytes).expect_err(tensor).to_string();
        assert!(
            error.contains(&format!("tensor `{tensor}`")) && error.contains(expected),
            "{tensor}: {error}"
        );
    }
    let cases = cases.into_iter().chain([(
        "a missing tensor among short names",
        serialize(&short_names),
        "tensor `encoder.layers.1.fc2.bias` is missing",
    )]);
    for (what, bytes, expected) in cases {
        let error = open(&bytes).expect_err(what);
        let Error::InFile { .. } = &error else { panic!("{what}: no path in {error:?}") };
        assert!(error.to_string().contains(expected), "{what}: {error}");
    }
    let error = open(&whole[..5]).unwrap_err();
    assert!(
        matches!(&error, Error::InFile { error, .. } if matches!(**error, Error::Model(ModelError::TooShort { actual: 5 })))
    );
}
