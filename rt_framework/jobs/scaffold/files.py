"""The texts of the files of a plugin package, made of the templates beside this module."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import metadata, resources
from string import Template

from attrs import evolve, frozen

from rt_framework.hookspecs import API
from rt_framework.jobs.scaffold.package import Package, Part

_SECTION = re.compile(r"^# --- (\w+) ---\n", re.MULTILINE)
"""Line that begins the section ``register`` or ``tests`` of a template; the code of the part comes before it."""

_ARGUMENT = re.compile(r'(?:\w+=)?"[^"]*"|\w+=\w+')
_WIDEST = 120
"""Most characters of a line of code."""

_FILES = {
    "pyproject": "pyproject.toml",
    "readme": "README.md",
    "workflow": ".github/workflows/test.yml",
    "gitignore": ".gitignore",
}
"""Files of every package beside code and tests, by the name of the template."""


@frozen
class _PartTexts:
    """The texts of one part."""

    part: Part
    home: str
    """Module with its code."""
    code: str
    register: str
    """Line that offers the part; empty for a command."""
    test: str

    @property
    def settings(self) -> str:
        """Name of its settings in the module with the hooks."""
        return f"{_class_name(self.part)}Settings"


def files_of(package: Package) -> dict[str, str]:
    """Return the text of each file of a package, by path in the package's folder."""
    parts = [_part_texts(package, part) for part in package.parts]
    texts = {f"tests/test_{one.home.rpartition('.')[2]}.py": one.test for one in parts}
    hooks = [one for one in parts if one.register]
    if package.in_one_module:
        texts[f"{package.module}.py"] = f"{parts[0].code.rstrip()}\n{_hooks(hooks)}"
    else:
        texts[f"{package.module}/__init__.py"] = _hooks_module(package, hooks)
        texts |= {f"{one.home.replace('.', '/')}.py": _without_hooks(one.code) for one in parts}
    words = {
        "name": package.name,
        "module": package.module,
        "range": _range(metadata.version("rt-framework")),
        "parts": str(package),
        "points": _entry_points(package),
        "code": f"{package.module}.py" if package.in_one_module else package.module,
        "trial": _trial(package),
    }
    return texts | {path: _text(template, **words) for template, path in _FILES.items()}


# --- one part ---------------------------------------------------------------------------------


def _part_texts(package: Package, part: Part) -> _PartTexts:
    home = package.home(part)
    names = {"part": part.name, "module": package.module, "home": home, "cls": _class_name(part), "api": str(API)}
    code, *sections = _SECTION.split(_text(part.kind, **names))
    named = dict(zip(sections[::2], sections[1::2], strict=True))
    test = f'"""Tests of the {part.kind} \'{part.name}\'."""\n\n{named["tests"]}'
    return _PartTexts(part, home, code, named.get("register", ""), test)


def _class_name(part: Part) -> str:
    return "".join(word.capitalize() for word in part.name.split("-"))


def _without_hooks(code: str) -> str:
    """Return the code of a part without what only the module with the hooks needs."""
    code = code.replace(f"RT_PLUGIN_API = {API}\n\n", "")
    if "@hookimpl" not in code:
        code = re.sub(r"from rt_framework import hookimpl\n|, hookimpl(?=,|$)", "", code, flags=re.MULTILINE)
    return re.sub(r"\n{4,}", "\n\n\n", code)


# --- hooks ------------------------------------------------------------------------------------


def _hooks(parts: Sequence[_PartTexts]) -> str:
    """Return a hook for each kind among the parts, which offers those of the kind."""
    hooks = ""
    for kind in dict.fromkeys(one.part.kind for one in parts):
        of_kind = [one for one in parts if one.part.kind == kind]
        names = " and ".join(f"'{one.part.name}'" for one in of_kind)
        hooks += f'\n\n@hookimpl\ndef rt_register_{kind}s(register):\n    """Offer {names}."""\n'
        hooks += "".join(one.register for one in of_kind)
    return hooks


def _hooks_module(package: Package, parts: Sequence[_PartTexts]) -> str:
    """Return the module that offers the parts of a package with several modules."""
    head = f'"""The package {package.name}."""\n'
    if not parts:
        return head
    with_settings = [one for one in parts if "Settings" in one.register]
    imports = sorted(f"from {one.home} import Settings as {one.settings}\n" for one in with_settings)
    lines = [head, "from rt_framework import hookimpl\n", "".join(imports), f"RT_PLUGIN_API = {API}\n"]
    return "\n".join(filter(None, lines)) + _hooks([evolve(one, register=_renamed(one)) for one in parts])


def _renamed(one: _PartTexts) -> str:
    """Return the line that offers a part, with the name that its settings have in the module with all hooks."""
    line = one.register.replace("settings=Settings", f"settings={one.settings}")
    if len(line) <= _WIDEST:
        return line
    return "".join(["    register(\n", *(f"        {word},\n" for word in _ARGUMENT.findall(line)), "    )\n"])


# --- what is around the code ------------------------------------------------------------------


def _entry_points(package: Package) -> str:
    """Return the tables of the package's entry points."""
    tables = []
    if package.offered:
        tables.append(f'[project.entry-points.rt_framework]\n{package.plugin} = "{package.module}"\n')
    if package.commands:
        lines = [f'{part.name} = "{package.home(part)}:command"\n' for part in package.commands]
        tables.append(f'[project.entry-points."rt_framework.commands"]\n{"".join(lines)}')
    return "\n".join(tables)


def _trial(package: Package) -> str:
    """Return the commands that try the package, one a line."""
    lines = [f"rt {part.name} --help\n" for part in package.commands]
    if package.offered:
        lines += [f"rt plugins show {package.plugin}\n", f"rt plugins check {package.plugin}\n"]
        file = f"./{package.module}.py" if package.in_one_module else package.module
        lines.append(f"rt -p {file} plugins show {package.offered[0].name}   # without installing\n")
    return "".join(lines)


def _text(template: str, **words: str) -> str:
    source = resources.files("rt_framework.jobs.scaffold").joinpath(f"{template}.txt").read_text("utf-8")
    return Template(source).substitute(words)


def _range(version: str) -> str:
    """Return the range of releases compatible with *version*: before 1.0 those with the same minor number."""
    major, minor = (int(part) for part in version.split(".")[:2])
    return f">={major}.{minor},<{major}.{minor + 1}" if major == 0 else f">={major}.{minor},<{major + 1}"
