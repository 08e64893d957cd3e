"""Real data shipped with mmbal; NOTICE names their sources and licences."""

from pathlib import Path

FOLDER = Path(__file__).parent


def path(name: str) -> Path:
    """A shipped file."""
    return FOLDER / name
