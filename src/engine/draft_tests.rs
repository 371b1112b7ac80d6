//! Drafts in the scheduler: fewer steps, the same tokens.

use super::*;

/// A text of one of few prompts, so that texts repeat and drafts hold.
#[derive(Debug, Clone)]
struct Repeat {
    prompt: Token,
    max_tokens: usize,
    temperature: f32,
    seed: u64,
    arrives: usize,
    cancel_after: Option<usize>,
}

fn repeat() -> impl Strategy<Value = Repeat> {
    let temperature = prop_oneof![3 => Just(0.0), 1 => Just(0.3), 1 => Just(1.0)];
    let cancel = prop::option::weighted(0.2, 0..20_usize);
    (0..3_i32, 1..40_usize, temperature, 0..2_u64, 0..60_usize, cancel).prop_map(
        |(prompt, max_tokens, temperature, seed, arrives, cancel_after)| Repeat {
            prompt: 20 + prompt,
            max_tokens,
            temperature,
            seed,
            arrives,
            cancel_after,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn drafts_change_no_token(
        texts in prop::collection::vec(repeat(), 1..40),
        failing in prop::collection::vec(0..60_u64, 0..3),
    ) {
        let mut bench = Bench::new(LIMITS, CONFIG, Duration::from_millis(3), failing);
        let mut receivers: Vec<Option<mpsc::Receiver<Event>>> = texts.iter().map(|_| None).collect();
        for step in 0..5_000 {
            for (text, receiver) in texts.iter().zip(&mut receivers) {
                if text.arrives == step {
                    let mut spec = write(score(&[], &[text.prompt], &[]), Vec::new(), text.max_tokens);
                    spec.generation.as_mut().unwrap().sampler = Sampler::new(text.temperature, text.seed);
                    *receiver = Some(bench.push(spec));
                }
                if text.cancel_after.is_some_and(|after| text.arrives + after == step) {
                    *receiver = None;
                }
            }
            if matches!(bench.scheduler.step(), Ok(false)) && step > 80 {
                break;
            }
        }
        for (text, receiver) in texts.iter().zip(&mut receivers) {
            let Some(receiver) = receiver else { continue };
            let got = events(receiver);
            let sampler = Sampler::new(text.temperature, text.seed);
            let expect = sampled_text(&[&PINNED[..], &[text.prompt]].concat(), text.max_tokens, sampler);
            match got.last() {
                Some(Event::Done(finish, stats)) => {
                    prop_assert_eq!(&text_of(&got), &expect);
                    prop_assert_eq!(*finish == Finish::Length, expect.len() == text.max_tokens);
                    prop_assert_eq!(stats.generated_tokens, expect.len());
                }
                Some(Event::Failed(EngineError::Decode(_))) => prop_assert!(expect.starts_with(&text_of(&got))),
                other => prop_assert!(false, "{:?}", other),
            }
        }
        bench.check_nothing_leaks();
    }
}

/// Writes a text over and over, so that it is known by heart.
fn learn(bench: &mut Bench, prompt: Token, max_tokens: usize) {
    for _ in 0..8 {
        let _events = bench.push(write(score(&[], &[prompt], &[]), Vec::new(), max_tokens));
        bench.run();
    }
}

#[test]
fn a_known_text_takes_few_steps_and_no_more_cells_than_it_reserved() {
    let mut bench = Bench::plain();
    let prompt = 21;
    let expect = expected_text(&[&PINNED[..], &[prompt]].concat(), 60);
    learn(&mut bench, prompt, 60);
    for max_tokens in 1..=expect.len() {
        let (before, steps) = (bench.scheduler.counts(), bench.steps.clone());
        steps.lock().unwrap().clear();
        let mut receiver = bench.push(write(score(&[], &[prompt], &[]), Vec::new(), max_tokens));
        let most = PINNED.len() + 1 + max_tokens;
        while bench.scheduler.step() == Ok(true) {
            assert!(bench.scheduler.batch.tokens.iter().all(|token| token.pos < most));
        }
        let got = events(&mut receiver);
        assert_eq!(text_of(&got), expect[..max_tokens]);
        let after = bench.scheduler.counts();
        assert_eq!(after.drafted - before.drafted, after.accepted - before.accepted, "all are right");
        assert!(steps.lock().unwrap().len() <= 4 + max_tokens / 5, "{max_tokens}: {steps:?}");
    }
    assert!(expect.len() > 20);
    bench.check_nothing_leaks();
}

#[test]
fn guided_texts_are_drafted_too() {
    let mut bench = Bench::plain();
    let mut texts = Vec::new();
    for _ in 0..8 {
        let (told, chosen) = std::sync::mpsc::channel();
        let mut spec = write(score(&[], &[20, 21], &labels()), vec![30], 30);
        spec.generation.as_mut().unwrap().guide = Some(Box::new(EveryOther(0, Some(told))));
        let mut receiver = bench.push(spec);
        bench.run();
        texts.push(text_of(&events(&mut receiver)));
        assert_eq!(Some(&chosen.try_iter().collect()), texts.last(), "the guide is told each token once");
    }
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
    assert!(bench.scheduler.counts().accepted as usize > texts[0].len());
    bench.check_nothing_leaks();
}

/// Says a text by heart and ends it, after a choice of two.
struct ByHeart(Vec<Token>);

impl Guide for ByHeart {
    fn choices(&self) -> Option<Vec<Token>> {
        Some(if self.0.len() == 9 { vec![41, 42] } else { vec![self.0.last().copied().unwrap_or(END)] })
    }

    fn chose(&mut self, _: Token) {
        self.0.pop();
    }

    fn fork(&self) -> Box<dyn Guide> {
        Box::new(Self(self.0.clone()))
    }
}

#[test]
fn what_is_bound_to_follow_takes_one_step() {
    let written = |config: SchedulerConfig, max_tokens| {
        let mut bench = Bench::new(LIMITS, config, Duration::from_millis(1), Vec::new());
        let mut spec = write(score(&[], &[20, 21], &labels()), vec![30], max_tokens);
        spec.generation.as_mut().unwrap().guide = Some(Box::new(ByHeart((31..40).collect())));
        let mut receiver = bench.push(spec);
        bench.run();
        bench.check_nothing_leaks();
        let got = events(&mut receiver);
        let Some(Event::Done(finish, _)) = got.last() else { panic!("{got:?}") };
        (text_of(&got), *finish, bench.steps.lock().unwrap().len())
    };
    let (text, finish, steps) = written(CONFIG, 20);
    assert!([41, 42].contains(&text[0]));
    assert_eq!((&text[1..], finish), (&[38, 37, 36, 35, 34, 33, 32, 31][..], Finish::Stop));
    // The comment, what the text begins with, and all that is bound to follow its first token.
    assert_eq!(steps, 3);
    let (cut, finish, _) = written(CONFIG, 5);
    assert_eq!((&cut[..], finish), (&text[..5], Finish::Length));
    let (slow, _, steps) = written(SchedulerConfig { longest_draft: 0, ..CONFIG }, 20);
    assert_eq!(slow, text);
    assert_eq!(steps, 2 + 8);
}

#[test]
fn drafts_leave_prompts_their_rows() {
    let limits = Limits { outputs: 4 + MIN_READ, ..LIMITS };
    let mut bench = Bench::new(limits, CONFIG, Duration::from_millis(1), Vec::new());
    learn(&mut bench, 22, 40);
    let _texts: Vec<_> = (0..3).map(|_| bench.push(write(score(&[], &[22], &[]), Vec::new(), 40))).collect();
    (0..3).for_each(|_| _ = bench.scheduler.step());
    assert!(bench.scheduler.batch.outputs > limits.outputs - MIN_READ, "texts alone take all");
    let mut scored = bench.push(score(&[], &[23], &[vec![10; 8], vec![11; 8]]));
    bench.scheduler.step().unwrap();
    assert!(matches!(events(&mut scored)[..], [Event::Scored(..), Event::Done(..)]));
}

#[test]
fn reproducible_steps_have_no_drafts() {
    let config = SchedulerConfig { longest_draft: 0, ..CONFIG };
    let mut bench = Bench::new(LIMITS, config, Duration::from_millis(1), Vec::new());
    learn(&mut bench, 21, 30);
    assert_eq!(bench.scheduler.counts().drafted, 0);
    assert!(bench.steps.lock().unwrap().iter().all(|tokens| *tokens == 1));
}
