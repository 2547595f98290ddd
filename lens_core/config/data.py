"""Where problems come from, and what is made of them before a training sees them (docs/data.md)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from lens_core.config.sections import Section


class SourceConfig(Section):
    """Where problems come from (docs/data.md)."""

    kind: Literal[
        "ladder", "reasoning_gym", "problems", "huggingface", "math", "gsm8k", "dapo", "numina", "aime", "amc",
        "olympiadbench",
    ]  # fmt: skip
    """`ladder`: generated arithmetic; `reasoning_gym`: task families of that package, with their own verifiers;
    `problems`: our own format; `huggingface`: any table, read by `columns`; the others: a published set in its own
    columns."""
    path: str | None = None
    """A file (JSON Lines, JSON, Parquet or CSV), a local folder of the `datasets` library, or a name on the hub. All
    kinds but `ladder` and `reasoning_gym` need it."""
    columns: dict[Literal["prompt", "answer", "level", "subject", "solution"], str] | None = None
    """`huggingface` only: the column of each field, for example `{prompt: question, answer: answer}`; `a.b` is key `b`
    of the object in column `a`. `prompt` and `answer` are required."""
    split: str | None = None
    """Split of a folder or of a data set on the hub; None: `train`."""
    subset: tuple[str, ...] = ()
    """Configurations of a data set on the hub, read one after the other, or a single name; empty: the default one."""
    levels: tuple[Annotated[int, Field(ge=-(2**31), lt=2**31)], ...] | None = None
    """Keep only problems of these levels; None: all."""
    synthetic: bool = True
    """Whether to keep problems that their set marks as synthetic (NuminaMath-1.5)."""
    limit: int | None = Field(None, ge=1, le=10**12)
    """Keep a random subset of this many distinct problems, drawn with `seed` from what is left after all filters and
    decontamination; None: all."""
    per_level: int | None = Field(None, ge=1, le=10**9)
    """Number of distinct problems at each level; `ladder` needs it, and no other kind takes it."""
    tasks: dict[str, dict[str, Any]] | None = Field(None, min_length=1)
    """`reasoning_gym` only: its task families, each with parameters of its own, for example `{chain_sum: {max_terms:
    3}, word_sorting: {}}`."""
    size: int | None = Field(None, ge=1, le=2**20)
    """`reasoning_gym` only: number of problems, of the families in turns."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Random seed of generated problems, and of the subset that `limit` keeps."""
    name: str | None = None
    """Name of the source in counts and tables; None: the kind, or for `huggingface` the name of the file or data
    set."""
    licence: str | None = None
    """Licence shown in the data card, also as `license`; None: that of the published set, if the kind names one."""

    @model_validator(mode="before")
    @classmethod
    def _license_is_licence(cls, tree: Any) -> Any:
        if not isinstance(tree, dict) or "license" not in tree:
            return tree
        if "licence" in tree:
            raise ValueError("licence and license are the same key: leave out one of them")
        return {("licence" if key == "license" else key): value for key, value in tree.items()}

    @field_validator("subset", mode="before")
    @classmethod
    def _one_subset_is_a_list_of_one(cls, subset: Any) -> Any:
        return (subset,) if isinstance(subset, str) else subset

    @model_validator(mode="after")
    def _fields_fit_kind(self) -> Self:
        if self.kind == "ladder":
            if self.per_level is None:
                raise ValueError("a ladder source needs per_level, the number of problems of each level")
            if self.path is not None:
                raise ValueError("a ladder source is generated and takes no path")
        else:
            if self.path is None and self.kind != "reasoning_gym":
                raise ValueError(f"a {self.kind} source needs a path")
            if self.per_level is not None:
                raise ValueError(f"per_level belongs to ladder sources; a {self.kind} source takes limit")
        if self.kind == "huggingface":
            if self.columns is None or not {"prompt", "answer"} <= self.columns.keys():
                raise ValueError("a huggingface source needs columns with at least prompt and answer")
        elif self.columns is not None:
            raise ValueError(f"columns belong to huggingface sources, not to {self.kind}, whose columns are known")
        if self.kind == "ladder" and (self.split is not None or self.subset):
            raise ValueError("split and subset belong to data sets, not to the ladder")
        return self

    @model_validator(mode="after")
    def _reasoning_gym_has_tasks(self) -> Self:
        if self.kind == "reasoning_gym":
            if self.tasks is None or self.size is None:
                raise ValueError("a reasoning_gym source needs tasks and size, the number of problems")
            if self.seed >= 2**11:
                raise ValueError(f"seed {self.seed} of a reasoning_gym source must be below 2048")
            if self.path is not None or self.split is not None or self.subset:
                raise ValueError("a reasoning_gym source is generated and takes no path, split or subset")
        elif self.tasks is not None or self.size is not None:
            raise ValueError(f"tasks and size belong to reasoning_gym sources; a {self.kind} source takes limit")
        return self


class DecontaminationConfig(Section):
    """Training problems that are also evaluation problems are removed, word for word or nearly so (docs/data.md)."""

    against: tuple[SourceConfig, ...] = ()
    """Evaluation sets to compare with, in addition to the run's own test problems."""
    near: float | None = Field(0.8, ge=0.5, le=1)
    """Jaccard similarity of two prompts' n-grams at or above which they are near duplicates; None: only equal prompts
    are."""
    ngram: int = Field(3, ge=1, le=1000)
    """Number of tokens in an n-gram."""


class PassRateConfig(Section):
    """Difficulty, as the fraction of a model's completions that were correct."""

    path: str
    """`rollouts.jsonl` of `lens data pass-rates` or `lens evaluate`, its folder, or a file with a `prompt` and its
    `pass_rate` in each row."""
    low: float = Field(0.0, ge=0, le=1)
    """Lowest pass rate to keep; at most `high`."""
    high: float = Field(1.0, ge=0, le=1)
    """Highest pass rate to keep."""
    unknown: Literal["keep", "drop"] = "drop"
    """What to do with problems that have no pass rate."""

    @model_validator(mode="after")
    def _low_is_below_high(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low {self.low} exceeds high {self.high}")
        return self


class DataConfig(Section):
    """The problems of a run."""

    train: tuple[SourceConfig, ...] = Field(min_length=1)
    """One source, or a list of sources to mix; a problem that two of them contain counts once."""
    test: SourceConfig | None = None
    """Problems to evaluate on; None: the fraction `test_share` of the training problems is held out."""
    test_share: float = Field(0.1, gt=0, lt=1)
    """Fraction of the training problems to hold out for evaluation if `test` is None."""
    validation: int = Field(0, ge=0, le=10**12)
    """Number of training problems to hold out for tuning: `lens sweep` compares its trials on them, never on the test
    problems."""
    decontamination: DecontaminationConfig = DecontaminationConfig()
    """How training problems that are also evaluation problems are recognised; they are always removed."""
    max_prompt_tokens: int | None = Field(None, ge=1, le=2**22)
    """Drop training problems whose formatted prompt has more tokens of the base policy's tokenizer; None: no limit."""
    pass_rate: PassRateConfig | None = None
    """Keep only training problems of a certain difficulty; None: all."""
    format: Literal["jsonl", "parquet"] = "jsonl"
    """Format of the prepared files."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Random seed of the hold-outs and of the order of the training problems."""
    skip_bad_rows: bool = False
    """Count bad rows and write them to `bad_rows.jsonl` instead of stopping at the first."""

    @field_validator("train", mode="before")
    @classmethod
    def _one_source_is_a_list_of_one(cls, train: Any) -> Any:
        return train if isinstance(train, list | tuple) else (train,)
