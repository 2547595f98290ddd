"""What stands in for nodes, KubeRay and Kueue on an API server that has none of them: processes on this machine.

A pod of `lens doctor` and the head of a RayJob are run as the kubelet would, in the environment that their manifests
give them: Secrets are looked up, the account's own token is theirs, a volume is a folder of this machine. What they are
not: containers. Their paths are replaced in what they are told.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import yaml

from tests.helpers.manifests import Manifest
from tests.kube.kubectl import kubectl

CONTAINER = {"name": "probe", "image": "none", "imageID": "none", "ready": False, "restartCount": 0}


class Nodes:
    """Looks at a namespace twice a second, until it is left.

    Args:
        volume: folder that stands for every volume; those who may write to it are found out as on a node.
        variables: of every job's environment, in place of what its manifest says.
    """

    def __init__(self, namespace: str, folder: Path, volume: Path, variables: dict[str, str]) -> None:
        self.namespace, self.folder, self.volume = namespace, folder, volume
        self.log = folder / "jobs.log"
        self._variables = variables
        self._jobs: dict[str, subprocess.Popen[bytes]] = {}
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.failure: Exception | None = None

    def __enter__(self) -> Nodes:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join()
        for job in self._jobs.values():
            job.kill()
            job.wait()
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        while not self._left.wait(0.5):
            try:
                for pod in self._all("pods"):
                    if pod["metadata"]["name"].startswith("lens-doctor-") and pod["status"]["phase"] == "Pending":
                        self._probe(pod)
                for job in self._all("rayjobs.ray.io"):
                    self._advance(job)
            except Exception as error:  # told at the end, and whoever waits does so in vain
                self.failure = error
                return

    def _all(self, kind: str) -> list[Manifest]:
        found = kubectl("get", kind, f"--namespace={self.namespace}", "--output=json").stdout
        return list(json.loads(found)["items"])

    def _status(self, kind: str, name: str, status: dict[str, Any]) -> None:
        where = (kind, name, f"--namespace={self.namespace}", "--subresource=status", "--type=merge")
        kubectl("patch", *where, f"--patch={json.dumps({'status': status})}", check=False)  # it may be gone

    def _probe(self, pod: Manifest) -> None:
        """As its user and group, and no others."""
        (container,) = pod["spec"]["containers"]
        security = pod["spec"]["securityContext"]
        paths = {mount["mountPath"] for mount in container["volumeMounts"]}
        command = [str(self.volume) if word in paths else word for word in container["command"]]
        user, group = security["runAsUser"], security["runAsGroup"]
        done = subprocess.run(command, user=user, group=group, extra_groups=[], cwd="/", capture_output=True, text=True)
        phase = "Succeeded" if done.returncode == 0 else "Failed"
        ended = {"exitCode": done.returncode, "message": done.stderr}
        container_status = [{**CONTAINER, "state": {"terminated": ended}}]
        self._status("pods", pod["metadata"]["name"], {"phase": phase, "containerStatuses": container_status})

    def _advance(self, job: Manifest) -> None:
        name, status = job["metadata"]["name"], job.get("status", {})
        if name not in self._jobs:
            if job["spec"].get("suspend"):  # Kueue has room
                where = ("rayjobs.ray.io", name, f"--namespace={self.namespace}", "--type=merge")
                kubectl("patch", *where, '--patch={"spec": {"suspend": false}}')
            self._jobs[name] = self._head(job)
            running = {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING", "jobId": name}
            self._status("rayjobs.ray.io", name, running)
        elif status.get("jobDeploymentStatus") == "Running" and (code := self._jobs[name].poll()) is not None:
            ended = ("Failed", "FAILED") if code else ("Complete", "SUCCEEDED")
            self._status("rayjobs.ray.io", name, {"jobDeploymentStatus": ended[0], "jobStatus": ended[1]})

    def _head(self, job: Manifest) -> subprocess.Popen[bytes]:
        """Its entrypoint, with the rights of its account; and the group of its volume, as `fsGroup` has it."""
        pod = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
        shutil.chown(self.volume, group=pod["securityContext"]["fsGroup"])
        self.volume.chmod(0o2770)
        (container,) = pod["containers"]
        environment = {each["name"]: self._value(each) for each in container["env"]}
        for mount in container["volumeMounts"]:
            if mount["name"].startswith("volume-"):
                environment = {k: v.replace(mount["mountPath"], str(self.volume)) for k, v in environment.items()}
        kubeconfig = self._kubeconfig(pod["serviceAccountName"])
        kept = {"PATH": os.environ["PATH"], "KUBECONFIG": str(kubeconfig), "OMP_NUM_THREADS": "1"}
        with self.log.open("ab") as log:
            command = ["bash", "-c", f"exec {job['spec']['entrypoint']}"]
            variables = {**environment, **kept, **self._variables}
            return subprocess.Popen(command, env=variables, cwd=self.folder, stdout=log, stderr=log)

    def _value(self, variable: Manifest) -> str:
        if "value" in variable:
            return str(variable["value"]).replace("$$(", "$(")
        source = variable["valueFrom"]["secretKeyRef"]
        found = kubectl("get", "secret", source["name"], f"--namespace={self.namespace}", "--output=json").stdout
        return base64.b64decode(json.loads(found)["data"][source["key"]]).decode()

    def _kubeconfig(self, account: str) -> Path:
        view = ("config", "view", "--raw", "--minify", "--flatten", "--output=yaml")
        config = yaml.safe_load(kubectl(*view).stdout)
        token = kubectl("create", "token", account, f"--namespace={self.namespace}").stdout.strip()
        config["users"][0]["user"] = {"token": token}
        path = self.folder / f"{account}.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        return path
