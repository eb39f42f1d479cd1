"use strict";
// Draws the pictures of a page and, when they are opened, fills its tables. The data lies in it.
(() => {
  const WIDE = 660, LEFT = 60;  // pixels that legends are laid out for, and those of the axis
  const LETTER = 0.6;  // how wide it is on average, of its height
  const page = JSON.parse(document.getElementById("content").textContent);
  const records = ({columns, rows}) =>
    rows.map(row => Object.fromEntries(columns.map((column, at) => [column, row[at]])));
  const datasets = Object.fromEntries(
    Object.entries(page.data).map(([name, data]) => [name, records(data)]));

  // Of all parts of a spec, those that a function finds something in.
  const find = (part, found) => part === null || typeof part !== "object" ? []
    : [...found(part), ...Object.values(part).flatMap(one => find(one, found))];
  const named = spec => find(spec, part => part.data?.name ? [part.data.name] : []);
  const legends = spec => find(spec, part => part.legend?.columns ? [part.legend] : []);

  // A title breaks where its place ends: Vega would cut it off, or draw less wide for it.
  const broken = (text, most) => text.split(" ").reduce((lines, word) => {
    const longer = lines.length ? `${lines.at(-1)} ${word}` : word;
    return lines.length && longer.length > most ? [...lines, word] : [...lines.slice(0, -1), longer];
  }, []);
  const titled = (title, width) => {
    const {text, ...others} = typeof title === "object" ? title : {text: title};
    const lines = broken(text, width / (LETTER * (others.fontSize ?? page.config.title?.fontSize ?? 13)));
    return {...others, text: lines.length > 1 ? lines : text};
  };
  // Columns of a legend are those that a wide page has room for.
  const fitted = place => {
    const spec = structuredClone(page.specs[place.dataset.view]);
    const share = Math.min((place.clientWidth - LEFT) / WIDE, 1);
    for (const legend of legends(spec)) legend.columns = Math.max(Math.floor(legend.columns * share), 1);
    if (spec.title) spec.title = titled(spec.title, place.clientWidth);
    return {...spec, config: page.config,
      datasets: Object.fromEntries(named(spec).map(name => [name, datasets[name]]))};
  };
  // What is said above a picture is its text: what Vega says of each mark would be read out one by one.
  const silence = svg => {
    svg.setAttribute("aria-hidden", "true");
    for (const element of [svg, ...svg.querySelectorAll("[role]")])
      for (const name of ["role", "aria-roledescription", "aria-label"]) element.removeAttribute(name);
  };
  const options = {actions: false, ast: true, renderer: "svg", mode: "vega-lite", logLevel: 1,
    defaultStyle: false, tooltip: {disableDefaultStyle: true}};
  const drawn = new Map();  // of each place its view, its width, and what clears it away
  const draw = place => {
    drawn.get(place)?.clear();
    drawn.delete(place);
    const width = place.clientWidth;
    return vegaEmbed(place, fitted(place), options)
      .then(({view, finalize}) => {
        drawn.set(place, {view, width, clear: finalize});
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

  // Vega widens what it drew by itself; legends are laid out once.
  let waiting;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      for (const [place, {width}] of drawn)
        if (place.clientWidth !== width && legends(page.specs[place.dataset.view]).length) draw(place);
    }, 150);
  });
  // Pictures are drawn anew for paper: shrunk to it, their words would be too small to read.
  const fit = paper => {
    document.documentElement.classList.toggle("paper", paper);
    for (const [place, {view}] of drawn) view.width(place.clientWidth).run();
  };
  addEventListener("beforeprint", () => fit(true));
  addEventListener("afterprint", () => fit(false));

  const shown = value => value === null ? ""
    : typeof value === "number" ? value.toLocaleString("en", {maximumFractionDigits: 4}) : String(value);
  const line = (section, values, tag, isText) => {
    const row = section.insertRow();
    values.forEach((value, at) => {
      const cell = document.createElement(tag);
      if (tag === "th") cell.scope = "col";
      cell.textContent = shown(value);
      if (isText[at]) cell.className = "text";
      row.append(cell);
    });
  };
  const fill = place => {
    const {columns, rows} = page.data[place.dataset.table];
    const isText = columns.map((_, at) => rows.some(row => typeof row[at] === "string"));
    const table = document.createElement("table");
    line(table.createTHead(), columns, "th", isText);
    const body = table.createTBody();
    for (const row of rows) line(body, row, "td", isText);
    place.append(table);
  };
  for (const details of document.querySelectorAll("details"))
    details.addEventListener("toggle", () => {
      for (const place of details.querySelectorAll("[data-table]"))
        if (details.open && !place.firstChild) fill(place);
    });
})();
