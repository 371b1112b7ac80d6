"""What calls take and return."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from .errors import KoSentimentError
from .v1 import sentiment_pb2 as pb
from .video import Video


class Sentiment(str, enum.Enum):
    """What a viewer feels."""

    POSITIVE = "positive"
    NEUTRAL = "neutral"
    NEGATIVE = "negative"


@dataclass(frozen=True)
class Item:
    """One comment of many."""

    comment: str
    """1 to 10,000 characters, not blank."""
    video: Video | None = None
    """The video that it stands under; None takes the call's."""
    reproducible: bool = False
    """Compute it in isolation: the same bits on every run, but slower."""


@dataclass(frozen=True)
class Model:
    """Which model answered, under which prompt."""

    name: str
    sha256: str
    """SHA-256 of the model file, in hexadecimal."""
    quantization: str
    """Quantisation of the weights, such as ``Q4_K_M``."""
    profile: str
    """Name of the profile (prompt, labels, calibration)."""
    profile_version: int


@dataclass(frozen=True)
class Usage:
    """Tokens that a request cost."""

    prompt_tokens: int
    cached_tokens: int
    """Of the prompt's tokens, those that did not have to be computed."""
    generated_tokens: int


@dataclass(frozen=True)
class Classification:
    """The sentiment of one comment."""

    sentiment: Sentiment | None
    """The most probable sentiment; None if the model abstains or a free answer names none."""
    positive: float
    """Calibrated probability, 0 to 1; the three sum to 1."""
    neutral: float
    negative: float
    abstained: bool
    """The highest probability is below the server's abstain threshold."""
    from_cache: bool
    """Not computed for this request: the server has answered the same before."""
    model: Model
    usage: Usage
    queue_seconds: float
    """Seconds before the first step."""
    compute_seconds: float
    """Seconds from the first step to the last."""

    @property
    def probability(self) -> float:
        """The highest of the three probabilities."""
        return max(self.positive, self.neutral, self.negative)


@dataclass(frozen=True)
class Result:
    """The outcome of one item: a classification or an error."""

    index: int
    """The item's position in the input, from 0."""
    item: Item
    classification: Classification | None
    error: KoSentimentError | None

    def unwrap(self) -> Classification:
        """Returns the classification.

        Raises:
            KoSentimentError: The item has none.
        """
        if self.classification is None:
            assert self.error is not None
            raise self.error
        return self.classification


@dataclass(frozen=True)
class Done:
    """The end of the reasons."""

    finish_reason: str
    """``stop`` if the model ended its turn, ``length`` if it was cut at `max_tokens`."""
    stated_sentiment: Sentiment | None
    """The sentiment that the words themselves name, if any."""
    agrees: bool
    """The words name the verdict's sentiment or none at all."""
    usage: Usage
    queue_seconds: float
    compute_seconds: float


@dataclass(frozen=True)
class ModelInfo:
    """Which model a server has, and the limits on what it takes."""

    model: Model
    architecture: str
    parameters: int
    size_bytes: int
    vocabulary_size: int
    max_request_tokens: int
    """Tokens of prompt and answer together that one request may have."""
    labels: dict[Sentiment, str]
    """How the model writes each label, such as 긍정."""
    server_version: str


_SENTIMENTS = {
    pb.SENTIMENT_POSITIVE: Sentiment.POSITIVE,
    pb.SENTIMENT_NEUTRAL: Sentiment.NEUTRAL,
    pb.SENTIMENT_NEGATIVE: Sentiment.NEGATIVE,
}
_FINISH_REASONS = {pb.FINISH_REASON_STOP: "stop", pb.FINISH_REASON_LENGTH: "length"}


def classification(response: pb.ClassifyResponse) -> Classification:
    """From the API's message."""
    probabilities = {_SENTIMENTS.get(score.sentiment): score.probability for score in response.scores}
    return Classification(
        sentiment=_SENTIMENTS.get(response.sentiment),
        positive=probabilities.get(Sentiment.POSITIVE, 0.0),
        neutral=probabilities.get(Sentiment.NEUTRAL, 0.0),
        negative=probabilities.get(Sentiment.NEGATIVE, 0.0),
        abstained=response.abstained,
        from_cache=response.from_cache,
        model=_model(response.model),
        usage=_usage(response.usage),
        queue_seconds=_seconds(response.timings.queue),
        compute_seconds=_seconds(response.timings.compute),
    )


def reason_event(response: pb.StreamReasonResponse) -> Classification | str | Done | None:
    """From the API's message; None for an event that this version does not know."""
    match response.WhichOneof("event"):
        case "verdict":
            return classification(response.verdict)
        case "text":
            return response.text
        case "done":
            done = response.done
            return Done(
                finish_reason=_FINISH_REASONS.get(done.finish_reason, ""),
                stated_sentiment=_SENTIMENTS.get(done.stated_sentiment),
                agrees=done.agrees,
                usage=_usage(done.usage),
                queue_seconds=_seconds(done.timings.queue),
                compute_seconds=_seconds(done.timings.compute),
            )
    return None


def model_info(response: pb.GetModelInfoResponse) -> ModelInfo:
    """From the API's message."""
    labels = {_SENTIMENTS[label.sentiment]: label.text for label in response.labels if label.sentiment in _SENTIMENTS}
    return ModelInfo(
        model=_model(response.model),
        architecture=response.architecture,
        parameters=response.parameters,
        size_bytes=response.size_bytes,
        vocabulary_size=response.vocabulary_size,
        max_request_tokens=response.max_request_tokens,
        labels=labels,
        server_version=response.server_version,
    )


def _model(model: pb.Model) -> Model:
    return Model(
        name=model.name,
        sha256=model.sha256,
        quantization=model.quantization,
        profile=model.profile,
        profile_version=model.profile_version,
    )


def _usage(usage: pb.Usage) -> Usage:
    return Usage(usage.prompt_tokens, usage.cached_tokens, usage.generated_tokens)


def _seconds(duration: object) -> float:
    return float(getattr(duration, "seconds", 0)) + getattr(duration, "nanos", 0) / 1e9
