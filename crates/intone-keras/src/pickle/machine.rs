//! The stack machine that a pickle is a program for, without anything that it could call.

use std::collections::HashMap;

use super::array::{self, Array, Dtype, Items};
use super::{MAX_DEPTH, MAX_VALUES, NAMES, Name, Value, refuse};
use crate::error::Result;

/// The most arguments of a call that are looked at; numpy has four.
const MAX_ARGUMENTS: usize = 8;

/// The most sides of an array; numpy's own limit was 32 for long, and is 64 now.
const MAX_SIDES: usize = 64;

/// The most bytes in one call that makes others of them. numpy's single values have 16.
const MAX_ENCODED: usize = 4_096;

/// The most bytes of all that a pickle makes while it runs. What it drops is not freed, and counts like what it keeps; a call
/// counts what it is given, too. As many values as are spread out take less than ten MiB.
const MAX_MADE: usize = 16 << 20;

/// The longest code of a numpy type.
const MAX_CODE: usize = 16;

/// A value by its place in [`Machine::nodes`].
pub(super) type Id = usize;

#[derive(Debug, Clone)]
pub(super) enum Node {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Name(Name),
    /// numpy's type of an element.
    Dtype(Dtype),
    /// A numpy array, once it was told what is in it.
    Array(Option<Array>),
    /// A label encoder, once it was told its attributes.
    LabelEncoder(Option<Id>),
}

impl Node {
    /// Bytes that lie outside of the node.
    fn n_bytes(&self) -> usize {
        match self {
            Node::Text(text) => text.len(),
            Node::Bytes(bytes) => bytes.len(),
            Node::List(items) => size_of_val(items.as_slice()),
            Node::Array(Some(array)) => size_of_val(array.shape.as_slice()),
            _ => 0,
        }
    }
}

pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// What is left of [`MAX_MADE`].
    n_left: usize,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Machine<'a> {
        Machine {
            bytes,
            at: 0,
            nodes: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            n_left: MAX_MADE,
        }
    }

    fn refuse<T>(&self, what: impl Into<String>) -> Result<T> {
        refuse(self.at, what)
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        match self.bytes[self.at..].get(..n) {
            Some(bytes) => {
                self.at += n;
                Ok(bytes)
            }
            None => self.refuse(format!("it ends where {n} more bytes are expected")),
        }
    }

    /// A little-endian number of `n` bytes, at most 8.
    fn number(&mut self, n: usize) -> Result<u64> {
        Ok(self.take(n)?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// As many bytes as a length of `n` bytes says.
    fn counted(&mut self, n: usize) -> Result<&'a [u8]> {
        let n = usize::try_from(self.number(n)?).unwrap_or(usize::MAX);
        self.take(n)
    }

    fn text(&mut self, n: usize) -> Result<Node> {
        match std::str::from_utf8(self.counted(n)?) {
            Ok(text) => Ok(Node::Text(text.to_owned())),
            Err(error) => self.refuse(format!("a string that is no UTF-8: {error}")),
        }
    }

    fn line(&mut self) -> Result<&'a str> {
        let rest = &self.bytes[self.at..];
        let Some(n) = rest.iter().position(|&byte| byte == b'\n') else {
            return self.refuse("it ends within a name");
        };
        self.at += n + 1;
        match std::str::from_utf8(&rest[..n]) {
            Ok(line) => Ok(line),
            Err(_) => self.refuse("a name that is no UTF-8"),
        }
    }

    /// A two's complement number of any length.
    fn long(&mut self, n: usize) -> Result<Node> {
        let bytes = self.counted(n)?;
        if bytes.len() > 8 {
            return self.refuse(format!("an int of {} bytes; expected at most 8", bytes.len()));
        }
        let shift = 64 - 8 * bytes.len() as u32;
        let number = bytes.iter().rev().fold(0u64, |number, &byte| number << 8 | u64::from(byte));
        Ok(Node::Int(number.checked_shl(shift).unwrap_or(0) as i64 >> shift.min(63)))
    }

    /// Takes bytes from what is left for values.
    fn spend(&mut self, n_bytes: usize) -> Result<()> {
        match self.n_left.checked_sub(n_bytes) {
            Some(left) => self.n_left = left,
            None => return self.refuse(format!("its values take more than {MAX_MADE} bytes")),
        }
        Ok(())
    }

    fn push(&mut self, node: Node) -> Result<()> {
        self.spend(size_of::<Node>() + node.n_bytes())?;
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
        Ok(())
    }

    fn pop(&mut self) -> Result<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return self.refuse("a value is taken from an empty stack");
        }
        self.stack.pop().map_or_else(|| self.refuse("a value is taken from an empty stack"), Ok)
    }

    fn top(&self) -> Result<Id> {
        match self.stack.last() {
            Some(&id) => Ok(id),
            None => self.refuse("a value is expected on an empty stack"),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>> {
        match self.marks.pop() {
            Some(height) if height <= self.stack.len() => Ok(self.stack.split_off(height)),
            _ => self.refuse("values are taken up to a mark that is not there"),
        }
    }

    fn tuple(&mut self, n: usize) -> Result<()> {
        let mut items = (0..n).map(|_| self.pop()).collect::<Result<Vec<Id>>>()?;
        items.reverse();
        self.push(Node::List(items))
    }

    fn append(&mut self, items: Vec<Id>) -> Result<()> {
        self.spend(size_of_val(items.as_slice()))?;
        let list = self.top()?;
        match &mut self.nodes[list] {
            Node::List(list) => list.extend(items),
            _ => return self.refuse("values are appended to something that is no list"),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[Id]) -> Result<()> {
        self.spend(size_of_val(items))?;
        let dict = self.top()?;
        let (pairs, rest) = items.as_chunks::<2>();
        match &mut self.nodes[dict] {
            Node::Dict(dict) if rest.is_empty() => {
                dict.extend(pairs.iter().map(|[key, value]| (*key, *value)))
            }
            _ => return self.refuse("pairs are put into something that is no dictionary, or are no pairs"),
        }
        Ok(())
    }

    fn remember(&mut self, index: u32) -> Result<()> {
        // A table is up to half empty.
        self.spend(2 * size_of::<(u32, Id)>())?;
        let id = self.top()?;
        self.memo.insert(index, id);
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Result<()> {
        match self.memo.get(&index) {
            Some(&id) => self.stack.push(id),
            None => return self.refuse(format!("the value {index} is recalled, which was not remembered")),
        }
        Ok(())
    }

    fn name(&mut self, module: &str, name: &str) -> Result<()> {
        let known = NAMES.iter().find(|known| (known.0, known.1) == (module, name));
        let Some((_, _, known)) = known else {
            return self.refuse(format!(
                "it asks for `{module}.{name}`; only plain data, numpy arrays and scikit-learn's LabelEncoder are read, and \
                 nothing is executed",
            ));
        };
        self.push(Node::Name(*known))
    }

    /// Runs up to the end of the pickle; its value.
    pub(super) fn run(&mut self) -> Result<Id> {
        loop {
            let start = self.at;
            match self.take(1)?[0] {
                // PROTO
                0x80 => {
                    let protocol = self.number(1)?;
                    if !(2..=5).contains(&protocol) {
                        return self.refuse(format!("protocol {protocol}; expected 2 to 5"));
                    }
                }
                // FRAME: nothing but its length
                0x95 => drop(self.take(8)?),
                // STOP
                b'.' => return self.pop(),
                b'N' => self.push(Node::None)?,
                0x88 => self.push(Node::Bool(true))?,
                0x89 => self.push(Node::Bool(false))?,
                // BININT, BININT1, BININT2, LONG1, LONG4
                b'J' => {
                    let number = self.number(4)? as u32 as i32;
                    self.push(Node::Int(number.into()))?;
                }
                b'K' => self.integer(1)?,
                b'M' => self.integer(2)?,
                0x8a => {
                    let long = self.long(1)?;
                    self.push(long)?;
                }
                0x8b => {
                    let long = self.long(4)?;
                    self.push(long)?;
                }
                // BINFLOAT: big-endian
                b'G' => {
                    let bits = self.number(8)?.swap_bytes();
                    self.push(Node::Float(f64::from_bits(bits)))?;
                }
                // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
                0x8c => self.string(1)?,
                b'X' => self.string(4)?,
                0x8d => self.string(8)?,
                // SHORT_BINBYTES, BINBYTES, BINBYTES8, BYTEARRAY8
                b'C' => self.raw(1)?,
                b'B' => self.raw(4)?,
                0x8e | 0x96 => self.raw(8)?,
                // EMPTY_LIST, EMPTY_TUPLE, EMPTY_SET
                b']' | b')' | 0x8f => self.push(Node::List(Vec::new()))?,
                b'}' => self.push(Node::Dict(Vec::new()))?,
                // MARK, POP, POP_MARK, DUP
                b'(' => self.marks.push(self.stack.len()),
                b'0' => drop(self.pop()?),
                b'1' => drop(self.pop_to_mark()?),
                b'2' => {
                    let top = self.top()?;
                    self.stack.push(top);
                }
                // APPEND, APPENDS, ADDITEMS
                b'a' => {
                    let item = self.pop()?;
                    self.append(vec![item])?;
                }
                b'e' | 0x90 => {
                    let items = self.pop_to_mark()?;
                    self.append(items)?;
                }
                // SETITEM, SETITEMS
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set_items(&[key, value])?;
                }
                b'u' => {
                    let items = self.pop_to_mark()?;
                    self.set_items(&items)?;
                }
                // TUPLE, TUPLE1 to TUPLE3, FROZENSET
                b't' | 0x91 => {
                    let items = self.pop_to_mark()?;
                    self.push(Node::List(items))?;
                }
                0x85 => self.tuple(1)?,
                0x86 => self.tuple(2)?,
                0x87 => self.tuple(3)?,
                // BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET
                b'q' => {
                    let index = self.number(1)? as u32;
                    self.remember(index)?;
                }
                b'r' => {
                    let index = self.number(4)? as u32;
                    self.remember(index)?;
                }
                0x94 => self.remember(self.memo.len() as u32)?,
                b'h' => {
                    let index = self.number(1)? as u32;
                    self.recall(index)?;
                }
                b'j' => {
                    let index = self.number(4)? as u32;
                    self.recall(index)?;
                }
                // GLOBAL, STACK_GLOBAL
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.name(module, name)?;
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    match (&self.nodes[module], &self.nodes[name]) {
                        (Node::Text(module), Node::Text(name)) => {
                            let (module, name) = (module.clone(), name.clone());
                            self.name(&module, &name)?;
                        }
                        _ => return self.refuse("it asks for something by a name that is no string"),
                    }
                }
                // REDUCE, NEWOBJ, BUILD
                b'R' | 0x81 => {
                    let (arguments, callee) = (self.pop()?, self.pop()?);
                    self.spend(self.n_bytes_of(self.items(arguments)?))?;
                    let node = self.reduce(callee, arguments)?;
                    self.push(node)?;
                }
                b'b' => {
                    let state = self.pop()?;
                    if let Node::List(parts) = &self.nodes[state] {
                        self.spend(self.n_bytes_of(parts))?;
                    }
                    self.build(state)?;
                }
                other => {
                    self.at = start;
                    return self.refuse(format!(
                        "instruction {other:#04x} ({}); expected plain data in a protocol from 2 to 5",
                        char::from(other).escape_default()
                    ));
                }
            }
        }
    }

    fn integer(&mut self, n: usize) -> Result<()> {
        let number = self.number(n)?;
        self.push(Node::Int(number as i64))
    }

    fn string(&mut self, n: usize) -> Result<()> {
        let text = self.text(n)?;
        self.push(text)
    }

    fn raw(&mut self, n: usize) -> Result<()> {
        let bytes = self.counted(n)?.to_vec();
        self.push(Node::Bytes(bytes))
    }

    /// The items of a list or tuple.
    fn items(&self, id: Id) -> Result<&[Id]> {
        match &self.nodes[id] {
            Node::List(items) => Ok(items),
            _ => self.refuse("arguments that are no tuple"),
        }
    }

    /// Bytes of the arguments that a call looks at.
    fn n_bytes_of(&self, arguments: &[Id]) -> usize {
        arguments.iter().take(MAX_ARGUMENTS).map(|&id| self.nodes[id].n_bytes()).sum()
    }

    /// What a call would have given, of the few that stand for data.
    fn reduce(&self, callee: Id, arguments: Id) -> Result<Node> {
        let ids = self.items(arguments)?;
        let arguments: Vec<&Node> = ids.iter().take(MAX_ARGUMENTS).map(|&id| &self.nodes[id]).collect();
        let Node::Name(name) = self.nodes[callee] else {
            return self.refuse("a call of something that is no name");
        };
        match (name, arguments.as_slice()) {
            (Name::Encode, [Node::Text(text), Node::Text(encoding)])
                if encoding == "latin1" && text.len() <= MAX_ENCODED =>
            {
                match text.chars().map(|c| u8::try_from(c as u32)).collect::<Result<Vec<u8>, _>>() {
                    Ok(bytes) => Ok(Node::Bytes(bytes)),
                    Err(_) => self.refuse("bytes with a value above 255"),
                }
            }
            (Name::Bytes, []) => Ok(Node::Bytes(Vec::new())),
            (Name::OrderedDict, []) => Ok(Node::Dict(Vec::new())),
            (Name::LabelEncoder, []) => Ok(Node::LabelEncoder(None)),
            (Name::Dtype, [Node::Text(code), ..]) if code.len() <= MAX_CODE => {
                Ok(Node::Dtype(Dtype::new(code)))
            }
            (Name::Reconstruct, [Node::Name(Name::Ndarray), ..]) => Ok(Node::Array(None)),
            (Name::Scalar, [Node::Dtype(dtype), Node::Bytes(bytes)]) if bytes.len() <= MAX_ENCODED => {
                match dtype.values(bytes) {
                    Some(mut values) if values.len() == 1 => Ok(values.remove(0)),
                    _ => self.refuse(format!("a numpy value of {} bytes in the type {dtype}", bytes.len())),
                }
            }
            (
                Name::FromBuffer,
                [Node::Bytes(_), Node::Dtype(dtype), Node::List(shape), Node::Text(order)],
            ) => {
                let items = Items::Raw(dtype.clone(), ids[0]);
                Ok(Node::Array(Some(Array { shape: self.shape(shape)?, fortran: order == "F", items })))
            }
            _ => self
                .refuse(format!("a call of {name:?} with {} other arguments than numpy's", arguments.len())),
        }
    }

    fn shape(&self, ids: &[Id]) -> Result<Vec<usize>> {
        if ids.len() > MAX_SIDES {
            return self.refuse(format!("an array of {} sides, of at most {MAX_SIDES}", ids.len()));
        }
        let side = |&id: &Id| match self.nodes[id] {
            Node::Int(n) => usize::try_from(n).ok(),
            _ => None,
        };
        match ids.iter().map(side).collect::<Option<Vec<usize>>>() {
            Some(shape) => Ok(shape),
            None => self.refuse("an array whose shape is no tuple of sizes"),
        }
    }

    /// Tells the top of the stack what is in it.
    fn build(&mut self, state: Id) -> Result<()> {
        let top = self.top()?;
        let built = match (&self.nodes[top], &self.nodes[state]) {
            (Node::LabelEncoder(None), Node::Dict(_)) => Node::LabelEncoder(Some(state)),
            (Node::Dtype(dtype), Node::List(state)) => match state.get(1).map(|&id| &self.nodes[id]) {
                Some(Node::Text(order)) => Node::Dtype(dtype.clone().in_order(order)),
                _ => return self.refuse("a numpy type without an order of bytes"),
            },
            (Node::Array(None), Node::List(state)) => {
                let parts: Vec<&Node> = state.iter().take(MAX_ARGUMENTS).map(|&id| &self.nodes[id]).collect();
                match parts.as_slice() {
                    [_, Node::List(shape), Node::Dtype(dtype), Node::Bool(fortran), items] => {
                        let items = match items {
                            Node::List(_) => Items::Objects(state[4]),
                            _ => Items::Raw(dtype.clone(), state[4]),
                        };
                        Node::Array(Some(Array { shape: self.shape(shape)?, fortran: *fortran, items }))
                    }
                    _ => return self.refuse("an array whose state is not numpy's"),
                }
            }
            _ => return self.refuse("a state for something that has none"),
        };
        self.nodes[top] = built;
        Ok(())
    }

    /// The value of a node with all that is in it.
    pub(super) fn spread(&self, id: Id, depth: usize, n_left: &mut usize) -> Result<Value> {
        if depth > MAX_DEPTH {
            return self.refuse(format!("values are nested more than {MAX_DEPTH} deep, or hold themselves"));
        }
        self.count(1, n_left)?;
        Ok(match &self.nodes[id] {
            Node::None => Value::None,
            Node::Bool(value) => Value::Bool(*value),
            Node::Int(value) => Value::Int(*value),
            Node::Float(value) => Value::Float(*value),
            Node::Text(text) => Value::Text(self.paid(text, text.len(), n_left)?),
            Node::Bytes(bytes) => Value::Bytes(self.paid(bytes, bytes.len(), n_left)?),
            Node::List(items) => Value::List(
                items.iter().map(|&id| self.spread(id, depth + 1, n_left)).collect::<Result<_>>()?,
            ),
            Node::Dict(pairs) => Value::Dict(self.pairs(pairs, depth, n_left)?),
            Node::LabelEncoder(Some(state)) => match &self.nodes[*state] {
                Node::Dict(pairs) => Value::LabelEncoder(self.pairs(pairs, depth, n_left)?),
                _ => return self.refuse("a label encoder whose attributes are no dictionary"),
            },
            Node::Array(Some(array)) => {
                let items = match &array.items {
                    Items::Objects(list) => {
                        let ids = self.items(*list)?;
                        ids.iter()
                            .map(|&id| self.spread(id, depth + 1, n_left))
                            .collect::<Result<Vec<_>>>()?
                    }
                    Items::Raw(dtype, bytes) => self.raw_items(dtype, *bytes, n_left)?,
                };
                self.count(array::n_rows(&array.shape), n_left)?;
                match array::nested(items, &array.shape, array.fortran) {
                    Some(value) => value,
                    None => {
                        return self.refuse(format!(
                            "an array whose values do not fill its shape {:?}",
                            array.shape
                        ));
                    }
                }
            }
            Node::LabelEncoder(None) | Node::Array(None) => {
                return self.refuse("a value that was never filled");
            }
            Node::Name(name) => return self.refuse(format!("{name:?} where plain data is expected")),
            Node::Dtype(dtype) => {
                return self.refuse(format!("the numpy type {dtype} where plain data is expected"));
            }
        })
    }

    /// The values of an array that lie in bytes.
    fn raw_items(&self, dtype: &Dtype, bytes: Id, n_left: &mut usize) -> Result<Vec<Value>> {
        let Node::Bytes(bytes) = &self.nodes[bytes] else {
            return self.refuse("an array whose values are neither objects nor bytes");
        };
        self.count(bytes.len(), n_left)?;
        match dtype.values(bytes) {
            Some(values) => Ok(values.iter().map(array::plain).collect()),
            None => self.refuse(format!("an array of the numpy type {dtype}, which is not read here")),
        }
    }

    /// A copy of something long, which counts for more than one value.
    fn paid<T: ToOwned + ?Sized>(&self, value: &T, n_bytes: usize, n_left: &mut usize) -> Result<T::Owned> {
        self.count(n_bytes / 64, n_left)?;
        Ok(value.to_owned())
    }

    /// Takes values from those that may still be spread out.
    fn count(&self, n_values: usize, n_left: &mut usize) -> Result<()> {
        match n_left.checked_sub(n_values) {
            Some(left) => *n_left = left,
            None => return self.refuse(format!("more than {MAX_VALUES} values")),
        }
        Ok(())
    }

    fn pairs(&self, pairs: &[(Id, Id)], depth: usize, n_left: &mut usize) -> Result<Vec<(Value, Value)>> {
        let mut pair = |&(key, value): &(Id, Id)| {
            Ok((self.spread(key, depth + 1, n_left)?, self.spread(value, depth + 1, n_left)?))
        };
        pairs.iter().map(&mut pair).collect()
    }
}
