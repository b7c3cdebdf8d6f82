"""Every built-in plugin keeps the contract of its kind."""

from __future__ import annotations

from rt_framework.testing import contracts


class Builtin:
    plugin = "builtin"


def _keeps(contract, *names, **more):
    """A test class for each name, in this module."""
    for name, options in names:
        own = {"name": name, "options": options, **more}
        title = f"Test{contract.kind[:-1].capitalize()}_{name.replace('-', '_')}"
        globals()[title] = type(title, (Builtin, contract), own)


METRICS = ("ifd", "ifd-loss", "r-ifd", "r-ifd-loss", "ppl", "loss", "length")

_keeps(contracts.MetricContract, *((name, None) for name in METRICS))
_keeps(
    contracts.SelectorContract, ("highest", "ifd"), ("lowest", {"metric": "r-ifd", "gates": {"ifd": {"below": 1}}})
)
_keeps(contracts.SelectorContract, ("newest", None))
_keeps(
    contracts.DatasetSelectorContract,
    ("top", {"metric": "ifd", "fraction": 0.3}),
    ("threshold", {"metric": "ifd", "below": 0.6}),
    ("random", {"count": 7}),
    ("length-matched", {"metric": "ifd", "count": 5}),
)
_keeps(contracts.ReflectionContract, ("instruction", None), ("response", {"max_tokens": 99}))
_keeps(contracts.TemplateContract, *((name, None) for name in ("alpaca", "vicuna", "wizardlm", "none", "chat")))
_keeps(contracts.FormatContract, ("csv", None))
_keeps(contracts.FormatContract, *((name, None) for name in ("json", "jsonl", "parquet", "dataset")), nested=True)
