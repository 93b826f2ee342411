import datetime
from collections.abc import Callable

import pytest
import yaml

from dsa_ray import plain_yaml
from dsa_ray.skills.files.bounds import load_yaml
from dsa_ray.skills.graph import GraphError

TIMESTAMP = "tag:yaml.org,2002:timestamp"


@pytest.mark.parametrize("load", [plain_yaml.load, lambda text: load_yaml(text, "a file")])
def test_a_library_that_changes_the_constructors_of_the_process_changes_nothing_here(
    load: Callable[[str], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(yaml.SafeLoader.yaml_constructors, TIMESTAMP, yaml.SafeLoader.construct_yaml_str)
    assert load("2024-01-02") == datetime.date(2024, 1, 2)
    with pytest.raises((yaml.YAMLError, GraphError), match="2024-13-01"):
        load("2024-13-01")


def test_a_loader_made_after_the_change_is_not_changed_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(yaml.SafeLoader.yaml_constructors, TIMESTAMP, yaml.SafeLoader.construct_yaml_str)

    class Loader(plain_yaml.NamedFaults, yaml.SafeLoader):
        pass

    assert yaml.load("2024-01-02", Loader=Loader) == datetime.date(2024, 1, 2)
