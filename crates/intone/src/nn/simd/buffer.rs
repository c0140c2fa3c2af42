//! Memory for activations that goes back to a pool instead of to the system.
//!
//! A training step takes and frees the same few hundred megabytes again and again. An allocator that hands large
//! blocks back to the system pays for fresh, zeroed pages every time; one that keeps them still has to be told
//! that the old contents do not matter. The pool does both, whatever allocator the program uses.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Blocks below this many floats are left to the allocator, which keeps such sizes itself.
const MIN_FLOATS: usize = 16 * 1024;

/// The pool keeps at most this much, floats (4 GiB): the activations of a batch of 128 of the reference model.
const MAX_FLOATS: usize = 1 << 30;

struct Pool {
    free: Option<HashMap<usize, Vec<Vec<f32>>>>,
    floats: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { free: None, floats: 0 });

/// `n` floats with arbitrary, but initialised, contents.
pub(crate) fn take(n: usize) -> Vec<f32> {
    if n >= MIN_FLOATS {
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(buffer) = pool.free.get_or_insert_default().get_mut(&n).and_then(Vec::pop) {
            pool.floats -= n;
            return buffer;
        }
    }
    vec![0.0; n]
}

/// Gives a buffer back for the next [`take`] of its length.
pub(crate) fn put(buffer: Vec<f32>) {
    let n = buffer.len();
    if n < MIN_FLOATS {
        return;
    }
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    if pool.floats + n <= MAX_FLOATS {
        pool.floats += n;
        pool.free.get_or_insert_default().entry(n).or_default().push(buffer);
    }
}

#[cfg(feature = "train")]
pub(crate) use bytes::into_bytes;

#[cfg(feature = "train")]
mod bytes {
    use std::mem::MaybeUninit;

    use burn_std::{AccessError, AccessPolicy, AllocationController, AllocationProperty, Bytes};

    use super::put;

    /// The buffer as the framework's bytes; it comes back to the pool when the tensor is dropped.
    pub(crate) fn into_bytes(buffer: Vec<f32>) -> Bytes {
        let len = std::mem::size_of_val(buffer.as_slice());
        // SAFETY: the whole buffer, `len` bytes, is initialised.
        unsafe { Bytes::from_controller(Box::new(Pooled(buffer)), len) }
    }

    struct Pooled(Vec<f32>);

    impl Drop for Pooled {
        fn drop(&mut self) {
            put(std::mem::take(&mut self.0));
        }
    }

    impl AllocationController for Pooled {
        fn alloc_align(&self) -> usize {
            align_of::<f32>()
        }

        fn property(&self) -> AllocationProperty {
            AllocationProperty::Other
        }

        unsafe fn memory_mut(
            &mut self,
            _policy: AccessPolicy,
        ) -> Result<&mut [MaybeUninit<u8>], AccessError> {
            let len = std::mem::size_of_val(self.0.as_slice());
            // SAFETY: the pointer and length are those of the vector's own initialised memory, borrowed mutably; the
            // caller promises to write only initialised bytes, and any bytes make valid floats.
            Ok(unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), len) })
        }

        fn memory(&self, _policy: AccessPolicy) -> Result<&[MaybeUninit<u8>], AccessError> {
            let len = std::mem::size_of_val(self.0.as_slice());
            // SAFETY: as above, borrowed immutably.
            Ok(unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), len) })
        }
    }
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_tensor_gives_its_memory_to_the_next() {
        let n = MIN_FLOATS + 17;
        let mut buffer = take(n);
        buffer[n - 1] = 42.0;
        let address = buffer.as_ptr();
        let bytes = into_bytes(buffer);
        assert_eq!(bytes.len(), n * 4);
        assert_eq!(bytes[n * 4 - 4..], 42.0f32.to_ne_bytes());
        drop(bytes);
        let again = take(n);
        assert_eq!(again.as_ptr(), address);
        assert_eq!(again[n - 1], 42.0);
    }

    #[test]
    fn bytes_can_be_cloned_and_written() {
        let mut bytes = into_bytes(vec![1.0; MIN_FLOATS]);
        let copy = bytes.clone();
        bytes[0..4].copy_from_slice(&2.0f32.to_ne_bytes());
        assert_eq!(copy[0..4], 1.0f32.to_ne_bytes());
        assert_eq!(bytes[0..4], 2.0f32.to_ne_bytes());
    }
}
