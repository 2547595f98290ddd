"""A few rows in the columns, and the kind of file, of any source: for a rehearsal without the data sets themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lens_core.config import SourceConfig
from lens_core.data.ladder import ladder
from lens_core.data.problem import Problem
from lens_core.files import write_text

Row = dict[str, Any]


def write_source(source: SourceConfig, folder: Path, problems: Sequence[Problem]) -> SourceConfig:
    """Write `problems` as the rows of `source`, and return the source that reads them.

    What was a file becomes one of the same format, what was a data set (on a hub or in a folder) one of the `datasets`
    library with the same split and subsets, each of which has all problems.
    """
    from datasets import Dataset

    assert source.path is not None
    rows = Dataset.from_list([_row(source, problem) for problem in problems])
    path = folder / Path(source.path).name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in _WRITERS:
        _WRITERS[path.suffix](rows, path)
        return source.model_copy(update={"path": str(path)})
    split, configs = source.split or "train", []
    for subset in source.subset or ("default",):
        name = f"{subset}/{split}.parquet"
        (path / subset).mkdir(parents=True)
        rows.to_parquet(str(path / name))
        configs.append({"config_name": subset, "data_files": [{"split": split, "path": name}]})
    write_text(path / "README.md", f"---\n{yaml.safe_dump({'configs': configs})}---\n")
    return source.model_copy(update={"path": str(path)})


def stand_ins(count: int, seed: int) -> list[Problem]:
    """Distinct problems of all levels of the ladder, asked in words, with their working; others for another seed."""
    found = ladder(-(-count // 5), seed)[:count]
    return [each.model_copy(update={"prompt": f"What is ${each.prompt}$?"}) for each in found]


def _row(source: SourceConfig, problem: Problem) -> Row:
    if source.kind == "problems":
        return problem.model_dump(mode="json")
    if source.kind == "huggingface":
        row: Row = {}
        for name, column in (source.columns or {}).items():
            _put(row, column, getattr(problem, name) or "unknown")
        return row
    if source.kind == "math" and "500" in (source.path or ""):
        return _math_500(problem)
    return _ROWS[source.kind](problem)


def _put(row: Row, column: str, value: Any) -> None:
    """`a.b` is key `b` of the object in column `a`."""
    *outer, last = column.split(".")
    for name in outer:
        row = row.setdefault(name, {})
    row[last] = value


def _math(problem: Problem) -> Row:
    return {
        "problem": problem.prompt,
        "level": f"Level {problem.level}",
        "type": "Prealgebra",
        "solution": problem.solution,
    }


def _math_500(problem: Problem) -> Row:
    return _contest(problem) | {
        "subject": "Prealgebra",
        "level": problem.level,
        "unique_id": f"test/prealgebra/{problem.id}.json",
    }


def _gsm8k(problem: Problem) -> Row:
    return {"question": problem.prompt, "answer": f"{problem.solution}\n#### {problem.answer}"}


_DAPO = (
    "Solve the following math problem step by step. The last line of your response should be of the form Answer: "
    "$Answer (without quotes) where $Answer is the answer to the problem.\n\n{question}\n\nRemember to put your answer "
    'on its own line after "Answer:".'
)


def _dapo(problem: Problem) -> Row:
    return {
        "data_source": "math_dapo",
        "prompt": [{"content": _DAPO.format(question=problem.prompt), "role": "user"}],
        "ability": "MATH",
        "reward_model": {"ground_truth": problem.answer, "style": "rule-lighteval/MATH_v2"},
        "extra_info": {"index": problem.id},
    }


def _numina(problem: Problem) -> Row:
    return _contest(problem) | {
        "problem_type": "Algebra",
        "question_type": "math-word-problem",
        "problem_is_valid": "Yes",
        "solution_is_valid": "Yes",
        "source": "cn_k12",
        "synthetic": False,
    }


def _contest(problem: Problem) -> Row:
    return {"problem": problem.prompt, "solution": problem.solution, "answer": problem.answer}


def _olympiadbench(problem: Problem) -> Row:
    return {
        "id": problem.id,
        "question": problem.prompt,
        "solution": [problem.solution],
        "final_answer": [problem.answer],
        "context": None,
        "modality": "Text-only",
        "difficulty": "Competition",
        "is_multiple_answer": False,
        "unit": None,
        "answer_type": "Numerical",
        "error": None,
        "question_type": "Open-ended",
        "subfield": "Algebra",
        "subject": "Math",
        "language": "English",
    }


_ROWS: Mapping[str, Callable[[Problem], Row]] = {
    "math": _math,
    "gsm8k": _gsm8k,
    "dapo": _dapo,
    "numina": _numina,
    "aime": _contest,
    "amc": _contest,
    "olympiadbench": _olympiadbench,
}
"""By `kind`: the columns of the published sets, as lens_core.data.layouts reads them."""

_WRITERS: Mapping[str, Callable[[Any, Path], Any]] = {
    ".jsonl": lambda rows, path: rows.to_json(str(path)),
    ".ndjson": lambda rows, path: rows.to_json(str(path)),
    ".json": lambda rows, path: rows.to_json(str(path), lines=False),
    ".parquet": lambda rows, path: rows.to_parquet(str(path)),
    ".csv": lambda rows, path: rows.to_csv(str(path), index=False),
    ".tsv": lambda rows, path: rows.to_csv(str(path), index=False, sep="\t"),
}
