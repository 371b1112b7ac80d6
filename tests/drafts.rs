//! Drafts with real models: what is written is what the model would choose, also far beyond its sliding window.

use std::sync::Arc;

use ko_sentiment::engine::backend::{Backend, Batch, BatchToken, Output};
use ko_sentiment::engine::logits::{Sampler, argmax};
use ko_sentiment::engine::{Engine, EngineConfig, Event, Finish, Generation, JobSpec, Share, StepCounts};
use ko_sentiment::gguf::tensor_type::FileType;
use ko_sentiment::llama::{Kernels, LlamaContext, Model};
use ko_sentiment::load::{LoadOptions, load};
use ko_sentiment::sentiment::classify::{Classifier, ReasonEvent, ReasonOptions};
use ko_sentiment::sentiment::input::{Input, RawInput};

use crate::attention::OPTIONS;
use crate::convert::support::{Checkpoint, Job};
use crate::support::model;

/// Tokens of each text: with the prompt more than twice the window of 64.
const LENGTH: usize = 150;
const PARALLEL: usize = 6;

fn tiny() -> Arc<Model> {
    let checkpoint = Checkpoint::of("checkpoint");
    let out = checkpoint.write().join("out.gguf");
    Job::new(checkpoint.path(), FileType::F32, &out).run().unwrap();
    Arc::new(Model::load(&out, None).unwrap())
}

fn prompt(job: usize) -> Vec<i32> {
    (0..10 + 9 * job).map(|i| 20 + i32::try_from(i * i * 31 + job * 57).unwrap() % 700).collect()
}

fn text_job(job: usize) -> JobSpec {
    JobSpec {
        shared: Arc::new([]),
        tokens: prompt(job),
        branches: Arc::new([]),
        generation: Some(Generation {
            begin: Box::new(|_| Vec::new()),
            max_tokens: LENGTH,
            begin_tokens: 0,
            sampler: Sampler::new(0.0, 0),
            guide: None,
            is_end: Arc::new(|_| false),
        }),
        deadline: None,
        reproducible: false,
        share: Share::default(),
    }
}

/// Some texts at once, each followed by the same again; and what the steps did.
async fn write(model: &Arc<Model>, longest_draft: usize) -> (Vec<Vec<i32>>, StepCounts) {
    let config = EngineConfig {
        parallel: PARALLEL,
        videos: 0,
        max_request_tokens: 400,
        longest_draft,
        ..EngineConfig::default()
    };
    let for_engine = model.clone();
    let make = move |_| LlamaContext::new(for_engine.clone(), OPTIONS);
    let engine = Engine::start(config, Arc::new([2]), make).unwrap();
    let mut texts = Vec::new();
    for _ in 0..4 {
        let jobs: Vec<_> = (0..PARALLEL).map(|job| engine.submit(text_job(job)).unwrap()).collect();
        for mut job in jobs {
            let mut text = Vec::new();
            let finish = loop {
                match job.next().await {
                    Event::Token(token) => text.push(token),
                    Event::Done(finish, _) => break finish,
                    other => panic!("{other:?}"),
                }
            };
            assert_eq!((finish, text.len()), (Finish::Length, LENGTH));
            texts.push(text);
        }
    }
    // The last step answers first and counts then.
    engine.pulse().await.unwrap();
    (texts, engine.counts())
}

/// How far each token's logit is below the highest one, where the whole text is computed at once; as shares of the
/// largest logit.
fn shortfalls(model: &Arc<Model>, job: usize, text: &[i32]) -> Vec<f32> {
    let mut context = LlamaContext::new(model.clone(), OPTIONS).unwrap();
    let mut batch = Batch::default();
    let prompt = [&[2], &prompt(job)[..]].concat();
    for (pos, token) in prompt.iter().chain(text).enumerate() {
        batch.push(BatchToken { token: *token, pos, seqs: vec![0], output: Output::Row });
    }
    context.decode(&batch).unwrap();
    let shortfall = |(i, token): (usize, &i32)| {
        let row = context.logits(prompt.len() - 1 + i).unwrap();
        let best = row[argmax(row).unwrap()];
        let largest = row.iter().fold(0.0f32, |a, b| a.max(b.abs()));
        (best - row[usize::try_from(*token).unwrap()]) / largest
    };
    text.iter().enumerate().map(shortfall).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn drafted_texts_are_what_the_model_chooses_beyond_its_window() {
    let model = tiny();
    let (texts, counts) = write(&model, 8).await;
    let tokens = (4 * PARALLEL * LENGTH) as u64;
    assert!(counts.accepted > tokens / 4 && counts.drafted < tokens, "{counts:?}");
    for (i, text) in texts.iter().enumerate() {
        let shortfalls = shortfalls(&model, i % PARALLEL, text);
        let worst = shortfalls.iter().copied().fold(0.0, f32::max);
        // A token of two that are all but equal.
        assert!(worst < 0.01, "text {i}: {worst} at {:?}", shortfalls.iter().position(|s| *s == worst));
    }
    let (_, without) = write(&model, 0).await;
    assert_eq!((without.drafted, without.accepted), (0, 0));
    assert!(counts.steps < without.steps * 3 / 4, "{} steps, {} without drafts", counts.steps, without.steps);
}

const COMMENTS: [&str; 4] = [
    "정말 감동이었습니다. 눈물이 났어요. 잘 보고 갑니다~",
    "광고가 너무 많아서 도저히 못 보겠네요. 구독 취소합니다.",
    "오늘 저녁 8시에 라이브 하나요?",
    "이게 뭐라고 30분을 봤네요... 시간 아까워",
];

async fn reason(classifier: &Arc<Classifier>, comment: &str, max_tokens: usize) -> (String, Finish) {
    let options = ReasonOptions {
        deadline: None,
        max_tokens,
        temperature: 0.0,
        seed: 0,
        free_answer: false,
        share: Share::default(),
    };
    let input = Input::new(RawInput { comment, ..RawInput::default() }).unwrap();
    let mut stream = classifier.reason(&input, options).unwrap();
    while let Some(event) = stream.next().await {
        if let ReasonEvent::Done(done) = event.unwrap() {
            assert!(done.agrees && done.stats.generated_tokens <= max_tokens);
            return (stream.text().to_owned(), done.finish);
        }
    }
    panic!("the stream has no end");
}

/// With other rows beside it a token's logits differ in the last bits, and so, now and then, the choice between two
/// that are all but equal. A cell too many or too few would change every text.
#[tokio::test(flavor = "multi_thread")]
async fn reasons_are_the_same_with_drafts() {
    let mut runs = Vec::new();
    for longest_draft in [0, 8] {
        let engine = EngineConfig { longest_draft, ..EngineConfig::default() };
        let options = LoadOptions { engine, kernels: Kernels::LlamaCpp, ..LoadOptions::default() };
        let classifier = Arc::new(load(&model(), options).unwrap());
        let mut reasons = Vec::new();
        for max_tokens in [32, 32, 32, 11] {
            for comment in COMMENTS {
                reasons.push(reason(&classifier, comment, max_tokens).await);
            }
        }
        classifier.engine().pulse().await.unwrap();
        let counts = classifier.engine().counts();
        assert_eq!(counts.accepted > 20, longest_draft > 0, "{counts:?}");
        runs.push(reasons);
    }
    let same = runs[0].iter().zip(&runs[1]).filter(|(without, with)| without == with).count();
    assert!(same * 4 >= runs[0].len() * 3, "{same} of {}: {runs:#?}", runs[0].len());
}
