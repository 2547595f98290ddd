"""Submission to a server that speaks the part of KFP's v2beta1 API that a run needs."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from lens_core.config import load_config
from lens_core.errors import LensError
from pipelines.launch import submit

pytestmark = pytest.mark.integration


class Api(ThreadingHTTPServer):
    """Remembers each request as (method, path without query, headers, JSON body); `refuse` answers runs with 403."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.refuse = False

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Api

    def _answer(self) -> None:
        path = self.path.split("?")[0]
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else None
        self.server.requests.append((self.command, path, dict(self.headers), body))
        answers: dict[str, dict[str, Any]] = {
            "/apis/v2beta1/healthz": {},
            "/apis/v2beta1/experiments": {"experiment_id": "e1", "display_name": "lens-grpo"},
            "/apis/v2beta1/runs": {"run_id": "r1"},
        }
        content = json.dumps(answers.get(path, {})).encode()
        self.send_response(403 if self.server.refuse and path.endswith("/runs") else 200 if path in answers else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _answer  # noqa: N815 - names that http.server looks for

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def api() -> Iterator[Api]:
    server = Api()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_submit_starts_a_run_with_the_pipeline_and_its_parameters(api: Api) -> None:
    config = load_config("demo")
    assert submit(config, api.address + "/", "http://mlflow:5000", "secret") == f"{api.address}/#/runs/details/r1"
    method, path, headers, body = api.requests[-1]
    assert (method, path) == ("POST", "/apis/v2beta1/runs")
    assert headers["authorization" if "authorization" in headers else "Authorization"] == "Bearer secret"
    assert body["pipeline_spec"]["pipeline_spec"]["pipelineInfo"]["name"] == "lens-pipeline"
    parameters = body["runtime_config"]["parameters"]
    assert parameters["methods"] == ["grpo", "lens"]
    assert parameters["tracking_uri"] == "http://mlflow:5000"
    assert type(config).model_validate_json(parameters["config"]) == config
    assert "secret" not in json.dumps(body)


def test_refusal_is_named(api: Api) -> None:
    api.refuse = True
    with pytest.raises(LensError, match="refused the run: 403"):
        submit(load_config("demo"), api.address, "", None)
