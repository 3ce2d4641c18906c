// The form: what is asked for, read with its mistakes told where they are, written back from an image of the gallery or the page's address.

import { byId, count, make } from './dom.js';
import { ClassPicker } from './picker.js';

const largestSeed = 2n ** 63n - 1n;
const sliderSteps = 250;

// What the service calls a field, and where the page shows it.
const fieldOf = {
  prompt: 'class', class_label: 'class', class_labels: 'class', n: 'n', steps: 'steps', num_inference_steps: 'steps',
  guidance_scale: 'guidance', cfg_scale: 'guidance', seed: 'seed', sampler: 'sampler', spacing: 'sampler', eta: 'eta',
};

/** What one press of Generate asks for. Seeds are whole numbers up to 2^63 - 1: BigInt. */
export class Settings {
  #limits;
  #defaults;
  #picker;

  /**
   * @param {object} model the answer of GET /v1/models/{id}
   * @param {(settings: object) => Promise<void>} generate called with what was asked for
   */
  constructor(model, generate) {
    this.#limits = model.limits;
    this.#defaults = model.defaults;
    this.#picker = new ClassPicker(model.classes, model.limits.images, () => this.#onClasses());
    byId('sampler').replaceChildren(...model.samplers.map(name => new Option(name.toUpperCase(), name)));
    byId('steps-slider').max = Math.min(sliderSteps, this.#limits.steps);
    this.write({ labels: [], n: 1, ...model.defaults, seed: null });
    this.#follow('steps');
    this.#follow('guidance');
    byId('n-less').addEventListener('click', () => this.#count(-1));
    byId('n-more').addEventListener('click', () => this.#count(1));
    byId('n').addEventListener('input', () => this.#showCount());
    byId('n').addEventListener('keydown', event => {
      if (event.key !== 'ArrowUp' && event.key !== 'ArrowDown') return;
      event.preventDefault();
      this.#count(event.key === 'ArrowUp' ? 1 : -1);
    });
    byId('sampler').addEventListener('change', () => this.#showSampler());
    byId('seed-random').addEventListener('change', () => this.#showSeed());
    byId('seed').addEventListener('input', () => {
      byId('seed-random').checked = byId('seed').value.trim() === '';
      this.#showSeed();
    });
    const form = byId('settings');
    form.addEventListener('submit', event => {
      event.preventDefault();
      this.#submit(generate);
    });
    form.addEventListener('keydown', event => {
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) form.requestSubmit();
    });
    byId('fields').disabled = false;
  }

  get classes() {
    return this.#picker;
  }

  /** Fills the form. A seed of null is one to draw. */
  write({ labels, n, steps, guidance_scale: guidance, seed, sampler, eta }) {
    byId('n').value = n;
    this.#set('steps', steps);
    this.#set('guidance', guidance);
    byId('sampler').value = sampler;
    if (byId('sampler').selectedIndex < 0) byId('sampler').value = this.#defaults.sampler;
    byId('eta').value = eta;
    byId('seed').value = seed === null ? '' : String(seed);
    byId('seed-random').checked = seed === null;
    this.#picker.labels = labels;
    this.#clearErrors();
    this.#showSeed();
    this.#showSampler();
  }

  /** What is asked for, or null with the mistakes shown and the first of them under the cursor. */
  read() {
    this.#clearErrors();
    const labels = this.#picker.labels;
    if (labels.length === 0) this.#fail('class', 'Pick a class first.');
    const n = this.#whole('n', 1, this.#limits.images);
    if (n !== null && n < labels.length) this.#fail('n', `${count(labels.length, 'class', 'classes')} take at least ${count(labels.length, 'image')}.`);
    const sampler = byId('sampler').value;
    const settings = {
      labels, n, sampler,
      steps: this.#whole('steps', 1, this.#limits.steps),
      guidance_scale: this.#decimal('guidance', 0, this.#limits.guidance_scale),
      seed: this.#seed(),
      drawn: byId('seed-random').checked,
      eta: sampler === 'ddim' ? this.#decimal('eta', 0, 1) : 0,
    };
    const first = byId('settings').querySelector('[aria-invalid=true]');
    first?.focus();
    return first === null ? settings : null;
  }

  /** Shows the seed that was drawn, with a way to keep it. */
  tellSeed(seed) {
    byId('seed-hint').replaceChildren(`Drawn: ${seed} `, make('button', { type: 'button', className: 'text', 'aria-label': `Keep seed ${seed}`, onclick: () => {
      byId('seed').value = String(seed);
      byId('seed-random').checked = false;
      this.#showSeed();
      byId('seed').focus();
    } }, 'Keep'));
  }

  /** Shows why a request was refused: beside the field that the service named, or at the button. */
  refuse(error) {
    const field = fieldOf[error.param];
    this.#fail(field ?? 'form', error.message);
    if (field !== undefined) byId('settings').querySelector('[aria-invalid=true]')?.focus();
  }

  async #submit(generate) {
    const button = byId('generate');
    if (button.getAttribute('aria-busy') === 'true') return;
    const settings = this.read();
    if (settings === null) return;
    button.setAttribute('aria-busy', 'true');
    try {
      await generate(settings);
    } finally {
      button.removeAttribute('aria-busy');
    }
  }

  #onClasses() {
    const n = Number(byId('n').value);
    const classes = this.#picker.labels.length;
    if (n < classes) byId('n').value = classes;
    this.#showCount();
  }

  #count(change) {
    const n = Number.parseInt(byId('n').value, 10) || 1;
    const least = Math.max(1, this.#picker.labels.length);
    byId('n').value = Math.min(Math.max(n + change, least), this.#limits.images);
    this.#showCount();
  }

  #showCount() {
    const n = Number(byId('n').value);
    const classes = this.#picker.labels.length;
    byId('n-less').disabled = n <= Math.max(1, classes);
    byId('n-more').disabled = n >= this.#limits.images;
    byId('n-hint').textContent = classes > 1 ? 'the classes in turn' : `at most ${this.#limits.images}`;
    byId('generate').textContent = n > 1 ? `Generate ${n} images` : 'Generate';
  }

  #showSampler() {
    byId('eta').closest('.field').hidden = byId('sampler').value !== 'ddim';
  }

  #showSeed() {
    const random = byId('seed-random').checked;
    if (random) byId('seed').value = '';
    byId('seed-hint').textContent = random ? 'A new one each time, told with the image.' : 'The same seed and settings give the same image.';
    if (!random && byId('seed').value === '' && document.activeElement === byId('seed-random')) byId('seed').value = String(drawSeed());
  }

  /** A slider and the box beside it show the same number. */
  #follow(name) {
    const slider = byId(`${name}-slider`), box = byId(name);
    slider.addEventListener('input', () => { box.value = slider.value; });
    box.addEventListener('input', () => {
      if (Number.isFinite(Number(box.value)) && box.value.trim() !== '') slider.value = box.value;
    });
  }

  #set(name, value) {
    byId(name).value = value;
    byId(`${name}-slider`).value = value;
  }

  #whole(name, least, most) {
    const text = byId(name).value.trim();
    if (/^\d{1,9}$/.test(text) && Number(text) >= least && Number(text) <= most) return Number(text);
    this.#fail(name, `A whole number from ${least} to ${most}.`);
    return null;
  }

  #decimal(name, least, most) {
    const text = byId(name).value.trim().replace(',', '.');
    if (/^\d+(\.\d*)?$|^\.\d+$/.test(text) && Number(text) >= least && Number(text) <= most) return Number(text);
    this.#fail(name, `A number from ${least} to ${most}.`);
    return null;
  }

  #seed() {
    if (byId('seed-random').checked) return drawSeed();
    const text = byId('seed').value.trim();
    if (/^\d{1,19}$/.test(text) && BigInt(text) <= largestSeed) return BigInt(text);
    this.#fail('seed', 'A whole number from 0 to 2⁶³ − 1, or random.');
    return null;
  }

  #fail(name, text) {
    if (name === 'class') this.#picker.error(text);
    else byId(`${name}-error`).textContent = text;
    byId(name)?.setAttribute('aria-invalid', 'true');
  }

  #clearErrors() {
    for (const error of byId('settings').querySelectorAll('.error')) error.textContent = '';
    for (const field of byId('settings').querySelectorAll('[aria-invalid]')) field.removeAttribute('aria-invalid');
  }
}

/** A seed of 32 bits: short enough to be read out. */
const drawSeed = () => BigInt(crypto.getRandomValues(new Uint32Array(1))[0]);

/** Settings as the part of an address after #, so that the page comes back as it was; a seed that was drawn is drawn anew. */
export function toFragment({ labels, n, steps, guidance_scale: guidance, sampler, eta, seed, drawn }) {
  const values = new URLSearchParams({ class: labels.join(','), n, steps, guidance_scale: guidance, sampler, eta });
  if (!drawn) values.set('seed', seed);
  return values.toString();
}

/** What toFragment wrote, by a person or a machine: anything may be missing or wrong, and is then the default. */
export function fromFragment(fragment, model) {
  const values = new URLSearchParams(fragment);
  if (!values.has('class')) return null;
  const number = (name, least, most, other) => {
    const value = Number(values.get(name) ?? NaN);
    return value >= least && value <= most ? value : other;
  };
  const { limits, defaults } = model;
  const labels = [...new Set(values.get('class').split(',').filter(text => /^\d+$/.test(text)).map(Number))].filter(label => label < model.classes.length);
  const seed = values.get('seed') ?? '';
  return {
    labels,
    n: Math.max(Math.trunc(number('n', 1, limits.images, 1)), Math.min(labels.length, limits.images)),
    steps: Math.trunc(number('steps', 1, limits.steps, defaults.steps)),
    guidance_scale: number('guidance_scale', 0, limits.guidance_scale, defaults.guidance_scale),
    sampler: values.get('sampler') ?? defaults.sampler,
    eta: number('eta', 0, 1, defaults.eta),
    seed: /^\d{1,19}$/.test(seed) ? BigInt(seed) : null,
  };
}
