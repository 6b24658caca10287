//! The GPU's kernels, copies and graphs against their twins in ordinary memory, with fresh random
//! inputs; and what is left of the GPU after a fault. Needs a GPU and NVRTC; says so without.

#![allow(unsafe_code, reason = "kernels are told addresses")]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test says what it skipped")]

use std::io::Write as _;
use std::process::Command;

use hymt_cuda::CudaError;
use hymt_tensorrt::device::cuda::CudaDevice;
use hymt_tensorrt::device::host::HostDevice;
use hymt_tensorrt::device::{Append, Clear, Device, DeviceError, Shorten, probe};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

fn gpu() -> Option<CudaDevice> {
    match probe(0) {
        Ok(info) => Some(CudaDevice::open(&info).unwrap()),
        Err(error) => {
            // Straight to the stream: the test runner swallows what the macros print.
            let said = format!("\n*** SKIPPED: needs an NVIDIA GPU: {error} ***\n");
            let _ = writeln!(std::io::stderr(), "{said}");
            let required = std::env::var_os("HYMT_REQUIRE_CUDA").is_some();
            assert!(!required, "HYMT_REQUIRE_CUDA is set, but there is no GPU: {error}");
            None
        }
    }
}

fn bytes<T: bytemuck::NoUninit>(values: &[T]) -> Vec<u8> {
    bytemuck::cast_slice(values).to_vec()
}

/// Appends thrice, twice from a graph with other rows, clears some of it, and returns the whole cache.
fn append<D: Device>(device: &mut D, seed: u64) -> Vec<Vec<u8>> {
    const TENSORS: usize = 4;
    let mut random = SmallRng::seed_from_u64(seed);
    let (slots, batch, first_slot) = (5, 3, 1);
    let (heads, context, tokens) = (random.random_range(1..4), 40, random.random_range(1..17));
    let words = [1, 7, 64][random.random_range(0..3)];
    device.bind().unwrap();
    let mut filled = |device: &mut D, words: usize| {
        let buffer = device.alloc("a test", 4 * words).unwrap();
        let values: Vec<u32> = (0..words).map(|_| random.random()).collect();
        device.write(&buffer, &bytes(&values)).unwrap();
        buffer
    };
    let new: Vec<_> =
        (0..TENSORS).map(|_| filled(device, batch * heads * tokens * words)).collect();
    let cache: Vec<_> =
        (0..TENSORS).map(|_| filled(device, slots * heads * context * words)).collect();
    let addresses: Vec<u64> = new.iter().chain(&cache).map(|it| device.address(it)).collect();
    let table = device.alloc("a test", 16 * TENSORS).unwrap();
    device.write(&table, &bytes(&addresses)).unwrap();
    let rows = device.alloc("a test", 8 * batch).unwrap();
    let mut place = |device: &mut D| {
        let mut values = Vec::new();
        for _ in 0..batch {
            // None, some, or all tokens of a row; up to the end of the cache.
            let n = random.random_range(0..=tokens);
            values.extend([random.random_range(0..=context - n) as i32, n as i32]);
        }
        device.write(&rows, &bytes(&values)).unwrap();
    };
    let work = Append {
        table: device.address(&table),
        rows: device.address(&rows),
        tensors: TENSORS,
        first_slot,
        batch,
        heads,
        context,
        tokens,
        words,
    };
    place(device);
    // SAFETY: the buffers are as long as `work` says, their rows inside the cache, and all live to the end.
    unsafe { device.append(&work) }.unwrap();
    device.begin_capture().unwrap();
    // SAFETY: as above.
    unsafe { device.append(&work) }.unwrap();
    let graph = device.end_capture().unwrap();
    for _ in 0..2 {
        place(device);
        // SAFETY: as above.
        unsafe { device.launch(&graph) }.unwrap();
    }
    place(device);
    let clear = Clear {
        table: work.table,
        rows: work.rows,
        tensors: TENSORS,
        first_slot,
        batch,
        heads,
        context,
        words,
    };
    // SAFETY: as above.
    unsafe { device.clear(&clear) }.unwrap();
    device.synchronize().unwrap();
    let mut out = vec![vec![0; 4 * slots * heads * context * words]; TENSORS];
    for (buffer, out) in cache.iter().zip(&mut out) {
        device.read(buffer, 0, out).unwrap();
    }
    out
}

fn shorten<D: Device>(device: &mut D, seed: u64) -> Vec<u8> {
    let mut random = SmallRng::seed_from_u64(seed);
    let (rows, vocab) = (random.random_range(1..9), [3, 41, 5000, 120_818][seed as usize % 4]);
    // Few different values, so that ties are common; both zeros and no chance at all among them.
    let values: Vec<f32> = (0..rows * vocab)
        .map(|_| match random.random_range(0..50) {
            0 => f32::NEG_INFINITY,
            1 => -0.0,
            2 => 0.0,
            n if n % 2 == 0 => (n - 25) as f32,
            _ => random.random_range(-30.0..30.0),
        })
        .collect();
    device.bind().unwrap();
    let logits = device.alloc("a test", 4 * values.len()).unwrap();
    device.write(&logits, &bytes(&values)).unwrap();
    let mut out = vec![0; Shorten::best_bytes(rows)];
    let best = device.alloc("a test", out.len()).unwrap();
    let (at, to) = (device.address(&logits), device.address(&best));
    // SAFETY: both buffers are as long as it takes, and live to the end.
    unsafe { device.shorten(&Shorten { logits: at, rows, vocab, best: to }) }.unwrap();
    device.read(&best, 0, &mut out).unwrap();
    out
}

/// Set for the process that breaks its GPU.
const ENV_BREAK: &str = "HYMT_TEST_BREAK_GPU";

/// Not a test: the process that the next one starts. A device made after the fault is either right, or
/// refused as lost.
#[test]
fn break_the_gpu() {
    if std::env::var_os(ENV_BREAK).is_none() {
        return;
    }
    let mut gpu = gpu().unwrap();
    let expected = append(&mut gpu, 1);
    let nowhere = Shorten { logits: 16, rows: 1, vocab: 8, best: 16 };
    // SAFETY: nothing is at these addresses, which is the point; the kernel faults, and this process
    // does nothing else with the GPU.
    unsafe { gpu.shorten(&nowhere) }.unwrap();
    let fault = gpu.synchronize().unwrap_err();
    assert!(matches!(fault, DeviceError::Cuda(CudaError::Call { .. })), "{fault:?}");
    eprintln!("the fault: {fault}");
    drop(gpu);
    match CudaDevice::open(&probe(0).unwrap()) {
        Ok(mut again) => assert!(append(&mut again, 1) == expected),
        Err(DeviceError::Cuda(error @ CudaError::Lost { ordinal: 0, .. })) => eprintln!("{error}"),
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn after_a_fault_the_gpu_is_right_or_lost() {
    if gpu().is_none() {
        return;
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "break_the_gpu", "--nocapture"])
        .env(ENV_BREAK, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stderr);
    eprintln!("{said}");
    assert!(child.status.success(), "{said}");
    assert!(said.contains("the fault: "), "nothing ran: {said}");
}

#[test]
fn the_gpu_does_what_its_twin_does() {
    // The twin alone already finds what leaves its buffer.
    let twin = |seed| {
        let mut host = HostDevice::new();
        (append(&mut host, seed), shorten(&mut host, seed))
    };
    let expected: Vec<_> = (0..40).map(twin).collect();
    let Some(mut gpu) = gpu() else { return };
    for (seed, (appended, shortened)) in (0..).zip(expected) {
        assert!(append(&mut gpu, seed) == appended, "append, seed {seed}");
        assert!(shorten(&mut gpu, seed) == shortened, "shorten, seed {seed}");
    }
}
