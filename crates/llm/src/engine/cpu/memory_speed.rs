//! How fast this machine reads its memory.

use std::time::Instant;

/// Far more than the caches of most machines hold, and little enough for a small board. Bytes.
const BYTES: usize = 256 << 20;
const RUNS: usize = 5;

/// GB/s at which `threads` threads read memory in plain code; the best of some runs, as what slows the
/// others down is not the memory.
pub(super) fn read_speed(threads: usize) -> f64 {
    let words: Vec<u64> = (0..(BYTES / size_of::<u64>()) as u64).collect();
    let speed = |_| {
        let started = Instant::now();
        std::thread::scope(|scope| {
            for part in words.chunks(words.len().div_ceil(threads)) {
                scope.spawn(move || std::hint::black_box(sum(part)));
            }
        });
        BYTES as f64 / started.elapsed().as_secs_f64() / 1e9
    };
    (0..RUNS).map(speed).fold(0.0, f64::max)
}

/// The compiler makes wide loads of this.
fn sum(words: &[u64]) -> u64 {
    words.iter().fold(0, |sum, word| sum.wrapping_add(*word))
}
