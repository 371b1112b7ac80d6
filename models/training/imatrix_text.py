"""Writes the text for an importance matrix: whole conversations as the model is asked to have them.

    python imatrix_text.py --data val.tsv --out imatrix.txt
    llama-imatrix -m F16.gguf -f imatrix.txt -o imatrix.gguf --parse-special -c 512

The comments are of the training part, so that nothing held out shapes the model.
"""

import argparse
import random
from pathlib import Path

import data
from prompt_profile import Profile
from rationale import rationale


def conversation(comment: data.Comment, profile: Profile, chance: random.Random) -> str:
    """A prompt and its answer; the begin token is llama-imatrix's to add."""
    asked = profile.static_text().removeprefix("<bos>")
    asked += "".join(text for text, _ in profile.pieces(comment.text, comment.title, comment.summary))
    reason = comment.rationale or rationale(comment, chance)
    return f"{asked}{profile.label_words[comment.label]}{profile.answer['suffix']} {reason}{profile.turn['end']}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="KOTE's TSV or a hub id")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--comments", type=int, default=400)
    parser.add_argument("--seed", type=int, default=5)
    args = parser.parse_args()
    profile = Profile.read()
    comments = data.select(data.read(args.data, profile), "train")
    chance = random.Random(args.seed)
    chosen = chance.sample(comments, min(args.comments, len(comments)))
    args.out.write_text("\n".join(conversation(c, profile, chance) for c in chosen), encoding="utf-8")


if __name__ == "__main__":
    main()
