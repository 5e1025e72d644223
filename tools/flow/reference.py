"""Our curves over those that DeepFlow published, on its reference rock: python -m tools.flow.reference

Needs ../shared/data/deepflow, which is not part of the repository.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from jaxtyping import Float

from rockbank.flow.casefile.file import load_case
from rockbank.flow.simulate import simulate
from rockbank.flow.units import BAR, DAY
from rockbank.plot.figures import BLUE, GREY, ORANGE, drawing, tidy

CASE = Path("cases/deepflow_published.yaml")
PUBLISHED = Path("../shared/data/deepflow")
PICTURE = Path("docs/pictures/flow_reference.png")


def main() -> None:
    """Simulate, plot, and print how far apart the curves are."""
    case = load_case(CASE)
    result = simulate(case.rock, case.fluid, case.wells, case.schedule, initial=case.initial, options=case.options)
    days = result.time / DAY
    clean, noisy = (_published(name) for name in ("reference_vertcase3.nc", "reference_vertcase3_noise.nc"))
    ours = {
        "injector's pressure, bar": result.bhp[:, 0].numpy() / BAR,
        "oil produced, m³/day": -result.oil_rate[:, 1].numpy() * DAY,
        "water produced, m³/day": -result.water_rate[:, 1].numpy() * DAY,
    }
    with drawing(PICTURE, (12.0, 3.6)) as figure:
        axes = figure.subplots(1, 3)
        for axis, (label, curve), exact, measured in zip(axes, ours.items(), clean, noisy, strict=True):
            axis.plot(days, measured, ".", color=GREY, markersize=4, label="published, with noise")
            axis.plot(days, exact, "o", color=ORANGE, markersize=5, fillstyle="none", label="published (MRST)")
            axis.plot(days, curve, color=BLUE, linewidth=1.5, label="rockbank")
            axis.set(xlabel="days", ylabel=label)
            axis.set_ylim(bottom=0)
            tidy(axis)
            print(f"{label}: at most {np.abs(curve - exact).max():.3g} apart")
        axes[1].legend(loc="best", frameon=False, fontsize=9)
        figure.suptitle("DeepFlow's reference rock", fontsize=12)
    print(PICTURE)


def _published(name: str) -> tuple[Float[np.ndarray, " t"], ...]:
    """Pressure of the injector (bar), oil and water produced (m^3/day)."""
    with xr.open_dataset(PUBLISHED / name, engine="h5netcdf") as file:
        state = file["state_variables"]
        kinds = [str(kind) for kind in state["state_variable"].values]
        injector, producer = state.sel(well="Injector").values, state.sel(well="Producer").values
    row = {word: next(i for i, kind in enumerate(kinds) if word in kind) for word in ("pressure", "oil", "water")}
    return injector[row["pressure"]] / BAR, np.abs(producer[row["oil"]]) * DAY, np.abs(producer[row["water"]]) * DAY


if __name__ == "__main__":
    main()
