"""How the public repositories of this field name the head of a two-ResNet-18 classifier: a table, one row a layout.

The names were read in the public code. docs/your-model.md lists the commit of each repository.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

WIDTH = 512  # of a ResNet-18's features

# What a head computes, by the shape of each of its parameters: C classes, H and K hidden units, and the encoders' width D.
# x is the first encoder of the file, y the second.
#   concat    W [x; y] + b
#   mapped    V (W [x; y] + b) + c
#   blocks    W_x x + W_y y + b
#   sum       (W_x x + b_x) + (W_y y + b_y)
#   film      W (gamma * y + beta) + b,  [gamma; beta] = F x + f
#   gated     W (sigmoid(U_x x + u_x) * (U_y y + u_y)) + b
#   shared    w_x (W x + b) + w_y (W y + b); weights by the entropy of each sample's decisions where none are stated
#   scaled    r ((W x + b) + (W y + b))
#   boosted   w_x sum_j V relu(U_xj x + u_xj) + b, and the same of y, with as many j as the file has
PAIR = {"x.weight": "H D", "x.bias": "H", "y.weight": "H D", "y.bias": "H"}
HEADS: dict[str, dict[str, str]] = {
    "concat": {"out.weight": "C 2D", "out.bias": "C"},
    "mapped": {"out.weight": "K 2D", "out.bias": "K", "map.weight": "C K", "map.bias": "C"},
    "blocks": {"x.weight": "C D", "y.weight": "C D", "bias": "C"},
    "sum": {"x.weight": "C D", "x.bias": "C", "y.weight": "C D", "y.bias": "C"},
    "film": {"film.weight": "2D D", "film.bias": "2D", "out.weight": "C D", "out.bias": "C"},
    "gated": {**PAIR, "out.weight": "C H", "out.bias": "C"},
    "shared": {"out.weight": "C D", "out.bias": "C"},
    "scaled": {"out.weight": "C D", "out.bias": "C", "rate": ""},
    "boosted": {**PAIR, "out.weight": "C H", "out.bias": "C"},
}

OGM_ORDER = ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")  # class_dict of the CREMA-D loaders that descend from OGM-GE
BY_NAME = tuple(sorted(OGM_ORDER))


@dataclass(frozen=True)
class Layout:
    """A head of the field: which layers it has, under which names, and in which repositories."""

    repositories: tuple[str, ...]
    head: str  # a key of HEADS
    names: Mapping[str, str]  # layer of the head -> its name in the file, without a holder
    encoder: str = ""  # beginning of the encoders' names, where these tell the layout from another
    more: Mapping[str, str] = field(default_factory=dict)  # "x", "y" -> the name of a list of further layers
    without: tuple[str, ...] = ()  # parts that make another model of it
    weights: tuple[float, float] | None = None  # of x and y, where the code fixes them
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"cremad": OGM_ORDER})

    def keys(self) -> dict[str, str]:
        """Parameter of the head -> its name in the file."""
        parts = {p: p.split(".") for p in HEADS[self.head]}
        return {p: ".".join([self.names[part[0]], *part[1:]]) for p, part in parts.items()}

    def order(self, dataset: str, classes: Sequence[str]) -> tuple[str, ...] | None:
        """The order in which the repository has these ``classes`` of a data set, or None where that is not known."""
        known = self.classes.get(dataset, ())
        return known if sorted(known) == sorted(classes) else None


HOLDERS = ("fusion_module.", "fusion_model.")  # the module of the head; the names below stand inside it, or alone
BETWEEN = ("mmtm_layers", "common_fc", "bn_0", "audio_fc", "visual_fc")  # layers between encoders and head, other heads
OGM_FAMILY = ("OGM-GE", "PMR", "DGL")

LAYOUTS = (  # in the order in which they are tried
    Layout(OGM_FAMILY, "gated", {"x": "fc_x", "y": "fc_y", "out": "fc_out"}, without=BETWEEN),
    Layout(("BML_TPAMI2024",), "gated", {"x": "fx", "y": "fy", "out": "f_out"}),
    Layout(("OGM-GE", "PMR"), "film", {"film": "fc", "out": "fc_out"}, without=BETWEEN),
    Layout(("MCR",), "blocks", {"x": "fc_0_lin", "y": "fc_1_lin", "bias": "bias_lin"}, without=BETWEEN),
    Layout((*OGM_FAMILY, "MLA"), "sum", {"x": "fc_x", "y": "fc_y"}, without=(*BETWEEN, "fc_out")),
    Layout(("BML_TPAMI2024",), "sum", {"x": "fx", "y": "fy"}, without=("f_out",)),
    Layout(("LFM",), "sum", {"x": "cls_a", "y": "cls_v"}),
    Layout(("ReconBoost",), "sum", {"x": "model_audio.fc", "y": "model_visual.fc"}),
    Layout(
        ("AUG",),
        "boosted",
        {"x": "embedding_a.0", "y": "embedding_v.0", "out": "fc_out"},
        more={"x": "additional_layers_a", "y": "additional_layers_v"},
        weights=(0.4, 0.6),
    ),
    Layout(("BalanceBenchmark (ReconBoost)",), "scaled", {"out": "fc_out", "rate": "boost_rate"}, "modality_encoder."),
    Layout(("BalanceBenchmark (MLA)",), "shared", {"out": "fc_out"}, "modality_encoder.", without=("boost_rate",)),
    Layout(("BalanceBenchmark (AMCo)",), "mapped", {"out": "fc_out", "map": "linear_star"}, "modality_encoder."),
    Layout(
        ("MLA",),
        "shared",
        {"out": "fc_out"},
        without=(*BETWEEN, "fc", "boost_rate", "embedding_a"),
        weights=(0.5, 0.5),
        classes={"cremad": BY_NAME},
    ),
    Layout((*OGM_FAMILY, "MLA", "BalanceBenchmark"), "concat", {"out": "fc_out"}, without=(*BETWEEN, "linear_star")),
    Layout(("BML_TPAMI2024",), "concat", {"out": "fxy"}),
    Layout(("MMPareto",), "concat", {"out": "head"}, classes={"cremad": BY_NAME}),
)
