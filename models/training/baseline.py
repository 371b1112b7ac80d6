"""What a simple model makes of the same data: TF-IDF of character n-grams and logistic regression.

    python baseline.py --data kote=val.tsv --data own=data --data youtube=FOLDER [--part test]

It sees comments alone, no titles. An adapter that can't beat it isn't ready.
"""

import argparse

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

import data
import sources
from prompt_profile import Profile
from score import metrics


def fit(comments: list[data.Comment], *, kote_neutral: bool, balanced: bool) -> Pipeline:
    """The baseline, fitted; KOTE's 중립, mixed feelings, may be left out."""
    kept = [c for c in comments if c.label != data.UNKNOWN and (kote_neutral or not (c.emotions and c.label == 1))]
    model = make_pipeline(
        TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), min_df=2, sublinear_tf=True),
        LogisticRegression(C=4, max_iter=2000, class_weight="balanced" if balanced else None),
    )
    return model.fit([c.text for c in kept], [c.label for c in kept])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, action="append", help="KIND=PATH, see sources.py")
    parser.add_argument("--part", choices=("validation", "heldout", "test"), default="validation")
    parser.add_argument("--keep-kote-neutral", action="store_true")
    parser.add_argument("--balanced", action="store_true", help="weigh the labels equally")
    args = parser.parse_args()
    comments = sources.read_all(args.data, Profile.read())
    train, measured = data.select(comments, "train"), data.select(comments, args.part)
    model = fit(train, kote_neutral=args.keep_kote_neutral, balanced=args.balanced)
    for kind in sorted({c.source for c in measured}):
        chosen = [c for c in measured if c.source == kind]
        log_probs = np.log(model.predict_proba([c.text for c in chosen]))
        print(kind, len(chosen), metrics(log_probs.tolist(), [c.label for c in chosen]))


if __name__ == "__main__":
    main()
