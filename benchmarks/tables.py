"""The tables of docs/performance.md in one run, those of the methods for four of them: `make bench`, or

    python benchmarks/tables.py [--only PART...] [--clips FOLDER]

Each part is a benchmark of its own, which takes more and larger inputs when it is called by itself. What preparation costs
needs a folder of video clips with sound. At the end are the minutes that each part has taken.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
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
    "A compiled step": ["training.py", "compile"],
    "Several processes": ["processes.py", "--rounds", "3", "--steps", "2"],
    "The loader against a step": ["prepare.py", "loader"],
    "A monitor on an epoch": ["monitor_overhead.py", "--epochs", "3"],
    "A million rows": ["scale.py"],
    "Decision layer and diagnosis": ["decision_speed.py"],
}
WITH_CLIPS = {
    "Preparation": ["prepare.py", "speed", "CLIPS", "--clips", "60"],
    "Pictures kept as files": ["prepare.py", "codecs", "CLIPS", "--clips", "6"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[""], help="parts of the titles")
    parser.add_argument("--clips", help="a folder of video clips with sound")
    given = parser.parse_args()
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    failed, minutes = [], {}
    for title, command in (PARTS | (WITH_CLIPS if given.clips else {})).items():
        if any(part.lower() in title.lower() for part in given.only):
            print(f"\n## {title}\n", flush=True)
            began = time.monotonic()
            script, *more = [given.clips if word == "CLIPS" else word for word in command]
            if subprocess.run([sys.executable, str(HERE / script), *more], env=environment).returncode:
                failed.append(title)
            minutes[title] = (time.monotonic() - began) / 60
    print("\n| part | minutes |\n|---|---|")
    for title, took in (minutes | {"all": sum(minutes.values())}).items():
        print(f"| {title} | {took:.1f} |")
    if failed:
        sys.exit(f"These parts failed: {', '.join(failed)}.")


if __name__ == "__main__":
    main()
