"""Dates of a deck."""

from __future__ import annotations

from datetime import datetime

from rockbank.flow.eclipse.record import Record

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


def read_date(record: Record) -> datetime:
    """Day, month, year and time of START or DATES."""
    month = record.text(2).upper()[:3].replace("JLY", "JUL")
    clock = record.text(4, "00:00:00")
    try:
        day = datetime(record.whole(3), MONTHS.index(month) + 1, record.whole(1))
        hours, minutes, seconds = (float(part) for part in clock.split(":"))
        return day.replace(hour=int(hours), minute=int(minutes), second=int(seconds))
    except (ValueError, OverflowError) as error:
        raise record.error(
            f"expected a day, a month such as JAN, a year and a time such as 12:00:00 ({error})"
        ) from None
