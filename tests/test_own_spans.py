"""Each metric reads the losses of the spans that it declared, whatever it and others call them."""

from __future__ import annotations

import asyncio
import itertools

from attrs import evolve, frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rt_framework import Range, Span, by_token
from rt_framework.ledger.ledger import Ledger
from rt_framework.testing import FakeStudent
from tests.run_helpers import Wrong
from tests.scoring_helpers import PAIRS, scores, scoring

FRAME = ("response_given_instruction", "response_alone", "instruction_given_response", "instruction_alone")
NAMES = st.sampled_from(["y|x", "y", "x|y", "x", "len(y)", "mine", "a/b", "b", ""])
SPANS = st.one_of(
    st.sampled_from(FRAME),
    st.builds(Span, st.sampled_from(["", "Once", "Once upon"]), st.sampled_from(["a time", "one two three"])),
)


@frozen
class Sums:
    """A metric that adds up the mean losses of the spans that it declares, each times its place."""

    declared: dict[str, str | Span]
    by_token: bool = False
    direction = "higher"
    valid = Range()

    def spans(self, pair, frame):
        """The frame's spans by the name of the method, or a span of its own."""
        made = {}
        for name, span in self.declared.items():
            turns = (span,) if isinstance(span, Span) else getattr(frame, span)(pair)
            made[name] = by_token(turns) if self.by_token else turns
        return made

    def reduce(self, losses):
        """Exactly the names that were declared, each with its own loss."""
        assert list(losses) == list(self.declared)
        return sum(place * loss.mean for place, loss in enumerate(losses.values(), 1))


METRICS = st.builds(Sums, st.dictionaries(NAMES, SPANS, min_size=1, max_size=3), st.booleans())


@given(metrics=st.lists(METRICS, min_size=2, max_size=3))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_metric_has_the_same_value_alone_and_beside_others(metrics, tmp_path_factory):
    """In any order, and with the same names for different spans: nobody reads the losses of another."""
    named = {f"metric-{number}": metric for number, metric in enumerate(metrics)}

    def measured(names):
        with Ledger.writing(tmp_path_factory.mktemp("ledger") / "ledger.sqlite") as ledger:
            return asyncio.run(scores(ledger, PAIRS[:2], names, metrics=named))

    alone = {name: [row[name] for row in measured([name])] for name in named}
    for order in itertools.permutations(named):
        together = measured(order)
        assert {name: [row[name] for row in together] for name in named} == alone


async def test_the_lines_of_rt_score_name_every_loss(ledger):
    """The frame's own losses have the frame's names; those of a metric are called by the metric too."""
    own = Sums({"y|x": Span("Once", "upon a time"), "z": "response_alone"})
    async with scoring(ledger, metrics={"own": own}) as chain:
        (measured,) = await chain.measure(PAIRS[:1], ["ifd", "own"])
        (alone,) = await chain.measure(PAIRS[:1], ["ifd"])
    assert set(measured.losses) == {"y|x", "y", "own/y|x"}
    assert measured.losses["y|x"] == alone.losses["y|x"] != measured.losses["own/y|x"]
    assert measured.scores["ifd"] == alone.scores["ifd"]


async def test_a_pair_that_a_metric_has_changed_has_losses_of_its_own(ledger):
    """A metric may ask the frame about another pair, such as the one without its input."""

    class Without(Sums):
        def spans(self, pair, frame):
            return {"y|x": frame.response_given_instruction(evolve(pair, instruction="Say it."))}

    async with scoring(ledger, metrics={"without": Without({"y|x": ""})}) as chain:
        (measured,) = await chain.measure(PAIRS[:1], ["without", "loss"])
    assert set(measured.losses) == {"y|x", "without/y|x"}
    assert measured.losses["y|x"] != measured.losses["without/y|x"]
    assert measured.scores["without"] != measured.scores["loss"]


async def test_a_status_that_may_pass_is_not_kept(ledger):
    """A student whose server was down is asked for the same losses again, because that cause may pass."""
    down = Wrong(lambda loss: evolve(loss, nll=None, status="unreachable", reason="the server is down"))
    (row,) = await scores(ledger, PAIRS[:1], student=down)
    assert row["ifd"].status == "unreachable"
    back = FakeStudent()
    back.fingerprint = down.fingerprint
    (row,) = await scores(ledger, PAIRS[:1], student=back)
    assert (row["ifd"].status, back.forward_spans) == ("ok", 2)


async def test_a_status_of_an_older_ledger_that_may_pass_is_asked_again(ledger):
    """Earlier releases kept every status, and such a loss would be missing for ever."""
    student = FakeStudent()
    async with scoring(ledger, student) as chain:
        frame = chain.frame
        spans = [*frame.response_given_instruction(PAIRS[0]), *frame.response_alone(PAIRS[0])]
        keys = [chain._losses[""]._store.key(span) for span in spans]
        loss = student.score(student.encode(spans))[0]
        await ledger.losses.put(dict.fromkeys(keys, evolve(loss, nll=None, status="unreachable")))
        (row,) = await chain.score(PAIRS[:1], ["ifd"])
    assert row["ifd"].status == "ok"
