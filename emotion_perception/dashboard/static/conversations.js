// Stored conversations by day, each with its report; reports of a conversation, a day, a week.
import { arc, spark, ticks } from "./charts.js";
import { clock, date, percent, signed, t, withMargin } from "./messages.js";
import { api, byId, detail, el, empty, mood, named, replace, settings, swatch } from "./util.js";

const FORMATS = [["pdf", "PDF"], ["html", "HTML"], ["csv", "CSV"]];

function localDay(seconds) {
  const date = new Date(1000 * seconds);
  return `${date.getFullYear()}-${String(date.getMonth() + 1).padStart(2, "0")}-${String(date.getDate()).padStart(2, "0")}`;
}

/** ISO 8601 week of a day. */
function week(day) {
  const date = new Date(`${day}T12:00:00Z`);
  date.setUTCDate(date.getUTCDate() + 4 - (date.getUTCDay() || 7)); // the year of a week is the year of its Thursday
  const first = Date.UTC(date.getUTCFullYear(), 0, 1);
  return `${date.getUTCFullYear()}-W${String(Math.ceil(((date - first) / 86400000 + 1) / 7)).padStart(2, "0")}`;
}

let withPictures = false; // in HTML and PDF; needs consent to store them

export function exportsOf(kind, id, what) {
  const query = (ending) => settings.pictures && withPictures && ending !== "csv" ? "?pictures=1" : "";
  return el("span", { class: "row", role: "group", "aria-label": t("report.of", { what }) },
    ...FORMATS.map(([ending, text]) => el("a", { href: `/api/reports/${kind}/${encodeURIComponent(id)}.${ending}${query(ending)}`, target: ending === "html" ? "_blank" : null, rel: "noopener", "aria-label": t("report.format_of", { format: text, what }) }, text)));
}

/** 0 to 100 with its margin. */
function gauge(item) {
  if (item.score === null) return el("span", { class: "soft" }, t("conversations.too_little"));
  const range = el("i"), mark = el("b");
  const low = Math.max(0, item.score - item.margin), high = Math.min(100, item.score + item.margin);
  Object.assign(range.style, { left: `${low}%`, width: `${high - low}%` });
  mark.style.left = `${item.score}%`;
  return el("span", { class: "score" }, el("span", { class: "gauge", "aria-hidden": "true" }, range, mark),
    el("strong", {}, withMargin(item.score, item.margin)));
}

export function view() {
  const dialog = byId("conversation");

  async function open(id) {
    replace(dialog, el("p", { class: "busy" }, el("i"), t("conversations.reading")));
    dialog.showModal();
    const close = el("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, t("dialog.close"));
    let all;
    try { all = await api(`conversations/${encodeURIComponent(id)}`); } catch (error) {
      return replace(dialog, el("p", { class: "error", role: "alert" }, error.message), el("div", { class: "row end" }, close));
    }
    const { arc: course, satisfaction } = all;
    const chart = el("div", { class: "chart" });
    const points = course.valence.map((valence, i) => {
      const at = (i + 1) * course.step;
      return valence === null ? [at, 0] : [at, 1, settings.emotions.indexOf(course.label[i]), course.confidence[i], valence, course.arousal[i]];
    });
    const factors = satisfaction.factors.filter((item) => Math.abs(item.points) >= 0.5).slice(0, 6);
    const times = Object.entries(all.seconds_by_label).filter(([, s]) => s >= 0.5).sort((a, b) => b[1] - a[1]);
    replace(dialog,
      el("div", { class: "top-row" }, el("div", {}, el("h2", { id: "conversation-name" }, all.name || t("conversations.one")),
        el("p", { class: "soft" }, `${date(all.start, { dateStyle: "long", timeStyle: "short" })}, ${clock(all.duration)}`, detail(`; ${all.ended_by}`))), close),
      all.recovered ? el("p", { class: "error" }, t("conversations.interrupted")) : null,
      el("p", { class: "row" }, satisfaction.score === null ? el("strong", {}, t("conversations.no_score")) : el("span", { class: "big" }, withMargin(satisfaction.score, satisfaction.margin)),
        el("span", { class: "soft" }, satisfaction.score === null ? t("conversations.too_little") : t("conversations.of_100", { verdict: named("verdict", satisfaction.verdict) }), detail(` ${satisfaction.reason}`))),
      chart,
      el("div", { class: "split" },
        el("div", {}, el("h3", {}, t("conversations.time_by_emotion")), el("table", {}, el("tbody", {}, ...times.map(([emotion, s]) => el("tr", {}, el("td", {}, swatch(settings.emotions.indexOf(emotion)), named("emotion", emotion)), el("td", { class: "n" }, clock(s)), el("td", { class: "n" }, percent(s / Math.max(1, times.reduce((sum, [, x]) => sum + x, 0))))))))),
        el("div", {}, el("h3", {}, t("conversations.contributions")), factors.length ? el("table", {}, el("tbody", {}, ...factors.map((item) => el("tr", {}, el("td", {}, item.text), el("td", { class: "n" }, signed(item.points, 1)))))) : el("p", { class: "soft" }, t("conversations.no_factor")))),
      el("p", { class: "soft" }, t("conversations.shape", { shape: named("shape", course.shape.text), share: percent(all.coverage.any) }), detail(` ${course.shape.reason}`)),
      el("div", { class: "row end" }, exportsOf("conversation", id, t("report.this"))));
    arc(chart, { points, from: 0, to: all.duration, step: course.step, tick: ticks, label: t("arc.over", { time: clock(all.duration) }) });
  }

  let newestList = { conversations: [] };
  let shown = ""; // what the list was made of: it is not redrawn under the finger of a user unless it changed

  // Face pictures for reports: show them in reports, delete them.
  const box = el("input", { type: "checkbox", id: "with-pictures", onchange: () => { withPictures = box.checked; list(newestList); box.focus(); } });
  const pictureControls = [el("label", { class: "row" }, box, t("pictures.include")),
    el("button", { type: "button", class: "quiet danger", onclick: () => byId("sure-delete-pictures").showModal() }, t("pictures.delete_all"))];
  byId("pictures-no").addEventListener("click", () => byId("sure-delete-pictures").close());
  byId("pictures-yes").addEventListener("click", async () => {
    byId("sure-delete-pictures").close();
    try { byId("announce").textContent = t("pictures.deleted", { n: (await api("pictures", { method: "DELETE" })).deleted }); } catch (problem) { byId("announce").textContent = problem.message; }
  });

  function list(section) {
    newestList = section;
    const drawn = JSON.stringify([section, settings.stored, settings.pictures, withPictures]);
    if (drawn === shown) return undefined;
    shown = drawn;
    const items = section.conversations;
    const target = byId("conversation-list");
    if (!settings.stored) return replace(target, empty(t("conversations.off_title"), t("conversations.off")), detail("interaction_node: directory, dashboard_node: conversations_directory"));
    if (!items.length) return replace(target, empty(t("conversations.none_title"), t("conversations.none")));
    const days = Map.groupBy ? Map.groupBy(items, (item) => localDay(item.start)) : items.reduce((map, item) => map.set(localDay(item.start), [...(map.get(localDay(item.start)) ?? []), item]), new Map());
    const newest = localDay(items[0].start);
    replace(byId("conversation-exports"), el("span", { class: "soft" }, t("report.week", { week: week(newest) })), exportsOf("week", week(newest), t("report.the_week")), ...(settings.pictures ? pictureControls : []));
    replace(target, ...[...days].map(([day, those]) => {
      const scored = those.filter((item) => item.score !== null);
      const mean = scored.reduce((sum, item) => sum + item.score, 0) / Math.max(1, scored.length);
      return el("article", { class: "card day" },
        el("header", {}, el("h2", {}, date(those[0].start, { dateStyle: "full" })),
          el("span", { class: "soft" }, [t("conversations.count", { n: those.length }), scored.length ? t("conversations.mean", { mean: Math.round(mean), n: scored.length }) : ""].join(" ")), exportsOf("day", day, date(those[0].start, { dateStyle: "long" }))),
        el("table", {}, el("thead", {}, el("tr", {}, ...["one", "length", "mood", "mostly", "satisfaction"].map((column) => el("th", { scope: "col" }, t(`conversations.${column}`))))),
          el("tbody", {}, ...those.map((item) => el("tr", { onclick: () => open(item.id) },
            el("td", {}, el("button", { type: "button", class: "name", "data-key": item.id, onclick: (event) => { event.stopPropagation(); open(item.id); } }, `${date(item.start, { timeStyle: "short" })}${item.name ? ` · ${item.name}` : ""}`)),
            el("td", {}, clock(item.duration)),
            el("td", {}, spark(item.line), el("span", { class: "hidden" }, `${mood(item.valence)}, ${named("shape", item.shape)}`)),
            el("td", {}, ...(item.label === null ? [t("live.nobody_short")] : [swatch(settings.emotions.indexOf(item.label)), named("emotion", item.label)])),
            el("td", {}, gauge(item)))))));
    }));
  }
  return { sections: { conversations: list } };
}
