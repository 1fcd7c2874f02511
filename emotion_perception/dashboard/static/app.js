// The views, chosen by the part of the address behind #, and the live connection.
import { conversations } from "./conversations.js";
import { feedback } from "./feedback.js";
import { live } from "./live.js";
import { robot } from "./robot.js";
import { tryIt } from "./tryit.js";
import { api, byId, setText, settings } from "./util.js";

const PAGES = ["live", "conversations", "try", "feedback", "robot"];
const TITLES = { live: "Live", conversations: "Conversations", try: "Try it", feedback: "Feedback", robot: "Robot" };
const SILENT_MS = 6000; // the server sends something every second

let socket = null, attempts = 0, receivedAt = 0, shown = "", handlers = {}, pages = {};
let robotSilent = true; // nothing publishes the emotion state, although the server answers

function route(first) {
  const wanted = location.hash.slice(2).split("/")[0];
  const page = PAGES.includes(wanted) ? wanted : "live";
  for (const id of PAGES) byId(id).hidden = id !== page;
  for (const link of document.querySelectorAll(".tabs a")) {
    if (link.hash === `#/${page}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${TITLES[page]} – Emotion perception`;
  if (page !== shown) {
    shown = page;
    pages[page]?.shown?.();
    if (!first) byId("main").focus({ preventScroll: true });
    scrollTo(0, 0);
  }
  requestVideo();
}

/** Video is requested only while it is visible. */
function requestVideo() {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ video: shown === "live" && !document.hidden }));
}

function link(kind, text) {
  byId("link").className = `link ${kind}`;
  setText(byId("link").lastChild, text);
  document.body.classList.toggle("offline", kind === "off");
  byId("banner").hidden = kind !== "off";
}

/** "Live" only while both the server and the robot send news. */
function showLink() {
  if (robotSilent) link("silent", "Robot is silent");
  else link("on", "Live");
}

function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/live`);
  socket.binaryType = "arraybuffer";
  const mine = socket;
  socket.onopen = () => { attempts = 0; receivedAt = performance.now(); showLink(); requestVideo(); };
  socket.onmessage = (event) => {
    receivedAt = performance.now();
    if (typeof event.data !== "string") return handlers.frame(event.data);
    const section = JSON.parse(event.data);
    if (section.type === "state" && (section.status === null) !== robotSilent) {
      robotSilent = section.status === null;
      showLink();
    }
    handlers[section.type]?.(section);
  };
  socket.onclose = () => { if (mine === socket) reconnect(); };
}

function reconnect() {
  const wait = Math.min(5000, 400 * 2 ** attempts++) * (0.8 + 0.4 * Math.random());
  link("off", "Not connected");
  setText(byId("banner"), "The connection to the robot's page is lost. What you see is old. Reconnecting…");
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
      link("off", "Not connected");
      setText(byId("banner"), `${error.message} Trying again…`);
      await new Promise((done) => setTimeout(done, 1500));
    }
  }
  pages = { conversations: conversations(), try: tryIt(), feedback: feedback() };
  handlers = { ...live(pages.feedback.correct), health: robot(), conversations: pages.conversations.list };
  addEventListener("hashchange", () => route(false));
  document.addEventListener("visibilitychange", requestVideo);
  route(true);
  connect();
}
start();
