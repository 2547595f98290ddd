"""A running job's log in the launcher's own: from the pod that submits it, or from Ray where no pod does."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from lens_core.errors import LensError, first_line
from lens_core.kube.api import Api
from lens_core.kube.status import JobState

logger = logging.getLogger(__name__)

OnLine = Callable[[str], None]
_KEPT_LINES = 8
_QUIET_S = 300.0
"""A log that says nothing for so long is asked for again: a connection may die without a word."""
_PAUSE_S = 0.5
_DRAIN_S = 15.0
"""What a job says last arrives within so long after its end, or not at all."""
_TIMEOUT_S = 10


class Log:
    """Passes lines on, and keeps the last ones for the error that may come."""

    def __init__(self, on_line: OnLine) -> None:
        self._on_line = on_line
        self._last: deque[str] = deque(maxlen=_KEPT_LINES)

    def line(self, text: str) -> None:
        if text.strip():
            self._last.append(text.strip())
        self._on_line(text)

    def note(self, text: str) -> None:
        """A line of the launcher's own."""
        self._on_line(text)

    def last_lines(self) -> str:
        return " | ".join(self._last)


class _Followed:
    """A log that is read in a thread of its own."""

    def _follow(self, ended: threading.Event) -> None:
        """Read until `ended` is set, and then what is left."""
        raise NotImplementedError

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Inside the block the log is passed on as it is written; at its end, what is left of it."""
        ended = threading.Event()
        thread = threading.Thread(target=self._follow, args=(ended,), name="log", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(_DRAIN_S)


class PodLog(_Followed):
    """Follows the logs of the pods that a selector names, one after the other, across dropped connections."""

    def __init__(self, api: Api, namespace: str, selector: str, log: Log) -> None:
        self._api, self._namespace, self._selector, self._log = api, namespace, selector, log
        self._finished: set[str] = set()
        self._reading, self._stamp, self._same_stamp = "", "", 0

    def _follow(self, ended: threading.Event) -> None:
        """Until the job has ended and its last pod's log has been read to the end."""
        while True:
            is_last_look = ended.is_set()
            try:
                pod = self._next_pod()
                is_read = pod is not None and self._read(pod)
            except LensError as error:
                logger.info("%s", error)
                pod, is_read = None, False
            if pod is None and is_last_look:
                return
            if not is_read:
                time.sleep(_PAUSE_S)

    def _next_pod(self) -> Any | None:
        pods = self._api.pods(self._namespace, self._selector)
        begun = [each for each in pods if each.status.phase in ("Running", "Succeeded", "Failed")]
        new = [each for each in begun if each.metadata.uid not in self._finished]
        return min(new, key=lambda each: each.metadata.creation_timestamp, default=None)

    def _read(self, pod: Any) -> bool:
        """Read on to where the log ends or the connection breaks; True when the pod has ended and all is read."""
        from urllib3.exceptions import HTTPError

        if pod.metadata.uid != self._reading:
            self._reading, self._stamp, self._same_stamp = pod.metadata.uid, "", 0
        had_ended = pod.status.phase != "Running"
        response = self._api.log_stream(self._namespace, pod.metadata.name, self._since_s(), _QUIET_S)
        to_skip, rest = self._same_stamp, b""
        try:
            for chunk in response.stream(amt=None, decode_content=False):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    to_skip = self._take(line.decode(errors="replace"), to_skip)
        except (HTTPError, OSError) as error:
            logger.info("the log of pod %s broke off (%s) and is read on", pod.metadata.name, first_line(error))
            return False
        finally:
            response.release_conn()
        if had_ended:
            if rest:
                self._take(rest.decode(errors="replace"), to_skip)
            self._finished.add(pod.metadata.uid)
        return had_ended

    def _take(self, line: str, to_skip: int) -> int:
        """Pass on a line, unless it was there before the connection broke: `to_skip` of the newest stamp were."""
        stamp, _, text = line.partition(" ")
        if stamp < self._stamp:
            return to_skip
        if stamp == self._stamp:
            if to_skip:
                return to_skip - 1
            self._same_stamp += 1
        else:
            self._stamp, self._same_stamp = stamp, 1
        self._log.line(text)
        return 0

    def _since_s(self) -> int | None:
        """Whole seconds, and one more: what comes twice is skipped."""
        if not self._stamp:
            return None
        written = datetime.fromisoformat(self._stamp[:19]).replace(tzinfo=UTC)
        return max(1, math.ceil((datetime.now(UTC) - written).total_seconds()) + 1)


class DashboardLog(_Followed):
    """Asks Ray's dashboard for a job's log again and again: in HTTPMode no pod writes it.

    Args:
        current: the job's last known state.
    """

    def __init__(self, current: Callable[[], JobState | None], log: Log) -> None:
        self._current, self._log = current, log
        self._job_id, self._passed_on = "", 0

    def _follow(self, ended: threading.Event) -> None:
        while not ended.wait(_PAUSE_S):
            self._look(is_last=False)
        self._look(is_last=True)

    def _look(self, is_last: bool) -> None:
        """Pass on the lines that are new; the last one may still be under way."""
        state = self._current()
        if state is None or not state.dashboard_url or not state.job_id:
            return
        if state.job_id != self._job_id:  # a retry has a job of its own
            self._job_id, self._passed_on = state.job_id, 0
        text = self._read(f"{state.dashboard_url}/api/jobs/{state.job_id}/logs")
        end = len(text) if is_last else text.rfind("\n") + 1
        for line in text[self._passed_on : end].splitlines():
            self._log.line(line)
        self._passed_on = max(self._passed_on, end)

    def _read(self, url: str) -> str:
        """Empty while Ray has no log, or is not reached: the job's status says what becomes of it."""
        import requests

        token = os.environ.get("RAY_AUTH_TOKEN")
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            answer = requests.get(url, headers=headers, timeout=_TIMEOUT_S)
            answer.raise_for_status()
            return str(answer.json()["logs"] or "")
        except (requests.RequestException, KeyError, ValueError) as error:
            logger.info("no log from Ray: %s", first_line(error))
            return ""
