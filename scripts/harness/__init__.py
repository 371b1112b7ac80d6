"""What the scripts share that hold a real server against something: the server, its callers, frames, certificates."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BINARY = ROOT / "target/release/ko-sentiment"
MODEL = ROOT / "models/ko-gemma3-270m-sentiment.gguf"
MIB = 1 << 20
