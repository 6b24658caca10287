//! How fast this machine reads its memory.

use std::time::Instant;

/// Far more than the caches of most machines hold, and little enough for a small board. Bytes.
const BYTES: usize = 256 << 20;
const RUNS: usize = 5;

/// GB/s at which `threads` threads read memory; the median of some runs.
pub(super) fn read_speed(threads: usize) -> f64 {
    let words: Vec<u64> = (0..(BYTES / size_of::<u64>()) as u64).collect();
    let mut speeds: Vec<f64> = (0..RUNS)
        .map(|_| {
            let started = Instant::now();
            std::thread::scope(|scope| {
                for part in words.chunks(words.len().div_ceil(threads)) {
                    scope.spawn(move || std::hint::black_box(sum(part)));
                }
            });
            BYTES as f64 / started.elapsed().as_secs_f64() / 1e9
        })
        .collect();
    speeds.sort_by(f64::total_cmp);
    speeds[RUNS / 2]
}

/// The compiler makes wide loads of this.
fn sum(words: &[u64]) -> u64 {
    words.iter().fold(0, |sum, word| sum.wrapping_add(*word))
}
