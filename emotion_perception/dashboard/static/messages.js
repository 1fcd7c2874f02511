// The words of the page in the reader's language, with numbers and dates of the reader's region.
//
// messages/<language>.json maps flat keys to texts. {name} is replaced by a value: numbers are written as the region
// writes them, other values as they are. A text with plural forms is an object keyed by CLDR category
// ("one", "few", ..., "other"); the value n chooses. HTML takes texts by the attribute data-t and labels by data-t-label.
// The server fills keys that a language lacks with English (dashboard/static_files.py).

export const LANGUAGES = { en: "English", de: "Deutsch", fr: "Français", es: "Español", it: "Italiano", ja: "日本語", ar: "العربية" };
const RIGHT_TO_LEFT = new Set(["ar"]);
const REMEMBERED = "language";

/** A value that the browser remembers; null where it keeps nothing (private windows may refuse). */
export function remembered(key) {
  try { return localStorage.getItem(key); } catch { return null; }
}

/** Remember a value in this browser, if it allows that. */
export function remember(key, value) {
  try { localStorage.setItem(key, value); } catch { /* it lasts until the page is closed */ }
}

function chosenLanguage() {
  const base = (tag) => tag.toLowerCase().split("-")[0];
  const wanted = [remembered(REMEMBERED) ?? "", ...navigator.languages].map(base);
  return wanted.find((language) => language in LANGUAGES) ?? "en";
}

export const language = chosenLanguage();
/** Tag for Intl: the browser's own region if it speaks the language of the page. */
export const locale = navigator.languages.find((tag) => tag.toLowerCase().split("-")[0] === language) ?? language;
export const rightToLeft = RIGHT_TO_LEFT.has(language);

document.documentElement.lang = language;
document.documentElement.dir = rightToLeft ? "rtl" : "ltr";
const response = await fetch(new URL(`messages/${language}.json`, import.meta.url));
const texts = await response.json();
const plural = new Intl.PluralRules(locale);

const formats = new Map();
/** A number as the region writes it; options as for Intl.NumberFormat. */
export function number(value, options = {}) {
  const key = JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.NumberFormat(locale, options));
  return formats.get(key).format(value);
}

/** A date or time; at: seconds since the epoch, options as for Intl.DateTimeFormat. */
export function date(at, options) {
  const key = `date ${JSON.stringify(options)}`;
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat(locale, options));
  return formats.get(key).format(1000 * at);
}

/** "a, b and c". */
export const join = (items) => new Intl.ListFormat(locale, { type: "conjunction" }).format(items);

// Signs between numbers have no direction of their own: inside Arabic text these keep their order.
const leftToRight = (text) => (rightToLeft ? `\u2066${text}\u2069` : text);

/** A text of any direction, such as a name or a sentence, inside a line of Arabic: its first letter decides. */
export function isolated(text) {
  if (!rightToLeft) return text;
  const letter = text.match(/\p{L}/u)?.[0] ?? "";
  return `${/[\p{Script=Arabic}\p{Script=Hebrew}]/u.test(letter) ? "\u2067" : "\u2066"}${text}\u2069`;
}

/** A share from 0 to 1 in per cent. */
export const percent = (share) => number(share, { style: "percent", maximumFractionDigits: 0 });
/** A number with its sign. */
export const signed = (value, digits = 2) => leftToRight(number(value, { signDisplay: "exceptZero", minimumFractionDigits: digits, maximumFractionDigits: digits }));
/** A value with its margin: 68 ± 2. */
export const withMargin = (value, margin) => leftToRight(`${number(value)} ± ${number(margin)}`);

/** A duration: 1:30 (min:s) or 1:00:00. */
export function clock(seconds) {
  const s = Math.max(0, Math.round(seconds));
  const two = (part) => number(part, { minimumIntegerDigits: 2 });
  const [hours, minutes] = [Math.floor(s / 3600), Math.floor(s / 60) % 60];
  return leftToRight(hours ? `${number(hours)}:${two(minutes)}:${two(s % 60)}` : `${number(minutes)}:${two(s % 60)}`);
}

/** A text that begins with a capital letter. */
export const capital = (text) => text.charAt(0).toLocaleUpperCase(locale) + text.slice(1);

/** The text of a key. */
export function t(key, values = {}) {
  let text = texts[key];
  if (text === undefined) {
    console.error(`no text for ${key}`);
    return key;
  }
  if (typeof text === "object") text = text[plural.select(values.n)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (_, name) => (typeof values[name] === "number" ? number(values[name]) : isolated(String(values[name]))));
}

/** Whether a key has a text; for words that the server names. */
export const has = (key) => key in texts;

/** Fill in the texts of elements with data-t and data-t-label. */
export function translate(root = document) {
  for (const node of root.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of root.querySelectorAll("[data-t-label]")) node.setAttribute("aria-label", t(node.dataset.tLabel));
}

/** Change the language: the page is loaded again in it. */
export function speak(tag) {
  remember(REMEMBERED, tag);
  location.reload();
}

translate();
document.documentElement.classList.add("ready");
