// Light, dark or as the system has it. A plain script in the head, so that a page never
// flashes in the wrong colours; the choice is the one Django's admin keeps too.
"use strict";
(() => {
  const themes = ["auto", "light", "dark"];
  const read = () => {
    try {
      const kept = localStorage.getItem("theme");
      return themes.includes(kept) ? kept : "auto";
    } catch {
      return "auto"; // storage may be switched off
    }
  };
  const show = (theme) => {
    document.documentElement.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (button) {
      button.dataset.theme = theme;
      button.title = `Colours: ${theme}`;
      button.querySelector("span").textContent = `Colours: ${theme}. Change.`;
    }
  };
  show(read());
  document.addEventListener("DOMContentLoaded", () => {
    show(read());
    document.getElementById("theme")?.addEventListener("click", () => {
      const next = themes[(themes.indexOf(read()) + 1) % themes.length];
      try {
        localStorage.setItem("theme", next);
      } catch {
        // then it lasts as long as the page
      }
      show(next);
    });
  });
})();
