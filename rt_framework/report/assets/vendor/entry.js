// What the report takes from others. `make vendor` bundles it into vendor.js; nothing is loaded when a report is read.
export { binX, dot, hexbin, plot, rectY, ruleX, ruleY } from "@observablehq/plot";
export { sankey, sankeyJustify, sankeyLinkHorizontal } from "d3-sankey";
export { diffWordsWithSpace } from "diff";
