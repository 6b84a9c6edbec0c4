// The page's own script: unpacks the rows, fills Bokeh's plots and answers the pointer. What comes from files is only ever set as text.
"use strict";
(() => {
  const EQUAL = 0, MEASURED = 3, NOT_COMPARED = 4, UNMEASURED = 5, NONFINITE = 6;
  const VERDICT_WORDS = ["pass", "pass", "fail", "error", "fail"];
  const MOST_LINES = 60, MOST_POINTS = 60000, MOST_DOTS = 120, CELL_PIXELS = 3, LABEL_PIXELS = 15;
  const ARRAYS = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, i4: Int32Array, f8: Float64Array };
  const place = (id) => document.getElementById(id);

  // --- unpacking: see fastcmp/page/packing.py ---------------------------------------------------------------------------------------

  async function unpack(id) {
    const deflated = Uint8Array.from(atob(place(id).textContent.trim()), (character) => character.charCodeAt(0));
    const stream = new Blob([deflated]).stream().pipeThrough(new DecompressionStream("deflate"));
    const buffer = await new Response(stream).arrayBuffer();
    const size = new DataView(buffer).getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
    const start = Math.ceil((4 + size) / 8) * 8;
    const array = ({ array: kind, at, length }) => {
      if (kind !== "f4") return new ARRAYS[kind](buffer, start + at, length);
      const parted = new Uint8Array(buffer, start + at, 4 * length), whole = new Uint8Array(4 * length);
      for (let byte = 0; byte < 4; byte++) for (let i = 0; i < length; i++) whole[4 * i + byte] = parted[byte * length + i];
      return new Float32Array(whole.buffer);
    };
    return { header, array };
  }

  class Rows {
    constructor({ header, array }) {
      Object.assign(this, header);
      for (const [name, reference] of Object.entries(header.arrays)) this[name] = array(reference);
      this.count = this.row.length;
      this.position = new Map();
      for (let i = 0; i < this.count; i++) this.position.set(this.row[i], i);
      this.severity = { error: new Float64Array(this.count), verdict: new Float64Array(this.count) };
      for (let i = 0; i < this.count; i++) {
        const size = this.distance[i] > 0 ? 500 + Math.max(-400, Math.min(400, Math.log10(this.distance[i]))) : 0;
        this.severity.error[i] = this.state[i] * 1000 + size;
        this.severity.verdict[i] = this.verdict[i] * 10000 + this.severity.error[i];
      }
    }
    isOf(i, rank) { return rank < 0 || this.rank[i] === rank; }
    name(i) {
      const parts = [];
      if (this.ranks.length > 1 || this.ranks[0]) parts.push(`rank ${this.ranks[this.rank[i]]}`);
      if (this.tokens.length > 1 || this.tokens[0]) parts.push(`token ${this.tokens[this.token[i]]}`);
      parts.push(`data_id ${this.layers[this.layer[i]]}`);
      return parts.join(", ");
    }
    measure(i) {
      if (this.state[i] === NONFINITE) return "NaN or infinity on one side";
      if (this.state[i] === NOT_COMPARED) return "could not be compared";
      if (this.state[i] === UNMEASURED) return "failed, without a distance";
      if (this.distance[i] >= 0) return `relative_euclidean_distance ${short(this.distance[i])}`;
      return this.state[i] === 2 ? "on one side only" : "nothing to measure";
    }
  }

  class Columns {
    constructor({ header, array }) {
      this.columns = header.columns.map((column) => ({
        name: column.name, texts: column.texts,
        empty: column.empty && array(column.empty), values: column.numbers && array(column.numbers), codes: column.codes && array(column.codes),
      }));
      this.position = new Map(Array.from(array(header.rows), (row, i) => [row, i]));
    }
    of(row) {
      const i = this.position.get(row);
      if (i === undefined) return null;
      return new Map(this.columns.map(({ name, texts, empty, values, codes }) => {
        if (empty && empty[i]) return [name, ""];
        if (values) return [name, values instanceof Int32Array ? String(values[i]) : short(values[i], name === "cosine_similarity" ? 12 : 7)];
        return [name, codes ? texts[codes[i]] : ""];
      }));
    }
  }

  function short(value, digits = 4) {
    if (Number.isNaN(value)) return "nan";
    if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
    return String(Number(value.toPrecision(digits)));
  }

  function cut(text, most) {
    if (text.length <= most) return text;
    const head = Math.floor((most - 1) / 3);
    return `${text.slice(0, head)}…${text.slice(text.length - (most - 1 - head))}`;
  }

  // --- plots ------------------------------------------------------------------------------------------------------------------------

  let plotDocument = null, PlainText = null;
  const model = (name) => plotDocument.get(name);
  const sequence = (from, to) => Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);

  async function embed() {
    const items = JSON.parse(place("plots").textContent);
    const documents = [];
    for (const [name, item] of Object.entries(items)) {
      const views = await Bokeh.embed.embed_item(item, `plot-${name}`);
      documents.push([...views][0].model.document);
    }
    plotDocument = { get: (name) => documents.map((one) => one.get_model_by_name(name)).find((found) => found !== null) };
    // Where Bokeh keeps its classes is another place in every second version; a label that Python made has its own at hand.
    PlainText = [...model("heat-x").major_label_overrides.values()][0].constructor;
  }

  // Bokeh takes "$$" in a plain string for mathematics, and would load what sets it.
  const label = (text) => new PlainText({ text });

  function setTicks(axis, range, names, position, pixels, width) {
    const [low, high] = [Math.min(range.start, range.end), Math.max(range.start, range.end)];
    const seen = sequence(0, names.length).filter((i) => position(i) >= low && position(i) <= high);
    const longest = Math.max(1, ...seen.slice(0, 2000).map((i) => Math.min(names[i].length, width)));
    const needed = axis.needs_width ? 7.2 * longest + 8 : LABEL_PIXELS;
    let step = Math.max(1, Math.ceil((seen.length * needed) / Math.max(pixels, 1)));
    if (step > 1) step = [2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000].find((nice) => nice >= step) || step;
    const ticks = seen.filter((i) => i % step === 0);
    axis.model.major_label_overrides = new Map(ticks.map((i) => [position(i), label(cut(names[i], width))]));
    axis.model.ticker.ticks = ticks.map(position);
  }

  function onRange(plot, act) {
    let waits = false;
    const soon = () => {
      if (waits) return;
      waits = true;
      requestAnimationFrame(() => { waits = false; act(); });
    };
    for (const range of [plot.x_range, plot.y_range]) range.change.connect(soon);
    for (const size of ["inner_width", "inner_height"]) plot.properties[size].change.connect(soon);
    return soon;
  }

  class HeatMap {
    constructor(rows, chosen) {
      [this.rows, this.chosen, this.plot] = [rows, chosen, model("heat")];
      this.nx = rows.tokens.length;
      this.ny = rows.layers.length;
      this.bins = null;
      const colours = (codes) => codes.map((code) => 0xff000000 | (parseInt(code.slice(5, 7), 16) << 16) | (parseInt(code.slice(3, 5), 16) << 8) | parseInt(code.slice(1, 3), 16));
      this.ramp = colours(rows.palette);
      this.ofVerdict = colours(rows.verdicts);
      this.ofState = Object.fromEntries(Object.entries(rows.states).map(([state, code]) => [state, colours([code])[0]]));
      const widest = Math.max(...rows.layers.map((name) => Math.min(name.length, 40)));
      this.plot.height = Math.round(Math.min(640, Math.max(150, 20 * this.ny)) + 70);
      // A handful of tokens is not pulled over the whole page.
      place("heat-frame").style.maxWidth = `${Math.max(420, 7 * widest + 110 + 64 * this.nx)}px`;
      model("heat-x").axis_label = rows.tokens.length > 1 || rows.tokens[0] ? "token" : "";
      model("heat-y").axis_label = this.ny < 12 ? "data_id" : "data_id, in the order of the run";
      for (const [range, length] of [[this.plot.x_range, this.nx], [this.plot.y_range, this.ny]]) {
        range.setv({ start: 0, end: length, bounds: [0, length], min_interval: Math.min(1, length) });
        range.reset_start = 0; range.reset_end = length;
      }
      this.draw = onRange(this.plot, () => this.redraw());
      this.plot.on_event("tap", (event) => { const i = this.at(event); if (i >= 0) chosen.set(i); });
      this.plot.on_event("mousemove", (event) => this.hover(event));
      this.plot.on_event("mouseleave", () => { place("hover").hidden = true; });
      place("plot-heat").addEventListener("keydown", (event) => this.step(event));
      this.redraw();
    }

    colour(i) {
      const { rows } = this;
      if (this.chosen.mode === "verdict") return this.ofVerdict[rows.verdict[i]];
      if (rows.state[i] !== MEASURED) return this.ofState[rows.state[i]];
      const part = (Math.log10(rows.distance[i]) - rows.low) / (rows.high - rows.low) * (this.ramp.length - 1);
      const at = Math.max(0, Math.min(this.ramp.length - 1, part)), under = Math.floor(at), over = Math.ceil(at);
      let mixed = 0xff000000;
      for (const shift of [0, 8, 16]) {
        const [a, b] = [(this.ramp[under] >> shift) & 255, (this.ramp[over] >> shift) & 255];
        mixed |= Math.round(a + (b - a) * (at - under)) << shift;
      }
      return mixed;
    }

    // The worst row of each square that is large enough to be seen.
    redraw() {
      const { rows, plot } = this, { rank, mode } = this.chosen;
      const side = (range, count, pixels) => {
        const first = Math.max(0, Math.floor(range.start)), last = Math.min(count, Math.ceil(range.end));
        const size = Math.max(1, Math.ceil((last - first) / Math.max(1, Math.floor(pixels / CELL_PIXELS))));
        const from = Math.floor(first / size) * size;
        return { from, size, bins: Math.max(1, Math.ceil((last - from) / size)) };
      };
      const x = side(plot.x_range, this.nx, plot.inner_width || 800);
      // Layers count from the top.
      const y = side({ start: this.ny - plot.y_range.end, end: this.ny - plot.y_range.start }, this.ny, plot.inner_height || 400);
      const best = new Int32Array(x.bins * y.bins).fill(-1), severity = rows.severity[mode];
      for (let i = 0; i < rows.count; i++) {
        if (!rows.isOf(i, rank)) continue;
        const column = Math.floor((rows.token[i] - x.from) / x.size), line = Math.floor((rows.layer[i] - y.from) / y.size);
        if (column < 0 || column >= x.bins || line < 0 || line >= y.bins) continue;
        const bin = line * x.bins + column;
        if (best[bin] < 0 || severity[i] > severity[best[bin]]) best[bin] = i;
      }
      const image = new Uint32Array(x.bins * y.bins);
      for (let line = 0; line < y.bins; line++) for (let column = 0; column < x.bins; column++) {
        const i = best[line * x.bins + column];
        image[(y.bins - 1 - line) * x.bins + column] = i < 0 ? 0 : this.colour(i);
      }
      this.bins = { x, y, best };
      const source = model("heat-image"), NDArray = source.data.image[0].constructor;
      source.data = {
        image: [new NDArray(image, [y.bins, x.bins])], x: [x.from], dw: [x.bins * x.size], y: [this.ny - y.from - y.bins * y.size], dh: [y.bins * y.size],
      };
      // White lines between cells that are large enough to be told apart.
      const pixels = (range, size) => size / (range.end - range.start);
      const apart = Math.min(pixels(plot.x_range, plot.inner_width || 800), pixels(plot.y_range, plot.inner_height || 400)) >= 9;
      const edges = (side) => apart ? sequence(side.from, side.from + side.bins + 1) : [];
      model("heat-grid-x").ticker.ticks = edges(x);
      model("heat-grid-y").ticker.ticks = edges(y).map((line) => this.ny - line);
      setTicks({ model: model("heat-x"), needs_width: true }, plot.x_range, rows.tokens, (i) => i + 0.5, plot.inner_width || 800, 14);
      setTicks({ model: model("heat-y") }, plot.y_range, rows.layers, (i) => this.ny - i - 0.5, plot.inner_height || 400, 40);
      const parts = ["Click a cell for its pair."];
      if (x.size > 1 || y.size > 1)
        parts.unshift(`More cells than pixels: each square shows the worst of ${y.size} × ${x.size} (layers × tokens). Zoom in to see them singly.`);
      if (rank < 0 && rows.ranks.length > 1) parts.unshift(`Each cell shows the worst of ${rows.ranks.length} ranks.`);
      place("heat-note").textContent = parts.join(" ");
      this.outline();
    }

    outline() {
      const { rows } = this;
      const box = (name, i) => {
        const seen = i >= 0 && i !== undefined && rows.isOf(i, this.chosen.rank);
        const [left, top] = seen ? [rows.token[i], this.ny - rows.layer[i]] : [];
        model(name).data = seen ? { left: [left], right: [left + 1], bottom: [top - 1], top: [top] } : { left: [], right: [], bottom: [], top: [] };
      };
      box("heat-first", rows.first === null ? -1 : rows.position.get(rows.first));
      box("heat-selected", this.chosen.row);
    }

    at({ x, y }) {
      if (this.bins === null || x < 0 || y < 0 || x >= this.nx || y >= this.ny) return -1;
      const { x: across, y: down, best } = this.bins;
      const column = Math.floor((x - across.from) / across.size), line = Math.floor((this.ny - y - down.from) / down.size);
      if (column < 0 || column >= across.bins || line < 0 || line >= down.bins) return -1;
      return best[line * across.bins + column];
    }

    hover(event) {
      const box = place("hover"), i = this.at(event), frame = place("heat-frame");
      box.hidden = i < 0;
      if (i < 0) return;
      const { x, y } = this.bins, many = x.size > 1 || y.size > 1;
      box.textContent = `${many ? "the worst here: " : ""}${this.rows.name(i)}\n${VERDICT_WORDS[this.rows.verdict[i]]}: ${this.rows.measure(i)}`;
      const [width, height] = [frame.clientWidth, frame.clientHeight];
      box.style.left = `${Math.max(0, Math.min(event.sx + 14, width - box.offsetWidth - 4))}px`;
      box.style.top = `${event.sy + 18 + box.offsetHeight > height ? Math.max(0, event.sy - box.offsetHeight - 10) : event.sy + 18}px`;
    }

    // Arrow keys go to the next cell that there is.
    step(event) {
      const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!move || this.chosen.row < 0) return;
      event.preventDefault();
      const { rows } = this, from = this.chosen.row;
      let best = -1, least = Infinity;
      for (let i = 0; i < rows.count; i++) {
        const along = (rows.token[i] - rows.token[from]) * move[0] + (rows.layer[i] - rows.layer[from]) * move[1];
        const across = move[0] ? rows.layer[i] - rows.layer[from] : rows.token[i] - rows.token[from];
        if (rows.rank[i] === rows.rank[from] && across === 0 && along > 0 && along < least) [best, least] = [i, along];
      }
      if (best >= 0) this.chosen.set(best);
    }
  }

  // One picture: distance along `across` (layer or token), a line for each of the other.
  class Lines {
    constructor(name, rows, chosen, across, each) {
      [this.name, this.rows, this.chosen, this.across, this.each] = [name, rows, chosen, across, each];
      this.names = rows[`${across}s`];
      this.plot = model(name);
      const length = this.names.length, margin = Math.max(0.5, length * 0.01);
      this.plot.x_range.setv({ start: -margin, end: length - 1 + margin });
      this.plot.x_range.reset_start = -margin; this.plot.x_range.reset_end = length - 1 + margin;
      model(`${name}-x`).axis_label = across === "layer" ? "data_id, in the order of the run" : "token";
      for (const key of ["worst", "selected"]) model(`${name}-${key}-dots`).visible = length <= MOST_DOTS;
      onRange(this.plot, () => this.ticks());
      this.plot.on_event("tap", (event) => this.tap(event));
      this.redraw();
      this.ticks();
    }

    ticks() {
      setTicks({ model: model(`${this.name}-x`), needs_width: this.across === "token" }, this.plot.x_range, this.names, (i) => i, this.plot.inner_width || 1000, this.across === "token" ? 14 : 28);
    }

    redraw() {
      const { rows, names, name } = this, rank = this.chosen.rank, length = names.length;
      const place_of = rows[this.across], line_of = rows[this.each];
      const values = names.map(() => []), floors = names.map(() => []), lines = new Map();
      let [low, high] = [Infinity, 0];
      for (let i = 0; i < rows.count; i++) {
        if (!rows.isOf(i, rank) || rows.distance[i] < 0) continue;
        const at = place_of[i], distance = rows.distance[i];
        values[at].push(distance);
        if (rows.floor[i] > 0) floors[at].push(rows.floor[i]);
        if (!lines.has(line_of[i])) lines.set(line_of[i], new Map());
        const line = lines.get(line_of[i]);
        line.set(at, Math.max(distance, line.get(at) ?? 0));
        if (distance > 0 && Number.isFinite(distance)) [low, high] = [Math.min(low, distance), Math.max(high, distance)];
      }
      if (high === 0) [low, high] = [1e-9, 1];
      for (const some of floors) for (const floor of some) [low, high] = [Math.min(low, floor), Math.max(high, floor)];
      low = Math.max(low, 10 ** rows.low);
      const bottom = 10 ** (Math.floor(Math.log10(low)) - 0.3), top = 10 ** Math.max(Math.log10(high) + 0.4, Math.log10(bottom) + 2.1);
      [this.bottom, this.top] = [bottom, top];
      this.plot.y_range.setv({ start: bottom, end: top });
      this.plot.y_range.reset_start = bottom; this.plot.y_range.reset_end = top;
      const shown = (value) => Math.min(top, Math.max(bottom, value));
      const middle = (some) => { some.sort((a, b) => a - b); return some.length ? some[some.length >> 1] : NaN; };
      const all = sequence(0, length);
      const greatest = values.map((some) => some.length ? shown(some.reduce((a, b) => Math.max(a, b))) : NaN);
      model(`${name}-worst`).data = { x: all, y: lines.size > 1 ? greatest : [...greatest].fill(NaN) };
      model(`${name}-median`).data = { x: all, y: values.map((some) => lines.size > 1 && some.length ? shown(middle(some)) : NaN) };
      model(`${name}-floor`).data = { x: all, y: floors.map((some) => some.length ? shown(middle(some)) : NaN) };
      // Evenly chosen where there are more than can be told apart.
      const most = Math.max(1, Math.min(MOST_LINES, Math.floor(MOST_POINTS / length))), ids = [...lines.keys()].sort((a, b) => a - b);
      const drawn = ids.filter((_, i) => i % Math.ceil(ids.length / most) === 0);
      const along = (line) => [...line.keys()].sort((a, b) => a - b);
      model(`${name}-single`).data = {
        xs: drawn.map((id) => along(lines.get(id))), ys: drawn.map((id) => along(lines.get(id)).map((at) => shown(lines.get(id).get(at)))),
      };
      this.lines = lines;
      this.marks();
      this.note = `One line per ${this.each === "layer" ? "data_id" : "token"}`
        + (drawn.length < ids.length ? ` (${drawn.length} of ${ids.length} drawn; worst and median are of all)` : "")
        + ". At the bottom edge: equal; at the top edge: infinite. Gaps and triangles at the top have no distance. Click to choose.";
      this.select();
    }

    // What has no place on the scale, where a place is nevertheless known.
    marks() {
      const { rows } = this, worst = new Map();
      for (let i = 0; i < rows.count; i++) {
        if (!this.rows.isOf(i, this.chosen.rank) || rows.state[i] < NOT_COMPARED) continue;
        const at = rows[this.across][i];
        worst.set(at, Math.max(worst.get(at) ?? 0, rows.state[i]));
      }
      const at = [...worst.keys()];
      model(`${this.name}-marks`).data = { x: at, y: at.map(() => this.top * 0.8), colour: at.map((one) => rows.states[worst.get(one)]) };
    }

    select() {
      const { rows, chosen, name } = this, i = chosen.row;
      const of = i < 0 ? -1 : rows[this.each][i], line = this.lines.get(of);
      const at = line ? [...line.keys()].sort((a, b) => a - b) : [];
      const shown = (value) => Math.min(this.top, Math.max(this.bottom, value));
      model(`${name}-selected`).data = { x: at, y: at.map((one) => shown(line.get(one))) };
      const point = i >= 0 && rows.distance[i] >= 0;
      model(`${name}-pointer`).data = point ? { x: [rows[this.across][i]], y: [shown(rows.distance[i])] } : { x: [], y: [] };
      const word = this.each === "layer" ? "data_id" : "token";
      const what = of >= 0 ? ` Selected: ${word} ${rows[`${this.each}s`][of]}.` : "";
      place(`${name}-note`).textContent = this.note + what;
    }

    // The pair nearest in height at that place.
    tap({ x, y }) {
      const { rows } = this, at = Math.round(x);
      let best = -1, least = Infinity;
      for (let i = 0; i < rows.count; i++) {
        if (rows[this.across][i] !== at || !rows.isOf(i, this.chosen.rank) || rows.distance[i] < 0) continue;
        const away = Math.abs(Math.log(Math.max(this.bottom, rows.distance[i])) - Math.log(Math.max(y, this.bottom)));
        if (away < least) [best, least] = [i, away];
      }
      if (best >= 0) this.chosen.set(best);
    }
  }

  // --- details and table ------------------------------------------------------------------------------------------------------------

  function element(tag, text, className) {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  function showDetails(rows, columns, i) {
    const panel = place("details"), verdict = VERDICT_WORDS[rows.verdict[i]], all = columns.of(rows.row[i]);
    panel.replaceChildren(element("h3", rows.name(i)));
    panel.dataset.row = rows.row[i];
    const line = element("p", undefined, "reason");
    line.append(element("span", verdict, `tag ${verdict}`));
    if (all && (all.get("verdict_reason") || all.get("cmp_fail_reason"))) line.append(` ${all.get("verdict_reason")}`);
    panel.append(line);
    const known = new Map(all || [["verdict", verdict]]);
    const own = {
      rank: rows.ranks[rows.rank[i]], token_id: rows.tokens[rows.token[i]], data_id: rows.layers[rows.layer[i]],
      relative_euclidean_distance: rows.distance[i] < 0 ? "" : short(rows.distance[i], 7), rounding_floor: rows.floor[i] < 0 ? "" : short(rows.floor[i], 7),
    };
    for (const [name, value] of Object.entries(own)) known.set(name, value);
    const table = element("table");
    for (const [name, meaning] of Object.entries(rows.meanings)) {
      if (!known.has(name)) continue;
      const row = table.insertRow(), head = element("th", name);
      head.title = meaning;
      row.append(head);
      const value = element("bdi", known.get(name)), cell = element("td", undefined, /^-?(\d|nan$|inf$)/.test(known.get(name)) ? "" : "text");
      cell.dataset.column = name;
      cell.append(value);
      row.append(cell);
    }
    panel.append(table);
    if (!all) panel.append(element("p", "There are too many rows for a page: the other columns of this one are in cmp_report.csv.", "note"));
  }

  class Table {
    constructor(rows, chosen) {
      this.body = document.querySelector("#worst tbody");
      this.lines = [...this.body.rows];
      this.lines.forEach((line, number) => { line.number = number; });
      const choose = (event) => {
        const line = event.target.closest("tr");
        if (line && rows.position.has(Number(line.dataset.row))) chosen.set(rows.position.get(Number(line.dataset.row)), { bring: true });
      };
      this.body.addEventListener("click", choose);
      this.body.addEventListener("keydown", (event) => { if (event.key === "Enter") choose(event); });
      document.querySelectorAll("#worst thead th").forEach((head, column) => head.addEventListener("click", () => this.sort(head, column)));
      place("filter").addEventListener("input", () => this.filter());
      place("verdict").addEventListener("change", () => this.filter());
    }

    // First click: the largest number or the first word; second: the other way; third: as it was.
    sort(head, column) {
      const isNumber = head.classList.contains("number"), order = isNumber ? ["descending", "ascending"] : ["ascending", "descending"];
      const now = head.getAttribute("aria-sort"), next = now === null ? order[0] : now === order[0] ? order[1] : null;
      document.querySelectorAll("#worst thead th").forEach((other) => other.removeAttribute("aria-sort"));
      if (next) head.setAttribute("aria-sort", next);
      const sign = next === "descending" ? -1 : 1;
      const key = isNumber
        ? (line) => { const text = line.cells[column].dataset.value; return text === undefined ? NaN : Number(text.replace("inf", "Infinity")); }
        : (line) => line.cells[column].textContent;
      const compare = (a, b) => {
        if (!next) return a.line.number - b.line.number;
        if (!isNumber) return sign * a.key.localeCompare(b.key, undefined, { numeric: true }) || a.line.number - b.line.number;
        if (Number.isNaN(a.key) || Number.isNaN(b.key)) return Number.isNaN(a.key) - Number.isNaN(b.key) || a.line.number - b.line.number;
        return (a.key === b.key ? 0 : sign * (a.key < b.key ? -1 : 1)) || a.line.number - b.line.number;
      };
      const sorted = this.lines.map((line) => ({ line, key: key(line) })).sort(compare);
      this.body.replaceChildren(...sorted.map(({ line }) => line));
    }

    filter() {
      const words = place("filter").value.toLowerCase().split(/\s+/).filter(Boolean), verdict = place("verdict").value;
      const at = [...document.querySelectorAll("#worst thead th")].findIndex((head) => head.textContent === "verdict");
      let count = 0;
      for (const line of this.lines) {
        const text = line.textContent.toLowerCase();
        line.hidden = !words.every((word) => text.includes(word)) || (verdict !== "" && line.cells[at].textContent !== verdict);
        count += !line.hidden;
      }
      place("filtered").textContent = words.length || verdict ? `${count} of ${this.lines.length} rows of this table` : "";
    }

    select(row) {
      for (const line of this.lines) line.classList.toggle("chosen", Number(line.dataset.row) === row);
    }
  }

  // --- all of it together -----------------------------------------------------------------------------------------------------------

  async function main() {
    const rows = new Rows(await unpack("cells")), columns = new Columns(await unpack("columns"));
    await embed();
    const chosen = { row: -1, rank: -1, mode: "error", set: () => {} };
    const table = new Table(rows, chosen), pictures = [];
    let heat = null;
    if (rows.count) {
      heat = new HeatMap(rows, chosen);
      pictures.push(new Lines("layers", rows, chosen, "layer", "token"));
      if (place("plot-tokens")) pictures.push(new Lines("tokens", rows, chosen, "token", "layer"));
    }
    const redraw = () => { heat.redraw(); for (const picture of pictures) picture.redraw(); };
    chosen.set = (i, { bring = false } = {}) => {
      chosen.row = i;
      showDetails(rows, columns, i);
      table.select(rows.row[i]);
      if (!rows.isOf(i, chosen.rank)) {
        chosen.rank = rows.rank[i];
        place("rank").value = String(chosen.rank);
        redraw();
      }
      heat.outline();
      for (const picture of pictures) picture.select();
      if (bring) place("map").scrollIntoView({ block: "nearest" });
    };
    if (place("rank")) {
      rows.ranks.forEach((name, rank) => place("rank").add(new Option(name || "none", rank)));
      place("rank").addEventListener("change", (event) => { chosen.rank = Number(event.target.value); redraw(); });
    }
    for (const input of document.querySelectorAll("input[name=mode]"))
      input.addEventListener("change", () => {
        chosen.mode = document.querySelector("input[name=mode]:checked").value;
        for (const legend of document.querySelectorAll(".legend")) legend.hidden = legend.dataset.mode !== chosen.mode;
        heat.redraw();
      });
    for (const button of document.querySelectorAll("button.show"))
      button.addEventListener("click", () => chosen.set(rows.position.get(Number(button.dataset.row)), { bring: true }));
    if (rows.first !== null && rows.count) chosen.set(rows.position.get(rows.first));
    document.documentElement.dataset.ready = "yes";
  }

  main().catch((error) => {
    const problem = place("problem");
    problem.hidden = false;
    problem.textContent = typeof DecompressionStream === "undefined"
      ? "This browser is too old for the pictures (DecompressionStream is missing); the tables are complete."
      : `The pictures could not be drawn: ${error.message}`;
    throw error;
  });
})();
