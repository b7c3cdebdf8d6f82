"""The conformance kit against plugins that are broken on purpose: each in one thing, each caught by one check."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

import pytest

from rt_framework.testing import FaultServer, contracts
from rt_framework.testing.contracts import checks, run_checks
from tests.testing_kit.making import GOOD, MUTANTS

for module in sorted(path.stem for path in (Path(__file__).parent / "testing_kit").glob("*.py")):
    import_module(f"tests.testing_kit.{module}")


def _ended(contract, where, status):
    return {one.check: one.reason for one in run_checks(contract, where) if one.status == status}


MADE: set[str] = set()
"""Checks that a good plugin has passed, by contract."""


@pytest.mark.parametrize("name", GOOD)
def test_a_good_plugin_keeps_its_contract(name, tmp_path):
    """Nothing is held against it."""
    found = run_checks(GOOD[name], tmp_path)
    assert {one.check: one.reason for one in found if one.status == "failed"} == {}
    MADE.update(f"{name.partition('/')[0]}.{one.check}" for one in found if one.status == "ok")


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught_by_the_check_meant_for_it(name, tmp_path, monkeypatch):
    """By that check, with a word on what to do, and by no other."""
    monkeypatch.setenv("ACME_TOKEN", "the author's own")
    check = name.partition(".")[2].partition("/")[0]
    failed = _ended(MUTANTS[name], tmp_path, "failed")
    assert set(failed) == {check}, failed
    assert len(failed[check].split()) > 5


def _every_check():
    """Each check by the contract that defines it."""
    offered = {one for one in vars(contracts).values() if isinstance(one, type) and one.__name__.endswith("Contract")}
    owners = {owner for contract in offered for owner in contract.__mro__}
    return {f"{owner.__name__}.{name}" for owner in owners for name in vars(owner) if name.startswith("test_")}


def test_every_check_has_a_mutant():
    """A check that nothing fails is no check."""
    assert _every_check() - {name.partition("/")[0] for name in MUTANTS} == set()


def test_every_check_is_passed_by_a_good_plugin():
    """None is skipped for all of them: a check that is never made catches nothing. Comes after the good ones."""
    offered = {name: one for name, one in vars(contracts).items() if name.endswith("Contract")}
    del offered["PluginContract"]
    missing = {f"{name}.{check}" for name, one in offered.items() for check in checks(one)} - MADE
    # A server of models gives no vectors, so a student behind one is not asked for any.
    missing = {name for name in missing if not (name.startswith("Served") and "vector" in name)}
    assert missing == set()


def test_a_teacher_is_not_asked_with_its_authors_own_options(tmp_path):
    """They are a real provider's: without a word that it is free, nothing is sent and the check says so."""
    with FaultServer(lambda _body: "paid for") as server:
        own = {"plugin": "builtin", "name": "litellm", "options": {"model": "openai/any", "api_base": server.url}}
        found = run_checks(type("Own", (contracts.TeacherContract,), own), tmp_path)
        assert server.received == []
    assert {one.check: one.reason for one in found if one.status == "failed"} == {}
    assert "may cost money" in next(one.reason for one in found if one.check == "test_it_answers")


def test_keys_are_put_back(tmp_path, monkeypatch):
    """After the checks the environment is what it was: what stood in their place is gone."""
    monkeypatch.setenv("ACME_TOKEN", "the author's own")
    monkeypatch.delenv("RT_CANARY_API_KEY", raising=False)
    run_checks(GOOD["TeacherContract/Asking"], tmp_path)
    assert os.environ["ACME_TOKEN"] == "the author's own"
    assert "RT_CANARY_API_KEY" not in os.environ
