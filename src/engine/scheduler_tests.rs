//! The scheduler against a plain model: what a job is told must be what its own tokens
//! alone would give, whatever runs beside it, fails, is cancelled or is forgotten.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use tokio::sync::mpsc;

use super::*;
use crate::engine::admission::{Admission, Bounds, Load};
use crate::engine::backend::Limits;
use crate::engine::fake::FakeBackend;
use crate::engine::job::{Generation, Guide, JobSpec};
use crate::engine::logits::Sampler;
use crate::engine::meters::Course;
use crate::engine::share::Share;

#[path = "draft_tests.rs"]
mod drafts;

const VOCABULARY: usize = 50;
const PINNED: [Token; 5] = [1, 2, 3, 4, 5];
const END: Token = 0;
const LIMITS: Limits = Limits { cells: 400, batch: 48, outputs: 24, sequences: 16 };
const CONFIG: SchedulerConfig = SchedulerConfig {
    parallel: 4,
    videos: 3,
    step_target: Duration::from_millis(200),
    fixed_step: None,
    longest_draft: 8,
};

/// Time that only steps move.
#[derive(Clone, Default)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn advance(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_nanos()).unwrap(), Ordering::SeqCst);
    }
    fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::SeqCst))
    }
}

struct Bench {
    scheduler: Scheduler<FakeBackend>,
    clock: Clock,
    start: Instant,
    steps: Arc<Mutex<Vec<usize>>>,
}

impl Bench {
    fn new(limits: Limits, config: SchedulerConfig, token_time: Duration, failing: Vec<u64>) -> Self {
        let clock = Clock::default();
        let start = Instant::now();
        let steps: Arc<Mutex<Vec<usize>>> = Arc::default();
        let mut backend = FakeBackend::new(limits, VOCABULARY);
        let (ticking, sizes) = (clock.clone(), steps.clone());
        backend.on_step = Box::new(move |tokens| {
            ticking.advance(token_time * u32::try_from(tokens).unwrap());
            sizes.lock().unwrap().push(tokens);
        });
        // Steps after the pinned prefix's.
        backend.failing_steps = failing.iter().map(|step| step + 1).collect();
        let now = clock.clone();
        let scheduler =
            Scheduler::new(backend, config, &PINNED, Box::new(move || start + now.elapsed())).unwrap();
        steps.lock().unwrap().clear();
        Self { scheduler, clock, start, steps }
    }

    fn plain() -> Self {
        Self::new(LIMITS, CONFIG, Duration::from_millis(1), Vec::new())
    }

    fn push(&mut self, spec: JobSpec) -> mpsc::Receiver<Event> {
        let room = 4 + spec.generation.as_ref().map_or(0, |g| g.max_tokens);
        self.push_with_room(spec, room)
    }

    fn push_with_room(&mut self, spec: JobSpec, room: usize) -> mpsc::Receiver<Event> {
        let permit = Admission::new(Bounds { jobs: 1, tokens: 0 }).enter(Load::default()).unwrap();
        let (events, receiver) = mpsc::channel(room);
        let submitted = self.start + self.clock.elapsed();
        self.scheduler.push(Job {
            spec,
            submitted,
            events,
            course: Course::begin(Arc::default(), Class::Interactive, Duration::ZERO),
            _permit: Arc::new(permit),
        });
        receiver
    }

    fn run(&mut self) {
        for _ in 0..10_000 {
            if matches!(self.scheduler.step(), Ok(false)) {
                return;
            }
        }
        panic!("the scheduler never rests");
    }

    /// All cells and sequences are free again, but for the pinned prefix and the videos kept.
    fn check_nothing_leaks(&self) {
        let s = &self.scheduler;
        assert!(s.running.is_empty() && s.queue.next(false).is_none());
        let limits = s.backend.limits();
        let mut kept = 0;
        let mut busy = vec![0];
        for id in 0..10_000 {
            if let Some(node) = s.tree.get(id) {
                assert_eq!(node.users, 0);
                kept += node.tokens.len();
                busy.push(node.seq);
                assert_eq!(s.backend.held(node.seq), PINNED.len() + node.done);
            }
        }
        assert_eq!(s.free_cells, limits.cells - PINNED.len() - kept);
        let mut all: Vec<SeqId> = s.free_seqs.iter().chain(&busy).copied().collect();
        all.sort_unstable();
        assert_eq!(all, (0..SeqId::try_from(limits.sequences).unwrap()).collect::<Vec<_>>());
        for seq in &s.free_seqs {
            assert_eq!(s.backend.held(*seq), 0, "a free sequence still holds cells");
        }
    }
}

fn score(shared: &[Token], tokens: &[Token], branches: &[Vec<Token>]) -> JobSpec {
    JobSpec {
        shared: shared.into(),
        tokens: tokens.to_vec(),
        branches: branches.into(),
        generation: None,
        deadline: None,
        reproducible: false,
        share: Share::default(),
    }
}

fn write(mut spec: JobSpec, begin: Vec<Token>, max_tokens: usize) -> JobSpec {
    spec.generation = Some(Generation {
        begin_tokens: begin.len(),
        begin: Box::new(move |_| begin),
        max_tokens,
        sampler: Sampler::new(0.0, 0),
        guide: None,
        is_end: Arc::new(|token| token == END),
    });
    spec
}

fn labels() -> Vec<Vec<Token>> {
    vec![vec![10, 11], vec![12, 13, 14], vec![15]]
}

/// ln P(branch) by the definition, on the plain model.
fn expected_scores(prompt: &[Token], branches: &[Vec<Token>]) -> Vec<f64> {
    let one = |branch: &Vec<Token>| {
        let mut history = prompt.to_vec();
        let mut sum = 0.0;
        for token in branch {
            let row = FakeBackend::logits_after(&history, VOCABULARY);
            let total: f64 = row.iter().map(|x| f64::from(*x).exp()).sum();
            sum += f64::from(row[usize::try_from(*token).unwrap()]) - total.ln();
            history.push(*token);
        }
        sum
    };
    branches.iter().map(one).collect()
}

/// The greedy text on the plain model.
fn expected_text(prompt: &[Token], max_tokens: usize) -> Vec<Token> {
    sampled_text(prompt, max_tokens, Sampler::new(0.0, 0))
}

/// What this sampler writes on the plain model.
fn sampled_text(prompt: &[Token], max_tokens: usize, mut sampler: Sampler) -> Vec<Token> {
    let mut history = prompt.to_vec();
    let mut text = Vec::new();
    while text.len() < max_tokens {
        let row = FakeBackend::logits_after(&history, VOCABULARY);
        let next = sampler.sample(&row).unwrap();
        if next == END {
            break;
        }
        text.push(next);
        history.push(next);
    }
    text
}

fn events(receiver: &mut mpsc::Receiver<Event>) -> Vec<Event> {
    std::iter::from_fn(|| receiver.try_recv().ok()).collect()
}

fn text_of(events: &[Event]) -> Vec<Token> {
    let token = |e: &Event| if let Event::Token(t) = e { Some(*t) } else { None };
    events.iter().filter_map(token).collect()
}

fn close(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5)
}

#[test]
fn joint_scores_are_those_of_the_plain_model_and_take_one_step() {
    let mut bench = Bench::plain();
    let prompt = [20, 21, 22];
    let mut receiver = bench.push(score(&[], &prompt, &labels()));
    assert_eq!(bench.scheduler.step(), Ok(true));
    let got = events(&mut receiver);
    let Event::Scored(scores, stats) = &got[0] else { panic!("{got:?}") };
    assert!(close(scores, &expected_scores(&[&PINNED[..], &prompt].concat(), &labels())));
    assert_eq!((stats.prompt_tokens, stats.cached_tokens), (8, 5));
    assert!(matches!(got[1], Event::Done(Finish::Stop, _)));
    // Three prompt tokens, and the label tokens that have a successor.
    assert_eq!(*bench.steps.lock().unwrap(), [3 + 1 + 2]);
    bench.check_nothing_leaks();
}

/// Labels as tokenisers cut them: of 1 to 5 tokens, alike, sharing a beginning, one the beginning of another.
fn any_labels() -> impl Strategy<Value = Vec<Vec<Token>>> {
    let label = proptest::collection::vec(6_i32..9, 1..=5);
    proptest::collection::vec(label, 1..=5)
}

proptest! {
    #[test]
    fn labels_of_any_length_score_as_the_plain_model_does(
        labels in any_labels(),
        prompt in proptest::collection::vec(20_i32..30, 1..60),
        video in 0_usize..30,
        text in any::<bool>(),
    ) {
        let mut bench = Bench::plain();
        let video: Vec<Token> = (0..video).map(|i| 30 + i as Token % 10).collect();
        let read = [&PINNED[..], &video, &prompt].concat();
        let spec = score(&video, &prompt, &labels);
        let spec = if text { write(spec, labels[0].clone(), 6) } else { spec };
        let mut receiver = bench.push(spec);
        bench.run();
        let got = events(&mut receiver);
        let Event::Scored(scores, _) = &got[0] else { panic!("{got:?}") };
        prop_assert!(close(scores, &expected_scores(&read, &labels)), "{scores:?}");
        if text {
            prop_assert_eq!(text_of(&got), expected_text(&[&read[..], &labels[0]].concat(), 6));
        }
        bench.check_nothing_leaks();
    }
}

#[test]
fn a_text_goes_on_from_its_verdict() {
    let mut bench = Bench::plain();
    let prompt = [20, 21];
    let begin = vec![12, 13, 14, 30];
    let mut receiver = bench.push(write(score(&[], &prompt, &labels()), begin.clone(), 12));
    bench.run();
    let got = events(&mut receiver);
    assert!(matches!(got[0], Event::Scored(..)));
    let expect = expected_text(&[&PINNED[..], &prompt, &begin].concat(), 12);
    assert_eq!(text_of(&got), expect);
    let Some(Event::Done(finish, stats)) = got.last() else { panic!("{got:?}") };
    assert_eq!(*finish, if expect.len() == 12 { Finish::Length } else { Finish::Stop });
    assert_eq!(stats.generated_tokens, expect.len());
    bench.check_nothing_leaks();
}

/// Every other token is one of three.
struct EveryOther(usize, Option<std::sync::mpsc::Sender<Token>>);

impl Guide for EveryOther {
    fn choices(&self) -> Option<Vec<Token>> {
        self.0.is_multiple_of(2).then(|| vec![20, 21, 22])
    }

    fn chose(&mut self, token: Token) {
        self.0 += 1;
        if let Some(told) = &self.1 {
            told.send(token).unwrap();
        }
    }

    fn fork(&self) -> Box<dyn Guide> {
        Box::new(Self(self.0, None))
    }
}

#[test]
fn a_guided_text_is_made_of_its_choices() {
    let mut bench = Bench::plain();
    let (told, chosen) = std::sync::mpsc::channel();
    let mut spec = write(score(&[], &[20, 21], &labels()), vec![30], 9);
    spec.generation.as_mut().unwrap().guide = Some(Box::new(EveryOther(0, Some(told))));
    let mut receiver = bench.push(spec);
    bench.run();
    let text = text_of(&events(&mut receiver));
    let mut history = [&PINNED[..], &[20, 21, 30]].concat();
    for (i, token) in text.iter().enumerate() {
        let row = FakeBackend::logits_after(&history, VOCABULARY);
        let logit = |t: &Token| row[usize::try_from(*t).unwrap()];
        let among = if i % 2 == 0 { 20..23 } else { 0..Token::try_from(VOCABULARY).unwrap() };
        let best = among.max_by(|a, b| logit(a).total_cmp(&logit(b))).unwrap();
        assert_eq!(*token, best, "token {i}");
        history.push(*token);
    }
    assert!(text.len() > 1);
    assert_eq!(chosen.try_iter().collect::<Vec<_>>(), text);
    bench.check_nothing_leaks();
}

#[test]
fn a_video_is_computed_once() {
    let mut bench = Bench::plain();
    let video: Vec<Token> = (20..45).collect();
    let mut first = bench.push(score(&video, &[7, 8], &labels()));
    let mut second = bench.push(score(&video, &[9], &labels()));
    bench.run();
    let stats = |receiver: &mut mpsc::Receiver<Event>| match &events(receiver)[0] {
        Event::Scored(_, stats) => *stats,
        other => panic!("{other:?}"),
    };
    assert_eq!(stats(&mut first).cached_tokens, 5);
    assert_eq!(stats(&mut second).cached_tokens, 5 + 25);
    let computed: usize = bench.steps.lock().unwrap().iter().sum();
    assert_eq!(computed, 25 + (2 + 3) + (1 + 3));
    bench.check_nothing_leaks();
}

#[test]
fn comments_of_a_cached_video_gather_before_it_is_forgotten() {
    let config = SchedulerConfig { parallel: 1, videos: 1, ..CONFIG };
    let mut bench = Bench::new(LIMITS, config, Duration::from_millis(1), vec![]);
    let videos: [Vec<Token>; 2] = [vec![9; 40], vec![8; 40]];
    let interleaved: Vec<_> =
        (0..40).map(|i| bench.push(score(&videos[i % 2], &[20, 21], &labels()))).collect();
    bench.run();
    // In turns they would be computed 40 times; the bound on overtaking brings the first back once.
    let computed = interleaved.into_iter().map(|mut receiver| match &events(&mut receiver)[0] {
        Event::Scored(_, stats) => stats.prompt_tokens - stats.cached_tokens,
        other => panic!("{other:?}"),
    });
    assert_eq!(computed.filter(|tokens| *tokens > 40).count(), 3);
    bench.check_nothing_leaks();
}

#[test]
fn a_job_that_does_not_fit_pushes_nothing_out() {
    let mut bench = Bench::plain();
    let video = vec![9; 40];
    let mut first = bench.push(score(&video, &[20], &labels()));
    bench.run();
    assert!(matches!(events(&mut first)[0], Event::Scored(..)));
    let _text = bench.push(write(score(&[], &[21; 10], &[]), vec![], 280));
    bench.scheduler.step().unwrap();
    let _waits = bench.push(write(score(&[], &[22; 10], &[]), vec![], 200));
    bench.scheduler.step().unwrap();
    assert_eq!(bench.scheduler.tree.len(), 1, "the video is still there");
}

#[test]
fn a_long_prompt_stalls_no_text_beyond_the_target() {
    // 5 ms a token: 40 tokens fit the target of 200 ms.
    let mut bench = Bench::new(LIMITS, CONFIG, Duration::from_millis(5), Vec::new());
    let _writer = bench.push(write(score(&[], &[20], &[]), Vec::new(), 300));
    bench.scheduler.step().unwrap();
    // A step that tells the speed.
    let _first = bench.push(score(&[], &[21; 30], &labels()));
    bench.scheduler.step().unwrap();
    let mut long = bench.push(score(&[], &[22; 70], &labels()));
    bench.steps.lock().unwrap().clear();
    let mut done = Vec::new();
    while done.is_empty() {
        assert_eq!(bench.scheduler.step(), Ok(true));
        done = events(&mut long);
    }
    let sizes = bench.steps.lock().unwrap().clone();
    assert!(sizes.len() >= 2 && sizes.iter().all(|tokens| *tokens <= 41), "{sizes:?}");
}

#[test]
fn without_texts_a_step_is_as_large_as_the_batch() {
    let mut bench = Bench::new(LIMITS, CONFIG, Duration::from_secs(1), Vec::new());
    let _long = bench.push(score(&[], &[22; 100], &labels()));
    bench.scheduler.step().unwrap();
    assert_eq!(*bench.steps.lock().unwrap(), [LIMITS.batch]);
}

#[test]
fn cancelling_frees_everything_within_one_step() {
    let mut bench = Bench::plain();
    let streams: Vec<_> =
        (0..4).map(|i| bench.push(write(score(&[], &[20 + i], &[]), Vec::new(), 60))).collect();
    bench.scheduler.step().unwrap();
    assert_eq!(bench.scheduler.running.len(), 4);
    drop(streams);
    let mut queued = bench.push(score(&[], &[30], &labels()));
    assert_eq!(bench.scheduler.step(), Ok(true));
    assert!(matches!(events(&mut queued)[..], [Event::Scored(..), Event::Done(..)]));
    bench.check_nothing_leaks();
}

#[test]
fn deadlines_hold_in_the_queue_and_between_steps() {
    let mut bench =
        Bench::new(LIMITS, SchedulerConfig { parallel: 1, ..CONFIG }, Duration::from_millis(10), vec![]);
    let at = |ms| Some(bench.start + bench.clock.elapsed() + Duration::from_millis(ms));
    let (running, waiting) = (at(100), at(40));
    let writer = JobSpec { deadline: running, ..write(score(&[], &[20], &[]), Vec::new(), 300) };
    let mut writer = bench.push(writer);
    let mut queued = bench.push(JobSpec { deadline: waiting, ..score(&[], &[21], &labels()) });
    bench.run();
    assert_eq!(events(&mut queued), [Event::Failed(EngineError::DeadlineExceeded)]);
    let got = events(&mut writer);
    assert_eq!(got.last(), Some(&Event::Failed(EngineError::DeadlineExceeded)));
    assert!((5..=10).contains(&text_of(&got).len()), "{got:?}");
    bench.check_nothing_leaks();
}

#[test]
fn a_slow_reader_is_cut_off_alone() {
    let mut bench = Bench::plain();
    let mut slow = bench.push_with_room(write(score(&[], &[20], &[]), Vec::new(), 30), 6);
    let mut reader = bench.push(write(score(&[], &[21], &[]), Vec::new(), 30));
    bench.run();
    let got = events(&mut slow);
    assert_eq!(got.last(), Some(&Event::Failed(EngineError::SlowReader)));
    assert_eq!(text_of(&got), expected_text(&[&PINNED[..], &[20]].concat(), 5), "what was sent stays");
    assert_eq!(text_of(&events(&mut reader)), expected_text(&[&PINNED[..], &[21]].concat(), 30));
    bench.check_nothing_leaks();
}

#[test]
fn a_failed_step_ends_its_own_jobs_only() {
    let config = SchedulerConfig { parallel: 1, ..CONFIG };
    let mut bench = Bench::new(LIMITS, config, Duration::ZERO, vec![0]);
    let mut first = bench.push(score(&[], &[20], &labels()));
    let mut second = bench.push(score(&[], &[21], &labels()));
    assert_eq!(bench.scheduler.step(), Err(EngineError::Decode(-3)));
    bench.run();
    assert_eq!(events(&mut first), [Event::Failed(EngineError::Decode(-3))]);
    assert!(matches!(events(&mut second)[..], [Event::Scored(..), Event::Done(..)]));
    bench.check_nothing_leaks();
}

const BULK: Share = Share { class: Class::Bulk, caller: 1, weight: 1.0 };

#[test]
fn an_interactive_job_does_not_wait_for_the_bulk_before_it() {
    let mut bench = Bench::plain();
    let bulk: Vec<_> =
        (0..40).map(|i| bench.push(JobSpec { share: BULK, ..score(&[], &[10 + i], &labels()) })).collect();
    bench.scheduler.step().unwrap();
    let mut interactive = bench.push(score(&[], &[9], &labels()));
    // Those that run go on; it is the next to start.
    bench.scheduler.step().unwrap();
    assert!(matches!(events(&mut interactive)[..], [Event::Scored(..), Event::Done(..)]));
    bench.run();
    assert!(
        bulk.into_iter().all(|mut job| matches!(events(&mut job)[..], [Event::Scored(..), Event::Done(..)]))
    );
    bench.check_nothing_leaks();
}

#[test]
fn steps_of_bulk_jobs_are_short_while_interactive_ones_come() {
    let mut bench = Bench::new(LIMITS, CONFIG, Duration::from_millis(10), Vec::new());
    let bulk = |bench: &mut Bench| bench.push(JobSpec { share: BULK, ..score(&[], &[7; 30], &labels()) });
    let longest = |bench: &mut Bench| {
        let _jobs: Vec<_> = (0..4).map(|_| bulk(bench)).collect();
        bench.steps.lock().unwrap().clear();
        bench.run();
        bench.steps.lock().unwrap().iter().copied().max().unwrap()
    };
    assert_eq!(longest(&mut bench), LIMITS.batch, "alone, a step is as long as may be");
    let _interactive = bench.push(score(&[], &[9; 20], &labels()));
    bench.run();
    // 200 ms at 10 ms a token.
    assert!(longest(&mut bench) <= 20 + MIN_READ);
    bench.clock.advance(Duration::from_secs(11));
    assert_eq!(longest(&mut bench), LIMITS.batch);
}

#[test]
fn texts_of_bulk_jobs_leave_places_for_others() {
    let mut bench = Bench::plain();
    let text = |share| JobSpec { share, ..write(score(&[], &[20], &[]), Vec::new(), 40) };
    let _bulk: Vec<_> = (0..8).map(|_| bench.push(text(BULK))).collect();
    bench.scheduler.step().unwrap();
    assert_eq!(bench.scheduler.running.len(), CONFIG.parallel - 1);
    let _interactive = bench.push(text(Share::default()));
    bench.scheduler.step().unwrap();
    assert_eq!(bench.scheduler.running.len(), CONFIG.parallel);
    bench.run();
    bench.check_nothing_leaks();
}

#[derive(Debug, Clone)]
struct Plan {
    video: Option<u8>,
    tokens: Vec<Token>,
    text: Option<usize>,
    scored: bool,
    cancel_after: Option<usize>,
    arrives: usize,
    share: Share,
}

fn share() -> impl Strategy<Value = Share> {
    let class = prop_oneof![Just(Class::Interactive), Just(Class::Bulk)];
    (class, 0..3_u64, 0.5..4.0).prop_map(|(class, caller, weight)| Share { class, caller, weight })
}

fn plan() -> impl Strategy<Value = Plan> {
    let tokens = prop::collection::vec(1..50_i32, 1..40);
    let cancel = prop::option::weighted(0.15, 0..6_usize);
    let text = prop::option::of(1..8_usize);
    (prop::option::of(0..6_u8), tokens, text, any::<bool>(), cancel, 0..8_usize, share()).prop_map(
        |(video, tokens, text, scored, cancel_after, arrives, share)| {
            let scored = scored || text.is_none();
            Plan { video, tokens, text, scored, cancel_after, arrives, share }
        },
    )
}

/// Six videos for three places, one of them too short for a place.
fn video(id: Option<u8>) -> Vec<Token> {
    let length = |id: u8| if id == 0 { 6 } else { 20 + 7 * usize::from(id) };
    id.map_or_else(Vec::new, |id| vec![Token::from(id) + 40; length(id)])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn every_answer_is_the_plain_models(
        plans in prop::collection::vec(plan(), 1..16),
        failing in prop::collection::vec(0..30_u64, 0..4),
    ) {
        let mut bench = Bench::new(LIMITS, CONFIG, Duration::from_millis(3), failing.clone());
        let mut receivers: Vec<Option<mpsc::Receiver<Event>>> = plans.iter().map(|_| None).collect();
        let mut got: Vec<Vec<Event>> = vec![Vec::new(); plans.len()];
        for step in 0..2_000 {
            for (i, plan) in plans.iter().enumerate() {
                if plan.arrives == step {
                    let branches = if plan.scored { labels() } else { Vec::new() };
                    let spec = score(&video(plan.video), &plan.tokens, &branches);
                    let mut spec = JobSpec { share: plan.share, ..spec };
                    if let Some(max) = plan.text {
                        spec = write(spec, if plan.scored { vec![12, 13] } else { Vec::new() }, max);
                    }
                    receivers[i] = Some(bench.push(spec));
                }
                if plan.cancel_after.is_some_and(|after| plan.arrives + after == step) {
                    receivers[i] = None;
                }
            }
            let worked = !matches!(bench.scheduler.step(), Ok(false));
            for (receiver, got) in receivers.iter_mut().zip(&mut got) {
                if let Some(receiver) = receiver {
                    got.extend(events(receiver));
                }
            }
            if !worked && step > 16 {
                break;
            }
        }
        for (plan, got) in plans.iter().zip(&got) {
            let prompt = [&PINNED[..], &video(plan.video), &plan.tokens].concat();
            let failed = matches!(got.last(), Some(Event::Failed(EngineError::Decode(_))));
            prop_assert!(plan.cancel_after.is_some() || failed || matches!(got.last(), Some(Event::Done(..))), "{got:?}");
            prop_assert!(!failed || !failing.is_empty());
            if let Some(Event::Scored(scores, _)) = got.first() {
                prop_assert!(close(scores, &expected_scores(&prompt, &labels())));
            }
            let begun = if plan.scored { [&prompt[..], &[12, 13]].concat() } else { prompt };
            let expect = expected_text(&begun, plan.text.unwrap_or(0));
            let text = text_of(got);
            prop_assert!(expect.starts_with(&text));
            if matches!(got.last(), Some(Event::Done(..))) {
                prop_assert_eq!(text, expect);
            }
        }
        bench.check_nothing_leaks();
    }
}
