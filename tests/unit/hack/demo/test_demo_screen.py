"""What the demo shows, and what it says when a command fails."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from hack.demo.commands import Commands, with_home
from hack.demo.errors import DemoError
from hack.demo.screen import Screen


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def commands(stream: io.StringIO) -> Commands:
    return Commands(screen=Screen(stream))


def test_step_shows_its_last_text_and_its_seconds(stream: io.StringIO) -> None:
    with Screen(stream).step("cluster") as step:
        step.text = "cluster demo"

    assert re.fullmatch(r"✓ cluster demo +\d+\.\d s\n", stream.getvalue())


def test_failed_step_is_marked_and_raises(stream: io.StringIO) -> None:
    with pytest.raises(DemoError), Screen(stream).step("cluster"):
        raise DemoError("no")

    assert stream.getvalue().startswith("✗ cluster ")


@pytest.mark.parametrize(("colored", "escapes"), [(True, True), (False, False), (None, False)])
def test_colours_are_for_terminals(
    stream: io.StringIO, colored: bool | None, *, escapes: bool
) -> None:
    Screen(stream, colored=colored).title("Part")

    assert ("\033[" in stream.getvalue()) is escapes


def test_command_is_shown_and_its_output_returned(commands: Commands, stream: io.StringIO) -> None:
    assert commands.run("echo", "a b") == "a b\n"
    assert stream.getvalue() == "  $ echo 'a b'\n"


def test_command_reads_its_text_and_nothing_else(commands: Commands) -> None:
    assert commands.run("cat", text="said") == "said"
    assert commands.run("cat") == ""


def test_long_command_is_folded_so_that_a_shell_takes_it(
    commands: Commands, stream: io.StringIO
) -> None:
    words = [f"--option-{number}=value" for number in range(12)]

    output = commands.run("echo", *words)

    shown = stream.getvalue().removeprefix("  $ ")
    assert max(map(len, shown.splitlines())) <= 100
    assert commands.run("bash", "-c", shown) == output


def test_option_stays_with_its_value(commands: Commands, stream: io.StringIO) -> None:
    words = [word for number in range(6) for word in ("-H", f"A header: {number}", "--flag=1")]

    output = commands.run("echo", *words)

    shown = stream.getvalue().removeprefix("  $ ")
    assert shown.count("\n") > 1
    assert not [line for line in shown.splitlines() if line.endswith("-H \\")]
    assert commands.run("bash", "-c", shown) == output


def test_failing_command_is_named_with_what_it_said(commands: Commands) -> None:
    with pytest.raises(DemoError, match=r"^ls /nowhere: exit status 2\n.*No such file"):
        commands.run("ls", "/nowhere")


def test_home_is_shown_as_a_shell_knows_it() -> None:
    assert with_home(Path.home() / "a") == "$HOME/a"
    assert with_home("/elsewhere") == "/elsewhere"
