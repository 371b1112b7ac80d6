//! Between the domain's types and the generated ones.

use std::time::Duration;

use super::pb;
use crate::engine::{Finish, Stats};
use crate::sentiment::classify::{Classified, ModelCard, ReasonDone};
use crate::sentiment::input::{Input, RawInput, Violation};
use crate::sentiment::labels::Sentiment;
use crate::sentiment::profile::Profile;
use crate::sentiment::score::Verdict;

impl From<Sentiment> for pb::Sentiment {
    fn from(sentiment: Sentiment) -> Self {
        match sentiment {
            Sentiment::Positive => Self::Positive,
            Sentiment::Neutral => Self::Neutral,
            Sentiment::Negative => Self::Negative,
        }
    }
}

/// The sentiment of a wire value, if it is one.
pub fn sentiment(value: pb::Sentiment) -> Option<Sentiment> {
    match value {
        pb::Sentiment::Unspecified => None,
        pb::Sentiment::Positive => Some(Sentiment::Positive),
        pb::Sentiment::Neutral => Some(Sentiment::Neutral),
        pb::Sentiment::Negative => Some(Sentiment::Negative),
    }
}

/// Checks a request's texts.
pub fn input(comment: &str, video: Option<&pb::Video>) -> Result<Input, Vec<Violation>> {
    let (video_id, title, summary) =
        video.map_or(("", "", ""), |v| (v.id.as_str(), v.title.as_str(), v.summary.as_str()));
    Input::new(RawInput { comment, video_id, title, summary })
}

/// The model's part of every response.
pub fn model(card: &ModelCard, profile: &Profile) -> pb::Model {
    pb::Model {
        name: card.name.clone(),
        sha256: card.sha256.clone(),
        quantization: card.quantization.clone(),
        profile: profile.name.clone(),
        profile_version: profile.version,
    }
}

/// A classification.
pub fn classified(classified: &Classified, model: pb::Model) -> pb::ClassifyResponse {
    let verdict = &classified.verdict;
    let sentiment =
        if verdict.abstained { pb::Sentiment::Unspecified } else { pb::Sentiment::from(verdict.sentiment) };
    pb::ClassifyResponse {
        sentiment: sentiment.into(),
        scores: scores(verdict),
        model: Some(model),
        usage: Some(usage(&classified.stats)),
        timings: Some(timings(&classified.stats)),
        abstained: verdict.abstained,
        from_cache: classified.from_cache,
    }
}

/// The verdict that a free answer names: no scores, for none were computed.
pub fn stated(done: &ReasonDone, model: pb::Model) -> pb::ClassifyResponse {
    pb::ClassifyResponse {
        sentiment: stated_sentiment(done).into(),
        model: Some(model),
        usage: Some(usage(&done.stats)),
        timings: Some(timings(&done.stats)),
        ..pb::ClassifyResponse::default()
    }
}

/// The end of an explanation.
pub fn done(done: &ReasonDone) -> pb::stream_reason_response::Done {
    let finish = match done.finish {
        Finish::Stop => pb::FinishReason::Stop,
        Finish::Length => pb::FinishReason::Length,
    };
    pb::stream_reason_response::Done {
        finish_reason: finish.into(),
        stated_sentiment: stated_sentiment(done).into(),
        agrees: done.agrees,
        usage: Some(usage(&done.stats)),
        timings: Some(timings(&done.stats)),
    }
}

fn stated_sentiment(done: &ReasonDone) -> pb::Sentiment {
    done.stated.map_or(pb::Sentiment::Unspecified, pb::Sentiment::from)
}

fn scores(verdict: &Verdict) -> Vec<pb::Score> {
    let score = |s: Sentiment| pb::Score {
        sentiment: pb::Sentiment::from(s).into(),
        probability: verdict.probabilities[s.index()],
        log_probability: verdict.log_probs[s.index()],
    };
    Sentiment::ALL.map(score).into()
}

fn usage(stats: &Stats) -> pb::Usage {
    let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    pb::Usage {
        prompt_tokens: small(stats.prompt_tokens),
        cached_tokens: small(stats.cached_tokens),
        generated_tokens: small(stats.generated_tokens),
    }
}

fn timings(stats: &Stats) -> pb::Timings {
    let wire = |d: Duration| prost_types::Duration::try_from(d).ok();
    pb::Timings { queue: wire(stats.queue), compute: wire(stats.compute) }
}
