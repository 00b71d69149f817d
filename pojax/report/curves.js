// From points of runs to what is drawn: smoothing, means and bands over seeds, ticks.

const FEW = 30; // a curve of at most so many points is drawn as it is, with marks

// Running mean over the points of a window of steps, an odd number of them, around each point; fewer at the ends.
function smooth(x, y, window) {
  const sums = [0];
  for (const value of y) sums.push(sums[sums.length - 1] + value);
  const result = [];
  let from = 0, to = 0;
  for (let i = 0; i < x.length; i++) {
    while (x[from] < x[i] - (window - 1) / 2) from++;
    while (to < x.length && x[to] <= x[i] + (window - 1) / 2) to++;
    result.push((sums[to] - sums[from]) / (to - from));
  }
  return result;
}

// One metric of one group: the line, the band around it, and the raw points of a single run.
function combine(metric, members, window, domain) {
  const runs = members
    .map((run) => inside(DATA.series[run][metric], domain))
    .filter((curve) => curve && curve.x.length);
  if (!runs.length) return null;
  const lines = runs.map((curve) => (curve.x.length > FEW && window > 1 ? smooth(curve.x, curve.y, window) : curve.y));
  if (runs.length === 1) {
    const [curve] = runs;
    return { x: curve.x, y: lines[0], n: null, low: null, high: null, raw: curve, smoothed: lines[0] !== curve.y };
  }
  const points = new Map();
  runs.forEach((curve, i) => curve.x.forEach((x, k) => {
    if (!points.has(x)) points.set(x, []);
    points.get(x).push(lines[i][k]);
  }));
  const x = [...points.keys()].sort((a, b) => a - b);
  const values = x.map((step) => points.get(step));
  return {
    x, y: values.map((v) => v.reduce((a, b) => a + b, 0) / v.length), n: values.map((v) => v.length),
    low: values.map((v) => Math.min(...v)), high: values.map((v) => Math.max(...v)), raw: null,
    smoothed: lines.some((line, i) => line !== runs[i].y),
  };
}

function inside(curve, [low, high]) {
  if (!curve || (curve.x[0] >= low && curve.x[curve.x.length - 1] <= high)) return curve;
  const from = curve.x.findIndex((x) => x >= low);
  const end = curve.x.findIndex((x) => x > high);
  if (from < 0) return null;
  return Object.fromEntries(Object.entries(curve).map(([name, values]) => [name, values.slice(from, end < 0 ? undefined : end)]));
}

// The values between which a curve is shown: all of the lines and bands; of raw points all but the outermost hundredth.
function range(curves) {
  let low = Infinity, high = -Infinity;
  const include = (values) => { for (const v of values) { if (v < low) low = v; if (v > high) high = v; } };
  for (const curve of curves) {
    include(curve.low || curve.y);
    include(curve.high || curve.y);
    if (curve.raw) {
      const sorted = [...curve.raw.y].sort((a, b) => a - b);
      const cut = Math.floor(sorted.length / 100);
      include(sorted.slice(cut, sorted.length - cut));
    }
  }
  if (!(high > low)) { const pad = Math.abs(low) * 0.1 || 1; return [low - pad, high + pad]; }
  const pad = (high - low) * 0.06;
  return [low >= 0 && low - pad < 0 ? 0 : low - pad, high + pad];
}

function ticks(low, high, wanted) {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const result = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) result.push(Number((k * step).toPrecision(12)));
  return result;
}

function nearest(sorted, value) {
  let low = 0, high = sorted.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= value) low = middle; else high = middle;
  }
  return Math.abs(sorted[high] - value) < Math.abs(sorted[low] - value) ? high : low;
}
