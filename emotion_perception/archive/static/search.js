"use strict";
// The search of an archive's report: words in, moments out. All it knows is in the page.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const form = document.getElementById("search");
  const box = document.getElementById("words");
  const told = document.getElementById("told");
  const body = document.getElementById("moments");
  const more = document.getElementById("more");
  const TURNING = new Set(["turn", "turns", "turned", "turning", "become", "becomes", "became", "get", "gets", "got", "grow", "grew"]);
  const KINDS = { face: "face", faces: "face", look: "face", looked: "face", voice: "voice", voices: "voice", sound: "voice", sounded: "voice" };
  const SHOWN = 100;
  let found = [];
  let shown = 0;

  const clock = (seconds) => {
    const whole = Math.floor(seconds);
    const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
    return parts.map((part) => String(part).padStart(2, "0")).join(":");
  };

  // A word is a name of an emotion, of how it is shown, or part of a place's or recording's name; others say nothing.
  const understand = (text) => {
    const wish = { labels: new Set(), turning: false, kind: "", names: [], ignored: [] };
    for (const word of text.toLowerCase().split(/[^\p{L}\p{N}_.-]+/u).filter(Boolean)) {
      if (word in data.emotion_names) wish.labels.add(data.emotion_names[word]);
      else if (TURNING.has(word)) wish.turning = true;
      else if (word in KINDS) wish.kind = KINDS[word];
      else if (word.length > 2 && data.recordings.some((r) => r.search.includes(word))) wish.names.push(word);
      else wish.ignored.push(word);
    }
    return wish;
  };

  const row = (turn) => {
    const [index, start, stop, label, before, kind, confidence] = turn;
    const recording = data.recordings[index];
    const when = recording.began === null ? "" : data.day_format.format(new Date((recording.began + start) * 1000));
    const cells = [clock(start), `${(stop - start).toFixed(1)} s`, when, recording.place, recording.name,
      before === null ? data.emotions[label] : `${data.emotions[before]} → ${data.emotions[label]}`,
      data.kinds[kind], `${Math.round(100 * confidence)} %`];
    const line = document.createElement("tr");
    for (const text of cells) line.insertCell().textContent = text;
    line.cells[4].title = recording.path;
    return line;
  };

  const show = () => {
    const next = found.slice(shown, shown + SHOWN);
    for (const turn of next) body.append(row(turn));
    shown += next.length;
    more.hidden = shown >= found.length;
    document.getElementById("table").hidden = found.length === 0;
  };

  const search = (text) => {
    const wish = understand(text);
    found = data.turns.filter(([index, , , label, before, kind]) =>
      (wish.labels.size === 0 || wish.labels.has(label)) &&
      (!wish.turning || before !== null) &&
      (!wish.kind || data.kinds[kind] === wish.kind) &&
      wish.names.every((name) => data.recordings[index].search.includes(name)));
    found.sort((a, b) => b[6] - a[6] || a[0] - b[0] || a[1] - b[1]);
    const emotion = [...wish.labels].map((label) => data.emotions[label]).join(" or ") || "any emotion";
    const parts = [`${wish.turning ? "turns " : ""}${emotion}`];
    if (wish.kind) parts.push(`in a ${wish.kind}`);
    if (wish.names.length) parts.push(`where a name has “${wish.names.join("” and “")}”`);
    const unused = wish.ignored.length ? ` Not used: ${wish.ignored.join(", ")}.` : "";
    told.textContent = `${found.length} moments: ${parts.join(", ")}; the surest first.${unused}`;
    body.replaceChildren();
    shown = 0;
    show();
  };

  data.day_format = new Intl.DateTimeFormat("sv-SE", {
    dateStyle: "short", timeStyle: "medium", timeZone: data.time_zone || undefined,
  });
  for (const recording of data.recordings) {
    recording.search = `${recording.place}\n${recording.path}`.toLowerCase();
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    search(box.value);
  });
  more.addEventListener("click", show);
  search(box.value);
})();
