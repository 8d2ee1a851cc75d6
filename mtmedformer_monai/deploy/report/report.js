"use strict";
// Conveniences only: without scripts, every control of an image works.
(() => {
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));

  for (const part of all(".search, .all")) part.hidden = false;

  // One button sets the same layer in every image.
  for (const button of all("button[data-set]")) {
    const boxes = all(button.dataset.set);
    button.hidden = boxes.length === 0;
    button.setAttribute("aria-pressed", "true");
    button.addEventListener("click", () => {
      const show = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(show));
      for (const box of boxes) box.checked = show;
    });
  }

  const pickers = all("button[data-pick]");
  for (const button of pickers) {
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      const show = button.getAttribute("aria-pressed") !== "true";
      for (const other of pickers) other.setAttribute("aria-pressed", String(show && other === button));
      for (const image of all(".image")) {
        const radio = show ? image.querySelector("input." + button.dataset.pick) : null;
        (radio || image.querySelector("input.heat-none") || {}).checked = true;
      }
    });
  }

  // The filter of the index hides studies as well.
  const find = document.getElementById("find");
  const flagged = document.getElementById("only-flagged");
  if (find) {
    const entries = all("[data-study]").map((entry) => {
      const study = document.getElementById(entry.dataset.study);
      return { entry, study, text: study.textContent.toLowerCase() };
    });
    const filter = () => {
      const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      for (const { entry, study, text } of entries) {
        const shown = words.every((word) => text.includes(word)) && (!flagged.checked || "flagged" in study.dataset);
        entry.hidden = study.hidden = !shown;
        count += shown;
      }
      document.getElementById("found").textContent = `${count} of ${entries.length} studies`;
    };
    find.addEventListener("input", filter);
    flagged.addEventListener("change", filter);
  }

  // Images outside the window are loaded late; on paper they must be there.
  addEventListener("beforeprint", () => {
    for (const image of all("img[loading=lazy]")) image.loading = "eager";
  });
})();
