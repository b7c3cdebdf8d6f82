"""The rules of the verdict. docs/how-to/read-a-report.md lists each by the first line of its docstring."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rt_framework.kit.proofs import Comparison, verdict
from rt_framework.kit.spread import Spread
from rt_framework.report.evidence import CANNED, DIRECTIONS, REPEATED, UNSCORED, Evidence, Reason, Side
from rt_framework.text import number_of

ENOUGH = 10
"""Least number of samples, and of decisions on either side, of which a statistic is said."""


# --- what became of the samples ---------------------------------------------------------------


def unfinished(evidence: Evidence) -> Iterator[Reason]:
    """Say that a run is not finished: samples without an outcome, or a pilot."""
    if waiting := evidence.count("waiting"):
        text = f"{number_of(waiting, 'sample')} of {evidence.total:,} have no outcome yet."
        yield Reason("against", text, "unfinished")
    elif evidence.is_pilot:
        text = f"This is a pilot of {number_of(evidence.total, 'row')}; the others were not run."
        yield Reason("unknown", text, "unfinished")


def failed(evidence: Evidence) -> Iterator[Reason]:
    """Say how many samples failed; from 5 % of all, the result is not fit."""
    if count := evidence.count("failed"):
        text = f"{number_of(count, 'sample')} of {evidence.total:,} failed and are not in the result"
        level = "unfit" if count >= 0.05 * evidence.total else None
        yield Reason("against", f"{text}{evidence.reason_of('failed')}.", level)


def unscored(evidence: Evidence) -> Iterator[Reason]:
    """Say how many samples lack a score that a stage asked for; from 5 % of all, the result is not fit."""
    by_status = evidence.survey.unscored
    if count := sum(by_status.values()):
        level = "unfit" if count >= UNSCORED * evidence.total else None
        lack = "lacks" if count == 1 else "lack"
        statuses = ", ".join(f"{status} {number:,}" for status, number in [*by_status.items()][:3])
        text = f"{number_of(count, 'sample')} of {evidence.total:,} {lack} a score that a stage asked for ({statuses})"
        yield Reason("against" if level else "unknown", f"{text}; it wins no choice and passes no gate.", level)


def unchanged(evidence: Evidence) -> Iterator[Reason]:
    """Say that the result is the input, if fewer than 2 % of the samples were rewritten or left out."""
    changed = evidence.total - evidence.count("original") - evidence.count("waiting")
    if changed < 0.02 * evidence.total:
        text = f"The result is the input: {changed:,} of {number_of(evidence.total, 'sample')}"
        yield Reason("against", f"{text} were changed or left out.", "unchanged")


def dropped(evidence: Evidence) -> Iterator[Reason]:
    """Ask for a comparison with a random selection, if half of the samples or more were dropped."""
    count = evidence.count("dropped")
    if count >= 0.5 * evidence.total:
        text = f"{count / evidence.total:.0%} of the samples were dropped{evidence.reason_of('dropped')}."
        yield Reason("against", f"{text} Such a selection must first beat a random one of its size.", "compare")


def unusable(evidence: Evidence) -> Iterator[Reason]:
    """Say how many rewrites could not be used, from 20 % of them."""
    failures = evidence.survey.failures
    count = sum(failures.values())
    share = count / max(1, count + len(evidence.survey.choices))
    if share >= 0.2:
        kinds = ", ".join(f"{kind} {number:,}" for kind, number in [*failures.items()][:3])
        text = f"{share:.0%} of the teacher's rewrites could not be used ({kinds})"
        yield Reason("against", f"{text}; these samples keep the version that they had.")


def reviewed(evidence: Evidence) -> Iterator[Reason]:
    """Say how many rewrites people have read and vetoed; from 20 % of 10 or more, it is not fit."""
    vetoed, read = evidence.reviews.vetoed, evidence.reviews.vetoed + evidence.reviews.accepted
    if vetoed >= 0.2 * read and read >= ENOUGH:
        text = f"A person has read {number_of(read, 'rewrite')} and vetoed {vetoed:,}"
        yield Reason("against", f"{text}: those that nobody has read will be no better.", "unfit")
    elif read:
        yield Reason("for", f"A person has read {number_of(read, 'rewrite')} and vetoed {vetoed:,}.")
    elif evidence.rewritten:
        yield Reason("unknown", "Whether the rewrites are true and of use: nobody has recorded a review of them.")


# --- what is in the responses -----------------------------------------------------------------


def canned(evidence: Evidence) -> Iterator[Reason]:
    """Say which passage of 100 characters or more stands in 3 kept responses and 1 %; from 10 %, it is not fit."""
    responses, passages, share = len(evidence.kept), evidence.survey.passages, evidence.survey.repeated
    if passages and passages[0].count >= 3 and share >= REPEATED:
        count, text = passages[0].count, _beginning(passages[0].text)
        level = "unfit" if share >= CANNED else None
        where = f"{count:,} of {number_of(responses, 'kept response')}"
        yield Reason("against", f"One passage stands in {where}, and a model will learn to repeat it: “{text}”", level)
    elif responses and share < REPEATED:
        often = "is repeated over" if not passages else "stands in 1% of"
        yield Reason("for", f"No passage {often} the kept responses.")


def _beginning(text: str, most: int = 90) -> str:
    words = " ".join(text.split())
    return words if len(words) <= most else f"{words[:most].rsplit(' ', 1)[0]} …"


def stretched(evidence: Evidence) -> Iterator[Reason]:
    """Say that rewritten responses are twice as long as the original ones, or half as long, by the median factor."""
    factors = [line.length_after / line.length_before for line in evidence.rewritten if line.length_before]
    spread = Spread.of(factors)
    if spread and len(factors) >= ENOUGH and not 0.5 < spread.median < 2:
        factor = f"{spread.median:.1f} times" if spread.median > 1 else f"{spread.median:.0%}"
        text = f"Rewritten responses have {factor} the length of the original ones (median)"
        yield Reason("against", f"{text}: a model trained on them will answer so too.")


# --- what explains the decisions --------------------------------------------------------------


def explaining(evidence: Evidence) -> Iterator[Reason]:
    """Ask for a comparison with controls, if length alone or echo alone has an AUC beyond 0.25 to 0.75."""
    clear = [entry for entry in evidence.explained if entry.fewer >= ENOUGH]
    known = [(entry, what, auc) for entry in clear for what, auc in (("length", entry.auc), ("echo", entry.echo))]
    found = [(entry, what, auc) for entry, what, auc in known if auc is not None and not 0.25 < auc < 0.75]
    for entry, what, auc in found:
        winner = {"length": ("longer", "shorter"), "echo": ("more echoing", "less echoing")}[what][auc < 0.5]
        text = f"{what.capitalize()} alone explains '{entry.decision}': in {max(auc, 1 - auc):.0%} of the pairs of a"
        yield Reason("against", f"{text} winner and a loser the {winner} one won (AUC {auc:.2f}).", "compare")
    if clear and not found:
        yield Reason("for", "Neither length nor echo of the instruction explains the choices (AUC 0.25 to 0.75).")
    elif evidence.explained and not clear:
        text = "Whether length or echo explains the choices: too few went either way"
        yield Reason("unknown", f"{text} (fewer than {ENOUGH}).")


def all_longer(evidence: Evidence) -> Iterator[Reason]:
    """Say that 90 % of the rewrites or more are longer, so that length and rewriting cannot be told apart."""
    shares = [(entry.longer, entry.count) for entry in evidence.explained if entry.longer is not None]
    count = sum(number for _, number in shares)
    longer = sum(share * number for share, number in shares)
    if count >= ENOUGH and longer >= 0.9 * count:
        text = f"Whether the student likes rewrites or just length: {longer / count:.0%} of the rewrites"
        yield Reason("unknown", f"{text} have a longer response than what they compete with.")


def close(evidence: Evidence) -> Iterator[Reason]:
    """Say how many samples were decided within numeric noise; from 10 % of all, it speaks against the run."""
    if count := sum(line.near for line in evidence.survey.lines):
        text = f"{number_of(count, 'sample')} of {evidence.total:,} were decided within the numeric noise of the losses"
        side: Side = "against" if count >= 0.1 * evidence.total else "unknown"
        yield Reason(side, f"{text}: another machine may decide otherwise.")


# --- what was gained --------------------------------------------------------------------------


def gained(evidence: Evidence) -> Iterator[Reason]:
    """Say how IFD and r-IFD of 10 rewritten samples or more changed; if neither is better, nothing was gained."""
    better = []
    for metric, sign in DIRECTIONS.items():
        lines = (line for line in evidence.rewritten if metric in line.before and metric in line.after)
        both = [(line.before[metric], line.after[metric]) for line in lines]
        before, after = Spread.of(old for old, _ in both), Spread.of(new for _, new in both)
        if before and after and len(both) >= ENOUGH:
            gain = sign * (after.median - before.median)
            better.append(gain > evidence.survey.noise * abs(before.median))
            share = sum(sign * (new - old) > 0 for old, new in both) / len(both)
            text = f"Median {metric} of the rewritten samples: {before.median:.3f} before, {after.median:.3f} after"
            way = f"{'higher' if sign > 0 else 'lower'}, which is better, in {share:.0%} of them"
            yield Reason("for" if better[-1] else "against", f"{text}; {way}.")
    if better and not any(better):
        yield Reason("against", "Neither score of the rewritten samples is better than before.", "unchanged")


def proved(evidence: Evidence) -> Iterator[Reason]:
    """Say what `rt prove` has shown: worse than a control, better than one, or no difference."""
    if evidence.proof is None:
        text = "Whether it trains a better model: nobody has trained on it yet, and a better score is no proof"
        yield Reason("unknown", f"{text}. See docs/evidence.md of rt-framework for what it showed with one student.")
        return
    kept = [one for one in evidence.proof.comparisons if one.best and one.arm == "kept"]
    words = [(one, verdict(evidence.proof, one)) for one in kept]
    worse = [one for one, said in words if said.startswith("worse")]
    better = [one for one, said in words if said.startswith("better")]
    if worse:
        yield Reason("against", f"A model trained on what was kept is worse than {_controls(worse)}.", "worse")
    if better:
        yield Reason("for", f"A model trained on what was kept is better than {_controls(better)}.", "proved")
    if not worse and not better:
        text = f"A model was trained on what was kept and on its controls: of {number_of(len(kept), 'comparison')}"
        yield Reason("against", f"{text} none shows a difference.", "unseen")
    yield Reason("unknown", "Whether that holds beyond this student and this data.")


def _controls(seen: Sequence[Comparison]) -> str:
    return "; ".join(f"one trained on {one.control}, by {one.outcome} ({one.value:+.4f})" for one in seen)


RULES: tuple[Callable[[Evidence], Iterator[Reason]], ...] = (
    *(
        unfinished,
        failed,
        unchanged,
        reviewed,
        gained,
        proved,
        canned,
        explaining,
        dropped,
        unscored,
        unusable,
        stretched,
    ),
    *(all_longer, close),
)
"""The rules, in the order in which their reasons are shown."""
