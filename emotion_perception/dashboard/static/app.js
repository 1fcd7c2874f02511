// Pages by the part of the address behind #, and the one live connection.
import { conversations } from "./conversations.js";
import { feedback } from "./feedback.js";
import { live } from "./live.js";
import { robot } from "./robot.js";
import { tryIt } from "./tryit.js";
import { api, byId, say, settings } from "./util.js";

const PAGES = ["live", "conversations", "try", "feedback", "robot"];
const TITLES = { live: "Live", conversations: "Conversations", try: "Try it", feedback: "Feedback", robot: "Robot" };
const SILENT_MS = 6000; // the server says something every second

let socket = null, attempts = 0, heardAt = 0, shown = "", handlers = {}, pages = {};

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
  tellWish();
}

/** Pictures are asked for only while they are looked at. */
function tellWish() {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ video: shown === "live" && !document.hidden }));
}

function link(kind, text) {
  byId("link").className = `link ${kind}`;
  say(byId("link").lastChild, text);
  document.body.classList.toggle("offline", kind === "off");
  byId("banner").hidden = kind !== "off";
}

function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/live`);
  socket.binaryType = "arraybuffer";
  const mine = socket;
  socket.onopen = () => { attempts = 0; heardAt = performance.now(); link("on", "Live"); tellWish(); };
  socket.onmessage = (event) => {
    heardAt = performance.now();
    if (typeof event.data !== "string") return handlers.frame(event.data);
    const told = JSON.parse(event.data);
    handlers[told.type]?.(told);
  };
  socket.onclose = () => { if (mine === socket) again(); };
}

function again() {
  const wait = Math.min(5000, 400 * 2 ** attempts++) * (0.8 + 0.4 * Math.random());
  link("off", "Not connected");
  say(byId("banner"), "The connection to the robot's page is lost; what is shown is old. Trying again by itself…");
  socket = null;
  setTimeout(async () => {
    // A socket that is refused does not say why: without the token this leads to the log-in.
    if (attempts > 1) await api("config").catch(() => null);
    connect();
  }, wait);
}

setInterval(() => {
  if (socket?.readyState === WebSocket.OPEN && performance.now() - heardAt > SILENT_MS) {
    const old = socket;
    again();
    old.close();
  }
}, 1000);

async function start() {
  for (;;) {
    try { Object.assign(settings, await api("config")); break; } catch (error) {
      link("off", "Not connected");
      say(byId("banner"), `${error.message} Trying again…`);
      await new Promise((done) => setTimeout(done, 1500));
    }
  }
  pages = { conversations: conversations(), try: tryIt(), feedback: feedback() };
  handlers = { ...live(pages.feedback.correct), health: robot(), conversations: pages.conversations.list };
  addEventListener("hashchange", () => route(false));
  document.addEventListener("visibilitychange", tellWish);
  route(true);
  connect();
}
start();
