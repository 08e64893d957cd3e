"""The verdict in plain words, from the figures and their intervals alone: what no interval shows is not claimed."""

from __future__ import annotations

from mmbal.diagnosis.schema import Advice, Diagnosis, Gap
from mmbal.maths.bootstrap import Estimate

MOST_CLASSES = 4  # named in a sentence; more are counted


def verdict_of(d: Diagnosis) -> list[str]:
    """A few sentences: who decides, whether that is deserved, where, and what is lost in which part."""
    return [
        s for s in (_who(d), _people(d), _fusion(d), _balance(d), _classes(d), _decision_layer(d), _encoders(d)) if s
    ]


def advice_of(d: Diagnosis, source: str) -> list[Advice]:
    """What to type next; ``source`` is what was diagnosed."""
    found = []
    gap, encoders = d.decision_gap, d.representation_gap
    if gap is not None and gap.accuracy.sign > 0:
        found.append(
            Advice(command=f"mmbal calibrate {source}", purpose=f"gets back about {_points(gap.accuracy)}, in seconds")
        )
    elif gap is not None and gap.nats is not None and gap.nats.sign > 0:
        found.append(Advice(command=f"mmbal calibrate {source}", purpose="makes the confidences honest, in seconds"))
    if encoders is not None and encoders.accuracy.sign > 0:
        found.append(
            Advice(command="mmbal methods list", purpose="shows the methods that balance the encoders in training")
        )
    elif encoders is None and len(d.data.modalities) > 1 and d.data.meta.get("method") != "unimodal":
        found.append(Advice(command="mmbal pretrain", purpose="trains each encoder alone: a --reference"))
    return found


def interval(estimate: Estimate, scale: float = 1.0, digits: int = 1) -> str:
    """``[1.8, 4.4]``, or nothing where there is no interval."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"[{scale * estimate.low:.{digits}f}, {scale * estimate.high:.{digits}f}]"


def _points(estimate: Estimate) -> str:
    return f"{100 * abs(estimate.value):.1f} points"


def _loss(estimate: Estimate) -> str:
    return f"{_points(estimate)} {interval(estimate, 100)}".rstrip()


def _percent(estimate: Estimate) -> str:
    return f"{100 * estimate.value:.0f} %"


def _name(modality: str) -> str:
    return modality[:1].upper() + modality[1:]


def _listed(names: list[str]) -> str:
    if len(names) > MOST_CLASSES:
        return f"{', '.join(names[:MOST_CLASSES])} and {len(names) - MOST_CLASSES} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _who(d: Diagnosis) -> str:
    if len(d.data.modalities) == 1:
        return f"There is one modality only, so no balance to judge: it decides {_percent(d.accuracy.fused)} rightly."
    if d.preference is None or not d.preference.follows:
        return "The modalities never disagree, so nothing shows which of them the model follows."
    order = sorted(d.preference.follows.items(), key=lambda item: -item[1].value)
    (first, top), rest = order[0], order[1:]
    ahead = all((top.low or 0.0) > (1.0 if other.high is None else other.high) for _, other in rest)
    if ahead:
        return (
            f"{_name(first)} decides: where the modalities disagree, the model follows it in {_percent(top)} of cases."
        )
    shares = ", ".join(f"{m} in {_percent(e)}" for m, e in order)
    return f"No modality decides alone: where they disagree, the model follows {shares} of cases."


def _people(d: Diagnosis) -> str:
    if d.human is None or "voice" not in d.human.model_follows:
        return ""
    people = _percent(d.human.raters_follow["voice"])
    return (
        f"People follow the voice in {people} of such cases, this model in {_percent(d.human.model_follows['voice'])}."
    )


def _fusion(d: Diagnosis) -> str:
    gain, best = d.accuracy.fusion_gain, d.accuracy.best
    if len(d.data.modalities) == 1 or gain.sign >= 0:
        return ""
    return f"The fused decision is worse than {best} alone by {_loss(_negated(gain))}."


def _negated(e: Estimate) -> Estimate:
    return Estimate(value=-e.value, low=None if e.high is None else -e.high, high=None if e.low is None else -e.low)


def _balance(d: Diagnosis) -> str:
    if d.index is None:
        return ""
    figure = f"(imbalance {d.index.value:.2f} {interval(d.index, digits=2)})".replace(" )", ")")
    if d.index.sign <= 0:
        loudest = max(d.contribution, key=lambda m: d.contribution[m].value)
        say, worth = _percent(d.contribution[loudest]), _percent(d.capability[loudest])
        return (
            f"No imbalance shown at the decision layer: {loudest} has {say} of the say and is worth {worth} {figure}."
        )
    flagged = [m for m in d.balance if d.balance[m].flag]
    if not flagged:
        return f"Over all classes each modality has about the say that it is worth, but not class by class {figure}."
    # of two mirror images name the one that is not heard
    worst = max(
        flagged, key=lambda m: (round(abs(d.balance[m].difference.value), 6), d.balance[m].flag == "too little")
    )
    but = "only " if d.balance[worst].flag == "too little" else ""
    worth = f"{_name(worst)} is worth {_percent(d.capability[worst])} of what the modalities tell"
    return f"{worth}, but has {but}{_percent(d.contribution[worst])} of the say {figure}."


def _classes(d: Diagnosis) -> str:
    flags = [(m, b.flag, c) for c, one in d.classes.items() for m, b in one.balance.items() if b.flag]
    if not flags:
        return ""
    shown = d.data.modalities[-1:] if len(d.data.modalities) == 2 else d.data.modalities
    overall = [m for m in d.balance if d.balance[m].flag == "too little"]
    shown = overall[:1] if len(d.data.modalities) == 2 and overall else shown
    sampled = [c for c, one in d.classes.items() if one.samples]
    told = []
    for m in shown:
        for flag in ("too little", "too much"):
            names = [c for n, f, c in flags if n == m and f == flag]
            if names:
                where = "every class" if len(names) == len(sampled) else _listed(names)
                told.append(f"{m} is heard {flag} in {where}")
    return f"By class, {'; '.join(told)}." if told else ""


def _decision_layer(d: Diagnosis) -> str:
    gap = d.decision_gap
    if gap is None:
        return ""
    if gap.accuracy.sign > 0:
        return f"The model loses {_loss(gap.accuracy)} at the decision layer."
    if gap.nats is not None and gap.nats.sign > 0:
        nats = f"{gap.nats.value:.2f} nats {interval(gap.nats, digits=2)}".rstrip()
        lost = f"{nats} of log-likelihood are: the confidences are wrong."
        return f"No accuracy is shown to be lost at the decision layer, but {lost}"
    if gap.accuracy.sign < 0:
        return f"The decision layer is better than a re-fitted rule, by {_loss(_negated(gap.accuracy))}."
    return f"No loss is shown at the decision layer ({_shown_points(gap)})."


def _encoders(d: Diagnosis) -> str:
    gap = d.representation_gap
    if gap is None:
        return ""
    if gap.accuracy.sign > 0:
        worst = [(g.accuracy.value, m) for m, g in gap.modalities.items() if g.accuracy.sign > 0]
        where = f", most in that of {max(worst)[1]} ({100 * max(worst)[0]:.1f} alone)" if worst else ""
        return f"It loses {_loss(gap.accuracy)} in the encoders{where}."
    if gap.accuracy.sign < 0:
        return f"Its encoders are better than those trained separately, by {_loss(_negated(gap.accuracy))}."
    return f"No loss is shown in the encoders ({_shown_points(gap)})."


def _shown_points(gap: Gap) -> str:
    return f"{100 * gap.accuracy.value:.1f} points {interval(gap.accuracy, 100)}".rstrip()
