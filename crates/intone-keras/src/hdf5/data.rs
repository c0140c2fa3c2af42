//! Numbers and strings: dataspaces, datatypes, layouts, filters and attributes, section IV.A.2 of the specification.

use std::io::Read;

use half::f16;

use super::cursor::Cursor;
use super::object::{Object, kind};
use super::{Dataset, Hdf5, UNDEFINED, broken};
use crate::error::Result;

/// The most dimensions (HDF5's own limit).
const MAX_RANK: usize = 32;

/// The most values of one dataset: sixty times those of the largest weight of the reference network.
const MAX_VALUES: usize = 1 << 28;

/// The longest string, bytes. The description of the reference model has 20 kB.
const MAX_STRING: usize = 16 << 20;

/// How many times larger than their file all datasets together may be. Trained weights hardly get smaller by compression.
const MAX_INFLATION: usize = 16;

/// What small files may hold whatever their size, bytes.
const MIN_LIMIT: usize = 1 << 20;

/// A kind of element.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Datatype {
    Float { n: usize, big_endian: bool },
    FixedString { n: usize },
    VariableString,
    Other { class: u8, n: usize },
}

/// One step that chunks went through when they were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filter {
    Deflate,
    Shuffle,
}

impl<'a> Hdf5<'a> {
    /// The numbers of a dataset, as f32.
    pub(crate) fn dataset(&self, object: &Object<'a>) -> Result<Dataset> {
        let at = object.at;
        let shape = read_shape(object.one(kind::DATASPACE, "a dataspace")?)?;
        let (n, big_endian) = match read_datatype(object.one(kind::DATATYPE, "a datatype")?)? {
            Datatype::Float { n, big_endian } => (n, big_endian),
            other => return broken(at, format!("expected floats of 16, 32 or 64 bits, got {other:?}")),
        };
        let n_values = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= MAX_VALUES);
        let Some(n_values) = n_values else {
            return broken(
                at,
                format!("a dataset of the shape {shape:?}; expected at most {MAX_VALUES} values"),
            );
        };
        self.load(at, n_values.saturating_mul(n.max(size_of::<f32>())))?;
        let mut layout = object.one(kind::LAYOUT, "a layout")?;
        let version = layout.u8()?;
        if !(3..=4).contains(&version) {
            return broken(at, format!("layout version {version}; expected 3 or 4"));
        }
        let values = match (layout.u8()?, version) {
            (0, _) => {
                let n_bytes = layout.u16()?;
                floats(self.exactly(at, layout.take(n_bytes.into())?, n_values * n)?, n, big_endian)
            }
            (1, _) => {
                let (address, n_bytes) = (layout.u64()?, layout.u64()?);
                if address == UNDEFINED && n_values > 0 {
                    return broken(at, "a dataset that was never written");
                }
                let bytes = match n_values {
                    0 => &[],
                    _ => self.cursor(address, n_bytes)?.take(n_bytes as usize)?,
                };
                floats(self.exactly(at, bytes, n_values * n)?, n, big_endian)
            }
            (2, 3) => floats(&self.chunked(object, layout, &shape, n)?, n, big_endian),
            (2, _) => {
                return broken(
                    at,
                    "chunks in an index as `libver=\"latest\"` writes; expected a version 1 B-tree",
                );
            }
            (class, _) => {
                return broken(at, format!("layout class {class}; expected compact, contiguous or chunked"));
            }
        };
        Ok(Dataset { shape, values })
    }

    /// Counts bytes that are about to be taken into memory.
    fn load(&self, at: u64, n: usize) -> Result<()> {
        let limit = self.bytes.len().saturating_mul(MAX_INFLATION).saturating_add(MIN_LIMIT);
        self.loaded.set(self.loaded.get().saturating_add(n));
        if self.loaded.get() > limit {
            let n_file = self.bytes.len();
            return broken(
                at,
                format!("{} bytes of numbers, or more, in a file of {n_file}", self.loaded.get()),
            );
        }
        Ok(())
    }

    fn exactly<'b>(&self, at: u64, bytes: &'b [u8], n: usize) -> Result<&'b [u8]> {
        match bytes.len() {
            actual if actual == n => Ok(bytes),
            actual => broken(at, format!("a dataset of {actual} bytes; its shape asks for {n}")),
        }
    }

    /// Chunks by the B-tree of section III.A.1, put together.
    fn chunked(
        &self,
        object: &Object<'a>,
        mut layout: Cursor<'a>,
        shape: &[usize],
        n: usize,
    ) -> Result<Vec<u8>> {
        let at = object.at;
        let rank = usize::from(layout.u8()?).saturating_sub(1);
        let tree = layout.u64()?;
        let chunk = (0..rank).map(|_| Ok(layout.u32()? as usize)).collect::<Result<Vec<usize>>>()?;
        let n_element = layout.u32()? as usize;
        let fits = chunk.iter().zip(shape).all(|(&chunk, &n)| (1..=n).contains(&chunk));
        if chunk.len() != shape.len() || rank == 0 || n_element != n || !fits {
            return broken(
                at,
                format!("chunks of {chunk:?} elements of {n_element} bytes for {shape:?} of {n} bytes"),
            );
        }
        let filters = match object.all(kind::FILTERS).next() {
            Some(filters) => read_filters(filters?)?,
            None => Vec::new(),
        };
        let mut n_left: usize = chunk.iter().zip(shape).map(|(chunk, n)| n.div_ceil(*chunk)).product();
        let (n_chunk, n_all) = (chunk.iter().product::<usize>() * n, shape.iter().product::<usize>() * n);
        let mut out = vec![0; n_all];
        let mut n_written = 0;
        let mut nodes = vec![(tree, None)];
        while let Some((node, above)) = nodes.pop() {
            for (mut entry, level) in self.tree_entries(node, above, 1, 8 + 8 * (rank + 1))? {
                let (n_stored, skipped) = (entry.u32()?, entry.u32()?);
                let start = (0..rank).map(|_| entry.u64()).collect::<Result<Vec<u64>>>()?;
                entry.skip(8)?;
                let child = entry.u64()?;
                if level > 0 {
                    nodes.push((child, Some(level)));
                    continue;
                }
                let Some(left) = n_left.checked_sub(1) else {
                    return broken(node, format!("more chunks than the shape {shape:?} asks for"));
                };
                n_left = left;
                let stored = self.cursor(child, n_stored.into())?.take(n_stored as usize)?;
                let values = unfilter(child, stored, &filters, skipped, n, n_chunk)?;
                n_written += place(&values, &chunk, &start, shape, n, &mut out);
            }
        }
        if n_written != n_all {
            return broken(
                at,
                format!("chunks with {n_written} bytes; the shape {shape:?} asks for {n_all}"),
            );
        }
        Ok(out)
    }

    /// The text of an attribute with one string; nothing where there is no such attribute.
    pub(crate) fn text(&self, object: &Object<'a>, name: &str) -> Result<Option<String>> {
        for attribute in object.all(kind::ATTRIBUTE) {
            let (found, datatype, n, mut value) = self.attribute(attribute?)?;
            if found != name {
                continue;
            }
            let at = value.position();
            let bytes = match datatype {
                _ if n != 1 => {
                    return broken(at, format!("attribute `{name}`: expected one string, got {n} values"));
                }
                Datatype::FixedString { n } => value.take(n)?,
                Datatype::VariableString => {
                    let (n, heap, index) = (value.u32()?, value.u64()?, value.u32()?);
                    self.heap_object(heap, index, n as usize)?
                }
                other => return broken(at, format!("attribute `{name}`: expected a string, got {other:?}")),
            };
            if bytes.len() > MAX_STRING {
                return broken(
                    at,
                    format!("attribute `{name}`: {} bytes; expected at most {MAX_STRING}", bytes.len()),
                );
            }
            let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
            return Ok(Some(String::from_utf8_lossy(&bytes[..end]).into_owned()));
        }
        for info in object.all(kind::ATTRIBUTE_INFO) {
            let mut info = info?;
            info.skip(1)?;
            let flags = info.u8()?;
            info.skip(if flags & 1 != 0 { 2 } else { 0 })?;
            if info.u64()? != UNDEFINED {
                return broken(
                    object.at,
                    format!(
                        "attribute `{name}` may lie in a fractal heap, which is not read; expected a file as Keras saves it"
                    ),
                );
            }
        }
        Ok(None)
    }

    /// Section IV.A.2.m: name, datatype, number of values, values.
    fn attribute(&self, mut body: Cursor<'a>) -> Result<(String, Datatype, usize, Cursor<'a>)> {
        let at = body.position();
        let version = body.u8()?;
        let flags = body.u8()?;
        let sizes = [body.u16()?, body.u16()?, body.u16()?].map(usize::from);
        match version {
            // The first version fills all parts up to eight bytes, and has no flags.
            1 => (),
            2 | 3 if flags == 0 => body.skip(usize::from(version == 3))?,
            2 | 3 => return broken(at, "an attribute of a shared type, which is not read here"),
            other => return broken(at, format!("attribute version {other}; expected 1 to 3")),
        }
        let mut part = |n: usize| -> Result<Cursor<'a>> {
            let part = body.part(n)?;
            let filling = if version == 1 { n.next_multiple_of(8) - n } else { 0 };
            body.skip(filling.min(body.left()))?;
            Ok(part)
        };
        let mut name = part(sizes[0])?;
        let (datatype, space) = (part(sizes[1])?, part(sizes[2])?);
        let name = name.take(name.left())?;
        let name = name.strip_suffix(&[0]).unwrap_or(name);
        let n_values =
            read_shape(space)?.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).unwrap_or(usize::MAX);
        Ok((String::from_utf8_lossy(name).into_owned(), read_datatype(datatype)?, n_values, body))
    }

    /// Section III.E: the first `n` bytes of an object in a global heap.
    fn heap_object(&self, at: u64, index: u32, n: usize) -> Result<&'a [u8]> {
        let mut heap = self.cursor(at, 16)?;
        heap.expect(b"GCOL")?;
        heap.version("global heap", 1)?;
        heap.skip(3)?;
        let n_heap = heap.u64()?;
        let mut objects = self.cursor(at, n_heap)?;
        objects.skip(16)?;
        while objects.left() >= 16 {
            self.visit(objects.position())?;
            let found = objects.u16()?;
            objects.skip(2 + 4)?;
            let n_found = usize::try_from(objects.u64()?).unwrap_or(usize::MAX);
            if found == 0 {
                break;
            }
            let bytes = objects.take(n_found)?;
            if u32::from(found) == index {
                return match bytes.get(..n) {
                    Some(bytes) => Ok(bytes),
                    None => broken(at, format!("a string of {n} bytes in a heap object of {n_found}")),
                };
            }
            let filling = n_found.next_multiple_of(8) - n_found;
            objects.skip(filling.min(objects.left()))?;
        }
        broken(at, format!("a global heap without the object {index}"))
    }
}

/// Section IV.A.2.b; a single value has no dimensions.
fn read_shape(mut space: Cursor<'_>) -> Result<Vec<usize>> {
    let at = space.position();
    let version = space.u8()?;
    let rank = usize::from(space.u8()?);
    match version {
        1 => space.skip(1 + 1 + 4)?,
        2 => {
            space.skip(1)?;
            if space.u8()? == 2 {
                return Ok(vec![0]);
            }
        }
        other => return broken(at, format!("dataspace version {other}; expected 1 or 2")),
    }
    if rank > MAX_RANK {
        return broken(at, format!("{rank} dimensions; expected at most {MAX_RANK}"));
    }
    (0..rank).map(|_| Ok(usize::try_from(space.u64()?).unwrap_or(usize::MAX))).collect()
}

/// Section IV.A.2.d.
fn read_datatype(mut datatype: Cursor<'_>) -> Result<Datatype> {
    let class = datatype.u8()? & 0x0f;
    let bits = datatype.number(3)?;
    let n = datatype.u32()? as usize;
    Ok(match class {
        1 => {
            let properties = datatype.take(12)?;
            // Where exponent and mantissa lie and how wide they are, and the exponent's bias, as IEEE 754 has them.
            let ieee: Option<([u8; 4], u32)> = match n {
                2 => Some(([10, 5, 0, 10], 15)),
                4 => Some(([23, 8, 0, 23], 127)),
                8 => Some(([52, 11, 0, 52], 1_023)),
                _ => None,
            };
            let bias = u32::from_le_bytes([properties[8], properties[9], properties[10], properties[11]]);
            match ieee {
                Some((places, known)) if places == properties[4..8] && bias == known && bits & 0x40 == 0 => {
                    Datatype::Float { n, big_endian: bits & 1 != 0 }
                }
                _ => Datatype::Other { class, n },
            }
        }
        3 => Datatype::FixedString { n },
        9 if bits & 0x0f == 1 => Datatype::VariableString,
        _ => Datatype::Other { class, n },
    })
}

/// Section IV.A.2.l, in the order of writing.
fn read_filters(mut body: Cursor<'_>) -> Result<Vec<Filter>> {
    let at = body.position();
    let version = body.u8()?;
    let n = body.u8()?;
    match version {
        1 => body.skip(6)?,
        2 => (),
        other => return broken(at, format!("filter pipeline version {other}; expected 1 or 2")),
    }
    let mut filters = Vec::new();
    for _ in 0..n {
        let id = body.u16()?;
        let n_name = if version == 1 || id >= 256 { body.u16()? } else { 0 };
        body.skip(2)?;
        let n_values = usize::from(body.u16()?);
        body.skip(n_name.into())?;
        body.skip(4 * n_values)?;
        if version == 1 && n_values % 2 == 1 {
            body.skip(4)?;
        }
        filters.push(match id {
            1 => Filter::Deflate,
            2 => Filter::Shuffle,
            other => return broken(at, format!("filter {other}; expected gzip (1) or shuffle (2)")),
        });
    }
    Ok(filters)
}

/// The `n_chunk` bytes of a chunk, all filters undone but those whose bit is set in `skipped`.
fn unfilter(
    at: u64,
    stored: &[u8],
    filters: &[Filter],
    skipped: u32,
    n: usize,
    n_chunk: usize,
) -> Result<Vec<u8>> {
    let mut bytes = stored.to_vec();
    for (index, filter) in filters.iter().enumerate().rev() {
        if index < 32 && skipped & (1 << index) != 0 {
            continue;
        }
        bytes = match filter {
            Filter::Deflate => {
                let mut inflated = Vec::new();
                let read = flate2::read::ZlibDecoder::new(&bytes[..])
                    .take(n_chunk as u64 + 1)
                    .read_to_end(&mut inflated);
                if let Err(error) = read {
                    return broken(at, format!("a chunk that cannot be unpacked: {error}"));
                }
                inflated
            }
            Filter::Shuffle => {
                let n_elements = bytes.len() / n;
                let mut plain = bytes.clone();
                for (i, element) in plain.chunks_exact_mut(n).enumerate() {
                    element.iter_mut().enumerate().for_each(|(b, byte)| *byte = bytes[b * n_elements + i]);
                }
                plain
            }
        };
    }
    match bytes.len() {
        actual if actual == n_chunk => Ok(bytes),
        actual => broken(at, format!("a chunk of {actual} bytes; expected {n_chunk}")),
    }
}

/// Copies a chunk that begins at `start` to where it belongs in `out`; what reaches over the edge is left out. Returns the
/// number of bytes that were copied.
fn place(values: &[u8], chunk: &[usize], start: &[u64], shape: &[usize], n: usize, out: &mut [u8]) -> usize {
    let last = chunk.len() - 1;
    let start: Vec<usize> = start.iter().map(|&s| usize::try_from(s).unwrap_or(usize::MAX)).collect();
    let inside = |dimension: usize| chunk[dimension].min(shape[dimension].saturating_sub(start[dimension]));
    let mut copied = 0;
    for (row, values) in values.chunks_exact(chunk[last] * n).enumerate() {
        // The place of the row in all dimensions but the last.
        let (mut rest, mut index, mut stride) = (row, start[last], shape[last]);
        let mut fits = inside(last) > 0;
        for dimension in (0..last).rev() {
            let place = rest % chunk[dimension];
            rest /= chunk[dimension];
            fits &= place < inside(dimension);
            if fits {
                index += (start[dimension] + place) * stride;
            }
            stride *= shape[dimension];
        }
        if fits {
            let n_row = inside(last) * n;
            out[index * n..][..n_row].copy_from_slice(&values[..n_row]);
            copied += n_row;
        }
    }
    copied
}

fn floats(bytes: &[u8], n: usize, big_endian: bool) -> Vec<f32> {
    fn each<const N: usize>(bytes: &[u8], big_endian: bool, value: fn([u8; N]) -> f32) -> Vec<f32> {
        let turned = |mut bytes: [u8; N]| {
            if big_endian {
                bytes.reverse();
            }
            bytes
        };
        bytes.as_chunks::<N>().0.iter().map(|&bytes| value(turned(bytes))).collect()
    }
    match n {
        2 => each(bytes, big_endian, |bytes| f16::from_le_bytes(bytes).to_f32()),
        4 => each(bytes, big_endian, f32::from_le_bytes),
        _ => each(bytes, big_endian, |bytes| f64::from_le_bytes(bytes) as f32),
    }
}
