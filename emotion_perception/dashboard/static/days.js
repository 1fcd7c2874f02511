// Days as the server names them, YYYY-MM-DD, in the local calendar.
import { locale } from "./messages.js";

const pad = (n) => String(n).padStart(2, "0");
export const iso = (day) => `${day.getFullYear()}-${pad(day.getMonth() + 1)}-${pad(day.getDate())}`;
export const parse = (text) => { const [y, m, d] = text.split("-").map(Number); return new Date(y, m - 1, d); };
export const write = (text, options) => new Intl.DateTimeFormat(locale, options).format(parse(text));

/** The first day of the period (day, week, month) that is `by` periods after the one that starts on `first`. */
export function periodAfter(first, kind, by) {
  const day = parse(first);
  if (kind === "month") day.setMonth(day.getMonth() + by);
  else day.setDate(day.getDate() + by * (kind === "week" ? 7 : 1));
  return iso(day);
}
