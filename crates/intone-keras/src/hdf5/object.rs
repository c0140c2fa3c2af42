//! Object headers, and the names in a group: sections III and IV of the specification.

use std::collections::BTreeMap;

use super::cursor::Cursor;
use super::{Hdf5, UNDEFINED, broken};
use crate::error::Result;

/// The most messages of one object. h5py writes about five, and one more for each attribute and link.
const MAX_MESSAGES: usize = 4_096;

/// The longest name of a link, bytes.
const MAX_NAME: usize = 1_024;

/// Kinds of messages (section IV.A.2).
pub(super) mod kind {
    pub(in crate::hdf5) const DATASPACE: u16 = 0x0001;
    pub(in crate::hdf5) const LINK_INFO: u16 = 0x0002;
    pub(in crate::hdf5) const DATATYPE: u16 = 0x0003;
    pub(in crate::hdf5) const LINK: u16 = 0x0006;
    pub(in crate::hdf5) const LAYOUT: u16 = 0x0008;
    pub(in crate::hdf5) const FILTERS: u16 = 0x000b;
    pub(in crate::hdf5) const ATTRIBUTE: u16 = 0x000c;
    pub(in crate::hdf5) const CONTINUATION: u16 = 0x0010;
    pub(in crate::hdf5) const SYMBOL_TABLE: u16 = 0x0011;
    pub(in crate::hdf5) const ATTRIBUTE_INFO: u16 = 0x0015;
}

/// A group or a dataset.
#[derive(Debug, Clone)]
pub(crate) struct Object<'a> {
    /// Where its header lies.
    pub(super) at: u64,
    messages: Vec<Message<'a>>,
}

#[derive(Debug, Clone)]
struct Message<'a> {
    kind: u16,
    shared: bool,
    body: Cursor<'a>,
}

impl<'a> Object<'a> {
    /// The bodies of all messages of a kind.
    pub(super) fn all(&self, kind: u16) -> impl Iterator<Item = Result<Cursor<'a>>> {
        self.messages.iter().filter(move |message| message.kind == kind).map(move |message| {
            match message.shared {
                false => Ok(message.body.clone()),
                true => broken(
                    message.body.position(),
                    format!("message {kind:#x} is shared, which is not read here"),
                ),
            }
        })
    }

    /// The body of the message of a kind.
    pub(super) fn one(&self, kind: u16, name: &str) -> Result<Cursor<'a>> {
        match self.all(kind).next() {
            Some(body) => body,
            None => broken(self.at, format!("an object without {name}")),
        }
    }

    /// Whether it holds numbers; else it is a group.
    pub(crate) fn is_dataset(&self) -> bool {
        self.messages.iter().any(|message| message.kind == kind::LAYOUT)
    }
}

impl<'a> Hdf5<'a> {
    /// The object whose header lies at `at`.
    pub(super) fn object(&self, at: u64) -> Result<Object<'a>> {
        let mut object = Object { at, messages: Vec::new() };
        let mut start = self.cursor(at, 6)?;
        if start.take(4)? == b"OHDR" {
            self.read_version_2(&mut object)?;
        } else {
            self.read_version_1(&mut object)?;
        }
        Ok(object)
    }

    /// Section IV.A.1.a.
    fn read_version_1(&self, object: &mut Object<'a>) -> Result<()> {
        let mut prefix = self.cursor(object.at, 16)?;
        prefix.version("object header", 1)?;
        prefix.skip(1 + 2 + 4)?;
        let n = prefix.u32()?;
        let mut blocks = vec![self.cursor(object.at + 16, n.into())?];
        while let Some(mut block) = blocks.pop() {
            while block.left() >= 8 {
                let (kind, n, flags) = (block.u16()?, block.u16()?, block.u8()?);
                block.skip(3)?;
                let body = block.part(n.into())?;
                if let Some((at, n)) = self.add(object, kind, flags, body)? {
                    blocks.push(self.cursor(at, n)?);
                }
            }
        }
        Ok(())
    }

    /// Section IV.A.1.b. Checksums are not looked at: a damaged file ends in other errors, a hostile one has right ones.
    fn read_version_2(&self, object: &mut Object<'a>) -> Result<()> {
        let mut prefix = self.cursor(object.at, 6)?;
        prefix.skip(4)?;
        prefix.version("object header", 2)?;
        let flags = prefix.u8()?;
        let n_before = 6 + if flags & 0x20 != 0 { 16 } else { 0 } + if flags & 0x10 != 0 { 4 } else { 0 };
        let n_size = 1u64 << (flags & 3);
        let n = self.cursor(object.at + n_before, n_size)?.number(n_size as usize)?;
        let mut blocks = vec![self.cursor(object.at + n_before + n_size, n)?];
        while let Some(mut block) = blocks.pop() {
            let n_prefix = if flags & 0x04 != 0 { 6 } else { 4 };
            while block.left() >= n_prefix {
                let (kind, n, message_flags) = (block.u8()?, block.u16()?, block.u8()?);
                block.skip(n_prefix - 4)?;
                let body = block.part(n.into())?;
                if let Some((at, n)) = self.add(object, kind.into(), message_flags, body)? {
                    let mut continuation = self.cursor(at, n)?;
                    continuation.expect(b"OCHK")?;
                    // The checksum lies at the end.
                    blocks.push(continuation.part(continuation.left().saturating_sub(4))?);
                }
            }
        }
        Ok(())
    }

    /// Keeps a message; gives out where the header goes on, if it says that.
    fn add(
        &self,
        object: &mut Object<'a>,
        kind: u16,
        flags: u8,
        mut body: Cursor<'a>,
    ) -> Result<Option<(u64, u64)>> {
        self.visit(body.position())?;
        if kind == kind::CONTINUATION {
            return Ok(Some((body.u64()?, body.u64()?)));
        }
        if object.messages.len() == MAX_MESSAGES {
            return broken(
                object.at,
                format!("an object with more than {MAX_MESSAGES} messages, or in a cycle"),
            );
        }
        object.messages.push(Message { kind, shared: flags & 0x02 != 0, body });
        Ok(None)
    }

    /// The names in a group, and where their objects lie; links to other names are left out.
    pub(super) fn links(&self, group: &Object<'a>) -> Result<BTreeMap<String, u64>> {
        let mut links = BTreeMap::new();
        if let Some(table) = group.all(kind::SYMBOL_TABLE).next() {
            let mut table = table?;
            let (tree, heap) = (table.u64()?, table.u64()?);
            let names = self.local_heap(heap)?;
            self.group_node(tree, None, &names, &mut links)?;
        }
        for info in group.all(kind::LINK_INFO) {
            let mut info = info?;
            info.version("link info", 0)?;
            let flags = info.u8()?;
            info.skip(if flags & 1 != 0 { 8 } else { 0 })?;
            if info.u64()? != UNDEFINED {
                return broken(
                    group.at,
                    "a group with its links in a fractal heap, as `libver=\"latest\"` writes large ones; expected a file as \
                     Keras saves it",
                );
            }
        }
        for link in group.all(kind::LINK) {
            if let Some((name, address)) = read_link(link?)? {
                links.insert(name, address);
            }
        }
        Ok(links)
    }

    /// Section III.D: the bytes in which names lie.
    fn local_heap(&self, at: u64) -> Result<Cursor<'a>> {
        let mut heap = self.cursor(at, 32)?;
        heap.expect(b"HEAP")?;
        heap.version("local heap", 0)?;
        heap.skip(3)?;
        let n = heap.u64()?;
        heap.skip(8)?;
        self.cursor(heap.u64()?, n)
    }

    /// Section III.A.1, with the symbol tables of III.B at its leaves. Levels must go down, so that no cycle is possible.
    fn group_node(
        &self,
        at: u64,
        level: Option<u8>,
        names: &Cursor<'a>,
        links: &mut BTreeMap<String, u64>,
    ) -> Result<()> {
        for (mut entry, level) in self.tree_entries(at, level, 0, 8)? {
            entry.skip(8)?;
            let child = entry.u64()?;
            if level > 0 {
                self.group_node(child, Some(level), names, links)?;
                continue;
            }
            let mut table = self.cursor(child, 8)?;
            table.expect(b"SNOD")?;
            table.version("symbol table", 1)?;
            table.skip(1)?;
            let n = table.u16()?;
            let mut entries = self.cursor(child + 8, u64::from(n) * 40)?;
            for _ in 0..n {
                self.visit(entries.position())?;
                let mut entry = entries.part(40)?;
                let (name, address) = (entry.u64()?, entry.u64()?);
                // Kind 2 is a link to a name.
                if entry.u32()? != 2 {
                    links.insert(heap_name(names, name)?, address);
                }
            }
        }
        Ok(())
    }

    /// The keys and children of a version 1 B-tree node of this type, each `n_key` + 8 bytes, with the node's level, which
    /// must be below `above`.
    pub(super) fn tree_entries(
        &self,
        at: u64,
        above: Option<u8>,
        node_type: u8,
        n_key: usize,
    ) -> Result<Vec<(Cursor<'a>, u8)>> {
        let mut node = self.cursor(at, 24)?;
        node.expect(b"TREE")?;
        node.version("type of B-tree node,", node_type)?;
        let level = node.u8()?;
        if above.is_some_and(|above| level >= above) {
            return broken(at, "a B-tree that does not get down to its leaves: a cycle");
        }
        let n = node.u16()?;
        let mut entries = self.cursor(at + 24, u64::from(n) * (n_key as u64 + 8))?;
        let mut parts = Vec::with_capacity(n.into());
        for _ in 0..n {
            self.visit(entries.position())?;
            parts.push((entries.part(n_key + 8)?, level));
        }
        Ok(parts)
    }
}

/// The name at an offset into a local heap, which ends with a 0.
fn heap_name(names: &Cursor<'_>, offset: u64) -> Result<String> {
    let mut names = names.clone();
    let at = names.position();
    let n = usize::try_from(offset).unwrap_or(usize::MAX);
    names.skip(n)?;
    let bytes = names.take(names.left().min(MAX_NAME))?;
    match bytes.iter().position(|&byte| byte == 0) {
        Some(n) => Ok(String::from_utf8_lossy(&bytes[..n]).into_owned()),
        None => broken(at, format!("a name without an end within {MAX_NAME} bytes")),
    }
}

/// Section IV.A.2.g; nothing where the link is to a name.
fn read_link(mut link: Cursor<'_>) -> Result<Option<(String, u64)>> {
    link.version("link message", 1)?;
    let flags = link.u8()?;
    let link_type = if flags & 0x08 != 0 { link.u8()? } else { 0 };
    link.skip(if flags & 0x04 != 0 { 8 } else { 0 } + if flags & 0x10 != 0 { 1 } else { 0 })?;
    let n = link.number(1 << (flags & 3))?;
    if n > MAX_NAME as u64 {
        return broken(link.position(), format!("a name of {n} bytes; expected at most {MAX_NAME}"));
    }
    let name = String::from_utf8_lossy(link.take(n as usize)?).into_owned();
    Ok(if link_type == 0 { Some((name, link.u64()?)) } else { None })
}
