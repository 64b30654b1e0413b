"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // A link to a run opens it.
  const reveal = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    const fold = target.querySelector(":scope > details") || target.closest("details");
    if (fold && !fold.open) { fold.open = true; target.scrollIntoView(); }
  };
  addEventListener("hashchange", reveal);
  reveal();
  addEventListener("beforeprint", () => all("details").forEach((one) => { one.open = true; }));

  // Values under the pointer, or by the arrow keys.
  for (const chart of all(".chart[data-stops]")) {
    const stops = chart.dataset.stops.split(" ").map(Number), plot = chart.querySelector(".plot");
    const hair = chart.querySelector(".hair");
    const told = all(".legend li[data-values]", chart).map((item) => [item.querySelector("b"), item.dataset.values.split("|")]);
    let at = -1;
    const show = (index) => {
      at = index;
      hair.hidden = index < 0;
      if (index >= 0) hair.style.left = `${stops[index]}%`;
      for (const [place, values] of told) place.textContent = index < 0 ? "" : values[index] || "–";
    };
    plot.addEventListener("pointermove", (event) => {
      const bounds = plot.getBoundingClientRect(), x = 100 * (event.clientX - bounds.left) / bounds.width;
      let near = 0;
      stops.forEach((stop, index) => { if (Math.abs(stop - x) < Math.abs(stops[near] - x)) near = index; });
      show(near);
    });
    plot.addEventListener("pointerleave", () => show(-1));
    chart.addEventListener("blur", () => show(-1));
    chart.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!way) return;
      event.preventDefault();
      show(Math.max(0, Math.min(stops.length - 1, at < 0 ? (way > 0 ? 0 : stops.length - 1) : at + way)));
    });
  }

  // The score threshold: what is below it goes, and an object that only such a box had found is missed.
  const sift = (within, score) => {
    const count = { right: 0, wrong: 0, missed: 0 };
    for (const group of all("g", within)) {
      const own = group.dataset.s === undefined ? -1 : Number(group.dataset.s);
      if (group.classList.contains("object")) {
        const missed = own < score;
        group.classList.toggle("missed", missed);
        group.classList.toggle("truth", !missed);
        count.missed += missed;
      } else if (group.dataset.s !== undefined) {
        group.classList.toggle("below", own < score);
        if (own >= score) count[group.classList.contains("right") ? "right" : "wrong"] += 1;
      }
    }
    return count;
  };
  const words = (count) => `${count.right} right, ${count.wrong} wrong, ${count.missed} missed`;
  for (const gallery of all(".gallery")) {
    const slider = gallery.querySelector("input"), told = gallery.querySelector(".control .told");
    const f1 = gallery.dataset.f1 ? gallery.dataset.f1.split(" ").map(Number) : [];
    // The best threshold may lie between two hundredths, where the slider can't; until it is moved, that counts.
    const apply = () => {
      const score = Number(gallery.dataset.score);
      gallery.querySelector("output").textContent = score.toFixed(2);
      for (const figure of all(".shot", gallery)) {
        const caption = figure.querySelector("figcaption");
        caption.textContent = `${caption.dataset.name}: ${words(sift(figure, score))}`;
      }
      const known = f1[Math.round(100 * score)];
      told.textContent = known === undefined ? "" : `F1 on all validation images ${known.toFixed(3)}`;
    };
    slider.addEventListener("input", () => {
      gallery.dataset.score = slider.value;
      apply();
    });
    apply();
  }

  // Photos enlarge; arrows go on within the same gallery.
  const dialog = document.getElementById("enlarged"), stage = dialog.querySelector(".stage");
  let row = [], shown = 0;
  const put = (index) => {
    shown = (index + row.length) % row.length;
    const figure = row[shown].closest(".shot"), caption = figure.querySelector("figcaption");
    stage.replaceChildren(row[shown].querySelector("svg").cloneNode(true));
    const gallery = figure.closest(".gallery"), score = gallery && Number(gallery.dataset.score);
    if (gallery) sift(stage, score);
    dialog.querySelector(".told").textContent = caption ? `${caption.textContent}, from score ${score.toFixed(2)} on` : "";
  };
  for (const button of all(".shot button")) {
    button.addEventListener("click", () => {
      row = all(".shot button", button.closest(".gallery, .shots"));
      put(row.indexOf(button));
      dialog.showModal();
    });
  }
  dialog.querySelector(".back").addEventListener("click", () => put(shown - 1));
  dialog.querySelector(".on").addEventListener("click", () => put(shown + 1));
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") put(shown - 1);
    if (event.key === "ArrowRight") put(shown + 1);
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
})();
