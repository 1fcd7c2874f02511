// The first view: how the day (week, month) went, what changed, what to look at, and who is here now.
import { dayChart } from "./daychart.js";
import { iso, parse, periodAfter, write } from "./days.js";
import { clock, date, locale, number, percent, t, withMargin } from "./messages.js";
import { api, byId, el, mood, replace, setText, settings, withShare } from "./util.js";

const REFRESH_MS = 30000;
const TIME = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }; // as the hours of the chart

export function view() {
  let kind = "day", day = null, shown = null, running = null, extras = null; // day: null follows the calendar
  const picker = byId("today-date");

  /** The address #/today/<place>/<kind>/<date> chooses whose figures are shown, and of when; all parts may be missing. */
  const address = () => (location.hash.startsWith("#/today/") ? location.hash.slice(8).split("/") : []);
  const place = () => address()[0] ?? ""; // empty: this robot
  function open() {
    const [, which, first] = address();
    if (which) [kind, day] = [which, first ?? null];
    return load();
  }

  /** An hour as "14–15", a day with its weekday. */
  function nameOf(part, full = false) {
    if (shown.kind === "day") return full ? t("today.hours", { from: number(Number(part.name)), to: number((Number(part.name) + 1) % 24) }) : number(Number(part.name));
    return new Intl.DateTimeFormat(locale, full ? { weekday: "long", day: "numeric", month: "long" } : shown.kind === "week" ? { weekday: "short" } : { day: "numeric" }).format(dayOf(part));
  }
  const dayOf = (part) => { const first = parse(shown.first); first.setDate(first.getDate() + shown.parts.indexOf(part)); return first; };
  const titleOf = (part) => [nameOf(part, true), t("today.n", { n: part.conversations }),
    part.satisfaction === null ? null : t("today.score", { score: scoreOf(part) })].filter(Boolean).join("; ");
  const scoreOf = (item) => (item.margin === null ? number(Math.round(item.satisfaction)) : withMargin(Math.round(item.satisfaction), Math.ceil(item.margin)));
  /** "last Friday", "yesterday", "the week before". */
  const reference = (item) => t(`today.with.${item.with}${shown.current ? "" : ".past"}`, { day: write(item.date, { weekday: "long" }) });

  function phrase(item) {
    const values = { ...item };
    if (item.with) values.with = reference(item);
    if (item.part !== undefined) values.part = nameOf(shown.parts[item.part], true);
    if (item.key === "satisfaction" || item.key === "suggest.worst") values.score = withMargin(item.value, item.margin);
    if (item.emotion) values.emotion = t(`emotion.${item.emotion}`);
    if (item.share !== undefined) [values.share, values.before] = [percent(item.share), percent(item.before)];
    return t(`today.${item.key}`, values);
  }

  function showHeadline() {
    const [first, ...rest] = shown.headline;
    setText(byId("today-title"), phrase(first));
    const joined = (line, item) => (line ? t(item.key.startsWith("worst") ? "today.and_worst" : "today.and_then", { first: line, second: phrase(item) }) : phrase(item));
    setText(byId("today-line"), rest.reduce(joined, ""));
  }

  function showChart() {
    if (!shown || !byId("today-chart").clientWidth) return;
    const worst = shown.headline.find((item) => item.key.startsWith("worst"));
    setText(byId("today-chart-title"), t(`today.chart.${shown.kind}`));
    const compared = shown.comparisons[0];
    const before = shown.parts.some((part) => part.before !== null);
    replace(byId("today-legend"), el("span", {}, el("i", { class: "line valence" }), write(shown.first, { day: "numeric", month: "short" })),
      before ? el("span", {}, el("i", { class: "line before" }), reference(compared)) : null);
    dayChart(byId("today-chart"), {
      parts: shown.parts, nameOf, titleOf, marked: worst ? worst.part : null, choose: openPart,
      label: `${byId("today-title").textContent}. ${byId("today-line").textContent}. ${t("today.table_below")}`,
    });
    replace(byId("today-table"), ...shown.parts.filter((part) => part.conversations).map((part) => el("tr", {},
      el("th", { scope: "row" }, nameOf(part, true)), el("td", { class: "n" }, number(part.conversations)),
      el("td", { class: "n" }, part.satisfaction === null ? "–" : scoreOf(part)), el("td", { class: "n" }, part.wait === null ? "–" : t("unit.seconds", { n: Math.round(part.wait) })))));
  }

  /** The conversations of an hour or day, in the list. */
  function openPart(part) {
    if (shown.kind !== "day") {
      [kind, day] = ["day", iso(dayOf(part))];
      load();
    } else if (!place()) location.hash = `#/conversations/${shown.first}/${part.name}`;
  }

  const verdict = (item) => {
    if (item.verdict === "up" || item.verdict === "down") return el("strong", { class: item.verdict }, t(`today.points_${item.verdict}`, { n: Math.abs(item.points) }));
    return el("span", { class: "soft" }, t(`today.verdict.${item.verdict}`));
  };

  /** A conversation behind a suggestion; those of other places cannot be opened. */
  function example(key, one) {
    const text = `${date(one.start, TIME)} (${key === "suggest.wait" ? t("unit.seconds", { n: Math.round(one.wait) }) : number(one.score)})`;
    return one.id ? el("button", { type: "button", class: "name", "data-key": `${key} ${one.id}`, onclick: async () => (await import("./conversation.js")).open(one.id) }, text) : el("span", {}, text);
  }

  function showComparisons() {
    replace(byId("today-compare"), ...shown.comparisons.map((item) => el("tr", {},
      el("th", { scope: "row" }, reference(item)), el("td", { class: "n" }, number(item.conversations)),
      el("td", { class: "n" }, item.satisfaction === null ? "–" : scoreOf(item)), el("td", {}, verdict(item)))));
    const said = [...shown.changes.map((item) => el("li", {}, phrase(item)))];
    replace(byId("today-changes"), ...(said.length ? said : [el("li", { class: "soft" }, t("today.no_change"))]));
    const ideas = shown.suggestions.map((item) => el("li", {}, el("p", {}, phrase(item)),
      !item.conversations.length ? null : el("p", { class: "soft evidence" }, t("today.evidence"), " ", ...item.conversations.map((one) => example(item.key, one)))));
    byId("today-ideas-card").hidden = !ideas.length;
    replace(byId("today-ideas"), ...ideas);
  }

  async function load() {
    const other = place();
    const query = `today?kind=${kind}${day ? `&date=${day}` : ""}${other ? `&source=${encodeURIComponent(other)}` : ""}`;
    for (const id of ["today-side", "storage-first"]) byId(id).hidden = Boolean(other);
    if (!settings.stored && !other) {
      byId("today-figures").hidden = true;
      setText(byId("today-title"), t("today.welcome"));
      setText(byId("today-line"), t("today.welcome_text"));
    } else {
      try { shown = await api(query); } catch (problem) {
        return setText(byId("today-line"), problem.message);
      }
      byId("today-figures").hidden = false;
      picker.value = day ?? shown.first;
      for (const button of byId("today-kinds").children) button.setAttribute("aria-pressed", String(button.dataset.kind === kind));
      byId("today-next").disabled = shown.current;
      byId("today-now").hidden = day === null;
      setText(byId("today-span"), shown.kind === "day" ? write(shown.first, { weekday: "long", day: "numeric", month: "long", year: "numeric" })
        : t("today.span", { from: write(shown.first, { day: "numeric", month: "long" }), to: write(shown.last, { day: "numeric", month: "long", year: "numeric" }) }));
      showHeadline();
      showChart();
      showComparisons();
    }
    replace(byId("today-place"), ...(other ? [t("places.viewing", { name: shown.place }), " ", el("a", { href: "#/today" }, t("places.back"))] : []));
    if (other) return;
    extras ??= import("./rules.js").then((module) => module.rules(load));
    (await extras)(shown);
  }

  function move(by) {
    day = periodAfter(shown.first, kind, by);
    load();
  }
  byId("today-previous").addEventListener("click", () => move(-1));
  byId("today-next").addEventListener("click", () => move(1));
  byId("today-now").addEventListener("click", () => { day = null; load(); });
  picker.addEventListener("change", () => { if (picker.value) { day = picker.value; load(); } });
  byId("today-kinds").append(...["day", "week", "month"].map((which) => el("button", { type: "button", class: "quiet", "data-kind": which, onclick: () => { kind = which; load(); } }, t(`today.${which}`))));
  setInterval(() => { if (!document.hidden && !byId("today").hidden && (day === null || shown?.current)) load(); }, REFRESH_MS);
  new ResizeObserver(showChart).observe(byId("today-chart"));

  // --- the live strip
  function showState(state) {
    const seen = state.status && state.status !== "NO_EVIDENCE";
    byId("strip-swatch").hidden = !seen;
    if (seen) byId("strip-swatch").style.setProperty("--tone", settings.colours[state.label]);
    setText(byId("strip-emotion"), seen ? withShare(state.label, state.confidence) : t(state.status === null ? "today.no_news" : "today.nobody"));
  }
  function showGroup(group) {
    setText(byId("strip-people"), group.faces ? t("today.people", { n: group.faces }) : "");
  }
  function showTalk(talk) {
    const ended = running && talk.id !== running;
    running = talk.listening ? talk.id : null;
    setText(byId("strip-talk"), !talk.listening ? t("today.not_listening") : !talk.id ? t("today.no_talk")
      : t("today.talk", { time: clock(talk.seconds), mood: mood(talk.mean_valence) }));
    if (ended) setTimeout(load, 2000); // it is stored by then
  }
  showState({ status: null });
  return { sections: { state: showState, group: showGroup, conversation: showTalk }, shown: open, moved: open };
}
