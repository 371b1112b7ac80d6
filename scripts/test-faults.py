#!/usr/bin/env python3
"""Brings faults about, one class after the other, against real servers, and says of each whether what must hold held.

    scripts/test-faults.py [--binary FILE] [--model FILE] [--short] [--only NAME] [--list]

Needs grpcio in `.python` (make .python/.stamp) and openssl. A fault that this machine cannot bring about is skipped and
says why. Fails if one does not hold.
"""

import argparse
import resource
import sys
import time

from harness import BINARY, MODEL, ROOT

sys.path.insert(0, str(ROOT / "tests"))

from faults import FAULTS, Ground, Skip  # noqa: E402


def row(*cells: str) -> None:
    print("| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, WIDTHS)) + " |", flush=True)


WIDTHS = [max(len(fault.name) for fault in FAULTS), max(len(fault.must) for fault in FAULTS), 6]


def outcome(fault, ground) -> tuple[str, str]:
    """`ok`, `skip` or `FAIL`, and the details."""
    try:
        return "ok", fault.run(ground)
    except Skip as reason:
        return "skip", str(reason)
    except Exception as error:  # Whatever went wrong, the next class is tried.
        text = " ".join((str(error) or type(error).__name__).split())
        return "FAIL", text if isinstance(error, AssertionError) else f"{type(error).__name__}: {text}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=BINARY)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--short", action="store_true", help="smaller floods, shorter waits")
    parser.add_argument("--only", metavar="NAME", help="classes whose name contains this")
    parser.add_argument("--list", action="store_true", help="list the classes")
    args = parser.parse_args()
    chosen = [fault for fault in FAULTS if not args.only or args.only.lower() in fault.name.lower()]
    if not chosen:
        sys.exit(f"error: no class is called {args.only!r}; --list lists them")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    row("fault", "what must hold", "result")
    row(*("-" * width for width in WIDTHS))
    ground, failed = Ground(args.binary, args.model, args.short), 0
    try:
        for fault in chosen:
            begun = time.monotonic()
            result, details = ("", "") if args.list else outcome(fault, ground)
            failed += result == "FAIL"
            row(fault.name, fault.must, result if not result else f"{result}: {details} [{time.monotonic() - begun:.0f} s]")
    finally:
        ground.close()
    if not args.list:
        print(f"{len(chosen)} classes, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
