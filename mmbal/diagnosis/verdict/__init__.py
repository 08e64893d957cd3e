"""The verdict in plain words, one file for each kind of sentence.

It claims what the tests of :mod:`mmbal.diagnosis.claims` show and nothing else; docs/diagnosis.md lists test and margin.
Every figure that decides a sentence, and every figure that it prints, is the same for all seeds of the bootstrap.
"""

from __future__ import annotations

from mmbal.diagnosis.claims import learned
from mmbal.diagnosis.document import SECTIONS, Diagnosis
from mmbal.diagnosis.verdict import balance, baselines, chance, following, losses
from mmbal.diagnosis.verdict.advice import advice_of as advice_of
from mmbal.diagnosis.verdict.baselines import claims_of as claims_of
from mmbal.diagnosis.verdict.baselines import settled
from mmbal.maths.bootstrap import MIN_SAMPLES


def verdict_of(d: Diagnosis) -> list[str]:
    """A few sentences: who decides, whether the evidence supports that, for which classes, and what is lost where.

    For a model that is not better than chance the verdict says so first, and says nothing about its modalities. What
    a section itself has to say comes last.
    """
    if d.data.samples < MIN_SAMPLES:
        return [chance.too_few(d)]
    said = [_stored_rule(d), chance.at_chance(d)]
    if d.accuracy is None:
        said += [chance.NO_LABELS, following.who(d), balance.claimed(d)]
    elif learned(d):
        said += [
            chance.below_majority(d),
            settled(d, "who", following.who(d)),
            following.people(d),
            settled(d, "fusion", following.fusion(d)),
            settled(d, "balance", balance.overall(d)),
            settled(d, "classes", balance.by_class(d)),
            losses.decision_layer(d),
            losses.encoders(d),
            baselines.absent(d),
        ]
    else:
        lost = [following.fusion(d), losses.at_the_decision_layer(d), losses.in_the_encoders(d)]
        said += lost if any(lost) else ["There is nothing to diagnose yet."]
        said += [chance.samples_to_find(d), chance.order_of_columns(d)]
    said += [chance.few(d), *(sentence for section in SECTIONS for sentence in section.sentences(d))]
    return [sentence for sentence in said if sentence]


def _stored_rule(d: Diagnosis) -> str:
    rule = d.data.meta.get("rule")
    return "" if rule is None else f"The fitted rule '{rule}' decides here; all figures are of its decisions."
