"""The built-in plugins, registered through the same hooks as any other plugin."""

from __future__ import annotations

from rt_framework import hookimpl
from rt_framework.hookspecs import Register

_HERE = "rt_framework.builtin"


@hookimpl
def rt_register_teachers(register: Register) -> None:
    """Offer any provider through litellm, a local model, the student's own model, and recorded answers."""
    package, settings = f"{_HERE}.teachers", f"{_HERE}.teachers.settings"
    register(
        "litellm",
        f"{package}.litellm:LiteLLMTeacher",
        help="any provider through litellm",
        settings=f"{settings}:LiteLLMSettings",
    )
    register(
        "hf",
        f"{package}.hf:HFTeacher",
        help="a local transformers model",
        settings=f"{package}.hf_settings:HFTeacherSettings",
    )
    register(
        "replay",
        f"{package}.replay:ReplayTeacher",
        help="answers from a JSONL file",
        settings=f"{settings}:ReplaySettings",
    )
    register(
        "student",
        f"{package}.student:StudentAsTeacher",
        help="a student of the run, by its own model",
        settings=f"{settings}:StudentTeacherSettings",
    )


@hookimpl
def rt_register_students(register: Register) -> None:
    """Offer the reference student."""
    target, settings = f"{_HERE}.students.hf:HFStudent", f"{_HERE}.students.settings:HFSettings"
    register("hf", target, help="a causal LM: hub id, local directory or GGUF file", settings=settings)


@hookimpl
def rt_register_metrics(register: Register) -> None:
    """Offer the papers' scores, each under the name of its formula."""
    package, of = f"{_HERE}.metrics", f"{_HERE}.metrics.settings:ResponseSettings"
    register("ifd", f"{package}.ratios:IFD", help="ppl(y|x) / ppl(y); higher means more to learn", settings=of)
    register("ifd-loss", f"{package}.ratios:IFDLoss", help="L(y|x) / L(y), as Cherry LLM computes it", settings=of)
    register(
        "r-ifd",
        f"{package}.ratios:RIFD",
        help="ppl(x|g(y)) / ppl(x); lower means that the response fits its instruction better",
    )
    register("r-ifd-loss", f"{package}.ratios:RIFDLoss", help="L(x|g(y)) / L(x)")
    help_ = "r-ifd over the words of x that y does not repeat; free of echo"
    register("r-ifd-novel", f"{package}.novel:NovelRIFD", help=help_)
    register("ppl", f"{package}.plain:Perplexity", help="exp L(y|x)", settings=of)
    register("loss", f"{package}.plain:MeanLoss", help="L(y|x) in nats a token", settings=of)
    register("length", f"{package}.plain:Length", help="number of response tokens; needs no forward pass")
    register("echo", f"{package}.plain:Echo", help="share of the question's word trigrams in the response; no student")


@hookimpl
def rt_register_selectors(register: Register) -> None:
    """Offer selectors between the versions of a sample, and selectors between samples."""
    package, settings = f"{_HERE}.selectors", f"{_HERE}.selectors.settings"
    versions, dataset = f"{package}.versions", f"{package}.dataset"
    best, matched = f"{settings}:BestSettings", f"{settings}:LengthMatchedSettings"
    register("highest", f"{versions}:Highest", help="the version with the highest score", settings=best)
    register("lowest", f"{versions}:Lowest", help="the version with the lowest score", settings=best)
    help_ = "the newest version, unless its score is higher than the current one's"
    register("not-higher", f"{versions}:NotHigher", help=help_, settings=f"{settings}:NotHigherSettings")
    register("newest", f"{versions}:Newest", help="the newest version, without a comparison")
    help_ = "control: a random version, at a rate or at that of a run"
    target = f"{package}.control:RandomVersion"
    register("random-version", target, help=help_, settings=f"{settings}:RandomVersionSettings")
    help_ = "the samples with the best scores: a fraction or a count"
    register("top", f"{dataset}:Top", help=help_, settings=f"{settings}:TopSettings")
    help_ = "all samples with a score in a range"
    register("threshold", f"{dataset}:Threshold", help=help_, settings=f"{settings}:ThresholdSettings")
    help_ = "control: samples drawn at random"
    register("random", f"{dataset}:Random", help=help_, settings=f"{settings}:RandomSettings")
    help_ = "control: other samples of the same lengths as those that top selects"
    register("length-matched", f"{dataset}:LengthMatched", help=help_, settings=matched)
    help_ = "control: other samples that repeat as much of their instructions as those that top selects"
    register("echo-matched", f"{dataset}:EchoMatched", help=help_, settings=matched)


@hookimpl
def rt_register_reflections(register: Register) -> None:
    """Offer the two reflections of Selective Reflection-Tuning, a plain answer, and one by a prompt file."""
    package, settings = f"{_HERE}.reflections", f"{_HERE}.reflections.settings"
    help_one = "critique, then a new instruction and its answer"
    register(
        "instruction",
        f"{package}.instruction:InstructionReflection",
        help=help_one,
        settings=f"{settings}:ReflectionSettings",
    )
    help_two = "critique, then a better answer"
    register(
        "response", f"{package}.response:ResponseReflection", help=help_two, settings=f"{settings}:ReflectionSettings"
    )
    help_three = "the answer to the instruction as it stands, without a critique"
    register("answer", f"{package}.answer:AnswerReflection", help=help_three, settings=f"{settings}:AnswerSettings")
    register(
        "prompt",
        f"{package}.prompt:PromptReflection",
        help="what a prompt file asks",
        settings=f"{settings}:PromptSettings",
    )


@hookimpl
def rt_register_templates(register: Register) -> None:
    """Offer the published text templates and the student's own chat template."""
    package = f"{_HERE}.templates"
    for name in ("alpaca", "vicuna", "wizardlm", "none"):
        register(name, f"{package}.text:{name}", help=f"the text template '{name}'")
    register("chat", f"{package}.chat:Chat", help="the chat template of the student's tokenizer")


@hookimpl
def rt_register_formats(register: Register) -> None:
    """Offer the formats of files and directories of rows."""
    package = f"{_HERE}.formats"
    register("json", f"{package}.json:JsonFormat", help="one JSON array of objects")
    register("jsonl", f"{package}.jsonl:JsonlFormat", help="one JSON object a line")
    register("csv", f"{package}.csv:CsvFormat", help="comma-separated values with a header")
    register("parquet", f"{package}.parquet:ParquetFormat", help="Apache Parquet")
    register("dataset", f"{package}.dataset:DatasetFormat", help="a Hugging Face data set directory")


@hookimpl
def rt_register_stages(register: Register) -> None:
    """Offer the stages of a pipeline."""
    package, settings = f"{_HERE}.stages", f"{_HERE}.stages.settings"
    register(
        "reflect",
        f"{package}.rewriting:Reflect",
        help="ask the teacher for a rewrite",
        settings=f"{settings}:ReflectSettings",
    )
    register(
        "choose",
        f"{package}.rewriting:Choose",
        help="choose one version of each sample",
        settings=f"{settings}:ChooseSettings",
    )
    register(
        "gate",
        f"{package}.filtering:Gate",
        help="drop samples with a score out of range",
        settings=f"{settings}:GateSettings",
    )
    register(
        "select",
        f"{package}.filtering:Select",
        help="keep a subset of the samples",
        settings=f"{settings}:SelectSettings",
    )
    register(
        "measure",
        f"{package}.filtering:Measure",
        help="compute scores for the report",
        settings=f"{settings}:MeasureSettings",
    )
    help_ = "policy for samples whose response was not improved"
    register("unimproved", f"{package}.filtering:Unimproved", help=help_, settings=f"{settings}:UnimprovedSettings")


@hookimpl
def rt_register_executors(register: Register) -> None:
    """Offer the places where the student can run: in this process, or in one process for each GPU."""
    package, settings = f"{_HERE}.executors", f"{_HERE}.executors.settings"
    register("local", f"{package}.local:LocalExecutor", help="in this process")
    help_ = "one process for each GPU of this machine"
    register(
        "processes", f"{package}.processes:ProcessesExecutor", help=help_, settings=f"{settings}:ProcessesSettings"
    )


@hookimpl
def rt_register_reporters(register: Register) -> None:
    """Offer the reporters: a live screen, and events as lines of JSON."""
    register("console", "rt_framework.terminal.live:ConsoleReporter", help="a live screen, or plain lines in a pipe")
    target, settings = f"{_HERE}.reporters.jsonl:JsonlReporter", f"{_HERE}.reporters.settings:JsonlSettings"
    register("jsonl", target, help="every event as a line of JSON", settings=settings)
