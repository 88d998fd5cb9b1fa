"use strict";

// ---- theme: chosen on the page, else the system's

const root = document.documentElement;
const systemDark = matchMedia("(prefers-color-scheme: dark)");

function remember(theme) {
  try {
    localStorage.setItem("latentbench-theme", theme);
  } catch {
    // A browser that keeps nothing for files: the choice lasts as long as the page.
  }
}

function remembered() {
  try {
    return localStorage.getItem("latentbench-theme");
  } catch {
    return null;
  }
}

const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : systemDark.matches);

const before = remembered();
if (before === "dark" || before === "light") root.dataset.theme = before; // before the page is painted

function themeChanged() {
  document.getElementById("theme").textContent = isDark() ? "Light theme" : "Dark theme";
  drawn.forEach(draw);
}

// ---- the table of searches

function searchTable(table) {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  const rows = [...body.rows];
  const texts = rows.map((row) => row.textContent.toLowerCase());

  function key(row, column, isNumber) {
    const cell = row.cells[column];
    return isNumber ? parseFloat(cell.dataset.value) : cell.textContent.trim();
  }

  function sort(column) {
    const heading = headings[column];
    const sign = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    const isNumber = heading.classList.contains("number");
    const keys = new Map(rows.map((row) => [row, key(row, column, isNumber)]));
    const missing = (value) => (isNumber ? Number.isNaN(value) : value === "");
    const compare = isNumber ? (a, b) => a - b : new Intl.Collator("en", { numeric: true }).compare;
    const sorted = [...rows].sort((one, other) => {
      const a = keys.get(one);
      const b = keys.get(other);
      return missing(a) || missing(b) ? missing(a) - missing(b) : sign * compare(a, b);
    });
    body.append(...sorted);
    headings.forEach((each) => each.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  }

  headings.forEach((heading, column) => heading.firstElementChild.addEventListener("click", () => sort(column)));

  const words = document.getElementById("filter-text");
  const choices = [...document.querySelectorAll("select[data-column]")];
  const count = document.getElementById("filter-count");

  function filter() {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, i) => {
      const chosen = choices.every((c) => !c.value || row.cells[c.dataset.column].dataset.value === c.value);
      row.hidden = !(chosen && wanted.every((word) => texts[i].includes(word)));
      shown += !row.hidden;
    });
    count.textContent = `${shown} of ${rows.length} searches`;
  }

  words.addEventListener("input", filter);
  choices.forEach((choice) => choice.addEventListener("change", filter));
  filter(); // a reloaded page may keep what was typed
}

// ---- plots: drawn when they come near the screen, in the colours of the theme

const drawn = new Set();
const CONFIG = {
  responsive: true,
  displaylogo: false,
  // These alone: plotly.js has a button by default that uploads what is plotted.
  modeBarButtons: [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
};

function read(figure) {
  figure.plotted ??= JSON.parse(figure.querySelector("script[type='application/json']").textContent);
  const { shown, layout } = figure.plotted.choices[figure.querySelector("select")?.value ?? 0];
  return { data: shown.map((place) => figure.plotted.traces[place]), layout };
}

function coloured(trace, background) {
  const color = isDark() ? trace.meta.dark : trace.meta.light;
  const part = (name, more) => (trace[name] ? { [name]: { ...trace[name], color, ...more } } : {});
  const outline = { line: { ...trace.marker?.line, color: background } };
  return { ...trace, ...part("line"), ...part("marker", outline), ...part("error_x"), ...(trace.fill && { fillcolor: `${color}26` }) };
}

function draw(figure) {
  const place = figure.querySelector(".plot");
  const { data, layout } = read(figure);
  const style = getComputedStyle(place);
  const axes = Object.keys(layout).filter((name) => /^[xy]axis/.test(name));
  const lines = { gridcolor: style.borderTopColor, linecolor: style.color, zerolinecolor: style.borderTopColor };
  const themed = Object.fromEntries(axes.map((name) => [name, { ...layout[name], ...lines }]));
  // A finger that moves over the plot scrolls the page instead of zooming.
  const dragmode = matchMedia("(pointer: coarse)").matches ? false : "zoom";
  drawn.add(figure);
  return Plotly.react(
    place,
    data.map((trace) => coloured(trace, style.backgroundColor)),
    {
      ...layout,
      ...themed,
      dragmode,
      font: { ...layout.font, color: style.color },
      paper_bgcolor: style.backgroundColor,
      plot_bgcolor: style.backgroundColor,
      hoverlabel: { ...layout.hoverlabel, bgcolor: style.backgroundColor, bordercolor: style.color },
    },
    CONFIG,
  );
}

function plots(figures) {
  const near = new IntersectionObserver(
    (entries) =>
      entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
        near.unobserve(entry.target);
        draw(entry.target);
      }),
    { rootMargin: "400px" },
  );
  figures.forEach((figure) => {
    near.observe(figure);
    figure.querySelector("select")?.addEventListener("change", () => draw(figure));
  });
  addEventListener("beforeprint", () => figures.forEach(draw));
}

document.addEventListener("DOMContentLoaded", () => {
  document.getElementById("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remember(root.dataset.theme);
    themeChanged();
  });
  systemDark.addEventListener("change", themeChanged);
  themeChanged();
  searchTable(document.getElementById("searches-table"));
  plots([...document.querySelectorAll("figure.interactive")]);
});
