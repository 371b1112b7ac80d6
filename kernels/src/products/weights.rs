//! Quantised weights as GGUF holds them, and how their blocks are decoded.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

use half::f16;

/// Weights of a column that share a scale of the activations, and a block of the K-quants.
pub const BLOCK: usize = 256;

/// Weights of a block of [`Kind::Q8_0`].
const SMALL_BLOCK: usize = 32;

/// Bytes of a block of [`Kind::Q8_0`]: an f16 and the weights.
pub(super) const SMALL_BYTES: usize = 2 + SMALL_BLOCK;

/// Types of weights that there are products for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 4 bits, with a scale and a minimum per 32.
    Q4K,
    /// 5 bits, with a scale and a minimum per 32.
    Q5K,
    /// 6 bits, with a scale per 16.
    Q6K,
    /// 8 bits, with a scale per 32.
    Q8_0,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Q4K, Self::Q5K, Self::Q6K, Self::Q8_0];

    /// Bytes of [`BLOCK`] weights.
    pub(super) const fn bytes(self) -> usize {
        let (weights, bytes) = self.block();
        BLOCK / weights * bytes
    }

    /// Weights and bytes of a block.
    pub const fn block(self) -> (usize, usize) {
        match self {
            Self::Q4K => (BLOCK, 144),
            Self::Q5K => (BLOCK, 176),
            Self::Q6K => (BLOCK, 210),
            Self::Q8_0 => (SMALL_BLOCK, SMALL_BYTES),
        }
    }
}

/// A matrix of weights. Its columns, the product's, are rows of the file.
#[derive(Debug, Clone, Copy)]
pub struct Weights<'a> {
    /// How they are stored.
    pub kind: Kind,
    /// From the first column's first byte to the last one's last.
    pub data: &'a [u8],
    /// Bytes from a column to the next.
    pub stride: usize,
    /// Weights in a column: whole blocks.
    pub width: usize,
    /// Number of columns.
    pub columns: usize,
}

impl<'a> Weights<'a> {
    /// The bytes of a column; none beyond the last.
    #[inline]
    pub(super) fn column(&self, column: usize) -> &'a [u8] {
        if column >= self.columns {
            return &[];
        }
        let (weights, bytes) = self.kind.block();
        &self.data[column * self.stride..][..self.width / weights * bytes]
    }

    /// Asks for the memory of block `block` of [`BLOCK`] weights of a column: the order in which columns are decoded is
    /// not one that a CPU foresees.
    #[inline(always)]
    pub(super) fn prefetch(&self, column: usize, block: usize) {
        let bytes = self.kind.bytes();
        let at = column * self.stride + block * bytes;
        for line in (at..at + bytes).step_by(64) {
            if line < self.data.len() {
                let address = self.data[line..].as_ptr();
                #[cfg(target_arch = "x86_64")]
                // SAFETY: within the weights, and a hint only.
                unsafe {
                    _mm_prefetch::<_MM_HINT_T0>(address.cast());
                }
                #[cfg(target_arch = "aarch64")]
                // SAFETY: as above.
                unsafe {
                    std::arch::asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, preserves_flags));
                }
            }
        }
    }

    /// Decodes block `block` of [`BLOCK`] weights of a column. What is beyond the last column or weight is zero.
    #[inline(always)]
    pub fn decode(&self, column: usize, block: usize, to: &mut Decoded) {
        let bytes = self.kind.bytes();
        let data = self.column(column);
        let data = &data[data.len().min(block * bytes)..];
        let data = &data[..data.len().min(bytes)];
        match self.kind {
            _ if data.is_empty() => *to = Decoded::default(),
            Kind::Q4K => decode_q4_k(data, to),
            Kind::Q5K => decode_q5_k(data, to),
            Kind::Q6K => decode_q6_k(data, to),
            Kind::Q8_0 => decode_q8_0(data, to),
        }
    }
}

/// A decoded block of a column. For the K-quants a weight is `d · scale · weight + minimum`, with a scale per 16 (Q6_K)
/// or per 32; for Q8_0 `minimum · weight`, where "minimum" is the scale per 32.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub struct Decoded {
    /// Between −2ⁿ⁻¹ and 2ⁿ⁻¹ − 1 for n bits.
    pub weights: [i8; BLOCK],
    /// Integer factors.
    pub scales: [i16; 16],
    /// A number for every 32 weights.
    pub per_32: [f32; 8],
    /// The factor of the block.
    pub d: f32,
}

impl Default for Decoded {
    fn default() -> Self {
        Self { weights: [0; BLOCK], scales: [0; 16], per_32: [0.0; 8], d: 0.0 }
    }
}

#[inline(always)]
fn half(data: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([data[at], data[at + 1]]).to_f32()
}

#[inline(always)]
fn decode_q6_k(data: &[u8], to: &mut Decoded) {
    let (low, rest) = data.split_at(128);
    let (high, rest) = rest.split_at(64);
    for half in 0..2 {
        let (low, high) = (&low[half * 64..][..64], &high[half * 32..][..32]);
        let weights = &mut to.weights[half * 128..][..128];
        for i in 0..32 {
            let put = |nibble: u8, bits: u8| (nibble & 15 | (bits & 3) << 4).cast_signed() - 32;
            weights[i] = put(low[i], high[i]);
            weights[i + 32] = put(low[i + 32], high[i] >> 2);
            weights[i + 64] = put(low[i] >> 4, high[i] >> 4);
            weights[i + 96] = put(low[i + 32] >> 4, high[i] >> 6);
        }
    }
    for (scale, byte) in to.scales.iter_mut().zip(rest) {
        *scale = i16::from(byte.cast_signed());
    }
    to.d = half(rest, 16);
}

#[inline(always)]
fn decode_q4_k(data: &[u8], to: &mut Decoded) {
    decode_scales(data, 8.0, to);
    let nibbles = &data[16..144];
    for part in 0..4 {
        let nibbles = &nibbles[part * 32..][..32];
        let weights = &mut to.weights[part * 64..][..64];
        for i in 0..32 {
            weights[i] = (nibbles[i] & 15).cast_signed() - 8;
            weights[i + 32] = (nibbles[i] >> 4).cast_signed() - 8;
        }
    }
}

#[inline(always)]
fn decode_q5_k(data: &[u8], to: &mut Decoded) {
    decode_scales(data, 16.0, to);
    let (high, nibbles) = (&data[16..48], &data[48..176]);
    for part in 0..4 {
        let nibbles = &nibbles[part * 32..][..32];
        let weights = &mut to.weights[part * 64..][..64];
        for i in 0..32 {
            let bits = high[i] >> (2 * part);
            weights[i] = (nibbles[i] & 15 | (bits & 1) << 4).cast_signed() - 16;
            weights[i + 32] = (nibbles[i] >> 4 | (bits & 2) << 3).cast_signed() - 16;
        }
    }
}

/// The scales and minima of Q4_K and Q5_K, 6 bits each. Weights are stored unsigned: `zero` is what signed ones lack.
#[inline(always)]
fn decode_scales(data: &[u8], zero: f32, to: &mut Decoded) {
    let (d, d_min) = (half(data, 0), half(data, 2));
    let packed = &data[4..16];
    for i in 0..8 {
        let (scale, min) = if i < 4 {
            (packed[i] & 63, packed[i + 4] & 63)
        } else {
            let low = packed[i + 4];
            (low & 15 | packed[i - 4] >> 6 << 4, low >> 4 | packed[i] >> 6 << 4)
        };
        to.scales[i] = i16::from(scale);
        to.per_32[i] = d * f32::from(scale) * zero - d_min * f32::from(min);
    }
    to.d = d;
}

/// `data` may end with the column, before the block.
#[inline(always)]
fn decode_q8_0(data: &[u8], to: &mut Decoded) {
    let blocks = data.as_chunks::<SMALL_BYTES>().0;
    if blocks.len() < BLOCK / SMALL_BLOCK {
        *to = Decoded::default();
    }
    for ((block, weights), scale) in
        blocks.iter().zip(to.weights.as_chunks_mut::<SMALL_BLOCK>().0).zip(&mut to.per_32)
    {
        let [a, b, bytes @ ..] = block;
        *scale = f16::from_le_bytes([*a, *b]).to_f32();
        *weights = bytes.map(u8::cast_signed);
    }
}

#[cfg(test)]
impl Kind {
    /// Makes the factors of random blocks small and finite.
    pub fn tame(self, data: &mut [u8]) {
        let places: &[usize] = match self {
            Self::Q4K | Self::Q5K => &[1, 3],
            Self::Q6K => &[209],
            Self::Q8_0 => &[1],
        };
        for block in data.chunks_mut(self.block().1) {
            places.iter().for_each(|place| block[*place] = 0x10 + (block[*place] & 0x87));
        }
    }
}

#[cfg(test)]
impl Weights<'_> {
    /// A column's weights.
    pub fn numbers(&self, column: usize) -> Vec<f32> {
        let mut decoded = Decoded::default();
        let mut number = |i: usize| {
            self.decode(column, i / BLOCK, &mut decoded);
            let (i, d) = (i % BLOCK, &decoded);
            let weight = f32::from(d.weights[i]);
            match self.kind {
                Kind::Q8_0 => weight * d.per_32[i / 32],
                Kind::Q6K => weight * f32::from(d.scales[i / 16]) * d.d,
                Kind::Q4K | Kind::Q5K => weight * f32::from(d.scales[i / 32]) * d.d + d.per_32[i / 32],
            }
        };
        (0..self.width).map(&mut number).collect()
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "x86_64")]
    use llama_cpp_sys_2 as sys;

    use super::*;
    #[cfg(target_arch = "x86_64")]
    use crate::random::SplitMix64;

    /// ggml's own decoding.
    #[cfg(target_arch = "x86_64")]
    fn expected(kind: Kind, data: &[u8], width: usize) -> Vec<f32> {
        let ggml = match kind {
            Kind::Q4K => sys::GGML_TYPE_Q4_K,
            Kind::Q5K => sys::GGML_TYPE_Q5_K,
            Kind::Q6K => sys::GGML_TYPE_Q6_K,
            Kind::Q8_0 => sys::GGML_TYPE_Q8_0,
        };
        let mut numbers = vec![0.0; width];
        // SAFETY: the data has `width` weights of this type, in whole blocks.
        unsafe {
            let to_float = (*sys::ggml_get_type_traits(ggml)).to_float.unwrap();
            to_float(data.as_ptr().cast(), numbers.as_mut_ptr(), i64::try_from(width).unwrap());
        }
        numbers
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn every_kind_is_decoded_as_ggml_does() {
        let mut random = SplitMix64::new(5);
        for kind in Kind::ALL {
            let (weights, bytes) = kind.block();
            for blocks in [1, 3, 9] {
                let (width, stride) = (blocks * weights, blocks * bytes);
                let mut data: Vec<u8> = (0..2 * stride).map(|_| (random.uniform() * 256.0) as u8).collect();
                kind.tame(&mut data);
                let matrix = Weights { kind, data: &data, stride, width, columns: 2 };
                for column in 0..2 {
                    let expected = expected(kind, &data[column * stride..][..stride], width);
                    for (got, expected) in matrix.numbers(column).iter().zip(expected) {
                        assert!((got - expected).abs() < 1e-6, "{kind:?}: {got}, ggml says {expected}");
                    }
                }
            }
        }
    }

    #[test]
    fn beyond_the_last_column_there_are_zeros() {
        let data = [0x11; 210];
        let matrix = Weights { kind: Kind::Q6K, data: &data, stride: 210, width: 256, columns: 1 };
        let mut decoded = Decoded::default();
        matrix.decode(0, 0, &mut decoded);
        assert!(decoded.d != 0.0);
        matrix.decode(1, 0, &mut decoded);
        assert!(decoded.d == 0.0 && decoded.weights == [0; BLOCK] && decoded.scales == [0; 16]);
    }
}
