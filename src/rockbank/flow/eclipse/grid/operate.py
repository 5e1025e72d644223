"""Arithmetic of OPERATE and OPERATER."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

# What OPERATE makes of the other array x and of its own values y, with two numbers.
ACTS: Mapping[str, Callable[[np.ndarray, np.ndarray, float, float], np.ndarray]] = {
    "MULTA": lambda x, y, a, b: a * x + b,
    "POLY": lambda x, y, a, b: y + a * x**b,
    "SLOG": lambda x, y, a, b: 10 ** (a + b * x),
    "LOG10": lambda x, y, a, b: np.log10(x),
    "LOGE": lambda x, y, a, b: np.log(x),
    "INV": lambda x, y, a, b: 1 / x,
    "MULTX": lambda x, y, a, b: a * x,
    "ADDX": lambda x, y, a, b: x + a,
    "COPY": lambda x, y, a, b: x,
    "MAXLIM": lambda x, y, a, b: np.minimum(x, a),
    "MINLIM": lambda x, y, a, b: np.maximum(x, a),
    "MULTP": lambda x, y, a, b: a * x**b,
    "ABS": lambda x, y, a, b: np.abs(x),
    "MULTIPLY": lambda x, y, a, b: y * x,
}
