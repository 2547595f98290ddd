"""Whose an output folder is: claimed before any work, and locked for as long as a command writes into it.

A folder is ours where it is empty, lies in one of ours, or holds what tells it: the file by which a finished folder of
its kind is known, or the lock's file, which an interrupted command leaves behind.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

from lens_core.errors import LensError
from lens_core.files import read_json

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kind:
    """What a folder holds.

    Attributes:
        name: in words, with its article.
        known_by: `(file, key)`: a folder of this kind has one of these files, a JSON object with that key, for others
            give their files such names too; None where the name says enough.
    """

    name: str
    known_by: tuple[tuple[str, str | None], ...] = ()

    @property
    def lock_file(self) -> str:
        """`.training.lock`"""
        return f".{self.name.partition(' ')[2].replace(' ', '-')}.lock"


DATA = Kind("a data folder", (("data.json", "train_digest"),))
BASE_POLICY = Kind("a base policy", (("recipe.json", "row_tokens"),))
TRAINING = Kind("a training", (("run.json", "mlflow_run"),))
EVALUATION = Kind("an evaluation", (("evaluation.json", "model_identity"),))
COMPARISON = Kind("a comparison", (("paired.json", "duels"), ("comparison.json", "trainings")))
REGISTRATION = Kind("a registration", (("registration.json", "gate"),))
STUDY = Kind("a study", (("study.json", "pass_at_k"), ("design.json", "config")))
SWEEP = Kind("a sweep", (("sweep.json", "trials"), ("design.json", "config")))
MINIATURE = Kind("a recipe in miniature")
PIPELINE_RUN = Kind("a pipeline run", (("pipeline.log", None),))
COMPILED = Kind("a set of compiled pipelines", (("lens-pipeline.yaml", None),))
KINDS = (
    *(DATA, BASE_POLICY, TRAINING, EVALUATION, COMPARISON, REGISTRATION),
    *(STUDY, SWEEP, MINIATURE, PIPELINE_RUN, COMPILED),
)
LOCK_FILES = tuple(kind.lock_file for kind in KINDS)
"""Of no use in a copy of a folder."""


@contextmanager
def claimed(folder: Path, kind: Kind) -> Iterator[None]:
    """`folder` is made where there is none, and inside the block nobody else's: no other process can claim it.

    A stage claims its folder, and so may the command that calls it, earlier. If the block raises and has written
    nothing, the folder is as it was. Of several processes that train together the main one claims.

    Raises:
        LensError: if `folder` holds something else, is being written, or cannot be written.
    """
    with _failures_named(folder):
        made = [each for each in (folder, *folder.parents) if not each.exists()]
        was_empty = _refuse_other_content(folder, kind)
        lock = _lock(folder, kind)
    try:
        if was_empty:
            _refuse_what_came_between(folder, kind)
        yield
    finally:
        if lock is None or lock.lock_counter == 1:  # not of the command around the stage
            _tidy(folder, kind, made)
        if lock is not None:
            lock.release()


@contextmanager
def _failures_named(folder: Path) -> Iterator[None]:
    try:
        yield
    except Timeout as error:
        raise LensError(
            f"{folder} is being written by another command: wait until it has ended, or choose another folder"
        ) from error
    except FileExistsError as error:
        raise LensError(f"{folder} is a file: choose another name for the folder") from error
    except OSError as error:
        raise LensError(f"{folder} cannot be written ({error.strerror}): choose another folder") from error


def _lock(folder: Path, kind: Kind) -> FileLock | None:
    """The lock on `folder`, which this thread may have already; None on a file system that has no locks.

    A file that is there, filelock's way out, would stay there after a kill: in its way is then whoever tries again in
    another pod.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder.resolve() / kind.lock_file
    lock = FileLock(file, is_singleton=True, fallback_to_soft=False)
    try:
        lock.acquire(blocking=False)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        _warn(folder, str(error.strerror))
        file.touch()
        return None
    return lock


_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""Of Lustre without `-o flock`, of NFS without its daemon, of some in user space."""


@cache
def _warn(folder: Path, cause: str) -> None:
    logger.warning("%s cannot be locked (%s): let no two commands write into it at once", folder, cause)


def _refuse_other_content(folder: Path, kind: Kind) -> bool:
    """Raise unless `folder` is missing, empty, or of this kind and ours; whether it is one of the first two."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return True
    if _is(folder, kind):
        return False
    other = next((each for each in KINDS if _is(folder, each)), None)
    if other is not None:
        raise LensError(f"{folder} holds {other.name}: choose another folder for {kind.name}")
    if _lies_in_ours(folder):
        return False
    for name, key in kind.known_by:
        if key is not None and (folder / name).exists():
            read_json(folder / name)  # says so where it is damaged
    raise LensError(f"{folder} is not empty, and does not hold {kind.name}: choose another folder, or empty this one")


def _refuse_what_came_between(folder: Path, kind: Kind) -> None:
    """Commands of two kinds, each with a lock of its own, may have found `folder` empty at once."""
    other = next((each for each in KINDS if each is not kind and (folder / each.lock_file).exists()), None)
    if other is not None:
        (folder / kind.lock_file).unlink()  # nothing of ours is in it
        raise LensError(f"{folder} holds {other.name}: choose another folder for {kind.name}")


def _is(folder: Path, kind: Kind) -> bool:
    return (folder / kind.lock_file).exists() or _is_known(folder, kind)


def _is_known(folder: Path, kind: Kind) -> bool:
    """By a file that a finished folder of this kind has."""
    return any(_has(folder / name, key) for name, key in kind.known_by)


def _has(path: Path, key: str | None) -> bool:
    if key is None or not path.exists():
        return path.exists()
    with suppress(LensError):
        return key in read_json(path)
    return False


def _lies_in_ours(folder: Path) -> bool:
    return any(_is(folder.absolute().parent, each) for each in KINDS)


def _tidy(folder: Path, kind: Kind, made: Sequence[Path]) -> None:
    """Remove the lock's file, which we hold, where the folder is known without it, or has nothing else.

    What was `made`, the folder and those around it, goes as far as it is empty.

    Whoever has opened the file but not locked it yet notices that it is gone, and makes another one (filelock).
    """
    with suppress(OSError):
        others = [each for each in folder.iterdir() if each.name != kind.lock_file]
        if not others or _is_known(folder, kind) or _lies_in_ours(folder):
            (folder / kind.lock_file).unlink()
        for each in made:
            each.rmdir()
