"""`ko-sentiment serve` on a free port, in a process of its own, for the scripts in the folders beside this file."""

import json
import subprocess
import threading
from pathlib import Path


class OwnServer:
    """A running server: its address, and the lines that it logged before it listened."""

    def __init__(self, binary: Path, model: Path, *flags: object) -> None:
        command = [binary, "serve", "--model", model, "--listen", "127.0.0.1:0", "--log-format", "json", *flags]
        self.process = subprocess.Popen([str(part) for part in command], stderr=subprocess.PIPE, text=True)
        self.log: list[str] = []
        for line in self.process.stderr:
            self.log.append(line)
            if '"address"' in line:
                self.address = json.loads(line)["address"]
                # A full pipe would stop it.
                threading.Thread(target=self.process.stderr.read, daemon=True).start()
                return
        raise RuntimeError("ko-sentiment serve does not start:\n" + "".join(self.log))

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()

    def __enter__(self) -> "OwnServer":
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
