//! The KV cache in pages of 256 tokens, allocated when a sequence grows into them.

use std::sync::Arc;

use crate::device::{DeviceBuffer, Gpu};
use crate::error::CudaError;
use crate::program::{PAGE_TOKENS, Shape};

/// Pages of every slot, and the table of their addresses on the device.
pub(super) struct KvPages {
    gpu: Arc<Gpu>,
    slots: Vec<SlotPages>,
    /// Released pages, kept for the next sequence.
    free: Vec<DeviceBuffer>,
    /// `[slots][pages_max]` addresses.
    table: DeviceBuffer,
    addresses: Vec<u64>,
    is_table_old: bool,
    pages_max: usize,
    page_bytes: usize,
}

#[derive(Default)]
struct SlotPages {
    n_tokens: usize,
    pages: Vec<DeviceBuffer>,
}

impl KvPages {
    pub(super) fn new(
        gpu: &Arc<Gpu>,
        shape: &Shape,
        n_slots: usize,
        context_tokens_max: usize,
    ) -> Result<Self, CudaError> {
        let pages_max = context_tokens_max.div_ceil(PAGE_TOKENS);
        let addresses = vec![0; n_slots * pages_max];
        Ok(Self {
            gpu: Arc::clone(gpu),
            slots: (0..n_slots).map(|_| SlotPages::default()).collect(),
            free: Vec::new(),
            table: gpu.alloc("the KV cache", 8 * addresses.len())?,
            addresses,
            is_table_old: false,
            pages_max,
            page_bytes: shape.page_bytes(),
        })
    }

    pub(super) fn n_tokens(&self, slot: usize) -> usize {
        self.slots[slot].n_tokens
    }

    pub(super) fn pages_max(&self) -> usize {
        self.pages_max
    }

    pub(super) fn table(&self) -> u64 {
        self.table.address()
    }

    pub(super) fn bytes(&self) -> usize {
        let used: usize = self.slots.iter().map(|slot| slot.pages.len()).sum();
        (used + self.free.len()) * self.page_bytes
    }

    /// Cuts the slot back to `position` tokens and makes room for `n` more.
    pub(super) fn open(&mut self, slot: usize, position: usize, n: usize) -> Result<(), CudaError> {
        let end = position + n;
        while self.slots[slot].pages.len() < end.div_ceil(PAGE_TOKENS) {
            let page = match self.free.pop() {
                Some(page) => page,
                None => self.gpu.alloc("the KV cache", self.page_bytes)?,
            };
            let pages = &mut self.slots[slot].pages;
            self.addresses[slot * self.pages_max + pages.len()] = page.address();
            pages.push(page);
            self.is_table_old = true;
        }
        self.slots[slot].n_tokens = end;
        Ok(())
    }

    /// Tells the device about new pages.
    pub(super) fn upload(&mut self) -> Result<(), CudaError> {
        if std::mem::take(&mut self.is_table_old) {
            self.table.write(0, bytemuck::cast_slice(&self.addresses))?;
        }
        Ok(())
    }

    pub(super) fn release(&mut self, slot: usize) {
        let slot = std::mem::take(&mut self.slots[slot]);
        self.free.extend(slot.pages);
    }

    /// Fills the pages that nobody holds.
    #[cfg(feature = "testing")]
    pub(super) fn poison_free(&self, byte: u8) -> Result<(), CudaError> {
        self.free.iter().try_for_each(|page| page.fill(byte))
    }
}
