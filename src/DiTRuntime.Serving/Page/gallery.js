// All images made in this tab, newest first.

import { address, hasKey } from './api.js';
import { byId, count, iconButton, make, notify } from './dom.js';

// Images below this side are shown pixel by pixel.
const crispBelow = 128;

/** The link of an image, which any replica answers with the same bytes. */
export function linkOf({ label, seed, steps, guidance_scale, sampler, eta, spacing }) {
  const values = new URLSearchParams({ class: label, seed, steps, guidance_scale, sampler, eta });
  if (spacing) values.set('spacing', spacing);
  return address(`v1/images?${values}`);
}

export const fileNameOf = ({ name, seed }) => `${name.toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '')}-${seed}.png`;

/** "50 steps · scale 4 · DDIM". */
export const describe = ({ steps, guidance_scale, sampler, eta }) =>
  `${count(steps, 'step')} · scale ${guidance_scale} · ${sampler.toUpperCase()}${eta > 0 ? ` · η ${eta}` : ''}`;

/** Copies an image's link, or shows it where the browser does not let a page copy. */
export async function copyLink(image) {
  const link = linkOf(image);
  try {
    await navigator.clipboard.writeText(link);
    notify(hasKey() ? 'Link copied. It asks for the key.' : 'Link copied');
  } catch {
    const field = make('input', { type: 'text', readOnly: true, value: link, 'aria-label': 'Link of the image' });
    notify('Copy the link:', field);
    field.select();
  }
}

export class Gallery {
  #list = byId('gallery');
  #cards = [];
  crisp;
  #reuse;
  #open;

  /**
   * @param {number} imageSize side of the model's images
   * @param {{reuse: (image: object) => void, open: (card: object) => void}} actions
   */
  constructor(imageSize, { reuse, open }) {
    this.crisp = imageSize < crispBelow;
    this.#reuse = reuse;
    this.#open = open;
    byId('clear').addEventListener('click', () => {
      for (const card of this.finishedCards) this.remove(card);
      byId('results-title').focus();
    });
  }

  /** Cards whose images are there, newest first. */
  get finishedCards() {
    return this.#cards.filter(card => card.url !== null);
  }

  /** Adds cards for images that are being made. */
  addPending(images) {
    const cards = images.map(image => new Card(image, this.crisp, this.#reuse, card => this.#open(card)));
    this.#cards.unshift(...cards);
    this.#list.prepend(...cards.map(card => card.element));
    this.finished();
    return cards;
  }

  remove(card) {
    card.release();
    this.#cards = this.#cards.filter(other => other !== card);
    this.finished();
  }

  /** Shows how many there are. */
  finished() {
    const number = this.finishedCards.length;
    byId('results-count').textContent = number > 0 ? count(number, 'image') : '';
    byId('clear').hidden = number === 0;
    byId('empty').hidden = this.#cards.length > 0;
  }
}

class Card {
  #picture = make('img', { alt: '', hidden: true });
  #button;
  #actions = make('div', { className: 'card-actions waiting' });

  constructor(image, small, reuse, open) {
    this.image = image;
    this.url = null;
    this.#picture.classList.toggle('crisp', small);
    this.#button = make('button', { type: 'button', className: 'card-image pending', disabled: true, 'aria-label': `${image.name}, seed ${image.seed}: open`, onclick: () => open(this) }, this.#picture);
    this.#actions.append(
      iconButton('reuse', `Use these settings (${image.name}, seed ${image.seed})`, () => reuse(image)),
      iconButton('link', `Copy the link (${image.name}, seed ${image.seed})`, () => copyLink(image)),
      iconButton('download', `Download (${image.name}, seed ${image.seed})`, () => this.download()));
    for (const [i, title] of ['Use these settings', 'Copy link', 'Download'].entries()) this.#actions.children[i].title = title;
    this.element = make('li', { className: 'card' }, this.#button,
      make('div', { className: 'card-text' },
        make('strong', { title: image.fullName }, image.name), make('span', {}, `seed ${image.seed}`), make('span', {}, describe(image))),
      this.#actions);
  }

  /** Shows what an image looks like on its way. */
  preview({ b64_json: data }) {
    if (this.url !== null) return;
    this.#picture.src = `data:image/png;base64,${data}`;
    this.#picture.hidden = false;
    this.#picture.classList.add('preview');
  }

  /** Shows the image. */
  finish(blob) {
    this.url = URL.createObjectURL(blob);
    this.#picture.src = this.url;
    this.#picture.alt = `${this.image.name}, seed ${this.image.seed}`;
    this.#picture.hidden = false;
    this.#picture.classList.remove('preview');
    this.#button.classList.remove('pending');
    this.#button.disabled = false;
    this.#actions.classList.remove('waiting');
  }

  download() {
    make('a', { href: this.url, download: fileNameOf(this.image) }).click();
  }

  release() {
    this.element.remove();
    if (this.url !== null) URL.revokeObjectURL(this.url);
  }
}
