"""The recipe for Gemma 3 270M and 1B on one GPU, without the Trainer's launches: minutes instead of hours.

    python gpu.py --base gemma-3-270m.gguf --data own=data --data youtube=FOLDER --out run --batch-size 32 --max-steps 800

Data, losses and settings are train.py's; all its flags are taken, and those of Trainer's own workings are ignored.

`--teacher MEAN` lets an adapter, such as the mean of several runs, say what it thinks of each comment (Hinton, Vinyals,
Dean 2015, arXiv 1503.02531): what one run learns by chance the mean doesn't know. Unlabelled comments (`unlabelled=FILE`)
have no other target. `--four-bits 0.6` rounds the merged weights to four bits in every other of the last 60 % of the
steps, so that they say the same rounded and not (straight-through gradients: Bengio, Léonard, Courville 2013, arXiv
1308.3432). Adapters that share `--init-seed` start at the same A and may be averaged (average.py).

`run/` holds `adapter/` (PEFT format), `log.jsonl` and `settings.json`. Several runs side by side fill a large GPU.
"""

import argparse
import json
import random
from pathlib import Path

import torch
from torch.nn import functional as F

import data
import model as models
import sources
import stacked
import vocabulary
from encode import Encoder
from packing import Block
from prompt_profile import Profile
from score import in_chunks, metrics
from train import PackedComments, parse_args, parser

WARM_UP = 0.05  # share of the steps
ROUNDED_ANEW = 4  # steps after which the weights' rounding is looked at again
SCORED_AT_ONCE = 128


def settings(argv: list[str] | None = None):
    """train.py's settings and those of this loop."""
    flags = parser(__doc__)
    flags.add_argument("--four-bits", type=float, default=0.0, help="share of the steps, the last ones")
    flags.add_argument("--teacher", type=Path, help="an adapter whose verdicts are targets too")
    flags.add_argument("--teacher-share", type=float, default=0.5, help="of the target, where there is a label")
    flags.add_argument("--init-seed", type=int, help="of A, if it isn't the seed of the data's order")
    return parse_args(argv, flags)


def train(args) -> None:
    """Trains an adapter; the learning rate rises to its value and falls to 0 linearly."""
    args.out.mkdir(parents=True, exist_ok=True)
    written = {name: str(value) for name, value in vars(args).items()}
    (args.out / "settings.json").write_text(json.dumps(written, indent=2), encoding="utf-8")
    profile = Profile.read(args.profile)
    comments = sources.read_all(args.data, profile)
    folder = models.resolve_base(args.base)
    encoder = Encoder(models.load_tokenizer(folder), profile)
    model = models.load_base(folder).to("cuda" if torch.cuda.is_available() else "cpu")
    if args.used_vocabulary is not None:
        kept = vocabulary.used(encoder, comments, args.used_vocabulary, model.config.vocab_size)
        vocabulary.narrow(model, encoder, kept)
    base = stacked.Stacked(model)
    seed = args.seed if args.init_seed is None else args.init_seed
    lora = stacked.Lora(base, rank=args.rank, alpha=args.alpha, seed=seed)
    if args.start_from:
        lora = stacked.Lora.load(base, args.start_from)
        for tensor in lora.parameters():
            tensor.requires_grad_()
    teacher = stacked.Lora.load(base, args.teacher).merged() if args.teacher else None
    batches = Batches(data.select(comments, "train"), encoder, args)
    with (args.out / "log.jsonl").open("w", encoding="utf-8") as log:
        steps(base, lora, teacher, encoder, batches, args, log)
        chosen = data.select(comments, "validation")
        if chosen:
            rows = score(base, lora.merged(), encoder, chosen)
            log.write(json.dumps(metrics(rows, [c.label for c in chosen]), ensure_ascii=False) + "\n")
    lora.save(args.out / "adapter", args.base_name)


class Batches:
    """An endless run of batches of blocks, an epoch after the other, blocks of one length together."""

    def __init__(self, comments: list[data.Comment], encoder: Encoder, args):
        # A plan of twice the size, cut by length, so that little is padded.
        self.size = args.batch_size
        twice = argparse.Namespace(**vars(args) | {"batch_size": 2 * self.size})
        self.planned = PackedComments(comments, encoder, twice)
        self.chance = random.Random(args.seed)
        if not self.planned.comments:
            raise SystemExit("no comment to train on fits --max-length")

    def __iter__(self):
        epoch = 0
        while True:
            self.planned.set_epoch(epoch)
            epoch += 1
            for pack in self.planned.packs:
                halves = [pack[i : i + self.size] for i in range(0, len(pack), self.size)]
                self.chance.shuffle(halves)
                yield from (half for half in halves if half)


def steps(base, lora, teacher, encoder: Encoder, batches, args, log) -> None:
    """The optimiser's steps; the losses of every tenth go to the log."""
    optimiser = torch.optim.AdamW(lora.parameters(), lr=args.learning_rate, weight_decay=0.01)
    first = torch.tensor(encoder.first_tokens, device=base.device)
    warm_up = max(1.0, WARM_UP * args.max_steps)
    error = None
    for step, blocks in zip(range(args.max_steps), batches):
        rate = min((step + 1) / warm_up, (args.max_steps - step) / (args.max_steps - warm_up))
        for group in optimiser.param_groups:
            group["lr"] = args.learning_rate * rate
        rounded = step >= args.max_steps * (1 - args.four_bits) and step % 2 == 0
        if rounded and (error is None or step % ROUNDED_ANEW == 0):
            error = lora.rounding_error()
        batch = stacked.collate(encoder.static, blocks, base.device)
        if teacher is not None:
            batch["verdict"] = taught(base, teacher, batch, first, args.teacher_share, len(encoder.static))
        weights = (lora.merged if base.device.type == "cuda" else lora.beside)(error if rounded else None)
        verdict, reason = losses(base, weights, batch, first, len(encoder.static))
        (verdict + args.reason_weight * reason).backward()
        torch.nn.utils.clip_grad_norm_(lora.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if step % 10 == 0:
            log.write(json.dumps({"step": step, "verdict_loss": verdict.item(), "reason_loss": reason.item()}) + "\n")
            log.flush()


def losses(base, weights, batch: dict[str, torch.Tensor], first, prefix: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The verdict's loss (mean over comments) and the rest of the answer's (over tokens), as train.answer_loss."""
    logits = base.logits(weights, batch["ids"], batch["rows"], prefix)
    count = len(batch["verdict"])
    of_labels = F.log_softmax(logits[:count], dim=-1)[:, first]
    verdict = -(batch["verdict"] * of_labels).sum() / count
    if not batch["answer"].numel():
        return verdict, logits.new_zeros(())
    return verdict, F.cross_entropy(logits[count:], batch["answer"])


@torch.no_grad()
def taught(base, teacher, batch: dict[str, torch.Tensor], first, share: float, prefix: int) -> torch.Tensor:
    """The verdicts' targets (B, 3) with `share` of each the teacher's, which is all of an unlabelled comment's."""
    labelled = batch["verdict"]
    logits = base.logits(teacher, batch["ids"], batch["rows"][: len(labelled)], prefix)
    said = torch.softmax(logits[:, first], dim=-1)
    weight = labelled.sum(dim=-1, keepdim=True)
    return torch.where(weight > 0, (1 - share) * labelled + share * weight * said, said)


@torch.no_grad()
def score(base, weights, encoder: Encoder, comments: list[data.Comment]) -> list[list[float]]:
    """The labels' log-probabilities, a row a comment."""

    def logits(blocks: list[Block]) -> torch.Tensor:
        batch = stacked.collate(encoder.static, blocks, base.device)
        return base.logits(weights, batch["ids"], batch["rows"], len(encoder.static))

    return in_chunks(encoder, comments, logits, SCORED_AT_ONCE)


if __name__ == "__main__":
    train(settings())
