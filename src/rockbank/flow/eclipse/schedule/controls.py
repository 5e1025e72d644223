"""What a deck asks of its wells: WCONPROD, WCONINJE, their histories, WELTARG and WELOPEN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from rockbank.core.errors import InputError
from rockbank.flow.eclipse.record import Record
from rockbank.flow.equations.wells import Control, Kind
from rockbank.flow.units import ATMOSPHERE, PSI

# Eclipse's limits of the bottom-hole pressure where a deck gives none, Pa.
LEAST_OF_PRODUCERS, MOST_OF_INJECTORS = ATMOSPHERE, 1e5 * PSI
SHUT = Control(kind="shut")
# Closed above the perforations, between which it may cross-flow.
STOPPED = Control(kind="rate", target=0.0)
_RATES: Mapping[str, Kind] = {"ORAT": "oil", "WRAT": "water", "LRAT": "rate", "RATE": "rate"}
# Where WCONPROD has the number of each mode.
_ITEMS = {"ORAT": 4, "WRAT": 5, "LRAT": 7, "BHP": 9}
_OPEN, _CLOSED = "OPEN", ("SHUT", "STOP")


@dataclass
class Orders:
    """The control of one well now.

    Attributes:
        kind: which it is; None where no keyword has said it.
        mode: RATE, ORAT, WRAT, LRAT or BHP.
        values: the number of each mode that is given, m^3/s or Pa; those of other modes are limits.
        is_open: whether it may flow.
        is_stopped: where it may not, whether it is closed above its perforations only.
        missing: what is said where the mode has no number.
        measured: what a history says of it, by quantity; rates into the reservoir, m^3/s, pressures, Pa.
    """

    kind: Literal["injector", "producer"] | None = None
    mode: str = ""
    values: dict[str, float] = field(default_factory=dict)
    is_open: bool = False
    is_stopped: bool = False
    missing: str = ""
    measured: dict[str, float] = field(default_factory=dict)

    def control(self, record: Record) -> Control:
        """The control that this is; DeckError names the record that asks for what cannot be."""
        if not self.is_open or self.kind is None:
            return STOPPED if self.is_stopped else SHUT
        if not self.mode:
            raise record.error(f"well '{record.text(1)}' is open, but nothing says what controls it; give the mode")
        if self.mode not in self.values:
            raise record.error(self.missing)
        target = self.values[self.mode]
        others = {mode: value for mode, value in self.values.items() if mode != self.mode}
        try:
            if self.mode != "BHP":
                default = LEAST_OF_PRODUCERS if self.kind == "producer" else MOST_OF_INJECTORS
                limit = others.pop("BHP", default)
                # Neither phase flows faster than both together.
                others = {mode: rate for mode, rate in others.items() if self.mode != "LRAT" or rate < target}
                if others:
                    raise record.error(f"{_names(others)}: under {self.mode}, only a bottom-hole pressure can be the "
                                       "limit")  # fmt: skip
                return Control(kind=_RATES[self.mode], target=target, limit=limit)
            limit_of_rate = others.pop("RATE" if self.kind == "injector" else "LRAT", None)
            if others:
                raise record.error(f"{_names(others)}: under BHP, only the liquid rate (item 7) can be the limit")
            return Control(kind="bhp", target=target, limit=limit_of_rate)
        except InputError as error:
            raise record.error(str(error).removeprefix(f"{record.place}: {record.keyword}: ")) from error


def act(orders: Orders, record: Record) -> None:
    """Change the orders as a record of one of the keywords says."""
    {
        "WCONPROD": _produce,
        "WCONINJE": _inject,
        "WCONHIST": _produce_history,
        "WCONINJH": _inject_history,
        "WELTARG": _retarget,
        "WELOPEN": _reopen,
    }[record.keyword](orders, record)


def _produce(orders: Orders, record: Record) -> None:
    _become(orders, "producer", record)
    orders.measured = {}
    _open(orders, record, 2)
    values = {mode: record.number(item, "pressure" if mode == "BHP" else "rate")
              for mode, item in _ITEMS.items() if record.has(item)}  # fmt: skip
    mode = record.text(3, "" if not orders.is_open else None).upper()
    if orders.is_open:
        # A limit of the gas rate is never reached: there is none.
        record.refuse((8,), "rates are at surface conditions")
        record.refuse((10, 11, 12), "there is no tubing-head pressure", default=0)
        if mode not in _ITEMS:
            raise record.error(f"item 3: control by '{mode}' is not supported; use ORAT, WRAT, LRAT or BHP")
    _order(orders, mode, values, f"item {_ITEMS.get(mode)} has no default; give it")


def _inject(orders: Orders, record: Record) -> None:
    _become(orders, "injector", record)
    orders.measured = {}
    _open(orders, record, 3)
    values = {}
    if record.has(5):
        values["RATE"] = record.number(5, "rate")
    if record.has(7):
        values["BHP"] = record.number(7, "pressure")
    mode = record.text(4, "" if not orders.is_open else None).upper()
    if orders.is_open:
        _require_water(record)
        record.refuse((6,), "rates are at surface conditions")
        record.refuse((8, 9), "there is no tubing-head pressure", default=0)
        if mode not in ("RATE", "BHP"):
            raise record.error(f"item 4: control by '{mode}' is not supported; use RATE or BHP")
    _order(orders, mode, values, f"item {5 if mode == 'RATE' else 7} has no default; give it")


def _produce_history(orders: Orders, record: Record) -> None:
    _become(orders, "producer", record)
    _open(orders, record, 2)
    mode = record.text(3, "" if not orders.is_open else None).upper()
    oil, water = (record.number(item, "rate", 0.0) for item in (4, 5))
    values = {"ORAT": oil, "WRAT": water, "LRAT": oil + water}
    if record.has(10):
        values["BHP"] = record.number(10, "pressure")
    measured = {"oil_rate": -oil, "water_rate": -water} | _pressure(values)
    if mode == "RESV" and oil + water == 0:
        mode = "LRAT"
    if orders.is_open and mode not in _ITEMS:
        raise record.error(f"item 3: control by '{mode}' is not supported; use ORAT, WRAT, LRAT or BHP")
    _order_history(orders, mode, values, measured, "item 10 has no default; give it")


def _inject_history(orders: Orders, record: Record) -> None:
    _become(orders, "injector", record)
    _open(orders, record, 3)
    mode = record.text(12, "RATE").upper()
    values = {"RATE": record.number(4, "rate", 0.0)}
    if record.has(5):
        values["BHP"] = record.number(5, "pressure")
    measured = {"water_rate": values["RATE"]} | _pressure(values)
    if orders.is_open:
        _require_water(record)
        if mode not in ("RATE", "BHP"):
            raise record.error(f"item 12: control by '{mode}' is not supported; use RATE or BHP")
    _order_history(orders, mode, values, measured, "item 5 has no default; give it")


def _order_history(
    orders: Orders, mode: str, values: Mapping[str, float], measured: dict[str, float], missing: str
) -> None:
    """Of what was measured, the mode's number is the target; the others are no limits.

    The limit of pressure that WELTARG gave stays as long as the well follows rates of a history.
    """
    keeps_limit = orders.measured and "BHP" not in (orders.mode, mode)
    limit = {name: value for name, value in orders.values.items() if name == "BHP" and keeps_limit}
    orders.measured = measured
    _order(orders, mode, limit | {name: value for name, value in values.items() if name == mode}, missing)


def _pressure(values: Mapping[str, float]) -> dict[str, float]:
    """That was measured; 0 is none."""
    return {"bhp": values["BHP"]} if values.get("BHP", 0.0) > 0 else {}


def _retarget(orders: Orders, record: Record) -> None:
    mode = record.text(2).upper()
    if orders.kind == "injector" and mode == "WRAT":
        mode = "RATE"
    known = ("RATE", "BHP") if orders.kind == "injector" else tuple(_ITEMS)
    if mode not in known:
        raise record.error(f"item 2: a target of '{mode}' is not supported; use {', '.join(known)}")
    orders.mode = orders.mode or mode
    orders.values = orders.values | {mode: record.number(3, "pressure" if mode == "BHP" else "rate")}


def _reopen(orders: Orders, record: Record) -> None:
    if any(record.whole(i, 0) > 0 for i in range(3, 8)):
        raise record.error("items 3 to 7: perforations cannot be opened or shut one by one; leave them out")
    _open(orders, record, 2)


def _order(orders: Orders, mode: str, values: dict[str, float], missing: str) -> None:
    orders.mode, orders.values, orders.missing = mode, values, missing


def _become(orders: Orders, kind: Literal["injector", "producer"], record: Record) -> None:
    if orders.kind not in (None, kind):
        raise record.error(f"well '{record.text(1)}' is {orders.kind} already; it cannot change")
    orders.kind = kind


def _open(orders: Orders, record: Record, item: int) -> None:
    said = record.choice(item, (_OPEN, *_CLOSED), _OPEN)
    orders.is_open, orders.is_stopped = said == _OPEN, said == "STOP"


def _require_water(record: Record) -> None:
    if not record.text(2).upper().startswith("WAT"):
        raise record.error(f"item 2: got '{record.text(2)}'; only WATER can be injected")


def _names(values: Mapping[str, float]) -> str:
    return ", ".join(values)
