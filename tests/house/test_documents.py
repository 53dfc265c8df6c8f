"""The documents say what the code does."""

import re
from pathlib import Path

import pytest

from mldl_ray.adapters import describe
from mldl_ray.settings import Defaults, load_defaults

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])


def test_documented_configuration_is_the_default() -> None:
    text = (ROOT / "docs/configuration.md").read_text()
    block = re.search(r"```yaml\n(mldl:.*?)```", text, re.S)
    assert block is not None
    assert load_defaults(block[1]) == Defaults()


def test_every_deployment_setting_is_documented() -> None:
    text = (ROOT / "docs/configuration.md").read_text()
    source = (ROOT / "mldl_ray/settings.py").read_text() + (ROOT / "mldl_ray/cli.py").read_text()
    for name in set(re.findall(r"MLDL_[A-Z_]*[A-Z]", source)):
        assert name in text, f"{name} is read by the code and not in docs/configuration.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_family_is_documented_as_its_record_says() -> None:
    text = (ROOT / "docs/families.md").read_text()
    for view in describe():
        assert view.adapter is not None, view.state
        row = next(
            (line for line in text.splitlines() if line.startswith(f"| `{view.family}` | `{view.adapter}` |")), ""
        )
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[3].replace("reduction", "dimension_reduction").split(", ") == list(view.tasks), view.family
        assert cells[4] == (f"`{view.resource}`" if view.resource else "–"), view.family
        assert cells[5:7] == ["yes" if view.early_stopping else "–", view.explain], view.family
