// What the list of conversations shows: search, order, filters.
import { date, t } from "./messages.js";
import { el, named, settings } from "./util.js";

const LENGTHS = { short: { max_s: 60 }, medium: { min_s: 60, max_s: 300 }, long: { min_s: 300 } };
const SORTS = ["newest", "oldest", "worst", "longest"];

/** The controls; changed() is called after each change. Returns { node, values(), choose(day, hour), days(), places(names) }. */
export function filters(changed) {
  const select = (key, label, options) => el("select", { id: `filter-${key}`, "aria-label": label, onchange: changed }, ...options.map(([value, text]) => el("option", { value }, text)));
  const hours = Array.from({ length: 24 }, (_, hour) => [String(hour), date(new Date(2026, 0, 1, hour).getTime() / 1000, { timeStyle: "short" })]);
  const text = el("input", { type: "search", id: "filter-text", maxlength: 100, placeholder: t("filter.search"), "aria-label": t("filter.search"), oninput: () => { clearTimeout(timer); timer = setTimeout(changed, 300); } });
  const sort = select("sort", t("filter.sort"), SORTS.map((key) => [key, t(`filter.${key}`)]));
  const emotion = select("emotion", t("conversations.mostly"), [["", t("filter.any_emotion")], ...settings.emotions.map((word) => [word, named("emotion", word)]), ["none", t("live.nobody_short")]]);
  const length = select("length", t("conversations.length"), [["", t("filter.any_length")], ...Object.keys(LENGTHS).map((key) => [key, t(`filter.${key}`)])]);
  const hour = select("hour", t("filter.hour"), [["", t("filter.any_hour")], ...hours]);
  const place = select("place", t("filter.place"), [["", t("filter.any_place")]]);
  const from = el("input", { type: "date", id: "filter-from", onchange: changed }), to = el("input", { type: "date", id: "filter-to", onchange: changed });
  let timer = 0;
  place.hidden = true;
  const node = el("form", { class: "filters", role: "search", onsubmit: (event) => { event.preventDefault(); changed(); } },
    el("div", { class: "row" }, text, sort),
    el("details", {}, el("summary", {}, t("filter.more")), el("div", { class: "row" },
      el("label", {}, t("filter.from"), from), el("label", {}, t("filter.to"), to), hour, length, emotion, place)));
  return {
    node,
    /** Parameters of the request; only those that are set. */
    values() {
      const set = { sort: sort.value, text: text.value.trim(), emotion: emotion.value, hour: hour.value, place: place.value, from: from.value, to: to.value, ...LENGTHS[length.value] };
      return Object.fromEntries(Object.entries(set).filter(([, value]) => value !== ""));
    },
    /** One day and hour ("" for all hours), nothing else. */
    choose(day, which) {
      node.reset();
      [from.value, to.value, hour.value] = [day, day, which];
      node.querySelector("details").open = true;
    },
    /** First and last day, if only days are chosen. */
    days: () => ({ from: from.value, to: to.value }),
    places(names) {
      place.hidden = !names.length;
      if (names.join("\n") === [...place.options].slice(1).map((option) => option.value).join("\n")) return;
      const chosen = place.value;
      place.replaceChildren(place.options[0], ...names.map((name) => el("option", { value: name }, name)));
      place.value = names.includes(chosen) ? chosen : "";
    },
  };
}
