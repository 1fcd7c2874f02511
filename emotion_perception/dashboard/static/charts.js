// Charts as SVG: sharp at any size, coloured by the style sheet, described in words for people who cannot see them.
import { clock, number, percent, signed, t } from "./messages.js";
import { el, name, settings } from "./util.js";

const f = (x) => x.toFixed(1);

/** Bars of the eight emotions; the elements are kept, only their widths change. */
export function bars(list) {
  const rows = settings.emotions.map((_, i) => {
    const fill = el("span", { class: "fill", tone: i });
    const number = el("span", { class: "n" });
    const row = el("li", {}, el("span", {}, name(i)), el("span", { class: "track", "aria-hidden": "true" }, fill), number);
    list.append(row);
    return { row, fill, number };
  });
  return (probabilities) => {
    list.classList.toggle("off", !probabilities);
    rows.forEach(({ row, fill, number }, i) => {
      const p = probabilities ? probabilities[i] : 0;
      fill.style.transform = `scaleX(${p})`;
      number.textContent = probabilities ? (p > 0 && p < 0.01 ? `< ${percent(0.01)}` : percent(p)) : "–";
      row.classList.toggle("best", Boolean(probabilities) && p === Math.max(...probabilities));
    });
  };
}

/** The circumplex. Returns a function that takes the points of the last seconds: [time, status, label, confidence, valence, arousal]. */
export function plane(parent) {
  const size = 320, c = size / 2, r = 116;
  const x = (valence) => c + r * valence, y = (arousal) => c - r * arousal;
  const svg = el("svg", { viewBox: `0 0 ${size} ${size}`, role: "img", "aria-label": t("plane.nobody") });
  svg.append(
    el("circle", { class: "axis", cx: c, cy: c, r }), el("circle", { class: "axis", cx: c, cy: c, r: r / 2 }),
    el("path", { class: "axis", d: `M${c - r} ${c}H${c + r}M${c} ${c - r}V${c + r}` }),
    el("text", { x: size - 2, y: c + 16, "text-anchor": "end" }, t("arc.pleasant")), el("text", { x: 2, y: c + 16 }, t("arc.unpleasant")),
    el("text", { x: c, y: 14, "text-anchor": "middle" }, t("arc.excited")), el("text", { x: c, y: size - 5, "text-anchor": "middle" }, t("arc.drowsy")),
  );
  // Labels that would overlap are moved: angry and fearful are neighbours.
  const above = new Set(["fearful", "surprised"]), left = new Set(["angry"]);
  settings.circumplex.forEach(([valence, arousal], i) => {
    const emotion = settings.emotions[i];
    const anchor = left.has(emotion) ? "end" : "middle";
    const at = left.has(emotion) ? [x(valence) - 9, y(arousal) + 12] : [x(valence), y(arousal) + (above.has(emotion) ? -9 : 17)];
    svg.append(el("circle", { class: "place", tone: i, cx: x(valence), cy: y(arousal), r: 5 }),
      el("text", { class: "label", x: at[0], y: at[1], "text-anchor": anchor }, name(i)));
  });
  const tail = el("path", { class: "tail" });
  const here = el("circle", { class: "here", r: 9, visibility: "hidden" });
  svg.append(tail, here);
  parent.append(svg);
  return (points, state) => {
    const known = points.filter((point) => point[1] !== 0);
    tail.setAttribute("d", known.map((point, i) => `${i && point[0] - known[i - 1][0] < 2 ? "L" : "M"}${f(x(point[4]))} ${f(y(point[5]))}`).join(""));
    const seen = state && state.valence !== undefined;
    here.setAttribute("visibility", seen ? "visible" : "hidden");
    if (seen) {
      here.setAttribute("cx", f(x(state.valence)));
      here.setAttribute("cy", f(y(state.arousal)));
      here.style.setProperty("--tone", settings.colours[state.label]);
    }
    svg.setAttribute("aria-label", seen ? t("plane.near", { emotion: name(state.label) }) : t("plane.nobody"));
  };
}

/**
 * Valence and arousal over time, the most probable emotion as a strip below. Gaps are shown, never bridged.
 * points: [seconds, status, label, confidence, valence, arousal]; from..to: seconds shown; step: seconds between points;
 * cursor: the chosen moment, span: seconds chosen before it; marks: times with a numbered mark.
 */
export function arc(parent, { points, from, to, step, tick, cursor = null, span = 0, marks = [], label }) {
  const width = Math.max(280, parent.clientWidth || 800), plot = 150, strip = 16, left = 34, right = 10, top = 8;
  const height = top + plot + 8 + strip + 22;
  const x = (at) => left + ((at - from) / Math.max(1e-6, to - from)) * (width - left - right);
  const y = (v) => top + (plot * (1 - v)) / 2;
  const svg = el("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, height });
  const shown = points.filter((point) => point[0] >= from - step && point[0] <= to + step);
  const clamp = (at) => Math.min(Math.max(at, from), to);
  const gap = (a, b) => { if (x(b) - x(a) > 0.5) svg.append(el("rect", { class: "gap", x: f(x(a)), y: top, width: f(x(b) - x(a)), height: plot })); };
  const runs = [];
  let run = null, last = from;
  for (const point of shown) {
    if (point[1] === 0) { run = null; continue; }
    if (!run || point[0] - run[run.length - 1][0] > 2.2 * step) {
      gap(clamp(last), clamp(point[0] - step));
      run = [];
      runs.push(run);
    }
    run.push(point);
    last = point[0];
  }
  gap(clamp(last), to);
  svg.append(el("rect", { class: "axis", x: left, y: top, width: width - left - right, height: plot }),
    el("path", { class: "zero", d: `M${left} ${y(0)}H${width - right}` }));
  for (const [value, text] of [1, 0, -1].map((value) => [value, signed(value, 0)])) svg.append(el("text", { x: left - 7, y: y(value) + (value === 1 ? 10 : value === -1 ? 0 : 4), "text-anchor": "end" }, text));
  for (const [column, kind] of [[5, "arousal"], [4, "valence"]]) {
    for (const part of runs) {
      const line = part.map((point) => `${f(x(clamp(point[0])))} ${f(y(point[column]))}`);
      svg.append(el("path", { class: kind, d: line.length > 1 ? `M${line.join("L")}` : `M${line[0]}h2` }));
    }
  }
  const below = top + plot + 8;
  svg.append(el("rect", { class: "axis", x: left, y: below, width: width - left - right, height: strip }));
  for (const part of runs) {
    for (let i = 0; i < part.length;) {
      let j = i;
      while (j < part.length && part[j][2] === part[i][2]) j++;
      const a = x(clamp(part[i][0] - step)), b = x(clamp(part[j - 1][0]));
      const piece = el("rect", { class: "strip", x: f(a), y: below, width: f(Math.max(1, b - a)), height: strip });
      piece.style.fill = settings.colours[part[i][2]];
      svg.append(piece);
      const word = name(part[i][2]);
      if (b - a > 7.5 * word.length) {
        const text = el("text", { x: f((a + b) / 2), y: below + 12, "text-anchor": "middle" }, word);
        text.style.fill = inkOn(settings.colours[part[i][2]]);
        svg.append(text);
      }
      i = j;
    }
  }
  for (const [at, text] of tick(from, to, width)) {
    const anchor = x(at) > width - 40 ? "end" : x(at) < left + 20 ? "start" : "middle";
    svg.append(el("text", { x: f(x(at)), y: height - 4, "text-anchor": anchor }, text));
  }
  marks.forEach((at, i) => svg.append(el("path", { class: "mark", d: `M${f(x(at))} ${top}V${below + strip}` }), el("circle", { class: "mark", cx: f(x(at)), cy: top + 9, r: 8 }), el("text", { class: "mark", x: f(x(at)), y: top + 13, "text-anchor": "middle" }, number(i + 1))));
  if (cursor !== null && span > 0) svg.append(el("rect", { class: "span", x: f(x(clamp(cursor - span))), y: top, width: f(x(cursor) - x(clamp(cursor - span))), height: below + strip - top }));
  if (cursor !== null) svg.append(el("path", { class: "cursor", d: `M${f(x(cursor))} ${top}V${below + strip}` }));
  parent.replaceChildren(svg);
  return { at: (clientX) => { const box = svg.getBoundingClientRect(); return from + (((clientX - box.left) * (width / box.width) - left) / (width - left - right)) * (to - from); } };
}

/** Black or white, whichever has more contrast on a colour. */
function inkOn(colour) {
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16) / 255).map((v) => (v <= 0.04 ? v / 12.9 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.2 ? "#111" : "#fff";
}

/** A small line chart of valence. */
export function spark(values) {
  const w = 112, h = 32;
  const svg = el("svg", { class: "spark", viewBox: `0 0 ${w} ${h}`, "aria-hidden": "true" }, el("line", { x1: 0, x2: w, y1: h / 2, y2: h / 2 }));
  let d = "", pen = false;
  values.forEach((value, i) => {
    if (value === null) { pen = false; return; }
    d += `${pen ? "L" : "M"}${f((i / Math.max(1, values.length - 1)) * w)} ${f((h / 2) * (1 - 0.9 * value))}`;
    pen = true;
  });
  if (d) svg.append(el("path", { d }));
  return svg;
}

/** Round times for the time axis of a recording. */
export function ticks(from, to, width) {
  const length = to - from;
  const step = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600].find((s) => length / s <= Math.min(9, width / 60)) ?? 7200;
  const found = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) found.push([at, clock(at)]);
  return found;
}
