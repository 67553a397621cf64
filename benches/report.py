"""Tables, plots and the judgement against the goals, made of the raw figures."""

import json
import statistics
from pathlib import Path
from xml.sax.saxutils import escape

BASE, FLOOR, EMBED = "handlerd", "axum-hello", "embed"


def write(results, folder):
    folder.mkdir(exist_ok=True)
    (folder / "latest.json").write_text(json.dumps(results, indent=1) + "\n")
    peers = list(results["peers"])
    ratios = {name: spread(ratio_samples(results["samples"], BASE, name)) for name in peers}
    drawn = [(name, ratios[name]) for name in peers if ratios[name]]
    (folder / "throughput.svg").write_text(
        bars("requests/s of handlerd / of the peer (median, least, most of the rounds)", drawn, "x")
    )
    costs = {name: spread(at_most(results["samples"], name, "cpu_us")) for name in peers}
    drawn = [(name, costs[name]) for name in peers if costs[name]]
    (folder / "cpu.svg").write_text(
        bars("CPU per request, whole process tree (median, least, most)", drawn, " us")
    )
    (folder / "latest.md").write_text(markdown(results))


def spread(values):
    """Least, median, most."""
    values = [value for value in values if value is not None]
    if not values:
        return None
    return min(values), statistics.median(values), max(values)


def quantile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def of(samples, peer, connections, figure):
    return [
        sample[figure]
        for sample in samples
        if sample["peer"] == peer and sample["connections"] == connections
    ]


def most_connections(samples, peer):
    return max((s["connections"] for s in samples if s["peer"] == peer), default=0)


def at_most(samples, peer, figure):
    return of(samples, peer, most_connections(samples, peer), figure)


def ratio_samples(samples, above, below, figure="requests_per_second"):
    """One ratio for each round, at the most connections that both had."""
    connections = min(most_connections(samples, above), most_connections(samples, below))
    pairs = zip(
        of(samples, above, connections, figure),
        of(samples, below, connections, figure),
        strict=False,
    )
    return [a / b for a, b in pairs if a and b]


def cpu_ratio(results):
    """handlerd's CPU per request over axum hello's, the figure that guards against regressions."""
    return spread(ratio_samples(results["samples"], BASE, FLOOR, "cpu_us"))


def number(value, digits=0):
    return "-" if value is None else f"{value:,.{digits}f}"


def low_to_high(values, digits=2, unit=""):
    if not values:
        return "-"
    low, middle, high = values
    return f"**{middle:.{digits}f}{unit}** ({low:.{digits}f}-{high:.{digits}f})"


def table(heads, rows):
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows]) + "\n"


def markdown(results):
    parts = ["# Benchmark results", made_on(results), "## Goals", goals(results)]
    parts += ["## Requests per second and CPU per request", throughput(results)]
    parts += ["## Latency, us", latency(results)]
    parts += ["## Start, memory, reload", starts(results)]
    if results.get("handlerd"):
        parts += ["## handlerd's own", own(results)]
    if results.get("working"):
        parts += ["## Handlers that work or wait", working(results)]
    if results["missing"]:
        rows = results["missing"].items()
        parts += ["## Not measured", table(["peer", "reason"], [(n, f"`{r}`") for n, r in rows])]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def made_on(results):
    machine, versions = results["machine"], results["versions"]
    return f"""\
{results["date"]}, {results["options"]}

- machine: {machine["cpu"]}, {machine["cores"]} cores, {machine["memory_gb"]:.0f} GB, Linux \
{machine["kernel"]}; load average {machine["load_before"]} before and {machine["load_after"]} after
- Python for all sides: {machine["python"]["version"]} at `{machine["python"]["executable"]}` \
({machine["python"]["compiler"]}; {machine["python"]["work_us"]:.1f} us for a fixed piece of work)
- handlerd: {results["handlerd_version"]}; load: {machine["wrk"]}, one thread, kept-alive, loopback
- peers: {", ".join(f"{name} {version}" for name, version in sorted(versions.items()))}

Servers run all at once and are measured in turns; ratios are of neighbours in one round. Bold is \
the median, in brackets the least and the most of {results["rounds"]} rounds of \
{results["seconds"]} s."""


def throughput(results):
    samples, rows = results["samples"], []
    for name, says in results["peers"].items():
        rates = [spread(of(samples, name, c, "requests_per_second")) for c in (1, 16, 64)]
        errors = sum(s["errors"] for s in samples if s["peer"] == name)
        base = ratio_samples(samples, BASE, name)
        floor = ratio_samples(samples, name, FLOOR)
        if not any(rates):
            continue
        rows.append(
            [
                f"{name}" + (f" ({errors} errors)" if errors else ""),
                *(number(rate and rate[1]) for rate in rates),
                low_to_high(spread(base)),
                low_to_high(spread(floor)),
                low_to_high(spread(at_most(samples, name, "cpu_us")), 1),
                low_to_high(spread(ratio_samples(samples, name, FLOOR, "cpu_us"))),
                says,
            ]
        )
    heads = ["server", "c=1", "c=16", "c=64", "handlerd / it", "it / axum hello"]
    heads += ["CPU us per request", "of axum hello's", "what it is"]
    note = "Ratios and CPU at c=64; at c=16 for servers that start a process per connection."
    plots = "![requests per second](throughput.svg)\n\n![CPU per request](cpu.svg)"
    return f"{table(heads, rows)}\n{note}\n\n{plots}"


def latency(results):
    samples, rows = results["samples"], []
    for name in results["peers"]:
        row = [name]
        for connections in (1, 16, 64):
            for figure in ("p50_us", "p99_us"):
                found = spread(of(samples, name, connections, figure))
                row.append(number(found and found[1]))
        if any(cell != "-" for cell in row[1:]):
            rows.append(row)
    heads = ["server", *(f"c={c} p{p}" for c in (1, 16, 64) for p in (50, 99))]
    return table(heads, rows)


def milliseconds(values, share=None, digits=1):
    if not values:
        return "-"
    if share is None:
        return low_to_high(spread([value * 1e3 for value in values]), digits)
    return f"{quantile(values, share) * 1e3:.{digits}f}"


def starts(results):
    rows = []
    for name in results["peers"]:
        idle, start = results["idle"].get(name), results["start_up"].get(name)
        after = results.get("after_load", {}).get(name)
        saves = results["saves"].get(name)
        rows.append(
            [
                name,
                milliseconds(start),
                number(idle and idle["pss_mb"], 1),
                number(idle and idle["processes"]),
                number(idle and idle["cpu_percent"], 2),
                number(after and after["pss_mb"], 1),
                number(after and after["processes"]),
                milliseconds(saves and saves["seconds"], 0.5),
                milliseconds(saves and saves["seconds"], 0.99),
                f"{saves['stale']} of {saves['of']}" if saves else "-",
                saves["failed"] if saves else "-",
            ]
        )
    heads = ["server", "start to first 200, ms", "idle PSS, MB", "processes", "idle CPU %"]
    heads += ["PSS after load, MB", "processes"]
    heads += ["save to new code p50, ms", "p99", "stale", "failed requests"]
    return table(heads, rows)


def own(results):
    figures, rows = results["handlerd"], []
    for name, imports in (
        ("plain", "plain"),
        ("stdlib", "stdlib"),
        ("boto3", "boto3"),
        ("preloaded", "boto3 with `--preload boto3`"),
    ):
        taken = figures.get(f"cold_{name}")
        if taken:
            p50, p99 = milliseconds(taken, 0.5), milliseconds(taken, 0.99)
            rows.append([f"new environment to first answer, {imports}, ms", p50, p99, len(taken)])
    if figures.get("timeouts"):
        late, replaced = figures["timeouts"]["late"], figures["timeouts"]["replaced"]
        for label, taken in (
            ("timeout of 1 s: answered later by, ms", late),
            ("killed to the next answer, ms", replaced),
        ):
            row = [label, milliseconds(taken, 0.5, 2), milliseconds(taken, 0.99, 2), len(taken)]
            rows.append(row)
    memory = figures.get("memory")
    if memory:
        rows.append(["PSS, one environment, MB", f"{memory['one']:.1f}", "-", 1])
        rows.append(["PSS of each further, MB", f"{memory['each']:.2f}", "-", memory["more"]])
    return table(["what", "p50", "p99", "of"], rows)


def working(results):
    samples, rows = results["working"], []
    for handler, connections in (("cpu_bound", 8), ("sleep_5ms", 32)):
        mine = [s for s in samples if s["handler"] == handler]
        ratio = spread(ratio_samples(mine, BASE, EMBED))
        rates = [
            spread(of(mine, peer, connections, "requests_per_second")) for peer in (BASE, EMBED)
        ]
        rows.append(
            [handler, connections, *(number(r and r[1]) for r in rates), low_to_high(ratio)]
        )
    heads = ["handler", "c", "handlerd /s", "embed with c threads /s", "handlerd / embed"]
    return table(heads, rows)


def goals(results):
    """What the design asks for, and what was measured; only what this run measured."""
    samples, own = results["samples"], results.get("handlerd", {})
    saves, idle = results["saves"].get(BASE), results["idle"].get(BASE)
    rows = []

    def add(what, required, stretch, value, unit="", at_least=False):
        if value is None:
            return
        reached = [(value >= goal) if at_least else (value <= goal) for goal in (required, stretch)]
        sign = ">=" if at_least else "<="
        verdict = "stretch" if reached[1] else "required" if reached[0] else "**not reached**"
        limits = [f"{sign} {goal:g}{unit}" for goal in (required, stretch)]
        rows.append([what, *limits, f"{value:.2f}{unit}", verdict])

    def ratio(*peers):
        """Against the best of them."""
        found = [spread(ratio_samples(samples, BASE, peer)) for peer in peers]
        return min((one[1] for one in found if one), default=None)

    def p50(values):
        return quantile(values, 0.5) * 1e3 if values else None

    def faster(what, required, stretch, *peers):
        add(f"requests/s over {what}", required, stretch, ratio(*peers), "x", at_least=True)

    cpu = cpu_ratio(results)
    add("CPU per request over axum hello's, c=64", 2.9, 2.2, cpu and cpu[1], "x")
    granians = [name for name in results["peers"] if name.startswith("granian")]
    faster("the best granian here", 1.5, 2, *granians)
    faster("the in-process embedding", 0.85, 1.0, EMBED)
    faster("the best uvicorn here", 2, 2.5, "uvicorn-w1", "uvicorn-w2")
    faster("functions-framework", 10, 14, "functions-framework")
    faster("awslambdaric x2", 6, 8, "awslambdaric-x2")
    faster("serverless-offline", 15, 20, "serverless-offline")
    delays = [spread(of(samples, name, 1, "p50_us")) for name in (BASE, FLOOR)]
    if all(delays):
        add("p50 at c=1 over axum hello's", 80, 50, delays[0][1] - delays[1][1], " us")
    add("new environment to first answer, plain, p50", 6, 3, p50(own.get("cold_plain")), " ms")
    add("the same with boto3, `--preload boto3`, p50", 8, 4, p50(own.get("cold_preloaded")), " ms")
    if saves:
        add("save to new code, p50", 15, 6, p50(saves["seconds"]), " ms")
        add("stale answers kept", 0, 0, saves["stale"])
    if own.get("timeouts"):
        late = quantile(own["timeouts"]["late"], 0.99) * 1e3
        add("timeout: later than T by, p99", 50, 50, late, " ms")
        add("timeout kill to the next answer, p50", 10, 5, p50(own["timeouts"]["replaced"]), " ms")
    if own.get("memory"):
        add("PSS of each further environment", 6, 3.5, own["memory"]["each"], " MB")
    add("PSS of the whole product, idle, one function", 40, 25, idle and idle["pss_mb"], " MB")
    add("start to first answer, p50", 200, 90, p50(results["start_up"].get(BASE)), " ms")
    work = [s for s in results.get("working", ()) if s["handler"] == "cpu_bound"]
    found = spread(ratio_samples(work, BASE, EMBED))
    add("CPU-bound handler over 8 threads in-process", 1.5, 1.8, found and found[1], "x", True)
    return table(["goal", "required", "stretch", "measured", "reached"], rows)


def bars(title, rows, unit):
    """A bar for each row, with a line from the least to the most; plain SVG."""
    left, right, line, top = 170, 120, 24, 40
    width, height = 860, top + line * len(rows) + 16
    scale = (width - left - right) / max((row[1][2] for row in rows), default=1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="12" y="22" font-weight="bold">{escape(title)}</text>',
    ]
    for index, (name, (low, middle, high)) in enumerate(rows):
        y = top + index * line
        colour = "#1f77b4" if name.startswith(BASE) else "#9aa5b1"
        ends = [left + value * scale for value in (low, middle, high)]
        parts += [
            f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{left}" y="{y + 2}" width="{middle * scale:.1f}" height="16" '
            f'fill="{colour}"/>',
            f'<path d="M{ends[0]:.1f} {y + 10}H{ends[2]:.1f}" stroke="#222" stroke-width="1.5"/>',
            f'<text x="{ends[2] + 6:.1f}" y="{y + 14}">{middle:,.2f}{escape(unit)}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def summary(results, folder):
    return f"{goals(results)}\nwritten: {Path(folder) / 'latest.md'}"
