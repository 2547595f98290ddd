"""Runs and schedules on a KFP endpoint."""

from __future__ import annotations

import copy
import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lens_core.errors import LensError
from lens_core.kfp.connection import PASSING_WHILE_CREATING, Connection
from lens_core.kfp.runs import ENDED, Run, Schedule, run_from, schedule_from
from lens_core.kfp.versions import missing
from lens_core.progress import Listener, Progress

if TYPE_CHECKING:
    from kfp_server_api import V2beta1Trigger

    from lens_pipelines.launch import Launch

EXPERIMENT = "lens-grpo"
WAITING_PATIENCE_S = 300.0
"""So long a call is tried again while a run is waited for: a server that is replaced is away for a minute or two."""
WAITING_S = 30 * 86400.0
"""So long a run is waited for, unless a command says otherwise."""
POLL_S = 5.0
_PAGE = 100
_EQUALS = 1
"""An operation of the API's filters."""


@dataclass(frozen=True)
class Submission:
    """A pipeline and its parameters, as the API takes them."""

    spec: dict[str, Any]
    parameters: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.parameters["run"])


def submission(launch: Launch) -> Submission:
    """What is sent to an endpoint for a launch.

    Raises:
        LensError: if there is no such pipeline, or it cannot be made of this configuration, or for this cluster.
    """
    from google.protobuf.json_format import MessageToDict

    from lens_pipelines.catalogue import arguments, build_pipeline
    from lens_pipelines.site import Site

    parameters = arguments(launch)
    definition = build_pipeline(launch.pipeline, Site(launch.cluster, launch.rayjobs))
    spec, platform = MessageToDict(definition.pipeline_spec), MessageToDict(definition.platform_spec)
    return Submission({"pipeline_spec": spec, "platform_spec": platform} if platform else spec, parameters)


class Client:
    """What an endpoint is asked for.

    Raises:
        LensError: from every method, if the endpoint cannot be reached or refuses.
    """

    def __init__(self, connection: Connection) -> None:
        import kfp_server_api as kfp

        self._to = connection
        self._runs = kfp.RunServiceApi(connection.api)
        self._schedules = kfp.RecurringRunServiceApi(connection.api)
        self._experiments = kfp.ExperimentServiceApi(connection.api)

    def submit(self, wanted: Submission, experiment: str = EXPERIMENT) -> Run:
        """Start a pipeline, once: after a dropped connection the run is looked for before it is sent again."""
        import kfp_server_api as kfp

        self._check_version(wanted, is_scheduled=False)
        body = kfp.V2beta1Run(
            experiment_id=self._experiment(experiment),
            display_name=wanted.name,
            description=_mark(),
            pipeline_spec=wanted.spec,
            runtime_config=kfp.V2beta1RuntimeConfig(parameters=wanted.parameters),
        )

        def made() -> Iterator[Any]:
            found = self._runs.run_service_list_runs(
                experiment_id=body.experiment_id, filter=_named(body.display_name), page_size=_PAGE, **self._to.limits
            )
            return (each for each in found.runs or () if each.description == body.description)

        run = self._create("the run", lambda: self._runs.run_service_create_run(body, **self._to.limits), made)
        return run_from(run, self._to.address)

    def run(self, run_id: str) -> Run:
        """The run as it is now."""
        return run_from(self._run(run_id), self._to.address)

    def wait(self, run_id: str, on_progress: Listener, poll_s: float = POLL_S, timeout_s: float = WAITING_S) -> Run:
        """The run when it has ended, however it did.

        Raises:
            LensError: also if it has not after `timeout_s`.
        """
        self._to.patience_s = max(self._to.patience_s, WAITING_PATIENCE_S)
        waits_until = time.monotonic() + timeout_s
        while True:
            try:
                run = self.run(run_id)
            except LensError as error:
                raise LensError(f"{error}; the run is not waited for any longer, and may go on") from error
            ended = sum(task.has_ended for task in run.tasks)
            under_way = [task.name for task in run.tasks if not task.has_ended]
            text = " ".join([run.state.lower(), *([f"({', '.join(under_way)})"] if under_way else [])])
            on_progress(Progress("run", ended, max(1, len(run.tasks)), text))
            if run.has_ended:
                return run
            if time.monotonic() > waits_until:
                raise LensError(
                    f"run {run_id} is {run.state} after {timeout_s:g} s of waiting, and goes on: lens pipeline status "
                    f"{run_id} --wait waits again, lens pipeline cancel {run_id} ends it"
                )
            time.sleep(poll_s)

    def cancel(self, run_id: str) -> Run:
        """Ask a run to end; one that has ended, or is about to, is left as it is."""

        def terminate() -> Any:
            run = self._runs.run_service_get_run(run_id, **self._to.limits)
            if run.state not in (*ENDED, "CANCELING"):
                self._runs.run_service_terminate_run(run_id, **self._to.limits)
            return run

        self._to.call(f"run {run_id}", terminate)
        return self.run(run_id)

    def namespace_of(self, run_id: str) -> str:
        """Where a run's pods are."""
        if self._to.namespace is not None:
            return self._to.namespace
        experiment_id = self._run(run_id).experiment_id
        experiment = self._to.call(
            f"experiment {experiment_id}",
            lambda: self._experiments.experiment_service_get_experiment(experiment_id, **self._to.limits),
        )
        return str(experiment.namespace or "kubeflow")

    def schedule(self, wanted: Submission, trigger: V2beta1Trigger, experiment: str = EXPERIMENT) -> Schedule:
        """Run a pipeline again and again: one run at a time, each anew, missed times left out."""
        import kfp_server_api as kfp

        self._check_version(wanted, is_scheduled=True)
        body = kfp.V2beta1RecurringRun(
            experiment_id=self._experiment(experiment),
            display_name=wanted.name,
            description=_mark(),
            pipeline_spec=_anew(wanted.spec),
            runtime_config=kfp.V2beta1RuntimeConfig(parameters=wanted.parameters),
            trigger=trigger,
            mode=kfp.RecurringRunMode.ENABLE,
            max_concurrency="1",
            no_catchup=True,
        )

        def made() -> Iterator[Any]:
            found = self._list_schedules(body.experiment_id, filter=_named(body.display_name))
            return (each for each in found if each.description == body.description)

        create = self._schedules.recurring_run_service_create_recurring_run
        schedule = self._create("the schedule", lambda: create(body, **self._to.limits), made)
        return schedule_from(schedule, self._to.address)

    def schedules(self, experiment: str = EXPERIMENT) -> list[Schedule]:
        """Those of an experiment, the newest first."""
        experiment_id = self._to.call("the experiments", lambda: self._find_experiment(experiment))
        if experiment_id is None:
            return []
        found = self._to.call("the schedules", lambda: list(self._list_schedules(experiment_id)))
        return [schedule_from(each, self._to.address) for each in found]

    def pause(self, schedule_id: str) -> None:
        pause = self._schedules.recurring_run_service_disable_recurring_run
        self._to.call(f"schedule {schedule_id}", lambda: pause(schedule_id, **self._to.limits))

    def resume(self, schedule_id: str) -> None:
        resume = self._schedules.recurring_run_service_enable_recurring_run
        self._to.call(f"schedule {schedule_id}", lambda: resume(schedule_id, **self._to.limits))

    def delete(self, schedule_id: str) -> None:
        """The schedule; runs that it has started stay."""
        delete = self._schedules.recurring_run_service_delete_recurring_run
        self._to.call(f"schedule {schedule_id}", lambda: delete(schedule_id, **self._to.limits))

    def _check_version(self, wanted: Submission, is_scheduled: bool) -> None:
        version = self._to.version()
        lacking = missing(version, wanted.spec, is_scheduled)
        if lacking is not None:
            raise LensError(f"the KFP endpoint {self._to.address} is {version}: {lacking}; upgrade Kubeflow Pipelines")

    def _run(self, run_id: str) -> Any:
        return self._to.call(f"run {run_id}", lambda: self._runs.run_service_get_run(run_id, **self._to.limits))

    def _list_schedules(self, experiment_id: str, **query: str) -> Iterator[Any]:
        token = ""
        while True:
            page = self._schedules.recurring_run_service_list_recurring_runs(
                experiment_id=experiment_id,
                sort_by="created_at desc",
                page_size=_PAGE,
                page_token=token,
                **query,
                **self._to.limits,
            )
            yield from page.recurring_runs or ()
            token = page.next_page_token
            if not token:
                return

    def _experiment(self, name: str) -> str:
        """Id of the experiment called `name`, which is made where there is none."""
        import kfp_server_api as kfp

        body = kfp.V2beta1Experiment(display_name=name, namespace=self._to.namespace)

        def find_or_make() -> str:
            found = self._find_experiment(name)
            make = self._experiments.experiment_service_create_experiment
            return str(make(body, **self._to.limits).experiment_id) if found is None else found

        return self._to.call(f"experiment {name}", find_or_make, PASSING_WHILE_CREATING)

    def _find_experiment(self, name: str) -> str | None:
        scope = {} if self._to.namespace is None else {"namespace": self._to.namespace}
        found = self._experiments.experiment_service_list_experiments(filter=_named(name), **scope, **self._to.limits)
        return next((str(each.experiment_id) for each in found.experiments or ()), None)

    def _create(self, what: str, create: Callable[[], Any], made: Callable[[], Iterator[Any]]) -> Any:
        """What `create` makes, unless an attempt that seemed to fail has `made` it."""
        attempts = 0

        def once() -> Any:
            nonlocal attempts
            attempts += 1
            earlier = next(made(), None) if attempts > 1 else None
            return create() if earlier is None else earlier

        return self._to.call(what, once, PASSING_WHILE_CREATING)


def _anew(spec: dict[str, Any]) -> dict[str, Any]:
    """The same for one run of many: it takes no step from an earlier one, and its name is the one that KFP gives it.

    With equal parameters, all steps would be taken, and trainings on a volume would find themselves finished.
    """
    from kfp.dsl import PIPELINE_JOB_RESOURCE_NAME_PLACEHOLDER

    changed = copy.deepcopy(spec)
    pipeline = changed.get("pipeline_spec", changed)
    for dag in (each["dag"] for each in (pipeline["root"], *pipeline["components"].values()) if "dag" in each):
        for task in dag["tasks"].values():
            task["cachingOptions"] = {}
    for task in pipeline["root"]["dag"]["tasks"].values():
        inputs = task.get("inputs", {}).get("parameters", {})
        for name in [name for name, source in inputs.items() if source == {"componentInputParameter": "run"}]:
            inputs[name] = {"runtimeValue": {"constant": PIPELINE_JOB_RESOURCE_NAME_PLACEHOLDER}}
    return changed


def _named(name: str) -> str:
    """A filter of the API's lists."""
    return json.dumps({"predicates": [{"operation": _EQUALS, "key": "display_name", "stringValue": name}]})


def _mark() -> str:
    """A description that no other submission has."""
    return f"submitted by lens, {uuid.uuid4()}"
