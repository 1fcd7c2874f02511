// Stored conversations by day, each with its report; reports of a conversation, a day, a week.
import { spark } from "./charts.js";
import { open } from "./conversation.js";
import { askToDelete } from "./deletion.js";
import { exportsOf, includePictures } from "./exports.js";
import { filters } from "./filters.js";
import { clock, date, isolated, t, withMargin } from "./messages.js";
import { api, byId, detail, el, empty, mood, named, replace, setText, settings, swatch } from "./util.js";

const PAGE = 50, MOST = 500; // conversations in one request

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

  const target = byId("conversation-list");
  let found = null; // what the list shows: the answer of the server
  let version = ""; // of the store when it was asked for
  let requests = 0;
  const filter = filters(() => { found = null; load(); });
  const more = el("button", { type: "button", class: "quiet", id: "more-conversations", onclick: () => load(true) });
  const status = el("p", { class: "soft", role: "status" }), rows = el("div");

  // Face pictures for reports: show them in reports, delete them.
  const box = el("input", { type: "checkbox", id: "with-pictures", onchange: () => { includePictures(box.checked); draw(); box.focus(); } });
  const pictureControls = [el("label", { class: "row" }, box, t("pictures.include")),
    el("button", { type: "button", class: "quiet danger", onclick: () => byId("sure-delete-pictures").showModal() }, t("pictures.delete_all"))];
  byId("pictures-no").addEventListener("click", () => byId("sure-delete-pictures").close());
  byId("pictures-yes").addEventListener("click", async () => {
    byId("sure-delete-pictures").close();
    try { byId("announce").textContent = t("pictures.deleted", { n: (await api("pictures", { method: "DELETE" })).deleted }); } catch (problem) { byId("announce").textContent = problem.message; }
  });

  const deleted = () => { dialog.close(); load(); };
  const deletes = (text, title, path) => el("button", { type: "button", class: "quiet danger", onclick: () => askToDelete(title, path, deleted) }, text);

  /** The conversation in the dialog, with what can be deleted. */
  async function show(item) {
    await open(item.id);
    const person = item.name || (/^(person_\d+|)$/.test(item.person_id) ? "" : item.person_id); // person_1 is the first face track of any day
    const query = `conversations?${new URLSearchParams({ person })}`;
    const ofPerson = person && el("button", { type: "button", class: "quiet danger", onclick: async () => {
      const { total } = await api(`${query}&limit=1`);
      askToDelete(t("delete.person_title", { n: total, person }), query, deleted);
    } }, t("delete.person", { person }));
    dialog.querySelector(".row.end")?.prepend(...[deletes(t("delete.one"), t("delete.one_title"), `conversations/${encodeURIComponent(item.id)}`), ofPerson].filter(Boolean));
  }

  /** Ask the server for the list again, or for the next part of it. */
  async function load(next = false) {
    if (!settings.stored) return replace(target, empty(t("conversations.off_title"), t("conversations.off")), detail("interaction_node: directory, dashboard_node: conversations_directory"));
    const mine = ++requests, held = found?.conversations ?? [];
    const range = next ? { limit: PAGE, offset: held.length } : { limit: Math.min(MOST, Math.max(PAGE, held.length)) };
    let page;
    try { page = await api(`conversations?${new URLSearchParams({ ...filter.values(), ...range })}`); } catch (error) {
      return mine === requests ? replace(target, filter.node, el("p", { class: "error", role: "alert" }, error.message)) : undefined;
    }
    if (mine !== requests) return undefined;
    const days = new Map([...(next ? found.days : []), ...page.days].map((day) => [day.day, day]));
    found = { ...page, days: [...days.values()], conversations: next ? [...held, ...page.conversations] : page.conversations };
    if (page.importing) setTimeout(load, 3000);
    return draw();
  }

  function draw() {
    const { conversations: items, total, importing } = found, values = filter.values(), days = filter.days();
    const filtered = Object.keys(values).length > 1; // more than the order
    filter.places(found.places);
    setText(status, importing ? t("conversations.importing", { done: importing[0], total: importing[1] }) : filtered ? t("conversations.count", { n: total }) : "");
    more.hidden = items.length >= total;
    setText(more, t("conversations.more", { n: total - items.length }));
    if (!total && !filtered && !importing) {
      replace(byId("conversation-exports"));
      return replace(target, empty(t("conversations.none_title"), t("conversations.none")));
    }
    if (!filter.node.isConnected || !rows.isConnected) replace(target, filter.node, status, rows, more);
    const newest = items.length ? localDay(Math.max(...items.map((item) => item.start))) : "";
    const period = days.from || days.to, onlyDays = Object.keys(values).every((key) => ["sort", "from", "to"].includes(key));
    replace(byId("conversation-exports"), ...(newest ? [el("span", { class: "soft" }, t("report.week", { week: week(newest) })), exportsOf("week", week(newest), t("report.the_week"))] : []), ...(settings.pictures ? pictureControls : []),
      total && onlyDays ? period ? deletes(t("delete.period"), t("delete.period_title", { n: total }), `conversations?${new URLSearchParams(days)}`) : deletes(t("delete.all"), t("delete.all_title", { n: total }), "conversations?everything=1") : null);
    if (!total) return replace(rows, empty(t("conversations.no_match_title"), t("conversations.no_match")));
    const byDay = ["newest", "oldest"].includes(values.sort);
    const groups = new Map();
    for (const item of items) {
      const day = byDay ? localDay(item.start) : "";
      groups.set(day, [...(groups.get(day) ?? []), item]);
    }
    return replace(rows, ...[...groups].map(([day, those]) => {
      const sum = found.days.find((one) => one.day === day), long = date(those[0].start, { dateStyle: "long" });
      return el("article", { class: "card day" },
        byDay ? el("header", {}, el("h2", {}, date(those[0].start, { dateStyle: "full" })),
          el("span", { class: "soft" }, [t("conversations.count", { n: sum.conversations }), sum.scored ? t("conversations.mean", { mean: Math.round(sum.satisfaction_mean), n: sum.scored }) : ""].join(" ")), exportsOf("day", day, long),
          filtered ? null : deletes(t("delete.day"), t("delete.day_title", { n: sum.conversations, day: long }), `conversations?${new URLSearchParams({ from: day, to: day })}`)) : null,
        el("table", {}, el("thead", {}, el("tr", {}, ...["one", "length", "mood", "mostly", "satisfaction"].map((column) => el("th", { scope: "col" }, t(`conversations.${column}`))))),
          el("tbody", {}, ...those.map((item) => el("tr", { onclick: () => show(item) },
            el("td", {}, el("button", { type: "button", class: "name", "data-key": item.id, onclick: (event) => { event.stopPropagation(); show(item); } }, [date(item.start, byDay ? { timeStyle: "short" } : { dateStyle: "short", timeStyle: "short" }), item.name, item.place].filter(Boolean).map(isolated).join(" · "))),
            el("td", {}, clock(item.duration)),
            el("td", {}, spark(item.line), el("span", { class: "hidden" }, `${mood(item.valence)}, ${named("shape", item.shape)}`)),
            el("td", {}, ...(item.label === null ? [t("live.nobody_short")] : [swatch(settings.emotions.indexOf(item.label)), named("emotion", item.label)])),
            el("td", {}, gauge(item)))))));
    }));
  }

  /** The store has changed, or the view was opened. */
  function changed(section) {
    const now = JSON.stringify(section);
    if (now === version && found) return;
    version = now;
    load();
  }
  /** The address #/conversations/<day>/<hour> chooses what is listed. */
  function opened() {
    const [, , day, hour = ""] = location.hash.split("/");
    if (!day) return;
    filter.choose(day, hour);
    found = null;
    load();
  }
  return { sections: { conversations: changed }, shown: opened };
}
