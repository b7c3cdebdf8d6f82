// The list of samples: search, filters, order, pages.

const PAGE = 25;

function browser(data) {
  const all = data.id.map((_, at) => at);
  const columns = [
    ["row", data.row],
    ...data.metrics.flatMap((metric, at) => [[`${metric} before`, data.before[at]], [`${metric} after`, data.after[at]]]),
    ["length before", data.lengthBefore],
    ["length after", data.lengthAfter],
    ...data.metrics.map((metric, at) => [`gain in ${metric}`, data.after[at].map((value, row) => (value === null || data.before[at][row] === null ? null : value - data.before[at][row]))]),
    ["gain in length", data.lengthAfter.map((value, row) => value - data.lengthBefore[row])],
  ];
  const shown = columns.filter(([name]) => !name.startsWith("gain") && name !== "row").slice(0, 6);
  const state = { found: all, page: 0, chosen: -1, texts: data.head.map((head) => head.toLowerCase()) };
  const words = (at) => { const [outcome, end] = data.ends[data.end[at]]; return outcome === "rewritten" || outcome === "original" ? `kept: ${end}` : `${outcome}: ${end}`; };

  const counts = new Map();
  data.end.forEach((end) => counts.set(end, (counts.get(end) ?? 0) + 1));
  const ends = data.ends.map(([outcome, end], at) => [at, `${outcome === "rewritten" || outcome === "original" ? "kept" : outcome}: ${end}`]).sort((one, other) => counts.get(other[0]) - counts.get(one[0]));
  find("end").append(...ends.map(([at, label]) => make("option", { value: at }, `${label} (${counts.get(at).toLocaleString("en")})`)));
  find("sort").append(...columns.map(([name]) => make("option", { value: name }, name)));
  const heads = ["row", "instruction", "outcome", ...shown.map(([name]) => name)];
  find("list").tHead.append(make("tr", {}, heads.map((name) => make("th", { scope: "col" }, name))));

  function keeps() {
    const [end, also] = [find("end").value, find("also").value];
    const asked = find("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    return (at) => (end === "" || data.end[at] === Number(end)) && (also !== "near" || data.near[at]) && (also !== "failed" || data.failed[at].length)
      && asked.every((word) => state.texts[at].includes(word));
  }

  // What has no number comes last, whichever the order.
  function ordered(found) {
    const values = columns.find(([name]) => name === find("sort").value)[1];
    const sign = find("order").value === "down" ? -1 : 1;
    const [known, unknown] = [found.filter((at) => values[at] !== null), found.filter((at) => values[at] === null)];
    return [...known.sort((one, other) => sign * (values[one] - values[other]) || one - other), ...unknown];
  }

  function rows() {
    return state.found.slice(state.page * PAGE, (state.page + 1) * PAGE).map((at) => make("tr", { "aria-current": at === state.chosen ? "true" : false },
      make("th", { scope: "row" }, String(data.row[at])),
      make("td", {}, make("button", { type: "button", click: () => choose(at, true) }, data.head[at] || "(empty)")),
      make("td", {}, words(at)),
      ...shown.map(([, values]) => make("td", {}, number(values[at])))));
  }

  function list() {
    const pages = Math.max(1, Math.ceil(state.found.length / PAGE));
    state.page = Math.min(Math.max(state.page, 0), pages - 1);
    find("list").tBodies[0].replaceChildren(...rows());
    find("count").textContent = `${state.found.length.toLocaleString("en")} of ${all.length.toLocaleString("en")} samples`;
    find("page").textContent = `page ${state.page + 1} of ${pages}`;
    [find("back").disabled, find("forth").disabled] = [state.page === 0, state.page === pages - 1];
  }

  function search() {
    state.found = ordered(all.filter(keeps()));
    state.page = 0;
    list();
  }

  async function choose(at, move) {
    state.chosen = at;
    list();
    const detail = find("sample");
    detail.hidden = false;
    tell(await sampleAt(at, data.block), words(at), steps(at));
    history.replaceState(null, "", `#sample=${data.id[at]}`);
    if (move) detail.focus();
  }

  // From the sample shown to the one before and after it in the list, and back to the list.
  function steps(at) {
    const place = state.found.indexOf(at);
    const step = (label, to) => make("button", { type: "button", disabled: to === undefined, click: () => { state.page = Math.floor(state.found.indexOf(to) / PAGE); choose(to, true); } }, label);
    const list = make("button", { type: "button", click: () => { const row = find("list").querySelector("[aria-current] button") ?? find("search"); row.focus(); row.scrollIntoView({ block: "center" }); } }, "to the list");
    return [step("previous", place > 0 ? state.found[place - 1] : undefined), step("next", place >= 0 ? state.found[place + 1] : undefined), list];
  }

  function linked() {
    const at = location.hash.startsWith("#sample=") ? data.id.indexOf(location.hash.slice(8)) : -1;
    if (at >= 0) choose(at, true);
  }

  find("filters").addEventListener("input", search);
  find("filters").addEventListener("submit", (event) => event.preventDefault());
  find("filters").addEventListener("reset", () => setTimeout(search));
  find("back").addEventListener("click", () => { state.page -= 1; list(); });
  find("forth").addEventListener("click", () => { state.page += 1; list(); });
  window.addEventListener("hashchange", linked);
  search();
  linked();
  const reading = (share) => { find("reading").textContent = share < 1 ? `reading the texts: ${Math.round(100 * share)} %; until then the search covers only the beginnings of instructions` : ""; };
  return { reading, fill: (texts) => { state.texts = texts; if (find("search").value) search(); } };
}
