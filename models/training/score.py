"""Verdicts of a model, and how good they are. Nothing here trains."""

import numpy as np
import torch
from sklearn.metrics import accuracy_score, f1_score, log_loss

import model as models
import packing
from data import Comment
from encode import Encoder

ROW = 16  # comments packed into one forward pass


@torch.no_grad()
def score(model, encoder: Encoder, comments: list[Comment]) -> list[list[float]]:
    """log-probabilities (positive, neutral, negative) of each comment, normalised over the
    three labels' first tokens. Long comments are packed with long ones."""
    order = sorted(range(len(comments)), key=lambda i: len(comments[i].text))
    first = torch.tensor(encoder.first_tokens)
    rows: list[list[float]] = [[]] * len(comments)
    for start in range(0, len(order), ROW):
        chosen = order[start : start + ROW]
        blocks = [encoder.verdict_block(comments[i], (0.0, 0.0, 0.0)) for i in chosen]
        inputs = {k: v.to(model.device) for k, v in packing.collate(encoder.static, blocks).items()}
        with models.autocast(model.device.type):
            logits, _ = packing.forward(model, inputs)
        for index, row in zip(chosen, torch.log_softmax(logits[:, first], dim=-1).tolist()):
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
