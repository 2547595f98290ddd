"""An HTTP server that speaks the part of KFP's v2beta1 API that runs and schedules need, with the faults of real ones.

Bodies are read with the models of `kfp_server_api`, strictly, and pipelines as the API server reads them. What it
answers is made of the same models; times that are not there yet are the year 1970, as KFP's are.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kfp_server_api as kfp
from google.protobuf.json_format import ParseDict
from kfp.pipeline_spec import pipeline_spec_pb2

PREFIX = "/apis/v2beta1"
NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)
BEGUN = datetime(2026, 3, 1, 12, tzinfo=UTC)
_MODELS = kfp.ApiClient()


@dataclass
class Fault:
    """What happens to the next `times` requests of `method` whose path ends with `path`; `after` they are done."""

    method: str
    path: str
    action: Callable[[_Handler], None]
    times: int = 1
    after: bool = False


def answer(status: int, body: str = "upstream connect error", **headers: str) -> Callable[[_Handler], None]:
    """Of a gateway, in words of its own."""
    return lambda handler: handler.send(status, body.encode(), {"Content-Type": "text/html", **headers})


def error(status: int, code: int, message: str) -> Callable[[_Handler], None]:
    """Of the API server: gRPC's code and message."""
    text = json.dumps({"error": message, "code": code, "message": message, "details": []})
    return lambda handler: handler.send(status, text.encode(), {"Content-Type": "application/json"})


def hang_up(handler: _Handler) -> None:
    handler.close_connection = True
    handler.connection.shutdown(2)


def silence(seconds: float) -> Callable[[_Handler], None]:
    """No answer for so long, and then none at all."""

    def act(handler: _Handler) -> None:
        handler.server.kfp.released.wait(seconds)
        hang_up(handler)

    return act


@dataclass
class KfpServer:
    """State and faults; `running()` serves them.

    Attributes:
        token, cookie: what requests must carry; None: anything goes.
        is_multi_user: whether experiments want a namespace.
        version: of its release, as its image was built with.
        next_states: what each look at a run finds before it is answered: a function that changes the run.
        requests: method and path of each.
        headers: of the last request.
    """

    token: str | None = None
    cookie: str | None = None
    is_multi_user: bool = False
    version: str = "2.17.0"
    experiments: dict[str, Any] = field(default_factory=dict)
    runs: dict[str, Any] = field(default_factory=dict)
    schedules: dict[str, Any] = field(default_factory=dict)
    next_states: list[Callable[[Any], None]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    page_size: int = 100
    released: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def running(self) -> Iterator[KfpServer]:
        server = _Server(("127.0.0.1", 0), _Handler)
        server.kfp, self.port = self, server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.released.set()
            server.shutdown()
            server.server_close()
            thread.join()

    def put_run(self, state: str = "RUNNING", **fields: Any) -> str:
        """A run that somebody has submitted; its id."""
        run = kfp.V2beta1Run(
            run_id=f"r{len(self.runs) + 1}", display_name="demo-1234", state=state, experiment_id="e1", created_at=BEGUN
        )
        run.finished_at = NO_TIME
        for name, value in fields.items():
            setattr(run, name, value)
        self.runs[run.run_id] = run
        return str(run.run_id)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    kfp: KfpServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is no error of the server's."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _RefusedError(Exception):
    """`status`, gRPC's code, and a message."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    _after: Fault | None = None

    def log_message(self, *_: Any) -> None:
        """Tests print nothing of their own."""

    def _serve(self) -> None:
        state = self.server.kfp
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urlsplit(self.path)
        state.requests.append(f"{self.command} {url.path}")
        state.headers = {name.lower(): value for name, value in self.headers.items()}
        faults = [each for each in state.faults if each.times and each.method == self.command]
        fault = next((each for each in faults if url.path.endswith(each.path)), None)
        if fault is not None:
            fault.times -= 1
            if not fault.after:
                fault.action(self)
                return
            self._after = fault
        if state.token is not None and self.headers.get("Authorization") != f"Bearer {state.token}":
            error(401, 16, f"not authenticated: {self.headers.get('Authorization')}")(self)
        elif state.cookie is not None and self.headers.get("Cookie") != state.cookie:
            answer(302, "", Location="https://login.example/dex/auth?client_id=oidc&state=secret")(self)
        else:
            self._route(url.path.removeprefix(PREFIX), parse_qs(url.query), body)

    do_GET = do_POST = do_DELETE = _serve  # noqa: N815 - names that http.server looks for

    def _route(self, path: str, query: dict[str, list[str]], body: bytes) -> None:
        name, _, verb = path.strip("/").partition(":")
        kind, _, identifier = name.partition("/")
        try:
            handle = getattr(self, f"_{self.command.lower()}_{kind}", None)
            if handle is None or not self.path.startswith(PREFIX):
                answer(404, "404 page not found")(self)
                return
            self._reply(handle(identifier, verb, {key: values[-1] for key, values in query.items()}, body))
        except _RefusedError as refusal:
            status, code, message = refusal.args
            error(status, code, message)(self)

    def _get_healthz(self, *_: Any) -> Any:
        state = self.server.kfp  # written by the API server itself, with more than the API's own model has
        return {"commit_sha": "c0ffee", "tag_name": state.version, "multi_user": state.is_multi_user}

    def _get_experiments(self, identifier: str, _verb: str, query: dict[str, str], _body: bytes) -> Any:
        state = self.server.kfp
        if identifier:
            return state.experiments[identifier]
        if state.is_multi_user and "namespace" not in query:
            raise _RefusedError(400, 3, "Invalid input error: Experiment namespace must not be empty")
        wanted = (_name_in(query), query.get("namespace"))
        found = [each for each in state.experiments.values() if (each.display_name, each.namespace) == wanted]
        return kfp.V2beta1ListExperimentsResponse(experiments=found or None)

    def _post_experiments(self, _identifier: str, _verb: str, _query: dict[str, str], body: bytes) -> Any:
        experiment = read(body, "V2beta1Experiment")
        experiment.experiment_id = f"e{len(self.server.kfp.experiments) + 1}"
        self.server.kfp.experiments[experiment.experiment_id] = experiment
        return experiment

    def _get_runs(self, identifier: str, _verb: str, query: dict[str, str], _body: bytes) -> Any:
        state = self.server.kfp
        if not identifier:
            name = _name_in(query)
            found = [each for each in state.runs.values() if each.display_name == name]
            return kfp.V2beta1ListRunsResponse(runs=found or None)
        run = self._known(state.runs, identifier, "Run")
        if state.next_states:
            state.next_states.pop(0)(run)
        return run

    def _post_runs(self, identifier: str, verb: str, _query: dict[str, str], body: bytes) -> Any:
        state = self.server.kfp
        if verb == "terminate":
            run = self._known(state.runs, identifier, "Run")
            if run.state not in ("PENDING", "RUNNING", "PAUSED"):
                raise _RefusedError(400, 3, f"Failed to terminate a run {identifier}. Row not found")
            run.state = "CANCELING"
            return None
        run = read(body, "V2beta1Run")
        check_pipeline(run)
        run_id = state.put_run("PENDING")
        run.run_id, run.state, run.created_at, run.finished_at = run_id, "PENDING", BEGUN, NO_TIME
        state.runs[run_id] = run
        return run

    def _get_recurringruns(self, identifier: str, _verb: str, query: dict[str, str], _body: bytes) -> Any:
        state = self.server.kfp
        name = _name_in(query) if "filter" in query else None
        found = [each for each in state.schedules.values() if name in (None, each.display_name)]
        found = [each for each in found if each.experiment_id == query["experiment_id"]]
        first = int(query.get("page_token") or 0)
        last = first + min(state.page_size, int(query["page_size"]))
        token = str(last) if last < len(found) else ""
        return kfp.V2beta1ListRecurringRunsResponse(recurring_runs=found[first:last] or None, next_page_token=token)

    def _post_recurringruns(self, identifier: str, verb: str, _query: dict[str, str], body: bytes) -> Any:
        schedules = self.server.kfp.schedules
        if verb:
            schedule = self._known(schedules, identifier, "Job")
            schedule.status = {"enable": "ENABLED", "disable": "DISABLED"}[verb]
            return None
        schedule = read(body, "V2beta1RecurringRun")
        check_pipeline(schedule)
        cron = schedule.trigger.cron_schedule
        if cron is not None and not re.fullmatch(r"(\S+ ){5}\S+|@\w+.*", cron.cron):
            raise _RefusedError(400, 3, f"Schedule cron is not a supported format: {cron.cron}")
        schedule.recurring_run_id = f"s{len(schedules) + 1}"
        schedule.status = {"ENABLE": "ENABLED", "DISABLE": "DISABLED"}[schedule.mode]
        schedule.created_at = BEGUN
        schedules[schedule.recurring_run_id] = schedule
        return schedule

    def _delete_recurringruns(self, identifier: str, _verb: str, _query: dict[str, str], _body: bytes) -> Any:
        self._known(self.server.kfp.schedules, identifier, "Job")
        del self.server.kfp.schedules[identifier]

    def _known(self, things: dict[str, Any], identifier: str, kind: str) -> Any:
        if identifier not in things:
            raise _RefusedError(404, 5, f"Failed to get a {kind}: ResourceNotFoundError: {kind} {identifier} not found")
        return things[identifier]

    def _reply(self, model: Any) -> None:
        if self._after is not None:
            fault, self._after = self._after, None
            fault.action(self)
            return
        text = json.dumps(_MODELS.sanitize_for_serialization({} if model is None else model))
        self.send(200, text.encode(), {"Content-Type": "application/json"})

    def send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def read(body: bytes, model: str) -> Any:
    """The model that a body holds; a field that the model does not know is refused, as by the API server."""
    found = _MODELS.deserialize(SimpleNamespace(data=body), model)
    if _MODELS.sanitize_for_serialization(found) != json.loads(body):
        raise _RefusedError(400, 3, f"proto: unknown field in {model}")
    return found


def check_pipeline(of: Any) -> None:
    """The specs parse, and every parameter that is given is one of the pipeline's."""
    spec = ParseDict(of.pipeline_spec["pipeline_spec"], pipeline_spec_pb2.PipelineSpec())
    ParseDict(of.pipeline_spec["platform_spec"], pipeline_spec_pb2.PlatformSpec())
    unknown = set(of.runtime_config.parameters) - set(spec.root.input_definitions.parameters)
    if unknown:
        raise _RefusedError(400, 3, f"unknown parameters {unknown}")


def _name_in(query: dict[str, str]) -> str:
    (predicate,) = json.loads(query["filter"])["predicates"]
    assert (predicate["operation"], predicate["key"]) == (1, "display_name")
    return str(predicate["stringValue"])


def task(
    name: str, state: str, began: datetime | None = None, took_s: float | None = None, children: tuple[str, ...] = ()
) -> Any:
    """A node of the workflow, as the API server tells it."""
    ended = NO_TIME if began is None or took_s is None else datetime.fromtimestamp(began.timestamp() + took_s, UTC)
    return kfp.V2beta1PipelineTaskDetail(
        display_name=name,
        state=state,
        start_time=NO_TIME if began is None else began,
        end_time=ended,
        child_tasks=[kfp.PipelineTaskDetailChildTask(pod_name=each) for each in children] or None,
    )
