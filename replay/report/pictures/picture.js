"use strict";
// Draws the views and, when they are opened, their tables. The data lies in the page.
(() => {
  const {tables, views, config} = JSON.parse(document.getElementById("picture").textContent);
  const records = ({columns, rows}) =>
    rows.map(row => Object.fromEntries(columns.map((column, at) => [column, row[at]])));
  const datasets = Object.fromEntries(
    Object.entries(tables).map(([name, table]) => [name, records(table)]));

  // The finding is the picture's text: what Vega says of each mark would be read out one by one.
  const silence = svg => {
    svg.setAttribute("aria-hidden", "true");
    for (const element of [svg, ...svg.querySelectorAll("[role]")])
      for (const name of ["role", "aria-roledescription", "aria-label"]) element.removeAttribute(name);
  };
  const options = {actions: false, ast: true, renderer: "svg", mode: "vega-lite", logLevel: 1,
    defaultStyle: false, tooltip: {disableDefaultStyle: true}};
  const draw = place =>
    vegaEmbed(place, {...views[place.dataset.view], width: "container", datasets, config,
      autosize: {type: "fit-x", contains: "padding"}}, options)
      .then(() => silence(place.querySelector("svg")))
      .catch(error => {
        const why = String(error.message).slice(0, 120);  // Vega-Lite puts all data into it
        console.error(why);
        place.textContent = `This picture could not be drawn: ${why}`;
      });
  Promise.all([...document.querySelectorAll(".vis")].map(draw))
    .then(() => { document.documentElement.dataset.drawn = "yes"; });

  const shown = value => value === null ? ""
    : typeof value === "number" ? value.toLocaleString("en", {maximumFractionDigits: 4}) : String(value);
  const line = (section, values, tag, text) => {
    const row = section.insertRow();
    values.forEach((value, at) => {
      const cell = document.createElement(tag);
      if (tag === "th") cell.scope = "col";
      cell.textContent = shown(value);
      if (text[at]) cell.className = "text";
      row.append(cell);
    });
  };
  const fill = place => {
    const {columns, rows} = tables[place.dataset.table];
    const text = columns.map((_, at) => rows.some(row => typeof row[at] === "string"));
    const table = document.createElement("table");
    line(table.createTHead(), columns, "th", text);
    const body = table.createTBody();
    for (const row of rows) line(body, row, "td", text);
    place.append(table);
  };
  for (const details of document.querySelectorAll("details"))
    details.addEventListener("toggle", () => {
      const place = details.querySelector("[data-table]");
      if (details.open && !place.firstChild) fill(place);
    });
})();
