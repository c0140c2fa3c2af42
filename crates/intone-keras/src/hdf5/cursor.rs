//! Little-endian numbers from a stretch of bytes, none of them beyond its end.

use super::broken;
use crate::error::Result;

/// A stretch of the file, and how far it was read.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the stretch lies in the file.
    origin: u64,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], origin: u64) -> Cursor<'a> {
        Cursor { bytes, at: 0, origin }
    }

    /// Where the next byte lies in the file.
    pub(super) fn position(&self) -> u64 {
        self.origin + self.at as u64
    }

    /// Bytes that are left.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `n` bytes.
    pub(super) fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        match self.bytes[self.at..].get(..n) {
            Some(bytes) => {
                self.at += n;
                Ok(bytes)
            }
            None => {
                broken(self.position(), format!("a structure of {n} bytes where {} are left", self.left()))
            }
        }
    }

    /// The next `n` bytes, as a stretch of their own.
    pub(super) fn part(&mut self, n: usize) -> Result<Cursor<'a>> {
        let origin = self.position();
        Ok(Cursor::new(self.take(n)?, origin))
    }

    pub(super) fn skip(&mut self, n: usize) -> Result<()> {
        self.take(n).map(drop)
    }

    /// A number of `n` bytes, at most 8.
    pub(super) fn number(&mut self, n: usize) -> Result<u64> {
        Ok(self.take(n)?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        Ok(self.number(1)? as u8)
    }

    pub(super) fn u16(&mut self) -> Result<u16> {
        Ok(self.number(2)? as u16)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        Ok(self.number(4)? as u32)
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        self.number(8)
    }

    /// Four letters that a structure begins with.
    pub(super) fn expect(&mut self, signature: &[u8; 4]) -> Result<()> {
        let at = self.position();
        let found = self.take(4)?;
        if found != signature {
            let name = String::from_utf8_lossy(signature);
            return broken(at, format!("expected the structure `{name}`, got the bytes {found:02x?}"));
        }
        Ok(())
    }

    /// A version, which must be this one.
    pub(super) fn version(&mut self, what: &str, expected: u8) -> Result<()> {
        let at = self.position();
        match self.u8()? {
            version if version == expected => Ok(()),
            version => broken(at, format!("{what} version {version}; expected {expected}")),
        }
    }
}
