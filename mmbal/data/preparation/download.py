"""Downloads of many files: in parallel, resumable, verified by hash, each complete or not there."""

from __future__ import annotations

import errno
import http.client
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urljoin

from mmbal.data.preparation.findings import Finding, Progress
from mmbal.errors import Interrupted, UsageError
from mmbal.files import locked, sha256

PARALLEL = 8
ATTEMPTS = 6
BLOCK = 1 << 16
TIMEOUT = 30.0  # seconds without a byte
LONGEST_WAIT = 60.0  # seconds between two attempts
OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EMFILE, errno.EIO)
RETRIED = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Item:
    """A file to fetch: its path below root and base URL, its size, its SHA-256 as hex."""

    path: str
    bytes: int
    sha256: str


class _Failed(Exception):
    """An attempt failed; ``wait``: the seconds that the server asks for; ``final``: no other attempt can succeed."""

    def __init__(self, reason: str, *, wait: float | None = None, final: bool = False) -> None:
        super().__init__(reason)
        self.wait = wait
        self.final = final


def download(
    items: Sequence[Item],
    root: Path,
    url: str,
    *,
    progress: Progress | None = None,
    pause: float = 1.0,
) -> list[Finding]:
    """Fetch what is not yet below ``root``; a finding for each file that could not be fetched.

    A file in transfer is ``NAME.part`` and goes on from its length; it gets its name when its SHA-256 is right.
    The wait after an attempt doubles from ``pause`` seconds. Raises UsageError for a URL that is not http(s), and where
    another process downloads into ``root``; OSError where the disk takes no more.
    """
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"'{url}' is not an http(s) address.")
    with locked(root):
        return _download(items, root, url if url.endswith("/") else url + "/", progress, pause)


def _download(items: Sequence[Item], root: Path, base: str, progress: Progress | None, pause: float) -> list[Finding]:
    total = sum(item.bytes for item in items)
    findings = []
    pool, stopped = ThreadPoolExecutor(PARALLEL), threading.Event()
    try:
        jobs = {pool.submit(_fetch, item, root, base, pause, stopped): item for item in items}
        for job in as_completed(jobs):
            item = jobs[job]
            if (reason := job.result()) is not None:
                findings.append(Finding("error", "download", item.path, reason))
            if progress:
                progress(item.bytes, total, "bytes")
    except KeyboardInterrupt:
        raise Interrupted("Download interrupted; the same command goes on.") from None
    finally:
        stopped.set()
        pool.shutdown(wait=True, cancel_futures=True)
    return sorted(findings, key=lambda f: f.where)


def _fetch(item: Item, root: Path, base: str, pause: float, stopped: threading.Event) -> str | None:
    """Fetch one file; the reason why it could not be fetched, or None."""
    target = root / item.path
    if target.is_file() and target.stat().st_size == item.bytes and sha256(target) == item.sha256:
        return None
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    reason = ""
    for attempt in range(ATTEMPTS):
        try:
            _transfer(urljoin(base, quote(item.path)), part, item, stopped)
        except _Failed as error:
            reason = str(error)
            wait = min(error.wait if error.wait is not None else pause * 2**attempt, LONGEST_WAIT)
            if error.final or attempt + 1 == ATTEMPTS or stopped.wait(wait):
                break
            continue
        os.replace(part, target)
        return None
    return reason


def _transfer(address: str, part: Path, item: Item, stopped: threading.Event) -> None:
    """Bring ``part`` to its full length and prove its hash; raises _Failed, as soon as ``stopped`` is set as well."""
    have = part.stat().st_size if part.exists() else 0
    if have > item.bytes:
        part.unlink()
        have = 0
    if have < item.bytes:
        request = urllib.request.Request(address, headers={"Range": f"bytes={have}-"} if have else {})
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                # A server that ignores the range sends the whole again.
                mode = "ab" if have and answer.status == 206 else "wb"
                with part.open(mode) as stream:
                    while not stopped.is_set() and (block := answer.read(BLOCK)):
                        stream.write(block)
        except urllib.error.HTTPError as error:
            if error.code == 416:
                part.unlink(missing_ok=True)
            final = error.code not in RETRIED and error.code != 416
            raise _Failed(f"HTTP {error.code} {error.reason}", wait=_asked_wait(error), final=final) from None
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            if getattr(error, "errno", None) in OF_THE_DISK:
                raise
            raise _Failed(
                f"connection failed ({getattr(error, 'reason', None) or error or type(error).__name__})"
            ) from None
    size = part.stat().st_size
    if size < item.bytes:
        raise _Failed(f"connection closed after {size} of {item.bytes} bytes")
    if size > item.bytes or sha256(part) != item.sha256:
        part.unlink()
        raise _Failed("wrong content: the SHA-256 is not the published one")


def _asked_wait(error: urllib.error.HTTPError) -> float | None:
    asked = error.headers.get("Retry-After", "") if error.headers else ""
    return float(asked) if asked.isdigit() else None
