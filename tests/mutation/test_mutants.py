"""Small faults in the mathematics are noticed by the tests; see ``mutants.py``."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from counting import count

HERE = Path(__file__).parent


@pytest.mark.long
def test_every_mutant_of_the_sample_is_killed_or_named_as_equivalent():
    done = subprocess.run([sys.executable, HERE / "mutants.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"^(\d+) mutants: (\d+) killed, (\d+) equivalent, 0 survived$", done.stdout, re.MULTILINE)
    assert found
    count("mutants", int(found[2]))
