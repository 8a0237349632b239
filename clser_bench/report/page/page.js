"use strict";
// Draws one condition at a time from the JSON in the page. Texts of others are only ever set as
// text, never as markup. The fragment (#condition/method/pair) names what is shown.
const data = JSON.parse(document.getElementById("data").textContent);
const find = (id) => document.getElementById(id);
const state = { condition: data.conditions[0], sort: "mean", down: true };

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const number = (value, digits = 1) => (value === null || value === undefined ? "–" : value.toFixed(digits));
const signed = (value) => {
  if (value === null || value === undefined) return "–";
  const text = value.toFixed(1);
  if (Number(text) === 0) return "0.0"; // not -0.0
  return value > 0 ? `+${text}` : text;
};
const ends = (low, high, write) => (low === null || low === undefined ? "" : ` [${write(low)}, ${write(high)}]`);

// ---- the condition ----------------------------------------------------------------------------

function fillConditions() {
  const form = find("conditions");
  const names = Object.keys(data.conditions[0].rules);
  for (const name of names) {
    const values = [...new Set(data.conditions.map((one) => one.rules[name]))];
    if (values.length < 2) continue;
    const select = make("select", { name, onchange: () => choose(name) });
    for (const value of values) select.append(make("option", { value }, value || "none"));
    form.append(make("label", {}, data.labels[name] || name, select));
  }
  form.addEventListener("submit", (event) => event.preventDefault());
}

// The condition with the chosen value that keeps as many other values as possible.
function choose(changed) {
  const wanted = Object.fromEntries([...new FormData(find("conditions"))]);
  const fits = (one) => Object.entries(wanted).filter(([name, value]) => one.rules[name] === value).length;
  const possible = data.conditions.filter((one) => one.rules[changed] === wanted[changed]);
  show(possible.reduce((best, one) => (fits(one) > fits(best) ? one : best)));
  setFragment([state.condition.key]);
}

function show(condition) {
  state.condition = condition;
  for (const select of find("conditions").querySelectorAll("select")) select.value = condition.rules[select.name];
  find("table-title").textContent = condition.title;
  const about = condition.warnings.map((line) => make("p", { class: "warning" }, line));
  find("about").replaceChildren(...about, ...condition.header.map((line) => make("p", {}, line)));
  find("notes").replaceChildren(...condition.notes.map((note) => make("li", {}, note)));
  drawTable();
  drawForest();
  drawMethods();
}

// ---- the table --------------------------------------------------------------------------------

function columns() {
  const fixed = [
    ["method", "method", (row) => row.title],
    ["mean", "mean [95 %]", (row) => row.mean],
    ["difference", state.condition.reference ? `vs ${state.condition.reference}` : "difference", (row) => row.difference],
    ["rank", "rank", (row) => (row.rank ? row.rank[0] : null)],
    ["n", "n", (row) => row.n],
  ];
  return fixed.concat(state.condition.pairs.map((pair, at) => [pair, pair, (row) => row.cells[at].mean]));
}

function sorted(rows) {
  const value = columns().find(([key]) => key === state.sort)?.[2] ?? ((row) => row.mean);
  const order = state.down ? -1 : 1;
  return [...rows].sort((one, other) => {
    const [a, b] = [value(one), value(other)];
    if (a === null || b === null) return (a === null) - (b === null);
    return order * (typeof a === "string" ? a.localeCompare(b) : a - b);
  });
}

function drawTable() {
  const { condition } = state;
  const wanted = find("filter").value.trim().toLowerCase();
  const fits = (row) => `${row.title} ${row.method}`.toLowerCase().includes(wanted);
  const ranked = sorted(condition.methods.filter((row) => row.role === "ranked" && fits(row)));
  const aside = sorted(condition.methods.filter((row) => row.role !== "ranked" && fits(row)));
  const head = make("tr");
  for (const [key, label] of columns()) {
    const direction = key === state.sort ? (state.down ? "descending" : "ascending") : undefined;
    const sort = () => {
      state.down = state.sort === key ? !state.down : key !== "method";
      state.sort = key;
      drawTable();
      find("table").querySelector(`[data-key="${CSS.escape(key)}"]`).focus();
    };
    head.append(make("th", { scope: "col", "aria-sort": direction },
      make("button", { type: "button", "data-key": key, onclick: sort }, label)));
  }
  find("table").replaceChildren(
    make("thead", {}, head),
    make("tbody", {}, ...ranked.map(drawRow)),
    make("tbody", { class: "aside" }, ...aside.map(drawRow)),
  );
  find("count").textContent = `${ranked.length + aside.length} of ${condition.methods.length} methods`;
}

function drawRow(row) {
  const marks = row.marks.map(([letter, meaning]) => make("abbr", { class: "mark", title: meaning }, letter));
  const name = make("th", { scope: "row", title: row.title }, row.title, ...marks);
  const verdict = ["better", "worse"].includes(row.verdict) ? row.verdict : "";
  const difference = row.difference === null
    ? (row.method === state.condition.reference ? "reference" : "–")
    : `${signed(row.difference)}${ends(row.difference_low, row.difference_high, signed)}`;
  const line = make("tr", {}, name,
    make("td", {}, `${number(row.mean)}${ends(row.low, row.high, number)}`),
    make("td", { class: verdict, title: row.verdict }, difference),
    make("td", {}, row.rank ? (row.rank[0] === row.rank[1] ? `${row.rank[0]}` : `${row.rank[0]}–${row.rank[1]}`) : ""),
    make("td", {}, row.n ? `${row.n}` : ""));
  row.cells.forEach((cell, at) => line.append(drawCell(row, cell, at)));
  return line;
}

function drawCell(row, cell, at) {
  const pair = state.condition.pairs[at];
  if (row.computed) return make("td", {}, number(cell.mean));
  const label = cell.mean === null ? "–" : number(cell.mean);
  const open = make("button", {
    type: "button",
    "aria-label": `${row.title}, ${pair}: ${cell.mean === null ? cell.status : label}`,
    onclick: () => { setFragment([state.condition.key, row.method, pair]); openCell(row, at); },
  }, label);
  const box = make("td", { class: cell.mean === null ? "missing" : undefined }, open);
  const [share, side] = colour(row, cell, at);
  if (share > 0) {
    box.dataset.share = side;
    box.style.setProperty("--share", share);
  }
  return box;
}

// Percent of the colour, and its side: ten points of UAR below or above the reference are full.
function colour(row, cell, at) {
  const how = find("colours").value;
  if (cell.mean === null || how === "none" || row.role !== "ranked") return [0, ""];
  if (how === "uar") {
    const all = state.condition.methods.filter((one) => one.role === "ranked").flatMap((one) => one.cells.map((c) => c.mean)).filter((m) => m !== null);
    const [low, high] = [Math.min(...all), Math.max(...all)];
    return [high > low ? Math.round((100 * (cell.mean - low)) / (high - low)) : 0, "more"];
  }
  const reference = state.condition.methods.find((one) => one.method === state.condition.reference);
  const base = reference?.cells[at].mean ?? null;
  if (base === null || reference === row) return [0, ""];
  const gap = cell.mean - base;
  return [Math.round(Math.min(1, Math.abs(gap) / 10) * 100), gap < 0 ? "less" : "more"];
}

// ---- one cell ---------------------------------------------------------------------------------

function openCell(row, at) {
  const { condition } = state;
  const [cell, pair] = [row.cells[at], condition.pairs[at]];
  find("cell-title").textContent = `${row.title}, ${pair}`;
  const body = [];
  if (cell.mean === null) body.push(make("p", {}, `No result (${cell.status.replace("_", " ")}): ${cell.reason}`));
  else {
    const spread = cell.std === null ? "" : ` ± ${number(cell.std)}`;
    body.push(make("p", {}, `UAR ${number(cell.mean)}${spread}, n = ${cell.n}; by draw: ${cell.draws.map((uar) => number(uar)).join(", ")}`));
  }
  if (cell.confusion) body.push(drawConfusion(condition.classes[at], cell.confusion));
  if (cell.parameters) body.push(make("p", {}, "Hyper-parameters: ", make("code", {}, cell.parameters)));
  find("cell-body").replaceChildren(...body);
  if (!find("cell").open) find("cell").showModal();
  find("cell-title").focus();
}

function drawConfusion(classes, counts) {
  const head = make("tr", {}, make("th", { scope: "col" }, "true \\ predicted"), ...classes.map((name) => make("th", { scope: "col" }, name)));
  const rows = classes.map((name, at) => {
    const row = counts.slice(at * classes.length, (at + 1) * classes.length);
    const sum = row.reduce((a, b) => a + b, 0);
    return make("tr", {}, make("th", { scope: "row" }, name), ...row.map((count) => {
      const share = sum ? Math.round((100 * count) / sum) : 0;
      const box = make("td", { "data-share": "more", title: `${count} of ${sum}` }, `${share}`);
      box.style.setProperty("--share", share);
      return box;
    }));
  });
  return make("div", { class: "scroll" }, make("table", {},
    make("caption", { class: "quiet" }, "Percent of each true class, over all draws"),
    make("thead", {}, head), make("tbody", {}, ...rows)));
}

// ---- the forest of differences ----------------------------------------------------------------

function svg(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function drawForest() {
  const { condition } = state;
  const rows = condition.methods
    .filter((row) => row.role === "ranked" && row.difference !== null)
    .sort((one, other) => other.difference - one.difference);
  if (!rows.length) {
    find("forest").replaceChildren(make("p", {}, "No differences: the reference has not been run on every pair."));
    return;
  }
  const values = rows.flatMap((row) => [row.difference, row.difference_low ?? 0, row.difference_high ?? 0, 0]);
  const [low, high] = [Math.floor(Math.min(...values) - 0.5), Math.ceil(Math.max(...values) + 0.5)];
  const room = find("forest").clientWidth || 750; // narrower on a phone, so that letters keep their size
  const left = Math.min(210, Math.round(0.4 * room));
  const [width, step, letters] = [Math.min(520, room - left - 20), 18, Math.round(left / 7)];
  const x = (value) => left + (width * (value - low)) / (high - low);
  const height = step * rows.length + 30;
  const parts = [svg("line", { x1: x(0), x2: x(0), y1: 0, y2: height - 24, stroke: "var(--quiet)" })];
  const every = [1, 2, 5, 10, 20, 50].find((size) => (high - low) / size <= width / 43) || 100;
  for (let tick = Math.ceil(low / every) * every; tick <= high; tick += every) {
    parts.push(svg("text", { x: x(tick), y: height - 6, "text-anchor": "middle", class: "quiet" }, signed(tick).replace(".0", "")));
  }
  rows.forEach((row, at) => {
    const y = step * at + 10;
    const ink = row.verdict === "better" ? "var(--better)" : row.verdict === "worse" ? "var(--worse)" : "var(--quiet)";
    parts.push(svg("text", { x: left - 8, y: y + 4, "text-anchor": "end" }, row.title.length > letters ? `${row.title.slice(0, letters - 1)}…` : row.title));
    if (row.difference_low !== null) parts.push(svg("line", { x1: x(row.difference_low), x2: x(row.difference_high), y1: y, y2: y, stroke: ink, "stroke-width": 2 }));
    parts.push(svg("circle", { cx: x(row.difference), cy: y, r: 4, stroke: ink, fill: ["better", "worse"].includes(row.verdict) ? ink : "var(--page)" }));
  });
  const label = `Differences to ${condition.reference} in points of UAR with simultaneous 95 % intervals`;
  find("forest").replaceChildren(
    svg("svg", { viewBox: `0 0 ${left + width + 20} ${height}`, width: left + width + 20, role: "img", "aria-label": label }, ...parts),
    make("figcaption", {}, `${label}; filled: separable.`),
  );
}

// ---- methods ----------------------------------------------------------------------------------

function drawMethods() {
  const names = new Set(state.condition.methods.map((row) => row.method));
  find("methods").replaceChildren(...data.methods.filter((card) => names.has(card.name)).map((card) => {
    const lines = [["Reference", card.reference], ["Departures", card.departures], ["Uses", card.uses], ["Class prior", card.prior], ["Note", card.note]];
    return make("article", {}, make("h3", {}, card.title || card.name), make("p", {}, card.summary),
      ...lines.filter(([, text]) => text).map(([name, text]) => make("p", { class: "quiet" }, `${name}: ${text}`)));
  }));
}

// ---- download and links -----------------------------------------------------------------------

function download() {
  const { condition } = state;
  const rules = Object.entries(condition.rules);
  // a leading =, +, - or @ would be a formula in a spreadsheet
  const quote = (value) => {
    const text = value === null || value === undefined ? "" : `${value}`;
    return `"${(typeof value === "string" && /^[=+\-@]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
  };
  const lines = [[...rules.map(([name]) => name), "standing", "method", "role", "pair", "n", "mean", "std", "low", "high", "difference", "difference_low", "difference_high", "verdict", "status", "reason"]];
  for (const row of condition.methods) {
    const first = [...rules.map(([, value]) => value), condition.standing, row.method, row.role];
    row.cells.forEach((cell, at) => lines.push([...first, condition.pairs[at], cell.n, cell.mean, cell.std, null, null, null, null, null, null, cell.status, cell.reason]));
    lines.push([...first, "mean", row.n, row.mean, row.std, row.low, row.high, row.difference, row.difference_low, row.difference_high, row.verdict, "", ""]);
  }
  const link = make("a", { download: `${condition.key.replace(/[^A-Za-z0-9-]+/g, "-")}.csv` });
  link.href = URL.createObjectURL(new Blob([lines.map((line) => line.map(quote).join(",")).join("\r\n")], { type: "text/csv" }));
  link.click();
  URL.revokeObjectURL(link.href);
}

function setFragment(parts) {
  history.replaceState(null, "", `#${parts.map(encodeURIComponent).join("/")}`);
}

function followFragment() {
  let parts = [];
  try {
    parts = location.hash.slice(1).split("/").map(decodeURIComponent);
  } catch { /* a fragment that is no link of this page */ }
  const condition = data.conditions.find((one) => one.key === parts[0]) || state.condition;
  show(condition);
  const row = condition.methods.find((one) => one.method === parts[1]);
  const at = condition.pairs.indexOf(parts[2]);
  if (row && at >= 0 && !row.computed) openCell(row, at);
}

find("filter").addEventListener("input", drawTable);
find("colours").addEventListener("change", drawTable);
find("download").addEventListener("click", download);
find("close").addEventListener("click", () => find("cell").close());
find("cell").addEventListener("close", () => setFragment([state.condition.key]));
window.addEventListener("hashchange", followFragment);
window.addEventListener("resize", drawForest);
fillConditions();
followFragment();
