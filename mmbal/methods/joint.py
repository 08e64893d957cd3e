"""Joint training: one loss on the fused decision, all modalities at once; the baseline of the whole field.

Its imbalance is described by Wang, Tran and Feiszli, "What Makes Training Multi-Modal Classification Networks Hard?",
CVPR 2020, arXiv 1905.12681, and Peng et al., CVPR 2022, arXiv 2203.15332.

    L = CE(softmax(o), y),      o = the fusion's logits, sum_m z_m W_m^T + b for linear heads

Deviations: none. With the fusion `adaptive` the loss is that fusion's own, the sum of the branches' cross-entropies.
"""

from mmbal.methods.base import Method
from mmbal.registry import methods


@methods.register(family="baseline", year=2020, paper="1905.12681", status="exact", off={})
class Joint(Method):
    """The loop's defaults, unchanged."""
