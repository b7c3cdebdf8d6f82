from rt_framework import Range, hookimpl


class Gain:
    direction, valid = "higher", Range(above=0)

    def spans(self, pair, frame):
        return {"y|x": frame.response_given_instruction(pair), "y": frame.response_alone(pair)}

    def reduce(self, losses):
        return losses["y"].mean - losses["y|x"].mean


@hookimpl
def rt_register_metrics(register):
    register("gain", "ten_lines:Gain", help="nats a token that the instruction saves")
