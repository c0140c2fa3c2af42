//! Memory for activations that goes back to a pool instead of to the system.
//!
//! A training step takes and frees the same few hundred megabytes again and again. An allocator that hands large
//! blocks back to the system pays for fresh, zeroed pages every time; one that keeps them still has to be told
//! that the old contents do not matter. The pool does both, whatever allocator the program uses.
//!
//! Batches of clips of different lengths hardly ever ask for the same size twice, so blocks are kept in classes of size.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::parallel::patiently;

/// Blocks below this many floats are left to the allocator, which keeps such sizes itself.
const MIN_FLOATS: usize = 16 * 1024;

/// The pool keeps at most this much, floats (4 GiB): the activations of a batch of 128 of the reference model.
const MAX_FLOATS: usize = 1 << 30;

struct Pool {
    /// By class.
    free: Option<HashMap<usize, Vec<Vec<f32>>>>,
    floats: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { free: None, floats: 0 });

/// The capacity of blocks for `n` floats: the next of eight steps between two powers of two.
fn class(n: usize) -> usize {
    n.next_multiple_of((n.next_power_of_two() / 16).max(1))
}

/// `n` floats with arbitrary, but initialised, contents.
pub(crate) fn take(n: usize) -> Vec<f32> {
    if n < MIN_FLOATS {
        return vec![0.0; n];
    }
    let class = class(n);
    let found = patiently(&POOL).and_then(|mut pool| {
        let found = pool.free.get_or_insert_default().get_mut(&class)?.pop()?;
        pool.floats -= class;
        Some(found)
    });
    let mut buffer = found.unwrap_or_else(|| vec![0.0; class]);
    // Only what lies beyond the block's last length is written.
    buffer.resize(n, 0.0);
    buffer
}

/// Gives a buffer back for the next [`take`] of its class.
pub(crate) fn put(buffer: Vec<f32>) {
    let class = buffer.capacity();
    if class < MIN_FLOATS || class != self::class(class) {
        return;
    }
    let Some(mut pool) = patiently(&POOL) else { return };
    if pool.floats + class <= MAX_FLOATS {
        pool.floats += class;
        pool.free.get_or_insert_default().entry(class).or_default().push(buffer);
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
    fn a_block_serves_any_length_of_its_class() {
        for n in [MIN_FLOATS, MIN_FLOATS + 1, 100_000, 1_000_001] {
            let class = class(n);
            assert!(n <= class && class < n + n / 8 + 1, "{n}: {class}");
            assert_eq!(super::class(class), class);
        }
        let n = 2_345_678;
        let mut buffer = take(n);
        buffer.fill(7.0);
        let address = buffer.as_ptr();
        put(buffer);
        let shorter = take(n - 10);
        assert_eq!((shorter.as_ptr(), shorter.len()), (address, n - 10));
        put(shorter);
        let longer = take(n + 5);
        assert_eq!((longer.as_ptr(), longer.len(), longer[n + 4]), (address, n + 5, 0.0));
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
