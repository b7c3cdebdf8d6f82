"""A metric with the input removed: the nats per token of the response that the input saves, given the instruction."""

from attrs import evolve

from rt_framework import Range


class InputGain:
    name, direction, valid = "input-gain", "higher", Range()

    def spans(self, pair, frame):
        asked = frame.response_given_instruction
        return {"with": asked(pair), "without": asked(evolve(pair, input=""))}

    def reduce(self, losses):
        return losses["without"].mean - losses["with"].mean
