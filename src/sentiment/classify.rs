//! The use cases: a comment's verdict, and a verdict with its reasons.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::answer_cache::{Answer, AnswerCache, Lookup};
use super::input::Input;
use super::labels::Sentiment;
use super::profile::Profile;
use super::prompt::{AnswerStart, PromptTokens, Prompter};
use super::quotes::{self, VerbatimQuotes};
use super::reasons::ReasonGuide;
use super::score::Verdict;
use crate::engine::logits::Sampler;
use crate::engine::{
    Engine, EngineError, Event, Finish, Generation, Guide, JobHandle, JobSpec, Share, Stats, Timeline,
};
use crate::text::utf8::Utf8Assembler;
use crate::text::vocabulary::{Token, Vocabulary};

/// What is known of the model that answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelCard {
    /// Name from the file's metadata.
    pub name: String,
    /// SHA-256 of the file, or of all parts of a split one in a row, in hexadecimal.
    pub sha256: String,
    /// Such as `Q4_K_M`.
    pub quantization: String,
    /// Such as `gemma2`.
    pub architecture: String,
    /// Number of weights.
    pub parameters: u64,
    /// Size of the weights in bytes.
    pub size: u64,
    /// Tokens in the vocabulary.
    pub vocabulary: usize,
    /// Options of this run that change answers, by the names of their flags.
    pub options: BTreeMap<String, String>,
}

/// One comment's classification.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Classified {
    /// The verdict.
    pub verdict: Verdict,
    /// What it cost.
    pub stats: Stats,
    /// Not computed: another request's answer to the same comment and video.
    pub from_cache: bool,
}

/// How to compute a request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// When the answer is of no more use.
    pub deadline: Option<Instant>,
    /// Apart from all other requests, and never from memory, for the same bits on every run.
    pub reproducible: bool,
    /// Whose request it is, and how urgent.
    pub share: Share,
}

/// How to write the reasons.
#[derive(Debug, Clone, Copy)]
pub struct ReasonOptions {
    /// When the answer is of no more use.
    pub deadline: Option<Instant>,
    /// Tokens to write at most; at least 1. Fewer, where the limit on one request leaves fewer.
    pub max_tokens: usize,
    /// 0 for the most probable token each time.
    pub temperature: f32,
    /// Of the sampling.
    pub seed: u64,
    /// Let the model answer by itself, and read the verdict from its words.
    pub free_answer: bool,
    /// Whose request it is, and how urgent.
    pub share: Share,
}

/// A part of an explanation.
#[derive(Debug, Clone, PartialEq)]
pub enum ReasonEvent {
    /// The verdict, before any text; not with a free answer.
    Verdict(Classified),
    /// Whole characters that follow what came before.
    Text(String),
    /// The end.
    Done(ReasonDone),
}

/// The end of an explanation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReasonDone {
    /// Why it ended.
    pub finish: Finish,
    /// The sentiment that the words name.
    pub stated: Option<Sentiment>,
    /// The words name the verdict's sentiment, or none.
    pub agrees: bool,
    /// What the whole call cost.
    pub stats: Stats,
}

/// A model under its profile, ready to answer.
pub struct Classifier {
    engine: Engine,
    prompter: Prompter,
    profile: Arc<Profile>,
    vocabulary: Arc<dyn Vocabulary>,
    branches: Arc<[Vec<Token>]>,
    card: ModelCard,
    answers: Option<AnswerCache>,
}

impl Classifier {
    /// From parts that fit each other: the engine pins the prompter's static tokens.
    pub fn new(
        engine: Engine,
        prompter: Prompter,
        profile: Arc<Profile>,
        vocabulary: Arc<dyn Vocabulary>,
        card: ModelCard,
    ) -> Self {
        let branches = prompter.labels().to_vec().into();
        Self { engine, prompter, profile, vocabulary, branches, card, answers: None }
    }

    /// Answers exact repeats from memory, of at most `bytes`; 0 for none.
    #[must_use]
    pub fn with_answer_cache(self, bytes: usize) -> Self {
        Self { answers: AnswerCache::new(bytes), ..self }
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The model.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// The profile.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Requests that the answer cache answered, and those that it did not.
    pub fn cache_lookups(&self) -> (u64, u64) {
        self.answers.as_ref().map_or((0, 0), AnswerCache::lookups)
    }

    /// The sentiment of a comment, from the joint probability of each label's tokens after
    /// the answer's prefix. A repeat is answered from memory, and while the same is being computed for
    /// another caller, from that; an error is never another caller's.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn classify(&self, input: &Input, options: Options) -> Result<Classified, EngineError> {
        self.classify_followed(input, options, |_| {}).await
    }

    /// As [`Self::classify`]; `follow` gets the course of the job, if one is needed, when it begins.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn classify_followed(
        &self,
        input: &Input,
        options: Options,
        follow: impl FnOnce(Arc<Timeline>),
    ) -> Result<Classified, EngineError> {
        let Some(answers) = self.answers.as_ref().filter(|_| !options.reproducible) else {
            return self.compute(input, options, follow).await;
        };
        let asked = Instant::now();
        match answers.lookup(input, options.deadline).await? {
            Lookup::Known(answer) => self.remembered(input, &answer, asked.elapsed()),
            Lookup::Unknown(place) => {
                let classified = self.compute(input, options, follow).await?;
                let (log_probs, prompt_tokens) =
                    (classified.verdict.log_probs, classified.stats.prompt_tokens);
                place.fill(Answer { log_probs, prompt_tokens });
                Ok(classified)
            }
        }
    }

    /// Returns when the engine has room for this input, unless another takes it; at once if its answer is in memory.
    pub async fn room(&self, input: &Input, options: Options) {
        let answers = self.answers.as_ref().filter(|_| !options.reproducible);
        if !answers.is_some_and(|answers| answers.knows(input)) {
            self.engine.room(options.share).await;
        }
    }

    /// An answer that was not computed again: none of its tokens were, and it waited for its twin at most.
    fn remembered(
        &self,
        input: &Input,
        answer: &Answer,
        waited: Duration,
    ) -> Result<Classified, EngineError> {
        let tokens = answer.prompt_tokens;
        let stats = Stats { prompt_tokens: tokens, cached_tokens: tokens, queue: waited, ..Stats::default() };
        let verdict = self.verdict(&answer.log_probs, input.video.is_some())?;
        Ok(Classified { verdict, stats, from_cache: true })
    }

    /// As [`Self::classify`], never from the answer cache.
    pub(super) async fn compute(
        &self,
        input: &Input,
        options: Options,
        follow: impl FnOnce(Arc<Timeline>),
    ) -> Result<Classified, EngineError> {
        let prompt = self.prompter.prompt(&input.comment, input.video.as_ref(), AnswerStart::Prefix);
        let mut job = self.engine.submit(JobSpec {
            shared: prompt.video,
            tokens: prompt.comment,
            branches: self.branches.clone(),
            generation: None,
            deadline: options.deadline,
            reproducible: options.reproducible,
            share: options.share,
        })?;
        follow(job.timeline());
        match job.next().await {
            Event::Scored(log_probs, stats) => {
                let verdict = self.verdict(&log_probs, input.video.is_some())?;
                Ok(Classified { verdict, stats, from_cache: false })
            }
            Event::Failed(error) => Err(error),
            // Scores come first.
            Event::Token(_) | Event::Done(..) => Err(EngineError::Stopped),
        }
    }

    /// The reasons, as a stream. By default the verdict is scored first and the text goes on from it.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub fn reason(
        self: &Arc<Self>,
        input: &Input,
        options: ReasonOptions,
    ) -> Result<ReasonStream, EngineError> {
        let start = if options.free_answer { AnswerStart::Free } else { AnswerStart::Prefix };
        let prompt = self.prompter.prompt(&input.comment, input.video.as_ref(), start);
        let branches: Arc<[Vec<Token>]> =
            if options.free_answer { Arc::new([]) } else { self.branches.clone() };
        let (this, scored) = (self.clone(), Arc::new(OnceLock::new()));
        let verdict = scored.clone();
        let shows_video = input.video.is_some();
        let begin = move |log_probs: &[f64]| {
            // Without a verdict there is nothing to go on from; the stream ends with the same error.
            let Ok(verdict) = this.verdict(log_probs, shows_video) else { return Vec::new() };
            this.prompter.continuation(scored.get_or_init(|| verdict).sentiment).to_vec()
        };
        let vocabulary = self.vocabulary.clone();
        let longest = Sentiment::ALL.into_iter().map(|s| self.prompter.continuation(s).len()).max();
        let longest = longest.filter(|_| !options.free_answer).unwrap_or(0);
        // With no room at all, the engine refuses.
        let max_tokens = options.max_tokens.min(self.room_to_write(&prompt, longest).max(1));
        // A free answer names its label, in quotation marks too.
        let guide = (!options.free_answer).then(|| self.guide(input, verdict, max_tokens));
        let job = self.engine.submit(JobSpec {
            shared: prompt.video,
            tokens: prompt.comment,
            branches,
            generation: Some(Generation {
                begin: Box::new(begin),
                max_tokens,
                begin_tokens: longest,
                sampler: Sampler::new(options.temperature, options.seed),
                guide: guide.map(|guide| Box::new(guide) as Box<dyn Guide>),
                is_end: Arc::new(move |token| vocabulary.is_end(token)),
            }),
            deadline: options.deadline,
            reproducible: false,
            share: options.share,
        })?;
        Ok(ReasonStream {
            classifier: self.clone(),
            shows_video,
            job,
            utf8: Utf8Assembler::default(),
            text: String::new(),
            verdict: None,
            done: None,
            ended: false,
        })
    }

    /// What keeps reasons to the verdict and to the comment.
    fn guide(&self, input: &Input, verdict: Arc<OnceLock<Verdict>>, max_tokens: usize) -> ReasonGuide {
        let vocabulary = self.vocabulary.clone();
        let quotes = self.prompter.quotation_mark().and_then(|mark| {
            let begun = self.profile.answer_start(Sentiment::Positive);
            let shortest = self.profile.answer.shortest_quotation;
            VerbatimQuotes::new(vocabulary.clone(), (mark.clone(), shortest), &input.comment, &begun)
        });
        let (of, end) = ((input.comment.as_str(), quotes), (self.prompter.end(), max_tokens));
        ReasonGuide::new(vocabulary, self.profile.clone(), verdict, of, end)
    }

    /// Tokens that the limit on one request leaves for the text, after the prompt and the `begin` tokens of
    /// the answer's beginning.
    fn room_to_write(&self, prompt: &PromptTokens, begin: usize) -> usize {
        let read = self.prompter.static_tokens().len() + prompt.video.len() + prompt.comment.len() + begin;
        self.engine.max_request_tokens().saturating_sub(read)
    }

    /// The verdict from the engine's scores; never one from scores that are missing or not finite.
    fn verdict(&self, log_probs: &[f64], shows_video: bool) -> Result<Verdict, EngineError> {
        let verdict = Verdict::from_scores(log_probs, &self.profile.calibration, shows_video);
        verdict.ok_or(EngineError::NotFinite)
    }
}

/// The events of an explanation. Dropping it cancels the work.
pub struct ReasonStream {
    classifier: Arc<Classifier>,
    shows_video: bool,
    job: JobHandle,
    utf8: Utf8Assembler,
    text: String,
    verdict: Option<Sentiment>,
    done: Option<ReasonDone>,
    ended: bool,
}

impl ReasonStream {
    /// The next event; `None` after the end.
    ///
    /// # Errors
    /// See [`EngineError`]; an error is last.
    pub async fn next(&mut self) -> Option<Result<ReasonEvent, EngineError>> {
        if let Some(done) = self.done.take() {
            self.ended = true;
            return Some(Ok(ReasonEvent::Done(done)));
        }
        while !self.ended {
            match self.job.next().await {
                Event::Scored(log_probs, stats) => {
                    let verdict = match self.classifier.verdict(&log_probs, self.shows_video) {
                        Ok(verdict) => verdict,
                        Err(error) => {
                            self.ended = true;
                            return Some(Err(error));
                        }
                    };
                    self.verdict = Some(verdict.sentiment);
                    return Some(Ok(ReasonEvent::Verdict(Classified { verdict, stats, from_cache: false })));
                }
                Event::Token(token) => {
                    let mut bytes = Vec::new();
                    self.classifier.vocabulary.piece(token, &mut bytes);
                    let text = self.utf8.push(&bytes);
                    if let Some(event) = self.emit(text) {
                        return Some(Ok(event));
                    }
                }
                Event::Done(finish, stats) => {
                    // Cut at its limit, a text ends with its last whole character.
                    let rest = if finish == Finish::Length { String::new() } else { self.utf8.finish() };
                    let event = self.emit(rest);
                    let stated = self.stated();
                    let agrees = self.verdict.is_none() || stated.is_none() || stated == self.verdict;
                    let done = ReasonDone { finish, stated, agrees, stats };
                    if let Some(event) = event {
                        self.done = Some(done);
                        return Some(Ok(event));
                    }
                    self.ended = true;
                    return Some(Ok(ReasonEvent::Done(done)));
                }
                Event::Failed(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }

    /// The sentiment that the text names. What it quotes of the comment names none.
    fn stated(&self) -> Option<Sentiment> {
        let Classifier { profile, prompter, .. } = self.classifier.as_ref();
        match prompter.quotation_mark().filter(|_| self.scored()) {
            Some(mark) => {
                let begun = profile.answer_start(Sentiment::Positive);
                profile.stated(&quotes::unquoted(&self.text, &mark.text, &begun))
            }
            None => profile.stated(&self.text),
        }
    }

    /// The course of its job.
    pub fn timeline(&self) -> Arc<Timeline> {
        self.job.timeline()
    }

    /// The verdict was scored, and so came before the text.
    pub fn scored(&self) -> bool {
        self.verdict.is_some()
    }

    /// The text so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Adds to the text, which begins with no white space.
    fn emit(&mut self, text: String) -> Option<ReasonEvent> {
        let text = if self.text.is_empty() { text.trim_start().to_owned() } else { text };
        self.text.push_str(&text);
        (!text.is_empty()).then_some(ReasonEvent::Text(text))
    }
}
