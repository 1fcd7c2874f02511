// The views, chosen by the part of the address behind #, and the live connection.
import { number, t } from "./messages.js";
import { preferences } from "./preferences.js";
import { api, byId, setText, settings } from "./util.js";

// A view's module is loaded when it is first opened. It exports view(), which returns
//   sections: { name: handler } for the sections of the live connection that it shows, while it is shown,
//   frame(buffer) for video, shown() at each opening, moved() when the address within it changed, redraw() after the expert
//   view was switched; all optional.
// The title in messages/*.json is "nav.<view>".
const VIEWS = {
  today: () => import("./today.js"),
  live: () => import("./live.js"),
  conversations: () => import("./conversations.js"),
  try: () => import("./tryit.js"),
  feedback: () => import("./feedback.js"),
  places: () => import("./places.js"),
  robot: () => import("./robot.js"),
};
const FIRST = "today";
const ALWAYS = ["state", "health"]; // sections for the header
const SILENT_MS = 6000; // the server sends something every second

let socket = null, attempts = 0, receivedAt = 0, shown = "";
let robotSilent = true; // nothing publishes the emotion state, although the server answers
const views = {};

async function route(first) {
  const wanted = location.hash.slice(2).split("/")[0];
  const page = Object.hasOwn(VIEWS, wanted) ? wanted : FIRST;
  for (const id of Object.keys(VIEWS)) byId(id).hidden = id !== page;
  for (const link of document.querySelectorAll(".tabs a")) {
    if (link.hash === `#/${page}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${t(`nav.${page}`)} – ${t("page.title")}`;
  if (page === shown) return current.moved?.(); // another address within the view
  shown = page;
  if (!first) byId("main").focus({ preventScroll: true });
  scrollTo(0, 0);
  views[page] ??= VIEWS[page]().then((module) => module.view());
  const view = await views[page];
  if (shown !== page) return; // another one was opened meanwhile
  current = view;
  view.shown?.();
  subscribe();
}
let current = {};

/** Only what is visible is requested: the view's sections, and video while the page is in front. */
const wants = () => ({
  sections: [...new Set([...ALWAYS, ...Object.keys(current.sections ?? {})])],
  video: Boolean(current.frame) && !document.hidden,
});
function subscribe() {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(wants()));
}

function link(kind, text) {
  byId("link").className = `link ${kind}`;
  setText(byId("link").lastChild, text);
  document.body.classList.toggle("offline", kind === "off");
  byId("banner").hidden = kind !== "off";
}

/** "Live" only while both the server and the robot send news. */
function showLink() {
  if (robotSilent) link("silent", t("link.silent"));
  else link("on", t("link.live"));
}

function showBadge({ nodes }) {
  const bad = nodes.filter((node) => node.level !== "ok").length, badge = byId("robot-badge");
  badge.hidden = !bad;
  setText(badge, number(bad));
  badge.setAttribute("aria-label", t("nav.badge_label", { n: bad }));
}

function receive(section) {
  if (section.type === "state" && (section.status === null) !== robotSilent) {
    robotSilent = section.status === null;
    showLink();
  }
  if (section.type === "health") showBadge(section);
  current.sections?.[section.type]?.(section);
}

function connect() {
  const address = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/live?sections=${wants().sections}`;
  socket = new WebSocket(address);
  socket.binaryType = "arraybuffer";
  const mine = socket;
  socket.onopen = () => { attempts = 0; receivedAt = performance.now(); showLink(); subscribe(); };
  socket.onmessage = (event) => {
    receivedAt = performance.now();
    if (typeof event.data !== "string") current.frame?.(event.data);
    else receive(JSON.parse(event.data));
  };
  socket.onclose = () => { if (mine === socket) reconnect(); };
}

function reconnect() {
  const wait = Math.min(5000, 400 * 2 ** attempts++) * (0.8 + 0.4 * Math.random());
  link("off", t("link.off"));
  setText(byId("banner"), t("link.lost"));
  socket = null;
  setTimeout(async () => {
    // A refused WebSocket gives no reason; if the token is missing, this request leads to the log-in page.
    if (attempts > 1) await api("config").catch(() => null);
    connect();
  }, wait);
}

setInterval(() => {
  if (socket?.readyState === WebSocket.OPEN && performance.now() - receivedAt > SILENT_MS) {
    const old = socket;
    reconnect();
    old.close();
  }
}, 1000);

async function start() {
  for (;;) {
    try { Object.assign(settings, await api("config")); break; } catch (error) {
      link("off", t("link.off"));
      setText(byId("banner"), t("link.retry", { reason: error.message }));
      await new Promise((done) => setTimeout(done, 1500));
    }
  }
  byId("nav-places").hidden = !settings.places;
  byId("robot-places").hidden = !settings.places && !settings.stored;
  preferences(() => current.redraw?.());
  addEventListener("hashchange", () => route(false));
  document.addEventListener("visibilitychange", subscribe);
  await route(true);
  connect();
}
start();
