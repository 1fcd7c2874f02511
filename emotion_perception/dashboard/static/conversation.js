// One stored conversation: its course, where it turned, the score and why.
import { arc, ticks } from "./charts.js";
import { exportsOf } from "./exports.js";
import { clock, date, percent, signed, t, withMargin } from "./messages.js";
import { api, byId, detail, el, named, replace, settings, swatch } from "./util.js";

/** Show a stored conversation in its dialog. */
export async function open(id) {
  const dialog = byId("conversation");
  replace(dialog, el("p", { class: "busy" }, el("i"), t("conversations.reading")));
  if (!dialog.open) dialog.showModal();
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
