"""A stage that asks a question twice, and keeps the sample if both answers agree."""

from rt_framework import Dropped, Request, Sampling, Turn, Unparsed


class Correct:
    rewrites = ()

    def render(self, pair, index, structured):
        asked = f"Is this answer correct? Say yes or no.\n\n{pair.instruction}\n{pair.input}\n\n{pair.response}"
        return Request("correct", pair.hash, index, (Turn("user", asked),), Sampling(0.7 + index / 10, max_tokens=5))

    def parse(self, pair, request, reply):
        said = reply.text.strip(" .\n").lower()
        return said if said in ("yes", "no") else Unparsed("format", "neither yes nor no")


class AsksTwice:
    needs, reflections = (), {"correct": Correct()}
    teachers, draws = ("",), 2

    async def run(self, sample, ctx):
        first, second = [await ctx.ask(self.reflections["correct"], sample.current, draw) for draw in (0, 1)]
        return sample if first == second else Dropped(sample, "two answers to one question differ")
