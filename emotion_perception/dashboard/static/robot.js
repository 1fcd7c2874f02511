// Node health, from /diagnostics.
import { byId, el, replace, say } from "./util.js";

const WORDS = { ok: "fine", warn: "warning", error: "error", stale: "silent" };
const TASKS = {
  visual_node: "Faces", acoustic_node: "Voices", fusion_node: "Emotion state", interaction_node: "Conversations", overlay_node: "Annotated picture",
  media_source_node: "Camera and microphone", dashboard_node: "This page", ros4hri_node: "ROS4HRI faces",
};
const FIRST = ["rate (Hz)", "latency p50 (ms)", "latency p95 (ms)", "dropped", "rejected", "model"];

export function robot() {
  const cards = new Map();
  return (told) => {
    const bad = told.nodes.filter((node) => node.level !== "ok");
    const badge = byId("robot-badge");
    badge.hidden = !bad.length;
    say(badge, String(bad.length));
    badge.setAttribute("aria-label", `${bad.length} need attention`);
    say(byId("robot-lead"), !told.nodes.length ? "No part of the robot has reported yet." : bad.length ? `${bad.length} of ${told.nodes.length} parts need attention.` : `All ${told.nodes.length} parts are fine.`);
    for (const [name, card] of cards) if (!told.nodes.some((node) => node.name === name)) { card.remove(); cards.delete(name); }
    for (const node of told.nodes) {
      let card = cards.get(node.name);
      if (!card) {
        card = el("article", {}, el("header", {}, el("h2", {}), el("span", { class: "pill" })), el("p"), el("dl"));
        cards.set(node.name, card);
        byId("nodes").append(card);
      }
      card.className = `card node ${node.level}`;
      say(card.querySelector("h2"), `${TASKS[node.name] ?? node.name} (${node.name})`);
      say(card.querySelector(".pill"), WORDS[node.level]);
      say(card.querySelector("p"), node.message);
      const keys = [...FIRST.filter((key) => key in node.values), ...Object.keys(node.values).filter((key) => !FIRST.includes(key) && key !== "lifecycle state")];
      replace(card.querySelector("dl"), ...keys.map((key) => el("div", {}, el("dt", {}, key), el("dd", {}, node.values[key]))));
    }
  };
}
