"""The tables of docs/performance.md in one run, those of the methods for four of them: `make bench`, or

    python benchmarks/tables.py [--only PART...] [--clips FOLDER]

About 15 minutes on two free cores. Each part is a benchmark of its own, which takes more and larger inputs when it is called
by itself. The speed of preparation needs a folder of video clips with sound.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PARTS: dict[str, list[str]] = {  # title -> script and arguments
    "An epoch of training": ["training.py", "epoch", "--batch", "16", "--rounds", "2"],
    "What each lever gains": ["training.py", "levers", "--rounds", "2"],
    "Memory taken anew by a step": ["training.py", "faults"],
    "Frozen encoders": ["training.py", "frozen", "--batch", "16"],
    "A step of methods": [
        "method_overhead.py",
        "ogm_ge",
        "modality_dropout",
        "edm_alternating",
        "mmpareto",
        "--rounds",
        "3",
    ],
    "The loader against a step": ["prepare.py", "loader"],
    "Decision layer and diagnosis": ["decision_speed.py"],
}
WITH_CLIPS = {"Preparation": ["prepare.py", "speed", "CLIPS"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[""], help="parts of the titles")
    parser.add_argument("--clips", help="a folder of video clips with sound")
    given = parser.parse_args()
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    failed = []
    for title, command in (PARTS | (WITH_CLIPS if given.clips else {})).items():
        if any(part.lower() in title.lower() for part in given.only):
            print(f"\n## {title}\n", flush=True)
            script, *more = [given.clips if word == "CLIPS" else word for word in command]
            if subprocess.run([sys.executable, str(HERE / script), *more], env=environment).returncode:
                failed.append(title)
    if failed:
        sys.exit(f"These parts failed: {', '.join(failed)}.")


if __name__ == "__main__":
    main()
