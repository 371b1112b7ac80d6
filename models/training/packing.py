"""Many comments in one row, at the cost of one prompt.

A row is `[static prompt][block 1][block 2]...`: the static prompt's tokens, the same for
every comment, are computed once, and each block (comment + answer) attends to the static
prompt and to itself. Positions restart after the static prompt, so every block gets the
logits that it would get alone (up to rounding; the smoke test checks it). Nothing is padded but
the small attention matrices, and logits are computed only where a loss is taken.
"""

from dataclasses import dataclass

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import eager_mask
from transformers.models.gemma2.modeling_gemma2 import eager_attention_forward

ATTENTION = "packed_prefix"


@dataclass(frozen=True)
class Block:
    """A comment's own tokens, and what is to be predicted from them.

    `tokens[prompt_length - 1]` is the last token before the label: its logits are the
    verdict. `tokens[prompt_length:]` (may be empty) is the answer that the model is taught
    to continue with, ending with the end of turn, which is a target and not an input.
    `emotions` has 1 for each of data.EMOTIONS that was marked, else 0.
    """

    tokens: list[int]
    prompt_length: int
    verdict: tuple[float, ...] = ()
    emotions: tuple[float, ...] = ()


def collate(static: list[int], blocks: list[Block]) -> dict[str, torch.Tensor]:
    """Packs blocks into one row of length L.

    Returns the model's inputs: input_ids, position_ids (1, L); logits_to_keep (R,), the row
    positions whose logits are needed: one a block for the verdict, in block order, then those
    of the answers; pack_gather (B, T), the row index of each block's t-th token (padded with
    0), and pack_scatter (L - P,), its inverse into the flat B*T. And the targets: verdict
    (B, 3), answer (R - B,) token ids, emotions (B, 44).
    """
    prefix = len(static)
    tokens, positions, gather, scatter = list(static), list(range(prefix)), [], []
    starts = []
    longest = max(fed(block) for block in blocks)
    for number, block in enumerate(blocks):
        start, length = len(tokens), fed(block)
        tokens += block.tokens[:length]
        positions += range(prefix, prefix + length)
        gather.append(torch.arange(start, start + length))
        scatter.append(torch.arange(number * longest, number * longest + length))
        starts.append(start)
    rows, answer, verdict = targets(blocks, starts)
    return {
        "input_ids": torch.tensor([tokens]),
        "position_ids": torch.tensor([positions]),
        "logits_to_keep": rows,
        "pack_gather": pad_sequence(gather, batch_first=True),
        "pack_scatter": torch.cat(scatter),
        "verdict": verdict,
        "answer": answer,
        "emotions": torch.tensor([block.emotions for block in blocks]),
    }


def targets(blocks: list[Block], starts: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of blocks whose first tokens lie at `starts`: the positions (R,) whose logits are needed, one a block for the
    verdict, in block order, then those of the answers; the answers' token ids (R - B,); the verdicts (B, 3)."""
    verdict_rows, answer_rows, answers = [], [], []
    for block, start in zip(blocks, starts):
        verdict_rows.append(start + block.prompt_length - 1)
        # The label's first token is the verdict's own target; the rest follows here.
        answers += block.tokens[block.prompt_length + 1 :]
        answer_rows += range(start + block.prompt_length, start + fed(block))
    verdict = torch.tensor([block.verdict for block in blocks])
    return torch.tensor(verdict_rows + answer_rows), torch.tensor(answers, dtype=torch.long), verdict


def forward(
    model, inputs: dict[str, torch.Tensor], *, hidden: bool = False
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The float32 logits (R, vocabulary) at `logits_to_keep` of a collated row, and with `hidden`
    what the verdict is read from, the last hidden states (B, hidden size). Transformers keeps
    every layer's for that, so ask only for what is used."""
    names = ("input_ids", "position_ids", "logits_to_keep", "pack_gather", "pack_scatter")
    # The masks are the attention's own affair: they follow from the layout.
    no_mask = {"full_attention": None, "sliding_attention": None}
    kwargs = {name: inputs[name] for name in names}
    kwargs["output_hidden_states"] = hidden
    output = model(attention_mask=no_mask, use_cache=False, **kwargs)
    verdict_rows = inputs["logits_to_keep"][: len(inputs["verdict"])]
    states = output.hidden_states[-1][0, verdict_rows].float() if hidden else None
    return output.logits[0].float(), states


def fed(block: Block) -> int:
    """How many of a block's tokens are fed: the last of an answer is only a target."""
    return min(len(block.tokens), max(block.prompt_length, len(block.tokens) - 1))


def _attention(module, query, key, value, attention_mask, scaling=None, softcap=None, **kwargs):
    """Attention over a packed row (1, heads, L, head size); the usual one for any other."""
    gather = kwargs.pop("pack_gather", None)
    scatter = kwargs.pop("pack_scatter", None)
    if gather is None:
        if softcap is not None:  # which SDPA doesn't know
            return eager_attention_forward(
                module, query, key, value, attention_mask, scaling=scaling, softcap=softcap
            )
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
    prefix = query.shape[2] - scatter.shape[0]
    blocks, longest = gather.shape
    window = kwargs.get("sliding_window")
    if window and prefix + longest > window:
        raise ValueError(
            f"a packed block reaches position {prefix + longest}, past the sliding window of "
            f"{window}: lower --max-length"
        )

    def own(states):  # (1, heads, L, size) -> (blocks, heads, longest, size)
        return states[0, :, gather].transpose(0, 1)

    def with_prefix(states):  # -> (blocks, heads, prefix + longest, size)
        shared = states[:, :, :prefix].expand(blocks, -1, -1, -1)
        return torch.cat([shared, own(states)], dim=2)

    head = _causal(*(states[:, :, :prefix] for states in (query, key, value)), scaling, softcap)
    # Padding sits at a block's end, where causality hides it from the block's own tokens.
    tail = _causal(own(query), with_prefix(key), with_prefix(value), scaling, softcap)
    tail = tail.transpose(1, 2).flatten(0, 1)[scatter]
    return torch.cat([head.transpose(1, 2), tail[None]], dim=1), None


def _causal(query, key, value, scaling: float, softcap: float | None) -> torch.Tensor:
    """Attention of queries (B, heads, T, size) that are the last T of the keys' positions.

    The query heads that share a key head are stacked into one matrix product: on a CPU that
    is 3.5 times faster than SDPA at these sizes.
    """
    batch, heads, rows, size = query.shape
    key_heads, columns = key.shape[1:3]
    stacked = query.reshape(batch, key_heads, -1, size)
    scores = stacked @ key.transpose(2, 3) * scaling
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    hidden = torch.ones(rows, columns, dtype=torch.bool, device=query.device)
    hidden = hidden.triu(columns - rows + 1).repeat(heads // key_heads, 1)
    weights = torch.softmax(scores.masked_fill(hidden, float("-inf")), dim=-1)
    return (weights.to(value.dtype) @ value).view(batch, heads, rows, size)


AttentionInterface.register(ATTENTION, _attention)
AttentionMaskInterface.register(ATTENTION, eager_mask)
