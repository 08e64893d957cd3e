"""The diffusion imputer against Gaussian features whose conditional law is known, and its formulas by hand."""

import pytest
import torch

from mmbal.errors import DataError
from mmbal.models.imputer import FeatureDiffusion


def gaussian(n: int, seed: int) -> dict[str, torch.Tensor]:
    """``b = 2 a + 3 + noise`` of spread 1, a standard normal."""
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(n, 1, generator=generator)
    return {"b": 2 * a + 3 + torch.randn(n, 1, generator=generator), "a": a}


def test_draws_follow_the_conditional_law():
    torch.manual_seed(0)
    model = FeatureDiffusion({"a": 1, "b": 1}, width=64)
    model.fit(gaussian(2000, 1), updates=800)
    given = {"a": torch.tensor([[-1.0], [0.0], [1.0]]).repeat(400, 1), "b": torch.zeros(1200, 1)}
    drawn = model.sample(given, torch.tensor([[False, True]]).expand(1200, 2))
    assert torch.allclose(drawn["a"], given["a"], atol=1e-5)
    for position, mean in enumerate((1.0, 3.0, 5.0)):
        own = drawn["b"][position::3]
        assert float(own.mean()) == pytest.approx(mean, abs=0.5)
        assert 0.6 < float(own.std()) < 1.5


def test_what_is_missing_is_not_looked_at():
    torch.manual_seed(0)
    model = FeatureDiffusion({"a": 1, "b": 1}, width=16)
    model.fit(gaussian(50, 1), updates=5)
    missing = torch.tensor([[True, False]]).expand(4, 2)
    features = gaussian(4, 2)
    torch.manual_seed(1)
    first = model.sample(features, missing)
    torch.manual_seed(1)
    second = model.sample(features | {"a": features["a"] + 100}, missing)
    assert torch.equal(first["a"], second["a"])


def test_the_formulas_with_a_denoiser_that_knows_the_answer():
    target = torch.tensor([[0.3, -0.7]])

    class Knowing(FeatureDiffusion):
        def forward(self, noisy, known, missing, step):
            level = self.signal[step].unsqueeze(1)
            return (noisy - level.sqrt() * target) / (1 - level).sqrt()

    model = Knowing({"a": 1, "b": 1})
    step = torch.tensor([10])
    noise = torch.tensor([[2.0, 1.0]])
    level = float(model.signal[10])
    noisy = model.corrupt(target, noise, step)
    assert noisy[0].tolist() == pytest.approx(
        [level**0.5 * 0.3 + (1 - level) ** 0.5 * 2, level**0.5 * -0.7 + (1 - level) ** 0.5]
    )
    nothing = torch.zeros(1, 2)
    assert torch.allclose(model.estimate(noisy, nothing, torch.ones(1, 2, dtype=torch.bool), step), target, atol=1e-5)
    drawn = model.sample({"a": torch.zeros(1, 1), "b": torch.zeros(1, 1)}, torch.ones(1, 2, dtype=torch.bool))
    assert torch.allclose(torch.cat([drawn["a"], drawn["b"]], dim=1), target, atol=1e-5)


def test_hidden_modalities_are_never_none_and_never_all():
    model = FeatureDiffusion({"a": 1, "b": 2, "c": 1})
    torch.manual_seed(0)
    hidden = model.hide(3000, torch.device("cpu"))
    count = hidden.sum(dim=1)
    assert set(count.tolist()) == {1, 2}
    assert torch.allclose(hidden.float().mean(dim=0), torch.full((3,), 0.5), atol=0.05)
    assert model.columns(hidden[:1]).shape == (1, 4)


def test_one_modality_or_one_sample_is_refused():
    with pytest.raises(DataError, match="at least two"):
        FeatureDiffusion({"a": 1}).fit({"a": torch.randn(5, 1)})
    with pytest.raises(DataError, match="at least two"):
        FeatureDiffusion({"a": 1, "b": 1}).fit({"a": torch.randn(1, 1), "b": torch.randn(1, 1)})
