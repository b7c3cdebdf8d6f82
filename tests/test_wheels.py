"""The wheels, as a user of pip gets them: what they hold and say, and the README's commands where they are installed.

The packages are built here, each wheel from its source distribution; with RT_DIST those in that folder are checked
instead. They are installed into an environment without any of our editable installs. What other packages they need is
borrowed from this environment; with RT_INSTALL=full, pip installs it too (``make wheels-full``).
"""

from __future__ import annotations

import contextlib
import email
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path

import hatchling.build
import pytest
from attrs import frozen
from packaging.requirements import Requirement

from rt_framework.jobs.scaffold.files import _range
from rt_framework.testing.project import PARTS, Done
from tests.helpers import REPO, rows, write_json

NOT_SHIPPED = {"entry.js", "licences.js", "package.json", "package-lock.json"}
"""Files in the folder of the package from which `make vendor` bundles the scripts of others."""


@frozen
class Package:
    """A distribution of this repository."""

    folder: Path

    @property
    def project(self) -> dict:
        """The table `project` of its pyproject.toml."""
        return tomllib.loads((self.folder / "pyproject.toml").read_text("utf-8"))["project"]

    @property
    def name(self) -> str:
        """As pip installs it."""
        return self.project["name"]

    @property
    def module(self) -> str:
        """As Python imports it."""
        return self.name.replace("-", "_")

    @property
    def release(self) -> str:
        """The beginning of the names of its files."""
        return f"{self.module}-{self.project['version']}"


PACKAGES = [Package(REPO), *(Package(path.parent) for path in sorted((REPO / "plugins").glob("*/pyproject.toml")))]
VERSIONS = {package.name: package.project["version"] for package in PACKAGES}

each_package = pytest.mark.parametrize("package", PACKAGES, ids=[package.name for package in PACKAGES])


@pytest.fixture(scope="module")
def dist(tmp_path_factory) -> Path:
    """The folder with a source distribution and a wheel of each package."""
    if "RT_DIST" in os.environ:
        return Path(os.environ["RT_DIST"])
    made = tmp_path_factory.mktemp("dist")
    for package in PACKAGES:
        with contextlib.chdir(package.folder):
            hatchling.build.build_sdist(str(made))
        unpacked = tmp_path_factory.mktemp("source")
        with tarfile.open(made / f"{package.release}.tar.gz") as archive:
            # Python 3.11 has the filter from its fourth release on.
            archive.extractall(unpacked, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
        with contextlib.chdir(unpacked / package.release):
            hatchling.build.build_wheel(str(made))
    return made


def wheel_of(package: Package, dist: Path) -> Path:
    """The file of its wheel."""
    return dist / f"{package.release}-py3-none-any.whl"


# --- what they hold ---------------------------------------------------------------------------


def files_of(package: Package) -> set[str]:
    """The files of its module, by their paths in the distribution."""
    found = (path for path in (package.folder / package.module).rglob("*") if path.is_file())
    return {
        path.relative_to(package.folder).as_posix()
        for path in found
        if not {"__pycache__", "node_modules"} & set(path.parts)
    }


@each_package
def test_a_wheel_holds_the_whole_module_and_nothing_else(package, dist):
    """With its templates, starters, assets and ``py.typed``, and without tests, examples or pages."""
    shipped = {name for name in files_of(package) if Path(name).name not in NOT_SHIPPED}
    assert f"{package.module}/py.typed" in shipped
    about = {
        f"{package.release}.dist-info/{name}"
        for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
    }
    with zipfile.ZipFile(wheel_of(package, dist)) as wheel:
        assert set(wheel.namelist()) == shipped | about
        assert wheel.read(f"{package.release}.dist-info/licenses/LICENSE") == (REPO / "LICENSE").read_bytes()


@each_package
def test_a_source_distribution_holds_what_its_wheel_is_built_from(package, dist):
    """The module, its page and its licence; a file that a test or a run has left in the folder stays out."""
    with tarfile.open(dist / f"{package.release}.tar.gz") as archive:
        held = {name.removeprefix(f"{package.release}/") for name in archive.getnames()}
    extra = {"README.md", "LICENSE", "pyproject.toml", "PKG-INFO", ".gitignore"}
    assert held - {"CHANGELOG.md"} == files_of(package) | extra


# --- what they say ----------------------------------------------------------------------------


def metadata_of(package: Package, dist: Path) -> Message:
    """The metadata in its wheel."""
    with zipfile.ZipFile(wheel_of(package, dist)) as wheel:
        return email.message_from_bytes(wheel.read(f"{package.release}.dist-info/METADATA"))


@each_package
def test_the_metadata_is_complete(package, dist):
    """The README, licence, versions of Python, topic and words to find it by, which an index shows."""
    told = metadata_of(package, dist)
    assert told.get_payload(decode=True) == (package.folder / "README.md").read_bytes()
    assert told["Description-Content-Type"] == "text/markdown"
    assert (told["License-Expression"], told["License-File"]) == ("Apache-2.0", "LICENSE")
    assert told["Requires-Python"] == ">=3.11"
    assert len(told["Summary"]) > 40 and len(told["Keywords"].split(",")) >= 4
    assert told.get_all("Classifier") == metadata_of(PACKAGES[0], dist).get_all("Classifier")


@each_package
def test_our_packages_need_one_another_in_compatible_releases(package, dist):
    """As ``rt plugins new`` writes it: before 1.0 a new minor release may break a plugin."""
    needed = [Requirement(one) for one in metadata_of(package, dist).get_all("Requires-Dist")]
    ours = {one.name: str(one.specifier) for one in needed if one.name in VERSIONS and one.name != package.name}
    assert ours == {name: str(Requirement(name + _range(VERSIONS[name])).specifier) for name in ours}
    assert "rt-framework" in {*ours, package.name}


def test_an_extra_that_is_named_somewhere_exists(dist):
    """In a page, a message or a docstring: ``pip install 'rt-framework[hub]'``."""
    there = set(metadata_of(PACKAGES[0], dist).get_all("Provides-Extra"))
    places = [*REPO.glob("*.md"), *REPO.glob("docs/**/*.md"), *REPO.glob("plugins/**/*.md")]
    texts = [path.read_text("utf-8") for path in [*places, *(REPO / "rt_framework").rglob("*.py")]]
    named = {
        extra for text in texts for found in re.findall(r"rt-framework\[([\w,]+)\]", text) for extra in found.split(",")
    }
    assert named and named <= there


# --- where they are installed -----------------------------------------------------------------


ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "RT_", "VIRTUAL_ENV", "PYTEST"))
} | {"HF_HUB_OFFLINE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
"""Of a user who has installed the wheels: nothing leads to this repository."""


@pytest.fixture(scope="module")
def python(dist, tmp_path_factory) -> Iterator[Path]:
    """The interpreter of an environment with the wheels."""
    place = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    wheels = [wheel_of(package, dist) for package in PACKAGES]
    if os.environ.get("RT_INSTALL") == "full":
        _pip(place, "install", "-c", REPO / "constraints.txt", f"{wheels[0]}[adapters,hub]", *wheels[1:], "pytest")
        _pip(place, "check")
    else:
        _pip(place, "install", "--no-deps", "--no-index", *wheels)
        _borrow_dependencies(place)
    yield place / "bin" / "python"
    shutil.rmtree(place)  # pytest keeps what tests leave, and this may be gigabytes


def _pip(place: Path, *arguments: object) -> None:
    command = [sys.executable, "-m", "pip", "--python", place / "bin" / "python", *map(str, arguments), "-q"]
    subprocess.run(command, check=True, timeout=3600, env=ENVIRONMENT)


def _borrow_dependencies(place: Path) -> None:
    """Let an environment import what is installed in this one, without its editable installs.

    They are files that end in ``.pth``, and Python reads none of those in a folder that such a file names.
    """
    (borrowed,) = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    site = Path(sysconfig.get_path("purelib", vars={"base": str(place)}))
    (site / "borrowed.pth").write_text(f"{borrowed}\n", "utf-8")


@pytest.fixture
def rt(python, tmp_path) -> Iterator[Callable[..., Done]]:
    """Calls the installed command in an empty folder."""

    def call(*arguments: str) -> Done:
        done = subprocess.run(
            [python.with_name("rt"), *arguments],
            cwd=tmp_path,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=300,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return call


def test_python_finds_the_installed_packages_and_not_the_repository(python, tmp_path):
    """Each module, and each command and plugin that is offered, is of the environment."""
    code = (
        "import importlib, sys; from importlib import metadata\n"
        "for name in sys.argv[1:]: print(importlib.import_module(name).__file__)\n"
        "points = [p for g in ('rt_framework', 'rt_framework.commands') for p in metadata.entry_points(group=g)]\n"
        "for point in points: print(point.dist.locate_file(''))"
    )
    command = [python, "-c", code, *(package.module for package in PACKAGES)]
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    found = done.stdout.splitlines()
    assert len(found) >= 2 * len(PACKAGES) - 1
    assert [path for path in found if not path.startswith(str(python.parents[1]))] == []


def test_the_installed_command_knows_itself_and_its_packages(rt):
    """Its version, the state of the installation, every package's plugins, and the commands that two of them bring."""
    assert rt("--version").out == f"rt, version {VERSIONS['rt-framework']}\n"
    assert rt("doctor").code == 0
    listed = rt("--strict-plugins", "plugins", "list", "--load")
    assert listed.code == 0, listed.err
    offering = [package for package in PACKAGES if "rt_framework" in package.project.get("entry-points", {})]
    assert offering and all(f"{package.name} {package.project['version']}" in listed.words for package in offering)
    assert {"from rt-compare", "from rt-prove"} <= set(re.findall(r"from rt-\w+", rt("--help").out))


def test_the_commands_of_the_readme_run(rt, tmp_path):
    """All of its first run, in their order, with the fakes of the testing kit for the models that the README names."""
    write_json(tmp_path / "data.json", rows(24))
    write_json(tmp_path / "eval.json", rows(3))
    for line in readme_lines("## A first run of your own"):
        if line.startswith("rt "):
            arguments = shlex.split(_faked(line).removeprefix("rt "))
            done = rt("-p", PARTS, *arguments)
            assert done.code == 0, (line, done.out, done.err)
        if line.startswith("rt init "):
            written = _faked((tmp_path / "rt.yaml").read_text("utf-8"))
            (tmp_path / "rt.yaml").write_text(written, "utf-8")
    assert (tmp_path / "runs/rt/report.html").stat().st_size > 100_000
    assert (tmp_path / "packs/trl").is_dir()


def readme_lines(heading: str) -> list[str]:
    """The lines of the first block below a heading of the README, without their comments."""
    below = (REPO / "README.md").read_text("utf-8").partition(heading)[2]
    return [line.partition(" #")[0].strip() for line in below.split("```")[1].splitlines()]


def _faked(text: str) -> str:
    """Return a command or a config of the README with fakes. A proof would train the model, so its help is enough."""
    if text.startswith("rt prove "):
        return "rt prove --help"
    text = text.replace("litellm:openai/gpt-4o-mini", "scripted").replace("hf:Qwen/Qwen2.5-1.5B", "fake")
    return re.sub(r"\bID$", "1", text)


def test_a_package_that_the_installed_command_writes_passes_its_checks(rt, tmp_path):
    """The templates of packages and the whole testing kit are in the wheel."""
    assert rt("plugins", "new", "rt-gain", "--kind", "metric").code == 0
    done = rt("-p", "./rt-gain/rt_gain.py", "plugins", "check", "gain")
    assert done.code == 0, done.out
    assert "0 checks failed" in done.out


# --- the image --------------------------------------------------------------------------------

DOCKERFILE = (REPO / "docker/Dockerfile").read_text("utf-8")


def argument_of_the_image(name: str) -> str:
    """The value that a build argument has when it is left out."""
    return re.search(rf'^ARG {name}="?([^"\n]*)', DOCKERFILE, re.MULTILINE)[1]


def test_the_image_installs_the_wheels(dist, tmp_path):
    """No container is built here: its line runs with the wheels, and finds each package that the image is to hold."""
    (line,) = re.findall(r"pip (install --no-deps .*) \$PACKAGES &&", DOCKERFILE)
    asked = [Requirement(one) for one in argument_of_the_image("PACKAGES").split()]
    arguments = [*line.replace("/from/dist", str(dist)).split(), *map(str, asked)]
    command = [sys.executable, "-m", "pip", *arguments, "-q", "--target", tmp_path]
    subprocess.run(command, check=True, timeout=120, env=ENVIRONMENT)
    assert {path.name for path in tmp_path.glob("rt_*") if not path.suffix} == {
        one.name.replace("-", "_") for one in asked
    }
    entrypoint = json.loads(re.search(r"^ENTRYPOINT (.*)$", DOCKERFILE, re.MULTILINE)[1])
    assert (tmp_path / "bin" / entrypoint[0]).is_file()


def test_what_the_image_is_made_of_exists_and_reaches_the_builder():
    """Its files are in this repository or made by ``make wheels``, and nothing else is sent to the builder."""
    sources = set(re.findall(r"source=([^,\s]+)", DOCKERFILE))
    sent = (REPO / "docker/Dockerfile.dockerignore").read_text("utf-8").split()
    assert sent == ["*", *sorted(f"!{name}" if (REPO / name).is_file() else f"!{name}/*.whl" for name in sources)]
    assert sources and not re.search("^(COPY|ADD)", DOCKERFILE, re.MULTILINE)


def test_the_page_shows_the_arguments_of_the_image():
    """With the values that they have when they are left out."""
    page = (REPO / "docs/how-to/install.md").read_text("utf-8")
    names = re.findall(r"^ARG (\w+)", DOCKERFILE, re.MULTILINE)
    assert re.findall(r"^\| `([A-Z_]+)` \|", page, re.MULTILINE) == names
    assert [name for name in names if f"| `{name}` | `{argument_of_the_image(name)}` |" not in page] == []
