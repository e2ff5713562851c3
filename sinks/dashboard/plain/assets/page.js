// Keeps the plain page live over /api/v1/live. Everything that an agent wrote
// goes into the page as text, never as markup.
const $ = (selector, root = document) => root.querySelector(selector);
const table = $("#nodes"), tbody = $("#rows"), input = $("#q");
const maxRows = 1000, quiet = 15000;
let nodes = new Map(); // the node's number -> its fields, and in row and cell what shows it
let fresh, cols, sum, seq, asked, unsorted, sort = table.dataset.sort;
let server = { now: +document.body.dataset.now, at: performance.now() };
const now = () => server.now + performance.now() - server.at;

const text = (el, s) => { if (el.textContent !== s) el.textContent = s; };
const title = (el, s) => { if (el.title !== s) el.title = s; };
const group = (n) => n == null ? "–" : String(n).replace(/\B(?=(\d{3})+$)/g, ",");
const rate = (n) => n == null || n >= 100 ? group(n == null ? n : Math.round(n)) : n.toFixed(1);
function age(then) {
  const s = Math.max(0, Math.floor((now() - then) / 1000));
  return s < 60 ? `${s} s` : s < 3600 ? `${Math.floor(s / 60)} min` : s < 172800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} d`;
}
function behind(n) {
  const best = sum?.tot[n.chain]?.best;
  return n.st === "offline" || n.blk == null || best == null ? null : Math.max(0, best - n.blk);
}

function share(cell, n) {
  text($(".v", cell), n == null ? "–" : `${Math.floor(n + 0.5)}%`);
  $(".part", cell).setAttribute("width", n ?? 0);
  $(".bar", cell).setAttribute("class", n == null ? "bar none" : n >= 90 ? "bar high" : "bar");
}
function draw(n) {
  if (!n.row) return;
  const c = n.cell;
  n.row.className = `s-${n.st}`;
  n.row.dataset.node = n.node;
  n.row.dataset.key = n.key;
  text($(".word", c.st), n.st); title($(".pill", c.st), n.why);
  text($(".name", c.node), n.node); title($(".name", c.node), n.node);
  text($(".sub", c.node), n.sub); title($(".sub", c.node), n.sub);
  text($(".name", c.client), n.short || "–"); text($(".sub", c.client), n.net); title(c.client, n.client);
  text(c.blk, group(n.blk)); title(c.blk, n.hash);
  text(c.peers, group(n.peers)); text(c.pend, group(n.pend));
  share(c.cpu, n.cpu); share(c.mem, n.mem); share(c.disk, n.disk);
  title(c.seen, new Date(n.seen).toLocaleString());
  drawMoving(n);
}
function drawMoving(n) { // what changes though nothing comes of the node itself
  const b = behind(n);
  text(n.cell.beh, b ? `−${group(b)}` : group(b));
  text(n.cell.seen, age(n.seen));
}
function adopt(n, row) { // row, the server's or a new one, shows n from now on
  [n.row, n.cell] = [row, {}];
  for (const td of row.children) for (const c of td.classList) n.cell[c] = td;
  draw(n);
}

const states = ["lagging", "stale", "ok", "offline"];
const value = {
  state: (n) => states.indexOf(n.st), node: (n) => n.node, client: (n) => n.short || null, block: (n) => n.blk, behind, peers: (n) => n.peers,
  pending: (n) => n.pend, cpu: (n) => n.cpu, memory: (n) => n.mem, disk: (n) => n.disk, seen: (n) => -n.seen,
};
function compare(a, b) {
  const of = value[sort.replace("-", "")], x = of(a), y = of(b), turn = sort[0] === "-" ? -1 : 1;
  return (a.st === "offline") - (b.st === "offline") || (x == null) - (y == null) || (x < y ? -turn : x > y ? turn : 0) ||
    (a.node < b.node ? -1 : a.node > b.node ? 1 : a.id - b.id);
}
function arrange() {
  unsorted = false;
  const q = input.value.trim().toLowerCase();
  const list = [...nodes.values()].filter((n) => !q || [n.node, n.sub, n.client, n.net, n.st].some((s) => s.toLowerCase().includes(q))).sort(compare);
  const shown = list.slice(0, maxRows);
  shown.forEach((n, i) => {
    if (!n.row) adopt(n, $("#row").content.firstElementChild.cloneNode(true));
    if (tbody.children[i] !== n.row) tbody.insertBefore(n.row, tbody.children[i] ?? null);
  });
  while (tbody.children.length > shown.length) tbody.lastChild.remove();
  text($("#shown"), list.length > shown.length ? `the first ${shown.length} of ${list.length} nodes` : `${list.length} node${list.length === 1 ? "" : "s"}`);
  $("#nomatch").hidden = list.length > 0;
  text($("#asked"), input.value.trim());
  table.classList.toggle("unchained", ![...nodes.values()].some((n) => n.chain || n.blk != null || n.client));
  $("#fleet").hidden = nodes.size === 0;
}
function summarize() {
  const c = sum.count, online = c.ok + c.lagging + c.stale, none = nodes.size === 0;
  for (const [key, n] of Object.entries({ online, lagging: c.lagging, stale: c.stale, offline: c.offline })) text($(`#t-${key}`), none ? "–" : group(n));
  text($("#t-total"), group(online + c.offline));
  text($("#t-rate"), rate(sum.rate));
  $("#tiles").classList.toggle("none", none);
  $("#reading").hidden = sum.caught;
  $("#empty").hidden = !none || !sum.caught;
  $("#skeleton").hidden = !none || sum.caught;
  $("#refused").hidden = !sum.refused?.length;
  text($("#reasons"), (sum.refused ?? []).map((r) => `${r.reason} ${r.count}`).join(", "));
  const chains = Object.values(sum.tot).filter((t) => t.best != null).sort((a, b) => a.order - b.order).slice(0, 4);
  const tiles = [...$("#tiles").querySelectorAll(".best")];
  tiles.slice(chains.length).forEach((el) => el.remove());
  chains.forEach((t, i) => {
    const el = tiles[i] ?? $("#tiles").appendChild($("#best").content.firstElementChild.cloneNode(true));
    text($("dt", el), t.label); text($("b", el), group(t.best)); text($("small", el), `best block, ${age(t.bestAt)} ago`);
  });
}

const object = (row) => Object.fromEntries(cols.map((key, i) => [key, row[i]]));
const handle = {
  snapshot(m) {
    if (m.part === 0) { fresh = new Map(); cols = m.cols; }
    for (const row of m.rows) { const n = object(row); fresh.set(n.id, n); }
    if (!m.last) return;
    [nodes, sum, seq, asked] = [fresh, m, m.seq, false];
    const rows = new Map([...tbody.children].map((row) => [row.dataset.key, row]));
    for (const n of nodes.values()) if (rows.has(n.key)) adopt(n, rows.get(n.key));
    arrange(); summarize();
  },
  delta(m) {
    if (m.seq !== seq + 1) { if (!asked) { asked = true; socket.send('{"t":"resync"}'); } return; }
    seq = m.seq;
    for (const up of m.up ?? []) draw(Object.assign(nodes.get(up.id), up));
    for (const row of m.add ?? []) { const n = object(row); nodes.set(n.id, n); }
    for (const id of m.del ?? []) { nodes.get(id)?.row?.remove(); nodes.delete(id); }
    if (m.count) { sum = m; for (const n of nodes.values()) if (n.row) drawMoving(n); }
    if (m.add || m.del) arrange(); else unsorted = true;
    if (m.count) summarize();
  },
  bye(m) { wait = m.retryMs; },
};

let socket, wait = 0, tries = 0, retry, heard;
function feed(state, word) { $("#feed").className = `feed ${state}`; text($("#feed .word"), word); }
function connect() {
  clearTimeout(retry);
  heard = performance.now();
  const s = socket = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}/api/v1/live`, "sluice.live.v1");
  s.onmessage = (event) => {
    if (s !== socket) return;
    const m = JSON.parse(event.data);
    heard = performance.now();
    if (m.now) server = { now: m.now, at: heard };
    if (m.t === "snapshot" && m.last) { tries = 0; document.body.classList.remove("lost"); text($("#banner"), ""); feed("on", "live"); }
    handle[m.t]?.(m); // what this page does not know, it ignores
  };
  s.onclose = () => { if (s === socket) lost(); };
}
function lost() {
  socket = null;
  document.body.classList.add("lost");
  text($("#banner"), `Connection lost. You see the state of ${new Date(server.now).toLocaleTimeString()}; this page keeps trying to get it back.`);
  feed("off", "not live");
  retry = setTimeout(connect, wait + Math.random() * Math.min(15000, 500 * 2 ** tries++));
  wait = 0;
}
addEventListener("online", () => { if (!socket) connect(); });
document.addEventListener("visibilitychange", () => { if (!document.hidden && !socket) connect(); });
setInterval(() => {
  if (socket && performance.now() - heard > quiet) { const s = socket; lost(); s.close(); }
  for (const n of nodes.values()) if (n.row) drawMoving(n);
  if (sum) summarize();
  if (unsorted && !table.matches(":hover") && !table.contains(document.activeElement)) arrange();
}, 1000);

function address() { // the address always says what is shown
  const p = new URLSearchParams();
  if (input.value.trim()) p.set("q", input.value.trim());
  if (sort !== "node") p.set("sort", sort);
  history.replaceState(null, "", p.size ? `/?${p}` : "/");
  arrange();
}
input.addEventListener("input", address);
input.form.addEventListener("submit", (event) => event.preventDefault());
$("#clear").addEventListener("click", (event) => { event.preventDefault(); input.value = ""; address(); });
$("thead", table).addEventListener("click", (event) => {
  const a = event.target.closest("a");
  if (!a || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  sort = sort === a.dataset.key ? `-${sort}` : a.dataset.key;
  for (const th of table.tHead.rows[0].cells) th.ariaSort = $("a", th) !== a ? "none" : sort[0] === "-" ? "descending" : "ascending";
  address();
});
connect();
