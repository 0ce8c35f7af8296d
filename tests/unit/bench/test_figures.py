"""Figures, their table and their JSON; rates from samples; the sink's counters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from bench.broadcast import tenths
from bench.figures import Figure, table
from bench.people import catalog_texts
from bench.postfix import accepted


def test_one_line_of_json_has_every_field() -> None:
    figure = Figure(figure="rate", value=10, unit="mails/s", peer="smtp-source", peer_value=40)
    line = figure.to_json()
    assert "\n" not in line
    assert json.loads(line) == {
        "figure": "rate",
        "value": 10,
        "unit": "mails/s",
        "peer": "smtp-source",
        "peer_value": 40,
        "ratio": 0.25,
    }


def test_without_a_peer_there_is_no_ratio() -> None:
    assert Figure(figure="patches", value=0, unit="writes").ratio is None
    idle = Figure(figure="events", value=1, unit="events", peer="bare loop", peer_value=0)
    assert idle.ratio is None


def test_the_table_is_aligned() -> None:
    text = table(
        [
            Figure(figure="a", value=1234567, unit="x"),
            Figure(figure="long-name", value=0.125, unit="x", peer="p", peer_value=1),
        ]
    )
    header, _, first, second = text.splitlines()
    assert header.split() == ["figure", "value", "unit", "peer", "its", "value", "ratio"]
    assert first.split() == ["a", "1,234,567", "x"]
    assert second.split() == ["long-name", "0.125", "x", "p", "1", "0.125"]


def test_an_even_rate_is_the_same_in_each_tenth() -> None:
    samples = [(0.0, 0), *((number / 10, number * 10) for number in range(1, 101))]
    assert tenths(samples, 1000) == pytest.approx([100.0] * 10)


def test_a_pause_shows_in_its_tenth() -> None:
    samples = [(0.0, 0), (1.0, 50), (11.0, 60), (12.0, 100)]
    rates = tenths(samples, 100)
    assert min(rates) == rates[5] == pytest.approx(1.0)


def test_one_sample_is_enough() -> None:
    assert len(tenths([(5.0, 10)], 10)) == 10


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("sess=1 quit=0 mesg=7\r", 7),
        ("sess=1 quit=0 mesg=7\rsess=1 quit=0 mesg=12\r", 12),
        ("sess=1 quit=0 mesg=7\rsess=1 quit=0 mes", 7),
        ("warning: something\n", 0),
    ],
)
def test_the_sink_s_counters_are_read_as_they_are_written(
    tmp_path: Path, text: str, count: int
) -> None:
    counters = tmp_path / "counters"
    counters.write_text(text)
    assert accepted(counters) == count


@pytest.mark.parametrize("users", [0, 10, 2501])
def test_the_catalog_has_so_many_users(users: int) -> None:
    entities = [
        entity
        for text in catalog_texts(users)
        for entity in yaml.safe_load_all(text)
        if entity is not None
    ]
    kinds = [entity["kind"] for entity in entities]
    assert kinds.count("User") == users
    teams = {entity["metadata"]["name"] for entity in entities if entity["kind"] == "Group"}
    named = {team for entity in entities for team in entity["spec"].get("memberOf", ())}
    assert named <= teams
