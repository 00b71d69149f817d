// Charts of one metric each. A chart is drawn when it comes into view, and again when something that it shows changes.

const LEFT = 52, RIGHT = 12, TOP = 10, BOTTOM = 24, HEIGHT = 190;
const SHOWN = { hidden: new Set(), smoothing: 3, warm: false };
const FIRST = Math.min(...DATA.runs.map((run) => run.warm)) + 1;
const LAST = Math.max(...DATA.runs.map((run) => run.steps), 1);
const WARM = Math.max(...DATA.runs.map((run) => run.warm));
const charts = [];

const domainOf = (metric) =>
  metric.section === "Warm start" ? [1, Math.max(WARM, 1)] : [SHOWN.warm || FIRST > LAST ? 1 : FIRST, LAST];
const windowOf = ([low, high]) => 2 * Math.round((SHOWN.smoothing / 200) * (high - low)) + 1;
const visible = () => DATA.groups.map((group, i) => [group, i]).filter(([, i]) => !SHOWN.hidden.has(i));

function path(x, y, px, py) {
  let d = "";
  for (let i = 0; i < x.length; i++) d += `${i ? "L" : "M"}${px(x[i]).toFixed(1)} ${py(y[i]).toFixed(1)}`;
  return d;
}

function area(x, low, high, px, py) {
  return path([...x, ...[...x].reverse()], [...high, ...[...low].reverse()], px, py) + "Z";
}

class Chart {
  constructor(metric) {
    this.metric = metric;
    this.tip = make("div", { class: "tip", hidden: true, role: "status" });
    this.plot = draw("svg", { class: "plot", height: HEIGHT, tabindex: 0, role: "img", "aria-label": metric.title });
    this.figure = make("figure", { class: "chart", id: `metric-${DATA.metrics.indexOf(metric)}` },
      make("figcaption", null,
        make("strong", null, metric.title), metric.unit ? make("span", { class: "faint" }, metric.unit) : null,
        make("span", { class: "meaning" }, [metric.meaning, metric.name].filter(Boolean).join(" · "))),
      this.plot, this.tip);
    this.plot.addEventListener("pointermove", (event) => this.point(event));
    this.plot.addEventListener("pointerdown", (event) => this.point(event));
    this.plot.addEventListener("pointerleave", () => this.show(null));
    this.plot.addEventListener("keydown", (event) => this.key(event));
    this.plot.addEventListener("blur", () => this.show(null));
    this.stale = true;
    new ResizeObserver(() => this.redraw()).observe(this.figure);
    new IntersectionObserver((entries) => { this.near = entries[0].isIntersecting; if (this.near && this.stale) this.redraw(); },
      { rootMargin: "400px" }).observe(this.figure);
    charts.push(this);
  }

  redraw() {
    const width = this.figure.clientWidth - 2;
    this.stale = !this.near || width < 50;
    if (this.stale) return;
    const domain = domainOf(this.metric), window = windowOf(domain);
    this.curves = visible()
      .map(([group, i]) => ({ group, i, ...combine(this.metric.name, group.runs, window, domain) }))
      .filter((curve) => curve.x);
    this.show(null);
    this.plot.replaceChildren();
    this.plot.setAttribute("width", width);
    this.plot.setAttribute("aria-label", this.summary());
    if (!this.curves.length) {
      this.plot.append(draw("text", { x: width / 2, y: HEIGHT / 2, "text-anchor": "middle" }, "nothing to show"));
      return;
    }
    const [low, high] = range(this.curves), [from, to] = domain[0] === domain[1] ? [domain[0] - 1, domain[1] + 1] : domain;
    const px = (x) => LEFT + ((x - from) / (to - from)) * (width - LEFT - RIGHT);
    const py = (y) => TOP + (1 - (Math.min(Math.max(y, low - 9 * (high - low)), high + 9 * (high - low)) - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);
    Object.assign(this, { px, py, from, to });
    this.axes(width, low, high);
    const clip = `clip-${this.figure.id}`;
    this.plot.append(draw("clipPath", { id: clip },
      draw("rect", { x: LEFT, y: TOP - 2, width: Math.max(width - LEFT - RIGHT, 1) + 2, height: HEIGHT - TOP - BOTTOM + 4 })));
    const inner = draw("g", { "clip-path": `url(#${clip})` });
    for (const curve of this.curves) this.layer(inner, curve);
    this.mark = draw("g", { class: "mark" });
    this.plot.append(inner, this.mark);
  }

  axes(width, low, high) {
    for (const tick of ticks(low, high, 4)) {
      const y = this.py(tick);
      this.plot.append(draw("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y, y2: y }),
        draw("text", { x: LEFT - 7, y: y + 4, "text-anchor": "end" }, number(tick)));
    }
    const bottom = HEIGHT - BOTTOM;
    this.plot.append(draw("line", { class: "axis", x1: LEFT, x2: width - RIGHT, y1: bottom, y2: bottom }));
    for (const tick of ticks(this.from, this.to, Math.max(2, Math.min(6, width / 90))).filter(Number.isInteger))
      this.plot.append(draw("line", { class: "axis", x1: this.px(tick), x2: this.px(tick), y1: bottom, y2: bottom + 4 }),
        draw("text", { x: this.px(tick), y: HEIGHT - 6, "text-anchor": "middle" }, number(tick)));
    if (WARM && this.from <= WARM && this.to > WARM)
      this.plot.append(draw("line", { class: "border", x1: this.px(WARM + 0.5), x2: this.px(WARM + 0.5), y1: TOP, y2: bottom },
        draw("title", null, `end of the warm start, step ${WARM}`)));
  }

  layer(inner, curve) {
    const { px, py } = this, style = { stroke: colour(curve.i) };
    if (curve.low) inner.append(draw("path", { class: "band", d: area(curve.x, curve.low, curve.high, px, py), style: { fill: colour(curve.i) } }));
    if (curve.raw && curve.raw.low && curve.x.length > FEW)
      inner.append(draw("path", { class: "band", d: area(curve.x, curve.raw.low, curve.raw.high, px, py), style: { fill: colour(curve.i) } }));
    if (curve.raw && curve.smoothed) inner.append(draw("path", { class: "raw", d: path(curve.x, curve.raw.y, px, py), style }));
    inner.append(draw("path", { class: "mean", d: path(curve.x, curve.y, px, py), "stroke-dasharray": dashes(curve.i), style }));
    if (curve.x.length <= FEW)
      curve.x.forEach((x, k) => inner.append(draw("circle", { cx: px(x), cy: py(curve.y[k]), r: 2.6, style: { fill: colour(curve.i) } })));
  }

  summary() {
    const parts = this.curves.map((c) => `${c.group.label} from ${number(c.y[0])} to ${number(c.y[c.y.length - 1])}`);
    return `${this.metric.title}${this.metric.unit ? `, ${this.metric.unit}` : ""}: ${parts.join("; ") || "nothing to show"}. Arrow keys read values.`;
  }

  steps() {
    return [...new Set(this.curves.flatMap((curve) => curve.x))].sort((a, b) => a - b);
  }

  point(event) {
    if (!this.curves || !this.curves.length) return;
    const x = event.clientX - this.plot.getBoundingClientRect().left;
    const steps = this.steps();
    this.show(steps[nearest(steps, this.from + ((x - LEFT) / (this.px(this.to) - LEFT)) * (this.to - this.from))]);
  }

  key(event) {
    if (!this.curves || !this.curves.length) return;
    const steps = this.steps(), far = event.shiftKey ? 10 : 1;
    const here = this.step === null ? -1 : nearest(steps, this.step);
    const to = { ArrowRight: here + far, ArrowLeft: here - far, Home: 0, End: steps.length - 1 }[event.key];
    if (event.key === "Escape") this.show(null);
    if (to === undefined) return;
    event.preventDefault();
    this.show(steps[Math.min(Math.max(to, 0), steps.length - 1)]);
  }

  // The values of every curve at a step, or none.
  show(step) {
    this.step = step;
    this.tip.hidden = step === null;
    if (this.mark) this.mark.replaceChildren();
    if (step === null) return;
    this.mark.append(draw("line", { x1: this.px(step), x2: this.px(step), y1: TOP, y2: HEIGHT - BOTTOM }));
    const lines = this.curves.flatMap((curve) => {
      const k = nearest(curve.x, step), near = Math.abs(curve.x[k] - step) <= DATA.steps_per_point;
      if (!near && curve.x.length > FEW) return [];
      this.mark.append(draw("circle", { cx: this.px(curve.x[k]), cy: this.py(curve.y[k]), r: 3.5, style: { fill: colour(curve.i) } }));
      const raw = curve.raw && curve.smoothed ? ` (step: ${number(curve.raw.y[k])})` : "";
      const band = curve.low ? ` [${number(curve.low[k])}, ${number(curve.high[k])}], ${many(curve.n[k], "seed")}` : "";
      const other = curve.x[k] === step ? "" : ` at ${number(curve.x[k])}`;
      return [make("div", null, swatch(curve.i), DATA.groups.length > 1 ? `${curve.group.label} ` : "", make("b", null, number(curve.y[k], 4)), raw + band + other)];
    });
    const span = DATA.steps_per_point > 1 ? `steps ${number(Math.floor((step - 1) / DATA.steps_per_point) * DATA.steps_per_point + 1)} to ${number(step)}` : `step ${number(step)}`;
    this.tip.replaceChildren(make("div", { class: "faint" }, span), ...lines);
    const right = this.px(step) > this.figure.clientWidth / 2;
    Object.assign(this.tip.style, right
      ? { left: "", right: `${this.figure.clientWidth - this.px(step) + 12}px` } : { right: "", left: `${this.px(step) + 12}px` });
  }
}

function redraw() {
  for (const chart of charts) chart.redraw();
  drawHeldOut();
}

// Held-out pass@1 before and after, a line for every run.
const heldOut = make("figure", { class: "chart wide", hidden: true });

function drawHeldOut() {
  const runs = visible().flatMap(([group, i]) => group.runs.map((run) => ({ ...DATA.runs[run], i })))
    .filter((run) => run.held_out.before || run.held_out.after);
  heldOut.hidden = !runs.length;
  const width = heldOut.clientWidth - 2;
  if (!runs.length || width < 50) return;
  const labels = Math.min(0.3 * width, 7.5 * Math.max(...runs.map((run) => run.name.length)) + 12);
  const px = (share) => labels + share * (width - labels - 30), height = 26 * runs.length + 30;
  const plot = draw("svg", { class: "plot", width, height, role: "img", "aria-label": runs.map((run) =>
    `${run.name}: ${percent(run.held_out.before?.pass_at_1)} before, ${percent(run.held_out.after?.pass_at_1)} after`).join("; ") });
  for (const tick of [0, 0.2, 0.4, 0.6, 0.8, 1])
    plot.append(draw("line", { class: "grid", x1: px(tick), x2: px(tick), y1: 4, y2: height - 22 }),
      draw("text", { x: px(tick), y: height - 6, "text-anchor": "middle" }, `${Math.round(100 * tick)}%`));
  runs.forEach((run, k) => {
    const y = 18 + 26 * k, style = { stroke: colour(run.i) }, { before, after } = run.held_out;
    plot.append(draw("text", { x: labels - 10, y: y + 4, "text-anchor": "end", class: "label" }, run.name));
    if (before && after)
      plot.append(draw("line", { class: "mean", x1: px(before.pass_at_1), x2: px(after.pass_at_1), y1: y, y2: y, style }));
    for (const [report, filled] of [[before, false], [after, true]]) {
      if (!report) continue;
      const [low, high] = report.interval || [report.pass_at_1, report.pass_at_1];
      plot.append(draw("line", { class: "interval", x1: px(low), x2: px(high), y1: y, y2: y, style }),
        draw("circle", { cx: px(report.pass_at_1), cy: y, r: 5.5, "stroke-width": 2, style: { ...style, fill: filled ? colour(run.i) : "var(--paper)" } },
          draw("title", null, `${filled ? "after" : "before"}: ${percent(report.pass_at_1)} [${percent(low)}, ${percent(high)}]`)));
    }
  });
  heldOut.replaceChildren(make("figcaption", null, make("strong", null, "Held-out pass@1, before and after"),
    make("span", { class: "meaning" }, "open: before, filled: after, pale bars: intervals over problems")), plot);
}
