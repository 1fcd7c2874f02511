// Robots and places side by side: the figures of a day, week or month; export and import of their files.
import { iso, parse, periodAfter, write } from "./days.js";
import { date, number, t, withMargin } from "./messages.js";
import { api, byId, detail, el, replace, setText } from "./util.js";

const REFRESH_MS = 60000;

export function view() {
  let kind = "day", day = null, shown = null; // day: null follows the calendar
  const kinds = ["day", "week", "month"].map((which) => el("button", { type: "button", class: "quiet", "data-kind": which, onclick: () => { kind = which; load(); } }, t(`today.${which}`)));
  const picker = el("input", { type: "date", "aria-label": t("today.date"), onchange: () => { if (picker.value) { day = picker.value; load(); } } });
  const next = arrow("next", "›", 1);
  const line = el("p", { class: "soft", "aria-live": "polite" }), table = el("div"), error = el("p", { class: "error", role: "alert" }), files = el("div");
  replace(byId("places-controls"), el("span", { class: "kinds" }, ...kinds), arrow("previous", "‹", -1), picker, next);
  replace(byId("places-body"), line, table, files, error);

  function arrow(key, sign, by) {
    return el("button", { type: "button", class: "quiet arrow", "aria-label": t(`today.${key}`), onclick: () => move(by) }, sign);
  }

  function move(by) {
    day = periodAfter(shown.first, kind, by);
    load();
  }

  async function load() {
    try { shown = await api(`sources?kind=${kind}${day ? `&date=${day}` : ""}`); } catch (problem) { return setText(error, problem.message); }
    setText(error, "");
    picker.value = day ?? shown.first;
    next.disabled = shown.current;
    for (const button of kinds) button.setAttribute("aria-pressed", String(button.dataset.kind === kind));
    const long = { weekday: "long", day: "numeric", month: "long", year: "numeric" };
    setText(line, kind === "day" ? write(shown.first, long) : t("today.span", { from: write(shown.first, { day: "numeric", month: "long" }), to: write(shown.last, { day: "numeric", month: "long", year: "numeric" }) }));
    const most = Math.max(1, ...shown.sources.map((one) => one.total.conversations));
    const head = ["place", "conversations", "satisfaction", "change", "worst"];
    replace(table, el("article", { class: "card" }, el("table", { class: "places" },
      el("caption", { class: "hidden" }, t("places.table")),
      el("thead", {}, el("tr", {}, ...head.map((key) => el("th", { scope: "col" }, key === "change" ? t(`places.change.${kind}`) : key === "worst" ? t(`places.worst.${kind === "day" ? "hour" : "day"}`) : t(`places.${key}`))))),
      el("tbody", {}, ...shown.sources.map((one) => row(one, most))))));
    if (!files.firstChild) replace(files, exchange());
  }

  function row(one, most) {
    const { total, change, worst } = one, name = one.kind === "own" ? t("places.own") : one.name;
    const bar = el("i");
    bar.style.inlineSize = `${100 * total.conversations / most}%`;
    const note = one.problem ? [t("places.problem"), " ", detail(one.problem)] : one.made ? [t("places.made", { when: date(one.made, { dateStyle: "medium", timeStyle: "short" }) })] : one.kind === "archive" ? [t("places.archive")] : null;
    return el("tr", { "data-source": one.id },
      el("th", { scope: "row" }, el("a", { href: `#/today/${one.id}/${kind}${shown.current ? "" : `/${shown.first}`}`, dir: "auto" }, name), note ? el("span", { class: "soft" }, ...note) : null,
        one.kind === "file" ? el("button", { type: "button", class: "quiet danger", "data-key": `remove ${one.id}`, "aria-label": t("places.remove_label", { name }), onclick: () => remove(one.id) }, t("places.remove")) : null),
      cell("places.conversations", el("span", { class: "amount" }, el("span", { class: "n" }, number(total.conversations)), el("span", { class: "volume", "aria-hidden": "true" }, bar))),
      cell("places.satisfaction", total.satisfaction === null ? el("span", { class: "soft" }, one.problem ? "–" : t(total.conversations ? "places.no_score" : "places.none")) : score(total)),
      cell(`places.change.${kind}`, verdict(one.problem ? null : change)),
      cell(`places.worst.${kind === "day" ? "hour" : "day"}`, worst ? el("span", {}, el("strong", {}, partName(worst.name)), " ", el("span", { class: "soft" }, plusMinus(worst))) : el("span", { class: "soft" }, "–")));
  }

  /** A cell; on a narrow screen it shows the heading of its column. */
  const cell = (key, content) => el("td", { "data-label": t(key) }, content);
  const plusMinus = (item) => (item.margin === null ? number(Math.round(item.satisfaction)) : withMargin(Math.round(item.satisfaction), Math.ceil(item.margin)));

  function score(item) {
    const range = el("i"), mark = el("b"), margin = item.margin ?? 0;
    const [low, high] = [Math.max(0, item.satisfaction - margin), Math.min(100, item.satisfaction + margin)];
    Object.assign(range.style, { left: `${low}%`, width: `${high - low}%` });
    mark.style.left = `${item.satisfaction}%`;
    return el("span", { class: "score" }, el("span", { class: "gauge", "aria-hidden": "true" }, range, mark), el("strong", {}, plusMinus(item)));
  }

  function verdict(change) {
    if (!change) return el("span", { class: "soft" }, "–");
    if (change.verdict === "up" || change.verdict === "down") return el("strong", { class: change.verdict }, t(`today.points_${change.verdict}`, { n: Math.abs(change.points) }));
    return el("span", { class: "soft" }, t(`today.verdict.${change.verdict}`));
  }

  /** An hour as "14–15", a day with its weekday. */
  function partName(part) {
    if (kind === "day") return t("today.hours", { from: number(Number(part)), to: number((Number(part) + 1) % 24) });
    const first = parse(shown.first);
    first.setDate(first.getDate() + Number(part) - (kind === "month" ? 1 : 0));
    return write(iso(first), kind === "week" ? { weekday: "long" } : { weekday: "short", day: "numeric" });
  }

  // --- files
  function exchange() {
    const lines = el("input", { type: "checkbox", onchange: () => { link.href = href(); } });
    const href = () => `/api/export?conversations=${lines.checked ? 1 : 0}`;
    const link = el("a", { class: "button", href: href(), download: "" }, t("places.export"));
    const input = el("input", { type: "file", id: "place-file", class: "hidden", accept: ".json,application/json", onchange: () => add(input) });
    return el("div", { class: "grid two exchange" },
      shown.sources.some((one) => one.kind === "own") ? el("article", { class: "card" }, el("h2", {}, t("places.export_title")), el("p", { class: "soft" }, t("places.export_text")),
        el("label", { class: "row" }, lines, t("places.export_lines")), el("div", { class: "row" }, link)) : null,
      shown.imports ? el("article", { class: "card" }, el("h2", {}, t("places.import_title")), el("p", { class: "soft" }, t("places.import_text")),
        el("div", { class: "row" }, el("label", { class: "button", for: "place-file" }, t("places.import")), input)) : null);
  }

  async function add(input) {
    const [file] = input.files;
    if (!file) return;
    setText(error, "");
    try {
      const added = await api("sources", { method: "POST", body: file });
      setText(byId("announce"), t("places.imported", { name: added.name }));
      await load();
    } catch (problem) { setText(error, problem.message); }
    input.value = "";
  }

  async function remove(id) {
    try { await api(`sources/${id}`, { method: "DELETE" }); } catch (problem) { setText(error, problem.message); }
    await load();
  }

  setInterval(() => { if (!document.hidden && !byId("places").hidden && (day === null || shown?.current)) load(); }, REFRESH_MS);
  return { shown: load };
}
