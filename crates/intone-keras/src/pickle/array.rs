//! numpy's arrays in a pickle.

use std::fmt;

use half::f16;

use super::Value;
use super::machine::{Id, Node};

/// The type of an element, as numpy codes it: a letter and a number of bytes, or, for text, of characters.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Dtype {
    code: String,
    big_endian: bool,
}

/// An array that was told what is in it.
#[derive(Debug, Clone)]
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    /// Whether the first index runs fastest.
    pub(super) fortran: bool,
    pub(super) items: Items,
}

/// What an array holds.
#[derive(Debug, Clone)]
pub(super) enum Items {
    /// Python's objects, in a list.
    Objects(Id),
    /// Values of a type, in bytes.
    Raw(Dtype, Id),
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.code)
    }
}

impl Dtype {
    pub(super) fn new(code: &str) -> Dtype {
        Dtype {
            code: code.trim_start_matches(['<', '>', '|', '=']).to_owned(),
            big_endian: code.starts_with('>'),
        }
    }

    /// With the order of bytes that its state names: `<`, `>`, or `|` for none.
    pub(super) fn in_order(self, order: &str) -> Dtype {
        Dtype { big_endian: order == ">", ..self }
    }

    /// The values that lie in these bytes; nothing for types that are not read.
    pub(super) fn values(&self, bytes: &[u8]) -> Option<Vec<Node>> {
        let letter = self.code.chars().next()?;
        let n: usize = self.code.get(letter.len_utf8()..)?.parse().ok()?;
        let n_bytes = if letter == 'U' { n.checked_mul(4)? } else { n };
        if n_bytes == 0 || !bytes.len().is_multiple_of(n_bytes) {
            return None;
        }
        bytes.chunks_exact(n_bytes).map(|bytes| self.value(letter, bytes)).collect()
    }

    fn value(&self, letter: char, bytes: &[u8]) -> Option<Node> {
        // Little-endian in eight bytes, the sign at the top.
        let number = |bytes: &[u8]| -> u64 {
            let step = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
            if self.big_endian { bytes.iter().fold(0, step) } else { bytes.iter().rev().fold(0, step) }
        };
        Some(match (letter, bytes.len()) {
            ('b', 1) => Node::Bool(bytes[0] != 0),
            ('i', n @ (1 | 2 | 4 | 8)) => {
                let shift = 64 - 8 * n as u32;
                Node::Int((number(bytes) << shift) as i64 >> shift)
            }
            ('u', 1 | 2 | 4 | 8) => Node::Int(i64::try_from(number(bytes)).ok()?),
            ('f', 2) => Node::Float(f16::from_bits(number(bytes) as u16).to_f64()),
            ('f', 4) => Node::Float(f32::from_bits(number(bytes) as u32).into()),
            ('f', 8) => Node::Float(f64::from_bits(number(bytes))),
            ('U', _) => {
                let text = bytes.chunks_exact(4).map(|bytes| char::from_u32(number(bytes) as u32));
                let text: String = text.collect::<Option<String>>()?;
                Node::Text(text.trim_end_matches('\0').to_owned())
            }
            ('S', _) => Node::Text(String::from_utf8(bytes.to_vec()).ok()?.trim_end_matches('\0').to_owned()),
            _ => return None,
        })
    }
}

/// A value that holds no others.
pub(super) fn plain(node: &Node) -> Value {
    match node {
        Node::Bool(value) => Value::Bool(*value),
        Node::Int(value) => Value::Int(*value),
        Node::Float(value) => Value::Float(*value),
        Node::Text(text) => Value::Text(text.clone()),
        _ => Value::None,
    }
}

/// How many lists [`nested`] makes within the outermost.
pub(super) fn n_rows(shape: &[usize]) -> usize {
    let outer = shape.split_last().map_or(&[][..], |(_, outer)| outer);
    let sum = outer.iter().fold((1usize, 0usize), |(n, sum), &side| {
        let n = n.saturating_mul(side);
        (n, sum.saturating_add(n))
    });
    sum.1
}

/// Items as lists in lists; nothing where they do not fill the shape, or lie in another order than their dimensions.
pub(super) fn nested(mut items: Vec<Value>, shape: &[usize], fortran: bool) -> Option<Value> {
    if shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)) != Some(items.len())
        || (fortran && shape.len() > 1)
    {
        return None;
    }
    for &side in shape.iter().skip(1).rev() {
        if side == 0 {
            return None;
        }
        let mut rest = items.into_iter();
        let mut rows = Vec::new();
        loop {
            let row: Vec<Value> = rest.by_ref().take(side).collect();
            if row.is_empty() {
                break;
            }
            rows.push(Value::List(row));
        }
        items = rows;
    }
    match (shape.len(), items.len()) {
        (0, 1) => items.pop(),
        _ => Some(Value::List(items)),
    }
}
