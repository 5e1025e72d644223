"""What a data set must be before a generator may learn from it: limits, and words for whoever has to mend it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rockbank.data.checks.tables import LAGS
from rockbank.data.manifest import VOXEL_SIZES
from rockbank.params import CheckParams
from rockbank.rock.crops import SPLITS

# One crop in a hundred may be an outlier, such as one that lies wholly in a grain.
MOSTLY = 0.99
SIDES = [16 * k for k in range(1, 129)]
DTYPES = ["uint8", "uint16"]
# An object-based model has cells of metres; a scan has voxels of a millimetre at most.
CELL_SIZES = (1e-3, 1e3)
# Of the phase one pixel apart: 0 for white noise, 0.9 for a smoothed scan.
CORRELATION_MIN = 0.4
CORRELATION_RISE_MAX = 0.1
CONTRAST_MIN = 0.1
# Both splits are the same rock: two regions of one slice differ by less.
POROSITY_GAP_MAX = 0.05


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One expectation, with the words for whoever has to mend what fails it.

    Attributes:
        kind: name of the expectation in Great Expectations.
        arguments: of it.
        what: is wrong when it fails.
        remedy: what to do then.
        severity: "critical" stops the pipeline, "warning" does not.
    """

    kind: str
    arguments: Mapping[str, Any]
    what: str
    remedy: str
    severity: str = "critical"

    def reason(self, got: str) -> str:
        """What is wrong, the value got, the limit and what to do, in one line."""
        arguments = self.arguments
        if "value_set" in arguments:
            known = arguments["value_set"]
            limit = f"allowed are {known if len(known) < 6 else f'{known[:3]} and so on'}"
        else:
            low, high = arguments["min_value"], arguments["max_value"]
            limit = f"allowed is {'any' if low is None else spell(low)} to {'any' if high is None else spell(high)}"
        if arguments.get("mostly", 1) < 1:
            limit += f" in {arguments['mostly']:.0%} of them"
        return f"{self.what}: {arguments['column']} {got}; {limit}; {self.remedy}"


def spell(value: Any) -> str:
    """A value for people."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def spell_some(n_bad: int, n: int, values: Sequence[Any]) -> str:
    """How many values of a column are bad, and the first ones."""
    return f"{n_bad} of {n}, such as {', '.join(spell(value) for value in values[:3])}"


def crop_rules(params: CheckParams) -> list[Rule]:
    """What every crop must be, or all but one in a hundred."""
    again = "prepare the crops again"
    return [
        _among("split", SPLITS, "crops of an unknown split", again),
        _among("height", SIDES, "crop height is no multiple of 16 pixels", "set prepare.size to a multiple of 16"),
        _among("width", SIDES, "crop width is no multiple of 16 pixels", "set prepare.size to a multiple of 16"),
        _among("channels", [1, 3], "crops have a wrong number of channels", again),
        _among("dtype", DTYPES, "crops are stored in a wrong type", again),
        _between("n_nan", 0, 0, "crops hold NaN", "repair the volume, or add it again with 'rockbank data add'"),
        _between("min", 0, 1, "grey values lie below the scale [0, 1]", again),
        _between("max", 0, 1, "grey values lie above the scale [0, 1]", again),
        _between(
            "mean",
            *params.mean,
            "crops are too dark or too bright on average",
            "check the exposure and the normalisation of the volume, or change check.mean",
            mostly=MOSTLY,
        ),
        _between(
            "std",
            params.std_min,
            None,
            "crops are flat",
            "crop blank margins off the volume, or change check.std_min",
            mostly=MOSTLY,
        ),
        _between(
            "saturated",
            None,
            params.saturated_max,
            "crops are saturated",
            "take an unclipped scan, crop the holder off, or change check.saturated_max",
            mostly=MOSTLY,
        ),
    ] + [_between(f"s2_{lag}", 0, 1, f"S2 at lag {lag} is no probability", again) for lag in LAGS]


def set_rules(params: CheckParams, *, is_scan: bool) -> list[Rule]:
    """What the set must be as a whole; `is_scan` where its voxels are a scan's, and not a reservoir model's cells."""
    voxel_sizes = VOXEL_SIZES if is_scan else CELL_SIZES
    recut = "cut them again with 'dvc repro -f prepare', or add another volume"
    return [
        _is("n", params.n_min, None, "too few crops", "ask prepare for more, or change check.n_min"),
        _is("n_train", 2, None, "too few training crops", "raise n_train"),
        _is("n_validation", 2, None, "too few validation crops", "raise n_validation"),
        _is("n_test", 2, None, "too few test crops", "raise n_test"),
        _is("voxel_size", *voxel_sizes, "absurd voxel size in metres", "correct voxel_size in data/manifest.yaml"),
        _is(
            "porosity",
            *params.porosity,
            "porosity (fraction of the phase after segmentation) is off",
            "check smoothing and threshold in data/manifest.yaml, or change check.porosity",
        ),
        _is("duplicates", None, params.duplicates_max, "too large a fraction of crops has a twin", recut),
        _is("overlapping", 0, 0, "crops of two splits share pixels", recut),
        _is("shared", 0, 0, "crops of two splits are equal", recut),
        _is(
            "overlapping_any_slice",
            0,
            0,
            "crops of two splits lie over each other in different slices, which resemble each other",
            recut,
            severity="warning",
        ),
        _is(
            "contrast",
            CONTRAST_MIN,
            None,
            "little of the grey scale is used",
            "add the volume again with 'rockbank data add', which normalises",
            severity="warning",
        ),
        _is(
            "correlation",
            CORRELATION_MIN,
            None,
            "the phase is more noise than structure: S2 falls off within a pixel",
            "raise smoothing in data/manifest.yaml",
            severity="warning",
        ),
        _is(
            "correlation_rise",
            None,
            CORRELATION_RISE_MAX,
            "S2 rises with the lag, as stripes and grids make it",
            "look at the volume for artefacts of its acquisition",
            severity="warning",
        ),
        _is(
            "porosity_gap",
            None,
            POROSITY_GAP_MAX,
            "training and test crops differ in porosity",
            "use 'split: blocks' in prepare or another prepare.seed, or add a more even volume",
            severity="warning",
        ),
    ]


def volume_rules() -> list[Rule]:
    """What every raw volume must be."""
    again = "add the volume again with 'rockbank data add'"
    return [
        _among("dtype", DTYPES, "volumes are stored in a wrong type", again),
        _between("rows", 32, None, "volumes have too few rows", "use a larger scan"),
        _between("columns", 32, None, "volumes have too few columns", "use a larger scan"),
        _between("slices", 1, None, "volumes have no slices", again),
        _between("n_nan", 0, 0, "volumes hold NaN", again),
        _between("voxel_size", *VOXEL_SIZES, "absurd voxel size in metres", "correct data/manifest.yaml"),
        _between("min", 0, 1, "grey values lie below the scale [0, 1]", again),
        _between("max", 0, 1, "grey values lie above the scale [0, 1]", again),
        _between("mean", 0.02, 0.98, "volumes are all but black or white", "take a better exposed scan"),
        _between("std", 0.01, None, "volumes are flat", "take a scan with contrast"),
        _between("saturated", None, 0.9, "volumes are saturated", "take an unclipped scan", severity="warning"),
    ]


def _between(
    column: str,
    low: float | None,
    high: float | None,
    what: str,
    remedy: str,
    *,
    mostly: float = 1.0,
    severity: str = "critical",
) -> Rule:
    arguments = {"column": column, "min_value": low, "max_value": high, "mostly": mostly}
    return Rule(kind="ExpectColumnValuesToBeBetween", arguments=arguments, what=what, remedy=remedy, severity=severity)


def _is(
    column: str, low: float | None, high: float | None, what: str, remedy: str, *, severity: str = "critical"
) -> Rule:
    """For a table of one row: a mean is reported with its value, which the report then shows."""
    arguments = {"column": column, "min_value": low, "max_value": high}
    return Rule(kind="ExpectColumnMeanToBeBetween", arguments=arguments, what=what, remedy=remedy, severity=severity)


def _among(column: str, values: Sequence[Any], what: str, remedy: str) -> Rule:
    arguments = {"column": column, "value_set": list(values), "mostly": 1.0}
    return Rule(kind="ExpectColumnValuesToBeInSet", arguments=arguments, what=what, remedy=remedy)
