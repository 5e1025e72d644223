"""Of the formats that there are, the client gets what it accepts, or hears that there is none of it."""

import pytest

from serving.base.errors import NotAcceptable
from serving.http.accept import choose_format

TYPES = {"npy": "application/x-npy", "png": "image/png", "json": "application/json"}


@pytest.mark.parametrize(
    ("accept", "named", "expected"),
    [
        (None, None, "npy"),
        ("", "png", "png"),
        ("*/*", None, "npy"),
        ("image/png", None, "png"),
        ("image/*", None, "png"),
        ("IMAGE/PNG;q=0.5, application/json", None, "json"),
        ("image/png;q=0.9, */*;q=0.1", None, "png"),
        ("application/json, text/plain, */*", None, "npy"),
        ("application/x-npy;q=0, */*", None, "png"),
        ("*/*", "json", "json"),
    ],
)
def test_the_format_is_the_one_that_is_accepted_most(accept: str | None, named: str | None, expected: str) -> None:
    assert choose_format(accept, TYPES, named, "npy") == expected


@pytest.mark.parametrize(("accept", "named"), [("text/html", None), ("image/png", "json"), ("*/*;q=x", None)])
def test_what_is_not_made_here_is_refused(accept: str, named: str | None) -> None:
    with pytest.raises(NotAcceptable, match="leave it out"):
        choose_format(accept, TYPES, named, "npy")
