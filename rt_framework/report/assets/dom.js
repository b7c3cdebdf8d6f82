// Elements are made here and nowhere from text: what comes from data is only ever the text of a node.

const SVG = "http://www.w3.org/2000/svg";

const find = (id) => document.getElementById(id);

function put(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== false && value !== null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

const make = (tag, attributes = {}, ...children) => put(document.createElement(tag), attributes, children);
const draw = (tag, attributes = {}, ...children) => put(document.createElementNS(SVG, tag), attributes, children);

// A number as people compare it down a column: three decimals, unless it counts something or is tiny.
function number(value) {
  if (value === null || value === undefined) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return Math.abs(value) < 0.0005 ? value.toExponential(1) : value.toLocaleString("en", { minimumFractionDigits: 3, maximumFractionDigits: 3 });
}
