//! Host memory that the FAKE TensorRT takes for the device's.

/// As TensorRT asks for.
const ALIGNMENT: usize = 256;

/// Zeroed bytes at an aligned address that does not move.
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    at: usize,
}

impl Buffer {
    pub(crate) fn new(length: usize) -> Self {
        let bytes = vec![0; length + ALIGNMENT];
        let at = bytes.as_ptr().align_offset(ALIGNMENT);
        Self { bytes, at }
    }

    pub(crate) fn address(&self) -> u64 {
        self.bytes[self.at..].as_ptr().expose_provenance() as u64
    }

    pub(crate) fn write<T: Copy>(&mut self, values: &[T]) {
        let length = size_of_val(values);
        let place = &mut self.bytes[self.at..][..length];
        // SAFETY: as many bytes on both sides, and any bytes are bytes.
        unsafe {
            let values = values.as_ptr().cast::<u8>();
            std::ptr::copy_nonoverlapping(values, place.as_mut_ptr(), length);
        }
    }

    pub(crate) fn read_f32(&self, count: usize) -> Vec<f32> {
        let bytes = self.bytes[self.at..][..count * 4].chunks_exact(4);
        bytes.map(|it| f32::from_le_bytes(it.try_into().unwrap())).collect()
    }

    /// The bytes that were handed in or computed.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.at..]
    }
}
