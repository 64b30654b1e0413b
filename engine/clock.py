"""Times of the clock that a person writes."""

from __future__ import annotations

from datetime import datetime, timedelta


def next_time(words: str | None, now: float) -> float | None:
    """When a time that a person wrote is, in seconds since 1970.

    Reckoned by the local clock: "07:00" is when that clock shows it next, also across a change to
    daylight saving. Of a time that the change leaves out it is an hour later, of one that comes
    twice the first.

    Args:
        words: "22:30", "2026-11-24T22:30", or None.
        now: The time now.
    """
    if words is None:
        return None
    if "T" in words:
        return datetime.fromisoformat(words).timestamp()  # local time is what a person writes
    hour, minute = (int(part) for part in words.split(":"))
    here = datetime.fromtimestamp(now)  # noqa: DTZ006
    when = here.replace(hour=hour, minute=minute, second=0, microsecond=0, fold=0)
    if when.timestamp() < now and (when.hour, when.minute) != (here.hour, here.minute):
        when += timedelta(days=1)
    return when.timestamp()
