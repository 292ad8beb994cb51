"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass

from longvt_plugins.errors import LongVTError


@dataclass(frozen=True)
class Finding:
    """One fault, of a recipe or of a machine."""

    name: str
    """Stable, for scripts: ``unknown-key``, ``batch-size``, ..."""
    what: str
    """What was met: a key and its value as the recipe has them, a package and its version, ..."""
    why: str
    """Why it matters."""
    remedy: str

    @classmethod
    def of(cls, name: str, error: LongVTError) -> Finding:
        return cls(name, error.value, error.rule, error.remedy)

    def __str__(self) -> str:
        return f"{self.name}: {self.what}: {self.why}. {self.remedy}".replace("\n", " ")
