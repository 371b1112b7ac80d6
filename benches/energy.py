"""Energy by RAPL, the counters of Intel's and AMD's processors, where the kernel lets you read them (root, mostly).

Linux: Documentation/power/powercap/powercap.rst.
"""

from __future__ import annotations

from pathlib import Path


class Meter:
    """The processor packages' counters of microjoules."""

    def __init__(self, root: Path = Path("/sys/class/powercap")) -> None:
        # Zones within a package, such as intel-rapl:0:0, are counted in it.
        zones = [zone for zone in sorted(root.glob("intel-rapl:*")) if zone.name.count(":") == 1]
        self.zones = [zone for zone in zones if _number(zone / "energy_uj") is not None]
        self.start()

    def start(self) -> None:
        """Counts from now on."""
        self.before = [_number(zone / "energy_uj") for zone in self.zones]

    def joules(self) -> float | None:
        """Of all packages since the start; `None` where nothing can be read."""
        total = 0
        for zone, before in zip(self.zones, self.before):
            spent = (_number(zone / "energy_uj") or 0) - (before or 0)
            # A counter begins anew after its range.
            total += spent if spent >= 0 else spent + (_number(zone / "max_energy_range_uj") or 0)
        return total / 1e6 if self.zones else None


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
