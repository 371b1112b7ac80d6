"""Where labelled comments come from: `--data KIND=PATH`, as often as there are sources.

    kote=val.tsv       KOTE's TSV under the label rule (a hub id serves too)
    own=data           a folder with videos.tsv and comments.tsv, such as ../training/data
    youtube=FOLDER     the collection's VIDEO.jsonl files, joined with data/youtube-labels.tsv
    3i4k=FILE          3i4K: its questions and commands, as plain 중립
    unlabelled=FILE    a comment a line, without a label: for `gpu.py --teacher`
    news=FILE          BEEP's unlabelled comments under entertainment news, joined with data/news-labels.tsv
    file=PATH          a JSONL, CSV or TSV of your own (see data.py)

A path without a kind is KOTE's TSV, a hub id or a file of your own.
"""

import csv
import dataclasses
import hashlib
import json
from pathlib import Path

import data
from data import UNKNOWN, Comment
from prompt_profile import Profile, normalise

HERE = Path(__file__).parent / "data"
# Whole videos: the choosing one picks checkpoints and settings, the test ones are looked at once, at the end.
YOUTUBE_PARTS = {"train": "train", "choosing": "validation", "test": "test"}


def read_all(sources: list[str], profile: Profile) -> list[Comment]:
    """The comments of all sources, each with the name of its kind and its part of the split.

    A training comment under a video is left out if its words stand in another part too.
    """
    comments = [comment for source in sources for comment in read(source, profile)]
    kept_apart = {c.text for c in comments if c.part != "train"}
    return [c for c in comments if c.part != "train" or not (c.group and c.text in kept_apart)]


def read(source: str, profile: Profile) -> list[Comment]:
    """The comments of one `KIND=PATH`."""
    kind, _, path = source.rpartition("=")
    readers = {
        "own": own,
        "youtube": youtube,
        "3i4k": intentions,
        "news": news,
        "unlabelled": unlabelled,
    }
    if kind in ("", "kote", "file"):
        comments = data.read(path, profile)
        kind = kind or ("kote" if comments and comments[0].emotions else "file")
        return [dataclasses.replace(c, source=kind) for c in comments]
    if kind not in readers:
        raise SystemExit(f"{source}: no such kind of data; use {', '.join(readers)}, kote or file")
    return readers[kind](Path(path), profile)


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a TSV with a header; nothing is quoted, so a field holds no tab or newline."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except OSError as error:
        raise SystemExit(f"{path}: {error.strerror}") from error


def own(folder: Path, profile: Profile) -> list[Comment]:
    """Comments written for this project; the split goes by whole videos."""
    videos = {row["video"]: row for row in rows(folder / "videos.tsv")}
    words = {word: index for index, word in enumerate(profile.label_words)}
    comments = []
    for row in rows(folder / "comments.tsv"):
        video = videos[row["video"]]
        comments.append(
            Comment(
                f"{row['video']}/{row['comment']}",
                normalise(row["comment"]),
                words[row["label"]],
                title=normalise(video["title"]),
                summary=normalise(video["summary"]),
                rationale=row["reason"],
                source="own",
                group=row["video"],
            )
        )
    return _with_twins(comments)


def youtube(folder: Path, profile: Profile, labels: Path = HERE) -> list[Comment]:
    """Real comments: labels by the SHA-256 of the comment's text, texts from the collection."""
    words = {word: index for index, word in enumerate(profile.label_words)}
    known = {(r["video"], r["sha256"]): words[r["label"]] for r in rows(labels / "youtube-labels.tsv")}
    reasons = {(r["video"], r["sha256"]): r for r in rows(labels / "youtube-reasons.tsv")}
    comments = []
    for video in rows(labels / "youtube-videos.tsv"):
        name, seen = video["video"], set()
        path = folder / f"{name}.jsonl"
        if not path.is_file():
            raise SystemExit(f"{path}: no such file; give the folder of the collection")
        with path.open(encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                key = (name, sha256(row["comment"]))
                text = normalise(row["comment"])
                if key not in known or key in seen or not text:
                    continue
                seen.add(key)
                comments.append(
                    Comment(
                        f"{name}/{key[1]}",
                        text,
                        known[key],
                        title=normalise(row["video_title"]),
                        summary=normalise(video["summary"]),
                        rationale=_reason(text, reasons[key]) if key in reasons else "",
                        source="youtube",
                        group=name,
                        fixed_part=YOUTUBE_PARTS[video["part"]],
                    )
                )
    return comments


def _reason(text: str, row: dict[str, str]) -> str:
    """A reason whose quotation lies in the collection: `start` and `end` count the normalised comment's characters."""
    return f"'{text[int(row['start']) : int(row['end'])]}'{row['ending']}"


def intentions(path: Path, profile: Profile) -> list[Comment]:
    """A sixteenth of 3i4K's questions and commands (classes 2 and 3): no video, no feeling."""
    with path.open(encoding="utf-8") as lines:
        pairs = [line.rstrip("\n").split("\t", 1) for line in lines if "\t" in line]
    texts = {normalise(text) for label, text in pairs if label in ("2", "3")}
    chosen = [text for text in sorted(texts) if sha256(text).startswith("0")]
    return [Comment(f"3i4k/{text}", text, 1, source="3i4k", fixed_part="train") for text in chosen]


def news(path: Path, profile: Profile, labels: Path = HERE) -> list[Comment]:
    """Real comments under entertainment news: labels by the SHA-256 of the line, texts from BEEP's file."""
    words = {word: index for index, word in enumerate(profile.label_words)}
    known = {row["sha256"]: words[row["label"]] for row in rows(labels / "news-labels.tsv")}
    with path.open(encoding="utf-8") as lines:
        texts = dict.fromkeys(line.rstrip("\n") for line in lines)
    labelled = [(normalise(text), known[key]) for text in texts if (key := sha256(text)) in known]
    return [Comment(f"news/{text}", text, label, source="news", fixed_part="train") for text, label in labelled]


def unlabelled(path: Path, profile: Profile) -> list[Comment]:
    """Comments that only a teacher has a word on; what `news` has labels for is left out."""
    known = {row["sha256"] for row in rows(HERE / "news-labels.tsv")}
    with path.open(encoding="utf-8") as lines:
        texts = dict.fromkeys(normalise(line) for line in lines if sha256(line.rstrip("\n")) not in known)
    return [Comment(f"unlabelled/{text}", text, UNKNOWN, source="unlabelled", fixed_part="train") for text in texts if text]


def sha256(text: str) -> str:
    """The SHA-256 of a comment's text as it stands in the collection, UTF-8, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def _with_twins(comments: list[Comment]) -> list[Comment]:
    """Marks the comments that turn with their video: the same words under another label."""
    labels: dict[str, set[int]] = {}
    for comment in comments:
        labels.setdefault(comment.text, set()).add(comment.label)
    return [dataclasses.replace(c, turns=len(labels[c.text]) > 1) for c in comments]
