"""Verdicts of a model, and how good they are. Nothing here trains."""

from collections.abc import Callable

import numpy as np
import torch
from sklearn.metrics import accuracy_score, f1_score, log_loss

import model as models
import packing
from data import Comment
from encode import Encoder

ROW = 16  # comments packed into one forward pass


def score(model, encoder: Encoder, comments: list[Comment]) -> list[list[float]]:
    """The verdicts of a model, as log-probabilities (see in_chunks)."""

    def logits(blocks: list[packing.Block]) -> torch.Tensor:
        inputs = {k: v.to(model.device) for k, v in packing.collate(encoder.static, blocks).items()}
        with models.autocast(model.device.type):
            return packing.forward(model, inputs)[0]

    return in_chunks(encoder, comments, logits, ROW)


@torch.no_grad()
def in_chunks(
    encoder: Encoder, comments: list[Comment], logits: Callable[[list[packing.Block]], torch.Tensor], size: int
) -> list[list[float]]:
    """log-probabilities (positive, neutral, negative) of each comment, normalised over the
    three labels' first tokens. `logits` takes `size` blocks at a time; long comments go with long ones."""
    order = sorted(range(len(comments)), key=lambda i: len(comments[i].text))
    first = torch.tensor(encoder.first_tokens)
    rows: list[list[float]] = [[]] * len(comments)
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        found = logits([encoder.verdict_block(comments[i], (0.0, 0.0, 0.0)) for i in chosen])
        for index, row in zip(chosen, torch.log_softmax(found[:, first], dim=-1).tolist()):
            rows[index] = row
    return rows


def metrics(log_probs: list[list[float]], labels: list[int]) -> dict[str, float]:
    """Accuracy, macro F1, the neutral class's F1, and the log-loss."""
    log_probs = np.asarray(log_probs)
    predicted = log_probs.argmax(axis=1)
    each = f1_score(labels, predicted, labels=[0, 1, 2], average=None, zero_division=0)
    probabilities = np.exp(log_probs)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    values = {
        "accuracy": accuracy_score(labels, predicted),
        "macro_f1": each.mean(),
        "neutral_f1": each[1],
        "log_loss": log_loss(labels, probabilities, labels=[0, 1, 2]),
    }
    return {name: round(float(value), 4) for name, value in values.items()}
