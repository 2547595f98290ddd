"""Pages in Markdown, whose values show themselves and nothing else."""

from __future__ import annotations

import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from lens_core.evaluation.verdict import signed

_MARKUP = re.compile(r"([\\`*_\[\]|#~$])")


def markdown(template: str, **values: Any) -> str:
    """A template of this package, filled in: no value is HTML, emphasis, a link, or a further cell or line."""
    pages = Environment(
        loader=PackageLoader("lens_core.report", "."), undefined=StrictUndefined, trim_blocks=True, finalize=_escaped
    )
    pages.filters["signed"] = signed
    return pages.get_template(template).render(**values)


def _escaped(value: Any) -> Any:
    if isinstance(value, Markup):
        return value
    return str(escape(_MARKUP.sub(r"\\\1", " ".join(str(value).split()))))
