//! Our products against llama.cpp's on one thread, at the embedded default's shapes, and the machine's limits: `make
//! bench-kernels`. An item is a multiplication or an addition. `benches/roofline.py` draws them.

#![allow(clippy::unwrap_used, missing_docs)]

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn main() {}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn main() {
    ko_sentiment::llama::backend::backend().unwrap();
    divan::main();
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod kernels {
    #[cfg(target_arch = "x86_64")]
    use std::arch::x86_64::{
        __m256i, __m512i, _mm256_maddubs_epi16, _mm256_set1_epi8, _mm512_dpbusd_epi32, _mm512_set1_epi8,
    };
    use std::hint::black_box;

    use divan::Bencher;
    use divan::counter::{BytesCount, ItemsCount};
    #[cfg(target_arch = "x86_64")]
    use ko_sentiment::llama::kernels::Level;
    use ko_sentiment::llama::kernels::products::activations::{
        Activations, Form, Rounded, blocks, round_to_bytes, round_to_few, round_to_signed, round_to_unsigned,
        round_to_words,
    };
    use ko_sentiment::llama::kernels::products::multiply::{Scratch, multiply, panels};
    use ko_sentiment::llama::kernels::products::rows::{Bytes, Few, Signed, Unsigned, Words};
    use ko_sentiment::llama::kernels::products::unpacked::COLUMNS;
    use ko_sentiment::llama::kernels::products::weights::{Kind, Weights};
    use ko_sentiment::random::SplitMix64;
    use llama_cpp_sys_2 as sys;

    /// Rows, columns, and width.
    const SHAPES: [(usize, usize, usize); 7] = [
        (512, 1024, 768),
        (512, 2048, 768),
        (512, 768, 2048),
        (64, 2048, 768),
        (16, 2048, 768),
        (8, 2048, 768),
        (4, 2048, 768),
    ];
    const KINDS: [&str; 4] = ["Q4_K", "Q5_K", "Q6_K", "Q8_0"];

    fn kind(name: &str) -> (Kind, sys::ggml_type) {
        match name {
            "Q4_K" => (Kind::Q4K, sys::GGML_TYPE_Q4_K),
            "Q5_K" => (Kind::Q5K, sys::GGML_TYPE_Q5_K),
            "Q6_K" => (Kind::Q6K, sys::GGML_TYPE_Q6_K),
            _ => (Kind::Q8_0, sys::GGML_TYPE_Q8_0),
        }
    }

    fn numbers(count: usize) -> Vec<f32> {
        let mut random = SplitMix64::new(1);
        (0..count).map(|_| (2.0 * random.uniform() - 1.0) as f32).collect()
    }

    /// Weights in a type of ggml's.
    fn quantised(ggml: sys::ggml_type, bytes: usize, columns: usize, width: usize) -> Vec<u8> {
        let (numbers, mut data) = (numbers(columns * width), vec![0; bytes]);
        let (columns, width) = (i64::try_from(columns).unwrap(), i64::try_from(width).unwrap());
        // SAFETY: as many numbers as said, and as many bytes as their blocks have.
        unsafe {
            let (from, to) = (numbers.as_ptr(), data.as_mut_ptr().cast());
            sys::ggml_quantize_chunk(ggml, from, to, 0, columns, width, std::ptr::null());
        }
        data
    }

    /// Weights of 28 to 53 MB: too many for a core's share of the caches.
    const HEAD: (usize, usize) = (65_536, 768);
    const HEADS_ROWS: [usize; 7] = [1, 2, 4, 8, 12, 16, 64];

    #[divan::bench(args = SHAPES, consts = [0, 1, 2, 3])]
    fn ours<const KIND: usize>(bencher: Bencher, shape: (usize, usize, usize)) {
        measure_ours(bencher, KINDS[KIND], shape);
    }

    #[divan::bench(args = SHAPES, consts = [0, 1, 2, 3])]
    fn llama_cpp<const KIND: usize>(bencher: Bencher, shape: (usize, usize, usize)) {
        measure_llama_cpp(bencher, KINDS[KIND], shape);
    }

    #[divan::bench(args = HEADS_ROWS, consts = [0, 1, 2, 3])]
    fn ours_head<const KIND: usize>(bencher: Bencher, rows: usize) {
        measure_ours(bencher, KINDS[KIND], (rows, HEAD.0, HEAD.1));
    }

    #[divan::bench(args = HEADS_ROWS, consts = [0, 1, 2, 3])]
    fn llama_cpp_head<const KIND: usize>(bencher: Bencher, rows: usize) {
        measure_llama_cpp(bencher, KINDS[KIND], (rows, HEAD.0, HEAD.1));
    }

    /// `vpdpbusd` or `vpmaddubsw` and nothing else: the most that any product could do.
    #[cfg(target_arch = "x86_64")]
    #[divan::bench]
    fn peak_multiplications(bencher: Bencher) {
        const ROUNDS: usize = 100_000;
        const CHAINS: usize = 12;
        #[target_feature(enable = "avx2")]
        fn narrow(by: __m256i) -> [__m256i; CHAINS] {
            let mut chains = [by; CHAINS];
            for _ in 0..ROUNDS {
                for chain in &mut chains {
                    *chain = _mm256_maddubs_epi16(*chain, by);
                }
            }
            chains
        }
        #[target_feature(enable = "avx512f,avx512vnni")]
        fn wide(by: __m512i) -> [__m512i; CHAINS] {
            let mut chains = [by; CHAINS];
            for _ in 0..ROUNDS {
                for chain in &mut chains {
                    *chain = _mm512_dpbusd_epi32(*chain, by, by);
                }
            }
            chains
        }
        // SAFETY: this machine has AVX2, or none of these benches could run, and what the level says.
        unsafe {
            if Level::best() == Level::Avx512 {
                let by = black_box(_mm512_set1_epi8(3));
                bencher.counter(ItemsCount::new(ROUNDS * CHAINS * 128)).bench_local(|| black_box(wide(by)));
            } else {
                let by = black_box(_mm256_set1_epi8(3));
                bencher.counter(ItemsCount::new(ROUNDS * CHAINS * 64)).bench_local(|| black_box(narrow(by)));
            }
        }
    }

    /// Reading memory that no cache holds.
    #[divan::bench]
    fn peak_reading(bencher: Bencher) {
        let data = vec![1u64; 32 << 20];
        bencher
            .counter(BytesCount::of_slice(&data))
            .bench_local(|| black_box(&data).iter().fold(0u64, |sum, x| sum.wrapping_add(*x)));
    }

    fn measure_ours(bencher: Bencher, name: &str, (rows, columns, width): (usize, usize, usize)) {
        let (kind, ggml) = kind(name);
        let Some(form) = Form::of(kind, rows) else { return };
        let (weights, bytes) = kind.block();
        let stride = width / weights * bytes;
        let data = quantised(ggml, columns * stride, columns, width);
        let weights = Weights { kind, data: &data, stride, width, columns };
        let data = numbers(rows * width);
        let x = Activations { data: &data, stride: width, width, rows };
        let blocks = blocks(width);
        let mut bytes = vec![Bytes::ZERO; x.groups() * blocks];
        let mut words = vec![Words::ZERO; x.groups() * blocks];
        let mut unsigned = vec![Unsigned::ZERO; x.groups() * blocks];
        let mut signed = vec![Signed::ZERO; x.groups() * blocks];
        let mut few = vec![Few::ZERO; x.groups() * blocks];
        let (mut scratch, mut results) = (Scratch::default(), vec![0.0; rows * columns]);
        bencher.counter(ItemsCount::new(2 * rows * columns * width)).bench_local(|| {
            let groups = 0..x.groups();
            let x = match form {
                Form::Bytes => {
                    groups.for_each(|g| round_to_bytes(&x, g, &mut bytes[g * blocks..][..blocks]));
                    Rounded::Bytes(&bytes)
                }
                Form::Words => {
                    groups.for_each(|g| round_to_words(&x, g, &mut words[g * blocks..][..blocks]));
                    Rounded::Words(&words)
                }
                Form::Unsigned => {
                    groups.for_each(|g| round_to_unsigned(&x, g, &mut unsigned[g * blocks..][..blocks]));
                    Rounded::Unsigned(&unsigned)
                }
                Form::Signed => {
                    groups.for_each(|g| round_to_signed(&x, g, &mut signed[g * blocks..][..blocks]));
                    Rounded::Signed(&signed)
                }
                Form::Few => {
                    groups.for_each(|g| round_to_few(&x, g, &mut few[g * blocks..][..blocks]));
                    Rounded::Few(&few)
                }
            };
            for panel in 0..panels(columns) {
                multiply(&weights, x, (panel, 0..rows), &mut scratch, |row, column, parts| {
                    let count = COLUMNS.min(columns - column);
                    for (i, part) in parts.iter().enumerate() {
                        results[(row + i) * columns + column..][..count].copy_from_slice(&part[..count]);
                    }
                });
            }
        });
    }

    fn measure_llama_cpp(bencher: Bencher, name: &str, (rows, columns, width): (usize, usize, usize)) {
        let (kind, ggml) = kind(name);
        let (weights, bytes) = kind.block();
        let data = quantised(ggml, columns * width / weights * bytes, columns, width);
        let x = numbers(rows * width);
        let [m, n, k] = [rows, columns, width].map(|n| i64::try_from(n).unwrap());
        let init = sys::ggml_init_params {
            mem_size: data.len() + 4 * (2 * rows * width + rows * columns) + (16 << 20),
            mem_buffer: std::ptr::null_mut(),
            no_alloc: false,
        };
        // SAFETY: a context with room for these tensors, the graph and its work, of one thread.
        unsafe {
            let context = sys::ggml_init(init);
            let (a, b) = (
                sys::ggml_new_tensor_2d(context, ggml, k, n),
                sys::ggml_new_tensor_2d(context, sys::GGML_TYPE_F32, k, m),
            );
            std::ptr::copy_nonoverlapping(data.as_ptr(), (*a).data.cast(), data.len());
            std::ptr::copy_nonoverlapping(x.as_ptr(), (*b).data.cast(), x.len());
            let graph = sys::ggml_new_graph(context);
            sys::ggml_build_forward_expand(graph, sys::ggml_mul_mat(context, a, b));
            let mut plan = sys::ggml_graph_plan(graph, 1, std::ptr::null_mut());
            let mut work = vec![0u8; plan.work_size];
            plan.work_data = work.as_mut_ptr();
            bencher
                .counter(ItemsCount::new(2 * rows * columns * width))
                .bench_local(|| sys::ggml_graph_compute(graph, &raw mut plan));
            sys::ggml_free(context);
        }
    }
}
