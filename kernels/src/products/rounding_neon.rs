//! How activations are rounded, on ARM: the numbers of x86-64's instructions, which the compiler makes vectors of.

/// Blocks with smaller numbers are taken for zeros: 1 / scale would overflow.
const LEAST: f32 = 1e-30;

/// Numbers that are compared side by side.
const LANES: usize = 16;

/// The scale of some numbers that are rounded to ±`most`, and what they are multiplied by: 0 for none.
#[inline(always)]
pub(super) fn scale(x: &[f32], most: f32) -> (f32, f32) {
    let (mut max, mut bad) = ([0.0f32; LANES], [0u32; LANES]);
    for x in x.as_chunks::<LANES>().0 {
        for ((x, max), bad) in x.iter().zip(&mut max).zip(&mut bad) {
            *bad |= u32::from(!x.is_finite());
            *max = max.max(x.abs());
        }
    }
    if bad.iter().any(|bad| *bad != 0) {
        return (f32::NAN, 0.0);
    }
    let max = max.into_iter().fold(0.0, f32::max);
    if max < LEAST { (0.0, 0.0) } else { (max / most, most / max) }
}

/// Rounds numbers to ±127.
#[inline(always)]
pub(super) fn round_to_signed(x: &[f32; 32], factor: f32, bytes: &mut [i8; 32]) {
    for (byte, x) in bytes.iter_mut().zip(x) {
        *byte = round(*x, factor) as i8;
    }
}

/// Rounds numbers to ±127, and gives the sum of what they are rounded to.
#[inline(always)]
pub(super) fn round_to_bytes(x: &[f32; 32], factor: f32, bytes: &mut [u8; 32]) -> i32 {
    let mut sum = 0;
    for (byte, x) in bytes.iter_mut().zip(x) {
        let number = round(*x, factor);
        *byte = (number as i8).cast_unsigned();
        sum += number;
    }
    sum
}

/// Rounds numbers to ±127.
#[inline(always)]
pub(super) fn round_to_words(x: &[f32; 16], factor: f32, words: &mut [i16; 16]) {
    for (word, x) in words.iter_mut().zip(x) {
        *word = round(*x, factor) as i16;
    }
}

/// Ties to even.
#[inline(always)]
fn round(x: f32, factor: f32) -> i32 {
    (x * factor).round_ties_even() as i32
}
