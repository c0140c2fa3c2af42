//! Work that takes a processor, away from the threads that talk to clients.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::error::{Code, Failure};

/// A number of workers, and a number of places to wait for one. Streams have as many workers of their own: their pieces are
/// short, and shall not wait for an hour of somebody else's recording.
#[derive(Debug)]
pub(crate) struct Pool {
    workers: Arc<Semaphore>,
    stream_workers: Arc<Semaphore>,
    /// Places for those who wait and those who are served.
    places: Arc<Semaphore>,
    n_workers: usize,
    n_places: usize,
}

/// Tells the work whether anybody still wants its result.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted(Arc<AtomicBool>);

impl Wanted {
    pub(crate) fn still(&self) -> bool {
        !self.0.load(Ordering::Relaxed)
    }
}

/// Says so when the one who wanted it is gone: the client hung up, or the time is over.
struct Guard(Wanted);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

impl Pool {
    pub(crate) fn new(n_workers: usize, n_queue: usize) -> Pool {
        let (n_workers, n_places) = (n_workers.max(1), n_workers.max(1) + n_queue);
        Pool {
            workers: Arc::new(Semaphore::new(n_workers)),
            stream_workers: Arc::new(Semaphore::new(n_workers)),
            places: Arc::new(Semaphore::new(n_places)),
            n_workers,
            n_places,
        }
    }

    /// Work that is done now.
    pub(crate) fn n_running(&self) -> usize {
        self.n_workers - self.workers.available_permits()
    }

    /// Requests that wait for a worker or have one.
    pub(crate) fn n_inside(&self) -> usize {
        self.n_places - self.places.available_permits()
    }

    /// Does the work of a request, if there is a place, and in this time.
    pub(crate) async fn request<T: Send + 'static>(
        &self,
        time: Duration,
        work: impl FnOnce(&Wanted) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let Ok(_place) = self.places.clone().try_acquire_owned() else {
            return Err(Failure::busy("all workers are busy and the queue is full"));
        };
        match timeout(time, on(&self.workers, work)).await {
            Ok(result) => result,
            Err(_) => {
                let message = format!("no answer within {} s", time.as_secs_f64());
                Err(Failure::new(Code::Timeout, message))
            }
        }
    }

    /// Does a piece of work for a stream, however long it waits: streams are few, and each has one piece at a time.
    pub(crate) async fn stream<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        on(&self.stream_workers, |_| work()).await
    }
}

/// Does work as soon as there is a worker.
async fn on<T: Send + 'static>(
    workers: &Arc<Semaphore>,
    work: impl FnOnce(&Wanted) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let stopping = || Failure::new(Code::Stopping, "the service is being stopped");
    let worker = workers.clone().acquire_owned().await.map_err(|_| stopping())?;
    let wanted = Wanted::default();
    let _guard = Guard(wanted.clone());
    let job = move || {
        // The worker is free when the work is done, not when the client loses interest.
        let _worker = worker;
        // Decoders are large and read hostile bytes. None is known to panic.
        catch_unwind(AssertUnwindSafe(|| work(&wanted)))
    };
    match tokio::task::spawn_blocking(job).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) | Err(_) => {
            Err(Failure::new(Code::Internal, "the decoder failed on this recording; please report it"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
    }

    #[test]
    fn those_who_find_no_place_are_told_at_once() {
        runtime().block_on(async {
            let pool = Arc::new(Pool::new(1, 1));
            let (release, wait) = std::sync::mpsc::channel::<()>();
            let long = Duration::from_secs(60);
            let first = tokio::spawn({
                let pool = pool.clone();
                async move { pool.request(long, move |_| wait.recv().map_err(|_| Failure::busy(""))).await }
            });
            while pool.n_running() == 0 {
                tokio::task::yield_now().await;
            }
            let second = tokio::spawn({
                let pool = pool.clone();
                async move { pool.request(long, |_| Ok(2)).await }
            });
            while pool.n_inside() < 2 {
                tokio::task::yield_now().await;
            }
            let third = pool.request(long, |_| Ok(3)).await.unwrap_err();
            assert_eq!(third.code, Code::Busy);
            release.send(()).unwrap();
            assert_eq!(first.await.unwrap(), Ok(()));
            assert_eq!(second.await.unwrap(), Ok(2));
            assert_eq!((pool.n_running(), pool.n_inside()), (0, 0));
        });
    }

    #[test]
    fn work_that_takes_too_long_is_told_to_stop_and_a_panic_is_an_error() {
        runtime().block_on(async {
            let pool = Pool::new(1, 0);
            let (stopped, told) = std::sync::mpsc::channel();
            let result: Result<(), _> = pool
                .request(Duration::from_millis(20), move |wanted| {
                    while wanted.still() {
                        std::thread::yield_now();
                    }
                    stopped.send(()).map_err(|_| Failure::busy(""))
                })
                .await;
            assert_eq!(result.unwrap_err().code, Code::Timeout);
            told.recv().unwrap();
            let result: Result<(), _> = pool.stream(|| panic!("as a decoder might")).await;
            assert_eq!(result.unwrap_err().code, Code::Internal);
            assert_eq!(pool.stream(|| Ok(1)).await, Ok(1));
        });
    }
}
