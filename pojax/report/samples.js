// The table of sampled responses: filter, sort, pages, and tokens coloured by one number each.

const PAGE = 25, SHORT = 140; // rows of a page, tokens of a response in the table
const SHADES = [
  ["advantage", "advantage", "what the loss multiplies the token's log-probability with"],
  ["log_ratio", "log-ratio, learner to sampler", "how far the update had moved the token's log-probability when the loss last read it"],
  ["log_ratio_sampling", "log-ratio, policy to what was sampled from", "what truncation and processors changed"],
  ["log_ratio_ref", "log-ratio, policy to reference", "how much more probable the token is than under the reference"],
  ["entropy", "entropy", "of the policy before the token, in nats"],
].filter(([name]) => DATA.samples.some((row) => row[name]));
const COMPONENTS = [...new Set(DATA.samples.flatMap((row) => Object.keys(row.components || {})))].sort();
const TABLE = { shade: SHADES.length ? SHADES[0][0] : "", sort: "step", down: true, page: 0, find: "", run: "", open: new Set() };
const SCALES = Object.fromEntries(SHADES.map(([name]) => [name, scaleOf(name)]));

const mean = (values) => {
  const known = (values || []).filter((v) => v !== null);
  return known.length ? known.reduce((a, b) => a + b, 0) / known.length : null;
};
const COLUMNS = [
  { name: "step", title: "Step", value: (row) => row.step },
  ...(DATA.runs.length > 1 ? [{ name: "run", title: "Run", value: (row) => DATA.runs[row.run].name, text: true }] : []),
  { name: "prompt", title: "Prompt", value: (row) => row.prompt, text: true },
  { name: "response", title: "Response", value: (row) => row.response, text: true },
  { name: "reward", title: "Reward", value: (row) => row.reward ?? null },
  ...COMPONENTS.map((name) => ({ name: `component ${name}`, title: name, value: (row) => row.components?.[name] ?? null })),
  { name: "length", title: "Length", value: (row) => row.length },
  { name: "advantage", title: "Advantage", value: (row) => mean(row.advantage) },
];

// The size at which a colour is full: what 98 of 100 tokens stay below, so that one token does not pale all others.
function scaleOf(name) {
  const sizes = DATA.samples.flatMap((row) => row[name] || []).filter((v) => v !== null).map(Math.abs).sort((a, b) => a - b);
  return Math.max(sizes.length ? sizes[Math.floor(0.98 * (sizes.length - 1))] : 0, 1e-3);
}

function shade(name, value) {
  if (!name || value === null || value === undefined) return "";
  const share = Math.min(Math.abs(value) / SCALES[name], 1);
  const hue = name === "entropy" ? "--shade-entropy" : value < 0 ? "--shade-minus" : "--shade-plus";
  return `color-mix(in srgb, var(${hue}) ${Math.round(share * 100)}%, transparent)`;
}

function tokenText(row, k) {
  if (row.tokens[k] !== "") return row.tokens[k].replaceAll("\n", "↵\n");
  return k === row.tokens.length - 1 && !row.truncated && !row.cut ? "∎" : "·";
}

function tokenSpans(row, limit) {
  const shown = row.tokens.slice(0, limit);
  const spans = shown.map((_, k) => {
    const given = row.mask && !row.mask[k], value = row[TABLE.shade]?.[k];
    return make("span", { class: given ? "token given" : "token", style: { backgroundColor: shade(TABLE.shade, value) }, "data-at": k }, tokenText(row, k));
  });
  const left = row.tokens.length - shown.length + (row.cut || 0);
  if (left > 0) spans.push(make("span", { class: "faint" }, ` … ${many(left, "more token")}`));
  return spans;
}

// Values of a token in words.
function tokenWords(row, k) {
  const known = SHADES.filter(([name]) => row[name] && row[name][k] !== null).map(([name, title]) => `${title} ${number(row[name][k])}`);
  const given = row.mask && !row.mask[k] ? ["not written by the policy"] : [];
  return `token ${k + 1} of ${row.tokens.length + (row.cut || 0)}, ${JSON.stringify(row.tokens[k])}: ${[...given, ...known].join(", ") || "nothing recorded"}`;
}

function details(row) {
  const words = make("p", { class: "words", role: "status" }, "Point at a token, or go through them with the arrow keys.");
  const text = make("div", { class: "response", tabindex: 0, role: "group", "aria-label": "Tokens of the response" }, tokenSpans(row, Infinity));
  let current = -1;
  const choose = (k) => {
    text.querySelector(".current")?.classList.remove("current");
    const span = text.querySelector(`[data-at="${k}"]`);
    if (!span) return;
    current = k;
    span.classList.add("current");
    words.textContent = tokenWords(row, k);
  };
  text.addEventListener("pointerover", (event) => { if (event.target.dataset.at) choose(Number(event.target.dataset.at)); });
  text.addEventListener("keydown", (event) => {
    const to = { ArrowRight: current + 1, ArrowLeft: current - 1, Home: 0, End: row.tokens.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    choose(Math.min(Math.max(to, 0), row.tokens.length - 1));
  });
  const facts = [
    ["run", DATA.runs[row.run].name], ["step", row.step], ["group", row.group < 0 ? "none: the row is out" : row.group], ["prompt number", row.prompt_index],
    ["length", `${many(row.length, "token")}${row.truncated ? ", cut off at the limit" : ""}`], ["reward", row.reward],
    ...Object.entries(row.components || {}),
  ];
  return make("div", { class: "details" },
    make("div", null, make("h3", null, "Prompt"), make("div", { class: "prompt" }, row.prompt), make("h3", null, "Response"), text, words),
    make("dl", null, facts.flatMap(([name, value]) => [make("dt", null, name), make("dd", null, number(value))])));
}

function chosenRows() {
  const wanted = TABLE.find.toLowerCase();
  const rows = DATA.samples.filter((row) => (TABLE.run === "" || row.run === Number(TABLE.run)) &&
    (!wanted || row.prompt.toLowerCase().includes(wanted) || row.response.toLowerCase().includes(wanted)));
  const { value, text } = COLUMNS.find((column) => column.name === TABLE.sort), sign = TABLE.down ? -1 : 1;
  const keyed = rows.map((row) => [value(row), row]);
  keyed.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null); // what is not known comes last
    return sign * (text ? a.localeCompare(b) : a - b);
  });
  return keyed.map(([, row]) => row);
}

function tableRow(row) {
  const id = DATA.samples.indexOf(row), open = TABLE.open.has(id);
  const toggle = make("button", {
    type: "button", class: "quiet", "aria-expanded": String(open), "aria-label": `Details of the response at step ${row.step}`,
    onclick: () => { if (open) TABLE.open.delete(id); else TABLE.open.add(id); showTable(`[data-row="${id}"] button`); },
  }, open ? "▾" : "▸");
  const cells = COLUMNS.map(({ name, title, value, text }) => {
    const content = name === "response" ? tokenSpans(row, SHORT)
      : name === "length" && row.truncated ? `${number(row.length)} ✂` : name === "prompt" && row.prompt.length > 300 ? `${row.prompt.slice(0, 300)}…` : number(value(row));
    return make("td", { "data-label": title, class: text ? `text ${name}` : "number", title: name === "length" && row.truncated ? "cut off at the limit" : null }, make("bdi", null, content));
  });
  const first = make("tr", { "data-row": id, class: row.group < 0 ? "out" : null }, make("td", { class: "toggle" }, toggle), cells);
  return open ? [first, make("tr", { class: "opened" }, make("td", { colspan: COLUMNS.length + 1 }, details(row)))] : [first];
}

function sortBy(name) {
  if (TABLE.sort === name) TABLE.down = !TABLE.down;
  else Object.assign(TABLE, { sort: name, down: !COLUMNS.find((c) => c.name === name).text });
  TABLE.page = 0;
  showTable(`th[data-column="${CSS.escape(name)}"] button`);
}

function showTable(focus) {
  const rows = chosenRows(), pages = Math.max(1, Math.ceil(rows.length / PAGE));
  TABLE.page = Math.min(Math.max(TABLE.page, 0), pages - 1);
  const from = TABLE.page * PAGE, shown = rows.slice(from, from + PAGE);
  at("sample-head").replaceChildren(make("tr", null, make("td", { class: "toggle" }), COLUMNS.map(({ name, title, text }) =>
    make("th", { scope: "col", "data-column": name, class: text ? "text" : "number",
      "aria-sort": TABLE.sort === name ? (TABLE.down ? "descending" : "ascending") : "none" },
    make("button", { type: "button", class: "quiet", onclick: () => sortBy(name) }, title, make("span", { "aria-hidden": "true" }, TABLE.sort === name ? (TABLE.down ? " ↓" : " ↑") : ""))))));
  at("sample-body").replaceChildren(...shown.flatMap(tableRow));
  at("sample-count").textContent = rows.length ? `${number(from + 1)} to ${number(from + shown.length)} of ${many(rows.length, "response")}` : "no response has this text";
  at("sample-sort").value = TABLE.sort;
  for (const [id, off] of [["first", TABLE.page === 0], ["previous", TABLE.page === 0], ["next", TABLE.page === pages - 1], ["last", TABLE.page === pages - 1]])
    at(`page-${id}`).disabled = off;
  showScale();
  if (focus) at("samples").querySelector(focus)?.focus();
}

function showScale() {
  const full = SCALES[TABLE.shade], [, , meaning] = SHADES.find(([name]) => name === TABLE.shade) || [];
  if (!full) return at("sample-scale").replaceChildren();
  const marks = TABLE.shade === "entropy" ? [0, full / 2, full] : [-full, -full / 2, 0, full / 2, full];
  at("sample-scale").replaceChildren(
    ...marks.map((value) => make("span", { class: "token", style: { backgroundColor: shade(TABLE.shade, value) } }, number(value, 2))),
    make("span", { class: "faint" }, `${meaning}${DATA.samples.some((row) => row.mask?.includes(0)) ? "; underlined: not written by the policy" : ""}`));
}

function choice(id, title, options, onchange) {
  return make("label", { class: id }, make("span", null, title),
    make("select", { id, onchange: (event) => onchange(event.target.value) }, options.map(([value, text]) => make("option", { value }, text))));
}

function showSamples() {
  if (!DATA.samples.length) {
    at("samples").append(make("p", { class: "faint" }, "No responses were logged: run.log_samples_every says how often some are."));
    return;
  }
  const go = (id, text, title, page) => make("button", { type: "button", id: `page-${id}`, "aria-label": title, onclick: () => { TABLE.page = page(); showTable(); } }, text);
  at("samples").append(
    make("div", { class: "controls" },
      make("label", null, make("span", null, "Find in prompt or response"),
        make("input", { type: "search", id: "sample-find", oninput: (event) => { Object.assign(TABLE, { find: event.target.value, page: 0 }); showTable(); } })),
      DATA.runs.length > 1 ? choice("sample-run", "Run", [["", "all runs"], ...DATA.runs.map((run, i) => [String(i), run.name])], (run) => { Object.assign(TABLE, { run, page: 0 }); showTable(); }) : null,
      choice("sample-shade", "Colour tokens by", [...SHADES.map(([name, title]) => [name, title]), ["", "nothing"]], (name) => { TABLE.shade = name; showTable(); }),
      choice("sample-sort", "Sort by", COLUMNS.map(({ name, title }) => [name, title]), sortBy)),
    make("div", { id: "sample-scale" }),
    make("div", { class: "scroll" }, make("table", { class: "samples" }, make("caption", { class: "hidden" }, "Sampled responses"),
      make("thead", { id: "sample-head" }), make("tbody", { id: "sample-body" }))),
    make("div", { class: "pager" }, go("first", "«", "First page", () => 0), go("previous", "‹", "Page before", () => TABLE.page - 1),
      make("span", { id: "sample-count", role: "status" }), go("next", "›", "Next page", () => TABLE.page + 1), go("last", "»", "Last page", () => Infinity)),
    make("p", { class: "faint" }, DATA.samples.length < DATA.samples_logged
      ? `${number(DATA.samples.length)} of ${number(DATA.samples_logged)} logged responses: iterations between were left out to keep the page small.`
      : "The first rows of every iteration that run.log_samples_every names; ∎ is the end of a response, ✂ one that was cut off at the limit."));
  showTable();
}
