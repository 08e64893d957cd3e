"""Two shares of a batch give the loss and, averaged by their rows, the gradient of the whole."""

import torch

from mmbal.models.whole_batch import WholeBatch


def pairwise_loss(z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return ((z[:, None] - z[None]).pow(2).sum(dim=2) * (labels[:, None] == labels[None])).mean()


def test_shares_give_the_gradient_of_the_whole():
    torch.manual_seed(0)
    z, labels, index = torch.randn(5, 3), torch.tensor([0, 1, 0, 1, 1]), torch.tensor([7, 2, 9, 4, 0])
    whole = z.clone().requires_grad_()
    batch = WholeBatch(index, 12, lambda value: value.detach().clone())
    order = index.argsort()
    assert batch.rows.tolist() == [0, 2, 4, 7, 9]
    assert torch.equal(batch.gather(whole), z[order])
    assert batch.gather(labels).tolist() == labels[order].tolist()
    assert batch.gather(labels > 0).tolist() == (labels[order] > 0).tolist()
    loss = pairwise_loss(batch.gather(whole), batch.gather(labels))
    loss.backward()
    average = torch.zeros_like(z)
    for mine in (slice(0, 2), slice(2, 5)):
        share = z[mine].clone().requires_grad_()
        # What a sum over processes would find: the values of the rows that this one does not hold are added.
        full = {3: z[order], 1: labels[order].double()}

        def total(value: torch.Tensor, full: dict[int, torch.Tensor] = full) -> torch.Tensor:
            if len(value) == 12:
                return torch.bincount(index, minlength=12)
            return (full[3] if value.dim() == 2 else full[1]).clone()

        part = WholeBatch(index[mine], 12, total)
        found = pairwise_loss(part.gather(share), part.gather(labels[mine]))
        assert torch.allclose(found, loss)
        found.backward()
        average[mine] = share.grad * len(share) / len(z)
    assert torch.allclose(average, whole.grad, atol=1e-6)


def test_a_row_that_occurs_twice_counts_once():
    batch = WholeBatch(torch.tensor([3, 1, 3]), 5, lambda value: value.detach().clone())
    assert batch.gather(torch.tensor([2.0, 5.0, 4.0])).tolist() == [5.0, 3.0]
    assert len(batch) == 2
