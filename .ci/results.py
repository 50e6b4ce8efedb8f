"""Puts reports and facts into conformance/results, without what is nobody else's business.

    results.py keep PLATFORM DIRECTORY     DIRECTORY/{report,report-NAME,facts}.json and platform.toml
    results.py readme                      the table in README.md, from conformance/results

Left out of a report: evidence, the directories of programs and files, and what a kernel of one's own
is called behind its version.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

RESULTS = pathlib.Path("conformance/results")
# 6.1.0-41-amd64, 6.8.0-51-generic, 14.3-RELEASE-p2: what a distribution calls its kernels.
PUBLISHED = re.compile(r"[0-9.]+(-[0-9]+)+(-[a-z0-9]+)*|[0-9.]+-(RELEASE|STABLE|CURRENT)(-p[0-9]+)?")


def last(path):
    return path.rsplit("/", 1)[-1]


def scrub(document):
    platform = document["platform"]
    if not PUBLISHED.fullmatch(platform["release"]):
        platform["release"] = re.match(r"[0-9.]*", platform["release"]).group()
    if "target" in document:
        for key in ("program", "manifest"):
            if key in document["target"]:
                document["target"][key] = last(document["target"][key])
        options = document["options"]
        words = options.get("command", [])
        options["command"] = [re.sub(r"(^|=)/.*/", r"\1", word) for word in words]
        for entry in document["requirements"]:
            for key in ("evidence", "directory"):
                entry.pop(key, None)
    return document


def text(document):
    """JSON with a line for each requirement or fact, so that a change is a line of its own."""
    listed = next(key for key in ("requirements", "facts") if key in document)
    rows = document.pop(listed)
    head = json.dumps(document, indent=2, ensure_ascii=False).removesuffix("\n}")
    lines = ",\n".join("    " + json.dumps(row, ensure_ascii=False) for row in rows)
    return f'{head},\n  "{listed}": [\n{lines}\n  ]\n}}\n'


def keep(platform, directory):
    folder = RESULTS / platform
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.json"):
        old.unlink()
    for path in sorted(pathlib.Path(directory).glob("*.json")):
        (folder / path.name).write_text(text(scrub(json.loads(path.read_text()))))
    about = pathlib.Path(directory) / "platform.toml"
    (folder / "platform.toml").write_text(about.read_text())


def readme():
    """Puts the table of the page of platforms, the short one, in the place of README.md's."""
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(
            ["cargo", "run", "--release", "--quiet", "--locked", "--", "list", "--format",
             "markdown", "--results", str(RESULTS), "--output", scratch],
            check=True, stdout=subprocess.DEVNULL,
        )
        page = pathlib.Path(scratch, "platforms.md").read_text()
    table = re.search(r"## In short\n\n((?:\|.*\n)+)", page).group(1)
    path = pathlib.Path("README.md")
    head = re.escape(table.split("\n", 1)[0])
    changed, found = re.subn(rf"{head}\n(?:\|.*\n)*", lambda _: table, path.read_text())
    if found != 1:
        sys.exit("results.py: README.md has no table that begins as the page's does")
    path.write_text(changed)


match sys.argv[1:]:
    case ["keep", platform, directory]:
        keep(platform, directory)
    case ["readme"]:
        readme()
    case _:
        sys.exit(__doc__)
