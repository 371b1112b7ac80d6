"""Classes of faults, each with what must hold of a real server while it lasts and after it."""

from . import access, clients, engine, files, limits, stops, streams, wire  # noqa: F401
from .ground import FAULTS, Ground, Skip

__all__ = ["FAULTS", "Ground", "Skip"]
