//! What the blocks of a decode kernel tell each other.
//!
//! A step finds every word of its exchange awaited (`AWAITED` in `base.cu`: all bits set) or untold
//! (`UNTOLD`: the highest bit of each byte) and leaves values; meanwhile it clears the other exchange,
//! which the step before used, in the same way. So two take turns, and no step has to wait for a buffer
//! to be cleared.

use std::sync::Arc;

use crate::device::{DeviceBuffer, Gpu};
use crate::error::CudaError;
use crate::program::{DECODE_TOKENS_MAX, PAGE_TOKENS, SPLIT_TOKENS, Shape};

const WHAT: &str = "the exchange of decode steps";
/// Tokens that there is room for: one sequence may bring as many, with a draft.
const ROWS: usize = DECODE_TOKENS_MAX;
/// Each byte of what is awaited, and of what one block has yet to quantise for all.
const AWAITED: u8 = 0xff;
const UNTOLD: u8 = 0x80;

pub(super) struct Exchange {
    buffers: [DeviceBuffer; 2],
    /// Results of attention over splits, each with the tag of its step and layer.
    partials: DeviceBuffer,
    current: usize,
    /// Tokens that the kernel of the step before is for: it leaves something for as many.
    used_n: usize,
    tag: u32,
    n_layers: u32,
}

/// What one step is given.
pub(super) struct Turn {
    pub(super) exchange: u64,
    pub(super) used: u64,
    pub(super) used_n: i32,
    pub(super) rows: i32,
    pub(super) partials: u64,
    pub(super) tag: u32,
}

impl Exchange {
    pub(super) fn new(gpu: &Arc<Gpu>, shape: &Shape, pages_max: usize) -> Result<Self, CudaError> {
        let splits_max = pages_max * (PAGE_TOKENS / SPLIT_TOKENS);
        let new = || {
            let buffer = gpu.alloc(WHAT, shape.exchange_bytes(ROWS))?;
            buffer.fill(AWAITED)?;
            shape.told_parts(ROWS).try_for_each(|part| buffer.fill_part(part, UNTOLD))?;
            Ok::<_, CudaError>(buffer)
        };
        Ok(Self {
            buffers: [new()?, new()?],
            partials: gpu.alloc(WHAT, 8 * ROWS * splits_max * shape.split_words())?,
            current: 0,
            used_n: 0,
            tag: 1,
            n_layers: shape.config.n_layers as u32,
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.buffers.iter().map(DeviceBuffer::bytes).sum::<usize>() + self.partials.bytes()
    }

    /// What the next step, by the kernel for `n` tokens, is given. A step that was given its turn and then not run is the
    /// engine's last: the words of the one before would pass for its own.
    pub(super) fn take(&mut self, n: usize) -> Result<Turn, CudaError> {
        if self.tag.checked_add(self.n_layers).is_none() {
            // No result of long ago may pass for one of now.
            self.partials.fill(0)?;
            self.tag = 1;
        }
        let turn = Turn {
            exchange: self.buffers[self.current].address(),
            used: self.buffers[1 - self.current].address(),
            used_n: self.used_n as i32,
            rows: ROWS as i32,
            partials: self.partials.address(),
            tag: self.tag,
        };
        self.tag += self.n_layers;
        self.current = 1 - self.current;
        self.used_n = n;
        Ok(turn)
    }
}
