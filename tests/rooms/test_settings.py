"""Where each setting comes from, which source wins, and what is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import Incompatible
from mldl_ray.settings import Defaults, load_defaults, load_settings


def test_without_any_setting_everything_lives_in_the_home_folder() -> None:
    settings = load_settings({}, home="/srv/mldl")
    assert settings.home == Path("/srv/mldl")
    assert settings.journal_url == "sqlite:////srv/mldl/journal.db"
    assert settings.artifact_uri == "/srv/mldl/artifacts"
    assert settings.ray_address is None
    assert settings.url == "http://127.0.0.1:8080"


def test_the_environment_wins_over_the_defaults() -> None:
    settings = load_settings(
        {
            "MLDL_HOME": "/srv/a",
            "MLDL_JOURNAL_URL": "postgresql+psycopg://u@db/mldl",
            "MLDL_ARTIFACT_URI": "s3://bucket/models",
            "MLDL_RAY_ADDRESS": "auto",
            "MLDL_PORT": "9000",
            "MLDL_REQUIRE_KEYS": "true",
        }
    )
    assert (settings.home, settings.port, settings.require_keys) == (Path("/srv/a"), 9000, True)
    assert settings.journal_url == "postgresql+psycopg://u@db/mldl"
    assert settings.artifact_uri == "s3://bucket/models"
    assert settings.ray_address == "auto"


def test_an_argument_wins_over_the_environment_and_none_is_no_argument() -> None:
    environment = {"MLDL_HOME": "/srv/a", "MLDL_PORT": "9000"}
    settings = load_settings(environment, home="/srv/b", port=9100, host=None)
    assert (settings.home, settings.port, settings.host) == (Path("/srv/b"), 9100, "127.0.0.1")


def test_a_tilde_means_the_users_own_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert load_settings({}).home == Path("/home/ann/.mldl")
    assert load_settings({"MLDL_HOME": "~/elsewhere"}).home == Path("/home/ann/elsewhere")


@pytest.mark.parametrize(
    ("host", "required"), [("127.0.0.1", False), ("localhost", False), ("::1", False), ("0.0.0.0", True), ("::", True)]
)
def test_keys_are_required_wherever_others_can_reach_the_service(host: str, required: bool) -> None:
    assert load_settings({"MLDL_HOME": "/m", "MLDL_HOST": host}).keys_required is required


def test_keys_can_be_required_on_loopback_too() -> None:
    assert load_settings({"MLDL_HOME": "/m", "MLDL_REQUIRE_KEYS": "1"}).keys_required


def test_hosts_are_read_with_commas_between() -> None:
    assert load_settings({"MLDL_HOME": "/m", "MLDL_HOSTS": "a.example, b.example:80,"}).hosts == (
        "a.example",
        "b.example:80",
    )
    assert load_settings({"MLDL_HOME": "/m"}).hosts == ()


def test_an_ip_version_6_host_gives_a_url_that_browsers_take() -> None:
    assert load_settings({"MLDL_HOME": "/m"}, host="::1").url == "http://[::1]:8080"


@pytest.mark.parametrize(("name", "value"), [("port", "0"), ("port", "eighty"), ("require_keys", "perhaps")])
def test_a_setting_out_of_range_is_refused_by_name_and_value(name: str, value: str) -> None:
    with pytest.raises(Incompatible) as refused:
        load_settings({"MLDL_HOME": "/m", f"MLDL_{name.upper()}": value})
    assert name in refused.value.message
    assert value in refused.value.message


def test_an_unknown_argument_is_refused_by_name() -> None:
    with pytest.raises(Incompatible, match="prot"):
        load_settings({"MLDL_HOME": "/m"}, prot=9000)


def test_the_configuration_file_wins_over_the_defaults_and_leaves_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "mldl.yaml"
    file.write_text("mldl: {deployment: {canary_steps: [10, 100], bake_window: 0}}", encoding="utf-8")
    deployment = load_settings({"MLDL_HOME": "/m", "MLDL_CONFIG": str(file)}).mldl.deployment
    assert deployment.canary_steps == (10, 100)
    assert deployment.bake_window == 0
    assert deployment.promotion_window == 3600


def test_an_empty_configuration_is_the_defaults() -> None:
    assert load_defaults("") == load_defaults("mldl:") == Defaults()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mldl: {fairnes: {delta_max: 0.1}}", "mldl.fairnes"),
        ("mldl: {fairness: {delta_max: 1.5}}", "mldl.fairness.delta_max"),
        ("mldl: {training: {cv: {folds: 1}}}", "mldl.training.cv.folds"),
        ("mldl: {monitoring: {flush_s: .nan}}", "mldl.monitoring.flush_s"),
        ("mldl: {deployment: {rollback_on: [sadness]}}", "mldl.deployment.rollback_on"),
        ("mldl: 3", "configuration mldl:"),
        ("mldl: {}\nother: 1", "one root key"),
        ("[1, 2]", "one root key"),
        ("mldl: {a: [", "not YAML"),
        ("mldl: !!python/object/apply:os.system ['true']", "not YAML"),
    ],
)
def test_a_wrong_configuration_is_refused_and_says_where(text: str, said: str) -> None:
    with pytest.raises(Incompatible) as refused:
        load_defaults(text)
    assert said in refused.value.message


@pytest.mark.parametrize("steps", [[], [50, 5], [5, 5, 100], [0, 100], [5, 50], [5, 100, 150]])
def test_canary_steps_that_do_not_rise_to_100_are_refused(steps: list[int]) -> None:
    with pytest.raises(Incompatible, match="must rise and end at 100"):
        load_defaults(f"mldl: {{deployment: {{canary_steps: {steps}}}}}")


def test_a_configuration_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(Incompatible, match=r"nowhere\.yaml, which cannot be read: No such file"):
        load_settings({"MLDL_HOME": "/m", "MLDL_CONFIG": str(tmp_path / "nowhere.yaml")})
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("mldl: {} # né".encode("latin-1"))
    with pytest.raises(Incompatible, match="is not UTF-8"):
        load_settings({"MLDL_HOME": "/m", "MLDL_CONFIG": str(latin)})
