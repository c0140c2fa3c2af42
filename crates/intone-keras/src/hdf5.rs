//! A reader for the part of HDF5 that h5py writes for Keras, in safe code and bounded memory.
//!
//! | part | read | refused, by name |
//! |---|---|---|
//! | superblock | versions 0 to 3 | offsets of another size than 8 bytes |
//! | object headers | versions 1 and 2, with continuations | shared messages |
//! | groups | symbol tables (B-tree version 1, local heap), links in the header | links in a fractal heap |
//! | datasets | contiguous, compact, chunked (B-tree version 1) with gzip and shuffle | other filters and chunk indexes |
//! | numbers | IEEE floats of 16, 32 and 64 bits, in either order of bytes | all others |
//! | attributes | strings, of fixed and of variable length (global heap) | in a fractal heap |
//!
//! The format: The HDF Group, *HDF5 File Format Specification Version 3.0*; its sections are named at the structures.
//!
//! A file is hostile until proved otherwise. Every address and size is held against the file's length before it is used,
//! nothing is allocated by what a file claims alone, and the number of structures that are visited is bounded, so that a
//! cycle ends in an error.

mod cursor;
mod data;
mod object;

use std::cell::Cell;
use std::collections::BTreeMap;

use cursor::Cursor;
pub(crate) use object::Object;

use crate::error::{Error, Result};

/// How an HDF5 file begins.
pub(crate) const SIGNATURE: [u8; 8] = *b"\x89HDF\r\n\x1a\n";

/// The most structures (messages, nodes, entries, chunks) that are visited in one file. The reference project's file has
/// about a thousand.
const MAX_VISITS: u32 = 1 << 20;

/// The most levels of groups.
const MAX_DEPTH: usize = 16;

/// The address that stands for none.
const UNDEFINED: u64 = u64::MAX;

/// An HDF5 file that lies in memory.
#[derive(Debug)]
pub(crate) struct Hdf5<'a> {
    /// From the superblock on: what addresses count from.
    bytes: &'a [u8],
    root: u64,
    visits: Cell<u32>,
    /// Bytes of numbers that were read.
    loaded: Cell<usize>,
}

/// An array of numbers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dataset {
    pub(crate) shape: Vec<usize>,
    /// Row-major.
    pub(crate) values: Vec<f32>,
}

fn broken<T>(at: u64, what: impl Into<String>) -> Result<T> {
    Err(Error::Hdf5 { at, what: what.into() })
}

impl<'a> Hdf5<'a> {
    /// Looks for the superblock (section II) at the places where it may lie.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Hdf5<'a>> {
        let starts = std::iter::once(0).chain((9..).map(|power| 1usize << power));
        let start = starts
            .take_while(|&start| start < bytes.len())
            .find(|&start| bytes[start..].starts_with(&SIGNATURE));
        let Some(start) = start else {
            return broken(0, "no HDF5 file: its signature is missing");
        };
        let mut file = Hdf5 { bytes: &bytes[start..], root: 0, visits: Cell::new(0), loaded: Cell::new(0) };
        let mut superblock = file.cursor(SIGNATURE.len() as u64, 5)?;
        let version = superblock.u8()?;
        match version {
            0 | 1 => {
                // Behind the version: of the free space, the root group, nothing, the shared header; then the two sizes.
                let mut sizes = file.cursor(13, 2)?;
                file.check_sizes(sizes.u8()?, sizes.u8()?)?;
                // Base, free space, end and driver addresses follow; then the name's offset and the root's address.
                let root = 24 + if version == 1 { 4 } else { 0 } + 4 * 8 + 8;
                file.root = file.cursor(root, 8)?.u64()?;
            }
            2 | 3 => {
                file.check_sizes(superblock.u8()?, superblock.u8()?)?;
                file.root = file.cursor(12 + 3 * 8, 8)?.u64()?;
            }
            other => return broken(8, format!("superblock version {other}; expected 0 to 3")),
        }
        Ok(file)
    }

    fn check_sizes(&self, offset: u8, length: u8) -> Result<()> {
        match (offset, length) {
            (8, 8) => Ok(()),
            _ => broken(13, format!("offsets of {offset} and lengths of {length} bytes; expected 8 and 8")),
        }
    }

    /// `n` bytes from `at` on.
    fn cursor(&self, at: u64, n: u64) -> Result<Cursor<'a>> {
        self.visit(at)?;
        let part = usize::try_from(at).ok().zip(usize::try_from(n).ok());
        let bytes = part.and_then(|(at, n)| self.bytes.get(at..at.checked_add(n)?));
        match bytes {
            Some(bytes) => Ok(Cursor::new(bytes, at)),
            None => {
                broken(at, format!("{n} bytes expected here, but the file has {} in all", self.bytes.len()))
            }
        }
    }

    fn visit(&self, at: u64) -> Result<()> {
        self.visits.set(self.visits.get() + 1);
        if self.visits.get() > MAX_VISITS {
            return broken(at, format!("more than {MAX_VISITS} structures: they form a cycle, or no model"));
        }
        Ok(())
    }

    /// The group that holds all others.
    pub(crate) fn root(&self) -> Result<Object<'a>> {
        self.object(self.root)
    }

    /// The object at a path below another; nothing where there is none.
    pub(crate) fn find(&self, from: &Object<'a>, path: &str) -> Result<Option<Object<'a>>> {
        let mut object = from.clone();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            match self.links(&object)?.get(name) {
                Some(&address) => object = self.object(address)?,
                None => return Ok(None),
            }
        }
        Ok(Some(object))
    }

    /// All datasets below a group, by the last part of their names.
    ///
    /// # Errors
    /// If two have the same name, or the groups are nested too deeply.
    pub(crate) fn datasets_below(&self, group: &Object<'a>) -> Result<BTreeMap<String, Object<'a>>> {
        let mut found = BTreeMap::new();
        let mut open = vec![(group.clone(), 0)];
        while let Some((group, depth)) = open.pop() {
            for (name, address) in self.links(&group)? {
                let object = self.object(address)?;
                if !object.is_dataset() {
                    if depth == MAX_DEPTH {
                        return broken(address, format!("groups are nested more than {MAX_DEPTH} deep"));
                    }
                    open.push((object, depth + 1));
                } else if found.insert(name.clone(), object).is_some() {
                    return broken(address, format!("two datasets are called `{name}`"));
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
