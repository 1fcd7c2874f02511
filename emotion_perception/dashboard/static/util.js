// Shared by all views: elements without HTML strings, requests, names of what the server sends.
import { has, language, percent, t } from "./messages.js";
import { expert } from "./preferences.js";

export const settings = {};

/** An element. Attributes by name; "on..." adds a listener, "tone" an emotion's colour; children are nodes or texts. */
export function el(name, attributes = {}, ...children) {
  const svg = ["svg", "path", "line", "rect", "circle", "text", "g", "title", "polyline"].includes(name);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "tone") node.style.setProperty("--tone", settings.colours[value] ?? value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export const byId = (id) => document.getElementById(id);

/** An emotion's name; label: its index. */
export const name = (label) => t(`emotion.${settings.emotions[label]}`);

/** "happy 80%". */
export const withShare = (label, share) => t("live.label_share", { emotion: name(label), share: percent(share) });

/** A word that the server sends in English: its translation under <group>.<word>, or the word itself. */
export function named(group, word) {
  const key = `${group}.${word.toLowerCase().replace(/[^a-z0-9]+/g, "_").replace(/^_|_$/g, "")}`;
  return has(key) ? t(key) : word;
}

/** Valence as words. */
export function mood(valence) {
  if (valence === null || valence === undefined) return t("mood.unknown");
  if (Math.abs(valence) < 0.1) return t("mood.indifferent");
  const degree = Math.abs(valence) > 0.5 ? "very_" : Math.abs(valence) < 0.25 ? "slightly_" : "";
  return t(`mood.${degree}${valence > 0 ? "pleasant" : "unpleasant"}`);
}

/** Technical words of the server, which are English; shown in the expert view only. */
export const detail = (text) => el("span", { class: "expert-only", lang: "en", dir: "ltr" }, text);

/** What the reader is told of a refusal: the server's own reason in English, the kind of problem in other languages. */
function refusal(status, reason) {
  const kind = t(has(`error.${status}`) ? `error.${status}` : "error.other", { status: String(status) });
  if (!reason) return kind;
  if (language === "en") return reason;
  return expert() ? `${kind} (${reason})` : kind;
}

/** Send a request to the server; throws an Error whose message can be shown. */
export async function api(path, options = {}) {
  let response;
  try {
    response = await fetch(`/api/${path}`, { ...options, headers: { "X-Dashboard": "1", ...(options.headers ?? {}) } });
  } catch {
    throw new Error(t("error.no_answer"));
  }
  if (response.status === 401) location.assign("/login");
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(refusal(response.status, answer.error));
  return answer;
}

export const swatch = (label, small = true) => el("i", { class: small ? "swatch s" : "swatch", tone: label, "aria-hidden": "true" });

/** A card that explains why there is nothing to show. */
export const empty = (title, text) => el("div", { class: "card" }, el("div", { class: "unknown" }, el("strong", {}, title), el("p", { class: "soft" }, text)));

/** New children; the focus stays on the child with the same id or data-key. */
export function replace(parent, ...children) {
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  parent.replaceChildren(...children.filter((child) => child !== null && child !== undefined));
  if (!focused || parent.contains(focused)) return;
  const key = focused.id ? `#${CSS.escape(focused.id)}` : focused.dataset.key ? `[data-key="${CSS.escape(focused.dataset.key)}"]` : "";
  const same = key ? parent.querySelector(key) : null;
  if (same) same.focus({ preventScroll: true });
  else { // what was focused is gone: its container, not the top of the page
    parent.tabIndex = -1;
    parent.focus({ preventScroll: true });
  }
}

/** Set a text only if it changes, so that nothing is drawn or read out again. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
