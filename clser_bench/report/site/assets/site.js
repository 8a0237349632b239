"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  /** An element with text and children; nothing is ever parsed as HTML. */
  const make = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children.map((child) => (child instanceof Node ? child : String(child))));
    return made;
  };

  // Theme: as the system has it, light or dark. Storage may be forbidden for files.
  const themes = ["system", "light", "dark"];
  const toggle = document.getElementById("theme");
  const recall = () => {
    try { return localStorage.getItem("clser-bench-theme"); } catch { return null; }
  };
  const wear = (theme) => {
    document.documentElement.dataset.theme = theme;
    toggle.querySelector("span").textContent = theme;
    try { localStorage.setItem("clser-bench-theme", theme); } catch { /* not kept then */ }
  };
  wear(themes.includes(recall()) ? recall() : "system");
  toggle.hidden = false;
  toggle.addEventListener("click", () => {
    const now = themes.indexOf(document.documentElement.dataset.theme);
    wear(themes[(now + 1) % themes.length]);
  });

  // One part of the page at a time: that of the address.
  const views = all(".view");
  const show = () => {
    const named = document.getElementById(location.hash.slice(1));
    const view = named?.closest(".view") ?? views[0];
    for (const other of views) other.hidden = other !== view;
    for (const link of all("nav a")) {
      if (link.hash === `#${view.id}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    if (named?.closest(".view") && named !== view) {
      named.scrollIntoView();
      named.focus({ preventScroll: true });
    } else if (named === view) window.scrollTo(0, 0);
  };
  window.addEventListener("hashchange", show);
  show();

  // Sorting: within each body, so bounds stay first and oracles last; what is empty goes last.
  const text = (row, place) => row.cells[place].dataset.v ?? row.cells[place].textContent.trim();
  const sort = (table, place, numbers, down) => {
    const compare = (one, other) => {
      const [a, b] = [text(one, place), text(other, place)];
      if (a === "" || b === "") return (a === "") - (b === "");
      const order = numbers ? Number(a) - Number(b) : a.localeCompare(b);
      return down ? -order : order;
    };
    for (const body of table.tBodies) body.append(...[...body.rows].sort(compare));
  };
  const sortable = (table) => {
    const heads = all("thead th", table);
    heads.forEach((head, place) => {
      head.querySelector("button")?.addEventListener("click", () => {
        const { order } = head.dataset;
        const before = head.getAttribute("aria-sort");
        const down = before ? before === "ascending" : order === "down";
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        sort(table, place, order !== "text", down);
      });
    });
  };

  // Filtering: by the words of a row before its pairs.
  const filterable = (view, table) => {
    const input = view.querySelector(".tools input");
    const count = view.querySelector(".count");
    const rows = all("tbody tr", table);
    const words = rows.map((row) =>
      all("th, td:not(:has(button))", row).map((cell) => cell.textContent).join(" ").toLowerCase());
    const apply = () => {
      const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      rows.forEach((row, place) => {
        row.hidden = !wanted.every((word) => words[place].includes(word));
      });
      const shown = rows.filter((row) => !row.hidden).length;
      count.textContent = `${shown} of ${rows.length} rows`;
      table.dispatchEvent(new Event("filtered"));
    };
    for (const kind of ["input", "change"]) input.addEventListener(kind, apply);
    apply();
  };

  const colourable = (view, table) => {
    const select = view.querySelector(".tools select");
    const apply = () => {
      table.dataset.colours = select.value;
      for (const legend of all(".legend", view)) legend.hidden = legend.dataset.for !== select.value;
    };
    select.addEventListener("change", apply);
    apply();
  };

  // Cells: one stop for Tab, arrow keys from there.
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  const navigable = (table) => {
    const buttons = all("td button", table);
    const enter = (button) => {
      for (const other of buttons) other.tabIndex = other === button ? 0 : -1;
    };
    const start = () => {
      const stop = buttons.find((button) => button.tabIndex === 0);
      if (!stop || stop.closest("tr").hidden) enter(table.querySelector("tr:not([hidden]) > td button"));
    };
    for (const button of buttons) button.tabIndex = -1;
    start();
    table.addEventListener("filtered", start);
    table.addEventListener("focusin", ({ target }) => { if (buttons.includes(target)) enter(target); });
    table.addEventListener("keydown", (event) => {
      const step = steps[event.key];
      if (!step || !buttons.includes(event.target)) return;
      event.preventDefault();
      const rows = all("tbody tr:not([hidden])", table);
      const cell = event.target.closest("td");
      let row = rows.indexOf(cell.parentElement) + step[0];
      const column = cell.cellIndex + step[1];
      while (rows[row] && !rows[row].querySelector("td button")) row += step[0] || 1;
      rows[row]?.cells[column]?.querySelector("button")?.focus();
    });
  };

  // The dialog of a cell.
  const matrix = (classes, counts) => {
    const size = classes.length;
    const head = make("tr", {}, make("th", { scope: "col" }, "true ╲ predicted"),
      ...classes.map((name) => make("th", { scope: "col" }, name)),
      make("th", { scope: "col" }, "recall"));
    const body = classes.map((name, row) => {
      const own = counts.slice(row * size, (row + 1) * size);
      const total = own.reduce((sum, count) => sum + count, 0);
      const share = (count) => (total ? (100 * count) / total : 0);
      return make("tr", {}, make("th", { scope: "row" }, name),
        ...own.map((count, column) => make("td",
          { class: `h${Math.round(share(count) / 10)}${row === column ? " right" : ""}` }, count)),
        make("td", {}, total ? `${share(own[row]).toFixed(1)} %` : "–"));
    });
    return make("div", { class: "scroll matrix", role: "region", tabindex: "0", "aria-label": "Confusion matrix" },
      make("table", { class: "board", "data-colours": "heat" },
        make("caption", {}, "Utterances, summed over the draws"),
        make("thead", {}, head), make("tbody", {}, ...body)));
  };
  const facts = (pairs) => make("dl", { class: "facts" }, ...pairs.map(([name, value]) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, value))));
  const dialog = document.getElementById("cell");
  const open = (table, row, pair) => {
    const { pairs, rows, protocol } = data.tables[table];
    const { method, version, cells } = rows[row];
    const [classes, seeds, uars, counts, point, keys, status, reason] = cells[pair];
    const names = data.classes[classes];
    const title = make("bdi", {}, method);
    document.getElementById("cell-title").replaceChildren(title, `, ${pairs[pair]}`);
    const parts = [];
    if (status !== "ok" || reason) {
      parts.push(make("p", { class: "warning" }, `No result: ${status}: ${reason}`));
    }
    if (counts.length) parts.push(make("h3", {}, "Confusion matrix"), matrix(names, counts));
    if (uars.length) {
      parts.push(make("h3", {}, `UAR of each draw, % (n = ${uars.length})`), make("ul", { class: "seeds" },
        ...uars.map((uar, place) => make("li", {}, `seed ${data.seeds[seeds][place]}: ${uar.toFixed(2)}`))));
    }
    const settings = data.points[point].map(([name, value]) => `${name}=${value}`).join(", ");
    const [source, target] = data.keys[keys];
    parts.push(make("h3", {}, "Provenance"), facts([
      ["method version", version ?? "no results yet"],
      ["hyper-parameters", settings || "none"],
      ["features, source", source ? `${source}…` : "–"],
      ["features, target", target ? `${target}…` : "–"],
      ["protocol version", protocol],
    ]));
    document.getElementById("cell-body").replaceChildren(...parts);
    dialog.showModal();
    dialog.scrollTop = 0;
    document.getElementById("cell-title").focus();
  };
  document.getElementById("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

  for (const table of all("table[data-table]")) {
    const view = table.closest(".view");
    for (const part of all(".tools, .hint", view)) part.hidden = false;
    sortable(table);
    filterable(view, table);
    colourable(view, table);
    navigable(table);
    table.addEventListener("click", ({ target }) => {
      const cell = target.closest("[data-cell]")?.dataset.cell;
      if (cell) open(Number(table.dataset.table), ...cell.split(" ").map(Number));
    });
  }
})();
