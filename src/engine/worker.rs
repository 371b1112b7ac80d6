//! The engine's thread and the handle to it.

use std::sync::mpsc as std_mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, warn};

use super::admission::{Admission, Bounds, Load};
use super::backend::{Backend, Limits};
use super::counts::StepCounts;
use super::error::{EngineError, StartError};
use super::job::{Job, JobHandle, JobSpec};
use super::meters::{Before, Course, Meters};
use super::scheduler::{MAX_BRANCH_CELLS, MIN_READ, Scheduler, SchedulerConfig};
use super::share::Share;
use crate::text::vocabulary::Token;

/// Steps in a row that may fail before the engine gives up.
const FAILED_STEPS: u32 = 3;
/// Tokens of a step of a reproducible job: fixed, so that a text being written waits for no long prompt.
const REPRODUCIBLE_STEP: usize = 128;
/// How much longer than expected an answer may take: texts and new videos are not expected, and speed varies.
const CAUTION: f64 = 1.25;
/// Retries are asked for no sooner than this.
const SHORTEST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// Places of a job's channel besides those for text: scores, the last token's turn, the end.
const EXTRA_PLACES: usize = 3;

/// How the engine works. Each default stands here alone.
#[derive(Debug, Clone, Copy)]
pub struct EngineConfig {
    /// Jobs that run at once.
    pub parallel: usize,
    /// Videos whose computation is kept.
    pub videos: usize,
    /// Longest step while texts are being written.
    pub step_target: Duration,
    /// Jobs queued and running together.
    pub max_jobs: usize,
    /// Tokens that these may need together.
    pub max_queued_tokens: usize,
    /// Tokens of prompt and text that one job may have.
    pub max_request_tokens: usize,
    /// Maximum generated tokens buffered for a slow client.
    pub stream_buffer: usize,
    /// Maximum tokens guessed for a text and step; 0 for no drafts, also of tokens that are bound to follow. Reproducible jobs
    /// have none.
    pub longest_draft: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            parallel: 16,
            videos: 32,
            step_target: Duration::from_millis(200),
            max_jobs: 1024,
            max_queued_tokens: 1 << 20,
            max_request_tokens: 8192,
            stream_buffer: 256,
            longest_draft: 8,
        }
    }
}

impl EngineConfig {
    /// Checks that the longest request fits a KV cache of `cells`.
    ///
    /// # Errors
    /// [`StartError::Config`].
    pub fn check_cells(&self, cells: usize) -> Result<(), StartError> {
        let request = self.max_request_tokens;
        if cells >= request {
            return Ok(());
        }
        let text = format!("--ctx-size {cells} is smaller than --max-request-tokens {request}; raise it");
        Err(StartError::Config(text))
    }
}

/// What a backend is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Many jobs in a step.
    Shared,
    /// Reproducible jobs, one at a time. Made when the first one comes.
    Reproducible,
}

/// Whether the engine works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineState {
    /// It works.
    Running,
    /// Its handles are gone and it ended.
    Stopped,
    /// It gave up or panicked.
    Died,
}

/// What a handle sends to the thread.
enum Message {
    Job(Box<Job>),
    /// Answered when the thread comes round to its messages.
    Pulse(oneshot::Sender<()>),
}

/// A handle to the engine's thread. The thread ends, after its running jobs, when the last handle is dropped.
pub struct Engine {
    messages: std_mpsc::Sender<Message>,
    admission: Admission,
    config: EngineConfig,
    pinned: usize,
    state: watch::Receiver<EngineState>,
    shared: Arc<Mutex<Shared>>,
    meters: Arc<Meters>,
}

/// What the thread tells of itself after each step.
#[derive(Debug, Default)]
struct Shared {
    counts: StepCounts,
    seconds_per_token: f64,
}

impl Engine {
    /// Starts the thread, makes its backend there, and computes the `pinned` tokens.
    /// Returns when the engine can work.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start<B, F>(config: EngineConfig, pinned: Arc<[Token]>, make: F) -> Result<Self, StartError>
    where
        B: Backend + 'static,
        F: Fn(Purpose) -> Result<B, StartError> + Send + 'static,
    {
        let (messages, receiver) = std_mpsc::channel();
        let (state_sender, state) = watch::channel(EngineState::Running);
        let (ready_sender, ready) = std_mpsc::channel();
        let shared: Arc<Mutex<Shared>> = Arc::default();
        let pinned_len = pinned.len();
        let worker_shared = shared.clone();
        let meters: Arc<Meters> = Arc::default();
        let worker_meters = meters.clone();
        std::thread::Builder::new().name("engine".into()).spawn(move || {
            let announce = Announce(state_sender);
            let worker = Worker::new(config, pinned, make, receiver, worker_shared, worker_meters);
            match worker {
                Ok(mut worker) => {
                    let _ = ready_sender.send(Ok(()));
                    if worker.run() {
                        announce.stopped();
                    }
                }
                Err(error) => {
                    let _ = ready_sender.send(Err(error));
                }
            }
        })?;
        match ready.recv() {
            Ok(result) => result?,
            Err(_) => return Err(StartError::Backend("the engine's thread died while it started".into())),
        }
        let bounds = Bounds { jobs: config.max_jobs, tokens: config.max_queued_tokens };
        Ok(Self {
            messages,
            admission: Admission::new(bounds),
            config,
            pinned: pinned_len,
            state,
            shared,
            meters,
        })
    }

    /// Hands a job to the engine.
    ///
    /// # Errors
    /// [`EngineError::TooLong`], [`EngineError::TooLate`], [`EngineError::Overloaded`] or [`EngineError::Stopped`].
    pub fn submit(&self, spec: JobSpec) -> Result<JobHandle, EngineError> {
        let tokens = self.pinned + spec.shared.len() + spec.own_cells();
        let limit = self.config.max_request_tokens;
        if tokens > limit || spec.branch_cells() > MAX_BRANCH_CELLS {
            return Err(EngineError::TooLong { tokens, limit });
        }
        let work = spec.tokens.len() + spec.branch_cells();
        let wait = self.expected_wait(spec.share);
        // With nothing ahead there is nothing to wait for: whether it is in time will show.
        if !wait.is_zero() {
            check_deadline(spec.deadline, (wait + self.time_for(work)).mul_f64(CAUTION))?;
        }
        let load = Load { tokens, work, share: spec.share };
        let permit = self.admission.enter(load).map_err(|full| {
            let wait = self.time_for(full.tokens).clamp(SHORTEST_RETRY, LONGEST_RETRY);
            EngineError::Overloaded { retry_after: wait }
        })?;
        let text = spec.generation.as_ref().map_or(0, |g| g.max_tokens.min(self.config.stream_buffer));
        let (events, receiver) = mpsc::channel(text + EXTRA_PLACES);
        let permit = Arc::new(permit);
        let course = Course::begin(self.meters.clone(), spec.share.class, wait);
        let timeline = course.timeline();
        let job = Job { spec, submitted: timeline.begun(), events, course, _permit: permit.clone() };
        self.messages.send(Message::Job(Box::new(job))).map_err(|_| EngineError::Stopped)?;
        Ok(JobHandle { events: receiver, timeline, _permit: permit })
    }

    /// Returns when there is room for a job of this share, unless another takes it.
    pub async fn room(&self, share: Share) {
        self.admission.room(share).await;
    }

    /// How long a job of this share would wait for its first step: what is ahead of it, at the measured speed.
    fn expected_wait(&self, share: Share) -> Duration {
        self.time_for(self.admission.ahead(share))
    }

    /// How long so many tokens take, at the measured speed.
    fn time_for(&self, tokens: usize) -> Duration {
        let seconds = self.shared.lock().unwrap_or_else(PoisonError::into_inner).seconds_per_token;
        Duration::from_secs_f64(seconds * tokens as f64)
    }

    /// Tokens of prompt and text that one job may have.
    pub fn max_request_tokens(&self) -> usize {
        self.config.max_request_tokens
    }

    /// Jobs queued and running.
    pub fn jobs(&self) -> usize {
        self.admission.jobs()
    }

    /// Tells when the engine ends.
    pub fn state(&self) -> watch::Receiver<EngineState> {
        self.state.clone()
    }

    /// Returns once the engine's thread has come round between two steps: a sign of life that a thread stuck
    /// in a step cannot give.
    ///
    /// # Errors
    /// [`EngineError::Stopped`].
    pub async fn pulse(&self) -> Result<(), EngineError> {
        let (here, came_round) = oneshot::channel();
        self.messages.send(Message::Pulse(here)).map_err(|_| EngineError::Stopped)?;
        came_round.await.map_err(|_| EngineError::Stopped)
    }

    /// What the steps did so far.
    pub fn counts(&self) -> StepCounts {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).counts
    }

    /// What it does, in numbers that go on.
    pub fn meters(&self) -> &Meters {
        &self.meters
    }
}

/// Refuses a job whose answer would come too late: it would be computed in vain, and make others late (the Google SRE
/// book, "Handling Overload").
fn check_deadline(deadline: Option<Instant>, wait: Duration) -> Result<(), EngineError> {
    match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
        Some(left) if left < wait => {
            Err(EngineError::TooLate { wait, retry_after: (wait - left).max(SHORTEST_RETRY) })
        }
        _ => Ok(()),
    }
}

/// Tells of the thread's end, also when it panics.
struct Announce(watch::Sender<EngineState>);

impl Announce {
    fn stopped(self) {
        self.0.send_replace(EngineState::Stopped);
    }
}

impl Drop for Announce {
    fn drop(&mut self) {
        self.0.send_if_modified(|state| {
            let died = *state == EngineState::Running;
            if died {
                *state = EngineState::Died;
            }
            died
        });
    }
}

/// The thread's work.
struct Worker<B, F> {
    config: EngineConfig,
    pinned: Arc<[Token]>,
    make: F,
    messages: std_mpsc::Receiver<Message>,
    main: Scheduler<B>,
    /// Jobs that want to be computed apart have a scheduler, and so a KV cache, of their own.
    apart: Option<Scheduler<B>>,
    shared: Arc<Mutex<Shared>>,
    meters: Arc<Meters>,
    failed_steps: u32,
}

impl<B: Backend, F: Fn(Purpose) -> Result<B, StartError>> Worker<B, F> {
    fn new(
        config: EngineConfig,
        pinned: Arc<[Token]>,
        make: F,
        messages: std_mpsc::Receiver<Message>,
        shared: Arc<Mutex<Shared>>,
        meters: Arc<Meters>,
    ) -> Result<Self, StartError> {
        let backend = make(Purpose::Shared)?;
        check(&config, backend.limits(), pinned.len())?;
        let scheduler = SchedulerConfig {
            parallel: config.parallel,
            videos: config.videos,
            step_target: config.step_target,
            fixed_step: None,
            longest_draft: config.longest_draft,
        };
        let main = Scheduler::new(backend, scheduler, &pinned, Box::new(Instant::now))
            .map_err(StartError::WarmUp)?;
        meters.hold(main.held());
        Ok(Self { config, pinned, make, messages, main, apart: None, shared, meters, failed_steps: 0 })
    }

    /// Works until no handle is left. `false` if the engine gave up.
    fn run(&mut self) -> bool {
        let mut connected = true;
        loop {
            while let Ok(message) = self.messages.try_recv() {
                self.take(message);
            }
            let worked = self.step();
            if self.failed_steps >= FAILED_STEPS {
                error!("{FAILED_STEPS} steps failed in a row; the engine gives up");
                return false;
            }
            if worked {
                continue;
            }
            if !connected {
                return true;
            }
            match self.messages.recv() {
                Ok(message) => self.take(message),
                Err(_) => connected = false,
            }
        }
    }

    /// One step of each scheduler. `false` if neither had anything to compute.
    fn step(&mut self) -> bool {
        let mut worked = false;
        for scheduler in std::iter::once(&mut self.main).chain(&mut self.apart) {
            let before = Before { counts: scheduler.counts(), held: scheduler.held() };
            let stepped = scheduler.step();
            self.meters.stepped(before, scheduler.counts(), scheduler.held());
            match stepped {
                Ok(did) => {
                    worked |= did;
                    self.failed_steps = if did { 0 } else { self.failed_steps };
                }
                Err(error) => {
                    warn!(%error, "a step failed, and the requests in it");
                    self.meters.failed_steps.one();
                    self.failed_steps += 1;
                    worked = true;
                }
            }
        }
        self.meters.hold(self.main.held());
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.counts = self.main.counts();
        shared.seconds_per_token = self.main.pace().time_for(1).as_secs_f64();
        worked
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Job(job) => self.push(*job),
            // Who asked may be gone.
            Message::Pulse(here) => _ = here.send(()),
        }
    }

    fn push(&mut self, job: Job) {
        if !job.spec.reproducible {
            return self.main.push(job);
        }
        match self.apart() {
            Ok(scheduler) => scheduler.push(job),
            Err(error) => {
                warn!(%error, "no room for reproducible requests");
                job.fail(EngineError::NoRoomApart);
            }
        }
    }

    fn apart(&mut self) -> Result<&mut Scheduler<B>, StartError> {
        if self.apart.is_none() {
            let config = SchedulerConfig {
                parallel: 1,
                videos: 0,
                step_target: self.config.step_target,
                fixed_step: Some(REPRODUCIBLE_STEP),
                // A row's last bits depend on how many there are.
                longest_draft: 0,
            };
            let backend = (self.make)(Purpose::Reproducible)?;
            let scheduler = Scheduler::new(backend, config, &self.pinned, Box::new(Instant::now));
            self.apart = Some(scheduler.map_err(StartError::WarmUp)?);
        }
        self.apart.as_mut().ok_or_else(|| StartError::Config("no scheduler".into()))
    }
}

/// Refuses settings under which some request could wait for ever.
fn check(config: &EngineConfig, limits: Limits, pinned: usize) -> Result<(), StartError> {
    let refuse = |text: String| Err(StartError::Config(text));
    if config.parallel == 0 {
        return refuse("at least one request must be able to run: set --parallel to 1 or more".into());
    }
    if limits.batch < config.parallel + MIN_READ {
        let need = config.parallel + MIN_READ;
        return refuse(format!(
            "--batch-size {} is too small for --parallel {}; raise it to at least {need}",
            limits.batch, config.parallel
        ));
    }
    if limits.outputs < config.parallel + MIN_READ {
        return refuse(format!(
            "{} rows of logits are too few for --parallel {}",
            limits.outputs, config.parallel
        ));
    }
    if config.max_request_tokens < pinned + MIN_READ {
        return refuse(format!(
            "the profile's instruction takes {pinned} tokens, and a request may have {}; raise --max-request-tokens",
            config.max_request_tokens
        ));
    }
    config.check_cells(limits.cells)
}
