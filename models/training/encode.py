"""Comments into packed blocks: token ids of prompt and answer, and the verdict's target."""

import math

from data import EMOTIONS, Comment, polarity
from packing import Block
from prompt_profile import Profile


class Encoder:
    """Tokenises prompt and answer as the service does: the profile's text may hold control
    tokens, the caller's text can't."""

    def __init__(self, tokenizer, profile: Profile):
        self.tokenizer, self.profile = tokenizer, profile
        self.rows: dict[int, int] = {}
        self._encode_answer()
        self._check()

    @property
    def first_tokens(self) -> list[int]:
        """The label words' first tokens, in the order of SENTIMENTS; they differ."""
        return [ids[0] for ids in self.labels]

    def count_in(self, rows: dict[int, int]) -> None:
        """Gives tokens as rows of a narrowed embedding from now on (vocabulary.py)."""
        self.rows = rows
        self._encode_answer()

    def prompt(self, comment: Comment) -> list[int]:
        """Everything after the static prompt, up to the label."""
        pieces = self.profile.pieces(comment.text, comment.title, comment.summary)
        return [id for text, trusted in pieces for id in self._ids(text, trusted)]

    def verdict_block(self, comment: Comment, verdict: tuple[float, ...] = ()) -> Block:
        """A block that ends where the label is to come."""
        tokens = self.prompt(comment)
        return Block(tokens, len(tokens), verdict, marked(comment))

    def answer_block(self, comment: Comment, verdict: tuple[float, ...], reason: str) -> Block:
        """A block with the whole answer: label, suffix, reason, end of turn."""
        prompt = self.prompt(comment)
        answer = self.labels[comment.label] + self.suffix
        answer = answer + self.reason(reason) + self.end
        return Block(prompt + answer, len(prompt), verdict, marked(comment))

    def reason(self, reason: str) -> list[int]:
        """A reason as it follows the answer's suffix."""
        return self._ids(" " + reason, trusted=False)

    def _encode_answer(self) -> None:
        self.static = self._ids(self.profile.static_text(), trusted=True)
        self.labels = [self._ids(word, trusted=True) for word in self.profile.label_words]
        self.suffix = self._ids(self.profile.answer["suffix"], trusted=True)
        self.end = self._ids(self.profile.turn["end"], trusted=True)

    def _ids(self, text: str, trusted: bool) -> list[int]:
        backend = self.tokenizer.backend_tokenizer
        backend.encode_special_tokens = not trusted
        ids = backend.encode(text, add_special_tokens=False).ids
        return [self.rows[id] for id in ids] if self.rows else ids

    def _check(self) -> None:
        profile = self.profile
        if len(set(self.first_tokens)) != 3:
            raise SystemExit("two labels start with the same token: the verdict can't be scored")
        if len(self.end) != 1:
            raise SystemExit(f"{profile.turn['end']} is not one token of this vocabulary")
        prefix = self._ids(profile.answer["prefix"], trusted=True)
        for word, ids in zip(profile.label_words, self.labels):
            whole = profile.answer["prefix"] + word + profile.answer["suffix"]
            if self._ids(whole, trusted=True) != prefix + ids + self.suffix:
                raise SystemExit(f"the answer with {word} tokenises otherwise than its parts")


def marked(comment: Comment) -> tuple[float, ...]:
    """1 for each emotion that annotators marked, 0 for the others; nothing marked means unknown."""
    return tuple(float(emotion in comment.emotions) for emotion in range(len(EMOTIONS)))


def verdict_target(
    comment: Comment, *, softness: float, weights: tuple[float, ...] = (1.0, 1.0, 1.0)
) -> tuple[float, ...]:
    """The target over (positive, neutral, negative), times the class weights.

    `softness` of the mass follows how near the marked emotions' balance lies to the label
    rule's thresholds at 2:1, so that a comment marked 3 to 2 teaches less certainty than
    one marked 6 to 0. The rest lies on the rule's label.
    """
    p, n = polarity(comment.emotions)
    target = [float(k == comment.label) for k in range(3)]
    if p + n > 0:
        balance = math.log2((p + 0.5) / (n + 0.5))
        positive, negative = _sigmoid(2 * (balance - 1)), _sigmoid(2 * (-balance - 1))
        soft = (positive, 1 - positive - negative, negative)
        target = [(1 - softness) * t + softness * s for t, s in zip(target, soft)]
    return tuple(t * w for t, w in zip(target, weights))


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))
