"""What the benchmarks share: Markdown, ratios and processes, by hand."""

import json
import math
import sys

import harness
import pytest


def test_a_head_aligns_its_columns_and_the_last_letter_counts_for_the_rest():
    assert harness.head("a | b | c", "lr") == ["| a | b | c |", "|---|---:|---:|"]
    assert harness.head("a | b", "rl") == ["| a | b |", "|---:|---|"]
    assert harness.row(["x", 1]) == "| x | 1 |"


def test_a_ratio_needs_both_and_a_peer_above_zero():
    assert harness.over(1.0, 3.0) == 0.3333
    assert harness.over(0.0, 3.0) == 0
    assert harness.over(None, 3.0) is harness.over(1.0, None) is harness.over(1.0, 0.0) is None
    assert harness.finite({"a": 1.0, "b": math.nan, "c": math.inf, "d": None}) == {
        "a": 1.0, "b": None, "c": None, "d": None,
    }  # fmt: skip
    assert (harness.number(None), harness.number(1.234)) == ("", "1.23")


@pytest.mark.parametrize("asked", [[], ["--json"]])
def test_results_are_shown_as_they_are_asked_for(asked, capsys):
    options = harness.arguments("page", "small").parse_args(asked)
    harness.show(options, lambda a, b: {"sum": a + b}, lambda a, b: f"{a} + {b}", 1, 2)
    said = capsys.readouterr().out
    assert json.loads(said) == {"sum": 3} if asked else said == "1 + 2\n"


def test_a_process_has_the_threads_that_it_is_given_and_its_last_line_counts():
    program = "import json, os; print('chatter'); print(json.dumps([os.environ[name] for name in %r]))"
    process = harness.run("case", [sys.executable, "-c", program % (harness.THREAD_LIMITS,)], threads=3)
    assert process is not None
    assert json.loads(process.output.splitlines()[-1]) == ["3"] * 3
    assert process.seconds > 0


@pytest.mark.parametrize(
    ("program", "reason"),
    [("raise SystemExit('a\\nno weights')", "no weights"), ("raise SystemExit(4)", "exit code 4")],
)
def test_what_fails_is_told_in_one_line(program, reason, capsys):
    assert harness.run("thing", [sys.executable, "-c", program]) is None
    assert capsys.readouterr().err == f"thing: not run: {reason}\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process holds")
def test_the_most_that_is_held_is_not_below_what_is_held():
    now, most = harness.resident_mib(from_now=True)
    assert 0 < now <= most + 1
