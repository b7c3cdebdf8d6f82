// Charts from the columns: how samples moved, scores, lengths. Colours are those of the style sheet.

const { binX, dot, hexbin, plot, rectY, ruleX, ruleY, sankey, sankeyJustify, sankeyLinkHorizontal } = vendor;

const COLOURS = { original: "--before", "new instruction and answer": "--after", "new instruction, better answer": "--both", "original instruction, better answer": "--response" };

const colour = (state) => `var(${COLOURS[state] ?? (state.startsWith("failed") ? "--failed" : state.includes(": ") ? "--dropped" : "--after")})`;

// The library brings a style element with each chart, which the page's policy does not let in; the style sheet says the same.
function show(place, label, options) {
  const svg = plot({ marginLeft: 48, width: place.clientWidth || 640, ...options });
  svg.querySelectorAll("style").forEach((style) => style.remove());
  svg.querySelectorAll("[aria-label], [aria-description]").forEach((part) => part.removeAttribute("aria-label")); // the chart has one name
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  place.replaceChildren(svg);
}

const finite = (values) => values.filter((value) => value !== null && Number.isFinite(value));
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

// The same bins for all, so that bars can be compared; the rare largest values share the last one.
function bins(values, count = 40) {
  const [low, high] = [quantile(values, 0), quantile(values, 0.995)];
  return Array.from({ length: count + 1 }, (_, at) => low + ((high - low || 1) * at) / count);
}

function histogram(place, label, before, after, options) {
  const sides = [["--before", before], ["--after", after]].map(([name, values]) => ({ colour: `var(${name})`, values: finite(values) }));
  const marks = sides.filter((side) => side.values.length).flatMap(({ colour, values }) => [
    rectY(values, binX({ y: "count" }, { x: (value) => Math.min(value, options.thresholds.at(-1) - 1e-9), thresholds: options.thresholds, fill: colour, fillOpacity: 0.55, inset: 0.5 })),
    ruleX([mean(values)], { stroke: colour, strokeWidth: 2, strokeDasharray: "4 3" }),
  ]);
  const means = sides.map(({ values }) => (values.length ? number(mean(values)) : "none"));
  show(place, `${label}: mean ${means[0]} before, ${means[1]} after`, { height: 240, x: options.x, y: { label: "samples", grid: true }, marks: [...marks, ruleY([0])] });
}

const kept = (data) => data.end.map((end) => ["rewritten", "original"].includes(data.ends[end][0]));

function histograms(data) {
  const mask = kept(data);
  const only = (values) => values.filter((_, at) => mask[at]);
  for (const place of document.querySelectorAll("[data-histogram]")) {
    const name = place.dataset.histogram;
    const at = data.metrics.indexOf(name);
    const [before, after] = [only(data.before[at]), only(data.after[at])];
    histogram(place, name, before, after, { x: { label: name }, thresholds: bins(finite([...before, ...after])) });
  }
  const log = (values) => only(values).map((value) => Math.log10(Math.max(value, 1)));
  const thresholds = Array.from({ length: 51 }, (_, at) => at / 10);
  const x = { label: "characters of the response", tickFormat: (value) => (Number.isInteger(value) ? (10 ** value).toLocaleString("en") : ""), ticks: 5 };
  histogram(find("lengths"), "response length, logarithm of characters", log(data.lengthBefore), log(data.lengthAfter), { x, thresholds });
}

// IFD against r-IFD, one small chart for each end that samples came to, on the same scales.
function plane(data) {
  const place = find("plane");
  if (!place) return;
  const [ifd, reversed] = ["ifd", "r-ifd"].map((name) => data.after[data.metrics.indexOf(name)]);
  const groups = new Map();
  data.end.forEach((end, at) => {
    if (ifd[at] === null || reversed[at] === null) return;
    if (!groups.has(end)) groups.set(end, []);
    groups.get(end).push({ x: ifd[at], y: reversed[at] });
  });
  const all = [...groups.values()].flat();
  const upper = (key) => Math.max(1.05, quantile(all.map((one) => one[key]), 0.995));
  const scales = { x: { domain: [0, upper("x")], label: "IFD", clamp: true }, y: { domain: [0, upper("y")], label: "r-IFD", clamp: true, grid: true } };
  const largest = [...groups].sort((one, other) => other[1].length - one[1].length).slice(0, 8);
  const charts = largest.map(() => make("div", { class: "chart" }));
  place.append(...charts.map((chart) => make("figure", {}, chart, make("figcaption")))); // all, so that each knows its width
  for (const [at, [end, points]] of largest.entries()) {
    const chart = charts[at];
    const [outcome, words] = data.ends[end];
    const title = outcome === "rewritten" || outcome === "original" ? `kept: ${words}` : `${outcome}: ${words}`;
    chart.nextSibling.textContent = `${title} (${points.length.toLocaleString("en")})`;
    const marks = points.length > 400 ? dot(points, hexbin({ fillOpacity: "count" }, { x: "x", y: "y", binWidth: 10, symbol: "hexagon", fill: colour(words) }))
      : dot(points, { x: "x", y: "y", r: 2.5, fill: colour(words), fillOpacity: 0.6 });
    show(chart, `IFD against r-IFD, ${title}`, { height: 260, ...scales, opacity: { range: [0.15, 1] }, marks: [ruleX([1], { stroke: "var(--soft)" }), ruleY([1], { stroke: "var(--soft)" }), marks] });
  }
}

function quantile(values, share) {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 1;
}

const short = (text, most = 36) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

// How samples moved: one column a stage that decided.
function flow({ stages, links }) {
  const key = (at, state) => `${at}\t${state}`;
  const names = [...new Set(links.flatMap(([from, state, to, other]) => [key(from, state), key(to, other)]))];
  const width = Math.max(640, 230 * stages.length);
  const layout = sankey().nodeId((node) => node.id).nodeAlign(sankeyJustify).nodeWidth(12).nodePadding(26).extent([[1, 34], [width - 235, 330]]);
  const graph = layout({
    nodes: names.map((id) => ({ id, state: id.split("\t")[1], stage: Number(id.split("\t")[0]) })),
    links: links.map(([from, state, to, other, value]) => ({ source: key(from, state), target: key(to, other), value })),
  });
  const ribbon = sankeyLinkHorizontal();
  const said = (link) => `${link.value.toLocaleString("en")}: ${link.source.state} → ${link.target.state}`;
  const lefts = stages.map((_, stage) => Math.min(...graph.nodes.filter((node) => node.stage === stage).map((node) => node.x0)));
  const svg = draw("svg", { viewBox: `0 0 ${width} 350`, role: "img", "aria-label": `Samples by version after each stage: ${stages.join(", ")}` },
    stages.map((stage, at) => draw("text", { x: lefts[at], y: 14, fill: "var(--soft)", "font-size": 13 }, stage)),
    graph.links.map((link) => draw("path", { d: ribbon(link), fill: "none", stroke: colour(link.target.state), "stroke-opacity": 0.35, "stroke-width": Math.max(1, link.width) }, draw("title", {}, said(link)))),
    graph.nodes.map((node) => draw("g", {},
      draw("rect", { x: node.x0, y: node.y0, width: 12, height: Math.max(1, node.y1 - node.y0), fill: colour(node.state) }),
      draw("text", { x: node.x1 + 6, y: (node.y0 + node.y1) / 2 - 3, fill: "currentColor", "font-size": 12 }, short(node.state), draw("title", {}, node.state)),
      draw("text", { x: node.x1 + 6, y: (node.y0 + node.y1) / 2 + 12, fill: "var(--soft)", "font-size": 12 }, node.value.toLocaleString("en")))));
  find("flow").replaceChildren(svg);
}
