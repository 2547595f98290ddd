"""Run a module as if only some packages were installed: -m tests.helpers.bare PACKAGE,PACKAGE MODULE ARGUMENTS ..."""

import re
import runpy
import sys
from collections.abc import Sequence
from importlib import metadata
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


class OnlyThese(PathFinder):
    """Finds nothing that belongs to other packages alone."""

    hidden: frozenset[str] = frozenset()

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return None if fullname in cls.hidden else super().find_spec(fullname, path, target)


def hide_all_but(packages: set[str]) -> None:
    owners = metadata.packages_distributions()
    named = {module: {re.sub(r"[-_.]+", "-", each).lower() for each in owner} for module, owner in owners.items()}
    OnlyThese.hidden = frozenset(module for module, owner in named.items() if not owner & packages)
    sys.meta_path[:] = [OnlyThese if finder is PathFinder else finder for finder in sys.meta_path]


if __name__ == "__main__":
    _, these, module, *arguments = sys.argv
    hide_all_but({*these.split(","), "lens-grpo"})
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
