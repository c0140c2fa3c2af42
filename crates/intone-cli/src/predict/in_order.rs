//! Work on many threads whose results come out in the order of the work.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Results per thread that may wait for a slower one before them.
const WAITING_PER_THREAD: usize = 8;

/// Calls `work` for each of `0..n` on `n_threads` threads, and `take` for the results on this one, in order, each
/// as soon as those before it are there. At most [`WAITING_PER_THREAD`] results per thread wait in memory. Each thread has its
/// share of the processors for itself: what is cut into pieces for many threads costs more than in one piece.
///
/// # Errors
/// The first error of `take` ends everything: no new work is begun, and what is under way is left alone, so that
/// a program whose reader went away can end at once.
pub(crate) fn in_order<T: Send + 'static, E>(
    n: usize,
    n_threads: usize,
    work: impl Fn(usize) -> T + Send + Sync + 'static,
    mut take: impl FnMut(usize, T) -> Result<(), E>,
) -> Result<(), E> {
    let n_threads = n_threads.min(n).max(1);
    let gate = Arc::new(Gate::new(n, n_threads * WAITING_PER_THREAD));
    let work = Arc::new(work);
    let (results, arrived) = mpsc::channel();
    let share = (rayon::current_num_threads() / n_threads).max(1);
    for _ in 0..n_threads {
        let (gate, work, results) = (gate.clone(), work.clone(), results.clone());
        let go_on = move || {
            while let Some(index) = gate.next() {
                if results.send((index, work(index))).is_err() {
                    break;
                }
            }
        };
        match rayon::ThreadPoolBuilder::new().num_threads(share).build() {
            Ok(pool) => pool.spawn(go_on),
            // It will be slower.
            Err(_) => drop(std::thread::spawn(go_on)),
        }
    }
    drop(results);
    let mut waiting = BTreeMap::new();
    let mut n_taken = 0;
    for (index, result) in arrived {
        waiting.insert(index, result);
        while let Some(result) = waiting.remove(&n_taken) {
            if let Err(error) = take(n_taken, result) {
                gate.close();
                return Err(error);
            }
            n_taken += 1;
            gate.taken(n_taken);
        }
    }
    Ok(())
}

/// Hands out the work, not too far ahead of what was taken.
struct Gate {
    state: Mutex<State>,
    moved: Condvar,
    ahead: usize,
}

struct State {
    next: usize,
    end: usize,
    n_taken: usize,
}

impl Gate {
    fn new(n: usize, ahead: usize) -> Gate {
        Gate { state: Mutex::new(State { next: 0, end: n, n_taken: 0 }), moved: Condvar::new(), ahead }
    }

    /// The next piece of work, once it may begin; `None` when there is no more.
    fn next(&self) -> Option<usize> {
        let too_early =
            |state: &mut State| state.next < state.end && state.next >= state.n_taken + self.ahead;
        let mut state = self.moved.wait_while(self.lock(), too_early).unwrap_or_else(PoisonError::into_inner);
        let next = state.next;
        state.next += 1;
        (next < state.end).then_some(next)
    }

    fn taken(&self, n_taken: usize) {
        self.lock().n_taken = n_taken;
        self.moved.notify_all();
    }

    fn close(&self) {
        self.lock().end = 0;
        self.moved.notify_all();
    }

    /// The state is three numbers, right at every moment: a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn results_come_in_order_whichever_is_ready_first() {
        for n_threads in [1, 2, 7, 100] {
            let mut taken = Vec::new();
            // Later work of each handful is done sooner.
            let work = |index: usize| {
                std::thread::sleep(std::time::Duration::from_micros(300 - 100 * (index % 4).min(3) as u64));
                index * index
            };
            let Ok(()) = in_order(50, n_threads, work, |index, square| {
                assert_eq!(square, index * index);
                taken.push(index);
                Ok::<_, Infallible>(())
            });
            assert_eq!(taken, (0..50).collect::<Vec<_>>());
        }
    }

    #[test]
    fn nothing_to_do_is_done() {
        let Ok(()) = in_order(0, 4, |index| index, |_, _| Ok::<_, Infallible>(()));
    }

    #[test]
    fn work_does_not_run_far_ahead_of_the_reader() {
        let begun = Arc::new(AtomicUsize::new(0));
        let counter = begun.clone();
        let work = move |_| counter.fetch_add(1, Ordering::SeqCst);
        let Ok(()) = in_order(1_000, 2, work, |index, _| {
            let ahead = begun.load(Ordering::SeqCst).saturating_sub(index);
            assert!(ahead <= 2 * WAITING_PER_THREAD + 1, "{ahead} ahead of {index}");
            Ok::<_, Infallible>(())
        });
        assert_eq!(begun.load(Ordering::SeqCst), 1_000);
    }

    #[test]
    fn an_error_of_the_reader_ends_the_work() {
        let begun = Arc::new(AtomicUsize::new(0));
        let counter = begun.clone();
        let work = move |_| counter.fetch_add(1, Ordering::SeqCst);
        let result = in_order(100_000, 2, work, |index, _| if index == 3 { Err("gone") } else { Ok(()) });
        assert_eq!(result, Err("gone"));
        assert!(begun.load(Ordering::SeqCst) < 1_000);
    }
}
