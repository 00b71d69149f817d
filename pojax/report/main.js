// The page from top to bottom.

function showHeader() {
  const names = DATA.runs.map((run) => run.name);
  at("title").textContent = names.length === 1 ? names[0] : `${many(names.length, "run")}, ${many(DATA.groups.length, "config")}`;
  document.title = `${names.length === 1 ? names[0] : `${names.length} runs`} – pojax report`;
  const tasks = [...new Set(DATA.runs.map((run) => run.task))].filter(Boolean);
  at("subtitle").textContent = `${tasks.length ? `task ${tasks.join(", ")}, ` : ""}${number(LAST)} iterations, made ${DATA.made} by pojax ${DATA.pojax}`;
  at("footer").textContent = "One file, no network: everything that this page shows is inside it.";
  const themes = ["system", "light", "dark"];
  at("theme").addEventListener("click", (event) => {
    const next = themes[(themes.indexOf(document.documentElement.dataset.theme || "system") + 1) % themes.length];
    document.documentElement.dataset.theme = next;
    event.currentTarget.textContent = `Theme: ${next}`;
  });
}

const groupOf = (run) => DATA.groups.findIndex((group) => group.runs.includes(run));

function showRuns() {
  const result = (report) => !report ? "–" : [make("b", null, percent(report.pass_at_1)), report.interval ? make("span", { class: "faint" }, ` [${percent(report.interval[0])}, ${percent(report.interval[1])}]`) : null];
  const head = ["Run", "Seed", "Iterations", "State", "pass@1 before", "pass@1 after", "Greedy after", "Time", "Warnings"];
  at("runs").append(make("table", null, make("thead", null, make("tr", null, head.map((title) => make("th", { scope: "col" }, title)))),
    make("tbody", null, DATA.runs.map((run, i) => make("tr", null,
      make("th", { scope: "row", title: run.path }, swatch(groupOf(i)), run.name),
      make("td", null, number(run.seed)),
      make("td", null, run.finished ? number(run.steps) : `${number(run.steps)} of ${number(run.planned)}`, run.warm ? make("span", { class: "faint" }, `, ${number(run.warm)} warm`) : null),
      make("td", null, run.finished ? "finished" : "not finished"),
      make("td", null, result(run.held_out.before)), make("td", null, result(run.held_out.after)),
      make("td", null, percent(run.held_out.after?.greedy)), make("td", null, duration(run.seconds)),
      make("td", null, run.warnings.length ? make("a", { href: "#warnings" }, number(run.warnings.length)) : "none"))))));
}

function showWarnings() {
  const list = at("warning-list");
  const any = []; // one for each kind and config, with the runs that have it
  DATA.runs.forEach((run, i) => run.warnings.forEach((warning) => {
    const same = any.find((one) => one.group === groupOf(i) && one.warning.kind === warning.kind);
    if (same) same.runs.push(run.name);
    else any.push({ warning, group: groupOf(i), runs: [run.name] });
  }));
  any.sort((a, b) => b.warning.serious - a.warning.serious);
  for (const { warning, group, runs } of any) {
    const metric = DATA.metrics.findIndex((m) => m.name === warning.metric);
    list.append(make("div", { class: warning.serious ? "warning serious" : "warning" },
      make("p", null, make("strong", null, `${warning.serious ? "Warning" : "Note"}: ${warning.kind}`),
        DATA.runs.length > 1 ? make("span", { class: "of-run" }, swatch(group), runs[0], runs.length > 1 ? make("span", { class: "faint" }, `, also in ${runs.slice(1).join(", ")}`) : null) : null),
      make("p", null, warning.text, " ", metric < 0 ? null : make("a", { href: `#metric-${metric}`, onclick: () => reveal(metric) }, `See ${DATA.metrics[metric].title.toLowerCase()}.`))));
  }
  if (!any.length) list.append(make("p", null, make("strong", null, "None. ")));
  list.append(make("p", { class: "faint" }, "Looked for: collapse of reward or entropy, exploding or shrinking responses, truncation, groups without a signal, "
    + "a gap between sampler and learner, gradients that are not finite or jump, much clipping, a far reference, rows that are out. "
    + "The last tenth of the method's iterations is compared with the first; runs of fewer than 10 are not judged."));
}

function reveal(metric) {
  const folded = at(`metric-${metric}`).closest("details");
  if (folded) folded.open = true;
}

function showControls() {
  const legend = make("div", { class: "legend", role: "group", "aria-label": "Show or hide configs" }, DATA.groups.map((group, i) => make("button", {
    type: "button", "aria-pressed": "true", title: group.runs.map((run) => DATA.runs[run].name).join(", "),
    onclick: (event) => {
      if (SHOWN.hidden.has(i)) SHOWN.hidden.delete(i); else SHOWN.hidden.add(i);
      event.currentTarget.setAttribute("aria-pressed", String(!SHOWN.hidden.has(i)));
      redraw();
    },
  }, swatch(i), group.label, group.runs.length > 1 ? make("span", { class: "faint" }, `\u2003${many(group.runs.length, "seed")}`) : null)));
  const words = make("output", { for: "smoothing" });
  const slider = make("input", { type: "range", id: "smoothing", min: 0, max: 30, step: 1, value: SHOWN.smoothing, oninput: () => { SHOWN.smoothing = Number(slider.value); say(); redraw(); } });
  const say = () => {
    const steps = windowOf([FIRST > LAST ? 1 : FIRST, LAST]);
    words.textContent = steps > 1 ? `mean of ${many(steps, "step")}` : "off";
  };
  say();
  at("controls").append(legend, make("label", { class: "slider" }, make("span", null, "Smoothing"), slider, words),
    WARM && FIRST <= LAST ? make("label", { class: "check" }, make("input", { type: "checkbox", id: "warm", onchange: (event) => { SHOWN.warm = event.target.checked; redraw(); } }), "Show the warm start") : null);
  const notes = [];
  if (DATA.steps_per_point > 1) notes.push(`To keep the page small, every point stands for ${number(DATA.steps_per_point)} steps: their mean and, where a colour is one run, a band from the least to the largest value.`);
  if (DATA.groups.some((group) => group.runs.length > 1)) notes.push("Runs that differ only in their seed are one colour: the line is their mean, the band reaches from the lowest to the highest of them.");
  if (DATA.groups.some((group) => group.runs.length === 1)) notes.push("Pale lines are not smoothed.");
  notes.push(`Curves of at most ${FEW} points are not smoothed. Point at a curve, or use the arrow keys on it, to read values.`);
  at("curve-note").textContent = notes.join(" ");
}

function showCharts() {
  const sections = [...new Set(DATA.metrics.map((metric) => metric.section))];
  for (const section of sections) {
    const grid = make("div", { class: "grid-of-charts" });
    const title = make("h3", null, section);
    const folded = section === "Warm start" || section === "Other";
    at("charts").append(folded ? make("details", null, make("summary", null, title), grid) : make("div", null, title, grid));
    if (section === "Learning") grid.append(heldOut);
    for (const metric of DATA.metrics.filter((m) => m.section === section)) grid.append(new Chart(metric).figure);
  }
  if (!sections.length) at("charts").append(make("p", { class: "faint" }, "Nothing was logged yet: metrics.jsonl has no line."));
  new ResizeObserver(drawHeldOut).observe(heldOut.parentElement || at("charts"));
  drawHeldOut();
}

function showConfigs() {
  const list = at("config-list");
  const column = (i) => make("th", { scope: "col" }, swatch(i), DATA.groups[i].label);
  if (DATA.runs.length > 1)
    list.append(DATA.differences.length
      ? make("div", { class: "scroll" }, make("table", { class: "differences" }, make("caption", null, "Keys that differ between the runs"),
        make("thead", null, make("tr", null, make("th", { scope: "col" }, "Key"), DATA.groups.map((_, i) => column(i)))),
        make("tbody", null, DATA.differences.map(({ key, values }) => make("tr", null, make("th", { scope: "row" }, make("code", null, key)),
          values.map((v) => make("td", null, make("code", null, v.join(", "))))))))) 
      : make("p", null, "The configs of these runs are equal."));
  DATA.configs.forEach((text, i) => list.append(make("details", null, make("summary", null, swatch(i), `Whole config of ${DATA.groups[i].label}`), make("pre", { tabindex: 0 }, text))));
}

function showEnvironment() {
  const environments = DATA.environments.filter((e) => Object.keys(e.values).length);
  const keys = [...new Set(environments.flatMap((e) => Object.keys(e.values)))].sort();
  if (!keys.length) {
    at("environment-list").append(make("p", { class: "faint" }, "These runs recorded none."));
    return;
  }
  const differs = (key) => new Set(environments.map((e) => e.values[key])).size > 1;
  at("environment-list").append(make("table", { class: "environment" },
    environments.length > 1 ? make("thead", null, make("tr", null, make("th", { scope: "col" }, ""), environments.map((e) => make("th", { scope: "col" }, e.runs.map((run) => DATA.runs[run].name).join(", "))))) : null,
    make("tbody", null, keys.map((key) => make("tr", { class: differs(key) ? "differs" : null }, make("th", { scope: "row" }, key),
      environments.map((e) => make("td", null, e.values[key] ?? "–")))))));
}

showHeader();
showRuns();
showWarnings();
showControls();
showCharts();
showSamples();
showConfigs();
showEnvironment();
