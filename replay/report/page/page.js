"use strict";
// Draws the pictures and, when they are opened, their tables. The data lies in the page.
(() => {
  const page = JSON.parse(document.getElementById("replay").textContent);
  const records = ({columns, rows}) =>
    rows.map(row => Object.fromEntries(columns.map((column, at) => [column, row[at]])));
  const datasets = Object.fromEntries(
    Object.entries(page.data).map(([name, data]) => [name, records(data)]));

  // The caption is the picture's text: what Vega says of each mark would be read out one by one.
  const silence = svg => {
    svg.setAttribute("aria-hidden", "true");
    for (const element of [svg, ...svg.querySelectorAll("[role]")])
      for (const name of ["role", "aria-roledescription", "aria-label"]) element.removeAttribute(name);
  };
  const views = new Map();
  const draw = place => {
    const spec = {...page.specs[place.dataset.view], config: page.config};
    spec.datasets = {[spec.data.name]: datasets[spec.data.name]};
    const options = {actions: false, ast: true, renderer: "svg", mode: "vega-lite", logLevel: 1,
      defaultStyle: false, tooltip: {disableDefaultStyle: true}};
    return vegaEmbed(place, spec, options)
      .then(({view}) => {
        views.set(place, view);
        silence(place.querySelector("svg"));
      })
      .catch(error => {
        const why = String(error.message).slice(0, 120);  // Vega-Lite puts all data into it
        console.error(place.dataset.view, why);
        place.textContent = `This picture could not be drawn: ${why}`;
      });
  };
  Promise.all([...document.querySelectorAll(".vis[data-view]")].map(draw))
    .then(() => { document.documentElement.dataset.drawn = "yes"; });

  // Pictures are drawn anew for paper: shrunk to it, their words would be too small to read.
  const fit = paper => {
    document.documentElement.classList.toggle("paper", paper);
    for (const [place, view] of views) view.width(place.clientWidth).run();
  };
  addEventListener("beforeprint", () => fit(true));
  addEventListener("afterprint", () => fit(false));

  const shown = value =>
    value === null ? "" : typeof value === "number" ? value.toLocaleString("en", {maximumFractionDigits: 4}) : String(value);
  const fill = place => {
    const {columns, rows} = page.data[place.dataset.table];
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    const isText = columns.map((_, at) => rows.some(row => typeof row[at] === "string"));
    columns.forEach((column, at) => {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = column;
      if (isText[at]) cell.className = "text";
      head.append(cell);
    });
    const body = table.createTBody();
    for (const row of rows) {
      const line = body.insertRow();
      row.forEach((value, at) => {
        const cell = line.insertCell();
        cell.textContent = shown(value);
        if (isText[at]) cell.className = "text";
      });
    }
    place.append(table);
  };
  for (const details of document.querySelectorAll("details.data"))
    details.addEventListener("toggle", () => {
      for (const place of details.querySelectorAll("[data-table]"))
        if (details.open && !place.firstChild) fill(place);
    });
})();
