"""How good an adapter is: `python evaluate.py --base BASE --adapter FOLDER --data DATA`.

Prints scikit-learn's report on the held-out part, once as the model answers and once with
class biases chosen on the validation part (never on the held-out one), and some reasons as
the model generates them. `--out FILE.json` keeps the figures.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import classification_report, confusion_matrix, f1_score

import data
import model as models
import sources
from encode import Encoder
from prompt_profile import DEFAULT_PROFILE, Profile
from score import metrics, score

GRID = np.linspace(-2, 2, 41)


def choose_biases(log_probs: np.ndarray, labels: list[int]) -> tuple[float, ...]:
    """Biases (positive, neutral, negative) on the log-probabilities with the best macro F1.

    Ties and near-ties are many on a few hundred comments, so the mean of all biases within
    0.005 of the best is taken: the middle of the plateau, not its luckiest edge.
    """
    found = []
    for neutral in GRID:
        for negative in GRID[10:31]:
            biases = np.array([0.0, neutral, negative])
            predicted = (log_probs + biases).argmax(axis=1)
            found.append((f1_score(labels, predicted, average="macro"), neutral, negative))
    best = max(found)[0]
    near = np.array([biases for score, *biases in found if score >= best - 0.005])
    return (0.0, *np.round(near.mean(axis=0), 2).tolist())


@torch.no_grad()
def generate(model, encoder: Encoder, comment: data.Comment, label: int, limit: int = 96) -> str:
    """The model's greedy reason after the verdict `label`, as the service asks for it."""
    ids = encoder.static + encoder.prompt(comment) + encoder.labels[label] + encoder.suffix
    ids = torch.tensor([ids], device=model.device)
    with models.autocast(model.device.type):
        output = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=limit,
            do_sample=False,
            eos_token_id=encoder.end[0],
        )
    return encoder.tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True).strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--base", required=True, help="hub id, folder or .gguf file")
    parser.add_argument("--adapter", type=Path, help="PEFT folder (default: the bare base)")
    parser.add_argument("--data", required=True, action="append", help="KIND=PATH, see sources.py")
    parser.add_argument("--profile", type=Path, default=DEFAULT_PROFILE)
    parser.add_argument("--reasons", type=int, default=10, help="how many to generate")
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    args = parser.parse_args()

    profile = Profile.read(args.profile)
    base = models.resolve_base(args.base)
    encoder = Encoder(models.load_tokenizer(base), profile)
    model = models.load_base(base).eval()
    if args.adapter:
        model = models.load_adapter(model, args.adapter)
    comments = sources.read_all(args.data, profile)
    heldout, validation = data.select(comments, "heldout"), data.select(comments, "validation")

    labels = [c.label for c in heldout]
    held = np.array(score(model, encoder, heldout))
    valid = np.array(score(model, encoder, validation))
    biases = choose_biases(valid, [c.label for c in validation])
    results = {"biases": dict(zip(("positive", "neutral", "negative"), biases))}
    for name, scores in (("raw", held), ("biased", held + np.array(biases))):
        predicted = scores.argmax(axis=1)
        names = {"labels": [0, 1, 2], "target_names": profile.label_words, "zero_division": 0}
        print(f"\nHeld-out part, {name}, biases {biases if name == 'biased' else (0, 0, 0)}")
        print(classification_report(labels, predicted, digits=3, **names))
        print(confusion_matrix(labels, predicted), flush=True)
        report = classification_report(labels, predicted, output_dict=True, **names)
        results[name] = metrics(scores, labels) | {"report": report}
    results["validation"] = metrics(valid, [c.label for c in validation])
    results["reasons"] = []
    for comment, scores in list(zip(heldout, held))[: args.reasons]:
        label = int(scores.argmax())
        reason = generate(model, encoder, comment, label)
        print(f"\n{comment.text}\n→ {profile.label_words[label]}: {reason}", flush=True)
        results["reasons"].append({"comment": comment.text, "label": label, "reason": reason})
    if args.out:
        args.out.write_text(json.dumps(results, ensure_ascii=False, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
