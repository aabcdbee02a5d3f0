"use strict";
(() => {
  const SILENCE = 60000, RETRY = 3000, TICK = 10000;
  const { version, place, spans } = document.documentElement.dataset;
  const lost = document.getElementById("lost"), icon = document.getElementById("icon");
  let source, watchdog, ticking, busy = false, again = false;
  let asOf, skew;

  /* Ages are counted by the clock of the loop; this machine's tells only how much time has passed. */
  function set() {
    asOf = Date.parse(document.querySelector("#place time[datetime]").dateTime);
    skew = Date.now() - asOf;
  }

  function relative(at, now) {
    const away = Math.abs(at - now) / 1000;
    for (const [one, several, length, least] of JSON.parse(spans)) {
      const number = Math.floor(away / length);
      if (number < least) continue;
      const told = `${number} ${number === 1 ? one : several}`;
      return at > now ? `in ${told}` : `${told} ago`;
    }
    return "now";
  }

  function age() {
    const now = Date.now() - skew;
    for (const each of document.querySelectorAll("time.ago")) each.textContent = relative(Date.parse(each.dateTime), now);
  }

  function lose() {
    if (!lost.hidden) return;
    lost.hidden = false;
    document.body.classList.add("stale");
    document.title = `? ${document.title}`;
    icon.href = icon.dataset.lost;
    ticking = setInterval(age, TICK);
  }

  function find() {
    lost.hidden = true;
    document.body.classList.remove("stale");
    clearInterval(ticking);
  }

  /* A page that turns into that of another fleet has to say so. */
  function remember() {
    const before = sessionStorage.getItem("before");
    sessionStorage.removeItem("before");
    if (!before) return;
    const moved = document.getElementById("moved");
    moved.querySelector("b").textContent = before;
    moved.hidden = false;
  }

  /* Whoever is reading, has unfolded something or is selecting a command keeps it. */
  function replace(now, next) {
    if (!next) return;
    const selection = getSelection();
    if (!selection.isCollapsed && selection.containsNode(now, true)) return;
    for (const each of now.querySelectorAll("details[id]")) {
      const same = next.querySelector(`#${each.id}`);
      if (same) same.open = each.open;
    }
    now.className = next.className;
    if (now.innerHTML === next.innerHTML) return;
    const focused = now.contains(document.activeElement) ? document.activeElement.id : "";
    now.replaceChildren(...next.childNodes);
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  }

  function show(page) {
    const next = page.documentElement.dataset;
    if (next.place !== place) sessionStorage.setItem("before", place);
    if (next.place !== place || next.version !== version) {
      location.reload();
      return;
    }
    document.title = page.title;
    icon.href = page.getElementById("icon").getAttribute("href");
    for (const each of document.querySelectorAll("[data-part]")) replace(each, page.getElementById(each.id));
    set();
  }

  /* At most one request at a time; what changes meanwhile is asked for by the next. */
  async function refresh() {
    again = true;
    if (busy) return;
    busy = true;
    try {
      while (again) {
        again = false;
        const reply = await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(SILENCE) });
        if (!reply.ok) throw new Error(reply.statusText);
        show(new DOMParser().parseFromString(await reply.text(), "text/html"));
      }
      find();
    } catch {
      lose();
    } finally {
      busy = false;
    }
  }

  function listen() {
    clearTimeout(watchdog);
    source?.close();
    source = new EventSource("/events");
    watchdog = setTimeout(fail, SILENCE);
    source.addEventListener("state", () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(fail, SILENCE);
      refresh();
    });
    source.onerror = fail;
  }

  function fail() {
    lose();
    clearTimeout(watchdog);
    source.close();
    watchdog = setTimeout(listen, RETRY);
  }

  remember();
  set();
  listen();
})();
