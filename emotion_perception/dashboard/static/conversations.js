// Stored conversations by day, each with its report; reports of a conversation, a day, a week.
import { arc, spark, ticks } from "./charts.js";
import { api, byId, clock, el, mood, name, percent, replace, settings, signed, swatch } from "./util.js";

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
  return el("span", { class: "row", role: "group", "aria-label": `Report of ${what}` },
    ...FORMATS.map(([ending, text]) => el("a", { href: `/api/reports/${kind}/${encodeURIComponent(id)}.${ending}${query(ending)}`, target: ending === "html" ? "_blank" : null, rel: "noopener", "aria-label": `${text} report of ${what}` }, text)));
}

/** 0 to 100 with its margin. */
function gauge(item) {
  if (item.score === null) return el("span", { class: "soft" }, "too little evidence");
  const range = el("i"), mark = el("b");
  const low = Math.max(0, item.score - item.margin), high = Math.min(100, item.score + item.margin);
  Object.assign(range.style, { left: `${low}%`, width: `${high - low}%` });
  mark.style.left = `${item.score}%`;
  return el("span", { class: "score" }, el("span", { class: "gauge", "aria-hidden": "true" }, range, mark),
    el("span", {}, el("strong", {}, String(item.score)), el("span", { class: "soft" }, ` ± ${item.margin}`)));
}

export function conversations() {
  const dialog = byId("conversation");

  async function open(id) {
    replace(dialog, el("p", { class: "busy" }, el("i"), "Reading…"));
    dialog.showModal();
    const close = el("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, "Close");
    let all;
    try { all = await api(`conversations/${encodeURIComponent(id)}`); } catch (error) {
      return replace(dialog, el("p", { class: "error", role: "alert" }, error.message), el("div", { class: "row end" }, close));
    }
    const { arc: course, satisfaction } = all;
    const chart = el("div", { class: "chart" });
    const points = course.valence.map((valence, i) => {
      const t = (i + 1) * course.step;
      return valence === null ? [t, 0] : [t, 1, settings.emotions.indexOf(course.label[i]), course.confidence[i], valence, course.arousal[i]];
    });
    const factors = satisfaction.factors.filter((item) => Math.abs(item.points) >= 0.5).slice(0, 6);
    const times = Object.entries(all.seconds_by_label).filter(([, s]) => s >= 0.5).sort((a, b) => b[1] - a[1]);
    replace(dialog,
      el("div", { class: "top-row" }, el("div", {}, el("h2", { id: "conversation-name" }, all.name || "Conversation"),
        el("p", { class: "soft" }, `${new Date(1000 * all.start).toLocaleString()}, ${clock(all.duration)}; ${all.ended_by}`)), close),
      all.recovered ? el("p", { class: "error" }, "The recording was interrupted; this is all that was recorded until then.") : null,
      el("p", { class: "row" }, satisfaction.score === null ? el("strong", {}, "No satisfaction score") : el("span", { class: "big" }, `${satisfaction.score} ± ${satisfaction.margin}`),
        el("span", { class: "soft" }, satisfaction.score === null ? satisfaction.reason : `satisfaction of 100: ${satisfaction.verdict}, from ${satisfaction.reason}`)),
      chart,
      el("div", { class: "split" },
        el("div", {}, el("h3", {}, "Time by emotion"), el("table", {}, el("tbody", {}, ...times.map(([emotion, s]) => el("tr", {}, el("td", {}, swatch(settings.emotions.indexOf(emotion)), emotion), el("td", { class: "n" }, clock(s)), el("td", { class: "n" }, percent(s / Math.max(1, times.reduce((sum, [, x]) => sum + x, 0))))))))),
        el("div", {}, el("h3", {}, "Contributions to the score"), factors.length ? el("table", {}, el("tbody", {}, ...factors.map((item) => el("tr", {}, el("td", {}, item.text), el("td", { class: "n" }, `${item.points > 0 ? "+" : "−"}${Math.abs(item.points).toFixed(1)}`))))) : el("p", { class: "soft" }, "nothing by half a point"))),
      el("p", { class: "soft" }, `Shape: ${course.shape.text}; ${course.shape.reason}. Evidence for ${percent(all.coverage.any)} of the time.`),
      el("div", { class: "row end" }, exportsOf("conversation", id, "this conversation")));
    arc(chart, { points, from: 0, to: all.duration, step: course.step, tick: ticks, label: `Emotional arc over ${clock(all.duration)}: ${course.shape.text}. The report has a table of all values.` });
  }

  let newestList = { conversations: [] };
  let shown = ""; // what the list was made of: it is not redrawn under the finger of a user unless it changed

  // Face pictures for reports: show them in reports, delete them.
  const box = el("input", { type: "checkbox", id: "with-pictures", onchange: () => { withPictures = box.checked; list(newestList); box.focus(); } });
  const pictureControls = [el("label", { class: "row" }, box, "Pictures in HTML and PDF"),
    el("button", { type: "button", class: "quiet danger", onclick: () => byId("sure-delete-pictures").showModal() }, "Delete all pictures…")];
  byId("pictures-no").addEventListener("click", () => byId("sure-delete-pictures").close());
  byId("pictures-yes").addEventListener("click", async () => {
    byId("sure-delete-pictures").close();
    try { byId("announce").textContent = `${(await api("pictures", { method: "DELETE" })).deleted} pictures deleted`; } catch (problem) { byId("announce").textContent = problem.message; }
  });

  function list(section) {
    newestList = section;
    const drawn = JSON.stringify([section, settings.stored, settings.pictures, withPictures]);
    if (drawn === shown) return undefined;
    shown = drawn;
    const items = section.conversations;
    const target = byId("conversation-list");
    if (!settings.stored) return replace(target, empty("Conversations are not stored", "Set the same folder as interaction_node's directory and dashboard_node's conversations_directory; then each visit is listed here with its report. Only numbers are stored, never a sound, and pictures only with store_pictures."));
    if (!items.length) return replace(target, empty("No conversation is stored yet", "One is listed here a moment after it has ended."));
    const days = Map.groupBy ? Map.groupBy(items, (item) => localDay(item.start)) : items.reduce((map, item) => map.set(localDay(item.start), [...(map.get(localDay(item.start)) ?? []), item]), new Map());
    const newest = localDay(items[0].start);
    replace(byId("conversation-exports"), el("span", { class: "soft" }, `Week ${week(newest)}`), exportsOf("week", week(newest), "the week"), ...(settings.pictures ? pictureControls : []));
    replace(target, ...[...days].map(([day, those]) => {
      const scored = those.filter((item) => item.score !== null);
      const mean = scored.reduce((sum, item) => sum + item.score, 0) / Math.max(1, scored.length);
      return el("article", { class: "card day" },
        el("header", {}, el("h2", {}, new Date(1000 * those[0].start).toLocaleDateString(undefined, { weekday: "long", day: "numeric", month: "long", year: "numeric" })),
          el("span", { class: "soft" }, `${those.length} ${those.length === 1 ? "conversation" : "conversations"}${scored.length ? `, mean satisfaction ${Math.round(mean)} of ${scored.length} rated` : ""}`), exportsOf("day", day, day)),
        el("table", {}, el("thead", {}, el("tr", {}, ...["Conversation", "Length", "Mood", "Mostly", "Satisfaction"].map((text) => el("th", { scope: "col" }, text)))),
          el("tbody", {}, ...those.map((item) => el("tr", { onclick: () => open(item.id) },
            el("td", {}, el("button", { type: "button", class: "name", onclick: (event) => { event.stopPropagation(); open(item.id); } }, `${new Date(1000 * item.start).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}${item.name ? ` · ${item.name}` : ""}`)),
            el("td", {}, clock(item.duration)),
            el("td", {}, spark(item.line), el("span", { class: "hidden" }, `${mood(item.valence)}, ${item.shape}`)),
            el("td", {}, ...(item.label === null ? ["nobody"] : [swatch(settings.emotions.indexOf(item.label)), item.label])),
            el("td", {}, gauge(item)))))));
    }));
  }
  return { list };
}

export const empty = (title, text) => el("div", { class: "card" }, el("div", { class: "unknown" }, el("strong", {}, title), el("p", { class: "soft" }, text)));
