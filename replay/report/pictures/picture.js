"use strict";
const WIDE = 660, LEFT = 60;  // pixels that legends are laid out for, and those of the axis
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
  // Columns of a legend are those that a wide page has room for.
  const narrow = (part, share) => {
    if (Array.isArray(part)) return part.map(one => narrow(one, share));
    if (part === null || typeof part !== "object") return part;
    return Object.fromEntries(Object.entries(part).map(([name, value]) => [name,
      name === "legend" && value && value.columns
        ? {...value, columns: Math.max(Math.floor(value.columns * share), 1)}
        : narrow(value, share)]));
  };
  const fitted = place =>
    narrow(views[place.dataset.view], Math.min((place.clientWidth - LEFT) / WIDE, 1));
  const drawn = new Map();  // each place's width, and what clears it away
  const draw = place => {
    drawn.get(place)?.clear?.();
    drawn.set(place, {width: place.clientWidth});
    return vegaEmbed(place, {...fitted(place), width: "container", datasets, config,
      autosize: {type: "fit-x", contains: "padding"}}, options)
      .then(({finalize}) => {
        drawn.get(place).clear = finalize;
        silence(place.querySelector("svg"));
      })
      .catch(error => {
        const why = String(error.message).slice(0, 120);  // Vega-Lite puts all data into it
        console.error(why);
        place.textContent = `This picture could not be drawn: ${why}`;
      });
  };
  const places = [...document.querySelectorAll(".vis")];
  Promise.all(places.map(draw))
    .then(() => { document.documentElement.dataset.drawn = "yes"; });
  let waiting;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      for (const place of places) if (place.clientWidth !== drawn.get(place).width) draw(place);
    }, 150);
  });

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
