"""A metric of single tokens: the share of the response's tokens that the instruction makes likelier."""

from rt_framework import Range, aligned, by_token, hookimpl


class Helped:
    direction, valid = "higher", Range(at_least=0, at_most=1)

    def spans(self, pair, frame):
        given, alone = frame.response_given_instruction(pair), frame.response_alone(pair)
        return {"given": by_token(given), "alone": by_token(alone)}

    def reduce(self, losses):
        gains = [alone - given for given, alone in aligned(losses["given"], losses["alone"])]
        return sum(gain > 0 for gain in gains) / len(gains)


@hookimpl
def rt_register_metrics(register):
    register("helped", "per_token:Helped", help="share of tokens that the instruction makes likelier")
