//! Q4_K, Q5_K and Q6_K, many blocks at a time, with the bytes of ggml's own quantisers.
//!
//! ggml searches each block's scale with sums that depend on their order, which keeps a compiler
//! from vectorising them. Here sixteen blocks are searched side by side, a lane each, and each
//! lane does ggml's operations in ggml's order (`make_qkx2_quants`, `make_qx_quants` and
//! `quantize_row_q{4,5,6}_K_ref` in `ggml/src/ggml-quants.c`). That needs the plain roundings that
//! ggml has on x86-64, where it is built without fused multiply-add; elsewhere ggml itself is used.

use half::f16;

/// Blocks that are searched side by side.
const LANES: usize = 16;
/// Numbers in a super-block (`QK_K`).
const SUPER: usize = 256;
/// Blocks whose largest number is below this are all zero (`GROUP_MAX_EPS`).
const EPSILON: f32 = 1e-15;

type Lanes = [f32; LANES];

/// What distinguishes Q4_K from Q5_K.
trait Affine {
    const MAX: i32;
    const FIRST: f32;
    const STEPS: i32;
    const BYTES: usize;
    /// Packs the codes of a super-block after its 16 bytes of scales.
    fn pack(codes: &[u8; SUPER], out: &mut [u8]);
}

struct Q4K;
struct Q5K;

impl Affine for Q4K {
    const MAX: i32 = 15;
    const FIRST: f32 = -1.0;
    const STEPS: i32 = 20;
    const BYTES: usize = 144;

    #[inline(always)]
    fn pack(codes: &[u8; SUPER], out: &mut [u8]) {
        for (codes, out) in codes.chunks_exact(64).zip(out.chunks_exact_mut(32)) {
            for (i, out) in out.iter_mut().enumerate() {
                *out = codes[i] | (codes[i + 32] << 4);
            }
        }
    }
}

impl Affine for Q5K {
    const MAX: i32 = 31;
    const FIRST: f32 = -0.5;
    const STEPS: i32 = 15;
    const BYTES: usize = 176;

    #[inline(always)]
    fn pack(codes: &[u8; SUPER], out: &mut [u8]) {
        let (high, low) = out.split_at_mut(32);
        high.fill(0);
        for (group, (codes, low)) in codes.chunks_exact(64).zip(low.chunks_exact_mut(32)).enumerate() {
            for i in 0..32 {
                let (a, b) = (codes[i], codes[i + 32]);
                high[i] |= (a >> 4) << (2 * group) | (b >> 4) << (2 * group + 1);
                low[i] = (a & 15) | (b & 15) << 4;
            }
        }
    }
}

/// ggml's `nearest_int`: the nearest integer, halves to even, by the bits of a sum.
#[inline(always)]
fn nearest(x: f32) -> i32 {
    ((x + 12_582_912.0).to_bits() & 0x007f_ffff) as i32 - 0x0040_0000
}

#[inline(always)]
fn lanes(f: impl Fn(usize) -> f32) -> Lanes {
    std::array::from_fn(f)
}

/// What the search finds for each lane's block.
struct Found<const N: usize> {
    scale: Lanes,
    /// The offset that is subtracted: never negative.
    min: Lanes,
    codes: [[u8; LANES]; N],
}

/// Blocks of 32 numbers, one per lane, and their sums weighted by average plus magnitude.
struct Blocks<'a> {
    x: &'a [Lanes; 32],
    average: Lanes,
    min: Lanes,
    max: Lanes,
    sum_w: Lanes,
    sum_x: Lanes,
}

/// A scale and an offset for each lane.
struct Fit {
    scale: Lanes,
    min: Lanes,
    determinant: Lanes,
}

impl<'a> Blocks<'a> {
    #[inline(always)]
    fn new(x: &'a [Lanes; 32]) -> Self {
        let mut square_sum = [0.0; LANES];
        for x in x {
            for i in 0..LANES {
                square_sum[i] += x[i] * x[i];
            }
        }
        let average = lanes(|i| (square_sum[i] / 32.0).sqrt());
        let weight = |x: f32, i: usize| average[i] + x.abs();
        let (mut min, mut max) = (x[0], x[0]);
        let mut sum_w = lanes(|i| weight(x[0][i], i));
        let mut sum_x = lanes(|i| sum_w[i] * x[0][i]);
        for x in &x[1..] {
            for i in 0..LANES {
                min[i] = if x[i] < min[i] { x[i] } else { min[i] };
                max[i] = if x[i] > max[i] { x[i] } else { max[i] };
                let w = weight(x[i], i);
                sum_w[i] += w;
                sum_x[i] += w * x[i];
            }
        }
        Self { x, average, min, max, sum_w, sum_x }
    }

    #[inline(always)]
    fn weight(&self, x: f32, i: usize) -> f32 {
        self.average[i] + x.abs()
    }

    /// Least squares for the codes that `inverse` and `min` give.
    #[inline(always)]
    fn fit<T: Affine>(&self, inverse: &Lanes, min: &Lanes) -> Fit {
        let (mut sum_l, mut sum_l2, mut sum_xl) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        for x in self.x {
            for i in 0..LANES {
                let code = nearest(inverse[i] * (x[i] - min[i])).clamp(0, T::MAX) as f32;
                let wl = self.weight(x[i], i) * code;
                sum_l[i] += wl;
                sum_l2[i] += wl * code;
                sum_xl[i] += wl * x[i];
            }
        }
        let (sum_w, sum_x) = (&self.sum_w, &self.sum_x);
        let determinant = lanes(|i| sum_w[i] * sum_l2[i] - sum_l[i] * sum_l[i]);
        let fit_min = lanes(|i| (sum_l2[i] * sum_x[i] - sum_l[i] * sum_xl[i]) / determinant[i]);
        let fit_scale = lanes(|i| (sum_w[i] * sum_xl[i] - sum_x[i] * sum_l[i]) / determinant[i]);
        Fit {
            scale: lanes(|i| if fit_min[i] > 0.0 { sum_xl[i] / sum_l2[i] } else { fit_scale[i] }),
            min: lanes(|i| if fit_min[i] > 0.0 { 0.0 } else { fit_min[i] }),
            determinant,
        }
    }

    /// Weighted squared error of the codes that `inverse` and `min` give, under another scale and offset.
    #[inline(always)]
    fn error<T: Affine>(&self, inverse: &Lanes, min: &Lanes, scale: &Lanes, offset: &Lanes) -> Lanes {
        let mut error = [0.0; LANES];
        for x in self.x {
            for i in 0..LANES {
                let code = nearest(inverse[i] * (x[i] - min[i])).clamp(0, T::MAX) as f32;
                let difference = scale[i] * code + offset[i] - x[i];
                error[i] += self.weight(x[i], i) * (difference * difference);
            }
        }
        error
    }
}

/// `make_qkx2_quants` with squared errors, for blocks of 32.
#[inline(always)]
fn search_affine<T: Affine>(x: &[Lanes; 32]) -> Found<32> {
    let max_code = T::MAX as f32;
    let blocks = Blocks::new(x);
    let max = blocks.max;
    let mut min = lanes(|i| if blocks.min[i] > 0.0 { 0.0 } else { blocks.min[i] });
    let (flat, flat_min) = (lanes(|i| if max[i] == min[i] { 1.0 } else { 0.0 }), min);
    let mut inverse = lanes(|i| max_code / (max[i] - min[i]));
    let mut scale = lanes(|i| 1.0 / inverse[i]);
    let mut best_error = blocks.error::<T>(&inverse, &min, &scale, &min);
    // The codes are those of the best step: its `inverse` and the `min` that it had.
    let (mut best_inverse, mut best_min) = (inverse, min);
    for step in 0..=T::STEPS {
        let numerator = T::FIRST + 0.1 * step as f32 + max_code;
        inverse = lanes(|i| numerator / (max[i] - min[i]));
        let fit = blocks.fit::<T>(&inverse, &min);
        let error = blocks.error::<T>(&inverse, &min, &fit.scale, &fit.min);
        for i in 0..LANES {
            let better = fit.determinant[i] > 0.0 && error[i] < best_error[i];
            best_inverse[i] = if better { inverse[i] } else { best_inverse[i] };
            best_min[i] = if better { min[i] } else { best_min[i] };
            best_error[i] = if better { error[i] } else { best_error[i] };
            scale[i] = if better { fit.scale[i] } else { scale[i] };
            min[i] = if better { fit.min[i] } else { min[i] };
        }
    }
    let codes = std::array::from_fn(|j| {
        std::array::from_fn(|i| {
            let code = nearest(best_inverse[i] * (x[j][i] - best_min[i])).clamp(0, T::MAX) as u8;
            if flat[i] == 0.0 { code } else { 0 }
        })
    });
    Found {
        scale: lanes(|i| if flat[i] == 0.0 { scale[i] } else { 0.0 }),
        min: lanes(|i| if flat[i] == 0.0 { -min[i] } else { -flat_min[i] }),
        codes,
    }
}

/// Two super-blocks (eight blocks of 32 each) of Q4_K or Q5_K.
#[inline(always)]
fn affine_pair<T: Affine>(x: &[f32; 2 * SUPER], out: &mut [u8]) {
    let columns: [Lanes; 32] = std::array::from_fn(|j| lanes(|i| x[32 * i + j]));
    let found = search_affine::<T>(&columns);
    for (half, out) in out.chunks_exact_mut(T::BYTES).enumerate() {
        let scales = &found.scale[8 * half..][..8];
        let mins = &found.min[8 * half..][..8];
        let largest = |values: &[f32]| values.iter().fold(0.0, |max, &v| if v > max { v } else { max });
        let (max_scale, max_min) = (largest(scales), largest(mins));
        let inverse = |max: f32| if max > 0.0 { 63.0 / max } else { 0.0 };
        let six_bits = |inverse: f32, value: f32| (nearest(inverse * value) as u8).min(63);
        let scale_codes: [u8; 8] = std::array::from_fn(|j| six_bits(inverse(max_scale), scales[j]));
        let min_codes: [u8; 8] = std::array::from_fn(|j| six_bits(inverse(max_min), mins[j]));
        let (d, d_min) = (f16::from_f32(max_scale / 63.0), f16::from_f32(max_min / 63.0));

        let mut codes = [0; SUPER];
        for block in 0..8 {
            let codes = &mut codes[32 * block..][..32];
            let x = &x[SUPER * half + 32 * block..][..32];
            let d = d.to_f32() * f32::from(scale_codes[block]);
            let offset = d_min.to_f32() * f32::from(min_codes[block]);
            for j in 0..32 {
                codes[j] = if d == 0.0 {
                    found.codes[j][8 * half + block]
                } else {
                    nearest((x[j] + offset) / d).clamp(0, T::MAX) as u8
                };
            }
        }
        out[..2].copy_from_slice(&d.to_le_bytes());
        out[2..4].copy_from_slice(&d_min.to_le_bytes());
        pack_scales(&scale_codes, &min_codes, &mut out[4..16]);
        T::pack(&codes, &mut out[16..]);
    }
}

/// Eight scales and eight minima of six bits each, in twelve bytes.
#[inline(always)]
fn pack_scales(scales: &[u8; 8], mins: &[u8; 8], out: &mut [u8]) {
    for j in 0..4 {
        out[j] = scales[j] | (scales[j + 4] >> 4) << 6;
        out[j + 4] = mins[j] | (mins[j + 4] >> 4) << 6;
        out[j + 8] = (scales[j + 4] & 15) | (mins[j + 4] & 15) << 4;
    }
}

/// `make_qx_quants` with weights x², for blocks of 16 and codes from -32 to 31; the codes found are
/// from 0 to 63.
#[inline(always)]
fn search_symmetric(x: &[Lanes; 16]) -> (Lanes, [[u8; LANES]; 16]) {
    let (mut max, mut max_abs) = ([0.0f32; LANES], [0.0f32; LANES]);
    for x in x {
        for i in 0..LANES {
            let larger = x[i].abs() > max_abs[i];
            max[i] = if larger { x[i] } else { max[i] };
            max_abs[i] = if larger { x[i].abs() } else { max_abs[i] };
        }
    }
    let sums = |inverse: &Lanes| {
        let (mut sum_lx, mut sum_l2) = ([0.0; LANES], [0.0; LANES]);
        for x in x {
            for i in 0..LANES {
                let code = nearest(inverse[i] * x[i]).clamp(-32, 31) as f32;
                let weight = x[i] * x[i];
                sum_lx[i] += weight * x[i] * code;
                sum_l2[i] += weight * code * code;
            }
        }
        (sum_lx, sum_l2)
    };
    let mut best_inverse = lanes(|i| -32.0 / max[i]);
    let (sum_lx, sum_l2) = sums(&best_inverse);
    let mut scale = lanes(|i| if sum_l2[i] != 0.0 { sum_lx[i] / sum_l2[i] } else { 0.0 });
    let mut best = lanes(|i| scale[i] * sum_lx[i]);
    for step in (-9..=9).filter(|step| *step != 0) {
        let numerator = -(32.0 + 0.1 * step as f32);
        let inverse = lanes(|i| numerator / max[i]);
        let (sum_lx, sum_l2) = sums(&inverse);
        for i in 0..LANES {
            let better = sum_l2[i] > 0.0 && sum_lx[i] * sum_lx[i] > best[i] * sum_l2[i];
            let this_scale = sum_lx[i] / sum_l2[i];
            best_inverse[i] = if better { inverse[i] } else { best_inverse[i] };
            scale[i] = if better { this_scale } else { scale[i] };
            best[i] = if better { this_scale * sum_lx[i] } else { best[i] };
        }
    }
    let codes = std::array::from_fn(|j| {
        std::array::from_fn(|i| {
            let code = (nearest(best_inverse[i] * x[j][i]).clamp(-32, 31) + 32) as u8;
            if max_abs[i] < EPSILON { 0 } else { code }
        })
    });
    (lanes(|i| if max_abs[i] < EPSILON { 0.0 } else { scale[i] }), codes)
}

/// One super-block (sixteen blocks of 16) of Q6_K.
#[inline(always)]
fn q6k(x: &[f32; SUPER], out: &mut [u8]) {
    let columns: [Lanes; 16] = std::array::from_fn(|j| lanes(|i| x[16 * i + j]));
    let (scales, found) = search_symmetric(&columns);
    let (mut max_scale, mut max_abs) = (0.0, 0.0);
    for scale in scales {
        if scale.abs() > max_abs {
            (max_scale, max_abs) = (scale, scale.abs());
        }
    }
    if max_abs < EPSILON {
        out.fill(0);
        return;
    }
    let inverse = -128.0 / max_scale;
    let d = f16::from_f32(1.0 / inverse);
    let scale_codes: [i8; 16] = std::array::from_fn(|i| nearest(inverse * scales[i]).min(127) as i8);
    let mut codes = [0u8; SUPER];
    for (block, &scale) in scale_codes.iter().enumerate() {
        let d = d.to_f32() * f32::from(scale);
        for j in 0..16 {
            codes[16 * block + j] = if d == 0.0 {
                found[j][block]
            } else {
                (nearest(x[16 * block + j] / d).clamp(-32, 31) + 32) as u8
            };
        }
    }
    let (low, rest) = out.split_at_mut(128);
    let (high, rest) = rest.split_at_mut(64);
    for half in 0..2 {
        let codes = &codes[128 * half..][..128];
        for j in 0..32 {
            let [a, b, c, e] = [codes[j], codes[j + 32], codes[j + 64], codes[j + 96]];
            low[64 * half + j] = (a & 15) | (c & 15) << 4;
            low[64 * half + 32 + j] = (b & 15) | (e & 15) << 4;
            high[32 * half + j] = a >> 4 | (b >> 4) << 2 | (c >> 4) << 4 | (e >> 4) << 6;
        }
    }
    for (out, scale) in rest.iter_mut().zip(scale_codes) {
        *out = scale as u8;
    }
    rest[16..].copy_from_slice(&d.to_le_bytes());
}

#[inline(always)]
fn affine<T: Affine>(numbers: &[f32], blocks: &mut [u8]) {
    let (pairs, rest) = numbers.as_chunks::<{ 2 * SUPER }>();
    let mut out = blocks.chunks_mut(2 * T::BYTES);
    for (pair, out) in pairs.iter().zip(&mut out) {
        affine_pair::<T>(pair, out);
    }
    if let Some(out) = out.next() {
        let mut pair = [0.0; 2 * SUPER];
        pair[..rest.len()].copy_from_slice(rest);
        let mut both = [0; 2 * 176];
        affine_pair::<T>(&pair, &mut both[..2 * T::BYTES]);
        out.copy_from_slice(&both[..T::BYTES]);
    }
}

#[inline(always)]
fn symmetric(numbers: &[f32], blocks: &mut [u8]) {
    for (numbers, out) in numbers.as_chunks::<SUPER>().0.iter().zip(blocks.chunks_exact_mut(210)) {
        q6k(numbers, out);
    }
}

/// A kernel compiled for the processor at hand: `numbers` are whole super-blocks, `blocks` exactly
/// their bytes.
macro_rules! kernel {
    ($name:ident, $avx2:ident, $body:expr, $doc:literal) => {
        #[doc = $doc]
        pub fn $name(numbers: &[f32], blocks: &mut [u8]) {
            if is_x86_feature_detected!("avx2") {
                // SAFETY: the processor has what the function is compiled for.
                return unsafe { $avx2(numbers, blocks) };
            }
            $body(numbers, blocks);
        }

        #[target_feature(enable = "avx2")]
        fn $avx2(numbers: &[f32], blocks: &mut [u8]) {
            $body(numbers, blocks);
        }
    };
}

kernel!(quantise_q4k, q4k_avx2, affine::<Q4K>, "`quantize_row_q4_K_ref`.");
kernel!(quantise_q5k, q5k_avx2, affine::<Q5K>, "`quantize_row_q5_K_ref`.");
kernel!(quantise_q6k, q6k_avx2, symmetric, "`quantize_row_q6_K_ref`.");
