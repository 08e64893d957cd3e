"""The code blocks of a page, and how they are run: as a reader would run them, one after the other, in one folder.

Python blocks of a page share their names. A block of commands is run line by line. An HTML comment right before a block,
which no reader sees, says what is special about it:

    <!-- not run: REASON -->    the block is not executed
    <!-- file: NAME -->         the block is the content of a file that later blocks use
    <!-- exit: 3 -->            its last command ends with this code
    <!-- printed -->            the block is what the one before prints; `...` stands for anything
"""

from __future__ import annotations

import contextlib
import glob
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terminal import mmbal

ROOT = Path(__file__).parents[2]
MARKS = ("not run", "file", "exit", "printed")
FENCE = re.compile(r"^```(?P<kind>.*)\n(?P<code>(?:.*\n)*?)^```$", re.MULTILINE)
MARK = re.compile(r"<!-- (?P<name>[a-z ]+?)(?:: (?P<value>[^>]*?))? -->\n\Z")


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    kind: str
    code: str
    mark: str | None = None
    value: str = ""

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in their order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for fence in FENCE.finditer(text):
        mark = MARK.search(text[: fence.start()])
        said = (mark["name"], mark["value"] or "") if mark and mark["name"] in MARKS else (None, "")
        line = text[: fence.start()].count("\n") + 1
        name = str(page.relative_to(ROOT)) if page.is_relative_to(ROOT) else page.name
        found.append(Block(name, line, fence["kind"], fence["code"], *said))
    return found


def run(page: Path, yours: dict[str, Any]) -> list[Block]:
    """Run a page in the folder at hand with the reader's own names ``yours``; returns the blocks that ran."""
    ran, said = [], ""
    for block in blocks(page):
        if block.mark == "not run":
            said = ""
        elif block.mark == "file":
            Path(block.value).parent.mkdir(parents=True, exist_ok=True)
            Path(block.value).write_text(block.code, encoding="utf-8")
        elif block.mark == "printed":
            missing = unsaid(block.code, said)
            assert missing is None, f"{block.place}: the page says {missing!r}, but this was printed:\n{said}"
        elif block.kind in ("python", "bash"):
            said = _python(block, yours) if block.kind == "python" else _commands(block)
            ran.append(block)
    return ran


def unsaid(expected: str, said: str) -> str | None:
    """The first line of ``expected`` that ``said`` does not have in its place; spaces do not count."""
    rest = " ".join(said.split())
    for line in filter(str.strip, expected.splitlines()):
        pattern = r".*?".join(map(re.escape, " ".join(line.split()).split("...")))
        found = re.search(pattern, rest)
        if not found:
            return line
        rest = rest[found.end() :]
    return None


def _python(block: Block, yours: dict[str, Any]) -> str:
    said = io.StringIO()
    code = compile("\n" * block.line + block.code, block.page, "exec")  # a traceback names the line of the page
    with contextlib.redirect_stdout(said):
        exec(code, yours)
    return said.getvalue()


def _commands(block: Block) -> str:
    said = []
    lines = list(commands(block.code))
    for number, words in enumerate(lines, start=1):
        wanted = int(block.value) if block.mark == "exit" and number == len(lines) else 0
        code, output = _command(words)
        assert code == wanted, f"{block.place}: {shlex.join(words)} ended with {code}:\n{output[-3000:]}"
        said.append(output)
    return "".join(said)


def commands(code: str) -> Iterator[list[str]]:
    """The words of each command; a quotation or a backslash may lead over several lines."""
    held = ""
    for line in code.splitlines(keepends=True):
        held += line
        if held.endswith("\\\n"):
            held = held[:-2] + " "
            continue
        try:
            words = shlex.split(held, comments=True)
        except ValueError:  # a quotation is still open
            continue
        held = ""
        if words:
            yield words
    assert not held, f"a quotation is not closed: {held}"


def _command(words: list[str]) -> tuple[int, str]:
    program, *arguments = [
        name for word in words for name in (sorted(glob.glob(word)) if "*" in word else []) or [word]
    ]
    if program == "mmbal":
        result = mmbal(*arguments)
        return result.exit_code, result.output
    assert program in ("python", "sh"), f"'{program}' is no program that the docs may call"
    environment: Mapping[str, str] = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable if program == "python" else program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return done.returncode, done.stdout + done.stderr
