"""Trains over the part of the vocabulary that the data uses: of a small model on a CPU, the head with its 262,144
columns is a third of the work, and a data set in one language uses a fraction of them."""

import dataclasses
import random

import torch

from data import Comment
from encode import Encoder


def used(encoder: Encoder, comments: list[Comment], others: int, size: int) -> list[int]:
    """The token ids of all that the comments can show, and a fixed draw of `others` more of `size`, so that what
    is unlikely stays so. Sorted."""
    ids = {*encoder.static, *encoder.suffix, *encoder.end, *(id for label in encoder.labels for id in label)}
    for comment in comments:
        for shown in (comment, dataclasses.replace(comment, summary=""), dataclasses.replace(comment, title="", summary="")):
            ids.update(encoder.prompt(shown))
        ids.update(encoder.reason(comment.rationale) if comment.rationale else ())
    rest = sorted(set(range(size)) - ids)
    return sorted(ids.union(random.Random(7).sample(rest, min(others, len(rest)))))


def narrow(model, encoder: Encoder, kept: list[int]) -> None:
    """Leaves the rows `kept` of the embedding, which is the head too, and makes the encoder count in them.

    The adapter does not touch either, so what is saved fits the whole model.
    """
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if head.weight is not embedding.weight:
        raise SystemExit("the head isn't the embedding; train without --used-vocabulary")
    rows = torch.nn.Parameter(embedding.weight.data[kept].clone(), requires_grad=False)
    embedding.weight = head.weight = rows
    embedding.num_embeddings = head.out_features = model.config.vocab_size = len(kept)
    encoder.count_in({id: row for row, id in enumerate(kept)})
