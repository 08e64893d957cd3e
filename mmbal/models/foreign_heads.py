"""What the heads of the table in :mod:`mmbal.models.layouts` become: a fusion of mmbal, and the method where one decides.

Each function takes the parameters of a head by their role, the names of the two modalities, and the layout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mmbal.models.layouts import WIDTH, Layout

Values = Mapping[str, Tensor]
PARAMETERS = ("weight", "bias")


@dataclass(frozen=True)
class Head:
    """What a head of a file becomes: a fusion of mmbal, and the method that decides where it is not the fusion.

    ``method_state`` holds keys of the method's state.
    """

    fusion: str
    parts: dict[str, Tensor]  # by mmbal's names
    options: dict[str, object] = field(default_factory=dict)
    method: str = "joint"
    method_options: dict[str, object] = field(default_factory=dict)
    method_state: dict[str, Tensor] = field(default_factory=dict)


def _concat(v: Values, x: str, y: str, layout: Layout) -> Head:
    weights = dict(zip((x, y), v["out.weight"].chunk(2, dim=1), strict=True))
    return Head("concat", {**_blocks_of(weights), "fusion.shared_bias": v["out.bias"]})


def _mapped(v: Values, x: str, y: str, layout: Layout) -> Head:
    weight, bias = v["map.weight"] @ v["out.weight"], v["map.weight"] @ v["out.bias"] + v["map.bias"]
    return _concat({"out.weight": weight, "out.bias": bias}, x, y, layout)


def _blocks(v: Values, x: str, y: str, layout: Layout) -> Head:
    return Head("concat", {**_blocks_of({x: v["x.weight"], y: v["y.weight"]}), "fusion.shared_bias": v["bias"]})


def _blocks_of(weights: Values) -> dict[str, Tensor]:
    return {f"fusion.weights.{m}": weight for m, weight in weights.items()}


def _sum(v: Values, x: str, y: str, layout: Layout) -> Head:
    return Head("sum", {f"fusion.heads.{m}.{p}": v[f"{r}.{p}"] for m, r in ((x, "x"), (y, "y")) for p in PARAMETERS})


def _film(v: Values, x: str, y: str, layout: Layout) -> Head:
    parts = {f"fusion.film.{y}.{p}": v[f"film.{p}"] for p in PARAMETERS}
    return Head("film", {**parts, f"fusion.out.{y}.weight": v["out.weight"], "fusion.bias": v["out.bias"]}, {"by": x})


def _gated(v: Values, x: str, y: str, layout: Layout) -> Head:
    parts = {f"fusion.project.{m}.{p}": v[f"{r}.{p}"] for m, r in ((x, "x"), (y, "y")) for p in PARAMETERS}
    parts |= {f"fusion.out.{p}": v[f"out.{p}"] for p in PARAMETERS}
    return Head("gated", parts, {"by": x, "dim": len(v["x.bias"])})


def _shared(v: Values, x: str, y: str, layout: Layout) -> Head:
    parts = {f"fusion.heads.{m}.{p}": v[f"out.{p}"] for m in (x, y) for p in PARAMETERS}
    state = {f"head.{p}": v[f"out.{p}"] for p in PARAMETERS}
    return Head("sum", parts, {}, "mla", {"weights": _fixed(layout, x, y)}, state)


def _scaled(v: Values, x: str, y: str, layout: Layout) -> Head:
    parts = {f"fusion.heads.{m}.{p}": v["rate"] * v[f"out.{p}"] for m in (x, y) for p in PARAMETERS}
    return Head("sum", parts)


def _boosted(v: Values, x: str, y: str, layout: Layout) -> Head:
    """The heads of the method decide; those of the fusion, which the file has not, are zero."""
    layers: dict[str, list[dict[str, Tensor]]] = {}
    for m, role in ((x, "x"), (y, "y")):
        numbers = sorted({int(key.split(".")[2]) for key in v if key.startswith(f"more.{role}.")})
        names = [role, *(f"more.{role}.{n}" for n in numbers)]
        layers[m] = [{p: v[f"{name}.{p}"] for p in PARAMETERS} for name in names]
    most = max(map(len, layers.values()))
    state = {f"last.{p}": v[f"out.{p}"] for p in PARAMETERS}
    state["active"] = torch.tensor([len(layers[m]) for m in sorted(layers)])
    for m, each in layers.items():
        filled = [*each, *[{p: torch.zeros_like(t) for p, t in each[0].items()}] * (most - len(each))]
        state |= {f"hidden.{m}.{j}.{p}": layer[p] for j, layer in enumerate(filled) for p in PARAMETERS}
    classes = len(v["out.bias"])
    parts = {f"fusion.heads.{m}.weight": torch.zeros(classes, WIDTH) for m in layers}
    parts |= {f"fusion.heads.{m}.bias": torch.zeros(classes) for m in layers}
    options = {"heads": most, "width": len(v["x.bias"]), "weights": _fixed(layout, x, y)}
    return Head("sum", parts, {}, "aug", options, state)


def _fixed(layout: Layout, x: str, y: str) -> dict[str, float]:
    return dict(zip((x, y), layout.weights or (), strict=False))


MAKE: dict[str, Callable[[Values, str, str, Layout], Head]] = {
    "concat": _concat,
    "mapped": _mapped,
    "blocks": _blocks,
    "sum": _sum,
    "film": _film,
    "gated": _gated,
    "shared": _shared,
    "scaled": _scaled,
    "boosted": _boosted,
}
