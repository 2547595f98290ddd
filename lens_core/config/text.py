"""Files and YAML from outside: read in bounded time and memory, or refused on one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from lens_core.errors import LensError
from lens_core.files import require_regular

_MOST_BYTES = 2**20
"""Of a configuration; the longest that ships has a few kB."""
_MOST_NODES = 100_000
"""Keys and values of a document, where each alias counts as all that it stands for."""
_MOST_BITS = 1024
"""Of a whole number."""


def read_text(path: Path) -> str:
    """The text of a configuration file.

    Raises:
        LensError: if it cannot be read, is no text in UTF-8, or is larger than 1 MiB.
    """
    try:
        require_regular(path)
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise LensError(f"{path} is larger than {_MOST_BYTES // 2**20} MiB, which no configuration is")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LensError(f"{path} is no text in UTF-8 ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise LensError(f"{path} cannot be read: {error.strerror}") from error


def read_yaml(text: str, name: str) -> Any:
    """The value of a YAML document.

    Args:
        name: where the text comes from, as errors say it.

    Raises:
        LensError: if it is no valid YAML, has a key twice, or grows past 100,000 keys and values by its aliases.
    """
    try:
        return yaml.load(text, _Loader)
    except RecursionError as error:
        raise LensError(f"{name} is no valid YAML: it is nested too deeply") from error
    except Exception as error:  # PyYAML's own, and what its constructors raise, such as ValueError of a 13th month
        raise LensError(f"{name} is no valid YAML: {' '.join(str(error).split())}") from error


class _Loader(yaml.SafeLoader):
    """Safe, and strict where PyYAML is not."""

    def get_single_node(self) -> Any:
        node = super().get_single_node()
        if node is not None:
            self._count(node, {})
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if (key.tag, key.value) in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} stands there twice", key.start_mark
                    )
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> int:
        number: int = self.construct_yaml_int(node)
        if number.bit_length() > _MOST_BITS:  # in hexadecimal, say: Python cannot even write it down in an error
            raise yaml.constructor.ConstructorError(None, None, "a number is far too large", node.start_mark)
        return number

    def _count(self, node: yaml.Node, known: dict[int, int]) -> int:
        """Nodes of the tree below `node`, each alias as all that it stands for."""
        if id(node) in known:
            return known[id(node)]
        if isinstance(node, yaml.ScalarNode) and any("\ud800" <= each <= "\udfff" for each in node.value):
            raise yaml.YAMLError(f"{node.value[:90]!r} holds half of a surrogate pair, which is no character")
        known[id(node)] = _MOST_NODES  # an alias of what it stands in never ends
        children = node.value if isinstance(node, yaml.CollectionNode) else ()
        below = (each for child in children for each in (child if isinstance(child, tuple) else (child,)))
        known[id(node)] = count = 1 + sum(self._count(each, known) for each in below)
        if count > _MOST_NODES:
            raise yaml.YAMLError(f"its aliases make more than {_MOST_NODES:,} keys and values of it")
        return count


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_number)
