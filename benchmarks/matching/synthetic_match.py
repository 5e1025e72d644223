"""A match small enough to be taken to its end many times: the quarter five-spot, whose permeability is to be found."""

from __future__ import annotations

from pathlib import Path

import yaml

from rockbank.flow.casefile.file import load_case
from rockbank.matching.io.case_file import load_match_case
from rockbank.matching.run import Run
from rockbank.workflows.match_request import MatchRequest, prepare
from rockbank.workflows.observe import Plan, read_observed, read_sigma, run

_CASE = Path("cases/quarter_five_spot.yaml")
_TRUTH = {"layers": {"seed": 1, "permeability": "200 mD", "log_deviation": 0.8, "lengths": [4, 4], "porosity": 0.2,
                     "porosity_deviation": 0.0}}  # fmt: skip
_UNKNOWN = {"gaussian": {"median": "200 mD", "deviation": 0.8, "variogram": "gaussian", "ranges": ["80 m", "80 m"],
                         "components": 24}}  # fmt: skip


def write_run(folder: Path, *, members: int, iterations: int) -> Run:
    """A new run of randomised maximum likelihood, with its case and observations, in a new folder.

    Raises:
        InputError: the command does not run in the project's folder.
    """
    folder.mkdir()
    said = yaml.safe_load(_CASE.read_text(encoding="utf-8"))
    truth, case, observations = (folder / name for name in ("truth.yaml", "case.yaml", "observations.csv"))
    truth.write_text(yaml.safe_dump(said | {"rock": _TRUTH}))
    known = load_case(truth)
    plan = Plan(observed=read_observed(None, known), sigma=read_sigma("2 bar", "2 m3/day"), seed=0, output=observations)
    run(known, plan)
    matching = {
        "observations": {"file": observations.name},
        "parameters": {"permeability": _UNKNOWN},
        "method": "rml",
        "seed": 3,
    }
    case.write_text(yaml.safe_dump(said | {"matching": matching}))
    made = folder / "run"
    made.mkdir()
    return prepare(case, load_match_case(case), MatchRequest(members=members, iterations=iterations), made)
