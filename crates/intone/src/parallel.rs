//! Work on several threads that begins outside of rayon's pool, such as on the main thread of a program.
//!
//! There, each parallel step of rayon's hands everything to the pool and sleeps until it is done: two threads have to wake up
//! for each, which takes as long as the front end's work of half a second of audio. Here the calling thread works as well, or
//! goes into the pool once for many steps.

use std::sync::{Mutex, MutexGuard, TryLockError};

/// How often a thread asks for memory or tools that are kept for everybody before it makes its own.
const PATIENCE: usize = 64;

/// What is kept for everybody, once nobody else holds it; `None` where that takes long. For locks that are held for a few
/// instructions, over things that one can do without.
///
/// A process that was forked while another thread held such a lock never gets it: threads do not survive a fork, their locks do.
pub(crate) fn patiently<T>(kept: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    for _ in 0..PATIENCE {
        match kept.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
    None
}

/// Does `work` within rayon's pool, where parallel steps need nobody to wake up.
pub(crate) fn in_pool<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    rayon::scope(|_| work())
}

/// Does `work` for every item, on this thread and on those of the pool that are free. A thread that takes part makes itself
/// a state first.
pub(crate) fn share_out<I: Send, S>(
    items: impl ExactSizeIterator<Item = I> + Send,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, I) + Sync,
) {
    let n_helpers = rayon::current_num_threads().min(items.len()).saturating_sub(1);
    let items = Mutex::new(items);
    let next = || items.lock().ok()?.next();
    let take_part = || {
        if let Some(first) = next() {
            let mut state = state();
            work(&mut state, first);
            while let Some(item) = next() {
                work(&mut state, item);
            }
        }
    };
    rayon::in_place_scope(|scope| {
        for _ in 0..n_helpers {
            scope.spawn(|_| take_part());
        }
        take_part();
    });
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn every_item_is_worked_on_once() {
        for n in [0, 1, 2, 100] {
            let mut done = vec![0; n];
            let n_states = AtomicUsize::new(0);
            let state = || n_states.fetch_add(1, Ordering::Relaxed);
            share_out(done.iter_mut().enumerate(), state, |_, (i, slot)| *slot += i + 1);
            assert!(done.iter().enumerate().all(|(i, &slot)| slot == i + 1), "{n}: {done:?}");
            assert!(n_states.into_inner() <= n.min(rayon::current_num_threads()));
        }
    }

    #[test]
    fn nobody_waits_for_ever() {
        let kept = Mutex::new(7);
        assert_eq!(patiently(&kept).as_deref(), Some(&7));
        let held = kept.lock().unwrap();
        assert!(patiently(&kept).is_none());
        drop(held);
        assert!(patiently(&kept).is_some());
    }

    #[test]
    fn work_within_the_pool_gives_its_answer() {
        assert!(in_pool(|| rayon::current_thread_index().is_some()));
        assert_eq!(in_pool(|| in_pool(|| 7)), 7);
    }
}
