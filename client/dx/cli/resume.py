"""Where to go on with following logs, when the daemon began anew: no line is shown twice, and none is left out.

The daemon numbers nothing. The lines of one stream of one container come in the order of their times, so the last time
and how many lines had it say what was shown.
"""

from datetime import datetime, timedelta

from dx.answers import LogEntry

MARGIN_S = 10
"""What is asked for again: so late may a line of one stream come after one of another."""


class Resume:
    """What was shown, by stream."""

    def __init__(self) -> None:
        self._shown: dict[tuple[str, str, str], tuple[str, int]] = {}
        self._again: dict[tuple[str, str, str], int] = {}
        self._newest = ""
        self._told = ""
        """Up to where marks were shown before."""

    @property
    def since(self) -> str | None:
        """From when on to ask; None where nothing was shown yet."""
        if not self._newest:
            return None
        moment = datetime.fromisoformat(self._newest[:19] + "+00:00") - timedelta(seconds=MARGIN_S)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    def again(self) -> None:
        """What comes now was partly shown before."""
        self._again = {key: count for key, (_, count) in self._shown.items()}
        self._told = self._newest

    def is_new(self, entry: LogEntry) -> bool:
        """Whether this was not shown yet; remembers it. A mark is shown again where it is as new as the lines."""
        time = entry["time"]
        if "line" not in entry:
            return not self._told or time > self._told
        key = (entry["service"], entry.get("container", ""), entry.get("stream", ""))
        last, count = self._shown.get(key, ("", 0))
        if key in self._again:
            if time < last:
                return False
            if time == last and self._again[key] > 0:
                self._again[key] -= 1
                return False
            del self._again[key]
        self._shown[key] = (time, count + 1 if time == last else 1)
        self._newest = max(self._newest, time)
        return True
