"""Cross-flow: what enters a well through some perforations, and leaves it mixed through others."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

# Newton steps to the composition of an injector's bore, which is nearly linear in it.
_ITERATIONS = 8


def water_part(
    *,
    well: Int[Tensor, " p"],
    is_injector: Bool[Tensor, " w"],
    drop: Float[Tensor, "b p"],
    index: Float[Tensor, "b p"],
    m: Float[Tensor, "2 b p"],
    b: Float[Tensor, "2 b p"],
) -> Float[Tensor, "b w"]:
    """Which part of what a bore holds is water, by surface volume: the bore is well mixed, and stores nothing.

        x_o = I_o / max(I, X),   I_a = sum of what enters the bore,   X = sum_p V_p / (x_w / b_w + x_o / b_o)

    with V the reservoir volumes that leave a bore into cells; what an injector's X has beyond I is water from above, a
    producer's X does not exceed I. It is differentiable; where nothing enters a producer, oil stands in it.

    Args:
        well: of each perforation.
        is_injector: of each well.
        drop: pressure in the bore above that of the cells, Pa; 0 where a perforation is shut.
        index: of the wells, m^3.
        m: b k_r / mu of water and oil in the cells, 1/(Pa s).
        b: volume at the reference pressure of one volume in the cells.
    """
    none = drop.new_zeros(len(drop), len(is_injector))

    def of_wells(values: Float[Tensor, "*a b p"]) -> Float[Tensor, "*a b w"]:
        zeros = none.expand(*values.shape[:-1], -1)
        return zeros.scatter_add(-1, well.expand_as(values), values)

    entering = of_wells(index * m * (-drop).clamp(min=0))
    all_in, oil_in = entering.sum(dim=0), entering[1]
    leaving = index * (m / b).sum(dim=0) * drop.clamp(min=0)
    swelling = 1 / b[1] - 1 / b[0]

    def excess(oil: Float[Tensor, "b w"]) -> tuple[Float[Tensor, "b w"], Float[Tensor, "b w"]]:
        """x_o X - I_o, and its derivative in x_o."""
        per = 1 / (1 / b[0] + oil[:, well] * swelling)
        out, slope = of_wells(leaving * per), of_wells(-leaving * per**2 * swelling)
        return oil * out - oil_in, out + oil * slope

    standing = torch.where(is_injector, 0.0, 1.0).double().expand_as(none)
    of_producer = torch.where(all_in > 0, oil_in / torch.where(all_in > 0, all_in, 1.0), standing)
    with torch.no_grad():
        oil = torch.zeros_like(none)
        for _ in range(_ITERATIONS):
            left, slope = excess(oil)
            last, oil = oil, (oil - left / torch.where(slope > 0, slope, 1.0)).clamp(0.0, 1.0)
            if torch.equal(oil, last):  # at once where no oil enters an injector
                break
        _, slope = excess(oil)
        gives = is_injector & (of_wells(leaving / ((1 - oil[:, well]) / b[0] + oil[:, well] / b[1])) > all_in)
    left, _ = excess(oil)
    of_injector = oil - left / torch.where(slope > 0, slope, 1.0)
    return 1 - torch.where(gives, of_injector, of_producer)
