// The explorer of "The space of cases": a map drawn by plotly, the chosen image with its neighbours, a list to save.
(() => {
  const root = document.getElementById("space-explorer");
  const data = JSON.parse(document.getElementById("space-data").textContent);
  const part = (name) => root.querySelector(`[data-part="${name}"]`);
  const plot = part("plot"), tip = part("tip"), chosen = part("chosen"), picked = part("picked");
  const GREY = "#b9bec5", INK = "#24292f", NOTHING = "–";
  const TEN = ["#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#332288", "#999933", "#882255", "#44AA99"];
  const images = data.images, total = images.case.length;
  const row = new Map(images.case.map((id, index) => [id, index]));
  const state = { map: Object.keys(data.maps)[0], colour: "label", splits: new Set(data.splits), case: null, list: [] };

  const made = (tag, words = "", named = {}) => {
    const one = Object.assign(document.createElement(tag), named);
    one.textContent = words;
    return one;
  };
  const percent = (share) => `${(100 * share).toFixed(0)}\u00a0%`;

  // -- pictures: one tile of a sheet; a sheet becomes a blob once, so that its address is short -------------------

  const sheets = data.sprites.sheets.map(() => null);
  const address = (number) => {
    if (!sheets[number]) {
      const [kind, body] = data.sprites.sheets[number].split(";base64,");
      const bytes = Uint8Array.from(atob(body), (letter) => letter.charCodeAt(0));
      sheets[number] = URL.createObjectURL(new Blob([bytes], { type: kind.slice(5) }));
    }
    return sheets[number];
  };
  const tile = (index, size) => {
    const one = made("span", "", { className: "tile", role: "img" });
    one.setAttribute("aria-label", `Chest image ${images.case[index]}, labelled ${images.label[index]}`);
    one.style.width = one.style.height = `${size}px`;
    const number = images.tile[index], { columns } = data.sprites;
    if (number === null) {
      one.textContent = "no picture";
      return one;
    }
    const each = columns * columns, place = number % each;
    one.style.backgroundImage = `url("${address(Math.floor(number / each))}")`;
    one.style.backgroundSize = `${columns * size}px auto`;
    one.style.backgroundPosition = `${-size * (place % columns)}px ${-size * Math.floor(place / columns)}px`;
    return one;
  };

  // -- colours: every way gives each image a group; a group has a name, a colour and a marker ----------------------

  const byClass = (column) => ({
    groups: data.classes.map((one) => ({ name: one.name, colour: one.colour, symbol: one.symbol })),
    of: (index) => data.classes.findIndex((one) => one.name === images[column][index]),
  });
  const WAYS = {
    label: byClass("label"),
    called: byClass("called"),
    error: {
      groups: [
        { name: "right", colour: GREY, symbol: "circle" },
        ...data.classes.map((one) => ({ ...one, name: `wrong, labelled ${one.name}` })),
      ],
      of: (index) => images.target[index] === images.called[index] ? 0
        : 1 + data.classes.findIndex((one) => one.name === images.label[index]),
    },
    split: {
      groups: data.splits.map((name) => ({
        name: data.split_names[name], colour: { train: GREY, val: "#E69F00", test: "#000000" }[name], symbol: "circle" })),
      of: (index) => data.splits.indexOf(images.split[index]),
    },
    patient: (() => {
      const counts = new Map();
      images.patient.forEach((name) => counts.set(name, (counts.get(name) ?? 0) + 1));
      const several = [...counts.keys()].filter((name) => counts.get(name) > 1);
      const place = new Map(several.map((name, number) => [name, 1 + number % TEN.length]));
      return {
        groups: [{ name: "one image", colour: "#dfe2e6", symbol: "circle" },
          ...TEN.map((colour) => ({ name: "", colour, symbol: "circle" }))],
        of: (index) => place.get(images.patient[index]) ?? 0,
        silent: true,
      };
    })(),
  };

  // What plotly was given stays the same object until map, colour or splits change: then a click redraws nothing.
  let kept = { key: "", layers: [] };
  const drawing = () => {
    const key = [state.map, state.colour, ...state.splits].join("\n");
    if (kept.key !== key) kept = { key, layers: layers() };
    return kept.layers;
  };
  const shown = () => images.case.map((_, index) => index).filter((index) => state.splits.has(images.split[index]));

  const layers = () => {
    const { x, y } = data.maps[state.map];
    const layer = (indices, more) => ({
      type: kind, mode: "markers", hoverinfo: "none",
      x: indices.map((index) => x[index]), y: indices.map((index) => y[index]), customdata: indices, ...more });
    if (data.scores[state.colour]) {
      const { values, name } = data.scores[state.colour];
      const known = shown().filter((index) => values[index] !== null);
      return [layer(known, { showlegend: false, marker: {
        size: 6, color: known.map((index) => values[index]), colorscale: "Viridis", showscale: true,
        colorbar: { title: { text: name, side: "right" }, thickness: 12 } } })];
    }
    const way = WAYS[state.colour], members = way.groups.map(() => []);
    shown().forEach((index) => members[way.of(index)]?.push(index));
    return way.groups.map((group, number) => layer(members[number], {
      name: `${group.name} (${members[number].length})`, showlegend: !way.silent && members[number].length > 0,
      marker: { size: group.symbol === "circle" ? 6 : 6.5, color: group.colour, symbol: group.symbol,
        opacity: 0.8, line: { width: 0 } } }));
  };

  // The chosen image, lines to its neighbours, rings around other images of the same patient.
  const marks = () => {
    if (state.case === null) return [];
    const { x, y } = data.maps[state.map], centre = state.case;
    const near = neighbours(centre).map(([index]) => index);
    const family = images.case.map((_, index) => index)
      .filter((index) => index !== centre && images.patient[index] === images.patient[centre]);
    const over = { type: "scatter", hoverinfo: "skip", showlegend: false };
    const ring = (indices, size, colour, width) => ({ ...over, mode: "markers",
      x: indices.map((index) => x[index]), y: indices.map((index) => y[index]),
      marker: { symbol: "circle-open", size, color: colour, line: { width } } });
    return [
      { ...over, mode: "lines", line: { color: INK, width: 1 },
        x: near.flatMap((index) => [x[centre], x[index], null]), y: near.flatMap((index) => [y[centre], y[index], null]) },
      ring(near, 11, INK, 1.5), ring(family, 15, "#CC79A7", 2), ring([centre], 18, INK, 3),
    ];
  };

  const LAYOUT = {
    margin: { l: 8, r: 8, t: 8, b: 8 }, hovermode: "closest", dragmode: "pan",
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "#fbfcfd", font: { family: "system-ui, sans-serif", color: INK, size: 13 },
    modebar: { bgcolor: "rgba(255,255,255,0.85)", color: "#8c929a", activecolor: INK },
    legend: { orientation: "h", y: -0.01, yanchor: "top", x: 0, itemsizing: "constant" },
  };
  const AXIS = { showgrid: false, zeroline: false, showticklabels: false, showline: true, linecolor: "#d8dce1", mirror: true };
  const draw = () => window.Plotly.react(plot, [...drawing(), ...marks()], { ...LAYOUT,
    uirevision: state.map, selectionrevision: `${state.map} ${state.colour} ${[...state.splits]}`,
    xaxis: { ...AXIS }, yaxis: { ...AXIS, scaleanchor: "x" } },
  { displaylogo: false, displayModeBar: true, responsive: true, scrollZoom: false,
    modeBarButtons: [["pan2d", "frame_fraction2d", "lasso2d"], ["frame_fractionIn2d", "frame_fractionOut2d", "resetScale2d"]] });

  // -- the chosen image ---------------------------------------------------------------------------------------------

  const neighbours = (index) => (data.neighbors.rows[index] ?? [])
    .map((other, place) => [other, data.neighbors.distances[index][place]]);

  const words = (index) => [`labelled ${images.label[index]}`, `called ${images.called[index]} (${percent(images.sure[index])})`];
  const facts = (index) => [
    ["Label", images.label[index]],
    ["Called", `${images.called[index]}, probability ${percent(images.sure[index])}${images.target[index] === images.called[index] ? "" : ": wrong"}`],
    ["Split", data.split_names[images.split[index]] ?? images.split[index]],
    ["Patient", images.patient[index]],
    ...Object.values(data.scores).map(({ name, values }) => [name, values[index] === null ? NOTHING : values[index].toPrecision(3)]),
  ];

  const choose = (index) => {
    state.case = index;
    chosen.replaceChildren(made("h4", images.case[index]), tile(index, 176));
    const table = made("dl");
    facts(index).forEach(([name, value]) => table.append(made("dt", name), made("dd", value)));
    chosen.append(table, made("h4", neighbours(index).length ? data.neighbors.title : "No neighbours were kept for this image."));
    const list = made("ol", "", { className: "near" });
    neighbours(index).forEach(([other, distance]) => {
      const button = made("button", "", { type: "button", title: images.case[other] });
      const dot = made("i", "", { className: "dot" });
      dot.style.background = data.classes.find((one) => one.name === images.label[other])?.colour ?? GREY;
      const label = made("span");
      label.append(dot, images.label[other], made("small", distance.toPrecision(3)));
      button.append(tile(other, 82), label);
      button.addEventListener("click", () => choose(other));
      const item = made("li");
      item.append(button);
      list.append(item);
    });
    chosen.append(list);
    draw();
  };

  const point = (index, event) => {
    tip.replaceChildren(tile(index, 112), made("b", images.case[index]), ...words(index).map((line) => made("span", line)));
    tip.hidden = false;
    const box = plot.getBoundingClientRect(), left = event.clientX - box.left, top = event.clientY - box.top;
    tip.style.left = `${left > box.width / 2 ? left - tip.offsetWidth - 14 : left + 14}px`;
    tip.style.top = `${Math.max(0, Math.min(top - 20, box.height - tip.offsetHeight))}px`;
  };

  // -- the list ----------------------------------------------------------------------------------------------------

  const pick = (indices) => {
    state.list = indices;
    picked.hidden = indices.length === 0;
    if (!indices.length) return;
    part("count").textContent = `${indices.length} ${indices.length === 1 ? "image" : "images"} in the lasso`;
    const most = 48;
    part("sheet").replaceChildren(...indices.slice(0, most).map((index) => {
      const button = made("button", "", { type: "button", title: images.case[index] });
      button.append(tile(index, 64));
      button.addEventListener("click", () => choose(index));
      return button;
    }), ...indices.length > most ? [made("span", `and ${indices.length - most} more in the file`)] : []);
  };
  const cell = (value) => /[",\n\r]/.test(value ?? "") ? `"${String(value).replaceAll('"', '""')}"` : String(value ?? "");
  const csv = () => {
    const { x, y } = data.maps[state.map];
    const head = ["case_id", "patient", "split", "label", "called", "probability_of_called", ...Object.keys(data.scores), "map", "x", "y"];
    const lines = state.list.map((index) => [images.case[index], images.patient[index], images.split[index], images.label[index],
      images.called[index], images.sure[index], ...Object.values(data.scores).map(({ values }) => values[index]), state.map, x[index], y[index]]);
    return [head, ...lines].map((line) => line.map(cell).join(",")).join("\n") + "\n";
  };
  const redraw = () => {
    pick([]);
    draw();
  };
  const save = () => {
    const link = made("a", "", { href: URL.createObjectURL(new Blob([csv()], { type: "text/csv" })), download: "cases.csv" });
    link.click();
    URL.revokeObjectURL(link.href);
  };

  // -- start -------------------------------------------------------------------------------------------------------

  const find = (text) => {
    const wanted = text.trim();
    const index = row.get(wanted) ?? images.case.findIndex((id) => wanted && id.toLowerCase().includes(wanted.toLowerCase()));
    if (index >= 0) choose(index);
    part("find").setCustomValidity(index >= 0 || !wanted ? "" : "No image has this in its name.");
    part("find").reportValidity();
  };

  // Points are drawn by the graphics card where there is one, else as SVG: WebGL without a card is the slowest way.
  const kind = document.createElement("canvas").getContext("webgl", { failIfMajorPerformanceCaveat: true }) ? "scattergl" : "scatter";

  const unpacked = async (text) => {
    const bytes = Uint8Array.from(atob(text.trim()), (letter) => letter.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  };
  const start = async () => {
    const script = document.createElement("script");
    script.textContent = await unpacked(document.getElementById("space-plotly").textContent);
    document.head.append(script);
    root.hidden = false;
    await draw();
    plot.on("plotly_hover", ({ points, event }) => points[0].customdata !== undefined && point(points[0].customdata, event));
    plot.on("plotly_unhover", () => { tip.hidden = true; });
    plot.on("plotly_click", ({ points }) => points[0].customdata !== undefined && choose(points[0].customdata));
    plot.on("plotly_selected", (event) => pick((event?.points ?? []).map((one) => one.customdata).filter((one) => one !== undefined)));
    plot.on("plotly_deselect", () => pick([]));
    part("map").addEventListener("change", (event) => { state.map = event.target.value; redraw(); });
    part("colour").addEventListener("change", (event) => { state.colour = event.target.value; redraw(); });
    root.querySelectorAll("[data-split]").forEach((box) => box.addEventListener("change", () => {
      state.splits[box.checked ? "add" : "delete"](box.dataset.split);
      redraw();
    }));
    part("find").addEventListener("change", (event) => find(event.target.value));
    part("save").addEventListener("click", save);
    choose(data.first);
    document.getElementById("space").classList.add("explored");
  };
  // The map is unpacked when the reader comes near, so that the page opens at once.
  new IntersectionObserver((seen, watcher) => {
    if (!seen.some((one) => one.isIntersecting)) return;
    watcher.disconnect();
    start().catch(() => { root.hidden = true; });
  }, { rootMargin: "1500px" }).observe(document.getElementById("space-map"));
})();
