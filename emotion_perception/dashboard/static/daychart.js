// A day by hours, or a week or month by days: satisfaction as a curve with its margin, conversations as bars.
import { number, t, withMargin } from "./messages.js";
import { el } from "./util.js";

const CURVE = 150, GAP = 40, BARS = 64, LEFT = 34, RIGHT = 8, TOP = 14, FEW = 5;
const f = (x) => x.toFixed(1);

/** From the first part with conversations to the last; at least six, so that bars do not get too wide. */
export function shownParts(parts) {
  const busy = parts.map((part, i) => (part.conversations || part.before !== null ? i : -1)).filter((i) => i >= 0);
  if (parts.length < 20 || !busy.length || parts.length > 25) return [0, parts.length];
  const first = Math.max(0, Math.min(busy[0], parts.length - 6));
  return [first, Math.min(parts.length, Math.max(busy[busy.length - 1] + 1, first + 6))];
}

/**
 * Draw it. parts: of /api/today; nameOf(part): its name on the axis; titleOf(part): in full;
 * marked: index of the worst part or null; label: the whole in words; choose(part): a part was clicked.
 */
export function dayChart(parent, { parts, nameOf, titleOf, marked, label, choose }) {
  const width = Math.max(280, parent.clientWidth || 700), height = TOP + CURVE + GAP + BARS + 22;
  const [from, to] = shownParts(parts), step = (width - LEFT - RIGHT) / (to - from);
  const x = (i) => LEFT + (i - from + 0.5) * step, y = (score) => TOP + CURVE * (1 - score / 100);
  const svg = el("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, height, class: "day-chart" });
  for (const score of [0, 50, 100]) {
    svg.append(el("path", { class: score === 50 ? "zero" : "axis", d: `M${LEFT} ${y(score)}H${width - RIGHT}` }),
      el("text", { x: LEFT - 7, y: y(score) + 4, "text-anchor": "end" }, number(score)));
  }
  const base = TOP + CURVE + GAP + BARS, most = Math.max(1, ...parts.map((part) => part.conversations));
  svg.append(el("path", { class: "axis", d: `M${LEFT} ${base}H${width - RIGHT}` }));

  const runs = (has) => {
    const found = [];
    for (let i = from; i < to; i++) {
      if (!has(parts[i])) continue;
      if (found.length && found[found.length - 1].at(-1) === i - 1) found[found.length - 1].push(i);
      else found.push([i]);
    }
    return found;
  };
  const clamp = (score) => Math.max(0, Math.min(100, score));
  const known = (part) => part.satisfaction !== null;
  for (const run of runs((part) => known(part) && part.margin !== null && part.scored >= FEW)) {
    if (run.length < 2) continue;
    const edge = (sign) => run.map((i) => `${f(x(i))} ${f(y(clamp(parts[i].satisfaction + sign * parts[i].margin)))}`);
    svg.append(el("path", { class: "band", d: `M${edge(1).join("L")}L${edge(-1).reverse().join("L")}Z` }));
  }
  const line = (run, value) => `M${run.map((i) => `${f(x(i))} ${f(y(value(parts[i])))}`).join("L")}`;
  for (const run of runs((part) => part.before !== null)) svg.append(el("path", { class: "before", d: line(run, (part) => part.before) }));
  for (const run of runs(known)) svg.append(el("path", { class: "valence", d: line(run, (part) => part.satisfaction) }));

  const every = Math.ceil(30 / step), labelled = (i) => (i - from) % every === 0;
  for (let i = from; i < to; i++) {
    const part = parts[i], worst = i === marked, high = BARS * (part.conversations / most);
    const column = el("g", { class: worst ? "part worst" : "part", onclick: part.conversations ? () => choose(part) : null }, el("title", {}, titleOf(part)),
      el("rect", { class: "touch", x: f(x(i) - step / 2), y: TOP, width: f(step), height: base - TOP }),
      part.conversations ? el("rect", { class: "bar", x: f(x(i) - step * 0.36), y: f(base - high), width: f(step * 0.72), height: f(high), rx: 2 }) : null,
      part.conversations && step > 22 ? el("text", { x: f(x(i)), y: f(base - high - 5), "text-anchor": "middle" }, number(part.conversations)) : null,
      known(part) ? el("circle", { class: part.scored >= FEW ? "dot" : "dot few", cx: f(x(i)), cy: f(y(part.satisfaction)), r: worst ? 5.5 : 3.5 }) : null,
      labelled(i) || worst ? el("text", { class: "hour", x: f(x(i)), y: base + 16, "text-anchor": "middle" }, nameOf(part)) : null);
    svg.append(column);
    if (worst) svg.append(el("text", { class: "worst-text", x: f(x(i)), y: f(Math.min(TOP + CURVE + 16, y(part.satisfaction) + 22)), "text-anchor": "middle" }, withMargin(Math.round(part.satisfaction), Math.ceil(part.margin))));
  }
  svg.append(el("text", { class: "caption", x: LEFT, y: TOP + CURVE + 17 }, t("today.conversations")));
  parent.replaceChildren(svg);
}
