//! A device in ordinary memory, for tests without a GPU. It is a fake: it proves what the engine does
//! with memory, streams and graphs, not that a GPU does the same.
//!
//! Stricter than a GPU where that finds faults: memory starts as finite garbage instead of zeros,
//! every access must lie inside a living buffer, and any call can be made to fail.
//!
//! One of the files with `unsafe`: a fake TensorRT gets plain addresses, as the real one does.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{ALIGNMENT, Append, Clear, Device, DeviceError, KEPT, NO_TOKEN, SLICES, Shorten};
use crate::safe::Stream;

/// Work in a stream.
pub type Work = Arc<dyn Fn() + Send + Sync>;

/// The device and what else is on it; cheap to clone.
#[derive(Clone, Default)]
pub struct HostDevice {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    /// Lengths of living buffers, by address.
    buffers: BTreeMap<u64, usize>,
    recording: Option<Vec<Work>>,
    /// Calls until one fails.
    fails_in: Option<usize>,
    calls: Vec<&'static str>,
}

/// Memory of a [`HostDevice`].
pub struct HostBuffer {
    device: HostDevice,
    address: u64,
    layout: Layout,
}

/// Recorded work.
pub struct HostGraph(Vec<Work>);

impl HostDevice {
    /// An idle device.
    pub fn new() -> Self {
        Self::default()
    }

    /// Call number `n` from now on fails, and none after it.
    pub fn fail_in(&self, n: usize) {
        self.shared().fails_in = Some(n);
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        self.shared().fails_in = None;
    }

    /// Names of all calls so far.
    pub fn calls(&self) -> Vec<&'static str> {
        self.shared().calls.clone()
    }

    /// Bytes of living buffers.
    pub fn bytes(&self) -> usize {
        self.shared().buffers.values().sum()
    }

    /// Counts a call, of this device or of a library that runs on it.
    ///
    /// # Errors
    /// When it is the one that was to fail.
    pub fn call(&self, name: &'static str) -> Result<(), DeviceError> {
        let mut shared = self.shared();
        shared.calls.push(name);
        match shared.fails_in {
            Some(0) => {
                shared.fails_in = None;
                Err(DeviceError::Call { call: name, detail: "made to fail".to_owned() })
            }
            Some(n) => {
                shared.fails_in = Some(n - 1);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Does the work, or records it.
    pub fn push(&self, work: Work) {
        if let Some(recording) = &mut self.shared().recording {
            recording.push(work);
            return;
        }
        work();
    }

    /// Whether work is being recorded.
    pub fn is_recording(&self) -> bool {
        self.shared().recording.is_some()
    }

    /// Content of device memory.
    ///
    /// # Panics
    /// When it does not lie inside one living buffer.
    pub fn load(&self, address: u64, bytes: usize) -> Vec<u8> {
        let from = self.checked(address, bytes);
        let mut into = vec![0; bytes];
        // SAFETY: inside a living buffer, says `checked`; tests use a device from one thread.
        unsafe { ptr::copy_nonoverlapping(from, into.as_mut_ptr(), bytes) };
        into
    }

    /// Changes device memory.
    ///
    /// # Panics
    /// When it does not lie inside one living buffer.
    pub fn store(&self, address: u64, bytes: &[u8]) {
        let to = self.checked(address, bytes.len());
        // SAFETY: as above.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
    }

    fn checked(&self, address: u64, bytes: usize) -> *mut u8 {
        let shared = self.shared();
        let inside = shared.buffers.range(..=address).next_back();
        let fits = inside.is_some_and(|(start, len)| address + bytes as u64 <= start + *len as u64);
        assert!(fits, "{bytes} bytes at {address:#x} are in no buffer");
        ptr::with_exposed_provenance_mut(address as usize)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn integers(&self, address: u64, n: usize) -> Vec<i32> {
        let bytes = self.load(address, 4 * n);
        bytes.as_chunks::<4>().0.iter().map(|word| i32::from_ne_bytes(*word)).collect()
    }

    fn append_now(&self, append: &Append) {
        let Append { table, rows, tensors, first_slot, batch, heads, context, tokens, words } =
            *append;
        let rows = self.integers(rows, 2 * batch);
        let table = self.load(table, 16 * tensors);
        let table: Vec<u64> =
            table.as_chunks::<8>().0.iter().map(|word| u64::from_ne_bytes(*word)).collect();
        for tensor in 0..tensors {
            for row in 0..batch {
                let (start, n) = (rows[2 * row] as usize, rows[2 * row + 1] as usize);
                for head in 0..heads {
                    let from = 4 * (row * heads + head) * tokens * words;
                    let to = 4 * (((first_slot + row) * heads + head) * context + start) * words;
                    let new = self.load(table[tensor] + from as u64, 4 * n * words);
                    self.store(table[tensors + tensor] + to as u64, &new);
                }
            }
        }
    }

    fn clear_now(&self, clear: &Clear) {
        let Clear { table, rows, tensors, first_slot, batch, heads, context, words } = *clear;
        let rows = self.integers(rows, 2 * batch);
        let table = self.load(table, 16 * tensors);
        let cache = table.as_chunks::<8>().0[tensors..].iter().map(|it| u64::from_ne_bytes(*it));
        for address in cache {
            for row in 0..batch {
                let (start, n) = (rows[2 * row] as usize, rows[2 * row + 1] as usize);
                for head in 0..heads {
                    let to = 4 * (((first_slot + row) * heads + head) * context + start) * words;
                    self.store(address + to as u64, &vec![0; 4 * n * words]);
                }
            }
        }
    }

    fn shorten_now(&self, shorten: &Shorten) {
        let Shorten { logits, rows, vocab, best, .. } = *shorten;
        let width = vocab.div_ceil(SLICES);
        let dropped_at = best + (rows * SLICES * KEPT * 8) as u64;
        for row in 0..rows {
            let bytes = self.load(logits + (4 * row * vocab) as u64, 4 * vocab);
            let values: Vec<f32> =
                bytes.as_chunks::<4>().0.iter().map(|word| f32::from_ne_bytes(*word)).collect();
            for slice in 0..SLICES {
                let begin = (slice * width).min(vocab);
                let end = (begin + width).min(vocab);
                let mut sorted: Vec<(f32, u32)> =
                    (begin..end).map(|token| (values[token], token as u32)).collect();
                // As the kernel compares: 0 and -0 are equal.
                let by_logit = |a: &(f32, u32), b: &(f32, u32)| b.0.partial_cmp(&a.0);
                sorted
                    .sort_by(|a, b| by_logit(a, b).unwrap_or(Ordering::Equal).then(a.1.cmp(&b.1)));
                sorted.resize((KEPT + 1).max(sorted.len()), (f32::NEG_INFINITY, NO_TOKEN));
                let kept: Vec<u8> = sorted[..KEPT]
                    .iter()
                    .flat_map(|(logit, token)| [logit.to_ne_bytes(), token.to_ne_bytes()].concat())
                    .collect();
                let index = (row * SLICES + slice) as u64;
                self.store(best + index * (KEPT * 8) as u64, &kept);
                self.store(dropped_at + 4 * index, &sorted[KEPT].0.to_ne_bytes());
            }
        }
    }
}

impl Device for HostDevice {
    type Buffer = HostBuffer;
    type Graph = HostGraph;

    fn bind(&self) -> Result<(), DeviceError> {
        self.call("bind")
    }

    fn stream(&self) -> Stream {
        Stream::DEFAULT
    }

    fn alloc(&mut self, _what: &'static str, bytes: usize) -> Result<HostBuffer, DeviceError> {
        self.call("alloc")?;
        let layout = Layout::from_size_align(bytes.max(1), ALIGNMENT)
            .map_err(|error| DeviceError::Call { call: "alloc", detail: error.to_string() })?;
        // SAFETY: the layout is not empty; all bytes are written before anyone reads them.
        let pointer = unsafe {
            let pointer = alloc(layout);
            assert!(!pointer.is_null(), "out of memory in a test");
            // Not zero: who relies on zeroed memory beyond what a row holds is found out.
            ptr::write_bytes(pointer, 0xA5, layout.size());
            pointer
        };
        let address = pointer.expose_provenance() as u64;
        self.shared().buffers.insert(address, layout.size());
        Ok(HostBuffer { device: self.clone(), address, layout })
    }

    fn address(&self, buffer: &HostBuffer) -> u64 {
        buffer.address
    }

    fn write(&mut self, buffer: &HostBuffer, bytes: &[u8]) -> Result<(), DeviceError> {
        self.call("write")?;
        self.store(buffer.address, bytes);
        Ok(())
    }

    fn read(
        &mut self,
        buffer: &HostBuffer,
        offset: usize,
        into: &mut [u8],
    ) -> Result<(), DeviceError> {
        self.call("read")?;
        into.copy_from_slice(&self.load(buffer.address + offset as u64, into.len()));
        Ok(())
    }

    unsafe fn append(&mut self, append: &Append) -> Result<(), DeviceError> {
        self.call("append")?;
        let (device, append) = (self.clone(), *append);
        self.push(Arc::new(move || device.append_now(&append)));
        Ok(())
    }

    unsafe fn clear(&mut self, clear: &Clear) -> Result<(), DeviceError> {
        self.call("clear")?;
        let (device, clear) = (self.clone(), *clear);
        self.push(Arc::new(move || device.clear_now(&clear)));
        Ok(())
    }

    unsafe fn shorten(&mut self, shorten: &Shorten) -> Result<(), DeviceError> {
        self.call("shorten")?;
        let (device, shorten) = (self.clone(), *shorten);
        self.push(Arc::new(move || device.shorten_now(&shorten)));
        Ok(())
    }

    fn begin_capture(&mut self) -> Result<(), DeviceError> {
        self.call("begin_capture")?;
        self.shared().recording = Some(Vec::new());
        Ok(())
    }

    fn end_capture(&mut self) -> Result<HostGraph, DeviceError> {
        let recorded = self.shared().recording.take().unwrap_or_default();
        self.call("end_capture")?;
        Ok(HostGraph(recorded))
    }

    unsafe fn launch(&mut self, graph: &HostGraph) -> Result<(), DeviceError> {
        self.call("launch")?;
        graph.0.iter().for_each(|work| work());
        Ok(())
    }

    fn synchronize(&mut self) -> Result<(), DeviceError> {
        self.call("synchronize")
    }
}

impl Drop for HostBuffer {
    fn drop(&mut self) {
        self.device.shared().buffers.remove(&self.address);
        let pointer = ptr::with_exposed_provenance_mut(self.address as usize);
        // SAFETY: allocated in `alloc` with this layout, freed once.
        unsafe { dealloc(pointer, self.layout) };
    }
}
