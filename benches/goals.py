"""What the gateway bears, in figures: the tests that measure it, at full length, against a release build.

    python3 benches/goals.py target/release/handlerd [G1 G4 ...]

Each goal has a number, the figure it asks for, and the tests that show it. The tests assert that nothing is
lost or wrong; times and sizes they print, as a busy machine would miss those. This prints them side by side
with what is asked, as a table. All of it takes about a quarter of an hour, on a machine that does nothing
else. Beside it: `benches/durable_202.py` (G3), `benches/soak.py` (G9).
"""

import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MARK = re.compile(r"^catalogue row \S+ \| (.*?) \| ?(\S*)$")

# Number, what is asked for, variables, tests.
GOALS = [
    (
        "G1",
        "100,000 events, 50 kills at random: 0 lost, at most 0.5 % twice",
        {"HANDLERD_TEST_EVENTS": "100000", "HANDLERD_TEST_KILLS": "50"},
        ["ledger::what_was_accepted_is_executed_however_often_the_gateway_is_killed"],
    ),
    (
        "G4",
        "1,000 saves under load: 0 requests failed, 0 stale",
        {"HANDLERD_TEST_SAVES": "1000"},
        [
            "reload::under_load_nothing_fails_and_nothing_is_stale",
            "reload::a_hundred_equal_size_saves_are_each_served_at_once",
        ],
    ),
    (
        "G5",
        "1,000 saves in a burst: the last is live within 1 s",
        {},
        ["reload::a_thousand_saves_in_a_burst"],
    ),
    ("G6", "timeouts within 50 ms (p99), ready again within 250 ms", {}, ["faults::timeouts"]),
    (
        "G7",
        "1,000 crashes leave nothing behind",
        {},
        ["faults::two_hundred_crashes_leave_nothing_behind"],
    ),
    (
        "G10",
        "SIGTERM under load, 10 half-open clients: 0 lost; 20 times",
        {"HANDLERD_TEST_STOPS": "20"},
        ["ends::a_stop_under_load_loses_nothing"],
    ),
    (
        "G11",
        "20 programs in a row under load: 0 failed; one that does not work: 0 failed",
        {"HANDLERD_TEST_SUCCESSIONS": "20"},
        [
            "operations::a_new_binary_takes_over_without_a_failed_request",
            "operations::a_binary_that_does_not_work_takes_nothing_over",
            "ends::no_kind_of_request_fails_while_another_program_takes_over",
        ],
    ),
    (
        "G12",
        "10,000 idle and 1,200 slow connections: p99 at most twice the usual, 20 KiB each",
        {},
        ["crowds::ten_thousand_idle_connections_and_others"],
    ),
    (
        "G13",
        "HTTP/1 as specified in each of 60 cases; HTTP/2 floods end within 1 s",
        {},
        [
            "hostile_clients::what_can_be_understood_in_two_ways_is_refused",
            "hostile_clients::what_is_proper_is_served",
            "http2_floods::floods_end_and_others_do_not_notice",
        ],
    ),
    (
        "G16",
        "15 of 15 ways out refused, without root too",
        {},
        [
            "isolation::a_handler_does_not_get_out",
            "isolation::an_ordinary_users_handler_does_not_get_out_either",
        ],
    ),
    (
        "G17",
        "a hog killed within 0.5 s, a bomb cleared within 250 ms, neighbours' p99 at most twice the usual",
        {},
        [
            "containment::a_hog_is_killed_soon_after_it_has_crossed_its_limit",
            "containment::bombs_are_cleared_and_neighbours_are_served",
        ],
    ),
    (
        "G18",
        "first answer within 1 s of a start with 100,000 events; 200 flips and cuts: 0 silent",
        {"HANDLERD_TEST_BACKLOG": "100000"},
        [
            "durability::a_large_backlog_does_not_delay_the_start",
            "keeping::of_two_hundred_flips_and_cuts_none_is_silent",
        ],
    ),
    (
        "G19",
        "ten times too much: 90 % of the peak done, refusals within 10 ms (p99), usual again within 1 s",
        {},
        ["crowds::ten_times_too_much_work_is_done_as_far_as_it_can_be"],
    ),
    (
        "G20",
        "10,000 events of a function that fails: p99 of others' events at most twice the usual",
        {"HANDLERD_TEST_BACKLOG": "10000"},
        ["asynchronous::a_backlog_of_failures_does_not_slow_others_down"],
    ),
]


def said(text: str, names: list[str]) -> list[str]:
    """What the tests have printed for people."""
    lines = []
    for line in text.splitlines():
        for name in names:
            line = line.removeprefix(f"test {name} ... ")
        if match := MARK.match(line):
            what, took = match.groups()
            lines.append(f"{what} ({took} ms)" if took else what)
        elif re.search(r"\d", line) and not re.match(
            r"(running|test|failures|\s|thread|note)", line
        ):
            lines.append(line)
    return lines


def main() -> None:
    program, *wanted = sys.argv[1:] or sys.exit(__doc__)
    program = str(pathlib.Path(program).resolve(strict=True))
    print("| goal | asked for | seen | |\n|---|---|---|---|", flush=True)
    failed = False
    for number, asked, variables, tests in GOALS:
        if wanted and number not in wanted:
            continue
        command = ["cargo", "test", "--quiet", "--locked", "--test", "acceptance", "--"]
        command += [*tests, "--exact", "--nocapture", "--include-ignored", "--test-threads=1"]
        environment = {
            **os.environ,
            **variables,
            "HANDLERD_TEST_PROGRAM": program,
            "RUST_BACKTRACE": "0",
        }
        run = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        seen = "<br>".join(said(run.stdout, tests)).replace("|", "/")
        passed = run.returncode == 0 and f"{len(tests)} passed" in run.stdout
        failed |= not passed
        print(f"| {number} | {asked} | {seen} | {'passed' if passed else 'FAILED'} |", flush=True)
        if not passed:
            print(run.stdout[-3000:], run.stderr[-3000:], file=sys.stderr)
    sys.exit(failed)


if __name__ == "__main__":
    main()
