//! The threads that ask the name service: at most four, begun when they are needed. They end with whoever asks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use tokio::sync::oneshot;

use super::{NssError, lock};

/// Threads that ask the name service.
pub(super) const THREADS: usize = 4;
/// Look-ups that may wait for a thread.
const QUEUE: usize = 1024;

type Lookup = Box<dyn FnOnce() + Send>;

/// Where look-ups are handed in. The threads end when it is dropped and what waits is done.
#[derive(Debug)]
pub(super) struct Threads {
    queue: mpsc::SyncSender<Lookup>,
    /// Look-ups that no thread has taken yet.
    untaken: Arc<AtomicUsize>,
    crew: Arc<Crew>,
}

/// What the threads share. The queue's other end is not among it: it would keep them waiting for themselves.
#[derive(Debug)]
struct Crew {
    waiting: Mutex<mpsc::Receiver<Lookup>>,
    /// The threads, each with the moment at which its present look-up began.
    threads: Mutex<Vec<Option<Instant>>>,
}

impl Default for Threads {
    fn default() -> Self {
        let (queue, waiting) = mpsc::sync_channel(QUEUE);
        let crew = Crew { waiting: Mutex::new(waiting), threads: Mutex::default() };
        Self { queue, untaken: Arc::default(), crew: Arc::new(crew) }
    }
}

impl Threads {
    /// Runs a look-up on one of the threads and waits for it, but not for longer than `bound`.
    pub(super) async fn ask<T, F>(&self, bound: Duration, look: F) -> Result<T, NssError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        if self.all_hang(bound) {
            return Err(NssError::Busy);
        }
        let (answer, answered) = oneshot::channel();
        let untaken = Arc::clone(&self.untaken);
        untaken.fetch_add(1, Ordering::AcqRel);
        let lookup: Lookup = Box::new(move || {
            untaken.fetch_sub(1, Ordering::AcqRel);
            // Nobody hears it where the caller gave up: those who came later are not kept waiting for it.
            if !answer.is_closed() {
                let _ = answer.send(look());
            }
        });
        self.queue.try_send(lookup).map_err(|_| NssError::Busy)?;
        self.start_one();
        match tokio::time::timeout(bound, answered).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) => Err(NssError::Failed(Errno::EIO)),
            Err(_) => Err(NssError::Timeout),
        }
    }

    /// Whether every thread has been in one look-up for longer than `bound`.
    fn all_hang(&self, bound: Duration) -> bool {
        let threads = lock(&self.crew.threads);
        threads.len() == THREADS && threads.iter().all(|since| since.is_some_and(|since| since.elapsed() > bound))
    }

    /// Starts another thread where all are in a look-up and one waits.
    fn start_one(&self) {
        let mut threads = lock(&self.crew.threads);
        let idle = threads.iter().filter(|since| since.is_none()).count();
        let number = threads.len();
        if number >= THREADS || self.untaken.load(Ordering::Acquire) <= idle {
            return;
        }
        let crew = Arc::clone(&self.crew);
        let thread = std::thread::Builder::new().name(format!("nss-{number}")).stack_size(256 * 1024);
        if thread.spawn(move || crew.work(number)).is_ok() {
            threads.push(None);
        }
    }
}

impl Crew {
    /// The life of thread `number`: look-ups, one after the other.
    fn work(&self, number: usize) {
        loop {
            let next = lock(&self.waiting).recv();
            let Ok(lookup) = next else { return };
            self.mark(number, Some(Instant::now()));
            lookup();
            self.mark(number, None);
        }
    }

    fn mark(&self, number: usize, since: Option<Instant>) {
        if let Some(thread) = lock(&self.threads).get_mut(number) {
            *thread = since;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_threads_end_with_whoever_asks() {
        let threads = Threads::default();
        for _ in 0..3 {
            threads.ask(Duration::from_secs(5), || ()).await.unwrap();
        }
        let crew = Arc::downgrade(&threads.crew);
        assert!(crew.strong_count() > 1, "somebody looked it up");
        drop(threads);
        let dropped = Instant::now();
        while crew.strong_count() > 0 {
            assert!(dropped.elapsed() < Duration::from_secs(5), "a thread waits for ever");
            tokio::task::yield_now().await;
        }
    }
}
