"""Key paths, and what two configurations differ in."""

from lens_core.config import Section, differing, flattened


class Inner(Section):
    rate: float = 0.5
    steps: int = 3


class Outer(Section):
    inner: Inner = Inner()
    name: str = "a"
    maybe: Inner | None = None


def test_nested_values_are_flat_by_key_path() -> None:
    assert flattened({"a": {"b": {"c": 1}}, "d": 2}) == {"a.b.c": 1, "d": 2}


def test_configurations_differ_by_key_path() -> None:
    one, other = Outer(), Outer(inner=Inner(rate=1, steps=4), name="b", maybe=Inner())
    assert differing(one, one) == {}
    assert differing(one, other) == {
        "inner.rate": (0.5, 1.0),
        "inner.steps": (3, 4),
        "name": ("a", "b"),
        "maybe.rate": (None, 0.5),
        "maybe.steps": (None, 3),
    }


def test_values_that_may_change_are_no_difference() -> None:
    other = Outer(inner=Inner(rate=1, steps=4), name="b")
    assert differing(Outer(), other, ("inner",)) == {"name": ("a", "b")}
    assert differing(Outer(), other, ("inner.rate", "name")) == {"inner.steps": (3, 4)}
