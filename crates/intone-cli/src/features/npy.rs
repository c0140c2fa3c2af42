//! NumPy's file format.

use std::io::{self, Write};

/// Writes an array of two dimensions as `.npy`, version 1.0: little-endian float32 in row-major (C) order.
///
/// The format is that of `numpy.lib.format`: magic, version, the length of the header in two bytes, the header
/// as a Python dictionary filled up with spaces so that the data begin at a multiple of 64, the data.
pub(super) fn write(mut out: impl Write, shape: [usize; 2], data: &[f32]) -> io::Result<()> {
    const ALIGNMENT: usize = 64;
    const PREFIX_LEN: usize = 10;
    assert_eq!(shape[0] * shape[1], data.len(), "the shape is that of the data");
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", shape[0], shape[1]);
    let unpadded = PREFIX_LEN + header.len() + 1;
    header.extend(std::iter::repeat_n(' ', unpadded.next_multiple_of(ALIGNMENT) - unpadded));
    header.push('\n');
    out.write_all(b"\x93NUMPY\x01\x00")?;
    out.write_all(&(header.len() as u16).to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    for value in data {
        out.write_all(&value.to_le_bytes())?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_numpy() {
        // numpy.save(f, numpy.array([[1.5, -2, 0], [3, 4, 5]], dtype="<f4")), NumPy 2.4.6
        let header = b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
        let mut want = header.to_vec();
        want.resize(127, b' ');
        want.push(b'\n');
        for value in [1.5f32, -2.0, 0.0, 3.0, 4.0, 5.0] {
            want.extend(value.to_le_bytes());
        }
        let mut got = Vec::new();
        write(&mut got, [2, 3], &[1.5, -2.0, 0.0, 3.0, 4.0, 5.0]).unwrap();
        assert_eq!(got, want);
    }

    #[test]
    fn the_data_begin_at_a_multiple_of_64_whatever_the_shape() {
        for shape in [[1, 1], [128, 0], [1, 123_456], [3, 10_000]] {
            let mut got = Vec::new();
            write(&mut got, shape, &vec![0.0; shape[0] * shape[1]]).unwrap();
            let header_len = usize::from(u16::from_le_bytes([got[8], got[9]]));
            assert_eq!((10 + header_len) % 64, 0);
            assert_eq!(got[10 + header_len - 1], b'\n');
            assert_eq!(got.len(), 10 + header_len + 4 * shape[0] * shape[1]);
        }
    }
}
