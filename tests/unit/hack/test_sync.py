"""Derived files are found stale, shown and written."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hack.sync import __main__ as sync
from hack.sync import api_reference, chart_crds, smtp_replies

ROOT = Path(__file__).resolve().parents[3]
A, B = Path("a.md"), Path("deep/b.md")


def generate(_root: Path) -> dict[Path, str]:
    return {A: "new\n", B: "made\n"}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / A).write_text("old\n")
    monkeypatch.setattr(sync, "ROOT", tmp_path)
    monkeypatch.setattr(sync, "GENERATORS", [("test files", generate)])
    return tmp_path


def test_check_shows_what_is_stale_and_writes_nothing(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sync.main(["--check"]) == 1
    shown = capsys.readouterr()
    assert "-old\n+new\n" in shown.out
    assert "stale: a.md, deep/b.md; run: python -m hack.sync" in shown.err
    assert (repository / A).read_text() == "old\n"
    assert not (repository / B).exists()


def test_writing_makes_the_check_pass(repository: Path) -> None:
    assert sync.main([]) == 0
    assert (repository / B).read_text() == "made\n"
    assert sync.main(["--check"]) == 0


@pytest.mark.parametrize(
    "generator", [chart_crds.generate, api_reference.generate, smtp_replies.generate]
)
def test_repository_is_in_step(generator: sync.Generator) -> None:
    assert sync.stale_files(ROOT, [("one", generator)]) == {}


def test_chart_has_every_definition() -> None:
    copies = chart_crds.generate(ROOT)
    assert {path.name for path in copies} == {path.name for path in (ROOT / "crds").iterdir()}
    for path, text in copies.items():
        assert text == (ROOT / "crds" / path.name).read_text(encoding="utf-8")
        assert "\nmetadata:\n" in text, "the chart's upgrade hook puts an annotation there"
        assert "{{" not in text


def test_reference_names_every_field_and_rule() -> None:
    (text,) = api_reference.generate(ROOT).values()
    for source in api_reference.SOURCES:
        definition = yaml.safe_load((ROOT / source).read_text(encoding="utf-8"))
        schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        has_spec = "spec" in schema["properties"]
        section, prefix = (schema["properties"]["spec"], "spec.") if has_spec else (schema, "")
        fields = list(api_reference.walk(section, prefix))
        assert fields
        for field in fields:
            assert f"| `{field.path}` |" in text
    assert "- `spec.payload.link`: a link is an http:// or https:// URL" in text
    assert "| `spec.payload.severity` | string | `normal` |" in text


def test_reference_is_one_row_per_line() -> None:
    (text,) = api_reference.generate(ROOT).values()
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    for row in rows:
        cells = row.replace("\\|", "").split("|")
        assert len(cells) == 7, row
