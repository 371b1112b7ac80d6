//! The parts between a request and llama.cpp, each by itself: `cargo bench`.

#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::sync::Arc;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use futures_util::future::join_all;
use ko_sentiment::engine::backend::{Backend, Batch, DecodeError, Limits, SeqId};
use ko_sentiment::engine::fake::FakeBackend;
use ko_sentiment::engine::logits::{argmax, log_sum_exp};
use ko_sentiment::engine::{Engine, EngineConfig, Event, JobSpec, Share};
use ko_sentiment::llama::Model;
use ko_sentiment::sentiment::answer_cache::{Answer, AnswerCache, Lookup};
use ko_sentiment::sentiment::input::{Input, RawInput};
use ko_sentiment::sentiment::profile::{DEFAULT_TOML, Profile};
use ko_sentiment::sentiment::prompt::{AnswerStart, Prompter};
use ko_sentiment::telemetry::{self, LogFormat};
use ko_sentiment::text::utf8::Utf8Assembler;
use ko_sentiment::text::vocabulary::{ByteVocabulary, Token, Vocabulary};
use tokio::runtime::{Builder, Runtime};

const COMMENT: &str = "이 영상 보고 눈물이 났어요 ㅠㅠ 정말 감동적이네요, 다음 편도 기대하겠습니다!! 👍🏽";
/// Entries of a row of logits of Gemma's.
const VOCABULARY: usize = 262_144;
/// Comments that share a step.
const TOGETHER: usize = 16;

fn main() {
    // llama.cpp tells a hundred lines of the model it loads.
    telemetry::init(LogFormat::Text, "error").unwrap();
    divan::main();
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A backend that computes nothing: what is left is the scheduler and the way to its thread.
struct Idle(Limits, Vec<f32>);

impl Backend for Idle {
    fn limits(&self) -> Limits {
        self.0
    }

    fn decode(&mut self, _: &Batch) -> Result<(), DecodeError> {
        Ok(())
    }

    fn logits(&self, _: usize) -> Option<&[f32]> {
        Some(&self.1)
    }

    fn log_sums(&self, rows: &[usize]) -> Vec<f64> {
        vec![0.0; rows.len()]
    }

    fn logit(&self, _: usize, _: Token) -> Option<f32> {
        Some(-1.0)
    }

    fn share(&mut self, _: SeqId, _: SeqId, _: usize) {}

    fn truncate(&mut self, _: SeqId, _: usize) {}
}

/// Sixteen comments from submission to their scores, 37 tokens and three labels of two tokens each: one
/// step, or two if the engine begins before the last is there.
mod step {
    use super::*;

    const LIMITS: Limits = Limits { cells: 16_384, batch: 1024, outputs: 256, sequences: 128 };

    fn bench<B: Backend + 'static>(bencher: Bencher, backend: impl Fn() -> B + Send + 'static) {
        let pinned: Arc<[Token]> = (0..56).collect();
        let engine = Engine::start(EngineConfig::default(), pinned, move |_| Ok(backend())).unwrap();
        let branches: Arc<[Vec<Token>]> = Arc::new([vec![1, 2], vec![3, 4], vec![5, 6]]);
        let runtime = runtime();
        bencher.counter(ItemsCount::new(TOGETHER)).bench_local(|| {
            let jobs: Vec<_> = (0..TOGETHER)
                .map(|_| {
                    engine.submit(JobSpec {
                        shared: Arc::new([]),
                        tokens: (0..37).collect(),
                        branches: branches.clone(),
                        generation: None,
                        deadline: None,
                        reproducible: false,
                        share: Share::default(),
                    })
                })
                .map(Result::unwrap)
                .collect();
            let scored = async |mut job: ko_sentiment::engine::JobHandle| {
                assert!(matches!(job.next().await, Event::Scored(..)));
            };
            runtime.block_on(join_all(jobs.into_iter().map(scored)))
        });
    }

    #[divan::bench]
    fn nothing_computed(bencher: Bencher) {
        bench(bencher, || Idle(LIMITS, vec![0.0; ByteVocabulary::SIZE]));
    }

    #[divan::bench]
    fn fake_backend(bencher: Bencher) {
        bench(bencher, || FakeBackend::new(LIMITS, ByteVocabulary::SIZE));
    }
}

/// Reductions over a row of logits.
mod row {
    use super::*;

    fn logits() -> Vec<f32> {
        FakeBackend::logits_after(&[1, 2, 3], VOCABULARY)
    }

    #[divan::bench]
    fn log_sum_exp_of_262144(bencher: Bencher) {
        let row = logits();
        bencher.counter(BytesCount::of_slice(&row)).bench_local(|| log_sum_exp(black_box(&row)));
    }

    #[divan::bench]
    fn argmax_of_262144(bencher: Bencher) {
        let row = logits();
        bencher.counter(BytesCount::of_slice(&row)).bench_local(|| argmax(black_box(&row)));
    }
}

/// Tokens' bytes to whole characters, a comment in pieces of two bytes.
#[divan::bench]
fn utf8_assembly(bencher: Bencher) {
    bencher.counter(BytesCount::of_str(COMMENT)).bench_local(|| {
        let mut utf8 = Utf8Assembler::default();
        for piece in COMMENT.as_bytes().chunks(2) {
            black_box(utf8.push(piece));
        }
        utf8.finish()
    });
}

fn input() -> Input {
    Input::new(RawInput { comment: COMMENT, ..RawInput::default() }).unwrap()
}

/// Checking and normalising a comment.
#[divan::bench]
fn input_checked(bencher: Bencher) {
    bencher.counter(BytesCount::of_str(COMMENT)).bench_local(input);
}

/// A repeat found in the answer cache.
#[divan::bench]
fn answer_cache_hit(bencher: Bencher) {
    let (cache, input, runtime) = (AnswerCache::new(1 << 20).unwrap(), input(), runtime());
    let answer = Answer { log_probs: [-1.0; 3], prompt_tokens: 100 };
    if let Ok(Lookup::Unknown(place)) = runtime.block_on(cache.lookup(&input, None)) {
        place.fill(answer);
    }
    bencher.bench_local(|| {
        let found = runtime.block_on(cache.lookup(black_box(&input), None));
        assert!(matches!(found, Ok(Lookup::Known(_))));
    });
}

/// A comment to its prompt's tokens.
mod prompt {
    use super::*;

    fn bench(bencher: Bencher, vocabulary: Arc<dyn Vocabulary>) {
        let profile = Arc::new(Profile::from_toml(DEFAULT_TOML).unwrap());
        let prompter = Prompter::new(vocabulary, profile).unwrap();
        bencher
            .counter(BytesCount::of_str(COMMENT))
            .bench_local(|| prompter.prompt(black_box(COMMENT), None, AnswerStart::Prefix));
    }

    #[divan::bench]
    fn bytes(bencher: Bencher) {
        bench(bencher, Arc::new(ByteVocabulary));
    }

    /// Only where `make` has made the model.
    #[divan::bench(ignore = !model().exists())]
    fn gemma(bencher: Bencher) {
        bench(bencher, Arc::new(Model::load(&model(), Some(0)).unwrap()));
    }

    fn model() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("models/ko-gemma3-270m-sentiment.gguf")
    }
}
