"use strict";
// Drawing: data and a state in, an SVG out. A state says which options are chosen (`at`), which lines are shown, whether
// the vertical axis is logarithmic, over how many points lines are smoothed, and where values are read.

const NAMESPACE = document.querySelector("svg")?.namespaceURI;

function shape(tag, attributes = {}, ...children) {
  const element = document.createElementNS(NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// Both colours go with an element; the page's scheme takes one of them.
function inked(element, style, width = 1) {
  element.style.setProperty("--light", style.light);
  element.style.setProperty("--dark", style.dark);
  if (style.dashes?.length) element.style.strokeDasharray = style.dashes.map((length) => length * width).join(" ");
  return element;
}

function written(value) {
  if (value === null || Number.isNaN(value)) return "—";
  if (value !== 0 && (Math.abs(value) < 1e-4 || Math.abs(value) >= 1e7)) return value.toExponential(2);
  return Number(value.toPrecision(4)).toLocaleString("en", { maximumFractionDigits: 8 });
}

function linearTicks([low, high], count) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((n) => n * power >= rough) * power;
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) ticks.push(i * step);
  return ticks;
}

function logTicks([low, high]) {
  const decades = Math.log10(high / low);
  const steps = decades > 4 ? [1] : decades > 1.3 ? [1, 2, 5] : decades > 0.4 ? [1, 1.5, 2, 3, 4, 5, 7] : null;
  if (steps === null) return linearTicks([low, high], 5);
  const ticks = [], stride = Math.ceil(decades / 8);
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power += stride)
    for (const step of steps) if (step * 10 ** power >= low && step * 10 ** power <= high) ticks.push(step * 10 ** power);
  return ticks;
}

function scaled([low, high], [from, to], log) {
  const f = log ? Math.log : (value) => value;
  return (value) => from + ((f(value) - f(low)) / (f(high) - f(low))) * (to - from);
}

// The mean of so many neighbours, fewer at the ends; what is missing is left out of it.
function smoothed(values, width) {
  const half = (width - 1) / 2;
  return values.map((value, place) => {
    if (value === null || half === 0) return value;
    const reach = Math.min(half, place, values.length - 1 - place);
    const near = values.slice(place - reach, place + reach + 1).filter((v) => v !== null);
    return near.reduce((sum, v) => sum + v, 0) / near.length;
  });
}

function visible(data, state) {
  return data.traces
    .filter((trace) => state.shown[trace.line] && trace.at.every((option, choice) => option === state.at[choice]))
    .map((trace) => (trace.kind === "line" ? { ...trace, y: smoothed(trace.y, state.smooth) } : trace));
}

// What is drawn in front sets the axes; runs that diverged do not stretch them, unless there is nothing else.
function domains(traces, log) {
  const usable = (v) => v !== null && v !== undefined && (!log || v > 0);
  const front = traces.filter((t) => t.kind === "line" || t.kind === "optimum");
  const main = front.some((t) => t.y.some(usable)) ? front : traces;
  const xs = main.flatMap((t) => t.x), middles = main.flatMap((t) => t.y).filter(usable);
  if (!middles.length) return null;
  const edges = main.flatMap((t) => [...(t.low ?? []), ...(t.high ?? [])]).filter(usable);
  let low = Math.min(...middles), high = Math.max(...middles, ...edges);
  low = Math.min(low, ...edges.filter((v) => !log || v > low / 10));
  if (log) return { x: opened([fromZero(xs), Math.max(...xs)]), y: low < high ? [low / 1.05, high * 1.05] : [low / 2, high * 2] };
  const room = 0.04 * (high - low) || 0.5 * Math.abs(high) || 0.5;
  return { x: opened([fromZero(xs), Math.max(...xs)]), y: [low >= 0 && low < 0.4 * high ? 0 : low - room, high + room] };
}

function fromZero(values) {
  const low = Math.min(...values);
  return low >= 0 && low < 0.2 * Math.max(...values) ? 0 : low;
}

function opened([low, high]) {
  return low < high ? [low, high] : [low - 0.5, high + 0.5];
}

function path(xs, ys, x, y, log) {
  let drawn = "", pen = "M";
  ys.forEach((value, i) => {
    if (value === null || (log && value <= 0)) pen = "M";
    else {
      const height = Math.max(-1e5, Math.min(1e5, y(value))); // an explosion leaves the frame, not the numbers of SVG
      drawn += `${pen}${x(xs[i]).toFixed(1)} ${height.toFixed(1)}`;
      pen = "L";
    }
  });
  return drawn.replace(/M([^ML]+)(?=M|$)/g, "M$1m-2 0h4"); // a point without neighbours is seen too
}

function area(trace, x, y, [bottom]) {
  const point = (i, value) => `${x(trace.x[i]).toFixed(1)} ${y(Math.max(value, bottom)).toFixed(1)}`;
  const there = trace.x.map((_, i) => i).filter((i) => trace.low[i] !== null && trace.high[i] !== null);
  const above = there.map((i) => point(i, trace.high[i])), below = there.reverse().map((i) => point(i, trace.low[i]));
  return above.length ? `M${[...above, ...below].join("L")}Z` : "";
}

function axes(data, state, frame, domain, x, y) {
  const parts = [];
  for (const tick of state.log ? logTicks(domain.y) : linearTicks(domain.y, 6)) {
    parts.push(shape("line", { class: "grid", x1: frame.left, x2: frame.right, y1: y(tick), y2: y(tick) }));
    parts.push(shape("text", { class: "tick", x: frame.left - 8, y: y(tick) + 4, "text-anchor": "end" }, written(tick)));
  }
  for (const tick of linearTicks(domain.x, Math.max(3, Math.floor((frame.right - frame.left) / 110)))) {
    parts.push(shape("line", { class: "mark", x1: x(tick), x2: x(tick), y1: frame.bottom, y2: frame.bottom + 5 }));
    parts.push(shape("text", { class: "tick", x: x(tick), y: frame.bottom + 20, "text-anchor": "middle" }, written(tick)));
  }
  parts.push(shape("line", { class: "mark", x1: frame.left, x2: frame.right, y1: frame.bottom, y2: frame.bottom }));
  parts.push(shape("text", { class: "label", x: 0, y: 14 }, data.y));
  const middle = (frame.left + frame.right) / 2;
  parts.push(shape("text", { class: "label", x: middle, y: frame.bottom + 40, "text-anchor": "middle" }, against(data, state)));
  return parts;
}

// The name of the horizontal axis.
function against(data, state) {
  const choice = data.choices.findIndex((c) => c.name === "against");
  return choice < 0 ? data.x : data.choices[choice].options[state.at[choice]];
}

function nearest(values, wanted) {
  return values.reduce((best, value, i) => (Math.abs(value - wanted) < Math.abs(values[best] - wanted) ? i : best), 0);
}

// Draws the lines; returns how to read them: a function from a place on the axis, 0 to 1, to words and marks.
function drawLines(svg, data, state, width) {
  const height = Math.round(Math.max(270, Math.min(430, 0.52 * width)));
  const traces = visible(data, state), domain = domains(traces, state.log);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  if (domain === null) {
    const lost = traces.filter((t) => t.end).map((t) => `× ${t.label} diverged at ${against(data, state)} ${written(t.end[0])}`);
    ["Nothing to draw: no line is shown that has points here.", ...lost].forEach((line, i) =>
      svg.append(shape("text", { class: "label", x: 0, y: 14 + 20 * i }, line)));
    return null;
  }
  const frame = { left: 58, right: width - 14, top: 30, bottom: height - 50 };
  const x = scaled(domain.x, [frame.left, frame.right], false);
  const y = scaled(domain.y, [frame.bottom, frame.top], state.log);
  const clip = `${svg.closest("figure").id}-clip`;
  const box = { x: frame.left, y: frame.top - 2, width: frame.right - frame.left + 2, height: frame.bottom - frame.top + 2 };
  const inside = shape("g", { "clip-path": `url(#${clip})` }), crosses = [];
  svg.append(shape("clipPath", { id: clip }, shape("rect", box)), ...axes(data, state, frame, domain, x, y), inside);
  const order = ["faint", "diverged", "optimum", "line"];
  for (const trace of traces.filter((t) => t.low && t.kind === "line"))
    inside.append(inked(shape("path", { class: "band", d: area(trace, x, y, domain.y) }), { ...data.lines[trace.line], dashes: [] }));
  for (const trace of [...traces].sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind))) {
    const style = data.lines[trace.line], front = trace.kind === "line";
    const beside = trace.kind === "optimum" && trace.label !== style.name ? [1, 2] : style.dashes;
    const drawn = shape("path", { class: `line ${trace.kind}`, d: path(trace.x, trace.y, x, y, state.log) });
    drawn.dataset.label = trace.label;
    inside.append(inked(drawn, { ...style, dashes: trace.kind === "diverged" ? [] : beside }, front ? 2 : 1.4));
    if (trace.end) crosses.push(cross(trace, style, frame, domain, x, y, state.log));
  }
  svg.append(...crosses);
  return (place) => reading(svg, data, state, traces, frame, domain, x, y, place);
}

// Where a run diverged: within the frame, whatever its loss was.
function cross(trace, style, frame, domain, x, y, log) {
  const [at, loss] = trace.end, within = (value, low, high) => Math.min(Math.max(value, low), high);
  const left = within(x(at), frame.left, frame.right);
  const top = loss === null ? frame.top : log && loss <= 0 ? frame.bottom : within(y(loss), frame.top, frame.bottom);
  const mark = inked(shape("path", { class: "cross", d: `M${left - 5} ${top - 5}l10 10m0 -10l-10 10` }), { ...style, dashes: [] });
  mark.append(shape("title", {}, `${trace.label} diverged`));
  return mark;
}

function reading(svg, data, state, traces, frame, domain, x, y, place) {
  svg.querySelector(".cursor")?.remove();
  const wanted = domain.x[0] + place * (domain.x[1] - domain.x[0]);
  const marks = shape("g", { class: "cursor" });
  marks.append(shape("line", { x1: x(wanted), x2: x(wanted), y1: frame.top, y2: frame.bottom }));
  const words = [];
  for (const trace of traces.filter((t) => t.kind === "line" && t.x.length)) {
    const i = nearest(trace.x, wanted), value = trace.y[i];
    if (value === null) continue;
    const [first, last] = [trace.x[0], trace.x.at(-1)], hair = 1e-9 * (domain.x[1] - domain.x[0]);
    if (wanted < first - hair || wanted > last + hair) {
      const edge = wanted < first ? `begins at ${written(first)}` : `ends at ${written(last)}`;
      words.push({ line: trace.line, text: `${trace.label} ${edge}` });
      continue;
    }
    const range = trace.low ? ` (${written(trace.low[i])} to ${written(trace.high[i])})` : "";
    words.push({ line: trace.line, text: `${trace.label} ${written(value)}${range}` });
    if (!state.log || value > 0) marks.append(inked(shape("circle", { cx: x(trace.x[i]), cy: y(value), r: 4 }), data.lines[trace.line]));
  }
  svg.append(marks);
  return { where: `${against(data, state)} ${written(wanted)}`, words };
}

// Of the data sets of points, in turn.
const GLYPHS = ["M5.5 0A5.5 5.5 0 1 1 -5.5 0A5.5 5.5 0 1 1 5.5 0Z", "M-5 -5H5V5H-5Z", "M0 -6L6 5H-6Z", "M0 -6.5L6.5 0L0 6.5L-6.5 0Z", "M0 6L6 -5H-6Z", "M-2 -6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z"];

function glyph(place, attributes = {}) {
  return shape("path", { class: "point", d: GLYPHS[place % GLYPHS.length], ...attributes });
}

function drawPoints(svg, data, state, width) {
  const height = Math.round(Math.max(270, Math.min(430, 0.52 * width)));
  const chosen = (mark) => state.shown[mark.line] && mark.at.every((option, choice) => option === state.at[choice]);
  const marks = data.marks.filter((mark) => chosen(mark) && (!state.log || mark.y > 0));
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  if (!marks.length) {
    svg.append(shape("text", { class: "label", x: 0, y: 14 }, "Nothing to draw: no point is shown that has values here."));
    return null;
  }
  const domain = domains([{ kind: "line", x: marks.map((m) => m.x), y: marks.map((m) => m.y) }], state.log);
  const frame = { left: 58, right: width - 14, top: 30, bottom: height - 50 };
  const x = scaled(domain.x, [frame.left + 8, frame.right - 8], false);
  const y = scaled(domain.y, [frame.bottom - 8, frame.top + 8], state.log);
  svg.append(...axes(data, state, frame, domain, x, y));
  for (const mark of marks) {
    const drawn = inked(glyph(mark.shape, { transform: `translate(${x(mark.x).toFixed(1)} ${y(mark.y).toFixed(1)})` }), { ...data.lines[mark.line], dashes: [] });
    drawn.append(shape("title", {}, `${mark.label}: ${written(mark.x)}, ${written(mark.y)}`));
    svg.append(drawn);
  }
  return (place) => {
    svg.querySelector(".cursor")?.remove();
    const found = marks[nearest(marks.map((m) => m.x), domain.x[0] + place * (domain.x[1] - domain.x[0]))];
    const ring = shape("circle", { class: "ring", cx: x(found.x), cy: y(found.y), r: 10 });
    svg.append(shape("g", { class: "cursor" }, ring));
    return { where: `${against(data, state)} ${written(found.x)}`, words: [{ line: found.line, text: `${found.label} ${written(found.y)}` }] };
  };
}

function drawBars(svg, data, state, width) {
  const rows = data.lines.map((line, i) => ({ line, values: data.values[i], note: data.notes[i] })).filter((_, i) => state.shown[i]);
  const sum = (values) => values.reduce((total, value) => total + (value ?? 0), 0);
  const most = state.share ? 1 : Math.max(...rows.map((row) => sum(row.values)), 1e-9);
  const narrow = width < 560, step = narrow ? 66 : 50; // the note has a line of its own where it would be cut off
  const height = 30 + step * Math.max(rows.length, 1) + 40, x = scaled([0, most], [1, width - 14], false);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.append(shape("text", { class: "label", x: 0, y: 14 }, state.share ? "share of an iteration" : data.unit));
  for (const tick of linearTicks([0, most], Math.max(3, Math.floor(width / 130)))) {
    svg.append(shape("line", { class: "grid", x1: x(tick), x2: x(tick), y1: 26, y2: height - 30 }));
    const anchor = tick === 0 ? "start" : x(tick) > width - 30 ? "end" : "middle";
    svg.append(shape("text", { class: "tick", x: x(tick), y: height - 12, "text-anchor": anchor }, state.share ? `${Math.round(100 * tick)} %` : written(tick)));
  }
  rows.forEach((row, place) => {
    const top = 30 + step * place, under = narrow ? 16 : 0;
    const total = state.share ? sum(row.values) || 1 : 1;
    svg.append(inked(shape("rect", { class: "part", x: 1, y: top + 4, width: 11, height: 11 }), { ...row.line, dashes: [] }));
    const [name, note] = [shape("tspan", { class: "name" }, row.line.name), shape("tspan", narrow ? { x: 1, dy: 17 } : { dx: 10 }, row.note)];
    svg.append(shape("text", { class: "bar-name", x: 18, y: top + 14 }, name, note));
    let before = 0;
    row.values.forEach((value, part) => {
      const share = (value ?? 0) / total, left = x(before), length = x(before + share) - left;
      const bar = inked(shape("rect", { class: "part", x: left, y: top + 20 + under, width: Math.max(length, 0), height: 18 }), data.parts[part]);
      bar.append(shape("title", {}, `${row.line.name}, ${data.parts[part].name}: ${written(value)} ms`));
      svg.append(bar);
      before += share;
    });
  });
  return null;
}
