"""The verdict in plain words. It claims what the tests show and nothing else; docs/diagnosis.md lists test and margin.

Every figure that a sentence is decided by, and every figure that it prints, is the same for all seeds of the bootstrap.
"""

from __future__ import annotations

from math import ceil, floor, log10

from mmbal.diagnosis.document import Diagnosis
from mmbal.diagnosis.schema import Advice, Gap
from mmbal.diagnosis.sections.decision_gap import ClassGap
from mmbal.diagnosis.sections.preference import Preference
from mmbal.maths.bootstrap import MIN_SAMPLES, Estimate

MOST_CLASSES = 4  # named in a sentence; more are counted
MARGIN = 0.2  # a modality decides where it is shown to be followed this much more often than any other
LEAN = 0.05  # it leans towards one that is shown to be followed more often, by this much or more
MAJORITY = 0.5  # below this share no modality is followed in most samples
USEFUL = 0.1  # an accuracy this far above chance should be found if it is there
POWER = 2.04  # ((1.96 + 0.84) / 1.96)^2: samples that find a difference with 80 % power, over those that just reach it
SLIGHT = 0.05  # nats a sample: below this the confidences are called slightly wrong
FEW_FITTED = 100  # with fewer samples a rule may miss a gain because there are too few
SAME = 1e-6  # nats: a rule whose gain is closer to zero than this changes nothing
PEOPLE = "human raters"  # the producer of predictions that no encoder made


def verdict_of(d: Diagnosis) -> list[str]:
    """A few sentences: who decides, whether the evidence supports that, for which classes, and what is lost where.

    For a model that is not better than chance the verdict says so first, and says nothing about its modalities.
    """
    if d.data.samples < MIN_SAMPLES:
        return [_too_few(d)]
    said = [_stored_rule(d), _chance(d)]
    if learned(d):
        said += [
            _majority(d),
            _settled(d, "who", _who(d)),
            _people(d),
            _settled(d, "fusion", _fusion(d)),
            _settled(d, "balance", _balance(d)),
            _settled(d, "classes", _classes(d)),
            _decision_layer(d),
            _encoders(d),
            _absent(d),
        ]
    else:
        losses = [_fusion(d), _lost_accuracy(d), _lost_in_encoders(d)]
        said += losses if any(losses) else ["There is nothing to diagnose yet."]
        said += [_samples_to_find(d), _order_of_columns(d)]
    return [s for s in (*said, _width(d), "" if d.tails is None else d.tails.says) if s]


def claims_of(d: Diagnosis) -> dict[str, str]:
    """What the sentences claim that depend on what stands in for an absent modality, without their figures."""
    worst = _worst(d)
    return {
        "who": _who(d).partition(":")[0],
        "fusion": f"it is worse than {d.accuracy.best}" if _fusion(d) else "no loss is shown",
        "balance": f"{worst} contributes {d.balance[worst].flag}" if worst else "no imbalance is shown",
        "classes": _classes(d).rstrip(".") or "no class is affected",
    }


DEPENDS = {
    "who": "Which modality the model follows",
    "fusion": "Whether the fused decision is worse than one modality alone",
    "balance": "Whether a modality contributes too little",
    "classes": "For which classes a modality contributes too little",
}
STANDS_IN = {
    "zero": "zeros",
    "mean": "its mean",
    "missing": "missing values",
    "shuffled": "that of other samples",
    "conditional": "that of the nearest samples",
    "diffusion": "features that a diffusion model draws",
    "zero features": "zero features",
    "mask": "nothing: the model's own mask hides it",
}


def _settled(d: Diagnosis, kind: str, sentence: str) -> str:
    """The sentence where it claims the same under all baselines; else that it depends on them, and how."""
    if all(other.claims[kind] == claims_of(d)[kind] for other in d.baselines.values()):
        return sentence
    own = str(d.data.meta.get("baseline"))
    claims = {own: claims_of(d)[kind], **{name: other.claims[kind] for name, other in d.baselines.items()}}
    each = "; ".join(f"'{name}': {claim[:1].lower()}{claim[1:]}" for name, claim in claims.items())
    return f"{DEPENDS[kind]} depends on what stands in for an absent modality ({each})."


def _absent(d: Diagnosis) -> str:
    """What stands in for an absent modality, where predictions say so, and whether other baselines agree."""
    name = d.data.meta.get("baseline")
    if name is None:
        return ""
    told = f"An absent modality is replaced by {STANDS_IN.get(name, f'what the baseline {name!r} gives')}"
    if d.baselines and all(other.claims == claims_of(d) for other in d.baselines.values()):
        return f"{told}; the verdict is the same with {_and([repr(other) for other in d.baselines])}."
    return f"{told}."


def learned(d: Diagnosis) -> bool:
    """Whether the decision is shown to be better than chance (true for a document without that figure)."""
    return d.accuracy.above_chance is None or d.accuracy.above_chance.sign > 0


def advice_of(d: Diagnosis, source: str) -> list[Advice]:
    """What to type next; ``source`` is what was diagnosed."""
    found = []
    rule, meta = d.data.meta.get("rule"), d.data.meta
    if rule is None and "heads" not in meta:
        found += _calibrate(d, source)
    elif rule is not None and rule != meta.get("fusion"):
        found.append(
            Advice(command=f"mmbal calibrate {source} --remove", purpose="returns to the model's own decision")
        )
    if d.representation_gap is not None:
        if _shown(d.representation_gap.accuracy, 100, 1):
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
    if gap is not None and _shown(gap.accuracy, 100, 1):
        found = [Advice(command=command, purpose=f"gains about {_pp(gap.accuracy)}, in seconds")]
    elif learned(d) and gap is not None and gap.nats is not None and _shown(gap.nats, 1, 2):
        found = [Advice(command=command, purpose="corrects the confidences, in seconds")]
    else:
        return []
    if _losers(d):
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


def interval(estimate: Estimate, scale: float = 1.0, digits: int = 1) -> str:
    """``[1.8, 4.4]``, or nothing where there is no interval."""
    if estimate.low is None or estimate.high is None:
        return ""
    low, high = (round(scale * end, digits) + 0.0 for end in (estimate.low, estimate.high))  # no -0.0
    return f"[{low:.{digits}f}, {high:.{digits}f}]"


def _shown(estimate: Estimate, scale: float, digits: int) -> bool:
    """Whether the whole interval, as it is printed, lies above zero."""
    return estimate.low is not None and round(scale * estimate.low, digits) > 0


def _pp(estimate: Estimate) -> str:
    return f"{100 * abs(estimate.value):.1f} pp"


def _loss(estimate: Estimate) -> str:
    return f"{_pp(estimate)} {interval(estimate, 100)}".rstrip()


def _percent(estimate: Estimate) -> str:
    return f"{100 * estimate.value:.0f} %"


def _name(modality: str) -> str:
    return modality[:1].upper() + modality[1:]


def _listed(names: list[str]) -> str:
    if len(names) > MOST_CLASSES:
        return f"{', '.join(names[:MOST_CLASSES])} and {len(names) - MOST_CLASSES} more"
    return _and(names)


def _and(items: list[str]) -> str:
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def _rounded_up(n: float) -> int:
    """A number of samples, rounded up to two figures."""
    unit = 10 ** max(floor(log10(max(n, 1))) - 1, 0)
    return ceil(n / unit) * unit


def _too_few(d: Diagnosis) -> str:
    needed = d.accuracy.samples_needed
    more = f" About {_rounded_up(needed)} samples would show the accuracy to within 10 pp." if needed else ""
    count = f"{d.data.samples} sample{'' if d.data.samples == 1 else 's'}"
    return f"There {'is' if d.data.samples == 1 else 'are'} only {count}: too few for a verdict.{more}"


def _stored_rule(d: Diagnosis) -> str:
    rule = d.data.meta.get("rule")
    return "" if rule is None else f"The fitted rule '{rule}' decides here; all figures are of its decisions."


def _classes_seen(d: Diagnosis) -> int:
    return sum(1 for n in d.data.classes.values() if n)


def _chance(d: Diagnosis) -> str:
    above = d.accuracy.above_chance
    if above is None or learned(d):
        return ""
    if _classes_seen(d) < 2:
        return "All samples are of one class, so nothing shows whether the model is better than chance."
    right, chance = d.accuracy.fused.value, d.accuracy.fused.value - above.value
    if above.sign < 0:
        found = "worse than chance"
    elif above.value <= 0 or (above.high is not None and above.high < USEFUL):
        found = "at chance"
    else:
        found = "not shown to be better than chance"
    return (
        f"The model is {found}: it is right in {100 * right:.1f} % of the samples; the same decisions, shuffled over the "
        f"samples, would be right in {100 * chance:.1f} % (difference {_signed(above)})."
    )


def _signed(e: Estimate) -> str:
    return f"{100 * e.value:+.1f} pp {interval(e, 100)}".rstrip()


def _samples_to_find(d: Diagnosis) -> str:
    """How many samples would show an accuracy that is above chance: as far as it is now, or by ``USEFUL``."""
    above = d.accuracy.above_chance
    if above is None or above.low is None or above.high is None or above.high == above.low:
        return ""
    half, aim = (above.high - above.low) / 2, above.value if above.value >= USEFUL else USEFUL
    needed = POWER * d.data.samples * (half / aim) ** 2
    if needed <= d.data.samples:
        return ""
    return f"About {_rounded_up(needed)} samples would show an accuracy that is {100 * aim:.0f} pp above chance."


def _order_of_columns(d: Diagnosis) -> str:
    """The usual mistake of a file that mmbal did not write."""
    if "run" in d.data.meta or "heads" in d.data.meta or _classes_seen(d) < 2:
        return ""
    return "If that is unexpected: are the columns of the logits in the order of the classes?"


def _width(d: Diagnosis) -> str:
    """Where the samples are too few to know the accuracy well."""
    needed = d.accuracy.samples_needed
    if needed is None or needed <= d.data.samples or not learned(d):
        return ""
    return f"{d.data.samples} samples are few: about {_rounded_up(needed)} would show the accuracy to within 10 pp."


def _majority(d: Diagnosis) -> str:
    above = d.accuracy.above_majority
    if above is None or above.sign >= 0:
        return ""
    name = max(d.data.classes, key=lambda c: d.data.classes[c])
    return (
        f"The model is right in {_percent(d.accuracy.fused)} of the samples; always choosing '{name}' would be right in "
        f"{100 * d.accuracy.chance:.0f} %."
    )


def _who(d: Diagnosis) -> str:
    if len(d.data.modalities) == 1:
        return (
            f"There is only one modality, so there is no balance to judge: the model is right in "
            f"{_percent(d.accuracy.fused)} of the samples."
        )
    found = d.preference
    if found is None:
        return "No sample has two modalities that decide, so nothing shows which of them the model follows."
    if not found.follows:
        return "The modalities never disagree, so nothing shows which of them the model follows."
    order = sorted(found.follows, key=lambda m: -found.follows[m].value)
    first, top = order[0], found.follows[order[0]]
    if top.low is None:
        return "The modalities disagree on too few samples to show which of them the model follows."
    shares = _and([f"{m} in {_percent(found.follows[m])}" for m in order])
    if found.none is not None and found.none.value > MAJORITY:
        return (
            "The model mostly decides differently from each of its modalities alone: where they disagree, it does so in "
            f"{_percent(found.none)} of the samples (it follows {shares})."
        )
    where = f"where the modalities disagree, the model follows {shares} of the samples."
    leads = [_lead(found, first, m) for m in order[1:]]
    low, value = min(e.low or 0.0 for e in leads), min(e.value for e in leads)
    if low > MARGIN and top.value > MAJORITY:
        return f"{_name(first)} decides: {where}"
    if low > 0 and value >= LEAN:
        return f"The model leans towards {first}: {where}"
    if any(e.high is not None and e.high < MARGIN for e in leads):
        return f"No modality decides alone: {where}"
    return f"No modality is shown to decide: {where}"


def _lead(found: Preference, first: str, other: str) -> Estimate:
    """How much more often ``first`` is followed than ``other``, without an interval where that is not known."""
    for pair, sign in ((f"{first}+{other}", 1), (f"{other}+{first}", -1)):
        if pair in found.lead:
            return found.lead[pair] if sign > 0 else _negated(found.lead[pair])
    return Estimate(value=found.follows[first].value - found.follows[other].value)


def _people(d: Diagnosis) -> str:
    if d.human is None or "voice" not in d.human.model_follows:
        return ""
    people = _percent(d.human.raters_follow["voice"])
    return (
        f"People follow the voice in {people} of such samples, this model in "
        f"{_percent(d.human.model_follows['voice'])}."
    )


def _fusion(d: Diagnosis) -> str:
    loss = _negated(d.accuracy.fusion_gain)
    if len(d.data.modalities) == 1 or not _shown(loss, 100, 1):
        return ""
    return f"The fused decision is worse than {d.accuracy.best} alone by {_loss(loss)}."


def _negated(e: Estimate) -> Estimate:
    return Estimate(value=-e.value, low=None if e.high is None else -e.high, high=None if e.low is None else -e.low)


def _balance(d: Diagnosis) -> str:
    if d.index is None:
        return ""
    index = f"imbalance index {d.index.value:.2f}"
    flagged, worst = any(b.flag for b in d.balance.values()), _worst(d)
    if flagged and not worst:
        return f"The contribution of each modality equals its capability to about 1 pp ({index})."
    if not flagged:
        largest = max(d.contribution, key=lambda m: d.contribution[m].value)
        figures = f"{_percent(d.contribution[largest])} of the contribution and {_percent(d.capability[largest])}"
        anywhere = any(b.flag for one in d.classes.values() for b in one.balance.values())
        over = "over all classes" if anywhere else "at the decision layer"
        return f"No imbalance is shown {over}: {largest} has {figures} of the capability ({index})."
    only = "only " if d.balance[worst].flag == "too little" else ""
    return (
        f"{_name(worst)} carries {_percent(d.capability[worst])} of the evidence (capability) but makes up "
        f"{only}{_percent(d.contribution[worst])} of the decision (contribution); {index}."
    )


def _worst(d: Diagnosis) -> str:
    """The modality whose contribution is furthest from its capability, significantly and visibly; '' where there is none.

    Of two mirror images it is the one that contributes too little.
    """
    flagged = [m for m in d.balance if d.balance[m].flag]
    visible = [m for m in flagged if _percent(d.contribution[m]) != _percent(d.capability[m])]
    order = {m: (round(abs(d.balance[m].difference.value), 6), d.balance[m].flag == "too little") for m in visible}
    return max(visible, key=lambda m: order[m], default="")


def _classes(d: Diagnosis) -> str:
    flags = [(m, b.flag, c) for c, one in d.classes.items() for m, b in one.balance.items() if b.flag]
    shown = d.data.modalities
    if len(shown) == 2:  # the two are mirror images
        shown = [m for m in shown if m in d.balance and d.balance[m].flag == "too little"] or shown[-1:]
    sampled = [c for c, one in d.classes.items() if one.samples]
    told = []
    for m in shown:
        for flag in ("too little", "too much"):
            names = [c for n, f, c in flags if n == m and f == flag]
            if names:
                where = "every class" if len(names) == len(sampled) else _listed(names)
                told.append(f"{m} contributes {flag} on {where}")
    return f"By class, {'; '.join(told)}." if told else ""


def _decision_layer(d: Diagnosis) -> str:
    gap = d.decision_gap
    if gap is None:
        return ""
    if lost := _lost_accuracy(d):
        return lost
    if gap.nats is not None and _shown(gap.nats, 1, 2):
        nats = f"{gap.nats.value:.2f} nats {interval(gap.nats, digits=2)}".rstrip()
        slightly = "slightly " if gap.nats.value < SLIGHT else ""
        return (
            f"No accuracy is shown to be lost at the decision layer, but its confidences are {slightly}wrong: the fitted "
            f"rule gains {nats} of log-likelihood{_cost(d)}."
        )
    if _shown(_negated(gap.accuracy), 100, 1):
        return f"The decision layer is better than the fitted rule, by {_loss(_negated(gap.accuracy))}."
    if d.data.meta.get("rule") is None and _unchanged(gap):
        return _kept(d)
    return f"No loss is shown at the decision layer ({_pp_of(gap)})."


def _lost_accuracy(d: Diagnosis) -> str:
    if d.decision_gap is None or not _shown(d.decision_gap.accuracy, 100, 1):
        return ""
    lost = f"The model loses {_loss(d.decision_gap.accuracy)} at the decision layer."
    return f"{lost} The fitted rule recovers this{cost}." if (cost := _cost(d)) else lost


def _cost(d: Diagnosis) -> str:
    """What the fitted rule loses on single classes, as the end of a sentence; empty where no loss is shown."""
    costs = [f"{_loss(_negated(gap.accuracy))} on {c}" for c, gap in _losers(d).items()]
    return f", but loses {_listed(costs)}" if costs else ""


def _losers(d: Diagnosis) -> dict[str, ClassGap]:
    """The classes on which the fitted rule is shown to lose accuracy, the largest loss first."""
    gaps = {c: one.decision_gap for c, one in d.classes.items() if one.decision_gap is not None}
    losing = [c for c, gap in gaps.items() if gap.flag == "loses"]
    return {c: gaps[c] for c in sorted(losing, key=lambda c: gaps[c].accuracy.value)}


def _unchanged(gap: Gap) -> bool:
    """Whether the fitted rule leaves every decision as the model made it."""
    ends = () if gap.nats is None else (gap.nats.low, gap.nats.high)
    return gap.accuracy.value == 0 and bool(ends) and all(end is not None and abs(end) < SAME for end in ends)


def _kept(d: Diagnosis) -> str:
    n = d.settings.fitted_samples
    few = "" if n is None or n >= FEW_FITTED else "; with more samples it may find a gain"
    samples = "the samples" if n is None else f"{n} samples"
    return f"The rule '{d.settings.rule}' finds no gain at the decision layer with {samples}{few}."


def _encoders(d: Diagnosis) -> str:
    gap = d.representation_gap
    if gap is None:
        return ""
    if lost := _lost_in_encoders(d):
        return lost
    if _shown(_negated(gap.accuracy), 100, 1):
        return f"Its encoders are better than those trained separately, by {_loss(_negated(gap.accuracy))}."
    return f"No loss is shown in the encoders ({_pp_of(gap)})."


def _lost_in_encoders(d: Diagnosis) -> str:
    gap = d.representation_gap
    if gap is None or not _shown(gap.accuracy, 100, 1):
        return ""
    worst = [(g.accuracy.value, m) for m, g in gap.modalities.items() if _shown(g.accuracy, 100, 1)]
    where = f", most in that of {max(worst)[1]} ({100 * max(worst)[0]:.1f} pp alone)" if worst else ""
    return f"It loses {_loss(gap.accuracy)} in the encoders{where}."


def _pp_of(gap: Gap) -> str:
    return f"{round(100 * gap.accuracy.value, 1) + 0.0:.1f} pp {interval(gap.accuracy, 100)}".rstrip()
