"""The cluster files are what Ray's launcher takes."""

from pathlib import Path

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[2]


def _prepared(text: str) -> dict:
    from ray.autoscaler._private.util import prepare_config

    return prepare_config(yaml.safe_load(text))


@pytest.mark.parametrize("name", ["cluster.yaml", "docs/cluster-aws.yaml"])
def test_ray_up_accepts_the_cluster_file(name: str) -> None:
    from ray.autoscaler._private.util import validate_config

    validate_config(_prepared((ROOT / name).read_text()))


def test_ray_up_refuses_an_unknown_key() -> None:
    from ray.autoscaler._private.util import validate_config

    with pytest.raises(jsonschema.ValidationError):
        validate_config(_prepared((ROOT / "cluster.yaml").read_text() + "\nunknown_key: 1\n"))


@pytest.mark.parametrize("name", ["cluster.yaml", "docs/cluster-aws.yaml"])
def test_serve_settings_are_exported_before_ray_starts(name: str) -> None:
    config = yaml.safe_load((ROOT / name).read_text())
    for command in [config["head_start_ray_commands"][1], config["worker_start_ray_commands"][1]]:
        assert command.index("mldl environment") < command.index("ray start")
