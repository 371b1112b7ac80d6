"""Trains the LoRA adapter: `python train.py --base BASE --data DATA --out FOLDER`.

The defaults are the model card's settings. On a CPU there is no quantisation; start one
process a core (`torchrun --nproc-per-node 2 train.py ...`), which shares the work better
than threads do. Writes OUT/adapter-N (every --save-every steps), OUT/adapter, OUT/log.jsonl
and OUT/learning_curve.svg.
"""

import argparse
import json
import os
import random
from pathlib import Path

import torch
from peft.helpers import disable_input_dtype_casting
from torch import distributed
from torch.nn import functional as F
from torch.utils.data import Dataset, SequentialSampler
from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed

import data
import exposure
import model as models
import packing
import sources
import vocabulary
from encode import Encoder, verdict_target
from exposure import Shares
from prompt_profile import DEFAULT_PROFILE, SENTIMENTS, Profile
from rationale import rationale
from score import metrics, score
from short_reasons import short_reason

REASON_ROOM = 80  # tokens kept free for the answer, within --max-length


class PackedComments(Dataset):
    """Packs of `batch_size` comments, planned anew each epoch; a share of them with a reason.

    An optimiser step's comments are drawn at random, then dealt to the processes so that
    none waits long. (Sorting all by length packs no tighter and makes lopsided steps.)
    """

    def __init__(self, comments: list[data.Comment], encoder: Encoder, args):
        self.encoder, self.args = encoder, args
        self.room = args.max_length - REASON_ROOM - len(encoder.static)
        self.comments = [c for c in comments if len(encoder.prompt(c)) <= self.room]
        self.videos = sorted({(c.title, c.summary) for c in comments if c.title})
        self.times = dict(args.times)
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Plans an epoch: its order, what of the videos is shown, which comments get a reason,
        and which reason."""
        chance = random.Random(f"{self.args.seed}/{epoch}")
        drawn = self._draw(chance)
        blocks = [self._block(comment, chance) for comment in chance.sample(drawn, len(drawn))]
        world = int(os.environ.get("WORLD_SIZE", 1))
        self.packs = []
        for step in _chunks(blocks, world * self.args.batch_size):
            if len(step) < world:
                break
            by_length = sorted(step, key=lambda block: len(block.tokens))
            self.packs += [by_length[rank::world] for rank in range(world)]

    def _draw(self, chance: random.Random) -> list[data.Comment]:
        """Each comment as often as its source's --times says: 2.5 is twice, and every other once more."""
        drawn = []
        for comment in self.comments:
            times = self.times.get(comment.source, 1.0)
            if comment.label != data.UNKNOWN:
                times = self.times.get(f"{comment.source}/{SENTIMENTS[comment.label]}", times)
            if comment.turns:
                times = self.times.get(f"{comment.source}/turning", times)
            if comment.label == 1 and comment.emotions:
                times *= self.args.neutral_repeat
            whole = int(times)
            drawn += [comment] * (whole + (chance.random() < times - whole))
        return drawn

    def _block(self, comment: data.Comment, chance: random.Random) -> packing.Block:
        shown = exposure.expose(comment, chance, self.videos, self.args.shares)
        if len(self.encoder.prompt(shown)) > self.room:  # a wrong video with a long comment
            shown = comment
        # KOTE's 중립 is mixed feelings; that of the others is none.
        weight = self.args.neutral_weight if comment.emotions else 1.0
        target = verdict_target(shown, softness=self.args.softness, weights=(1.0, weight, 1.0))
        reason = self._reason(comment, shown, chance)
        if reason:
            return self.encoder.answer_block(shown, target, reason)
        return self.encoder.verdict_block(shown, target)

    def _reason(self, comment: data.Comment, shown: data.Comment, chance: random.Random) -> str:
        """A written reason, for a share of the comments, or one composed from marked emotions."""
        if comment.rationale:
            if chance.random() >= self.args.reason_share:
                return ""
            if self.args.short_reasons:
                return short_reason(comment.text, comment.rationale, comment.label, self.encoder.profile.answer)
            return "" if exposure.leans_on_video(comment, shown) else comment.rationale
        share = self.args.composed_share
        if comment.label == 1 and self.args.neutral_reason_share is not None:
            share = self.args.neutral_reason_share
        return rationale(comment, chance) if comment.emotions and chance.random() < share else ""

    def __len__(self) -> int:
        return len(self.packs)

    def __getitem__(self, index: int) -> list[packing.Block]:
        return self.packs[index]


class AnswerTrainer(Trainer):
    """Cross-entropy at the answer's positions alone, from packed rows."""

    def __init__(
        self, *args, encoder: Encoder, reason_weight: float, emotion_weight: float, **kwargs
    ):
        super().__init__(*args, **kwargs)
        self.first_tokens = torch.tensor(encoder.first_tokens)
        self.reason_weight, self.emotion_weight = reason_weight, emotion_weight
        self.model_accepts_loss_kwargs = False
        names = ("verdict_loss", "reason_loss", "emotion_loss")
        self.parts: dict[str, list[float]] = {name: [] for name in names}

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        with disable_input_dtype_casting(self.model):
            logits, hidden = packing.forward(model, inputs, hidden=self.emotion_weight > 0)
        verdict, reason = answer_loss(logits, inputs, self.first_tokens.to(logits.device))
        loss = verdict + self.reason_weight * reason
        if hidden is not None:
            emotions = emotion_loss(self.model.emotion_head, hidden, inputs["emotions"])
            self.parts["emotion_loss"].append(emotions.item())
            loss = loss + self.emotion_weight * emotions
        self.parts["verdict_loss"].append(verdict.item())
        if inputs["answer"].numel():
            self.parts["reason_loss"].append(reason.item())
        return loss

    def log(self, logs, *args, **kwargs):
        for name, values in self.parts.items():
            if values and "loss" in logs:
                logs[name] = round(sum(values) / len(values), 4)
                values.clear()
        super().log(logs, *args, **kwargs)

    def _get_train_sampler(self, *args, **kwargs):
        return SequentialSampler(self.train_dataset)  # PackedComments shuffles by itself


def answer_loss(logits, inputs, first_tokens) -> tuple[torch.Tensor, torch.Tensor]:
    """The verdict's loss (mean over comments) and the rest of the answer's (over tokens).

    The verdict is scored against the whole vocabulary, so that a free greedy answer finds
    its label as well as a scored one.
    """
    verdict = inputs["verdict"]
    first = F.log_softmax(logits[: len(verdict)], dim=-1)[:, first_tokens]
    verdict_loss = -(verdict * first).sum() / len(verdict)
    if not inputs["answer"].numel():
        return verdict_loss, logits.new_zeros(())
    return verdict_loss, F.cross_entropy(logits[len(verdict) :], inputs["answer"])


def emotion_loss(head, hidden, emotions) -> torch.Tensor:
    """Binary cross-entropy, mean over comments with known emotions, in float32."""
    known = emotions.any(dim=1)
    with torch.autocast(hidden.device.type, enabled=False):
        each = F.binary_cross_entropy_with_logits(head(hidden), emotions, reduction="none").mean(dim=1)
        return (each * known).sum() / known.sum().clamp(min=1)


class Progress(TrainerCallback):
    """Saves the adapter, measures it on the validation part, and writes log and curve."""

    def __init__(self, out: Path, comments: list[data.Comment], encoder: Encoder, args):
        self.out, self.comments, self.encoder, self.args = out, comments, encoder, args
        self.history: list[dict] = []

    def on_log(self, args, state, control, logs=None, **kwargs):
        self._write(state, logs or {})

    def on_step_end(self, args, state, control, model=None, **kwargs):
        if state.global_step % self.args.save_every == 0 or state.global_step == state.max_steps:
            self.checkpoint(state, model)

    def checkpoint(self, state, model) -> None:
        rank, world = _rank()
        if rank == 0:
            folder = self.out / f"adapter-{state.global_step:05}"
            models.save_adapter(model, folder, self.args.base_name)
        model.eval()
        mine = score(model, self.encoder, self.comments[rank::world])
        model.train()
        shards = [mine]
        if world > 1:
            shards = [None] * world
            distributed.all_gather_object(shards, mine)
        rows = [None] * len(self.comments)
        for start, shard in enumerate(shards):
            rows[start::world] = shard
        for name, chosen in self._slices():
            measured = metrics([rows[i] for i in chosen], [self.comments[i].label for i in chosen])
            self._write(state, {f"{name}_{k}": v for k, v in measured.items()})

    def _slices(self) -> list[tuple[str, list[int]]]:
        """All validation comments, and those of each source if there are several."""
        kinds = sorted({c.source for c in self.comments})
        every = [("validation", list(range(len(self.comments))))]
        return every + [
            (f"validation_{kind}", [i for i, c in enumerate(self.comments) if c.source == kind])
            for kind in kinds
            if len(kinds) > 1
        ]

    def _write(self, state, values: dict) -> None:
        if not state.is_world_process_zero:
            return
        row = {"step": state.global_step, "epoch": round(state.epoch or 0, 3), **values}
        self.history.append(row)
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(row, ensure_ascii=False) + "\n")
        draw_curve(self.history, self.out / "learning_curve.svg")


def validation(comments: list[data.Comment], most: int) -> list[data.Comment]:
    """The validation part; with `most`, a fixed draw of so many comments of each source."""
    chosen = data.select(comments, "validation")
    if not most:
        return chosen
    drawn = sorted(chosen, key=lambda c: sources.sha256(c.id))
    kinds = {c.source for c in chosen}
    return [c for kind in sorted(kinds) for c in [d for d in drawn if d.source == kind][:most]]


def draw_curve(history: list[dict], path: Path) -> None:
    """Training losses and validation scores over the steps."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axis, names in (
        (left, ("verdict_loss", "reason_loss", "emotion_loss", "validation_log_loss")),
        (right, ("validation_accuracy", "validation_macro_f1", "validation_neutral_f1")),
    ):
        for name in names:
            points = [(row["step"], row[name]) for row in history if name in row]
            axis.plot(*zip(*points), marker=".", label=name) if points else None
        axis.set_xlabel("optimiser step")
        axis.grid(alpha=0.3)
        if axis.get_legend_handles_labels()[0]:
            axis.legend()
    part = path.with_suffix(".part")
    figure.savefig(part, format="svg")
    pyplot.close(figure)
    os.replace(part, path)


def _chunks(items: list, size: int) -> list[list]:
    return [items[i : i + size] for i in range(0, len(items), size)]


def _rank() -> tuple[int, int]:
    if distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def parse_args(argv: list[str] | None = None, flags: argparse.ArgumentParser | None = None) -> argparse.Namespace:
    """The settings of a run; `flags` may take more than parser() does."""
    args = (flags or parser(__doc__)).parse_args(argv)
    args.base_name = args.base_name or args.base
    if args.composed_share is None:
        args.composed_share = args.reason_share
    args.shares = Shares(args.both, args.title, args.swapped)
    return args


def parser(description: str) -> argparse.ArgumentParser:
    """The recipe's settings, which gpu.py shares."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--base", required=True, help="hub id, folder or .gguf file")
    parser.add_argument("--base-name", help="what the adapter calls its base (default: --base)")
    parser.add_argument("--data", required=True, action="append",
                        help="KIND=PATH, as often as there are sources (see sources.py)")  # fmt: skip
    parser.add_argument("--times", type=_times, action="append", default=[], metavar="KIND[/LABEL|/turning]=N",
                        help="how often an epoch has each comment, such as kote=0.5, "
                        "youtube/positive=0.4 or own/turning=3")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="folder for all results")
    parser.add_argument("--profile", type=Path, default=DEFAULT_PROFILE, help="the prompt")
    parser.add_argument("--start-from", type=Path, help="an adapter to train further")
    parser.add_argument("--rank", type=int, default=8, help="PEFT's r")
    parser.add_argument("--alpha", type=int, default=16)
    parser.add_argument("--dropout", type=float, default=0.05)
    parser.add_argument("--used-vocabulary", type=int, metavar="N",
                        help="train over the tokens that the data uses and N others: a third faster on a "
                        "CPU; not for composed reasons or 4-bit weights")  # fmt: skip
    parser.add_argument("--no-checkpointing", action="store_true", help="faster, more memory")
    parser.add_argument("--compute-dtype", help="of 4-bit weights on CUDA (default: float16; "
                        "bfloat16 for Gemma 3, whose activations overflow float16)")  # fmt: skip
    parser.add_argument("--learning-rate", type=float, default=4e-4)
    parser.add_argument("--schedule", default="cosine")
    parser.add_argument("--warmup", type=float, default=0.05, help="share of the steps")
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--max-steps", type=int, default=-1)
    parser.add_argument("--batch-size", type=int, default=8, help="comments a row and process")
    parser.add_argument("--accumulate", type=int, default=1, help="rows an optimiser step")
    parser.add_argument("--max-length", type=int, default=512, help="tokens; longer are left out")
    parser.add_argument("--both", type=float, default=Shares.both, help="of the comments with a video, but for the "
                        "youtube source, how many show its title and summary")  # fmt: skip
    parser.add_argument("--title", type=float, default=Shares.title, help="the same with the title alone")
    parser.add_argument("--swapped", type=float, default=Shares.swapped,
                        help="of those, how many show another video's instead")  # fmt: skip
    parser.add_argument("--neutral-weight", type=float, default=2.0, help="of KOTE's 중립")
    parser.add_argument("--neutral-repeat", type=int, default=1, help="times an epoch, KOTE's 중립")
    parser.add_argument("--softness", type=float, default=0.5, help="of the verdict's target")
    parser.add_argument("--reason-share", type=float, default=0.25,
                        help="of the comments with a written reason, how many are taught it")  # fmt: skip
    parser.add_argument("--short-reasons", action="store_true",
                        help="teach of a written reason what it quotes and its verb, for a small model")  # fmt: skip
    parser.add_argument("--composed-share", type=float,
                        help="the same of KOTE's composed reasons (default: --reason-share)")  # fmt: skip
    parser.add_argument("--neutral-reason-share", type=float,
                        help="the same of KOTE's 중립 (default: --composed-share)")  # fmt: skip
    parser.add_argument("--reason-weight", type=float, default=0.3)
    parser.add_argument("--emotion-weight", type=float, default=0.0,
                        help="of KOTE's 44 emotions, read beside the verdict")  # fmt: skip
    parser.add_argument("--validate", type=int, default=0,
                        help="validation comments a source, at most; 0 takes all")  # fmt: skip
    parser.add_argument("--save-every", type=int, default=50, help="steps a checkpoint")
    parser.add_argument("--seed", type=int, default=17)
    return parser


def _times(text: str) -> tuple[str, float]:
    kind, _, number = text.partition("=")
    try:
        return kind, float(number)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not KIND=N, such as kote=0.5") from None


def train(args: argparse.Namespace) -> None:
    """Runs the recipe; see the module's documentation for what it leaves in `args.out`."""
    set_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    cuda = torch.cuda.is_available()
    profile = Profile.read(args.profile)
    comments = sources.read_all(args.data, profile)
    base = models.resolve_base(args.base)
    encoder = Encoder(models.load_tokenizer(base), profile)
    model = models.load_base(base, four_bit=cuda, wanted_dtype=args.compute_dtype)
    if args.used_vocabulary is not None:
        size = model.config.vocab_size
        vocabulary.narrow(model, encoder, vocabulary.used(encoder, comments, args.used_vocabulary, size))
    model = models.prepare(model, checkpointing=not args.no_checkpointing, four_bit=cuda)
    if args.start_from:
        model = models.load_adapter(model, args.start_from, trainable=True)
    else:
        model = models.add_lora(model, r=args.rank, alpha=args.alpha, dropout=args.dropout)
    if args.emotion_weight > 0:
        models.add_emotion_head(model)
    half = cuda and models.compute_dtype(model.config, args.compute_dtype) == torch.float16
    settings = TrainingArguments(
        output_dir=str(args.out),
        per_device_train_batch_size=1,
        gradient_accumulation_steps=args.accumulate,
        learning_rate=args.learning_rate,
        lr_scheduler_type=args.schedule,
        warmup_steps=args.warmup,
        num_train_epochs=args.epochs,
        max_steps=args.max_steps,
        weight_decay=0.01,
        max_grad_norm=1.0,
        fp16=half,
        bf16=not half and models.has_bfloat16("cuda" if cuda else "cpu"),
        use_cpu=not cuda,
        ddp_backend="gloo" if distributed.is_torchelastic_launched() and not cuda else None,
        ddp_find_unused_parameters=False,
        logging_steps=10,
        save_strategy="no",
        report_to="none",
        remove_unused_columns=False,
        disable_tqdm=True,
        seed=args.seed,
    )
    if settings.process_index == 0:
        values = {k: str(v) for k, v in vars(args).items()}
        (args.out / "settings.json").write_text(json.dumps(values, indent=2), encoding="utf-8")
    trainer = AnswerTrainer(
        model=model,
        args=settings,
        train_dataset=PackedComments(data.select(comments, "train"), encoder, args),
        data_collator=lambda packs: packing.collate(encoder.static, packs[0]),
        callbacks=[Progress(args.out, validation(comments, args.validate), encoder, args)],
        encoder=encoder,
        reason_weight=args.reason_weight,
        emotion_weight=args.emotion_weight,
    )
    trainer.train()
    if settings.process_index == 0:
        models.save_adapter(model, args.out / "adapter", args.base_name)


if __name__ == "__main__":
    train(parse_args())
