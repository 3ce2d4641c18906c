// Classes: a combobox that searches, and the chosen ones as chips. The keyboard follows the ARIA pattern of an editable combobox with a list.

import { announce, byId, count, icon, make } from './dom.js';

const mostShown = 60;
// Classes that the published samples of DiT show, for a person who does not know where to begin.
const wellKnown = ['n02099601', 'n02509815', 'n01818515', 'n02444819', 'n09288635', 'n02782093', 'n02120079', 'n09468604'];
// With so few, all of them are suggested.
const fewClasses = 20;

/** The short name of a class: its first, or its number. */
export const shortName = item => item.name ? item.name.split(',')[0].trim() : `Class ${item.index}`;

export class ClassPicker {
  #input = byId('class-search');
  #list = byId('class-list');
  #chips = byId('chips');
  #suggestions = byId('suggestions');
  #classes = [];
  #chosen = [];
  #found = [];
  #active = -1;
  #most;
  #changed;

  /**
   * @param {{index: number, name: ?string, wnid: ?string}[]} classes
   * @param {number} most how many may be chosen
   * @param {() => void} changed called after every change
   */
  constructor(classes, most, changed) {
    this.#classes = classes.map(item => ({ ...item, text: `${item.name ?? ''}`.toLowerCase() }));
    this.#most = most;
    this.#changed = changed;
    this.#input.placeholder = classes.length > fewClasses ? `Search ${count(classes.length, 'class', 'classes')}` : 'Search';
    this.#input.addEventListener('input', () => this.#open());
    this.#input.addEventListener('click', () => this.#open());
    this.#input.addEventListener('keydown', event => this.#onKey(event));
    this.#input.addEventListener('blur', () => this.#close());
    // Focus stays in the input while the list is clicked.
    this.#list.addEventListener('mousedown', event => event.preventDefault());
    this.#showSuggestions();
  }

  /** Indices of the chosen classes, in the order of choosing. */
  get labels() {
    return this.#chosen.map(item => item.index);
  }

  set labels(labels) {
    this.#chosen = labels.map(label => this.#classes[label]).filter(item => item !== undefined).slice(0, this.#most);
    this.#showChips();
  }

  nameOf(label) {
    const item = this.#classes[label];
    return item === undefined ? `Class ${label}` : shortName(item);
  }

  fullNameOf(label) {
    return this.#classes[label]?.name || this.nameOf(label);
  }

  wordNetIdOf(label) {
    return this.#classes[label]?.wnid || null;
  }

  #toggle(item) {
    if (this.#chosen.includes(item)) {
      this.#chosen = this.#chosen.filter(other => other !== item);
      announce(`${shortName(item)} removed`);
    } else if (this.#chosen.length === this.#most) {
      this.error(`One request makes at most ${count(this.#most, 'image')}: remove a class first.`);
      return;
    } else {
      this.#chosen.push(item);
      announce(`${shortName(item)} added`);
    }
    this.#showChips();
  }

  error(text) {
    byId('class-error').textContent = text;
    this.#input.setAttribute('aria-invalid', String(text !== ''));
  }

  #showChips() {
    this.#chips.replaceChildren(...this.#chosen.map((item, i) => make('li', { className: 'chip' },
      make('span', { title: item.name ?? '' }, shortName(item)),
      make('button', { type: 'button', 'aria-label': `Remove ${shortName(item)}`, onclick: () => {
        this.#toggle(item);
        (this.#chips.querySelectorAll('button')[Math.min(i, this.#chosen.length - 1)] ?? this.#input).focus();
      } }, icon('close')))));
    // What is chosen is a chip and no suggestion any more.
    for (const button of this.#suggestions.children) button.hidden = button.value !== '' && this.labels.includes(Number(button.value));
    this.error('');
    this.#changed();
  }

  #showSuggestions() {
    const items = this.#classes.length <= fewClasses ? this.#classes
      : wellKnown.map(id => this.#classes.find(item => item.wnid === id)).filter(item => item !== undefined);
    const buttons = items.map(item => make('button', { type: 'button', className: 'pick', value: item.index, onclick: event => this.#accept(item, event.currentTarget) },
      item.name ? shortName(item) : String(item.index)));
    if (this.#classes.length > fewClasses) buttons.push(make('button', { type: 'button', className: 'pick', onclick: () => this.#surprise() }, 'any class'));
    this.#suggestions.replaceChildren(...buttons);
  }

  #accept(item, button) {
    this.#toggle(item);
    if (!button.hidden) return;
    // The pressed button has gone: focus goes on to the one that takes its place.
    const others = [...this.#suggestions.children];
    const at = others.indexOf(button);
    ([...others.slice(at), ...others.slice(0, at).reverse()].find(other => !other.hidden) ?? this.#input).focus();
  }

  #surprise() {
    const others = this.#classes.filter(item => !this.#chosen.includes(item));
    this.#toggle(others[Math.floor(Math.random() * others.length)]);
  }

  #search(query) {
    const words = query.trim().toLowerCase();
    if (words === '') return this.#classes;
    const rank = item => {
      if (String(item.index) === words || item.wnid === words) return 0;
      const names = item.text.split(',').map(name => name.trim());
      if (names.includes(words)) return 1;
      if (names.some(name => name.startsWith(words))) return 2;
      if (item.text.split(/[^a-z0-9]+/).some(word => word.startsWith(words)) || item.text.includes(` ${words}`)) return 3;
      if (item.text.includes(words) || String(item.index).startsWith(words) || item.wnid?.startsWith(words)) return 4;
      return -1;
    };
    return this.#classes.map(item => ({ item, rank: rank(item) })).filter(found => found.rank >= 0).sort((a, b) => a.rank - b.rank).map(found => found.item);
  }

  #open() {
    const query = this.#input.value;
    const found = this.#search(query);
    this.#found = found.slice(0, mostShown);
    const rows = this.#found.map((item, i) => make('li', {
      id: `class-option-${i}`, role: 'option', 'aria-selected': String(this.#chosen.includes(item)), onclick: () => this.#choose(item),
    }, make('span', { className: 'option-name' }, ...marked(item.name || `Class ${item.index}`, query)), make('span', { className: 'option-index' }, String(item.index)), icon('check')));
    if (found.length === 0) rows.push(make('li', { className: 'option-note', role: 'presentation' }, `No class is called “${query.trim()}”`));
    if (found.length > mostShown) rows.push(make('li', { className: 'option-note', role: 'presentation' }, `${(found.length - mostShown).toLocaleString('en')} more: type to narrow`));
    this.#list.replaceChildren(...rows);
    this.#list.hidden = false;
    this.#input.setAttribute('aria-expanded', 'true');
    this.#activate(query.trim() !== '' && found.length > 0 ? 0 : -1);
    if (query.trim() !== '') announce(found.length === 0 ? 'No class found' : `${count(found.length, 'class', 'classes')} found`);
  }

  #close() {
    this.#list.hidden = true;
    this.#input.setAttribute('aria-expanded', 'false');
    this.#activate(-1);
  }

  #activate(index) {
    this.#list.children[this.#active]?.classList.remove('active');
    this.#active = index;
    const option = this.#list.children[index];
    if (option === undefined) {
      this.#input.removeAttribute('aria-activedescendant');
      return;
    }
    option.classList.add('active');
    option.scrollIntoView({ block: 'nearest' });
    this.#input.setAttribute('aria-activedescendant', option.id);
  }

  #choose(item) {
    this.#toggle(item);
    this.#input.value = '';
    this.#close();
  }

  #onKey(event) {
    const open = !this.#list.hidden;
    switch (event.key) {
      case 'ArrowDown':
      case 'ArrowUp':
        event.preventDefault();
        if (!open) this.#open();
        if (event.altKey || this.#found.length === 0) break;
        this.#activate(event.key === 'ArrowDown' ? (this.#active + 1) % this.#found.length : (Math.max(this.#active, 0) - 1 + this.#found.length) % this.#found.length);
        break;
      case 'PageDown':
      case 'PageUp':
        if (!open || this.#found.length === 0) break;
        event.preventDefault();
        this.#activate(Math.min(Math.max(this.#active + (event.key === 'PageDown' ? 8 : -8), 0), this.#found.length - 1));
        break;
      case 'Enter':
        // With a class under the cursor or a search half written, Enter is the list's and not the form's.
        if (event.ctrlKey || event.metaKey) break;
        if (open && this.#active >= 0) this.#choose(this.#found[this.#active]);
        else if (this.#input.value.trim() === '' && !open) break;
        event.preventDefault();
        break;
      case 'Escape':
        if (open) this.#close();
        else this.#input.value = '';
        event.preventDefault();
        break;
      case 'Backspace':
        if (this.#input.value === '' && this.#chosen.length > 0) this.#toggle(this.#chosen.at(-1));
        break;
    }
  }
}

/** A name with the part that was searched for marked. */
function marked(name, query) {
  const words = query.trim();
  const at = words === '' ? -1 : name.toLowerCase().indexOf(words.toLowerCase());
  return at < 0 ? [name] : [name.slice(0, at), make('mark', {}, name.slice(at, at + words.length)), name.slice(at + words.length)];
}
