//! Which KV-cache slots are free.

use crate::engine::Slot;

/// Hands out the slots of an engine; the lowest free one first, so that few are ever touched.
#[derive(Debug)]
pub(super) struct SlotAllocator {
    taken: Vec<bool>,
}

impl SlotAllocator {
    pub(super) fn new(slots: usize) -> Self {
        Self { taken: vec![false; slots] }
    }

    pub(super) fn take(&mut self) -> Option<Slot> {
        let free = self.taken.iter().position(|taken| !taken)?;
        self.taken[free] = true;
        Some(Slot(u16::try_from(free).expect("an engine has at most u16::MAX slots")))
    }

    pub(super) fn give_back(&mut self, slot: Slot) {
        let taken = &mut self.taken[usize::from(slot.0)];
        debug_assert!(*taken, "slot {slot:?} was given back twice");
        *taken = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lowest_free_slot_first_and_none_twice() {
        let mut slots = SlotAllocator::new(2);
        assert_eq!(slots.take(), Some(Slot(0)));
        assert_eq!(slots.take(), Some(Slot(1)));
        assert_eq!(slots.take(), None);
        slots.give_back(Slot(0));
        assert_eq!(slots.take(), Some(Slot(0)));
        assert_eq!(slots.take(), None);
    }
}
