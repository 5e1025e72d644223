"""`python -m serving`: the service of the environment's settings."""

from __future__ import annotations

import sys

from serving.base.errors import NothingToServe
from serving.base.settings import SettingsError, load_settings
from serving.run import run


def main() -> int:
    """Serve; what the operator can mend is one line on standard error, and exit status 1."""
    try:
        run(load_settings(), lambda line: print(line, flush=True))
    except (SettingsError, NothingToServe) as error:
        print(f"error {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
