"""Checks data/: `python check_data.py [FOLDER]` names what is wrong and fails.

Refused are wrong columns, labels and videos; comments that nearly repeat another with its label, or stand under more
than three videos; and reasons that name a label, quote what isn't in the comment, or repeat each other.
"""

import re
import sys
from collections import defaultdict
from pathlib import Path

from prompt_profile import Profile, normalise
from sources import HERE, YOUTUBE_PARTS, rows

COLUMNS = {
    "videos.tsv": ["video", "kind", "title", "summary"],
    "comments.tsv": ["video", "label", "comment", "reason"],
    "youtube-videos.tsv": ["video", "part", "summary"],
    "youtube-labels.tsv": ["sha256", "video", "part", "label", "readers"],
    "youtube-reasons.tsv": ["sha256", "video", "start", "end", "ending"],
}
BARE = "plain"  # the kind whose comments stand alone: no title, no summary
NEAR_COMMENT, NEAR_REASON = 0.6, 0.75  # Jaccard similarity of character trigrams
FEELINGS = re.compile(
    "감탄|감동|기쁘|기쁨|기뻐|즐거|즐겁|슬프|슬픔|슬퍼|분노|짜증|실망|불만|아쉬|반가|반갑|고마|설레|설렘|행복|속상|답답|"
    "비난|조롱|불평|(?<![가-힣])화[를가] "
)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    found = check(folder, Profile.read())
    for problem in found[:10]:
        print(problem, file=sys.stderr)
    if found:
        raise SystemExit(f"{folder}: {len(found)} problems; fix or drop these rows")
    print(f"{folder}: no problems")


def check(folder: Path, profile: Profile) -> list[str]:
    """What is wrong, a line each."""
    tables = {name: rows(folder / name) for name in COLUMNS}
    found = []
    for name, columns in COLUMNS.items():
        for number, row in enumerate(tables[name], start=2):
            bare = {"title", "summary"} if row.get("kind") == BARE else set()
            if list(row) != columns or not all(row[column] for column in columns if column not in bare):
                found.append(f"{name}:{number}: not the columns {', '.join(columns)}, all filled")
    if found:
        return found
    comments = tables["comments.tsv"]
    found += _videos(tables)
    for number, row in enumerate(comments, start=2):
        found += [f"comments.tsv:{number}: {problem}" for problem in of_comment(row, profile)]
    found += [f"comments.tsv:{b + 2}: {why} line {a + 2}" for a, b, why in repeats(comments)]
    return found


def of_comment(row: dict[str, str], profile: Profile) -> list[str]:
    """What is wrong with one comment and its reason, apart from others."""
    comment, reason, label = row["comment"], row["reason"], row["label"]
    found = []
    if label not in profile.label_words:
        found.append(f"label {label!r} is none of {', '.join(profile.label_words)}")
    if normalise(comment) != comment or normalise(reason) != reason:
        found.append("spaces or control characters that normalise removes")
    if not 10 <= len(reason) <= 160 or not reason.endswith("다."):
        found.append("the reason is not one or two sentences in 합니다체")
    for word in re.findall("긍정|중립|부정", reason):
        found.append(f"the reason names a label, {word}")
    for quote in quoted(reason):
        if quote not in comment:
            found.append(f"the reason quotes '{quote}', which is not in the comment")
    if reason.count("'") % 2:
        found.append("the reason has a quotation mark without its partner")
    feeling = FEELINGS.search(re.sub("'[^']*'", "", reason)) if label == profile.label_words[1] else None
    if feeling:
        found.append(f"a neutral reason names a feeling, {feeling.group()}")
    return found


def repeats(comments: list[dict[str, str]]) -> list[tuple[int, int, str]]:
    """Pairs of rows, by index, of which the second nearly repeats the first, and why it is refused.

    The same words may stand under two or three videos: the label turns with the video, or stays in spite of it. A small
    change of the words may turn the label.
    """
    found, places = [], defaultdict(list)
    for index, row in enumerate(comments):
        before = places[squeeze(row["comment"])]
        if len(before) > 2 or any(comments[first]["video"] == row["video"] for first in before):
            found.append((before[0], index, "repeats"))
        before.append(index)
    for a, b in near([row["comment"] for row in comments], NEAR_COMMENT):
        one, other = comments[a], comments[b]
        if one["label"] == other["label"] and squeeze(one["comment"]) != squeeze(other["comment"]):
            found.append((a, b, "comment is near that of"))
    for a, b in near([row["reason"] for row in comments], NEAR_REASON):
        if quoted(comments[a]["reason"]) == quoted(comments[b]["reason"]) and comments[a]["comment"] != comments[b]["comment"]:
            found.append((a, b, "reason is near that of"))
    return found


def quoted(reason: str) -> list[str]:
    """What a reason quotes."""
    return re.findall("'([^']*)'", reason)


def near(texts: list[str], limit: float) -> list[tuple[int, int]]:
    """Index pairs whose sets of character trigrams have a Jaccard similarity of at least `limit`."""
    grams = [trigrams(text) for text in texts]
    holders: dict[str, list[int]] = defaultdict(list)
    found = []
    for b, mine in enumerate(grams):
        shared: dict[int, int] = defaultdict(int)
        for gram in mine:
            for a in holders[gram]:
                shared[a] += 1
            holders[gram].append(b)
        for a, both in shared.items():
            if both >= limit * (len(grams[a]) + len(mine) - both):
                found.append((a, b))
    return found


def trigrams(text: str) -> set[str]:
    """The character trigrams of the squeezed text; of short ones, none: only exact repeats count."""
    text = squeeze(text)
    return {text[i : i + 3] for i in range(len(text) - 2)} if len(text) >= 6 else set()


def squeeze(text: str) -> str:
    """Letters, digits and signs without spaces, with runs of one character cut to two."""
    return re.sub(r"(.)\1+", r"\1\1", re.sub(r"[\s.,!~]+", "", text))


def _videos(tables: dict[str, list[dict[str, str]]]) -> list[str]:
    found = []
    for name, labelled in (("videos.tsv", "comments.tsv"), ("youtube-videos.tsv", "youtube-labels.tsv")):
        known = [row["video"] for row in tables[name]]
        found += [f"{name}: {video} stands twice" for video in sorted(set(known)) if known.count(video) > 1]
        used = {row["video"] for row in tables[labelled]}
        found += [f"{labelled}: {video} is not in {name}" for video in sorted(used - set(known))]
    parts = {row["video"]: row["part"] for row in tables["youtube-videos.tsv"]}
    for number, row in enumerate(tables["youtube-labels.tsv"], start=2):
        if row["part"] not in YOUTUBE_PARTS or parts.get(row["video"]) != row["part"]:
            found.append(f"youtube-labels.tsv:{number}: part {row['part']!r} is not the video's")
        if not re.fullmatch("[0-9a-f]{64}", row["sha256"]):
            found.append(f"youtube-labels.tsv:{number}: not a SHA-256")
    return found


if __name__ == "__main__":
    main()
