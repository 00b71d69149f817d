// Elements are made of nodes and text, never of markup: what a model or a config wrote stays text.

const DATA = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const at = (id) => document.getElementById(id);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(element.style, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined) element.append(child);
  return element;
}

const make = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const draw = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

function number(value, digits = 3) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number") return String(value);
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(Math.max(digits - 2, 0)).replace("-", "−").replace("e−", "e-").replace("e+", "e");
  const text = size >= 1000 ? Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, "\u202f") : String(Number(value.toPrecision(digits)));
  return text.replace("-", "−");
}

const percent = (share) => (typeof share === "number" ? `${(100 * share).toFixed(1)}%` : "–");

function duration(seconds) {
  if (typeof seconds !== "number") return "–";
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60), Math.round(seconds % 60)];
  return h ? `${h} h ${m} min` : m ? `${m} min ${s} s` : `${s} s`;
}

const many = (count, noun) => `${number(count)} ${noun}${count === 1 ? "" : "s"}`;

// Eight colours and, where there are more configs, dashes; both themes define the colours.
const colour = (group) => `var(--g${group % 8})`;
const dashes = (group) => ["", "7 3", "2 3", "9 3 2 3"][Math.floor(group / 8) % 4];
const swatch = (group) =>
  draw("svg", { class: "swatch", viewBox: "0 0 22 10", "aria-hidden": "true" },
    draw("line", { x1: 1, y1: 5, x2: 21, y2: 5, "stroke-width": 3, "stroke-dasharray": dashes(group), style: { stroke: colour(group) } }));
