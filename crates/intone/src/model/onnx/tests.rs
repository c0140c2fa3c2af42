//! The file's structure. That ONNX Runtime gives the same answers is tested with the program (`tests/onnx.rs` there).

use std::collections::{BTreeMap, BTreeSet};

use super::proto::{GraphProto, TensorProto, ValueInfoProto};
use super::*;
use crate::model::{EncoderConfig, Tensor, VggConfig};
use crate::testing::uniform;

fn small_vgg() -> ModelFile {
    let config = VggConfig {
        channels: vec![5, 8],
        convs_per_block: vec![2, 1],
        dense: vec![7],
        n_mels: 12,
        n_frames: 17,
        n_classes: 3,
    };
    let mut tensors = Vec::new();
    for layer in crate::model::vgg::layers(&config) {
        let c = layer.shape[0];
        tensors.push((format!("{}.weight", layer.name), layer.shape));
        let parts: &[&str] =
            if layer.norm { &["norm.gamma", "norm.beta", "norm.mean", "norm.var"] } else { &["bias"] };
        tensors.extend(parts.iter().map(|part| (format!("{}.{part}", layer.name), vec![c])));
    }
    let front_end = FrontEnd { n_mels: 12, n_frames: 17, ..FrontEnd::reference() };
    file(Architecture::Vgg(config), front_end, tensors)
}

fn small_encoder() -> ModelFile {
    let config = EncoderConfig {
        n_mels: 12,
        n_frames: 9,
        width: 32,
        n_heads: 2,
        hidden: 64,
        pooled_layers: vec![0, 2],
        dense: vec![16],
        n_classes: 3,
        ..EncoderConfig::tiny(2)
    };
    let tensors = crate::model::encoder::tensors(&config);
    let front_end = FrontEnd { n_mels: 12, n_frames: 9, ..FrontEnd::whisper() };
    file(Architecture::Encoder(config), front_end, tensors)
}

/// Tensors of these shapes, with values in [0, 1).
fn file(architecture: Architecture, front_end: FrontEnd, tensors: Vec<(String, Vec<usize>)>) -> ModelFile {
    let mut next = uniform(4);
    let mut filled = BTreeMap::new();
    for (name, shape) in tensors {
        let data = (0..shape.iter().product()).map(|_| next()).collect();
        filled.insert(name, Tensor { shape, data });
    }
    let labels = ["angry", "neutral", "sad"].map(str::to_owned).to_vec();
    let mut meta = ModelMeta::new(architecture, front_end, labels);
    (meta.temperature, meta.uncertain_below) = (1.25, 0.5);
    meta.provenance.licence = "CC BY-NC-SA 4.0".to_owned();
    ModelFile::new(meta, filled)
}

fn decoded(file: ModelFile) -> ModelProto {
    ModelProto::decode(to_bytes(file).unwrap().as_slice()).unwrap()
}

fn shape(value: &ValueInfoProto) -> Vec<String> {
    let tensor = value.r#type.as_ref().unwrap().tensor_type.as_ref().unwrap();
    assert_eq!(tensor.elem_type, TensorProto::FLOAT);
    let lengths = tensor.shape.as_ref().unwrap().dim.iter().map(|dim| match dim.value.as_ref().unwrap() {
        Dimension::Value(n) => n.to_string(),
        Dimension::Param(name) => name.clone(),
    });
    lengths.collect()
}

/// Every value has one source before it is read, and nothing is written that nobody reads.
fn assert_sound(graph: &GraphProto) {
    let mut known: BTreeSet<&str> = BTreeSet::from([INPUT]);
    for array in &graph.initializer {
        assert!(known.insert(&array.name), "{} twice", array.name);
        let width = match array.data_type {
            TensorProto::FLOAT => 4,
            TensorProto::INT64 => 8,
            other => panic!("{}: number type {other}", array.name),
        };
        assert_eq!(array.raw_data.len() as i64, width * array.dims.iter().product::<i64>(), "{}", array.name);
    }
    let mut read: BTreeSet<&str> = BTreeSet::from([OUTPUT]);
    for node in &graph.node {
        for input in &node.input {
            assert!(known.contains(input.as_str()), "{} reads {input}, which is not there", node.name);
            read.insert(input);
        }
        for output in &node.output {
            assert!(known.insert(output), "{output} twice");
        }
    }
    assert_eq!(known, read, "each value has a reader");
}

#[test]
fn the_graph_is_sound_and_says_its_shapes() {
    let vgg = decoded(small_vgg());
    let encoder = decoded(small_encoder());
    for (model, frames) in [(&vgg, "17"), (&encoder, "frames")] {
        assert_eq!((model.ir_version, model.opset_import[0].version), (8, 17));
        assert_eq!(model.producer_name, "intone");
        let graph = model.graph.as_ref().unwrap();
        assert_sound(graph);
        let (input, output) = (&graph.input, &graph.output);
        assert_eq!((input.len(), input[0].name.as_str()), (1, INPUT));
        assert_eq!(shape(&input[0]), ["batch", "12", frames]);
        assert_eq!((output.len(), output[0].name.as_str()), (1, OUTPUT));
        assert_eq!(shape(&output[0]), ["batch", "3"]);
    }
    let n_of = |model: &ModelProto, op: &str| {
        model.graph.as_ref().unwrap().node.iter().filter(|node| node.op_type == op).count()
    };
    assert_eq!((n_of(&vgg, "Conv"), n_of(&vgg, "MaxPool"), n_of(&vgg, "Relu")), (3, 2, 4));
    assert_eq!(
        (n_of(&encoder, "Conv"), n_of(&encoder, "Erf"), n_of(&encoder, "LayerNormalization")),
        (2, 5, 7)
    );
}

#[test]
fn the_properties_are_the_metadata() {
    for file in [small_vgg(), small_encoder()] {
        let meta = file.meta.clone();
        let properties = decoded(file).metadata_props;
        let fields: serde_json::Map<_, _> = properties
            .into_iter()
            .map(|entry| (entry.key, serde_json::from_str(&entry.value).unwrap()))
            .collect();
        assert_eq!(fields["labels"], serde_json::json!(["angry", "neutral", "sad"]));
        assert_eq!((&fields["temperature"], &fields["uncertain_below"]), (&1.25.into(), &0.5.into()));
        let read: ModelMeta = serde_json::from_value(fields.into()).unwrap();
        assert_eq!(read, meta);
    }
}

#[test]
fn the_same_model_gives_the_same_bytes() {
    assert_eq!(to_bytes(small_encoder()).unwrap(), to_bytes(small_encoder()).unwrap());
}

#[test]
fn tensors_of_another_network_are_refused() {
    for file in [small_vgg(), small_encoder()] {
        let names: Vec<String> = file.tensors.keys().cloned().collect();
        for name in names {
            let mut without = file.clone();
            let mut tensor = without.tensors.remove(&name).unwrap();
            let error = to_bytes(without.clone()).unwrap_err().to_string();
            assert!(error.contains(&format!("`{name}` is missing")), "{error}");
            tensor.shape.push(1);
            without.tensors.insert(name.clone(), tensor);
            let error = to_bytes(without).unwrap_err().to_string();
            assert!(error.contains(&format!("`{name}`: expected shape")), "{error}");
        }
        let mut more = file;
        more.tensors.insert("more".to_owned(), Tensor { shape: vec![1], data: vec![0.0] });
        assert!(to_bytes(more).unwrap_err().to_string().contains("`more` is not part"));
    }
    let mut negative = small_vgg();
    negative.tensors.get_mut("dense.0.norm.var").unwrap().data[2] = -1.0;
    assert!(to_bytes(negative).unwrap_err().to_string().contains("dense.0.norm.var"));
}
