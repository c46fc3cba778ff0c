// Updates a page automatically: a fragment is fetched each second while it is not complete
// (replicas differ, a version waits for its verdict), every five seconds afterwards, and no more once it is final.
// Times marked data-ago are shown as "12 s ago", the others in the user's time zone.
"use strict";

(() => {
  const PAUSES = { no: 1000, yes: 5000 }; // by data-complete

  const ago = (moment) => {
    const seconds = Math.max(0, Math.round((Date.now() - moment) / 1000));
    if (seconds < 60) return `${seconds} s ago`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
    if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ago`;
    return `${Math.floor(seconds / 86400)} days ago`;
  };

  const zoned = (moment) => {
    const zone = new Intl.DateTimeFormat("en", { timeZoneName: "short" }).formatToParts(moment);
    // The Swedish date format is that of ISO 8601.
    const text = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium" }).format(moment);
    return `${text} ${zone.find((part) => part.type === "timeZoneName").value}`;
  };

  const writeMoments = () => {
    for (const time of document.querySelectorAll("time[datetime]:not([title])")) {
      time.title = time.textContent;
      time.textContent = zoned(new Date(time.dateTime));
    }
    for (const time of document.querySelectorAll("time[data-ago]")) {
      const text = ago(Date.parse(time.dateTime));
      if (time.textContent !== text) time.textContent = text;
    }
  };

  // A field of a moment has UTC without this script, and the reader's zone with it.
  const zoneField = (input) => {
    const moment = new Date(`${input.value}Z`);
    if (input.value) input.value = new Date(moment - moment.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
    document.getElementById(input.dataset.utc).textContent = `(${Intl.DateTimeFormat().resolvedOptions().timeZone})`;
    input.form.addEventListener("formdata", ({ formData }) => {
      formData.set(input.name, `${new Date(input.value).toISOString().slice(0, 19)}Z`);
    });
  };

  const follow = (live) => {
    const status = document.getElementById("live-status");
    const moved = document.getElementById("live-moved");
    const lost = document.getElementById("live-lost");
    const content = () => document.getElementById("live-content");
    const isFinal = () => content().dataset.complete === "final";
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
      // Screen readers read only the sentence, and only when it has changed.
      if (content().dataset.text !== before) status.textContent = content().dataset.text;
      if (moved) moved.hidden = content().dataset.generation === generation;
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
      if (document.hidden || isFinal()) return; // a hidden page sends no requests
      timer = setTimeout(ask, PAUSES[content().dataset.complete]);
    };

    document.addEventListener("visibilitychange", () => (document.hidden || isFinal() ? clearTimeout(timer) : ask()));
    plan();
  };

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("input[data-utc]").forEach(zoneField);
    writeMoments();
    setInterval(writeMoments, 1000);
    const live = document.getElementById("live");
    if (live) follow(live);
  });
})();
