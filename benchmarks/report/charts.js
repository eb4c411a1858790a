// Charts: a scatter of agents, and lines.

const COLOURS = 8;
const DASHES = ["", "7 3", "2 3", "9 3 2 3"];

function ticks(low, high, most) {
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const found = [];
  for (let place = Math.ceil(low / step - 1e-9); place * step <= high + step * 1e-6; place += 1) found.push(place * step);
  return { found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

function range(values, share) {
  const low = Math.min(...values);
  const high = Math.max(...values);
  const room = high > low ? (high - low) * share : Math.max(Math.abs(high) * 0.1, 0.1);
  return [low - room, high + room];
}

function tickText(value, digits) {
  if (Math.abs(value) >= 1e6) return (value / 1e6).toLocaleString("en", { maximumFractionDigits: 2 }) + "M";
  return Math.abs(value) >= 1e4 ? (value / 1e3).toLocaleString("en") + "k" : value.toFixed(digits);
}

let charts = 0;
// Axes with ticks; returns the drawing and the functions that place a point in it.
function axes(host, title, description, xs, ys, xLabel, yLabel) {
  const width = Math.max(280, Math.min(760, host.clientWidth));
  const height = Math.round(Math.max(250, width * 0.55));
  const frame = { left: 54, right: width - 14, top: 26, bottom: height - 46 };
  const x = (value) => frame.left + ((value - xs[0]) / (xs[1] - xs[0])) * (frame.right - frame.left);
  const y = (value) => frame.bottom - ((value - ys[0]) / (ys[1] - ys[0])) * (frame.bottom - frame.top);
  charts += 1;
  const names = ["chart-title-" + charts, "chart-text-" + charts];
  const root = draw("svg", { class: "chart", role: "img", "aria-labelledby": names.join(" "), viewBox: `0 0 ${width} ${height}`, width, height });
  root.append(draw("title", { id: names[0] }, title), draw("desc", { id: names[1] }, description));
  const across = ticks(xs[0], xs[1], width / 70);
  const up = ticks(ys[0], ys[1], height / 50);
  for (const value of across.found) {
    root.append(draw("line", { class: "grid", x1: x(value), x2: x(value), y1: frame.top, y2: frame.bottom }));
    root.append(draw("g", { class: "tick" }, draw("text", { x: x(value), y: frame.bottom + 17, "text-anchor": "middle" }, tickText(value, across.digits))));
  }
  for (const value of up.found) {
    root.append(draw("line", { class: "grid", x1: frame.left, x2: frame.right, y1: y(value), y2: y(value) }));
    root.append(draw("g", { class: "tick" }, draw("text", { x: frame.left - 7, y: y(value) + 4, "text-anchor": "end" }, tickText(value, up.digits))));
  }
  root.append(draw("text", { x: (frame.left + frame.right) / 2, y: height - 8, "text-anchor": "middle" }, xLabel));
  root.append(draw("text", { x: 6, y: 14 }, yLabel));
  return { root, x, y, frame };
}

const meet = (one, other) => one[0] < other[2] && other[0] < one[2] && one[1] < other[3] && other[1] < one[3];

// Places names beside their points where they cover no other name or point, as far as there is room.
function label(chart, points) {
  const taken = points.map(({ x, y }) => [x - 5, y - 5, x + 5, y + 5]);
  for (const { x, y, name } of points) {
    const length = name.length * 6.6;
    const boxes = [];
    for (const [dx, dy] of [[9, 0], [-9, 0], [9, 13], [9, -13], [-9, 13], [-9, -13], [9, 26], [9, -26], [-9, 26], [-9, -26]]) {
      const left = dx > 0 ? x + dx : x + dx - length;
      boxes.push([left, y + dy - 6, left + length, y + dy + 6]);
    }
    const inside = boxes.filter((box) => box[0] >= chart.frame.left - 40 && box[2] <= chart.frame.right + 12 && box[1] > 0);
    const box = inside.find((one) => !taken.some((other) => meet(one, other))) || inside[0] || boxes[0];
    taken.push(box);
    chart.root.append(draw("text", { x: box[0], y: box[1] + 10 }, name));
  }
}

function scatter(host, rows, title) {
  const ratios = range(rows.map((row) => row.compression_ratio), 0.08);
  const similarities = range(rows.map((row) => row.similarity), 0.1);
  const front = rows.filter((row) => row.front).sort((one, other) => one.compression_ratio - other.compression_ratio);
  const names = front.map((row) => row.agent).join(", ");
  const words = rows.map((row) => `${row.agent}: ratio ${row.compression_ratio.toFixed(3)}, similarity ${row.similarity.toFixed(3)}`);
  const chart = axes(host, title, `Pareto front: ${names}. ${words.join("; ")}.`, ratios, similarities, "compression ratio", "similarity");
  const path = front.map((row) => chart.x(row.compression_ratio) + "," + chart.y(row.similarity)).join(" ");
  chart.root.append(draw("polyline", { class: "front", points: path }));
  const points = rows.map((row) => ({
    x: chart.x(row.compression_ratio), y: chart.y(row.similarity), name: row.agent + (row.oracle ? data.oracleMark : ""), row,
  }));
  for (const { x, y, row } of points) {
    const shape = row.oracle
      ? draw("rect", { class: "hollow", x: x - 4.5, y: y - 4.5, width: 9, height: 9, transform: `rotate(45 ${x} ${y})` })
      : draw("circle", { class: row.front ? "point" : "hollow", cx: x, cy: y, r: 5 });
    chart.root.append(draw("g", { class: row.oracle ? "c1" : "c0" }, shape));
  }
  label(chart, points);
  host.replaceChildren(
    chart.root,
    make("figcaption", {}, `Top right is best. The dashed line is the Pareto front (${names}): no other agent is better in one and at least as good in the other. Filled: on the front; hollow: not.` +
      (rows.some((row) => row.oracle) ? " Diamonds see the generator's answers and are left out of the front." : "")),
  );
}

// Lines of one group share a colour, and groups past the colours differ by dashes.
function lines(host, title, series, xLabel, yLabel) {
  const kept = series.filter((line) => line.points.length);
  if (!kept.length) return;
  const groups = [...new Set(kept.map((line) => line.group || line.name))];
  const style = (line) => {
    const place = groups.indexOf(line.group || line.name);
    return { colour: "c" + (place % COLOURS), dash: DASHES[(place + Math.floor(place / COLOURS)) % DASHES.length] };
  };
  const all = kept.flatMap((line) => line.points);
  const xs = range(all.map(([x]) => x), 0.01);
  const ys = range(all.map(([, y]) => y), 0.06);
  const words = kept.map((line) => `${line.name} goes from ${format(line.points[0][1])} to ${format(line.points[line.points.length - 1][1])}`);
  const chart = axes(host, title, words.join("; ") + ".", xs, ys, xLabel, yLabel);
  for (const line of kept) {
    const { colour, dash } = style(line);
    const points = line.points.map(([x, y]) => chart.x(x) + "," + chart.y(y));
    const group = draw("g", { class: colour }, draw("title", {}, line.name), draw("polyline", { class: "line", "stroke-dasharray": dash || null, points: points.join(" ") }));
    if (points.length <= 20) group.append(...line.points.map(([x, y]) => draw("circle", { class: "point", cx: chart.x(x), cy: chart.y(y), r: 3.2 })));
    chart.root.append(group);
  }
  const legend = groups.map((group) => {
    const { colour, dash } = style({ group });
    const key = draw("svg", { width: 30, height: 10, class: "chart", "aria-hidden": "true" }, draw("line", { class: "line", x1: 1, x2: 29, y1: 5, y2: 5, "stroke-dasharray": dash || null }));
    return make("li", { class: colour }, key, make("span", {}, group));
  });
  host.replaceChildren(chart.root, make("ul", { class: "legend" }, ...legend));
}
