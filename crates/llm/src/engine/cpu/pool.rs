//! A small thread pool for loops that take microseconds.
//!
//! A worker that runs out of work spins for [`SPIN`] and then sleeps. Spinning makes the hundreds
//! of short loops of one decode step cheap; sleeping keeps the pool polite on a busy robot, where
//! barriers that only spin slow each other down by an order of magnitude.
//!
//! One of the files with `unsafe`: a job borrows from the caller's stack, and threads write
//! disjoint parts of one buffer. Both are sound because [`Pool::run`] returns only after every
//! worker has left the job.
#![allow(unsafe_code)]

use std::any::Any;
use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a thread spins for work, or for the others to finish, before it sleeps.
const SPIN: Duration = Duration::from_micros(50);
/// Blocks per thread of a column loop: enough to even out a thread that was held up, few enough
/// to keep the blocks long.
const BLOCKS_PER_THREAD: usize = 4;

/// Threads that run one loop at a time. The caller of a loop is one of them.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

/// A job with its lifetime erased; dereferenced only while `run` holds the borrow.
type Job = *const (dyn Fn() + Sync);

struct Shared {
    /// Counts jobs; a change tells workers that `job` holds a new one.
    generation: AtomicU64,
    job: UnsafeCell<Option<Job>>,
    /// Workers still inside the current job.
    busy: AtomicUsize,
    stop: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    work: Bell,
    done: Bell,
}

// SAFETY: `job` is written only by `run` while no worker is inside a job (busy == 0), and read by
// workers only after the generation changed, which `run` does after the write (SeqCst). The
// pointee is `Sync`, so workers may share it. All other fields are Sync by themselves.
unsafe impl Sync for Shared {}
// SAFETY: the raw pointer is the only field that is not Send; it is dead outside `run`.
unsafe impl Send for Shared {}

impl Pool {
    /// A pool of `threads` threads in all (at least one: the caller).
    pub(crate) fn new(threads: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            generation: AtomicU64::new(0),
            job: UnsafeCell::new(None),
            busy: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            panic: Mutex::new(None),
            work: Bell::default(),
            done: Bell::default(),
        });
        let mut pool = Self { shared, workers: Vec::new() };
        for index in 1..threads {
            let shared = Arc::clone(&pool.shared);
            let builder = std::thread::Builder::new().name(format!("hymt-cpu-{index}"));
            pool.workers.push(builder.spawn(move || work(&shared))?);
        }
        Ok(pool)
    }

    pub(crate) fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `f(index, row)` for each row of `data`, `[n, width]`.
    pub(crate) fn for_rows<T: Send>(
        &mut self,
        data: &mut [T],
        width: usize,
        f: impl Fn(usize, &mut [T]) + Sync,
    ) {
        let mut nothing = vec![(); data.len() / width];
        self.for_row_pairs((data, width), (&mut nothing, 1), |index, row, _| f(index, row));
    }

    /// Calls `f(index, a, b)` for each pair of rows of two buffers with equally many rows.
    pub(crate) fn for_row_pairs<A: Send, B: Send>(
        &mut self,
        (a, a_width): (&mut [A], usize),
        (b, b_width): (&mut [B], usize),
        f: impl Fn(usize, &mut [A], &mut [B]) + Sync,
    ) {
        let n_rows = a.len() / a_width;
        assert!(
            a.len() == n_rows * a_width && b.len() == n_rows * b_width,
            "buffers hold whole rows"
        );
        let (first, second) = (Base(a.as_mut_ptr()), Base(b.as_mut_ptr()));
        self.for_indices(n_rows, |index| {
            // SAFETY: `for_indices` yields each index below n_rows once, so no two threads get the
            // same row; the assertion above keeps every row inside its buffer; the buffers stay
            // borrowed until this method returns. `A` and `B` are Send.
            let (a, b) = unsafe {
                (
                    std::slice::from_raw_parts_mut(first.at(index * a_width), a_width),
                    std::slice::from_raw_parts_mut(second.at(index * b_width), b_width),
                )
            };
            f(index, a, b);
        });
    }

    /// Cuts the columns of each of `outputs`, `[n_rows, width]`, into blocks that start at a
    /// multiple of `align`, and calls `f(output, block)` for each; one thread per block.
    pub(super) fn for_columns(
        &mut self,
        n_rows: usize,
        outputs: &mut [(&mut [f32], usize)],
        align: usize,
        f: impl Fn(usize, &mut Columns<'_>) + Sync,
    ) {
        let total: usize = outputs.iter().map(|(_, width)| width).sum();
        let n_blocks = if self.threads() == 1 { 1 } else { self.threads() * BLOCKS_PER_THREAD };
        let block = total.div_ceil(n_blocks).next_multiple_of(align);
        let mut blocks = Vec::with_capacity(n_blocks + outputs.len());
        for (index, (data, width)) in outputs.iter_mut().enumerate() {
            assert_eq!(data.len(), n_rows * *width, "an output holds whole rows");
            let base = Base(data.as_mut_ptr());
            for start in (0..*width).step_by(block) {
                blocks.push((index, base, *width, start..(start + block).min(*width)));
            }
        }
        self.for_indices(blocks.len(), |index| {
            let (output, base, width, range) = &blocks[index];
            f(
                *output,
                &mut Columns {
                    base: base.0,
                    n_rows,
                    width: *width,
                    range: range.clone(),
                    borrowed: PhantomData,
                },
            );
        });
    }

    /// Calls `f` once for each index below `n`, on whichever thread is free.
    fn for_indices(&mut self, n: usize, f: impl Fn(usize) + Sync) {
        if n <= 1 || self.workers.is_empty() {
            (0..n).for_each(f);
            return;
        }
        let next = AtomicUsize::new(0);
        self.run(&|| {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= n {
                    break;
                }
                f(index);
            }
        });
    }

    /// Runs `job` on every thread at once and waits for all of them.
    fn run(&mut self, job: &(dyn Fn() + Sync)) {
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes. The pointer is dropped below, after busy == 0.
        let erased = unsafe { std::mem::transmute::<&(dyn Fn() + Sync), Job>(job) };
        // SAFETY: `&mut self` excludes another `run`, and the previous one left with busy == 0,
        // so no worker reads `job` until the generation changes.
        unsafe { *shared.job.get() = Some(erased) };
        shared.busy.store(self.workers.len(), Ordering::SeqCst);
        shared.generation.fetch_add(1, Ordering::SeqCst);
        shared.work.ring();
        let own = catch_unwind(AssertUnwindSafe(job));
        shared.done.wait(|| shared.busy.load(Ordering::SeqCst) == 0);
        let other = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(payload) = own.err().or(other) {
            resume_unwind(payload);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.generation.fetch_add(1, Ordering::SeqCst);
        self.shared.work.ring();
        for worker in self.workers.drain(..) {
            // A worker catches the panics of its jobs, so this cannot fail.
            let _ = worker.join();
        }
    }
}

/// Some columns of every row of a row-major buffer, for the one thread that may write them.
pub(super) struct Columns<'a> {
    base: *mut f32,
    n_rows: usize,
    width: usize,
    range: Range<usize>,
    borrowed: PhantomData<&'a mut [f32]>,
}

impl Columns<'_> {
    pub(super) fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// The columns of one row; element 0 is column `range().start`.
    pub(super) fn row(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.n_rows, "row {row} of {}", self.n_rows);
        // SAFETY: the row is inside the buffer (`n_rows * width` elements, checked when this value
        // was made), and the ranges of different values are disjoint; `&mut self` keeps two slices
        // of one value from overlapping in time.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.base.add(row * self.width + self.range.start),
                self.range.len(),
            )
        }
    }
}

/// Start of a buffer that several threads write disjoint parts of.
struct Base<T>(*mut T);

impl<T> Clone for Base<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Base<T> {}

// SAFETY: a plain address; the parts that threads derive from it are disjoint, see the callers.
unsafe impl<T: Send> Sync for Base<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Base<T> {}

impl<T> Base<T> {
    /// # Safety
    /// `offset` must lie inside the buffer.
    unsafe fn at(&self, offset: usize) -> *mut T {
        // SAFETY: the caller's duty.
        unsafe { self.0.add(offset) }
    }
}

fn work(shared: &Shared) {
    let mut seen = 0;
    loop {
        shared.work.wait(|| shared.generation.load(Ordering::SeqCst) != seen);
        seen = shared.generation.load(Ordering::SeqCst);
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        // SAFETY: the generation changed, so `run` has written the job and waits for this worker
        // to count itself out before it touches the cell again or lets the borrow end.
        let job = unsafe { (*shared.job.get()).map(|job| &*job) };
        if let Some(job) = job
            && let Err(payload) = catch_unwind(AssertUnwindSafe(job))
        {
            *shared.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(payload);
        }
        if shared.busy.fetch_sub(1, Ordering::SeqCst) == 1 {
            shared.done.ring();
        }
    }
}

/// Lets threads wait for a condition: spinning first, then asleep until someone rings.
#[derive(Default)]
struct Bell {
    sleepers: AtomicUsize,
    lock: Mutex<()>,
    condvar: Condvar,
}

impl Bell {
    fn wait(&self, ready: impl Fn() -> bool) {
        const SPINS_PER_CLOCK_READ: usize = 32;
        let start = Instant::now();
        while start.elapsed() < SPIN {
            for _ in 0..SPINS_PER_CLOCK_READ {
                if ready() {
                    return;
                }
                std::hint::spin_loop();
            }
        }
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        // Counted before the condition is read again: whoever changes it afterwards sees the
        // count (both SeqCst) and takes the lock, so the wake-up cannot fall in between.
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        while !ready() {
            guard = self.condvar.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    /// To be called after the condition became true.
    fn ring(&self) {
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.condvar.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_visited_once() {
        for threads in [1, 2, 5] {
            let mut pool = Pool::new(threads).unwrap();
            for n in [0, 1, 2, 7, 300] {
                let mut data = vec![0_u32; n * 3];
                pool.for_rows(&mut data, 3, |index, row| {
                    row.iter_mut().for_each(|x| *x += index as u32 + 1);
                });
                let expected: Vec<u32> = (0..n as u32).flat_map(|i| [i + 1; 3]).collect();
                assert_eq!(data, expected);
            }
        }
    }

    #[test]
    fn column_blocks_cover_each_output_once() {
        for threads in [1, 2, 3] {
            let mut pool = Pool::new(threads).unwrap();
            for (a, b) in [(1, 1), (5, 64), (100, 7)] {
                let (mut first, mut second) = (vec![0.0; 3 * a], vec![0.0; 3 * b]);
                let outputs = &mut [(&mut first[..], a), (&mut second[..], b)];
                pool.for_columns(3, outputs, 4, |_, block| {
                    assert_eq!(block.range().start % 4, 0);
                    for row in 0..3 {
                        block.row(row).iter_mut().for_each(|x| *x += 1.0);
                    }
                });
                assert!(first.iter().chain(&second).all(|x| *x == 1.0));
            }
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let mut pool = Pool::new(3).unwrap();
        for _ in 0..20 {
            let mut data = vec![0; 100];
            let caught = catch_unwind(AssertUnwindSafe(|| {
                pool.for_rows(&mut data, 1, |index, _| assert!(index != 37, "row 37"));
            }));
            assert!(caught.is_err());
        }
        let mut data = vec![0; 100];
        pool.for_rows(&mut data, 1, |_, row| row[0] = 1);
        assert_eq!(data, [1; 100]);
    }

    #[test]
    fn sleeping_workers_wake_up() {
        let mut pool = Pool::new(4).unwrap();
        for _ in 0..20 {
            std::thread::sleep(SPIN * 4);
            let mut data = vec![0; 64];
            pool.for_rows(&mut data, 1, |_, row| row[0] = 1);
            assert_eq!(data, [1; 64]);
        }
    }
}
