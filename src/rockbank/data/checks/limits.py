"""The rules' limits without Great Expectations, whose import takes seconds: for a word at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rockbank.data.checks.rules import Rule, spell, spell_some

MEAN = "ExpectColumnMeanToBeBetween"
IN_SET = "ExpectColumnValuesToBeInSet"


def broken(table: pd.DataFrame, rules: Sequence[Rule]) -> list[tuple[Rule, str]]:
    """The rules that a table breaks, each with its reason in the words of `check_crops`."""
    found = []
    for rule in rules:
        got = _fault(table[rule.arguments["column"]], rule)
        if got is not None:
            found.append((rule, rule.reason(got)))
    return found


def _fault(column: pd.Series, rule: Rule) -> str | None:
    """What is wrong with a column; empty cells are left out, as Great Expectations leaves them out."""
    known = column.dropna()
    if rule.kind == MEAN:
        mean = float(known.mean())
        return None if _is_between(np.array([mean]), rule)[0] else spell(mean)
    if rule.kind == IN_SET:
        is_good = known.isin(rule.arguments["value_set"]).to_numpy()
    else:
        is_good = _is_between(known.to_numpy(), rule)
    if is_good.mean() >= rule.arguments["mostly"]:
        return None
    return spell_some(int((~is_good).sum()), len(column), known[~is_good].tolist())


def _is_between(values: np.ndarray, rule: Rule) -> np.ndarray:
    low, high = rule.arguments["min_value"], rule.arguments["max_value"]
    return (values >= (-np.inf if low is None else low)) & (values <= (np.inf if high is None else high))
