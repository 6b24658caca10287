//! For the tests of this crate: single kernels on buffers with guards, and faults on demand.
//!
//! One of the files with `unsafe`: it launches kernels, whose parameters the compiler cannot check.
//! Everything goes through the launches and buffers that the engine uses.
#![allow(unsafe_code)]
#![allow(missing_docs, reason = "hidden, and for tests alone")]

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytemuck::Pod;
use hymt_llm::config::ModelConfig;
use hymt_llm::engine::{Engine, Slot};

use crate::device::{DeviceBuffer, Gpu, Module, probe};
use crate::engine::CudaEngine;
use crate::error::CudaError;
use crate::nvrtc::Nvrtc;
use crate::program::{Program, Shape, Target, default_cache};

/// What surrounds a buffer, on each side. Bytes; keeps the alignment that kernels need.
const GUARD_BYTES: usize = 1024;
const GUARD: u8 = 0xa5;
/// What is in an output before a launch: NaN as f32, -1 as an integer.
const POISON: u8 = 0xff;

/// A device with the kernels for one shape.
pub struct Rig {
    module: Module,
    gpu: Arc<Gpu>,
    pub shape: Shape,
}

/// Device memory between guards.
pub struct Guarded {
    buffer: DeviceBuffer,
    bytes: usize,
}

/// A parameter of a kernel.
#[derive(Clone, Copy)]
pub enum Argument<'a> {
    Buffer(&'a Guarded),
    /// Address of byte `.1` of a buffer.
    At(&'a Guarded, usize),
    Null,
    Int(i32),
    Long(u64),
    /// A struct, as words of eight bytes.
    Struct(&'a [u64]),
}

impl Rig {
    pub fn new(config: &ModelConfig) -> Result<Self, CudaError> {
        let (device, shape) = (probe(0)?, Shape::new(config)?);
        let gpu = Gpu::open(&device, None)?;
        let target = Target { arch: device.arch, shared_bytes: device.shared_bytes };
        let (program, nvrtc) = (Program::new(&shape, &target), Nvrtc::open(None)?);
        let mut module = Module::new(&gpu);
        let cache = default_cache();
        module.load(&program.loading.machine_code(&nvrtc, cache.as_deref())?.cubin)?;
        for code in program.steps_code(&nvrtc, cache.as_deref())? {
            module.load(&code.cubin)?;
        }
        Ok(Self { module, gpu, shape })
    }

    /// Memory that holds nothing yet.
    pub fn poisoned(&self, bytes: usize) -> Result<Guarded, CudaError> {
        self.guarded(&vec![POISON; bytes])
    }

    /// Memory that holds `values`.
    pub fn holding<T: Pod>(&self, values: &[T]) -> Result<Guarded, CudaError> {
        self.guarded(bytemuck::cast_slice(values))
    }

    fn guarded(&self, content: &[u8]) -> Result<Guarded, CudaError> {
        let mut all = vec![GUARD; content.len() + 2 * GUARD_BYTES];
        all[GUARD_BYTES..][..content.len()].copy_from_slice(content);
        let buffer = self.gpu.alloc("a test", all.len())?;
        buffer.write(0, &all)?;
        Ok(Guarded { buffer, bytes: content.len() })
    }

    /// An `int` constant of the kernels.
    pub fn constant(&self, name: &str) -> Result<i32, CudaError> {
        self.gpu.bind()?;
        self.module.constant(name)
    }

    /// Launches a kernel and waits for it. The arguments must be those of the kernel.
    pub fn launch(
        &self,
        kernel: &str,
        grid: [usize; 3],
        arguments: &[Argument<'_>],
    ) -> Result<(), CudaError> {
        self.gpu.bind()?;
        let mut values: Vec<Vec<u64>> = arguments.iter().map(Argument::words).collect();
        let mut pointers: Vec<*mut c_void> =
            values.iter_mut().map(|words| words.as_mut_ptr().cast()).collect();
        let kernel = match kernel.strip_prefix("product_") {
            Some(name) => {
                self.module.kernel_with_shared(kernel, &format!("product_shared_{name}"))?
            }
            None => self.module.kernel(kernel)?,
        };
        // SAFETY: the test vouches for the arguments; its buffers outlive the synchronisation.
        unsafe { self.gpu.launch(kernel, grid, &mut pointers)? };
        self.gpu.synchronize()
    }
}

impl Guarded {
    pub fn address(&self) -> u64 {
        self.buffer.at(GUARD_BYTES)
    }

    /// The content.
    ///
    /// # Panics
    /// When something was written outside the buffer.
    pub fn read<T: Pod>(&self) -> Result<Vec<T>, CudaError> {
        let mut all = vec![0; self.bytes + 2 * GUARD_BYTES];
        self.buffer.read(0, &mut all)?;
        let (before, rest) = all.split_at(GUARD_BYTES);
        let (content, after) = rest.split_at(self.bytes);
        for (side, guard) in [("before", before), ("after", after)] {
            let at = guard.iter().position(|byte| *byte != GUARD);
            assert!(at.is_none(), "written {side} a buffer of {} bytes: {at:?}", self.bytes);
        }
        Ok(content.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect())
    }
}

impl Argument<'_> {
    fn words(&self) -> Vec<u64> {
        match *self {
            Self::Buffer(buffer) => vec![buffer.address()],
            Self::At(buffer, offset) => vec![buffer.address() + offset as u64],
            Self::Null => vec![0],
            // The parameter is the lower half, as on every machine that has a CUDA driver.
            Self::Int(value) => vec![u64::from(value as u32)],
            Self::Long(value) => vec![value],
            Self::Struct(words) => words.to_vec(),
        }
    }
}

/// Fills an engine's workspace with garbage: a step must write it before it reads it.
pub fn poison_workspace(engine: &mut CudaEngine) -> Result<(), CudaError> {
    engine.poison_workspace(POISON)
}

/// Fills the pages of the KV cache with garbage. All sequences are forgotten.
pub fn poison_cache(engine: &mut CudaEngine) -> Result<(), CudaError> {
    for slot in 0..engine.spec().slots {
        engine.release(Slot(slot as u16));
    }
    engine.poison_cache(POISON)
}

/// Whether steps of a few tokens take the decode kernels, or go the way of prompts.
pub fn set_decodes(engine: &mut CudaEngine, decodes: bool) {
    engine.set_decodes(decodes);
}

/// From now on decode kernels of `engine` run as on a device with `blocks` multiprocessors: one with so many
/// multiprocessors, where each block has more tiles of each matrix.
pub fn limit_blocks(engine: &mut CudaEngine, blocks: usize) {
    engine.limit_blocks(blocks);
}

/// Device memory that an engine's buffers take. Bytes.
pub fn allocated_bytes(engine: &CudaEngine) -> usize {
    engine.gpu().allocated_bytes()
}

/// From now on buffers of `engine` take `bytes` at most.
pub fn limit_memory(engine: &CudaEngine, bytes: usize) {
    engine.gpu().limit_memory(bytes);
}

/// What can go wrong with a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A kernel gives up.
    Trap,
    /// A kernel writes where no memory is.
    StrayWrite,
    /// Of the launches to come, the one of this number, from 0, is refused.
    Launch(usize),
}

const FAULTY_KERNELS: &str = r#"
extern "C" __global__ void trap_now() { asm volatile("trap;"); }
extern "C" __global__ void stray_write() { *(volatile int*)16 = 1; }
"#;

/// Makes a fault happen to the device of `engine`, now or soon.
pub fn inject(engine: &CudaEngine, fault: Fault) -> Result<(), CudaError> {
    let gpu = engine.gpu();
    let kernel = match fault {
        Fault::Launch(number) => {
            gpu.refusal.0.store(number + 1, Ordering::Relaxed);
            return Ok(());
        }
        Fault::Trap => "trap_now",
        Fault::StrayWrite => "stray_write",
    };
    let arch = format!("sm_{}", engine.device().arch);
    let compiled = Nvrtc::open(None)?.compile(FAULTY_KERNELS, &arch, &[])?;
    let mut module = Module::new(gpu);
    module.load(&compiled.cubin)?;
    gpu.bind()?;
    // SAFETY: the kernel has no parameters. What it does is confined to its context.
    unsafe { gpu.launch(module.kernel(kernel)?, [1, 1, 1], &mut [])? };
    // Unloading the module waits for the kernel; the next call hears of its fault.
    Ok(())
}

/// Counts launches down to the one to refuse; 0 refuses none.
#[derive(Default)]
pub(crate) struct Refusal(AtomicUsize);

impl Refusal {
    pub(crate) fn count(&self) -> Result<(), CudaError> {
        match self.0.load(Ordering::Relaxed) {
            0 => return Ok(()),
            left => self.0.store(left - 1, Ordering::Relaxed),
        }
        if self.0.load(Ordering::Relaxed) > 0 {
            return Ok(());
        }
        Err(CudaError::Call { call: "cuLaunchKernel", detail: "refused by a test".to_owned() })
    }
}
