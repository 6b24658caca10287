//! The block formats of GGML that are read: 32 or 256 weights with their scales beside them.
//!
//! Layouts: `ggml/src/ggml-common.h`. The order of operations is that of the `gguf` package's
//! dequantiser, all in f32 and each operation rounded once, so that results are equal to the bit;
//! `tests/formats.rs` compares them.

use half::f16;

/// Weights of one super-block of the K formats.
pub const SUPER_BLOCK: usize = 256;
/// Weights of one block of the simple formats.
pub const BLOCK: usize = 32;

/// A block format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(non_camel_case_types, reason = "the names that every tool prints")]
pub enum BlockType {
    /// `d * (q - 8)`, 4 bits.
    Q4_0,
    /// `d * q`, 8 bits.
    Q8_0,
    /// `d * sc * q - dmin * m`, 4 bits, a 6-bit scale and minimum for each 32.
    Q4_K,
    /// As `Q4_K`, 5 bits.
    Q5_K,
    /// `d * sc * (q - 32)`, 6 bits, an 8-bit scale for each 16.
    Q6_K,
}

impl BlockType {
    /// Every format that is read.
    pub const ALL: [Self; 5] = [Self::Q4_0, Self::Q8_0, Self::Q4_K, Self::Q5_K, Self::Q6_K];

    /// Weights of a block.
    pub const fn block_len(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q8_0 => BLOCK,
            Self::Q4_K | Self::Q5_K | Self::Q6_K => SUPER_BLOCK,
        }
    }

    /// Bytes of a block.
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::Q4_0 => 18,
            Self::Q8_0 => 34,
            Self::Q4_K => 144,
            Self::Q5_K => 176,
            Self::Q6_K => 210,
        }
    }

    /// Bytes of `len` weights, a whole number of blocks.
    pub const fn bytes(self, len: usize) -> usize {
        len / self.block_len() * self.block_bytes()
    }

    /// Widens whole blocks to f32.
    ///
    /// # Panics
    /// When `bytes` and `out` are not the same whole number of blocks.
    pub fn dequantize(self, bytes: &[u8], out: &mut [f32]) {
        assert_eq!(bytes.len() % self.block_bytes(), 0, "whole blocks");
        assert_eq!(bytes.len(), self.bytes(out.len()), "as many blocks as room for them");
        let blocks = bytes.chunks_exact(self.block_bytes());
        for (block, out) in blocks.zip(out.chunks_exact_mut(self.block_len())) {
            match self {
                Self::Q4_0 => q4_0(block, out),
                Self::Q8_0 => q8_0(block, out),
                Self::Q4_K => q4_k(block, out),
                Self::Q5_K => q5_k(block, out),
                Self::Q6_K => q6_k(block, out),
            }
        }
    }
}

impl std::fmt::Display for BlockType {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, formatter)
    }
}

fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// `d`, then 16 bytes: low nibbles are weights 0..16, high nibbles 16..32.
fn q4_0(block: &[u8], out: &mut [f32]) {
    let d = half_at(block, 0);
    for (i, byte) in block[2..].iter().enumerate() {
        out[i] = d * (f32::from(byte & 15) - 8.0);
        out[i + 16] = d * (f32::from(byte >> 4) - 8.0);
    }
}

/// `d`, then 32 signed bytes.
fn q8_0(block: &[u8], out: &mut [f32]) {
    let d = half_at(block, 0);
    for (out, byte) in out.iter_mut().zip(&block[2..]) {
        *out = d * f32::from(*byte as i8);
    }
}

/// `d`, `dmin`, 12 bytes of scales, 128 bytes of nibbles.
fn q4_k(block: &[u8], out: &mut [f32]) {
    let (d, dmin) = (half_at(block, 0), half_at(block, 2));
    let (scales, nibbles) = (&block[4..16], &block[16..144]);
    for (group, out) in out.chunks_exact_mut(32).enumerate() {
        let (scale, minimum) = scale_and_minimum(scales, group);
        let (scale, minimum) = (d * scale, dmin * minimum);
        let bytes = &nibbles[group / 2 * 32..][..32];
        for (out, byte) in out.iter_mut().zip(bytes) {
            *out = scale * f32::from(byte >> (4 * (group % 2)) & 15) - minimum;
        }
    }
}

/// As `Q4_K`, with 32 bytes of fifth bits before the nibbles: bit `g` belongs to group `g`.
fn q5_k(block: &[u8], out: &mut [f32]) {
    let (d, dmin) = (half_at(block, 0), half_at(block, 2));
    let (scales, fifth, nibbles) = (&block[4..16], &block[16..48], &block[48..176]);
    for (group, out) in out.chunks_exact_mut(32).enumerate() {
        let (scale, minimum) = scale_and_minimum(scales, group);
        let (scale, minimum) = (d * scale, dmin * minimum);
        let bytes = &nibbles[group / 2 * 32..][..32];
        for ((out, byte), fifth) in out.iter_mut().zip(bytes).zip(fifth) {
            let q = byte >> (4 * (group % 2)) & 15 | (fifth >> group & 1) << 4;
            *out = scale * f32::from(q) - minimum;
        }
    }
}

/// Scale and minimum of one of the eight groups: 6 bits each, the first four groups whole, the
/// others with their upper two bits in the first eight bytes.
fn scale_and_minimum(scales: &[u8], group: usize) -> (f32, f32) {
    let (scale, minimum) = if group < 4 {
        (scales[group] & 63, scales[group + 4] & 63)
    } else {
        let low = scales[group + 4];
        (low & 15 | scales[group - 4] >> 6 << 4, low >> 4 | scales[group] >> 6 << 4)
    };
    (f32::from(scale), f32::from(minimum))
}

/// 128 bytes of low nibbles, 64 bytes of upper bit pairs, 16 signed scales, `d`.
fn q6_k(block: &[u8], out: &mut [f32]) {
    let (low, high, scales) = (&block[..128], &block[128..192], &block[192..208]);
    let d = half_at(block, 208);
    for (i, out) in out.iter_mut().enumerate() {
        // Each half of 128 weights has four runs of 32: two in the low nibbles, two in the high.
        let (half, run, lane) = (i / 128, i % 128 / 32, i % 32);
        let nibble = low[64 * half + 32 * (run % 2) + lane] >> (4 * (run / 2)) & 15;
        let pair = high[32 * half + lane] >> (2 * run) & 3;
        let q = f32::from(nibble | pair << 4) - 32.0;
        *out = d * f32::from(scales[i / 16] as i8) * q;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_ggml() {
        let bits: Vec<f32> = BlockType::ALL
            .iter()
            .map(|kind| 8.0 * kind.block_bytes() as f32 / kind.block_len() as f32)
            .collect();
        assert_eq!(bits, [4.5, 8.5, 4.5, 5.5, 6.5625]);
    }

    #[test]
    fn any_bytes_widen_without_panic() {
        for kind in BlockType::ALL {
            for fill in [0, 0x7f, 0x80, 0xff] {
                let mut out = vec![0.0; 2 * kind.block_len()];
                kind.dequantize(&vec![fill; 2 * kind.block_bytes()], &mut out);
            }
        }
    }
}
