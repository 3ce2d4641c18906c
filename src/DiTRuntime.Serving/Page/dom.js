// Elements without markup in strings: what a server says is only ever text.

export const byId = id => document.getElementById(id);

/** Makes an element. Properties that begin with "on" are listeners; names with a dash are attributes; null and false leave a thing out. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name.includes('-') || name === 'role') element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter(child => child !== null && child !== undefined && child !== false));
  return element;
}

/** One of the symbols of the page's head. */
export function icon(name) {
  const space = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(space, 'svg');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(space, 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.append(use);
  return svg;
}

/** A small button that shows an icon and tells its name to a pointer that rests on it and to a screen reader. */
export const iconButton = (name, label, onclick) =>
  make('button', { type: 'button', className: 'button square ghost', title: label, 'aria-label': label, onclick }, icon(name));

/** Says something to a screen reader, once. */
export function announce(text) {
  byId('announcer').textContent = text;
}

/** A note at the edge that goes by itself. */
export function notify(...content) {
  const note = make('div', { className: 'notice' }, ...content);
  // What is behind an open dialog can be neither seen nor reached.
  const notices = byId('notices');
  (document.querySelector('dialog[open]') ?? document.body).append(notices);
  notices.append(note);
  setTimeout(() => note.remove(), content.some(part => part instanceof Element) ? 20000 : 4000);
  return note;
}

/** "1 image", "2 images". */
export const count = (number, one, many = `${one}s`) => `${number.toLocaleString('en')} ${number === 1 ? one : many}`;

/** A duration for people: "4 s", "3 min". */
export function duration(seconds) {
  if (seconds < 1) return 'less than a second';
  if (seconds < 100) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
