// Node health, from /diagnostics.
import { byId, el, replace, setText } from "./util.js";

const WORDS = { ok: "fine", warn: "warning", error: "error", stale: "silent" };
const TASKS = {
  visual_node: "Faces", acoustic_node: "Voices", fusion_node: "Emotion state", interaction_node: "Conversations", overlay_node: "Annotated picture",
  media_source_node: "Camera and microphone", dashboard_node: "This page", ros4hri_node: "ROS4HRI faces",
};
const FIRST = ["rate (Hz)", "latency p50 (ms)", "latency p95 (ms)", "dropped", "rejected", "model"];

export function robot() {
  const cards = new Map();
  return (section) => {
    const bad = section.nodes.filter((node) => node.level !== "ok");
    const badge = byId("robot-badge");
    badge.hidden = !bad.length;
    setText(badge, String(bad.length));
    badge.setAttribute("aria-label", `${bad.length} need attention`);
    setText(byId("robot-lead"), !section.nodes.length ? "No part of the robot has reported yet." : bad.length ? `${bad.length} of ${section.nodes.length} parts need attention.` : `All ${section.nodes.length} parts are fine.`);
    for (const [name, card] of cards) if (!section.nodes.some((node) => node.name === name)) { card.remove(); cards.delete(name); }
    for (const node of section.nodes) {
      let card = cards.get(node.name);
      if (!card) {
        card = el("article", {}, el("header", {}, el("h2", {}), el("span", { class: "pill" })), el("p"), el("dl"));
        cards.set(node.name, card);
        byId("nodes").append(card);
      }
      card.className = `card node ${node.level}`;
      setText(card.querySelector("h2"), `${TASKS[node.name] ?? node.name} (${node.name})`);
      setText(card.querySelector(".pill"), WORDS[node.level]);
      setText(card.querySelector("p"), node.message);
      const keys = [...FIRST.filter((key) => key in node.values), ...Object.keys(node.values).filter((key) => !FIRST.includes(key) && key !== "lifecycle state")];
      replace(card.querySelector("dl"), ...keys.map((key) => el("div", {}, el("dt", {}, key), el("dd", {}, node.values[key]))));
    }
  };
}
