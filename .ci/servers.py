"""What `.ci/servers` has seen: a table, and the page of findings.

    servers.py table DIRECTORY NAME...     a line for each server, from DIRECTORY/NAME.json
    servers.py page DIRECTORY NAME...      the page, in Markdown, from the reports and the baselines

Each failure on the page stands in a baseline with its reason, and was seen in the report: what a
baseline explains and a run does not show fails the run before this is asked.
"""

import json
import pathlib
import sys
import tomllib

TARGETS = pathlib.Path("conformance/targets")


def manifest(server):
    return tomllib.loads((TARGETS / f"{server}.toml").read_text())


def exceptions(server, expected):
    """Those of the baseline, as a reason and its ids: the same may stand for several."""
    path = TARGETS / f"{server}.baseline.toml"
    listed = tomllib.loads(path.read_text())["exception"] if path.exists() else []
    reasons = {}
    for one in listed:
        if one["expected"] == expected:
            reason = cell(one["reason"])
            if "link" in one:
                reason += f" [What its project says]({one['link']})."
            reasons.setdefault(reason, []).append(one["id"])
    return reasons


def product(server):
    """Name and version, from the first line of the baseline."""
    first = (TARGETS / f"{server}.baseline.toml").read_text().splitlines()[0]
    return first.removeprefix("# What is known of ").removesuffix(" as Debian 12 ships it.")


def cell(text):
    return " ".join(text.split()).replace("|", "\\|")


def figures(report):
    """Asked, passed, unexplained, explained."""
    count = report["counts"]
    unexplained = sum(count[verdict] for verdict in ("fail", "blocked", "error", "xpass"))
    asked = count["pass"] + count["xfail"] + unexplained
    return asked, count["pass"], unexplained, count["xfail"]


def table(out, servers):
    row = "{:<12}{:>7}{:>8}{:>12}{:>7}{:>9}".format
    print(row("server", "asked", "passed", "unexplained", "xfail", "seconds"))
    for server in servers:
        file = out / f"{server}.json"
        if not file.exists():
            print(row(server, "-", "-", "-", "-", "-"))
            continue
        report = json.loads(file.read_text())
        print(row(server, *figures(report), round(report["duration_ms"] / 1000)))


def page(out, servers):
    reports = {name: json.loads((out / f"{name}.json").read_text()) for name in servers}
    some = next(iter(reports.values()))
    print(f"""# What forkproof finds in servers that you know

{len(servers)} servers as {some["platform"]["distribution"]} ships them, each started from its manifest \
beside this page. "Asked" counts the requirements that apply to a server: the others need something \
that its protocol or its manifest does not offer. Every failure was confirmed: by hand without \
forkproof, or in the server's source, documentation or own output. Most entries say how. A failure is a \
difference from what POSIX or users expect. It need not be a bug: some are a project's decision, and say \
so.

Made by `.ci/servers --page`, which runs them all and fails when a server does not behave as this page \
says.

| server | model | asked | passed | failed |
|---|---|---:|---:|---:|""")
    for name in servers:
        asked, passed, _, failed = figures(reports[name])
        model = manifest(name)["processes"]["model"]
        print(f"| [{product(name)}](#{name}) | {model} | {asked} | {passed} | {failed} |")
    for name in servers:
        titles = {one["id"]: one["title"] for one in reports[name]["requirements"]}
        print(f"\n## {name}\n\n{product(name)}: {cell(manifest(name)['description'])}. "
              f"[Manifest]({name}.toml), [baseline]({name}.baseline.toml).\n")
        for reason, ids in exceptions(name, "fail").items():
            for identity in ids:
                print(f"- **{identity}**: {cell(titles[identity])}.")
            print(f"  {reason}")
        for reason, ids in exceptions(name, "sometimes").items():
            print(f"- Now and then **{', '.join(ids)}**: {reason}")
        for reason, ids in exceptions(name, "skip").items():
            print(f"- Left out: {', '.join(ids)}. {reason}")


def main():
    what, out, *servers = sys.argv[1:]
    {"table": table, "page": page}[what](pathlib.Path(out), servers)


main()
