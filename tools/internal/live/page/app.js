const byId = id => document.getElementById(id);
const kept = 30; // s of samples
const narrow = matchMedia("(max-width: 40rem)");
const shown = () => narrow.matches ? 6 : 12; // s

let facts = null;
let rows = []; // [t, channels…, probabilities…]
let gestures = [];
let groups = [];
let changed = false;
let behind = 0; // s: the newest sample's time less the page's clock

// Times of drawing run on between messages, so that curves move evenly.
const clock = () => performance.now() / 1000;
const latest = () => rows.length ? rows[rows.length - 1][0] : 0;

function connect(wait = 500) {
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`);
  socket.onmessage = e => {
    wait = 500;
    take(JSON.parse(e.data));
  };
  socket.onclose = () => {
    status("off", "no connection; trying again");
    setTimeout(() => connect(Math.min(2 * wait, 8000)), wait);
  };
}

function status(state, text) {
  const s = byId("status");
  if (s.dataset.state !== state) s.dataset.state = state;
  if (s.textContent !== text) s.textContent = text;
}

function take(message) {
  switch (message.type) {
  case "facts":
    begin(message);
    break;
  case "rows":
    addRows(message.rows);
    break;
  case "gesture":
    addGesture(message.object);
    break;
  case "trouble":
    addLine("trouble", describe(message.object));
    break;
  case "say":
    byId("detail").textContent = message.object;
    addLine("say", message.object);
    break;
  }
  changed = true;
}

function begin(f) {
  facts = f;
  facts.labels ??= []; // while recording
  rows = [];
  gestures = [];
  byId("events").replaceChildren();
  byId("empty").hidden = false;
  byId("phone").hidden = !f.phone;
  status("wait", f.phone ? "waiting for a phone" : "waiting for samples");
  layOut();
}

// layOut makes a chart for each sensor: channels that differ in the axis only.
function layOut() {
  groups = [];
  facts.channels.forEach((c, k) => {
    const axis = /[xyz]$/i.test(c.name) ? c.name.slice(-1).toLowerCase() : "";
    const name = axis ? c.name.slice(0, -1) : c.name;
    let g = groups.find(g => g.name === name && axis);
    if (!g) groups.push(g = {name, unit: c.unit, lines: [], low: NaN, high: NaN});
    g.lines.push({k: 1 + k, axis: axis || ["x", "y", "z"][g.lines.length % 3]});
  });
  byId("signals").replaceChildren(...groups.map(g => {
    const box = document.createElement("div");
    box.className = "signal";
    const legend = document.createElement("p");
    legend.className = "legend";
    const names = document.createElement("span");
    for (const l of g.lines) {
      const b = document.createElement("b");
      b.className = l.axis;
      b.textContent = facts.channels[l.k - 1].name;
      names.append(b);
    }
    const unit = document.createElement("span");
    unit.textContent = pretty(g.unit);
    legend.append(names, unit);
    g.canvas = document.createElement("canvas");
    g.canvas.style.height = groups.length > 2 ? "5.6rem" : "9rem";
    g.canvas.setAttribute("role", "img");
    g.canvas.setAttribute("aria-label", `signal ${g.name}`);
    box.append(legend, g.canvas);
    return box;
  }));
  byId("answers").hidden = byId("answers-title").hidden = !facts.labels.length;
  byId("answers").style.height = `${1.55 * gestureLabels().length + 1.2}rem`;
}

const pretty = unit => unit.replace(/\^?2$/, "²");
const gestureLabels = () => facts.labels.map((label, k) => ({label, k: 1 + facts.channels.length + k})).filter(l => l.label !== facts.none);

function addRows(more) {
  const last = latest();
  if (rows.length && more[0][0] < last) rows = [];
  rows.push(...more);
  const from = latest() - kept;
  let n = 0;
  while (n < rows.length && rows[n][0] < from) n++;
  if (n > 64) rows.splice(0, n);
  behind = latest() - clock();
  status("on", `${facts.phone ? "phone" : "sensor"}, ${rate()} samples a second`);
}

function rate() {
  const n = Math.min(rows.length, 40);
  if (n < 2) return "0";
  return ((n - 1) / (latest() - rows[rows.length - n][0])).toFixed(1);
}

function addGesture(g) {
  gestures.push(g);
  if (gestures.length > 100) gestures.shift();
  const label = byId("label");
  label.textContent = g.label;
  label.className = "fresh";
  clearTimeout(addGesture.timer);
  addGesture.timer = setTimeout(() => { label.className = ""; }, 1500);
  byId("detail").textContent = `confidence ${percent(g.confidence)}, took ${(g.t_end - g.t_start).toFixed(2)} s`;
  byId("confidence").style.width = `${100 * g.confidence}%`;
  const li = document.createElement("li");
  li.className = "gesture";
  li.append(cell("span", "what", g.label), cell("span", "number", percent(g.confidence)), cell("time", "", `${g.t_start.toFixed(2)} s`));
  add(li);
  if (phone.on && navigator.vibrate) navigator.vibrate(60);
}

const percent = p => `${Math.round(100 * p)} %`;

function cell(tag, kind, text) {
  const e = document.createElement(tag);
  e.className = kind;
  e.textContent = text;
  return e;
}

function addLine(kind, text) {
  add(cell("li", kind, text));
}

function add(li) {
  const list = byId("events");
  byId("empty").hidden = true;
  list.prepend(li);
  while (list.children.length > 60) list.lastChild.remove();
}

function describe(e) {
  const what = {
    "gap": `a gap of ${e.span} s`, "jump": "the sensor's clock jumped", "overrun": "samples are lost: the sensor's buffer overran",
    "lost": `${e.count} samples are lost`, "not-finite": `${e.channel} is not a number`, "saturated": `${e.channel} is at the end of its range`,
    "stuck": `${e.channel} stays the same`, "slow": `only ${e.rate} samples a second`,
  }[e.event] || e.event;
  return `${e.t.toFixed(2)} s: ${what}${e.reset ? "; recognition starts again" : ""}`;
}

// canvas prepares one for drawing in CSS pixels.
function canvas(c) {
  const ratio = devicePixelRatio || 1, width = c.clientWidth, height = c.clientHeight;
  const w = Math.round(width * ratio), h = Math.round(height * ratio);
  if (c.width !== w || c.height !== h) { c.width = w; c.height = h; }
  const g = c.getContext("2d");
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  g.clearRect(0, 0, width, height);
  g.font = "11px system-ui, sans-serif";
  return {g, width, height};
}

function colours() {
  const s = getComputedStyle(document.documentElement);
  return name => s.getPropertyValue("--" + name).trim();
}

const gutter = 44; // px for labels at the left

function draw() {
  requestAnimationFrame(draw);
  const now = Math.min(clock() + behind, latest() + 0.1);
  const still = draw.now !== undefined && Math.abs(now - draw.now) < 1e-3;
  if (!facts || still && !changed) return;
  changed = false;
  draw.now = now;
  const colour = colours(), from = now - shown();
  let first = 0;
  while (first < rows.length && rows[first][0] < from - 0.5) first++;
  const view = rows.slice(first);
  for (const g of groups) signal(g, view, from, now, colour);
  if (facts.labels.length) answers(view, from, now, colour);
}

function marks(g, x, width, top, height, from, now, colour) {
  g.strokeStyle = colour("grid");
  g.lineWidth = 1;
  g.beginPath();
  for (let s = Math.ceil(from); s < now; s++) {
    const at = Math.round(x(s)) + .5;
    if (at > gutter) { g.moveTo(at, top); g.lineTo(at, top + height); }
  }
  g.stroke();
  g.fillStyle = `rgba(${colour("heat")}, .13)`;
  for (const e of gestures) {
    const a = Math.max(x(e.t_start), gutter), b = Math.min(x(e.t_end), width);
    if (b > a) g.fillRect(a, top, b - a, height);
  }
}

// range follows the values in view: at once where they leave it, slowly back.
function range(group, view) {
  let low = Infinity, high = -Infinity;
  for (const r of view) for (const l of group.lines) {
    low = Math.min(low, r[l.k]);
    high = Math.max(high, r[l.k]);
  }
  if (!(low <= high)) return;
  const middle = (low + high) / 2, least = Math.max(.6 * Math.abs(middle) * .1, .5);
  const half = Math.max((high - low) / 2 * 1.08, least);
  const ease = (old, target, outward) => Number.isNaN(old) || outward ? target : old + .03 * (target - old);
  group.low = ease(group.low, middle - half, middle - half < group.low);
  group.high = ease(group.high, middle + half, middle + half > group.high);
}

const short = (v, span) => v.toFixed(span >= 20 ? 0 : span >= 2 ? 1 : 2).replace("-", "−");

function signal(group, view, from, now, colour) {
  const {g, width, height} = canvas(group.canvas);
  range(group, view);
  const x = t => gutter + (t - from) / (now - from) * (width - gutter);
  marks(g, x, width, 0, height, from, now, colour);
  if (Number.isNaN(group.low) || !view.length) return;
  const y = v => height - 3 - (v - group.low) / (group.high - group.low) * (height - 6);
  if (group.low < 0 && group.high > 0) {
    g.strokeStyle = colour("line");
    g.beginPath();
    g.moveTo(gutter, y(0));
    g.lineTo(width, y(0));
    g.stroke();
  }
  g.save();
  g.beginPath();
  g.rect(gutter, 0, width - gutter, height);
  g.clip();
  g.lineWidth = 1.6;
  g.lineJoin = "round";
  const gap = 4.5 / (facts.rate || 30);
  for (const l of group.lines) {
    g.strokeStyle = colour(l.axis);
    g.beginPath();
    let before = -Infinity;
    for (const r of view) {
      if (r[0] - before > gap) g.moveTo(x(r[0]), y(r[l.k]));
      else g.lineTo(x(r[0]), y(r[l.k]));
      before = r[0];
    }
    g.stroke();
  }
  g.restore();
  g.fillStyle = colour("soft");
  g.textAlign = "right";
  const span = group.high - group.low;
  g.fillText(short(group.high, span), gutter - 6, 10);
  g.fillText(short(group.low, span), gutter - 6, height - 3);
}

function answers(view, from, now, colour) {
  const labels = gestureLabels();
  const {g, width, height} = canvas(byId("answers"));
  const foot = 16, each = (height - foot) / labels.length;
  const x = t => gutter + (t - from) / (now - from) * (width - gutter);
  marks(g, x, width, 0, 0, from, now, colour);
  const delay = facts.delay, ratio = devicePixelRatio || 1;
  const whole = px => Math.round(px * ratio) / ratio; // neighbours that share part of a pixel would look striped
  labels.forEach((l, i) => {
    const top = i * each + 1.5, h = each - 3;
    g.fillStyle = colour("grid");
    g.beginPath();
    g.roundRect(gutter, top, width - gutter, h, 3);
    g.fill();
    g.save();
    g.clip();
    const heat = colour("heat");
    for (let n = 0; n < view.length; n++) {
      const p = view[n][l.k];
      if (p < .02) continue;
      const a = whole(x(view[n][0] - delay));
      const b = n + 1 < view.length ? Math.min(whole(x(view[n + 1][0] - delay)), a + 12) : a + 2;
      g.fillStyle = `rgba(${heat}, ${p.toFixed(3)})`;
      g.fillRect(a, top, b - a, h);
    }
    g.restore();
    g.textAlign = "right";
    g.textBaseline = "middle";
    g.fillStyle = colour("soft");
    g.fillText(fit(g, l.label, gutter - 8), gutter - 6, top + h / 2);
    g.strokeStyle = colour("ink");
    g.lineWidth = 1.5;
    for (const e of gestures) if (e.label === l.label) {
      const a = Math.max(x(e.t_start), gutter + 1), b = Math.min(x(e.t_end), width - 1);
      if (b > a) {
        g.beginPath();
        g.roundRect(a, top + .75, b - a, h - 1.5, 3);
        g.stroke();
      }
    }
  });
  g.textBaseline = "alphabetic";
  g.textAlign = "center";
  g.fillStyle = colour("soft");
  for (let s = 2; s < shown(); s += 2) g.fillText(`−${s} s`, x(now - s), height - 2);
}

function fit(g, text, width) {
  if (g.measureText(text).width <= width) return text;
  while (text && g.measureText(text + "…").width > width) text = text.slice(0, -1);
  return text + "…";
}

// phone sends the motion of this device.
const phone = {on: false, socket: null, sent: 0, heard: false};

// On Apple's phones and tablets readings of acceleration have the other sign than the W3C's definition.
const apple = /iP(hone|ad|od)/.test(navigator.userAgent) || navigator.userAgent.includes("Macintosh") && navigator.maxTouchPoints > 1;

function note(text, bad = false) {
  const n = byId("phone-note");
  n.textContent = text;
  n.className = bad ? "bad" : "";
}

async function usePhone() {
  if (phone.on) return stopPhone("stopped");
  if (!isSecureContext) {
    return note("Browsers give a page the motion of a phone only where it came by https. Start gesture with -web-tls and open this page " +
      "with https:// in front.", true);
  }
  if (typeof DeviceMotionEvent === "undefined") return note("This browser knows no motion sensor.", true);
  if (typeof DeviceMotionEvent.requestPermission === "function") {
    try {
      if (await DeviceMotionEvent.requestPermission() !== "granted") return note("You have not allowed it.", true);
    } catch (e) {
      return note(`The phone refuses: ${e.message}`, true);
    }
  }
  phone.on = true;
  phone.heard = false;
  byId("use").disabled = true;
  const socket = phone.socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/sensor`);
  socket.onmessage = () => { // ready
    byId("use").disabled = false;
    byId("use").textContent = "Stop";
    note("This phone is the sensor. Leave the page open, with the screen on.");
    addEventListener("devicemotion", motion);
    stayAwake();
    setTimeout(() => { if (phone.on && !phone.heard) stopPhone("No motion comes: this device seems to have no accelerometer and gyroscope.", true); }, 3000);
  };
  socket.onclose = e => {
    if (phone.socket === socket && phone.on) stopPhone(e.reason || "the connection was lost", true);
  };
}

function stopPhone(text, bad = false) {
  phone.on = false;
  removeEventListener("devicemotion", motion);
  if (phone.socket) phone.socket.close();
  phone.socket = null;
  byId("use").disabled = false;
  byId("use").textContent = "Use this phone as the sensor";
  note(text, bad);
}

function motion(e) {
  const a = e.accelerationIncludingGravity, r = e.rotationRate;
  if (!a || a.x === null) return;
  if (!r || r.alpha === null) return stopPhone("This phone has no gyroscope.", true);
  phone.heard = true;
  const sign = apple ? -1 : 1;
  // rotationRate's alpha, beta and gamma are about x, y and z, other than those of deviceorientation.
  const sample = [e.timeStamp, sign * a.x, sign * a.y, sign * a.z, r.alpha, r.beta, r.gamma];
  if (phone.socket.readyState === WebSocket.OPEN && phone.socket.bufferedAmount < 1 << 16) phone.socket.send(JSON.stringify([sample]));
}

// stayAwake keeps the screen on, where the browser can: a page that is not shown gets no motion.
async function stayAwake() {
  try {
    await navigator.wakeLock?.request("screen");
  } catch {
    // The screen then goes off as it always does.
  }
}

byId("use").addEventListener("click", usePhone);
addEventListener("resize", () => { changed = true; });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { changed = true; });
connect();
requestAnimationFrame(draw);
