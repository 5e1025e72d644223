"""The header Accept: which of the formats that are made here a client wants (RFC 9110, 12.5.1)."""

from __future__ import annotations

from collections.abc import Mapping

from serving.base.errors import NotAcceptable


def choose_format(accept: str | None, media_types: Mapping[str, str], named: str | None, default: str) -> str:
    """The format that is named in the request, or the default, or else the one that is accepted most.

    Args:
        accept: the header; None for anything.
        media_types: by format.
        named: by the request itself; None where it names none.
        default: stands where nothing else is accepted more.

    Raises:
        NotAcceptable: where what is named, or all that there is, is not accepted.
    """
    if accept is None or not accept.strip():
        return named or default
    weights = {each: _weight(media_type, accept) for each, media_type in media_types.items()}
    best = named or max([default, *media_types], key=lambda each: weights[each])
    if weights[best] <= 0:
        known = f"{media_types[named]} for {named}," if named else f"one of {sorted(set(media_types.values()))}"
        raise NotAcceptable(f"accept: got '{accept[:80]}'; accept {known} or leave it out")
    return best


def _weight(media_type: str, accept: str) -> float:
    """The weight of the most specific range that has the type; 0 where none has it."""
    kind = media_type.partition("/")[0]
    found = {}
    for each in accept.lower().split(","):
        media_range, *parameters = (part.strip() for part in each.split(";"))
        found[media_range] = next((_number(part[2:]) for part in parameters if part.startswith("q=")), 1.0)
    return next((found[media_range] for media_range in (media_type, f"{kind}/*", "*/*") if media_range in found), 0.0)


def _number(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 0.0
