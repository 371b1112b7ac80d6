//! The first comment of each shape, before any client's: it touches the model's pages, makes the buffers of each
//! kind of step, and proves that the model answers.

use std::sync::Arc;

use super::classify::{Classifier, Options, ReasonOptions};
use super::input::{Input, RawInput};
use crate::engine::{EngineError, Share};

/// Enough tokens for steps that only generate.
const TOKENS: usize = 4;

const COMMENT: &str = "영상 잘 봤습니다. 다음 편도 기다릴게요!";

/// Title and summary; the summary is long enough to be shared through the KV cache.
const VIDEO: (&str, &str) =
    ("서버를 시작하며", "서버가 요청을 받기 전에 영상 정보가 있는 댓글과 없는 댓글을 한 번씩 처리해 봅니다.");

/// Classifies a comment and writes reasons for it, with a video and without. Nothing comes from the answer cache
/// or goes into it. A shape that is longer than the server's limit on one request is left out.
///
/// # Errors
/// See [`EngineError`].
pub async fn warm_up(classifier: &Arc<Classifier>) -> Result<(), EngineError> {
    for (title, summary) in [("", ""), VIDEO] {
        let Ok(input) = Input::new(RawInput { comment: COMMENT, video_id: "", title, summary }) else {
            continue;
        };
        for shape in [classify(classifier, &input).await, reason(classifier, &input).await] {
            match shape {
                Ok(()) | Err(EngineError::TooLong { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

async fn classify(classifier: &Classifier, input: &Input) -> Result<(), EngineError> {
    classifier.compute(input, Options::default(), |_| {}).await.map(|_| ())
}

async fn reason(classifier: &Arc<Classifier>, input: &Input) -> Result<(), EngineError> {
    let options = ReasonOptions {
        deadline: None,
        max_tokens: TOKENS,
        temperature: 0.0,
        seed: 0,
        free_answer: false,
        share: Share::default(),
    };
    let mut events = classifier.reason(input, options)?;
    while let Some(event) = events.next().await {
        event?;
    }
    Ok(())
}
