// Shared by all views: elements without HTML strings, requests, words.
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
export const percent = (share) => `${Math.round(100 * share)} %`;
export const signed = (value) => (value > 0 ? "+" : value < 0 ? "−" : "±") + Math.abs(value).toFixed(2);
export const name = (label) => settings.emotions[label];

export function clock(seconds) {
  const s = Math.max(0, Math.round(seconds));
  const parts = [Math.floor(s / 3600), Math.floor(s / 60) % 60, s % 60];
  const text = parts.map((part, i) => (i === 0 ? String(part) : String(part).padStart(2, "0")));
  return parts[0] ? text.join(":") : `${parts[1]}:${text[2]}`;
}

/** Valence as a word. */
export function mood(valence) {
  if (valence === null || valence === undefined) return "unknown";
  const degree = Math.abs(valence) > 0.5 ? "very " : Math.abs(valence) < 0.25 ? "slightly " : "";
  return Math.abs(valence) < 0.1 ? "indifferent" : degree + (valence > 0 ? "pleasant" : "unpleasant");
}

/** Send a request to the server; throws an Error whose message can be shown. */
export async function api(path, options = {}) {
  let response;
  try {
    response = await fetch(`/api/${path}`, { ...options, headers: { "X-Dashboard": "1", ...(options.headers ?? {}) } });
  } catch {
    throw new Error("the dashboard does not answer; is it running?");
  }
  if (response.status === 401) location.assign("/login");
  const answer = await response.json().catch(() => ({ error: `the dashboard answered ${response.status}` }));
  if (!response.ok) throw new Error(answer.error ?? `the dashboard answered ${response.status}`);
  return answer;
}

export const swatch = (label, small = true) => el("i", { class: small ? "swatch s" : "swatch", tone: label, "aria-hidden": "true" });

export function replace(parent, ...children) {
  parent.replaceChildren(...children.filter((child) => child !== null && child !== undefined));
}

/** Set a text only if it changes, so that nothing is drawn or read out again. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
