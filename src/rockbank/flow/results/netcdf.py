"""Results as a NetCDF file with CF attributes: curves, fields, how each step converged, where it comes from."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from rockbank.core.errors import InputError
from rockbank.core.files import replacing
from rockbank.core.provenance import git_commit
from rockbank.flow.case import Case
from rockbank.flow.equations.grid import Grid
from rockbank.flow.results.balance import Balance
from rockbank.flow.simulate import Result
from rockbank.flow.units import DAY

if TYPE_CHECKING:
    import xarray as xr

CONVENTIONS = "CF-1.11"
# NetCDF's fields lie with the fastest axis last, as CF recommends: T, Z, Y, X.
_SPACE = ("z", "y", "x")
_CURVES = {
    "bhp": ("Pa", "bottom-hole pressure"),
    "water_rate": ("m3 s-1", "surface rate of water into the reservoir; a producer's is negative"),
    "oil_rate": ("m3 s-1", "surface rate of oil into the reservoir; a producer's is negative"),
}
_STEPS = {
    "method": "how the report step was solved",
    "iterations": "iterations of all steps within the report step, failed ones included",
    "n_steps": "steps that the report step was cut into",
    "residual": "largest scaled residual of the last step",
    "note": "what else happened",
}


def to_dataset(case: Case, result: Result, volumes: Balance) -> xr.Dataset:
    """The results of one member, with coordinates in metres, seconds and days; a cell that is not active is NaN."""
    # A dry run, and whoever simulates in Python, need no dataset.
    import xarray as xr

    grid, trajectory = case.rock.grid, result.trajectories[0]
    at_ends = trajectory.ends + 1
    dataset = xr.Dataset(coords=_coordinates(case, result))
    for name, (unit, meaning) in _CURVES.items():
        values = getattr(result, name).detach().cpu().numpy()
        dataset[name] = (("time", "well"), values, {"units": unit, "long_name": meaning})
    for i, phase in enumerate(("water", "oil")):
        attributes = {"units": "m3", "long_name": f"surface volume of {phase} into the reservoir since the start"}
        dataset[f"{phase}_volume"] = (("time", "well"), volumes.injected[:, :, i], attributes)
    for name, unit, meaning in (("pressure", "Pa", "pressure of the oil"), ("saturation", "1", "saturation of water")):
        states = getattr(trajectory, name).detach().cpu().numpy()
        attributes = {"units": unit, "long_name": meaning}
        dataset[name] = (("time", *_SPACE), _on_box(grid, states[at_ends]), attributes)
        attributes = attributes | {"long_name": f"initial {meaning}"}
        dataset[f"initial_{name}"] = (_SPACE, _on_box(grid, states[:1])[0], attributes)
    for axis, k in zip("xyz", case.rock.components, strict=False):
        name = "permeability" if len(case.rock.components) == 1 else f"permeability_{axis}"
        k_on_box = _on_box(grid, case.rock.flat(k).detach().cpu().numpy())[0]
        dataset[name] = (_SPACE, k_on_box, {"units": "m2", "long_name": name.replace("_", " along ")})
    phi = _on_box(grid, case.rock.flat(case.rock.porosity).detach().cpu().numpy())[0]
    dataset["porosity"] = (_SPACE, phi, {"units": "1", "long_name": "porosity"})
    dataset.update(_perforations(case))
    for name, meaning in _STEPS.items():
        values = np.array([getattr(report, name) for report in trajectory.reports])
        dataset[f"step_{name}"] = ("time", values, {"long_name": meaning})
    dataset.attrs = _provenance(case, volumes)
    return dataset


def write_netcdf(
    path: Path, dataset: xr.Dataset, encoding: Mapping[Any, Any], versions: tuple[str, str] | None = None
) -> None:
    """Write a dataset, whole or not at all.

    Args:
        path: of the file.
        dataset: to write.
        encoding: of its variables, as `xarray.Dataset.to_netcdf` takes it.
        versions: of HDF5, the oldest and the newest whose format may be used; None for HDF5's own choice.
    """
    import h5netcdf
    import xarray as xr

    # In memory first: where the disk is full the HDF5 library ends the process by SIGSEGV.
    content = io.BytesIO()
    with h5netcdf.File(content, "w", libver=versions) as file:
        dataset.dump_to_store(xr.backends.H5NetCDFStore(file), encoding=encoding)
    with replacing(path) as beside:
        beside.write_bytes(content.getbuffer())


def write_results(path: Path, dataset: xr.Dataset) -> None:
    """Write the dataset, compressed, whole or not at all."""
    encoding = {name: {"zlib": True, "complevel": 4} for name, each in dataset.data_vars.items() if each.ndim >= 3}
    write_netcdf(path, dataset, encoding)


def read_results(path: Path) -> xr.Dataset:
    """The dataset that `write_results` wrote; InputError names the file that is absent or something else."""
    import xarray as xr

    if not path.is_file():
        raise InputError(f"{path}: no such file; 'rockbank simulate CASE.yaml -o {path}' makes it")
    try:
        dataset = xr.load_dataset(path, engine="h5netcdf")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no NetCDF file: {error}; make it again") from error
    missing = [name for name in (*_CURVES, "pressure", "saturation") if name not in dataset]
    if missing:
        raise InputError(f"{path}: has no {missing}; it holds no results of 'rockbank simulate'")
    # Its name in files of version 0.1.
    if "volume_error" in dataset.attrs:
        dataset.attrs["mass_balance_error"] = dataset.attrs.pop("volume_error")
    return dataset


def _coordinates(case: Case, result: Result) -> dict[str, Any]:
    grid = case.rock.grid
    edges = [np.concatenate([[0.0], np.cumsum(sizes)]) for sizes in grid.sizes]
    edges[2] += grid.top
    bounds = {axis: np.stack([at[:-1], at[1:]], axis=1) for axis, at in zip("xyz", edges, strict=True)}
    x, y, z = (pair.mean(axis=1) for pair in bounds.values())
    names = np.array([well.name for well in case.wells])
    return {
        "time": ("time", result.time, {"units": "s", "long_name": "time since the start", "axis": "T"}),
        "time_days": ("time", result.time / DAY, {"units": "d", "long_name": "time since the start"}),
        "x": ("x", x, {"units": "m", "long_name": "x of the cells' centres", "axis": "X", "bounds": "x_bounds"}),
        "y": ("y", y, {"units": "m", "long_name": "y of the cells' centres", "axis": "Y", "bounds": "y_bounds"}),
        "z": ("z", z, {"units": "m", "standard_name": "depth", "positive": "down", "axis": "Z", "bounds": "z_bounds"}),
        **{f"{axis}_bounds": ((axis, "bound"), pair) for axis, pair in bounds.items()},
        "well": ("well", names, {"long_name": "name of the well"}),
        "well_kind": ("well", np.array([well.kind for well in case.wells]), {"long_name": "injector or producer"}),
    }


def _on_box(grid: Grid, values: Float[np.ndarray, "t n"]) -> Float[np.ndarray, "t nz ny nx"]:
    box = np.full((len(values), grid.is_active.size), np.nan)
    box[:, grid.cells] = values
    return np.ascontiguousarray(box.reshape(-1, *grid.box).transpose(0, 3, 2, 1))


def _perforations(case: Case) -> dict[str, Any]:
    """Which well each perforation belongs to, and the indices of its cell along x, y, z."""
    owner = [name for name, well in enumerate(case.wells) for _ in well.cells]
    cells = np.array([(*place, 0)[:3] for well in case.wells for place in well.cells])
    found: dict[str, Any] = {
        "perforation_well": ("perforation", np.array(owner), {"long_name": "place of its well along 'well', from 0"})
    }
    for axis, at in zip("xyz", cells.T, strict=True):
        found[f"perforation_{axis}"] = ("perforation", at, {"long_name": f"place of its cell along '{axis}', from 0"})
    return found


def _provenance(case: Case, volumes: Balance) -> dict[str, Any]:
    return {
        "Conventions": CONVENTIONS,
        "title": case.title,
        "source": f"rockbank {version('rockbank')}, flow",
        # That of the code, wherever the command is run.
        "git_commit": git_commit(Path(__file__).parent) or "unknown",
        **({"start": case.start.isoformat()} if case.start else {}),
        "options": json.dumps(asdict(case.options)),
        "notes": "\n".join(case.notes),
        "mass_balance_error": volumes.mass_balance_error,
        "recovery": volumes.recovery,
    }
