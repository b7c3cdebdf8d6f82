"""A metric in ten lines."""

from rt_framework import Range


class LossGap:
    """L(y) - L(y|x), in nats a token."""

    direction, valid = "higher", Range()

    def spans(self, pair, frame):
        """The response after its instruction, and alone."""
        return {"y|x": frame.response_given_instruction(pair), "y": frame.response_alone(pair)}

    def reduce(self, losses):
        """The difference of the mean losses."""
        return losses["y"].mean - losses["y|x"].mean
