"""A stage that has the teacher criticise the current version and mark it; later stages read the mark as a score."""

from rt_framework import Failure, Range, Request, Score, Turn, Unparsed, hookimpl
from rt_framework.kit.fences import fenced, fenced_question, token_of
from rt_framework.kit.form import Form, Part, sampling

FORM = Form({"critique": Part("what is wrong with it"), "mark": Part("a mark from 1 to 10", range(1, 11))})


class Critique:
    rewrites = ()

    def render(self, pair, index, structured):
        token = token_of(pair)
        shown = [*fenced_question(pair, token), fenced("response", token, pair.response)]
        asked = "\n\n".join(["Criticise this response.", *shown, *FORM.ask(token, index, structured)])
        schema = FORM.schema() if structured else None
        return Request("critique", pair.hash, index, (Turn("user", asked),), sampling(index), schema)

    def parse(self, pair, request, reply):
        answer = FORM.read(reply, token_of(pair), structured=request.schema is not None)
        return answer if isinstance(answer, Unparsed) else answer.numbers["mark"]


class Criticised:
    needs = ()
    provides = {"worth": Range(at_least=1, at_most=10)}  # noqa: RUF012

    def __init__(self, make):
        self.reflections = {"critique": Critique()}

    async def run(self, sample, ctx):
        mark = await ctx.ask(self.reflections["critique"], sample.current)
        score = Score(None, mark.kind, mark.reason) if isinstance(mark, Failure) else Score(mark)
        return sample.scoring({sample.current: {"worth": score}})


@hookimpl
def rt_register_stages(register):
    register("criticised", "critique:Criticised", help="a mark of the teacher for the current version")
