"use strict";
(() => {
  const SILENCE = 60000, RETRY = 3000;
  const lost = document.getElementById("lost");
  let source, watchdog, busy = false, again = false;

  function lose() {
    lost.hidden = false;
    document.body.classList.add("stale");
  }

  function find() {
    lost.hidden = true;
    document.body.classList.remove("stale");
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
    if (page.documentElement.dataset.version !== document.documentElement.dataset.version) {
      location.reload();
      return;
    }
    document.title = page.title;
    document.getElementById("icon").href = page.getElementById("icon").getAttribute("href");
    for (const each of document.querySelectorAll("[data-part]")) replace(each, page.getElementById(each.id));
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

  listen();
})();
