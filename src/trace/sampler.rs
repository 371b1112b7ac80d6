//! Which traces are recorded.

use super::id::TraceId;

/// Records a share of the traces, and does as the caller does where it says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// A caller's decision holds.
    pub parent_based: bool,
    /// Share of the other traces, 0 to 1. Every server decides alike for one trace.
    pub share: f64,
}

impl Default for Sampler {
    fn default() -> Self {
        Self { parent_based: true, share: 1.0 }
    }
}

impl Sampler {
    /// Whether to record a trace, of which a caller may have decided.
    pub fn samples(self, trace: TraceId, parent: Option<bool>) -> bool {
        if let Some(sampled) = parent.filter(|_| self.parent_based) {
            return sampled;
        }
        // OpenTelemetry's other libraries compare the same 63 bits.
        let bits = trace.bytes().iter().skip(8).fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte)) >> 1;
        self.share >= 1.0 || (bits as f64) < self.share * (1_u64 << 63) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_decides_where_the_sampler_lets_it() {
        let check = |parent_based, share, parent, expect: bool| {
            let sampler = Sampler { parent_based, share };
            assert_eq!(sampler.samples(TraceId::random(), parent), expect, "{sampler:?} {parent:?}");
        };
        for (parent_based, parent, by_share) in
            [(true, None, true), (false, None, true), (false, Some(true), true), (false, Some(false), true)]
        {
            check(parent_based, 1.0, parent, by_share);
            check(parent_based, 0.0, parent, !by_share);
        }
        for share in [0.0, 1.0] {
            check(true, share, Some(true), true);
            check(true, share, Some(false), false);
        }
    }

    #[test]
    fn a_share_of_the_traces_is_recorded_by_their_last_bits() {
        let sampler = Sampler { parent_based: true, share: 0.25 };
        let sampled = (0..4_000).filter(|_| sampler.samples(TraceId::random(), None)).count();
        assert!((800..1_200).contains(&sampled), "{sampled} of 4000");
        // As the Go library decides: bits 1 to 63 of the last eight bytes.
        let check = |last: &str, expect: bool| {
            let id = TraceId::read(format!("ffffffffffffffff{last}").as_bytes()).unwrap();
            assert_eq!(sampler.samples(id, None), expect, "{last}");
        };
        check("0000000000000001", true);
        check("3fffffffffff0000", true);
        check("4000000000000000", false);
        check("ffffffffffffffff", false);
    }
}
