// Copyright (c) 2026, the sessionops.policy authors
// GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
"use strict";
// Everything from a host becomes text by textContent: nothing here parses markup.

const PER_PAGE = 100;
const data = JSON.parse(document.getElementById("data").textContent);

function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function duration(seconds) {
  if (seconds === null || seconds === undefined) return "?";
  const units = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) return "0s";
  const [unit, size] = units[first];
  const rest = units[first + 1];
  const more = rest ? Math.floor((seconds % size) / rest[1]) : 0;
  return Math.floor(seconds / size) + unit + (more ? more + rest[0] : "");
}

// What a person can read of a cell; sorting is by the value itself, and what is not known comes last.
const texts = (values) => values.join(", ");
function shown(column, value) {
  if (column.text) return column.text(value);
  return value === null || value === undefined ? "" : String(value);
}

function compare(a, b) {
  const none = (value) => value === null || value === undefined || value === "" || value.length === 0;
  if (none(a) || none(b)) return none(a) - none(b);
  if (typeof a === "number" && typeof b === "number") return a - b;
  return collator.compare(Array.isArray(a) ? texts(a) : a, Array.isArray(b) ? texts(b) : b);
}
const collator = new Intl.Collator("en", {numeric: true});

function idleBar(most) {
  // Idle times span from seconds to weeks: the bar's length is logarithmic.
  return (cell, value, row) => {
    cell.append(duration(value));
    if (value === null) return;
    const bar = make("span", {class: row[10].includes("over the timeout") ? "idle over" : "idle", "aria-hidden": "true"});
    bar.style.width = `${Math.max(2, 100 * Math.log1p(value) / Math.log1p(most))}%`;
    cell.append(make("span", {class: "track", "aria-hidden": "true"}, bar));
  };
}

function chips(cell, values) {
  for (const value of values) cell.append(make("span", {class: "chip"}, value), " ");
}

function table(place, caption, columns, rows, controls) {
  const state = {column: null, falling: false, page: 0};
  const search = rows.map((row) => columns.map((column, at) => shown(column, row[at])).join(" ").toLowerCase());
  let order = rows.map((_, at) => at);
  let found = order;

  const find = make("input", {type: "search", autocomplete: "off"});
  const bar = make("div", {class: "controls"}, make("label", {}, `Find ${caption} `, find));
  const filters = controls.map((control) => {
    const select = make("select");
    select.append(make("option", {value: ""}, "all"));
    for (const [name] of control.choices) select.append(make("option", {value: name}, name));
    bar.append(make("label", {}, `${control.label} `, select));
    return () => (control.choices.find(([name]) => name === select.value) || [])[1];
  });
  const status = make("p", {role: "status"});
  const head = make("tr", {role: "row"});
  const body = make("tbody", {role: "rowgroup"});
  const heads = columns.map((column, at) => {
    const button = make("button", {type: "button"}, column.name);
    const cell = make("th", {scope: "col", role: "columnheader", "aria-sort": "none"}, button);
    button.addEventListener("click", () => sort(at));
    head.append(cell);
    return cell;
  });
  const element = make("table", {class: "cards", role: "table", "aria-label": caption},
    make("thead", {role: "rowgroup"}, head), body);
  const back = make("button", {type: "button"}, "Previous");
  const on = make("button", {type: "button"}, "Next");
  const where = make("span");
  const pager = make("nav", {class: "pager", "aria-label": `Pages of ${caption}`}, back, where, on);
  back.addEventListener("click", () => { state.page -= 1; draw(); });
  on.addEventListener("click", () => { state.page += 1; draw(); });
  bar.addEventListener("input", () => { state.page = 0; filter(); });
  place.replaceChildren(bar, status, element, pager);

  function sort(at) {
    state.falling = state.column === at ? !state.falling : Boolean(columns[at].falling);
    state.column = at;
    const sign = state.falling ? -1 : 1;
    const empty = (value) => value === null || value === "" || value.length === 0;
    order = rows.map((_, row) => row).sort((a, b) => {
      const [one, other] = [rows[a][at], rows[b][at]];
      return (empty(one) || empty(other) ? compare(one, other) : sign * compare(one, other)) || a - b;
    });
    heads.forEach((cell, index) => cell.setAttribute("aria-sort",
      index === at ? (state.falling ? "descending" : "ascending") : "none"));
    state.page = 0;
    filter();
  }

  function filter() {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const tests = filters.map((test) => test()).filter(Boolean);
    found = order.filter((at) => words.every((word) => search[at].includes(word)) && tests.every((test) => test(rows[at])));
    draw();
  }

  function draw(all) {
    const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
    state.page = Math.min(state.page, pages - 1);
    const from = all ? 0 : state.page * PER_PAGE;
    const part = all ? found : found.slice(from, from + PER_PAGE);
    body.replaceChildren(...part.map((at) => {
      const line = make("tr", {role: "row"});
      columns.forEach((column, index) => {
        const value = rows[at][index];
        const cell = index ? make("td", {role: "cell"}) : make("th", {scope: "row", role: "rowheader"});
        cell.dataset.label = column.name;
        if (column.width) cell.className = column.width;
        if (column.draw) column.draw(cell, value, rows[at]);
        else cell.textContent = shown(column, value);
        if (!cell.textContent) cell.classList.add("empty");
        line.append(cell);
      });
      return line;
    }));
    status.textContent = `${found.length} of ${rows.length} ${caption}`;
    where.textContent = `${state.page + 1} of ${pages}`;
    back.disabled = state.page === 0;
    on.disabled = state.page === pages - 1;
    pager.hidden = pages === 1;
  }

  addEventListener("beforeprint", () => draw(true));
  addEventListener("afterprint", () => draw());
  draw();
}

function kinds(rows, at, name) {
  const values = [...new Set(rows.map((row) => row[at]).filter(Boolean))].sort(collator.compare);
  return {label: name, choices: values.map((value) => [value, (row) => row[at] === value])};
}

const sessions = data.sessions;
table(document.getElementById("session-table"), "sessions", [
  {name: "Host", width: "long"},
  {name: "User", width: "long"},
  {name: "Kind"},
  {name: "From"},
  {name: "Terminal"},
  {name: "Since", width: "short", text: (value) => (value || "?").slice(0, 16).replace("T", " ")},
  {name: "Age", text: duration, falling: true},
  {name: "Idle", text: duration, falling: true, draw: idleBar(sessions.reduce((most, row) => Math.max(most, row[7] || 0), 1))},
  {name: "In front", width: "long", text: texts, draw: chips},
  {name: "Work", width: "long", text: texts, draw: chips},
  {name: "Verdict", text: texts, draw: chips},
], sessions, [
  kinds(sessions, 2, "Kind"),
  {label: "Show", choices: [
    ["over the timeout", (row) => row[10].includes("over the timeout")],
    ["with work in them", (row) => row[9].length > 0],
    ["idle time not known", (row) => row[7] === null],
  ]},
]);
table(document.getElementById("leftover-table"), "leftovers", [
  {name: "Host", width: "long"}, {name: "Kind"}, {name: "User", width: "long"}, {name: "Command", width: "long"},
  {name: "Path", width: "long"}, {name: "Age", text: duration, falling: true}, {name: "Why", width: "long"},
], data.leftovers, [kinds(data.leftovers, 1, "Kind")]);

const hosts = [...document.querySelectorAll("#hosts tbody tr")].map((row) => [row, row.textContent.toLowerCase()]);
const findHosts = document.getElementById("find-hosts");
const hostStatus = document.getElementById("host-status");
function filterHosts() {
  const word = findHosts.value.toLowerCase();
  for (const [row, text] of hosts) {
    row.hidden = !text.includes(word) || (hostStatus.value !== "" && row.dataset.status !== hostStatus.value);
  }
}
findHosts.addEventListener("input", filterHosts);
hostStatus.addEventListener("input", filterHosts);
