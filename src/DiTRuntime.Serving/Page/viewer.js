// One image, large, with everything that makes it again.

import { copyLink } from './gallery.js';
import { byId, icon, make } from './dom.js';

export class Viewer {
  #dialog = byId('viewer');
  #gallery;
  #reuse;
  #crisp;
  #card = null;

  /**
   * @param {() => object[]} cards the cards to leaf through, newest first
   * @param {(image: object) => void} reuse takes an image's settings over
   * @param {{model: string, crisp: boolean}} facts
   */
  constructor(cards, reuse, { model, crisp }) {
    this.#gallery = cards;
    this.#reuse = reuse;
    this.#crisp = crisp;
    this.model = model;
    byId('viewer-close').addEventListener('click', () => this.#dialog.close());
    byId('viewer-newer').addEventListener('click', () => this.#move(-1));
    byId('viewer-older').addEventListener('click', () => this.#move(1));
    this.#dialog.addEventListener('keydown', event => {
      if (event.key === 'ArrowLeft') this.#move(-1);
      else if (event.key === 'ArrowRight') this.#move(1);
    });
    // A press beside the content closes it, as Escape does.
    this.#dialog.addEventListener('click', event => {
      if (event.target === this.#dialog) this.#dialog.close();
    });
  }

  open(card) {
    this.#show(card);
    this.#dialog.showModal();
  }

  #move(by) {
    const cards = this.#gallery();
    const next = cards[cards.indexOf(this.#card) + by];
    if (next !== undefined) this.#show(next);
  }

  #show(card) {
    this.#card = card;
    const { image } = card;
    const cards = this.#gallery();
    const at = cards.indexOf(card);
    byId('viewer-newer').disabled = at <= 0;
    byId('viewer-older').disabled = at >= cards.length - 1;
    const picture = byId('viewer-image');
    picture.src = card.url;
    picture.alt = `${image.name}, seed ${image.seed}`;
    picture.classList.toggle('crisp', this.#crisp);
    byId('viewer-title').textContent = image.name;
    const facts = [
      ['Class', [image.label, image.wnid, image.fullName === image.name ? null : image.fullName].filter(part => part !== null).join(' · ')],
      ['Seed', String(image.seed)],
      ['Steps', String(image.steps)],
      ['Guidance scale', String(image.guidance_scale)],
      ['Sampler', image.sampler.toUpperCase() + (image.sampler === 'ddim' ? `, η ${image.eta}` : '')],
      ['Spacing', image.spacing],
      ['Model', this.model],
    ];
    byId('viewer-facts').replaceChildren(...facts.filter(([, value]) => value).map(([name, value]) => make('div', {}, make('dt', {}, name), make('dd', {}, value))));
    byId('viewer-actions').replaceChildren(
      make('button', { type: 'button', className: 'button primary', onclick: () => {
        this.#dialog.close();
        this.#reuse(image);
      } }, icon('reuse'), 'Use these settings'),
      make('button', { type: 'button', className: 'button', onclick: () => copyLink(image) }, icon('link'), 'Copy link'),
      make('button', { type: 'button', className: 'button', onclick: () => card.download() }, icon('download'), 'Download'));
  }
}
