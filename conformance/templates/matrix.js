"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const byId = (id) => document.getElementById(id);
  const rows = all("tr.row").map((row) => ({
    row,
    text: row.querySelector("th").textContent.toLowerCase(),
    verdicts: row.dataset.verdicts.split(" "),
    differs: row.closest("section").id === "differs",
  }));

  const filter = byId("filter"), text = byId("text"), verdict = byId("verdict");
  const differing = byId("differing"), shown = byId("shown");
  const everything = shown.textContent;
  const opened = new Set(); // areas that the filter opened, not the reader
  filter.hidden = false;

  const apply = () => {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const only = differing !== null && differing.checked;
    const active = words.length > 0 || verdict.value !== "" || only;
    let count = 0;
    for (const each of rows) {
      const fits = words.every((word) => each.text.includes(word)) &&
        (verdict.value === "" || each.verdicts.includes(verdict.value)) && (!only || each.differs);
      each.row.hidden = !fits;
      if (fits) count += 1;
    }
    for (const head of all("tr.area-head")) {
      let next = head.nextElementSibling, any = false;
      for (; next !== null && next.classList.contains("row"); next = next.nextElementSibling) {
        any ||= !next.hidden;
      }
      head.hidden = !any;
    }
    for (const area of all("details.area")) {
      const any = area.querySelector("tr.row:not([hidden])") !== null;
      area.hidden = !any;
      if (active && any && !area.open) {
        area.open = true;
        opened.add(area);
      } else if (!active && opened.delete(area)) {
        area.open = false;
      }
    }
    for (const section of all("#differs, #fails, #same")) {
      section.hidden = active && section.querySelector("tr.row:not([hidden])") === null;
    }
    shown.textContent = active ? `${count} of ${everything}` : everything;
  };
  filter.addEventListener("submit", (event) => event.preventDefault());
  filter.addEventListener("input", apply);
  apply();

  // The command is selected in any case: where the page may not write to the clipboard, a key does.
  for (const button of all(".copy")) {
    const command = button.parentElement.querySelector(".command");
    button.hidden = false;
    button.addEventListener("click", async () => {
      getSelection().selectAllChildren(command);
      try {
        await navigator.clipboard.writeText(command.textContent);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Selected";
      }
    });
  }

  let opener = null;
  document.addEventListener("click", (event) => {
    const link = event.target.closest("tr.row a");
    if (link !== null) opener = link;
  });
  const panel = () => {
    const target = location.hash.length > 1 ? byId(decodeURIComponent(location.hash.slice(1))) : null;
    return target === null ? null : target.closest(".finding");
  };
  const visible = (link) => link.getClientRects().length > 0;
  const close = () => {
    const open = panel();
    if (open === null) return false;
    const back = opener !== null && visible(opener) ? opener : byId(`row/${open.id}`);
    const [x, y] = [scrollX, scrollY];
    // Not pushed: the way back must not lead into the panel again.
    location.replace(`#row/${open.id}`);
    if (opener !== null) scrollTo(x, y);
    if (back !== null) back.focus();
    return true;
  };
  document.addEventListener("click", (event) => {
    if (event.target.closest(".close a") !== null && close()) event.preventDefault();
  });

  const move = (down, right) => {
    const focused = document.activeElement.closest("tr.row") ? document.activeElement : opener;
    const list = rows.map((each) => each.row).filter((row) => row.getClientRects().length > 0);
    if (list.length === 0) return;
    const row = focused === null ? null : focused.closest("tr.row");
    const at = list.indexOf(row);
    if (at === -1) {
      list[0].querySelector("a").focus();
      return;
    }
    const cells = [...row.children];
    let column = cells.indexOf(focused.closest("th, td"));
    let to = row;
    if (down !== 0) {
      to = list[Math.min(list.length - 1, Math.max(0, at + down))];
      if (to.children[column].querySelector("a") === null) column = 0;
    } else {
      do column += right; while (column > 0 && column < cells.length && cells[column].querySelector("a") === null);
    }
    const cell = to.children[column];
    const link = cell === undefined ? null : cell.querySelector("a");
    if (link === null) return;
    link.focus();
    if (panel() !== null) {
      opener = link;
      location.replace(link.getAttribute("href"));
    }
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      if (close()) event.preventDefault();
      return;
    }
    if (event.target.closest("input, select, textarea") !== null) return;
    const inTable = event.target.closest("tr.row") !== null;
    const steps = { j: [1, 0], k: [-1, 0], l: [0, 1], h: [0, -1] };
    const arrows = { ArrowDown: steps.j, ArrowUp: steps.k, ArrowRight: steps.l, ArrowLeft: steps.h };
    const step = steps[event.key] || (inTable && arrows[event.key]);
    if (step) {
      event.preventDefault();
      move(...step);
    } else if (event.key === "/") {
      event.preventDefault();
      text.focus();
    }
  });
})();
