"use strict";
// What mdBook 0.4 leaves out: every part of a page lies in a landmark, a label is no more than one (its
// title names it), and what scrolls can be reached with the keyboard.
document.getElementById("menu-bar")?.setAttribute("role", "banner");
for (const name of ["aria-label", "aria-expanded", "aria-controls"]) {
  document.getElementById("sidebar-toggle")?.removeAttribute(name);
}
for (const box of document.querySelectorAll("pre > code, .table-wrapper")) box.tabIndex = 0;
