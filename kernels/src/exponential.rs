//! The exponential function of a softmax, and what is made of it.

/// exp(x) for x <= 0, to about 1e-6 of it down to x = -20, without branches. Below -87 it is 0.
/// Range reduction to 2^n · 2^f, |f| <= 1/2, and a polynomial of degree 6 for 2^f.
#[inline(always)]
pub fn exp_nonpositive(x: f32) -> f32 {
    /// 1.5 · 2^23: adding it rounds to an integer, which then stands in the low mantissa bits.
    const ROUND: f32 = 12_582_912.0;
    let t = if x < -87.0 { -87.0 } else { x } * std::f32::consts::LOG2_E;
    let shifted = t + ROUND;
    let f = (t - (shifted - ROUND)) * std::f32::consts::LN_2;
    let p = 1.0
        + f * (1.0 + f * (0.5 + f * (1.0 / 6.0 + f * (1.0 / 24.0 + f * (1.0 / 120.0 + f * (1.0 / 720.0))))));
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    if x < -87.0 { 0.0 } else { p * scale }
}

/// tanh(x), to about 1e-6.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let e = exp_nonpositive(-2.0 * x.abs());
    ((1.0 - e) / (1.0 + e)).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tangents_are_precise() {
        for i in -2_000..=2_000 {
            let x = i as f32 / 100.0;
            let error = (f64::from(tanh(x)) - f64::from(x).tanh()).abs();
            assert!(error < 1e-6, "tanh {x}: {}", tanh(x));
        }
    }
}
