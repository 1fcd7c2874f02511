// Health of the robot's parts, from /diagnostics.
import { t } from "./messages.js";
import { byId, detail, el, named, replace, setText } from "./util.js";

// Figures that are listed first.
const FIRST = ["rate (Hz)", "latency p50 (ms)", "latency p95 (ms)", "dropped", "rejected", "model"];

export function view() {
  const cards = new Map();

  function health(section) {
    const bad = section.nodes.filter((node) => node.level !== "ok"), n = section.nodes.length;
    setText(byId("robot-lead"), !n ? t("robot.none") : bad.length ? t("robot.bad", { bad: bad.length, n }) : t("robot.all_fine", { n }));
    for (const [name, card] of cards) if (!section.nodes.some((node) => node.name === name)) { card.remove(); cards.delete(name); }
    for (const node of section.nodes) {
      let card = cards.get(node.name);
      if (!card) {
        const id = node.name.split("/").at(-1), title = named("node", id);
        card = el("article", {}, el("header", {}, el("h2", {}, title, title === id ? null : detail(` (${node.name})`)), el("span", { class: "pill" })),
          el("p", {}, el("span"), detail("")), el("dl", { class: "expert-only", lang: "en", dir: "ltr" }));
        cards.set(node.name, card);
        byId("nodes").append(card);
      }
      card.className = `card node ${node.level}`;
      setText(card.querySelector(".pill"), t(`level.${node.level}`));
      const [words, technical] = card.querySelector("p").children;
      setText(words, node.level === "ok" ? "" : named("camera", node.message) === node.message ? t(`robot.${node.level}`) : named("camera", node.message));
      setText(technical, node.message);
      const keys = [...FIRST.filter((key) => key in node.values), ...Object.keys(node.values).filter((key) => !FIRST.includes(key) && key !== "lifecycle state")];
      replace(card.querySelector("dl"), ...keys.map((key) => el("div", {}, el("dt", {}, key), el("dd", {}, node.values[key]))));
    }
  }
  return { sections: { health } };
}
