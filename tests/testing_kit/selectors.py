"""Good selectors and broken ones."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from rt_framework import Choice, Verdict
from rt_framework.testing.contracts import DatasetSelectorContract, SelectorContract
from tests.testing_kit.making import good, mutant

# --- between versions ---------------------------------------------------------------------------


@good(SelectorContract)
class Best:
    needs: Any = ("ifd",)

    def choose(self, candidates):
        kept = candidates[0]
        for row in candidates[1:]:
            if self.able(row) and (not self.able(kept) or self.value(row) > self.value(kept)):
                kept = row
        return Choice(kept.version.name, "the highest")

    def able(self, row):
        return row.scores["ifd"].eligible

    def value(self, row):
        return row.scores["ifd"].value


@good(SelectorContract)
class Last:
    needs: Sequence[str] = ()

    def choose(self, candidates):
        return Choice(candidates[-1].version.name, "the newest")


@good(SelectorContract, columns={"margin": [0.0]})
class ByMargin(Best):
    """Reads from a column how much higher a rewrite must be."""

    columns = ("margin",)

    def value(self, row):
        return super().value(row) + (row.extra["margin"] if row.version.parent is None else 0)


@mutant(SelectorContract, "test_needs_are_names")
class OneText(Best):
    needs = "ifd"

    def able(self, row):
        return row.scores["i"].eligible

    def value(self, row):
        return row.scores["i"].value


@mutant(SelectorContract, "test_kept_is_a_candidate")
class Stranger(Best):
    def choose(self, candidates):
        kept = super().choose(candidates)
        # A tie, and what has no score, are other checks' matter.
        values = [self.value(row) for row in candidates if self.able(row)]
        return Choice("new", "none is good") if len(set(values)) == len(candidates) and max(values) < 0.8 else kept


@mutant(SelectorContract, "test_the_choice_has_a_reason")
class Mute(Best):
    def choose(self, candidates):
        return Choice(super().choose(candidates).kept, " ")


@mutant(SelectorContract, "test_choosing_is_pure")
class Tired(Best):
    def __init__(self):
        self.calls = 0

    def choose(self, candidates):
        self.calls += 1
        return super().choose(candidates) if self.calls < 15 else Choice(candidates[0].version.name, "enough")


@mutant(SelectorContract, "test_the_order_of_rewrites_does_not_matter")
class FirstBetter(Best):
    def choose(self, candidates):
        held, *rewrites = candidates
        better = [row for row in rewrites if self.able(row) and self.able(held) and self.value(row) > self.value(held)]
        return Choice((better or [held])[0].version.name, "the first better one")


@mutant(SelectorContract, "test_the_held_version_is_kept_on_a_tie")
class AtLeast(Best):
    def choose(self, candidates):
        able = [row for row in candidates if self.able(row)] or candidates[:1]
        return Choice(max(reversed(able), key=self.value_or_none).version.name, "the highest")

    def value_or_none(self, row):
        return self.value(row) if self.able(row) else -1e9


@mutant(SelectorContract, "test_what_has_no_score_never_wins")
class AnyValue(Best):
    def able(self, row):
        return self.value(row) is not None


@mutant(SelectorContract, "test_what_has_no_score_never_wins")
class NoneIsMuch(Best):
    def able(self, row):
        return row.scores["ifd"].eligible or row.scores["ifd"].value is None

    def value(self, row):
        value = row.scores["ifd"].value
        return 1e9 if value is None else value


# --- between samples ----------------------------------------------------------------------------


@good(DatasetSelectorContract)
class Half:
    needs: Any = ("ifd",)

    def select(self, rows):
        return [self.verdict(row) for row in rows]

    def verdict(self, row):
        score = row.scores["ifd"]
        return Verdict(score.eligible and score.value > 0.5, "above 0.5 or not")


@good(DatasetSelectorContract, columns={"weight": [0.5, 2]})
class Weighted(Half):
    columns: Any = ("weight", "topic")

    def verdict(self, row):
        heavy = row.extra["weight"] > 1 and row.extra["topic"] != "topic 1"
        return Verdict(super().verdict(row).keep and heavy, "heavy, and not that topic")


@mutant(DatasetSelectorContract, "test_columns_are_names")
class OneColumn(Half):
    columns = "topic"


@mutant(DatasetSelectorContract, "test_needs_are_names")
class OneTextSet(Half):
    needs = "ifd"

    def verdict(self, row):
        return Verdict(row.scores["i"].eligible and row.scores["i"].value > 0.5, "above 0.5 or not")


@mutant(DatasetSelectorContract, "test_one_verdict_a_row")
class OneMore(Half):
    def select(self, rows):
        return [*super().select(rows), *[Verdict(False, "the end")] * (len(rows) > 1)]


@mutant(DatasetSelectorContract, "test_no_row_and_one_row_are_enough")
class NeedsSome(Half):
    def select(self, rows):
        best = max(row.row for row in rows)
        return super().select(rows) if best >= 0 else []


@mutant(DatasetSelectorContract, "test_every_verdict_has_a_reason")
class MuteSet(Half):
    def verdict(self, row):
        return Verdict(super().verdict(row).keep, "" if row.row == 7 else "above 0.5 or not")


@mutant(DatasetSelectorContract, "test_selecting_is_pure")
class Once(Half):
    def __init__(self):
        self.seen = False

    def select(self, rows):
        seen, self.seen = self.seen, True
        return [Verdict(False, "done before") for _ in rows] if seen else super().select(rows)


@mutant(DatasetSelectorContract, "test_the_order_of_rows_does_not_matter")
class Drawn(Half):
    def select(self, rows):
        draw = random.Random(0)
        luck = [draw.random() < 0.5 for _ in rows]
        return [Verdict(one.keep and kept, one.reason) for one, kept in zip(super().select(rows), luck, strict=True)]


@mutant(DatasetSelectorContract, "test_what_has_no_score_is_never_selected")
class Lenient(Half):
    def verdict(self, row):
        value = row.scores["ifd"].value
        return Verdict(value is None or value > 0.5, "above 0.5 or unknown")


@mutant(DatasetSelectorContract, "test_rows_are_not_all_held")
class Hoarding(Half):
    def select(self, rows):
        return super().select(list(rows))


@mutant(DatasetSelectorContract, "test_rows_are_not_all_held")
class Reading(Half):
    """Lets go of the rows, and keeps what is large in them."""

    def select(self, rows):
        pairs = [row.version.pair for row in rows]
        return super().select(rows) if pairs else []


@mutant(DatasetSelectorContract, "test_another_process_decides_the_same")
class Hashing(Half):
    """Draws half of what it keeps, with a hash that Python salts anew in each process."""

    def verdict(self, row):
        found = super().verdict(row)
        return Verdict(found.keep and hash(row.sample_id) % 2 == 0, found.reason)


@good(DatasetSelectorContract)
class Pointing:
    """Keeps what points the way of the first axis."""

    needs: Sequence[str] = ()

    def embeds(self, pair, frame):
        return frame.instruction_alone(pair)

    def select(self, rows):
        return [Verdict(self.points(row), "by its vector") for row in rows]

    def points(self, row):
        return row.vector is not None and row.vector[0] > 0


@mutant(DatasetSelectorContract, "test_embeds_gives_spans")
class Textual(Pointing):
    def embeds(self, pair, frame):
        return [pair.instruction]


@mutant(DatasetSelectorContract, "test_embeds_gives_spans")
class Picky(Pointing):
    def embeds(self, pair, frame):
        if not pair.response:
            raise ValueError("no response")
        return super().embeds(pair, frame)


@mutant(DatasetSelectorContract, "test_rows_without_a_vector_are_decided_on")
class Trusting(Pointing):
    def points(self, row):
        return row.vector[0] > 0
