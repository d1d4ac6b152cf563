// The controls of each chart, its data as a file, and the scheme of the page.

function toggle(kind, name, label, checked, changed, group = "") {
  const input = make("input", { type: kind, checked, name: group });
  input.addEventListener("change", () => changed(input.checked));
  input.dataset.control = name;
  return make("label", { className: kind }, input, label);
}

function options(choice, group, changed) {
  if (choice.options.length > 3) {
    const select = make("select", {}, ...choice.options.map((name, i) => make("option", { value: i }, name)));
    select.dataset.control = choice.name;
    select.addEventListener("change", () => changed(Number(select.value)));
    return make("label", { className: "choice" }, make("span", {}, choice.name), select);
  }
  const radios = choice.options.map((name, i) => toggle("radio", name, make("span", {}, name), i === 0, () => changed(i), group));
  return make("fieldset", { className: "choice" }, make("legend", {}, choice.name), make("div", { className: "radios" }, ...radios));
}

function swatch(style, kind) {
  const [line, block] = ["line", "rect"].map((tag) => shape(tag, tag === "line" ? { class: "line", x1: 0, x2: 30, y1: 6, y2: 6 } : { class: "part", x: 1, y: 1, width: 12, height: 10 }));
  const drawn = kind === "lines" ? line : block, width = kind === "lines" ? 30 : 14;
  return shape("svg", { class: "swatch-line", width, height: 12, "aria-hidden": "true" }, inked(drawn, style, 2));
}

function table(data) {
  if (data.kind === "bars") return [["optimizer", ...data.parts.map((p) => `${p.name}, ms`)], ...data.lines.map((line, i) => [line.name, ...data.values[i]])];
  const names = data.choices.map((choice) => choice.name), rows = [];
  if (data.kind === "points") {
    const chosen = (mark) => mark.at.map((option, choice) => data.choices[choice].options[option]);
    return [[...names, "optimizer", "data set", "x", "y"], ...data.marks.map((m) => [...chosen(m), data.lines[m.line].name, data.shapes[m.shape], m.x, m.y])];
  }
  for (const trace of data.traces) {
    const chosen = trace.at.map((option, choice) => data.choices[choice].options[option]);
    const row = (x, y, low, high) => rows.push([...chosen, trace.label, trace.kind, trace.seeds, x, y, low, high]);
    trace.x.forEach((x, i) => row(x, trace.y[i], trace.low?.[i], trace.high?.[i]));
    if (trace.end) rows.push([...chosen, trace.label, "diverged here", trace.seeds, ...trace.end, null, null]);
  }
  return [[...names, "line", "kind", "seeds", "x", "y", "low", "high"], ...rows];
}

function csv(rows) {
  const field = (value) => (/[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  return rows.map((row) => row.map((value) => field(String(value ?? ""))).join(",")).join("\n") + "\n";
}

function download(name, text) {
  const address = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  const link = make("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

function start(figure) {
  const svg = figure.querySelector("svg"), [title, words] = svg.children, text = title.textContent;
  const data = JSON.parse(figure.querySelector("script").textContent), lines = data.kind === "lines", bars = data.kind === "bars";
  const state = { at: (data.choices ?? []).map(() => 0), shown: data.lines.map(() => true), log: data.log ?? false, smooth: 1, share: false, place: null };
  let read = null;

  const output = make("output");
  const slider = make("input", { type: "range", min: 0, max: 1000, value: 1000 });
  function show() {
    const found = state.place === null || read === null ? null : read(state.place);
    if (found === null) output.replaceChildren(bars ? "" : "Move along the chart, or this slider, to read values.");
    else output.replaceChildren(make("strong", {}, found.where), ...found.words.map((w) => inked(make("span", { className: "value" }, w.text), data.lines[w.line])));
  }
  function draw() {
    const width = Math.max(300, Math.round(svg.parentElement.clientWidth));
    svg.replaceChildren(title, words);
    read = { lines: drawLines, bars: drawBars, points: drawPoints }[data.kind](svg, data, state, width);
    const chosen = state.at.map((option, i) => `${data.choices[i].name}: ${data.choices[i].options[option]}`);
    const axis = !bars ? `${state.log ? "logarithmic" : "linear"} axis` : state.share ? "shares" : "milliseconds";
    const names = data.lines.filter((_, i) => state.shown[i]).map((line) => line.name);
    title.textContent = `${text}. ${[...chosen, axis, state.smooth > 1 ? `smoothed over ${state.smooth} points` : "", `shown: ${names.join(", ") || "nothing"}`].filter(Boolean).join("; ")}`;
    show();
  }
  const set = (change) => (value) => { change(value); draw(); };

  const above = make("div", { className: "controls" });
  (data.choices ?? []).forEach((choice, i) => above.append(options(choice, `${figure.id}-${i}`, set((option) => (state.at[i] = option)))));
  if (!bars) above.append(toggle("checkbox", "log", "logarithmic", state.log, set((on) => (state.log = on))));
  else above.append(toggle("checkbox", "share", "as shares", false, set((on) => (state.share = on))));
  if (data.smooth) {
    const widths = { name: "smoothing", options: ["none", "5 points", "11 points", "31 points"] };
    above.append(options(widths, "", set((option) => (state.smooth = [1, 5, 11, 31][option]))));
  }
  const legend = make("fieldset", { className: "legend" }, make("legend", {}, lines ? "lines" : "optimizers"));
  data.lines.forEach((line, i) => legend.append(toggle("checkbox", line.name, make("span", {}, ...(bars ? [] : [swatch(line, data.kind)]), line.name), true, set((on) => (state.shown[i] = on)))));
  const parts = make("p", { className: "parts" }, ...(data.parts ?? []).map((part) => make("span", {}, swatch(part, "bars"), part.name)), ...(data.shapes ?? []).map((name, i) => make("span", {}, shape("svg", { class: "swatch-line", width: 16, height: 14, viewBox: "-8 -7 16 14", "aria-hidden": "true" }, glyph(i)), name)));
  const save = make("button", { type: "button", className: "data" }, "data (CSV)");
  save.addEventListener("click", () => download(`${figure.id.replace("figure-", "")}.csv`, csv(table(data))));

  const stage = make("div", { className: "stage" });
  svg.replaceWith(stage);
  stage.append(svg);
  stage.before(above);
  const reader = make("label", { className: "reader" }, make("span", {}, "read at"), slider);
  const below = bars ? [parts, legend] : [...(lines ? [] : [parts]), legend, reader, output];
  stage.after(...below);
  figure.append(save);

  const at = (place) => { state.place = place === null ? null : Math.min(1, Math.max(0, place)); show(); };
  slider.addEventListener("input", () => at(slider.value / 1000));
  if (!bars) svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect(), left = (58 / svg.viewBox.baseVal.width) * box.width, right = (14 / svg.viewBox.baseVal.width) * box.width;
    at((event.clientX - box.left - left) / (box.width - left - right));
    slider.value = 1000 * state.place;
  });
  let width = 0;
  new ResizeObserver(() => { if (stage.clientWidth !== width) { width = stage.clientWidth; draw(); } }).observe(stage);
  width = stage.clientWidth;
  draw();
}

function scheme() {
  const button = document.getElementById("theme"), root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.style.colorScheme ? root.style.colorScheme === "dark" : system.matches);
  const name = () => { button.textContent = dark() ? "Light page" : "Dark page"; };
  button.addEventListener("click", () => { root.style.colorScheme = dark() ? "light" : "dark"; name(); });
  system.addEventListener("change", name);
  button.hidden = false;
  name();
}

// The contents mark the section that is being read.
function follow() {
  const links = [...document.querySelectorAll("nav a")];
  const headings = links.map((link) => document.getElementById(link.hash.slice(1)));
  let due = false;
  const mark = () => {
    const passed = headings.filter((heading) => heading.getBoundingClientRect().top < 0.3 * innerHeight).length;
    links.forEach((link, i) => (i === passed - 1 ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current")));
    due = false;
  };
  addEventListener("scroll", () => { if (!due) { due = true; requestAnimationFrame(mark); } }, { passive: true });
  mark();
}

scheme();
follow();
document.querySelectorAll("figure.chart").forEach(start);
document.documentElement.dataset.ready = "";
