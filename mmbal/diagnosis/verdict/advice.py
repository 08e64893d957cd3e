"""What to type next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmbal.diagnosis.claims import learned, losers, shown, shown_in_nats
from mmbal.diagnosis.schema import Advice
from mmbal.diagnosis.words import size

if TYPE_CHECKING:
    from mmbal.diagnosis.document import Diagnosis

PEOPLE = "human raters"  # the producer of predictions that no encoder made


def advice_of(d: Diagnosis, source: str) -> list[Advice]:
    """What to type next; ``source`` is what was diagnosed."""
    if d.accuracy is None:
        return []
    found = []
    rule, meta = d.data.meta.get("rule"), d.data.meta
    if rule is None and "heads" not in meta:
        found += _calibrate(d, source)
    elif rule is not None and rule != meta.get("fusion"):
        found.append(
            Advice(command=f"mmbal calibrate {source} --remove", purpose="returns to the model's own decision")
        )
    if d.representation_gap is not None:
        if shown(d.representation_gap.accuracy):
            found.append(
                Advice(command="mmbal methods list", purpose="lists the methods that balance encoders in training")
            )
    elif learned(d) and len(d.data.modalities) > 1:
        found += _reference(d, source)
    if not learned(d) and "run" in meta and meta.get("method") != "imported":
        found.append(Advice(command=f"mmbal train --resume {source} --epochs N", purpose="trains further, to N epochs"))
    return found


def _calibrate(d: Diagnosis, source: str) -> list[Advice]:
    gap, command = d.decision_gap, f"mmbal calibrate {source}"
    if gap is not None and shown(gap.accuracy):
        found = [Advice(command=command, purpose=f"gains about {size(gap.accuracy)}, in seconds")]
    elif learned(d) and gap is not None and shown_in_nats(gap):
        found = [Advice(command=command, purpose="corrects the confidences, in seconds")]
    else:
        return []
    if losers(d):
        purpose = "the best rule by which no class loses more than 5 pp"
        found.append(Advice(command=f"{command} --protect 5", purpose=purpose))
    return found


def _reference(d: Diagnosis, source: str) -> list[Advice]:
    """How to measure the encoders: of a run, and of what another framework made."""
    meta = d.data.meta
    if meta.get("method") == "unimodal" or meta.get("producer") == PEOPLE:
        return []
    if "run" in meta:
        return [Advice(command="mmbal pretrain", purpose="trains each encoder alone; then diagnose again")]
    what = "FEATURES" if "heads" in meta else "PREDICTIONS"
    purpose = "shows what the encoders lose: give those of encoders trained separately, with the same ids"
    return [Advice(command=f"mmbal diagnose {source} --reference {what}.npz", purpose=purpose)]
