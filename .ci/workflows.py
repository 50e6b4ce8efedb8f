"""What no general tool knows of the workflows: this project's platforms, images and targets.

    workflows.py DIRECTORY

Writes each `run:` of a workflow as a shell script into DIRECTORY, for shellcheck, and the guide's
example as example.yml. Prints one line
for each fault; exit status 1 when there is one.
"""

import json
import re
import sys
import tomllib
from pathlib import Path

from ruamel.yaml import YAML

faults = []


def fault(where, what):
    faults.append(f"{where}: {what}")


# The keys of cross 0.2.5, src/cross_toml.rs: CrossToml, CrossBuildConfig, CrossTargetConfig,
# CrossEnvConfig, CrossTargetDockerfileConfig. cross itself only warns of others.
TEXTS = [str]  # a list of strings
ENV = {"volumes": TEXTS, "passthrough": TEXTS}
DOCKERFILE = {"file": str, "context": str, "build-args": dict}
BUILD = {
    "env": ENV,
    "xargo": bool,
    "build-std": bool,
    "default-target": str,
    "pre-build": (str, TEXTS),
    "dockerfile": (str, DOCKERFILE),
}
TARGET = {
    "xargo": bool,
    "build-std": bool,
    "image": str,
    "dockerfile": (str, DOCKERFILE),
    "pre-build": (str, TEXTS),
    "runner": str,
    "env": ENV,
}


def fits(value, form, where):
    """Whether a value has the form; a table's unknown keys are faults of their own."""
    if isinstance(form, tuple):
        return any(fits(value, one, where) for one in form)
    if isinstance(form, dict):
        if not isinstance(value, dict):
            return False
        for key, inner in value.items():
            if key not in form:
                fault(where, f"cross 0.2.5 knows no key '{key}' here; it knows {', '.join(form)}")
            elif not fits(inner, form[key], f"{where}, {key}"):
                fault(where, f"'{key}' has the wrong type: {inner!r}")
        return True
    if form is TEXTS:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, form)


def cross_targets():
    """The targets of cross.toml, which is checked on the way."""
    try:
        config = tomllib.loads(Path("cross.toml").read_text())
    except tomllib.TOMLDecodeError as error:
        fault("cross.toml", error)
        return set()
    for key in config:
        if key not in ("build", "target"):
            fault("cross.toml", f"cross 0.2.5 knows no table '{key}'; it knows build, target")
    fits(config.get("build", {}), BUILD, "cross.toml, build")
    targets = config.get("target", {})
    for name, table in targets.items():
        fits(table, TARGET, f"cross.toml, target {name}")
    return set(targets)


def load_workflows():
    yaml = YAML(typ="safe")
    return {path: yaml.load(path.read_text()) for path in sorted(Path(".github/workflows").glob("*.yml"))}


def steps_of(workflows):
    """(where, workflow, job, step) for each step."""
    for path, workflow in workflows.items():
        for name, job in workflow["jobs"].items():
            for number, step in enumerate(job.get("steps", []), 1):
                yield f"{path}, job {name}, step {step.get('name', number)}", workflow, job, step


def check_shape(workflows):
    """What zizmor leaves to taste and this project has decided."""
    for path, workflow in workflows.items():
        if workflow.get("permissions") != {}:
            fault(path, "'permissions: {}' is missing at the top; each job asks for its own")
        for name, job in workflow["jobs"].items():
            if "uses" not in job and "timeout-minutes" not in job:
                fault(f"{path}, job {name}", "there is no timeout-minutes")
    for where, workflow, _, step in steps_of(workflows):
        shell = step.get("shell", workflow.get("defaults", {}).get("run", {}).get("shell"))
        if "run" in step and shell != "bash":
            fault(where, "the shell is not bash, so a pipe's failure would go unseen")


def check_pins(workflows):
    """One commit for an action everywhere, with its version beside it, for people and Dependabot."""
    seen = {}
    for path in workflows:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found = re.match(r"\s*(?:- )?uses:\s*(\S+)\s*(.*)$", line)
            if not found or found[1].startswith("$/"):
                continue
            where = f"{path}:{number}"
            pin = re.fullmatch(r"([\w./-]+)@([0-9a-f]{40})", found[1])
            if not pin or not re.fullmatch(r"# v\d+\.\d+\.\d+", found[2]):
                fault(where, f"'{found[1]}' is not pinned as 'owner/name@<40 digits> # v1.2.3'")
            elif seen.setdefault(pin[1], (pin[2], found[2])) != (pin[2], found[2]):
                fault(where, f"{pin[1]} is pinned to something else elsewhere")


def check_cross(workflows, targets):
    """cross is called only with its configuration, and for the targets that it names."""
    for where, workflow, job, step in steps_of(workflows):
        if re.search(r"^\s*cross\s", step.get("run", ""), re.MULTILINE):
            env = {**workflow.get("env", {}), **job.get("env", {}), **step.get("env", {})}
            if env.get("CROSS_CONFIG") != "cross.toml":
                fault(where, "cross is called without CROSS_CONFIG=cross.toml")
            if env.get("CROSS_VERSION") != "0.2.5":
                fault(where, "CROSS_VERSION is not 0.2.5, the version that cross.toml is checked for")
            oldest = tomllib.loads(Path("Cargo.toml").read_text())["workspace"]["package"]["rust-version"]
            if env.get("TOOLCHAIN") != oldest:
                fault(where, f"TOOLCHAIN is not {oldest}, the rust-version of Cargo.toml")
    built = set()
    for workflow in workflows.values():
        for job in workflow["jobs"].values():
            include = job.get("strategy", {}).get("matrix", {}).get("include", [])
            if isinstance(include, list):
                built |= {entry["target"] for entry in include if "target" in entry}
    for name in sorted(built - targets):
        fault(".github/workflows", f"target {name} is built with cross, but is not in cross.toml")
    for name in sorted(targets - built):
        fault("cross.toml", f"target {name} is built by no workflow")


# Images of a system that another image has on the platforms already, with another first boot.
SAME_SYSTEM = {
    "debian-12-cloud",
    "debian-12-cloudinit",
    "debian-12-i386-cloudinit",
    "debian-12-keyboard",
    "debian-12-nocloud",
    "debian-12-serial",
    "debian-13-cloudinit",
    "debian-13-nocloud",
    "debian-testing-cloudinit",
    "debian-unstable-cloudinit",
}

# Images that no workflow starts: .ci/architectures and people do.
BY_HAND = {
    "debian-12-arm64-tiny",
    "debian-12-armhf-tiny",
    "debian-12-s390x-tiny",
    "debian-13-armhf-tiny",
    "debian-13-riscv64-tiny",
}


def check_platforms(workflows, targets):
    """platforms.json, the images of the catalogue and every name in a workflow agree."""
    table = Path(".github/platforms.json")
    platforms = json.loads(table.read_text())
    names = [entry["name"] for entry in platforms]
    for name in sorted({name for name in names if names.count(name) > 1}):
        fault(table, f"{name} is there twice")
    # A matrix has no more jobs (GitHub, usage limits of workflows).
    if len(platforms) > 256:
        fault(table, f"{len(platforms)} platforms: a matrix takes 256")
    for entry in platforms:
        where = f"{table}, {entry['name']}"
        if set(entry) != {"name", "kind", "runner", "target", "cc"}:
            fault(where, "an entry has name, kind, runner, target and cc")
        elif entry["kind"] not in ("runner", "machine"):
            fault(where, f"kind '{entry['kind']}' is neither runner nor machine")
        elif entry["target"] not in targets | {"x86_64-unknown-linux-gnu"}:
            fault(where, f"target {entry['target']} is not in cross.toml")
    machines = {entry["name"] for entry in platforms if entry["kind"] == "machine"}
    if Path("vm/images").is_dir():
        # An image's id is its file's name.
        images = {path.stem for path in Path("vm/images").glob("*.toml")}
        for name in sorted(machines - images):
            fault(table, f"there is no image {name} in vm/images")
        for name in sorted(images - machines - SAME_SYSTEM - BY_HAND):
            fault(table, f"image {name} of vm/images is not among the platforms")
        for known, listed in (("SAME_SYSTEM", SAME_SYSTEM), ("BY_HAND", BY_HAND)):
            for name in sorted(listed - images | listed & machines):
                fault(".ci/workflows.py", f"{known} has {name} without need")

    def names_in(text):
        """The names that an expression or a plain value can give: what is quoted, or all of it."""
        parts = re.findall(r"'([^']*)'", text) if "${{" in text else [text]
        return {name for part in parts for name in part.split()}

    for path, workflow in workflows.items():
        for job_name, job in workflow["jobs"].items():
            given = job.get("with", {}).get("platforms", "")
            for name in sorted(names_in(given) - set(names) - {"all", "pull_request"}):
                fault(f"{path}, job {job_name}", f"there is no platform {name}")


def check_callers(workflows):
    """Who calls check-a-server.yml, the guide's example among them, gives inputs that it has."""
    called = Path(".github/workflows/check-a-server.yml")
    inputs = set(workflows[called]["on"]["workflow_call"]["inputs"])
    for path, workflow in workflows.items():
        for name, job in workflow["jobs"].items():
            if called.name in job.get("uses", ""):
                for given in sorted(set(job.get("with", {})) - inputs):
                    fault(f"{path}, job {name}", f"{called.name} has no input {given}")


def example(directory):
    """The workflow in the guide, written into the directory for the schema's check."""
    guide = Path(".github/CHECK-YOUR-SERVER.md")
    found = re.search(r"```yaml\n(.*?)```", guide.read_text(), re.DOTALL)
    if not found:
        fault(guide, "there is no example")
        return {}
    if len(found[1].splitlines()) != 10:
        fault(guide, "it says ten lines")
    (directory / "example.yml").write_text(found[1])
    return {guide: YAML(typ="safe").load(found[1])}


def write_blocks(workflows, directory):
    for number, (_, _, _, step) in enumerate(steps_of(workflows), 1):
        if "run" in step:
            name = re.sub(r"\W+", "-", step.get("name", step.get("id", "step"))).lower()
            # As GitHub starts it: `shell: bash` is bash -eo pipefail.
            script = "#!/usr/bin/env bash\nset -eo pipefail\n" + step["run"] + "\n"
            (directory / f"{number:02}-{name}").write_text(script)


workflows = load_workflows()
check_shape(workflows)
check_pins(workflows)
targets = cross_targets()
check_cross(workflows, targets)
callers = workflows | example(Path(sys.argv[1]))
check_platforms(callers, targets)
check_callers(callers)
write_blocks(workflows, Path(sys.argv[1]))
for line in faults:
    print(line)
sys.exit(bool(faults))
