"""What somebody changes on Kubeflow's page of a run, as its first step takes it."""

import pytest

from lens_core.config import RunConfig, load_config, overridden, values_by_hand
from lens_core.errors import LensError
from lens_core.stages import configure

DEMO = load_config("demo")


def test_values_that_people_sweep_by_hand_can_be_read() -> None:
    shown = values_by_hand(DEMO)
    for value in ("train.steps=80", "train.learning_rate=5e-05", "methods.lens.alpha=0.25", "methods.lens.margin=2.0"):
        assert value in shown


@pytest.mark.parametrize("recipe", ["demo", "rivals", "ladder-sweep", "qwen2.5-3b-math-dapo"])
def test_values_as_they_are_shown_change_nothing(recipe: str) -> None:
    config = load_config(recipe)
    assert configure(config, values_by_hand(config), "r-1") == (config, "r-1")
    assert configure(config, [], "r-1") == (config, "r-1")


def test_changed_value_makes_another_run() -> None:
    """With the old name, checkpoints and cached steps of the old values would be found."""
    shown = [each.replace("alpha=0.25", "alpha=0.5") for each in values_by_hand(DEMO)]
    changed, run = configure(DEMO, shown, "demo-1234")
    assert changed.methods["lens"].parameters == {"alpha": 0.5}
    assert changed == DEMO.with_values({"methods.lens.alpha": 0.5})
    assert run == f"demo-1234-{changed.digest()[:8]}"
    assert configure(DEMO, shown, "demo-1234") == (changed, run)
    assert configure(DEMO, ["train.seed=7"], "demo-1234")[1] not in (run, "demo-1234")


def test_later_override_of_the_same_key_counts() -> None:
    assert configure(DEMO, ["train.steps=50", "train.steps=60"], "r")[0].train.steps == 60


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.steps", "must read key.path=value"),
        ("train.stepz=5", r"^train\.stepz: there is no such key; did you mean train\.steps\?"),
        ("train.steps=-1", "train.steps"),
        ("methods.lens.alhpa=0.5", "alhpa"),
        ("methods.lens={objective: no_such}", "no_such"),
    ],
)
def test_override_that_is_refused_is_named(override: str, message: str) -> None:
    with pytest.raises(LensError, match=message) as caught:
        configure(DEMO, [override], "r")
    assert "\n" not in str(caught.value)


def test_configuration_survives_its_way_through_json() -> None:
    changed = overridden(DEMO, ["train.steps=50"])
    assert RunConfig.model_validate_json(changed.model_dump_json()) == changed
