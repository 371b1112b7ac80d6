"""Averages adapters of one training run, weight by weight.

    python average.py --out FOLDER RUN/adapter-00200 RUN/adapter-00400 ...

Checkpoints along one path lie around a common valley; their mean is steadier than any of
them. A and B are averaged apart, which is meaningful only for checkpoints that grew from one
another (adapters trained independently can't be averaged so).
"""

import argparse
import os
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def average(adapters: list[Path], out: Path) -> None:
    """Writes the mean of `adapters`, with the first one's configuration, to `out`."""
    tensors = [load_file(folder / WEIGHTS) for folder in adapters]
    if any(other.keys() != tensors[0].keys() for other in tensors):
        raise SystemExit("the adapters have different tensors: they are not of one run")
    mean = {name: sum(each[name] for each in tensors) / len(tensors) for name in tensors[0]}
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    save_file(mean, part / WEIGHTS, metadata={"format": "pt"})
    shutil.copy(adapters[0] / CONFIG, part)
    shutil.rmtree(out, ignore_errors=True)
    os.replace(part, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("adapters", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    average(args.adapters, args.out)


if __name__ == "__main__":
    main()
