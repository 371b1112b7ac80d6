"""Comments with labels: KOTE under the project's label rule, or a user's own file.

    python data.py --data val.tsv --part heldout --out heldout.jsonl

writes one part of the split with the columns that `ko-sentiment eval` reads. `--data` takes
all that sources.py knows; `--video title` leaves the summaries out, `--video none` both.
"""

import argparse
import csv
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from prompt_profile import SENTIMENTS, Profile, normalise

KOTE_HUB_ID = "searle-j/kote"

# KOTE's 44 emotions, by index (Jeon, Lee, Kim 2022, arXiv 2205.05300).
EMOTIONS = (
    "불평/불만 환영/호의 감동/감탄 지긋지긋 고마움 슬픔 화남/분노 존경 기대감 우쭐댐/무시함 "
    "안타까움/실망 비장함 의심/불신 뿌듯함 편안/쾌적 신기함/관심 아껴주는 부끄러움 공포/무서움 절망 "
    "한심함 역겨움/징그러움 짜증 어이없음 없음 패배/자기혐오 귀찮음 힘듦/지침 즐거움/신남 깨달음 "
    "죄책감 증오/혐오 흐뭇함(귀여움/예쁨) 당황/난처 경악 부담/안_내킴 서러움 재미없음 불쌍함/연민 "
    "놀람 행복 불안/걱정 기쁨 안심/신뢰"
).split()
NO_EMOTION = 24
POSITIVE = frozenset({1, 2, 4, 7, 8, 13, 14, 16, 28, 32, 40, 42, 43})
NEITHER = frozenset({11, 15, 24, 29, 39})
NEGATIVE = frozenset(range(44)) - POSITIVE - NEITHER

# Hundredths of the id's hash: [0, 10) held out, [10, 18) validation, the rest trains.
HELD_OUT = range(0, 10)
VALIDATION = range(10, 18)
UNKNOWN = -1  # the label of an unlabelled comment
PARTS = ("train", "validation", "heldout", "test", "all")


@dataclass(frozen=True)
class Comment:
    """One labelled comment. `label` is an index into SENTIMENTS, or UNKNOWN; `emotions` are KOTE
    indices (empty for other data); `rationale` is the user's own, if any. `source` is its kind
    (sources.py). The split goes by `group` (a video) where there is one, else by `id`, unless the
    part is fixed. `turns`: the same words have another label under another video."""

    id: str
    text: str
    label: int
    emotions: tuple[int, ...] = ()
    title: str = ""
    summary: str = ""
    rationale: str = ""
    source: str = "file"
    group: str = ""
    fixed_part: str = ""
    turns: bool = False

    @property
    def part(self) -> str:
        """The part of the split: train, validation, heldout or test."""
        return self.fixed_part or part_of(self.group or self.id)


def polarity(emotions: Iterable[int]) -> tuple[int, int]:
    """How many of the marked emotions are positive and how many are negative."""
    marked = set(emotions)
    return len(marked & POSITIVE), len(marked & NEGATIVE)


def sentiment_of(emotions: Iterable[int]) -> int:
    """The label rule: an index into SENTIMENTS from the emotions that were marked."""
    marked = set(emotions)
    p, n = polarity(marked)
    if p == n == 0 or (NO_EMOTION in marked and p <= 1 and n <= 1):
        return 1
    if p >= 2 * n:
        return 0
    if n >= 2 * p:
        return 2
    return 1


def part_of(comment_id: str) -> str:
    """The part of the split that a comment belongs to: a function of its id alone."""
    bucket = int(hashlib.sha256(comment_id.encode()).hexdigest(), 16) % 100
    if bucket in HELD_OUT:
        return "heldout"
    return "validation" if bucket in VALIDATION else "train"


def read(source: str, profile: Profile) -> list[Comment]:
    """Reads KOTE's TSV, the hub's KOTE, or a JSONL/CSV/TSV with `comment` and `label`."""
    path = Path(source)
    if not path.exists():
        if source.count("/") != 1:
            raise SystemExit(f"{source}: no such file (and not a hub id like {KOTE_HUB_ID})")
        return _read_hub(source)
    if path.suffix in (".jsonl", ".json"):
        with path.open(encoding="utf-8") as lines:
            return _own([json.loads(line) for line in lines if line.strip()], source, profile)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t" if path.suffix == ".tsv" else ","))
    if rows and {"comment", "label"} <= set(rows[0]):
        return _own([dict(zip(rows[0], row)) for row in rows[1:]], source, profile)
    return [_kote(row[0], row[1], map(int, row[2].split(","))) for row in rows]


def select(comments: list[Comment], part: str) -> list[Comment]:
    """The comments of one of PARTS."""
    return [c for c in comments if part in ("all", c.part)]


def export(comments: list[Comment], out: Path, profile: Profile, video: str = "both") -> None:
    """Writes id, comment, label, and title and summary if there are any, as JSONL, or as TSV if
    `out` ends so. `video` is what stays of the latter two: both, title or none."""
    columns = {"id": "id", "comment": "text"}
    columns |= {"video_title": "title"} if video != "none" and any(c.title for c in comments) else {}
    columns |= {"video_summary": "summary"} if video == "both" and any(c.summary for c in comments) else {}
    rows = [
        {name: getattr(c, field) for name, field in columns.items()}
        | {"label": profile.label_words[c.label]}
        for c in comments
    ]
    part = out.with_name(out.name + ".part")
    with part.open("w", encoding="utf-8", newline="") as file:
        if out.suffix == ".tsv":
            writer = csv.DictWriter(file, [*columns, "label"], delimiter="\t")
            writer.writeheader()
            writer.writerows(rows)
        else:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    os.replace(part, out)


def _kote(id: str, text: str, emotions: Iterable[int]) -> Comment:
    marked = tuple(sorted(emotions))
    return Comment(id, normalise(text), sentiment_of(marked), marked)


def _read_hub(hub_id: str) -> list[Comment]:
    from datasets import load_dataset

    try:
        rows = load_dataset(hub_id, split="train")
    except RuntimeError:  # a data set that still ships a loading script: take the hub's Parquet
        rows = load_dataset(hub_id, split="train", revision="refs/convert/parquet")
    return [_kote(str(row["ID"]), row["text"], row["labels"]) for row in rows]


def _own(rows: list[dict], source: str, profile: Profile) -> list[Comment]:
    words = {word: index for index, word in enumerate(profile.label_words)}
    words |= {name: index for index, name in enumerate(SENTIMENTS)}
    comments = []
    for number, row in enumerate(rows, start=1):
        if row.get("label") not in words:
            raise SystemExit(
                f"{source}, row {number}: label {row.get('label')!r} is none of {', '.join(words)}"
            )
        text = normalise(row.get("comment") or "")
        if not text:
            raise SystemExit(f"{source}, row {number}: the comment is empty")
        optional = {
            field: normalise(row.get(column) or "")
            for field, column in (
                ("title", "video_title"),
                ("summary", "video_summary"),
                ("rationale", "rationale"),
            )
        }
        comments.append(Comment(str(row.get("id") or text), text, words[row["label"]], **optional))
    return comments


def main() -> None:
    parser = argparse.ArgumentParser(description="Write one part of the split for `eval`.")
    parser.add_argument("--data", required=True, action="append", help="KIND=PATH, see sources.py")
    parser.add_argument("--part", choices=PARTS, required=True)
    parser.add_argument("--video", choices=("both", "title", "none"), default="both")
    parser.add_argument("--out", type=Path, required=True, help="FILE.jsonl or FILE.tsv")
    args = parser.parse_args()
    import sources  # which imports this module

    profile = Profile.read()
    comments = select(sources.read_all(args.data, profile), args.part)
    export(comments, args.out, profile, args.video)
    counts = [sum(c.label == k for c in comments) for k in range(3)]
    table = ", ".join(f"{w} {n}" for w, n in zip(profile.label_words, counts))
    print(f"{args.out}: {len(comments)} comments ({table})")


if __name__ == "__main__":
    main()
