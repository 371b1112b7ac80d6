//! The whole path over labels of any shape: what the engine scores is what a plain forward pass says of each
//! label by itself.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use ko_sentiment::gguf::tensor_type::FileType;
use ko_sentiment::llama::Model;
use ko_sentiment::load::{LoadError, LoadOptions, load};
use ko_sentiment::sentiment::classify::Options;
use ko_sentiment::sentiment::input::{Input, RawInput};
use ko_sentiment::sentiment::labels::Sentiment;
use ko_sentiment::sentiment::profile::{DEFAULT_TOML, Labels, Profile};
use ko_sentiment::sentiment::prompt::{AnswerStart, PromptError, Prompter, Video};
use ko_sentiment::text::vocabulary::{Token, Vocabulary as _};
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::token::LlamaToken;

use crate::convert::support::{Checkpoint, Job};

/// Nats that batching may move a log-probability of the tiny model.
const TOLERANCE: f64 = 0.05;

const COMMENT: &str = "정말 좋아요";

/// The default profile with other labels, and an instruction that the tiny model's context has room for.
fn profile(labels: [&str; 3]) -> Profile {
    let mut profile = Profile::from_toml(DEFAULT_TOML).unwrap();
    let [positive, neutral, negative] = labels.map(str::to_owned);
    profile.instruction = "감정을 분류해주세요.\n".into();
    profile.labels = Labels { positive, neutral, negative };
    profile
}

fn options(profile: Profile) -> LoadOptions {
    let mut options = LoadOptions { profile: Some(profile), context: 2048, ..LoadOptions::default() };
    options.answer_cache = 0;
    options.engine.max_request_tokens = 512;
    options
}

/// ln P(label | prompt), by llama.cpp, one label and one sequence at a time.
struct Plain {
    model: LlamaModel,
}

impl Plain {
    fn open(path: &Path) -> Self {
        let backend = ko_sentiment::llama::backend::backend().unwrap();
        Self { model: LlamaModel::load_from_file(backend, path, &LlamaModelParams::default()).unwrap() }
    }

    fn log_prob(&self, prompt: &[Token], label: &[Token]) -> f64 {
        let backend = ko_sentiment::llama::backend::backend().unwrap();
        let mut context = self.model.new_context(backend, LlamaContextParams::default()).unwrap();
        let tokens = [prompt, label].concat();
        let mut batch = LlamaBatch::new(tokens.len(), 1);
        for (i, token) in tokens.iter().enumerate() {
            batch.add(LlamaToken::new(*token), i32::try_from(i).unwrap(), &[0], true).unwrap();
        }
        context.decode(&mut batch).unwrap();
        let step = |(i, token): (usize, &Token)| {
            let row = context.get_logits_ith(i32::try_from(prompt.len() - 1 + i).unwrap());
            let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = row.iter().map(|l| f64::from(l - max).exp()).sum();
            f64::from(row[usize::try_from(*token).unwrap()] - max) - sum.ln()
        };
        label.iter().enumerate().map(step).sum()
    }
}

/// Words by their number of tokens after the answer's prefix, up to five.
fn words(model: &Model) -> Vec<Vec<String>> {
    let prefix = profile(["가", "나", "다"]).answer.prefix;
    let alone = model.tokenize_template(&prefix);
    let mut by_length = vec![Vec::new(); 6];
    let bases = ["긍정", "중립", "부정", "감정", "댓글", "A", "B", "매우", "분석"];
    for a in bases {
        for b in ["", "적", "함", "한 댓글", "입니다", "이다"] {
            let word = format!("{a}{b}");
            let tokens = model.tokenize_template(&word);
            let clean = model.tokenize_template(&format!("{prefix}{word}")) == [&alone[..], &tokens].concat();
            if clean && (1..=5).contains(&tokens.len()) {
                by_length[tokens.len()].push(word);
            }
        }
    }
    by_length
}

/// Triples of labels: one for each combination of lengths that the vocabulary has words for.
fn triples(by_length: &[Vec<String>]) -> Vec<[&str; 3]> {
    let mut triples = Vec::new();
    for lengths in
        [[1, 1, 1], [1, 1, 2], [1, 2, 3], [2, 2, 2], [2, 1, 5], [3, 3, 3], [4, 1, 1], [5, 5, 5], [5, 4, 3]]
    {
        let mut seen = BTreeSet::new();
        let pick = |(i, n): (usize, &usize)| {
            let words = by_length[*n].iter().map(String::as_str);
            // Not always the same words.
            let word = words.cycle().skip(i).take(by_length[*n].len()).find(|w| !seen.contains(w))?;
            seen.insert(word);
            Some(word)
        };
        let picked: Option<Vec<&str>> = lengths.iter().enumerate().map(pick).collect();
        triples.extend(picked.and_then(|words| <[&str; 3]>::try_from(words).ok()));
    }
    triples
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_of_one_to_five_tokens_are_scored_as_by_themselves() {
    let checkpoint = Checkpoint::tiny();
    let path = checkpoint.path().join("tiny.gguf");
    Job::new(checkpoint.write(), FileType::F32, &path).run().unwrap();
    let (plain, model) = (Plain::open(&path), Arc::new(Model::load(&path, None).unwrap()));
    let by_length = words(&model);
    let mut lengths_seen = BTreeSet::new();
    let mut checked = 0;
    for labels in triples(&by_length).into_iter().chain([["긍정적", "긍정함", "부정"]]) {
        let classifier = match load(&path, options(profile(labels))) {
            Ok(classifier) => classifier,
            // Words that cannot be labels together.
            Err(LoadError::Prompt(PromptError::SameTokens(..) | PromptError::LabelBoundary { .. })) => {
                continue;
            }
            Err(error) => panic!("{labels:?}: {error}"),
        };
        let prompter = Prompter::new(model.clone(), Arc::new(profile(labels))).unwrap();
        let video = Video {
            title: "축구 하이라이트 영상입니다".into(), summary: "대표팀이 졌다".into()
        };
        for video in [None, Some(&video)] {
            let (title, summary) = video.map_or(("", ""), |v| (v.title.as_str(), v.summary.as_str()));
            let input = Input::new(RawInput { comment: COMMENT, title, summary, video_id: "" }).unwrap();
            let got = classifier.classify(&input, Options::default()).await.unwrap().verdict;
            let tokens = prompter.prompt(&input.comment, input.video.as_ref(), AnswerStart::Prefix);
            let prompt = [&prompter.static_tokens()[..], &tokens.video, &tokens.comment].concat();
            for s in Sentiment::ALL {
                let label = &prompter.labels()[s.index()];
                let (expect, got) = (plain.log_prob(&prompt, label), got.log_probs[s.index()]);
                assert!((expect - got).abs() < TOLERANCE, "{labels:?} {s}: {got}, {expect} by itself");
                lengths_seen.insert(label.len());
            }
        }
        checked += 1;
    }
    assert_eq!(lengths_seen, BTreeSet::from([1, 2, 3, 4, 5]));
    assert!(checked >= 6, "{checked} triples of labels");
    // One label that begins another, in text or in tokens, has no probability of its own.
    assert!(profile(["긍정", "긍정적", "부정"]).check().is_err());
}

#[test]
fn labels_too_long_for_a_step_are_refused_at_the_start() {
    let checkpoint = Checkpoint::tiny();
    let path = checkpoint.path().join("tiny.gguf");
    Job::new(checkpoint.write(), FileType::F32, &path).run().unwrap();
    let long = ["긍정 ".repeat(12), "중립 ".repeat(12), "부정 ".repeat(12)];
    let error = load(&path, options(profile([&long[0], &long[1], &long[2]]))).err().unwrap().to_string();
    assert!(error.contains("labels are too long"), "{error}");
}
