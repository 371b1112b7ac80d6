//! Operations on a row of numbers between the products: norms, sums and Gemma's gates.
//!
//! They compute what llama.cpp computes, with its roundings (ggml/src/ggml-cpu/ops.cpp and vec.h), but many numbers at
//! a time: its norm adds one square after the other, and its gate looks each number up.

use crate::exponential::exp_nonpositive;
use crate::level::by_level;

/// Numbers that are added side by side.
const LANES: usize = 16;

/// Beyond ±10 a gate is 0 or open (`ggml_vec_geglu_f32`).
const OPEN: f32 = 10.0;

by_level! {
    /// x / √(mean(x²) + `epsilon`), in place (RMSNorm, Zhang and Sennrich 2019).
    ///
    /// # Panics
    /// As for all that follows, if this is not [`available`](crate::available), or lengths differ.
    pub fn rms_norm(x: &mut [f32], epsilon: f32) = norm_inlined, norm_inlined
}

by_level! {
    /// x · `by`, in place.
    pub fn multiply(x: &mut [f32], by: &[f32]) = multiplied_inlined, multiplied_inlined
}

by_level! {
    /// x + `other`, in place.
    pub fn add(x: &mut [f32], other: &[f32]) = added_inlined, added_inlined
}

by_level! {
    /// x · `by` + `plus`, in place.
    pub fn scale(x: &mut [f32], by: f32, plus: f32) = scaled_inlined, scaled_inlined
}

by_level! {
    /// gelu(`gate`) · `up` (GEGLU, Shazeer 2020), where gelu is the tangent's form and rounded to 16 bits on its way, as
    /// llama.cpp's table is.
    pub fn geglu(gate: &[f32], up: &[f32], to: &mut [f32]) = gated_inlined, gated_inlined
}

#[inline(always)]
fn norm_inlined(x: &mut [f32], epsilon: f32) {
    // In 64 bits the order of the sum is not seen in 32.
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut sums = [0.0f64; LANES];
    for chunk in chunks {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(x * x);
        }
    }
    let sum: f64 = sums.iter().sum::<f64>() + rest.iter().map(|x| f64::from(x * x)).sum::<f64>();
    let mean = (sum / x.len() as f64) as f32;
    let scale = 1.0 / (mean + epsilon).sqrt();
    x.iter_mut().for_each(|x| *x *= scale);
}

#[inline(always)]
fn multiplied_inlined(x: &mut [f32], by: &[f32]) {
    assert_eq!(x.len(), by.len(), "a factor for each number");
    x.iter_mut().zip(by).for_each(|(x, by)| *x *= by);
}

#[inline(always)]
fn added_inlined(x: &mut [f32], other: &[f32]) {
    assert_eq!(x.len(), other.len(), "rows of one length");
    x.iter_mut().zip(other).for_each(|(x, other)| *x += other);
}

#[inline(always)]
fn scaled_inlined(x: &mut [f32], by: f32, plus: f32) {
    x.iter_mut().for_each(|x| *x = *x * by + plus);
}

#[inline(always)]
fn gated_inlined(gate: &[f32], up: &[f32], to: &mut [f32]) {
    assert!(gate.len() == up.len() && up.len() == to.len(), "rows of one length");
    for ((to, gate), up) in to.iter_mut().zip(gate).zip(up) {
        let inside = half_precision(gelu(half_precision(*gate)));
        let open = if *gate >= OPEN { *gate } else { inside };
        *to = if *gate <= -OPEN { 0.0 } else { open * up };
    }
}

/// x · (1 + tanh(√(2/π) · (x + 0.044715 x³))) / 2 (Hendrycks and Gimpel 2016).
#[inline(always)]
fn gelu(x: f32) -> f32 {
    const ROOT: f32 = 0.797_884_6;
    let twice = 2.0 * ROOT * x * (1.0 + 0.044_715 * x * x);
    // (1 + tanh(t)) / 2 is 1 / (1 + exp(-2t)).
    let e = exp_nonpositive(-twice.abs());
    x * (if twice < 0.0 { e } else { 1.0 }) / (1.0 + e)
}

/// A number of less than 2¹⁵ rounded to half precision, ties to even; −0 becomes 0.
#[inline(always)]
fn half_precision(x: f32) -> f32 {
    /// Below, half precision has a step of 2⁻²⁴, as 0.75 has in single precision.
    const SMALLEST_NORMAL: f32 = 6.103_515_6e-5;
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x0FFF + (bits >> 13 & 1)) & !0x1FFF;
    if x.abs() < SMALLEST_NORMAL { (x + 0.75) - 0.75 } else { f32::from_bits(rounded) }
}

#[cfg(test)]
mod tests {
    use half::f16;
    #[cfg(target_arch = "x86_64")]
    use llama_cpp_sys_2 as sys;

    use super::*;
    use crate::level::{Level, available};
    #[cfg(target_arch = "x86_64")]
    use crate::random::SplitMix64;

    #[cfg(target_arch = "x86_64")]
    fn numbers(count: usize, size: f32, random: &mut SplitMix64) -> Vec<f32> {
        (0..count).map(|_| (2.0 * random.uniform() - 1.0) as f32 * size).collect()
    }

    #[cfg(target_arch = "x86_64")]
    fn levels() -> impl Iterator<Item = Level> {
        Level::ALL.into_iter().filter(|level| available() && level.is_here())
    }

    #[cfg(target_arch = "x86_64")]
    /// What ggml makes of two rows, by an operation on both.
    fn ggml(
        a: &[f32],
        b: &[f32],
        op: impl Fn(*mut sys::ggml_context, *mut sys::ggml_tensor, *mut sys::ggml_tensor) -> *mut sys::ggml_tensor,
    ) -> Vec<f32> {
        let init =
            sys::ggml_init_params { mem_size: 1 << 22, mem_buffer: std::ptr::null_mut(), no_alloc: false };
        let count = i64::try_from(a.len()).unwrap();
        // SAFETY: a context with room for some short rows, the graph and its work, of one thread.
        unsafe {
            let context = sys::ggml_init(init);
            let tensor = |numbers: &[f32]| {
                let tensor = sys::ggml_new_tensor_1d(context, sys::GGML_TYPE_F32, count);
                std::ptr::copy_nonoverlapping(numbers.as_ptr(), (*tensor).data.cast(), numbers.len());
                tensor
            };
            let node = op(context, tensor(a), tensor(b));
            let graph = sys::ggml_new_graph(context);
            sys::ggml_build_forward_expand(graph, node);
            let mut plan = sys::ggml_graph_plan(graph, 1, std::ptr::null_mut());
            let mut work = vec![0u8; plan.work_size.max(1)];
            plan.work_data = work.as_mut_ptr();
            sys::ggml_graph_compute(graph, &raw mut plan);
            let result = std::slice::from_raw_parts((*node).data.cast::<f32>(), a.len()).to_vec();
            sys::ggml_free(context);
            result
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn norms_are_ggmls() {
        let mut random = SplitMix64::new(1);
        for (count, size) in [(1, 1.0), (7, 1e-8), (256, 3.0), (768, 50.0), (3584, 1e4), (768, 0.0)] {
            let (x, weight) = (numbers(count, size, &mut random), numbers(count, 4.0, &mut random));
            // SAFETY: live tensors of the context.
            let expected = ggml(&x, &weight, |context, x, weight| unsafe {
                sys::ggml_mul(context, sys::ggml_rms_norm(context, x, 1e-6), weight)
            });
            for level in levels() {
                let mut got = x.clone();
                rms_norm(level, &mut got, 1e-6);
                multiply(level, &mut got, &weight);
                for (got, expected) in got.iter().zip(&expected) {
                    assert!((got - expected).abs() <= 3e-7 * expected.abs(), "{level:?}: {got}, {expected}");
                }
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn gates_are_ggmls() {
        let mut random = SplitMix64::new(2);
        let mut gate = numbers(4_000, 11.0, &mut random);
        gate.extend(numbers(1_000, 0.01, &mut random));
        gate.extend([
            0.0,
            -0.0,
            10.0,
            -10.0,
            9.999,
            -9.999,
            1e30,
            -1e30,
            1e-7,
            f32::INFINITY,
            f32::NEG_INFINITY,
        ]);
        let up = vec![1.0; gate.len()];
        // SAFETY: live tensors of the context.
        let expected =
            ggml(&gate, &up, |context, gate, up| unsafe { sys::ggml_geglu_split(context, gate, up) });
        for level in levels() {
            let mut got = vec![f32::NAN; gate.len()];
            geglu(level, &gate, &up, &mut got);
            let mut different = 0;
            for ((got, expected), gate) in got.iter().zip(&expected).zip(&gate) {
                different += usize::from(got != expected);
                // ggml's own sum 1 + tanh loses digits where it is nearly 0.
                let step = expected.abs() / 1024.0 + 1e-6;
                assert!(
                    got == expected || (got - expected).abs() <= step,
                    "{level:?} {gate}: {got}, {expected}"
                );
            }
            assert!(different < gate.len() / 4, "{level:?}: {different} of {} differ", gate.len());
        }
    }

    #[test]
    fn what_is_not_a_number_stays_so() {
        if available() {
            let mut to = [0.0; 2];
            geglu(Level::best(), &[f32::NAN, 1.0], &[1.0, f32::NAN], &mut to);
            assert!(to.iter().all(|x| x.is_nan()), "{to:?}");
            let mut x = [1.0, f32::NAN, 2.0];
            rms_norm(Level::best(), &mut x, 1e-6);
            assert!(x.iter().all(|x| x.is_nan()), "{x:?}");
        }
    }

    #[test]
    fn numbers_are_rounded_to_half_precision() {
        for bits in 0..=u16::MAX {
            let exact = f16::from_bits(bits);
            let next = f16::from_bits(bits.wrapping_add(1));
            if exact.is_finite() && next.is_finite() && exact.to_f32().abs() < 32_000.0 {
                let (low, high) = (exact.to_f32(), next.to_f32());
                for x in [low, low * 0.51 + high * 0.49, low * 0.5 + high * 0.5, low * 0.49 + high * 0.51] {
                    assert_eq!(half_precision(x), f16::from_f32(x).to_f32(), "{x}");
                }
            }
        }
    }
}
