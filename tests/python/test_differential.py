"""The same functions and events in AWS's runtime and in ours, compared byte for byte.

What is masked is what no two runs share: the time. Everything else, paths included, is equal,
because both run in the same interpreter on the same files.
"""

import json
import re

import pytest

from cases import CASES
from runtimes import run_aws, run_ours

MASKS = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z"), "<time>"),
    (re.compile(r"repeated \d+ more times"), "repeated <as often as the stack allows> more times"),
    (re.compile(r"0x[0-9a-f]{6,}"), "<address>"),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_same_as_aws(case, tmp_path, import_path, summary):
    for path, text in case.files.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", errors="surrogateescape")
    variables = environment_of(case, tmp_path)
    aws = run_aws(tmp_path, variables, case.invocations)
    ours = run_ours(tmp_path, variables, case.invocations, import_path)

    names = case.names or [case.name]
    differences = differing(case, names, aws, ours)
    if aws_log := masked(aws.log) != masked(ours.log):
        differences.append(("log", "log", masked(aws.log), masked(ours.log)))
    summary.add(case, len(names), {part for _, part, *_ in differences})

    unexpected = [difference for difference in differences if difference[1] not in case.parts]
    assert not unexpected, report(unexpected)
    seen = {part for _, part, *_ in differences}
    assert set(case.parts) == seen, f"no longer different in {set(case.parts) - seen}: {case.differs}"
    assert aws.outcomes or aws_log, "the run showed nothing at all"


def environment_of(case, task_root):
    from runtimes import environment

    return environment(case.runtime, task_root, case.handler, case.variables)


def differing(case, names, aws, ours):
    """(name, part, AWS's, ours) for each outcome that is not the same."""
    found = []
    if len(aws.outcomes) != len(ours.outcomes):
        return [(case.name, "outcome", aws.outcomes, ours.outcomes)]
    for name, theirs, own in zip(names, aws.outcomes, ours.outcomes, strict=False):
        theirs, own = masked_outcome(theirs), masked_outcome(own)
        if theirs == own:
            continue
        without = [without_stack_trace(outcome) for outcome in (theirs, own)]
        part = "stackTrace" if without[0] == without[1] else "outcome"
        found.append((name, part, theirs, own))
    return found


def masked_outcome(outcome):
    kind, body = outcome
    return (kind, masked(body.decode("latin-1")) if isinstance(body, bytes) else body)


def without_stack_trace(outcome):
    kind, body = outcome
    if not kind.endswith("error"):
        return outcome
    return kind, {**json.loads(body), "stackTrace": None}


def masked(text):
    for pattern, mask in MASKS:
        text = pattern.sub(mask, text)
    return text


def report(differences):
    return "\n".join(
        f"\n{name}: {part}\n  AWS:  {theirs!r}\n  ours: {own!r}" if part != "log" else log_report(theirs, own)
        for name, part, theirs, own in differences
    )


def log_report(theirs, own):
    import difflib

    return "\nlog:\n" + "\n".join(
        difflib.unified_diff(theirs.splitlines(), own.splitlines(), "AWS", "ours", "", "", 1, "")
    )
