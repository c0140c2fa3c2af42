//! A graph that is being written: nodes in the order of computation, and the arrays that they read.

use super::proto::{
    AttributeProto, Dimension, DimensionProto, GraphProto, NodeProto, TensorProto, TensorShapeProto,
    TensorTypeProto, TypeProto, ValueInfoProto,
};

/// Nodes and arrays. A value is known by its name, which is that of the node or array it comes from.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: Vec<NodeProto>,
    arrays: Vec<TensorProto>,
}

impl Graph {
    /// The value that the operator `op` makes of these.
    pub(super) fn node(
        &mut self,
        op: &str,
        name: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> String {
        self.node_of_many(op, name, inputs, attributes, &[name]);
        name.to_owned()
    }

    /// The same, where the operator gives several values.
    pub(super) fn node_of_many(
        &mut self,
        op: &str,
        name: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
        outputs: &[&str],
    ) {
        self.nodes.push(NodeProto {
            input: inputs.iter().map(ToString::to_string).collect(),
            output: outputs.iter().map(ToString::to_string).collect(),
            name: name.to_owned(),
            op_type: op.to_owned(),
            attribute: attributes,
        });
    }

    /// An array of numbers.
    pub(super) fn floats(&mut self, name: &str, shape: &[usize], data: &[f32]) -> String {
        let bytes = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.array(name, shape, TensorProto::FLOAT, bytes)
    }

    /// One number.
    pub(super) fn float(&mut self, name: &str, value: f32) -> String {
        self.floats(name, &[], &[value])
    }

    /// A list of lengths or axes.
    pub(super) fn ints(&mut self, name: &str, data: &[i64]) -> String {
        let bytes = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.array(name, &[data.len()], TensorProto::INT64, bytes)
    }

    fn array(&mut self, name: &str, shape: &[usize], data_type: i32, raw_data: Vec<u8>) -> String {
        let dims = shape.iter().map(|&n| n as i64).collect();
        self.arrays.push(TensorProto { dims, data_type, name: name.to_owned(), raw_data });
        name.to_owned()
    }

    /// `x W + bias` of the last axis; `weight` `[c_out, c_in]`.
    pub(super) fn linear(
        &mut self,
        name: &str,
        x: &str,
        weight: &[f32],
        c_in: usize,
        bias: Option<&[f32]>,
    ) -> String {
        let c_out = weight.len() / c_in;
        let across: Vec<f32> = (0..weight.len()).map(|i| weight[i % c_out * c_in + i / c_out]).collect();
        let weight = self.floats(&format!("{name}.weight"), &[c_in, c_out], &across);
        let product = self.node("MatMul", &format!("{name}/product"), &[x, &weight], vec![]);
        let Some(bias) = bias else { return product };
        let bias = self.floats(&format!("{name}.bias"), &[c_out], bias);
        self.node("Add", &format!("{name}/sum"), &[&product, &bias], vec![])
    }

    /// Windows `[batch, height, width]` as pictures of one channel, `[batch, 1, height, width]`.
    pub(super) fn picture(&mut self, x: &str) -> String {
        let axis = self.ints("channel_axis", &[1]);
        self.node("Unsqueeze", "picture", &[x, &axis], vec![])
    }

    /// Pictures `[batch, channels, height, width]` as rows, in the order (mel, frame, channel).
    pub(super) fn flat(&mut self, x: &str) -> String {
        let turned = self.node("Transpose", "channels_last", &[x], vec![ints("perm", &[0, 2, 3, 1])]);
        self.node("Flatten", "flat", &[&turned], vec![int("axis", 1)])
    }

    /// Closes the graph.
    pub(super) fn finish(self, input: ValueInfoProto, output: ValueInfoProto) -> GraphProto {
        GraphProto {
            node: self.nodes,
            name: "intone".to_owned(),
            initializer: self.arrays,
            input: vec![input],
            output: vec![output],
        }
    }
}

/// A whole number for an operator.
pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    let (name, kind) = (name.to_owned(), AttributeProto::INT);
    AttributeProto { name, i: Some(value), kind, ..AttributeProto::default() }
}

/// Whole numbers for an operator.
pub(super) fn ints(name: &str, values: &[i64]) -> AttributeProto {
    let (name, kind) = (name.to_owned(), AttributeProto::INTS);
    AttributeProto { name, ints: values.to_vec(), kind, ..AttributeProto::default() }
}

/// A number for an operator.
pub(super) fn float(name: &str, value: f32) -> AttributeProto {
    let (name, kind) = (name.to_owned(), AttributeProto::FLOAT);
    AttributeProto { name, f: Some(value), kind, ..AttributeProto::default() }
}

/// What goes into the graph or comes out of it: float32 of this shape.
pub(super) fn value(name: &str, shape: Vec<Dimension>, doc: &str) -> ValueInfoProto {
    let dim = shape.into_iter().map(|value| DimensionProto { value: Some(value) }).collect();
    let shape = Some(TensorShapeProto { dim });
    let tensor_type = Some(TensorTypeProto { elem_type: TensorProto::FLOAT, shape });
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto { tensor_type }),
        doc_string: doc.to_owned(),
    }
}
