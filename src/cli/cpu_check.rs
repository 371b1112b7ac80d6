//! A binary compiled for a newer CPU than this one says so, instead of dying of an illegal instruction.
//!
//! [`run`] is called before anything else, the constructors of llama.cpp's statics among it, since they
//! are compiled for that newer CPU too. So is this file: first comes a signal handler, which needs no more
//! than calls do, then the comparison, which can name what is missing.
//! `is_x86_feature_detected!` is of no use, for it takes for granted what the binary was compiled for.

use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use std::io::Write as _;

/// A word that tells what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// Of CPUID (Intel's manual, volume 2A): leaf 1, register ECX; and so on.
    Leaf1Ecx,
    Leaf7Ebx,
    Leaf7Ecx,
    Leaf7Edx,
    Leaf7Part1Eax,
    ExtendedEcx,
    /// The registers that the operating system saves.
    Xcr0,
}

/// XCR0: the operating system need not save more than every x86-64 has.
const NONE: u32 = 0;
/// XCR0: it saves the 256-bit registers.
const YMM: u32 = 0b110;
/// XCR0: it saves the 512-bit ones.
const ZMM: u32 = 0b1110_0110;

/// An extension of the instruction set.
struct Feature {
    /// As rustc names it.
    name: &'static str,
    /// Was this binary compiled for it?
    compiled: bool,
    word: Word,
    mask: u32,
    saved: u32,
}

macro_rules! features {
    ($($name:literal $word:ident $bit:literal $saved:ident)*) => {
        [$(Feature {
            name: $name,
            compiled: cfg!(target_feature = $name),
            word: Word::$word,
            mask: 1 << $bit,
            saved: $saved,
        }),*]
    };
}

#[rustfmt::skip]
static FEATURES: [Feature; 38] = features! {
    "sse3" Leaf1Ecx 0 NONE          "pclmulqdq" Leaf1Ecx 1 NONE       "ssse3" Leaf1Ecx 9 NONE
    "fma" Leaf1Ecx 12 YMM           "cmpxchg16b" Leaf1Ecx 13 NONE     "sse4.1" Leaf1Ecx 19 NONE
    "sse4.2" Leaf1Ecx 20 NONE       "movbe" Leaf1Ecx 22 NONE          "popcnt" Leaf1Ecx 23 NONE
    "aes" Leaf1Ecx 25 NONE          "xsave" Leaf1Ecx 26 NONE          "avx" Leaf1Ecx 28 YMM
    "f16c" Leaf1Ecx 29 YMM          "rdrand" Leaf1Ecx 30 NONE         "bmi1" Leaf7Ebx 3 NONE
    "avx2" Leaf7Ebx 5 YMM           "bmi2" Leaf7Ebx 8 NONE            "avx512f" Leaf7Ebx 16 ZMM
    "avx512dq" Leaf7Ebx 17 ZMM      "adx" Leaf7Ebx 19 NONE            "avx512ifma" Leaf7Ebx 21 ZMM
    "avx512cd" Leaf7Ebx 28 ZMM      "sha" Leaf7Ebx 29 NONE            "avx512bw" Leaf7Ebx 30 ZMM
    "avx512vl" Leaf7Ebx 31 ZMM      "avx512vbmi" Leaf7Ecx 1 ZMM       "avx512vbmi2" Leaf7Ecx 6 ZMM
    "gfni" Leaf7Ecx 8 NONE          "vaes" Leaf7Ecx 9 YMM             "vpclmulqdq" Leaf7Ecx 10 YMM
    "avx512vnni" Leaf7Ecx 11 ZMM    "avx512bitalg" Leaf7Ecx 12 ZMM    "avx512vpopcntdq" Leaf7Ecx 14 ZMM
    "avx512fp16" Leaf7Edx 23 ZMM    "avxvnni" Leaf7Part1Eax 4 YMM        "avx512bf16" Leaf7Part1Eax 5 ZMM
    "lzcnt" ExtendedEcx 5 NONE      "sse4a" ExtendedEcx 6 NONE
};

/// A word of this CPU.
fn read(word: Word) -> u32 {
    const OSXSAVE: u32 = 1 << 27;
    // Past the highest leaf, CPUID answers with that one's words.
    let seven = __cpuid(0).eax >= 7;
    match word {
        Word::Leaf1Ecx => __cpuid(1).ecx,
        Word::Leaf7Ebx if seven => __cpuid_count(7, 0).ebx,
        Word::Leaf7Ecx if seven => __cpuid_count(7, 0).ecx,
        Word::Leaf7Edx if seven => __cpuid_count(7, 0).edx,
        Word::Leaf7Part1Eax if seven && __cpuid_count(7, 0).eax >= 1 => __cpuid_count(7, 1).eax,
        Word::ExtendedEcx if __cpuid(0x8000_0000).eax > 0x8000_0000 => __cpuid(0x8000_0001).ecx,
        // SAFETY: the instruction is there, and enabled by the operating system.
        Word::Xcr0 if __cpuid(1).ecx & OSXSAVE != 0 => unsafe { _xgetbv(0) as u32 },
        _ => 0,
    }
}

/// Those of the features that a CPU lacks, or whose registers its operating system does not save.
fn missing(
    needed: impl Iterator<Item = &'static Feature>,
    read: impl Fn(Word) -> u32,
) -> impl Iterator<Item = &'static str> {
    let has = move |f: &Feature| read(f.word) & f.mask != 0 && read(Word::Xcr0) & f.saved == f.saved;
    needed.filter(move |f| !has(f)).map(|f| f.name)
}

const ADVICE: &str = "Compile it on this machine (make build), or take a release folder (make release), \
    which runs on any x86-64.\n";

/// Ends the process with a message if the CPU lacks what the binary was compiled for.
pub extern "C" fn run() {
    if cfg!(target_feature = "sse3") {
        let handler: extern "C" fn(libc::c_int) = on_illegal_instruction;
        // SAFETY: the handler calls only what a signal handler may, and does not return.
        unsafe { libc::signal(libc::SIGILL, handler as libc::sighandler_t) };
    }
    let mut missing = missing(FEATURES.iter().filter(|f| f.compiled), read);
    let Some(first) = missing.next() else { return };
    let mut out = std::io::stderr();
    let mut say = |text: &str| drop(out.write_all(text.as_bytes()));
    say("error: this program was compiled for a newer CPU; this one lacks ");
    say(first);
    for name in missing {
        say(", ");
        say(name);
    }
    say(".\n");
    say(ADVICE);
    std::process::exit(1);
}

extern "C" fn on_illegal_instruction(_: libc::c_int) {
    const TEXT: &str = "error: illegal instruction: this program was compiled for a newer CPU.\n";
    // SAFETY: constant texts with their lengths; both functions may be called from a signal handler.
    unsafe {
        libc::write(2, TEXT.as_ptr().cast(), TEXT.len());
        libc::write(2, ADVICE.as_ptr().cast(), ADVICE.len());
        libc::_exit(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_here_was_compiled_for_here() {
        assert_eq!(missing(FEATURES.iter().filter(|f| f.compiled), read).count(), 0);
    }

    /// Words as dumps of CPUID show them; XCR0 as Linux sets it.
    #[test]
    fn features_that_older_cpus_lack() {
        let nehalem: &[_] = &[(Word::Leaf1Ecx, 0x0098_e3bd), (Word::ExtendedEcx, 0x1)];
        let haswell = |saved, leaf7_ebx| {
            let [one, seven, extended, xcr0] =
                [Word::Leaf1Ecx, Word::Leaf7Ebx, Word::ExtendedEcx, Word::Xcr0];
            [(one, 0x7ffa_fbff), (seven, leaf7_ebx), (extended, 0x21), (xcr0, saved)]
        };
        let check = |cpu: &[(Word, u32)], needed: &[&str], lacks: &[&str]| {
            let needed = FEATURES.iter().filter(|f| needed.contains(&f.name));
            let read = |word| cpu.iter().find(|(w, _)| *w == word).map_or(0, |(_, value)| *value);
            assert_eq!(missing(needed, read).collect::<Vec<_>>(), lacks);
        };
        check(nehalem, &[], &[]);
        check(nehalem, &["ssse3", "sse4.2", "popcnt"], &[]);
        check(nehalem, &["sse4.2", "avx", "avx2", "lzcnt"], &["avx", "avx2", "lzcnt"]);
        let ebx = 0x27ab;
        let all = ["avx", "avx2", "fma", "f16c", "bmi1", "bmi2", "movbe", "lzcnt"];
        check(&haswell(0b111, ebx), &all, &[]);
        check(&haswell(0b111, ebx), &["avx2", "avx512f", "sha"], &["avx512f", "sha"]);
        // There, but the operating system does not save the registers.
        check(&haswell(0b11, ebx), &["sse4.2", "avx2", "bmi2"], &["avx2"]);
        check(&haswell(0b111, ebx | 1 << 16), &["avx2", "avx512f"], &["avx512f"]);
        check(&haswell(0b1110_0111, ebx | 1 << 16), &["avx2", "avx512f"], &[]);
    }
}
