// Keeps a model's page up to date: the rollout and the versions are fetched each second while replicas differ,
// and every five seconds afterwards. Moments marked data-ago are written as "12 s ago".
"use strict";

(() => {
  const WHILE_INCOMPLETE = 1000;
  const AFTERWARDS = 5000;

  const ago = (moment) => {
    const seconds = Math.max(0, Math.round((Date.now() - moment) / 1000));
    if (seconds < 60) return `${seconds} s ago`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
    if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ago`;
    return `${Math.floor(seconds / 86400)} days ago`;
  };

  const writeMoments = () => {
    for (const time of document.querySelectorAll("time[data-ago]")) {
      const text = ago(Date.parse(time.dateTime));
      if (time.textContent !== text) time.textContent = text;
    }
  };

  const follow = (live) => {
    const status = document.getElementById("live-status");
    const moved = document.getElementById("live-moved");
    const lost = document.getElementById("live-lost");
    const content = () => document.getElementById("live-content");
    const generation = content().dataset.generation;
    let shown = null;
    let timer = null;
    let asking = false;

    const show = (text) => {
      if (text === shown) return;
      shown = text;
      const focused = document.activeElement && live.contains(document.activeElement) ? document.activeElement.id : "";
      const before = content().dataset.text;
      live.innerHTML = text;
      if (focused && document.getElementById(focused)) document.getElementById(focused).focus();
      // Screen readers hear the sentence alone, and only when it is another one.
      if (content().dataset.text !== before) status.textContent = content().dataset.text;
      moved.hidden = content().dataset.generation === generation;
      writeMoments();
    };

    const ask = async () => {
      if (asking) return;
      asking = true;
      try {
        const response = await fetch(live.dataset.url, { headers: { "X-Requested-With": "fetch" }, redirect: "error" });
        if (!response.ok) throw new Error(`status ${response.status}`);
        show(await response.text());
        lost.hidden = true;
      } catch {
        lost.hidden = false;
      } finally {
        asking = false;
      }
      plan();
    };

    const plan = () => {
      clearTimeout(timer);
      if (document.hidden) return; // a page that nobody sees asks nothing
      timer = setTimeout(ask, content().dataset.complete === "yes" ? AFTERWARDS : WHILE_INCOMPLETE);
    };

    document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : ask()));
    plan();
  };

  document.addEventListener("DOMContentLoaded", () => {
    writeMoments();
    setInterval(writeMoments, 1000);
    const live = document.getElementById("live");
    if (live) follow(live);
  });
})();
