"""The few kinds of failure a user can cause or meet, each with its exit code and a hint of what to do."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable

# packages that packaging/laptop.txt leaves out: media and training
NOT_IN_THE_SMALL_INSTALLATION = frozenset({"av", "soxr", "torch", "torchaudio", "torchvision"})


class MmbalError(Exception):
    """One sentence of what is wrong and one of what to do; the command line turns it into an exit code."""

    exit_code = 1
    label = "Error"  # what stands before the message

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(MmbalError):
    """The command or call itself is wrong: an unknown name, a path that is not there, an option that can't apply."""

    exit_code = 2


class GateFailed(MmbalError):
    """A gate that the user set for the diagnosis failed (``diagnose --fail-if``, ``check``)."""

    exit_code = 3
    label = "Failed"


class GateUndecided(MmbalError):
    """No gate failed, but the interval of a figure spans its limit."""

    exit_code = 6
    label = "Undecided"


class DataError(MmbalError):
    """The data are broken, incomplete or inconsistent."""

    exit_code = 4


class ConfigError(MmbalError):
    """A configuration or a checkpoint is invalid, or does not fit what it is used with."""

    exit_code = 5


class Interrupted(MmbalError):
    """The user stopped the work; what was done is saved."""

    exit_code = 130
    label = "Stopped"


def of_system(error: OSError) -> DataError:
    """A failure of the disk or the system (full, read-only, no handles left) in one sentence, with what to do."""
    where = f"{error.filename}: " if error.filename else ""
    hint = {
        errno.ENOSPC: "Free some space, then give the same command again.",
        errno.EDQUOT: "Free some space, then give the same command again.",
        errno.EFBIG: "Files may not become so large here: see `ulimit -f`.",
        errno.EROFS: "Choose a folder that can be written: --out.",
        errno.EACCES: "Choose a folder that can be written: --out.",
        errno.EPERM: "Choose a folder that can be written: --out.",
        errno.EMFILE: "Too few files may be open at once: see `ulimit -n`.",
    }.get(error.errno or 0, "")
    return DataError(f"{where}{error.strerror or error}.", hint)


def of_import(error: ModuleNotFoundError) -> MmbalError | None:
    """What to install, where ``error`` is the lack of a package that the small installation leaves out; else None."""
    package = (error.name or "").split(".")[0]
    if package not in NOT_IN_THE_SMALL_INSTALLATION:
        return None
    hint = "`pip install mmbal` installs all that mmbal needs; the README says how to have torch for the CPU alone."
    return UsageError(f"This command needs the package '{package}', which is not installed.", hint)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint that offers the names nearest to ``word``, or all of them where none is near."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=3, cutoff=0.5)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return f"Known: {', '.join(names)}." if names else ""
