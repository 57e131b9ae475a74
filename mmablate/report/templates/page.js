"use strict";
(() => {
  // The page is whole without this: it adds sorting, and the numbers behind a cell for touch and keyboard.
  const cellAt = (row, column) => {
    let next = 0;
    for (const cell of row.cells) {
      next += cell.colSpan;
      if (column < next) return cell;
    }
    return null;
  };

  const makeSortable = table => {
    const body = table.tBodies[0];
    const original = [...body.rows];
    const headers = [...table.tHead.rows[0].cells];
    const keyOf = (row, column, words) => {
      const cell = cellAt(row, column);
      if (words) return cell.textContent;
      return cell && cell.dataset.v !== undefined ? Number(cell.dataset.v) : null;
    };
    const sorted = (column, words, sign) => {
      const keys = new Map(original.map(row => [row, keyOf(row, column, words)]));
      return [...original].sort((first, second) => {
        const a = keys.get(first), b = keys.get(second);
        if (a === null || b === null) return (a === null) - (b === null);  // failed rows last, either way
        return sign * (words ? a.localeCompare(b, undefined, {numeric: true}) : a - b);
      });
    };
    headers.forEach((header, column) => {
      const words = header.dataset.sort === "words";
      const first = words || header.dataset.sort === "ascending" ? "ascending" : "descending";
      const second = first === "ascending" ? "descending" : "ascending";
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => {
        const now = header.getAttribute("aria-sort");
        const next = now === null ? first : now === first ? second : null;
        headers.forEach(other => other.removeAttribute("aria-sort"));
        if (next !== null) header.setAttribute("aria-sort", next);
        body.append(...(next === null ? original : sorted(column, words, next === "ascending" ? 1 : -1)));
      });
    });
  };

  const box = document.createElement("div");
  box.id = "behind";
  box.setAttribute("role", "tooltip");
  box.hidden = true;
  let shown = null;
  const hide = () => {
    if (shown) shown.removeAttribute("aria-describedby");
    shown = null;
    box.hidden = true;
  };
  const show = cell => {
    if (!cell || cell === shown) return;
    hide();
    shown = cell;
    box.textContent = cell.dataset.behind;
    box.hidden = false;
    cell.setAttribute("aria-describedby", box.id);
    const at = cell.getBoundingClientRect(), own = box.getBoundingClientRect(), edge = 8;
    const left = Math.min(Math.max(edge, at.right - own.width), document.documentElement.clientWidth - own.width - edge);
    const below = at.bottom + own.height + edge <= window.innerHeight || at.top < own.height + edge;
    box.style.left = `${Math.max(edge, left)}px`;
    box.style.top = `${below ? at.bottom + 4 : at.top - own.height - 4}px`;
  };

  const makeTelling = table => {
    const cells = table.querySelectorAll("td[title]");
    cells.forEach(cell => {
      cell.dataset.behind = cell.title;
      cell.removeAttribute("title");  // one box, not two
    });
    const of = event => event.target.closest("td[data-behind]");
    const reach = cell => {
      table.querySelectorAll("td[tabindex]").forEach(other => other.removeAttribute("tabindex"));
      cell.tabIndex = 0;
    };
    if (cells.length) reach(cells[0]);
    table.addEventListener("mouseover", event => of(event) ? show(of(event)) : hide());
    table.addEventListener("mouseleave", hide);
    table.addEventListener("focusin", event => show(of(event)));
    table.addEventListener("focusout", hide);
    table.addEventListener("click", event => {
      const cell = of(event);
      if (cell) { reach(cell); cell.focus({preventScroll: true}); show(cell); }
    });
    table.addEventListener("keydown", event => {
      const step = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]}[event.key];
      const cell = of(event);
      if (!step || !cell) return;
      event.preventDefault();
      const rows = [...table.tBodies[0].rows];
      let row = rows.indexOf(cell.parentNode), column = cell.cellIndex;
      for (;;) {
        row += step[0];
        column += step[1];
        const next = rows[row] && rows[row].cells[column];
        if (!next) return;
        if (next.dataset.behind) { reach(next); next.focus(); return; }
      }
    });
  };

  document.querySelectorAll("table.sortable").forEach(makeSortable);
  document.querySelectorAll("table.scores").forEach(makeTelling);
  document.body.append(box);
  document.addEventListener("keydown", event => { if (event.key === "Escape") hide(); });
  window.addEventListener("scroll", hide, {capture: true, passive: true});
})();
