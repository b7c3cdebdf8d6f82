// One sample: its texts before and after, word by word, what the teacher said, what was decided and why.

const { diffWordsWithSpace } = vendor;

const MOST_MS = 400; // for one difference; longer ones are shown side by side

const LEAST_COMMON = 0.4; // of the longer text; with less in common, a difference is confetti

const WAYS = ["automatic", "word by word", "side by side"];

function beside(before, after) {
  const half = (name, text) => make("div", {}, make("h5", {}, name), make("div", { class: "text" }, text || "(empty)"));
  return make("div", { class: "beside" }, half("before", before), half("after", after));
}

function difference(before, after, way) {
  if (before === after) return make("div", { class: "text" }, after || "(empty)");
  const parts = way === WAYS[2] ? null : diffWordsWithSpace(before, after, { timeout: MOST_MS });
  const common = (parts ?? []).reduce((sum, { added, removed, value }) => sum + (added || removed ? 0 : value.length), 0);
  if (!parts || (way === WAYS[0] && common < LEAST_COMMON * Math.max(before.length, after.length))) return beside(before, after);
  return make("div", { class: "text" }, parts.map(({ added, removed, value }) => (added || removed ? make(added ? "ins" : "del", {}, value) : value)));
}

const named = (sample, name) => sample.versions.find((version) => version.name === name);

function chooser(label, sample, chosen, change) {
  const options = sample.versions.map(({ name }) => make("option", { value: name, selected: name === chosen }, name));
  return make("label", {}, `${label} `, make("select", { change: (event) => change(event.target.value) }, options));
}

function said(version) {
  return version.said.flatMap(([name, text]) => [make("h4", {}, `${name} for version ${version.name}`), make("div", { class: "text said" }, text)]);
}

function table(caption, head, rows) {
  if (!rows.length) return [];
  const cells = (row) => row.map((cell, at) => (at ? make("td", {}, cell) : make("th", { scope: "row" }, cell)));
  const body = rows.map((row) => make("tr", {}, cells(row)));
  const top = make("tr", {}, head.map((name) => make("th", { scope: "col" }, name)));
  return [make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption }, make("table", { class: "words" }, make("caption", {}, caption), make("thead", {}, top), make("tbody", {}, body)))];
}

function scores(sample) {
  return Object.entries(sample.scores).flatMap(([version, values]) =>
    Object.entries(values).map(([metric, value]) => [version, metric, typeof value === "number" ? number(value) : value]));
}

function texts(sample, before, after, way) {
  const [one, other] = [named(sample, before), named(sample, after)];
  const turns = (when, list) => list.flatMap(([role, text]) => [make("h4", {}, `${when}${role}`), make("div", { class: "text" }, text)]);
  const parts = (...names) => names.filter((part) => one[part] || other[part] || part === "response")
    .flatMap((part) => [make("h4", {}, part), difference(one[part], other[part], way)]);
  return [
    ...turns("", other.tools.map((tool) => ["tool offered", tool])),
    ...parts("system"),
    ...turns("earlier ", other.earlier),
    ...parts("instruction", "input"),
    ...turns("", other.since),
    ...parts("reasoning", "response"),
    ...turns("later ", other.after),
  ];
}

function tell(sample, words, steps, before = sample.versions[0].name, after = sample.kept, way = WAYS[0]) {
  const again = (one, other, as) => tell(sample, words, steps, one, other, as);
  const reason = sample.reason ? `: ${sample.reason}` : "";
  find("sample").replaceChildren(
    make("h3", {}, `Row ${sample.row}, sample ${sample.id}`),
    make("p", {}, `${words}${reason}`),
    make("div", { class: "tools" }, steps),
    make("div", { class: "tools" }, chooser("from", sample, before, (name) => again(name, after, way)), chooser("to", sample, after, (name) => again(before, name, way)),
      make("label", {}, "display ", make("select", { change: (event) => again(before, after, event.target.value) }, WAYS.map((one) => make("option", { selected: one === way }, one)))),
      make("span", {}, make("del", {}, "only before"), " ", make("ins", {}, "only after"))),
    ...texts(sample, before, after, way),
    ...sample.versions.flatMap(said),
    ...table("Decisions", ["stage", "versions", "kept", "reason"], sample.decisions.map(([stage, between, kept, why]) => [stage, between.join(" / "), kept, why])),
    ...table("Scores", ["version", "metric", "value"], scores(sample)),
    ...table("Failed rewrites", ["stage", "kind", "reason"], sample.failures),
    ...table("Answers of fallbacks", ["version", "by", "since this one failed", "kind", "reason"], sample.handovers),
  );
}
