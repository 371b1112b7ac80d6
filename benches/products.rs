//! Our products against llama.cpp's on one thread, at the embedded default's shapes: `make bench-kernels`. An item is a
//! multiplication or an addition.

#![allow(clippy::unwrap_used, missing_docs)]

#[cfg(not(target_arch = "x86_64"))]
fn main() {}

#[cfg(target_arch = "x86_64")]
fn main() {
    ko_sentiment::llama::backend::backend().unwrap();
    divan::main();
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use divan::Bencher;
    use divan::counter::ItemsCount;
    use ko_sentiment::llama::kernels::products::multiply::{
        Activations, Form, Rounded, Scratch, blocks, multiply, panels, round_to_bytes, round_to_words,
    };
    use ko_sentiment::llama::kernels::products::rows::{Bytes, Words};
    use ko_sentiment::llama::kernels::products::weights::{Kind, Weights};
    use ko_sentiment::random::SplitMix64;
    use llama_cpp_sys_2 as sys;

    /// Rows, columns, and width.
    const SHAPES: [(usize, usize, usize); 6] = [
        (512, 1024, 768),
        (512, 2048, 768),
        (512, 768, 2048),
        (64, 2048, 768),
        (16, 2048, 768),
        (8, 2048, 768),
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

    #[divan::bench(args = SHAPES, consts = [0, 1, 2, 3])]
    fn ours<const KIND: usize>(bencher: Bencher, (rows, columns, width): (usize, usize, usize)) {
        let (kind, ggml) = kind(KINDS[KIND]);
        let (weights, bytes) = kind.block();
        let stride = width / weights * bytes;
        let data = quantised(ggml, columns * stride, columns, width);
        let weights = Weights { kind, data: &data, stride, width, columns };
        let data = numbers(rows * width);
        let x = Activations { data: &data, stride: width, width, rows };
        let blocks = blocks(width);
        let mut bytes = vec![Bytes::ZERO; x.groups() * blocks];
        let mut words = vec![Words::ZERO; x.groups() * blocks];
        let (mut scratch, mut results) = (Scratch::default(), vec![0.0; rows * columns]);
        bencher.counter(ItemsCount::new(2 * rows * columns * width)).bench_local(|| {
            let groups = 0..x.groups();
            let x = match Form::of(kind) {
                Form::Bytes => {
                    groups.for_each(|g| round_to_bytes(&x, g, &mut bytes[g * blocks..][..blocks]));
                    Rounded::Bytes(&bytes)
                }
                Form::Words => {
                    groups.for_each(|g| round_to_words(&x, g, &mut words[g * blocks..][..blocks]));
                    Rounded::Words(&words)
                }
            };
            for panel in 0..panels(columns) {
                multiply(&weights, x, (panel, 0..rows), &mut scratch, |row, column, part| {
                    results[row * columns + column..][..part.len()].copy_from_slice(part);
                });
            }
        });
    }

    #[divan::bench(args = SHAPES, consts = [0, 1, 2, 3])]
    fn llama_cpp<const KIND: usize>(bencher: Bencher, (rows, columns, width): (usize, usize, usize)) {
        let (kind, ggml) = kind(KINDS[KIND]);
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
