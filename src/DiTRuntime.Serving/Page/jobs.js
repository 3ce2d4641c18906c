// Jobs under way: one row each, with progress and a way to cancel, and pending images in the gallery.

import { getJson, send, sentence, ServiceError } from './api.js';
import { announce, byId, count, duration, icon, make } from './dom.js';
import { follow } from './events.js';

const previewsOfAnImage = 10;

/**
 * Starts a job and follows it to its end.
 * @param {object} settings what Settings.read gives
 * @param {{gallery: object, classes: object}} page
 * @returns once the service has accepted it; throws what it refuses with
 */
export async function startJob(settings, { gallery, classes }) {
  const { labels, n, seed, steps, guidance_scale, sampler, eta } = settings;
  // A seed may have more digits than a number of JavaScript holds: it is written by itself.
  const body = JSON.stringify({ class_labels: labels, n, steps, guidance_scale, sampler, eta }).replace(/}$/, `,"seed":${seed}}`);
  const job = await getJson('v1/jobs', { method: 'POST', body });
  const images = Array.from({ length: n }, (_, i) => {
    const label = labels[i % labels.length];
    const { spacing } = job.request ?? {};
    return { label, name: classes.nameOf(label), fullName: classes.fullNameOf(label), wnid: classes.wordNetIdOf(label), seed: seed + BigInt(i), steps, guidance_scale, sampler, eta, spacing };
  });
  const title = labels.length <= 2 ? labels.map(label => classes.nameOf(label)).join(' and ') : `${classes.nameOf(labels[0])} and ${labels.length - 1} more`;
  run(job, { title, n, steps, cards: gallery.addPending(images), gallery });
}

async function run(job, { title, n, steps, cards, gallery }) {
  const path = `v1/jobs/${encodeURIComponent(job.id)}`;
  const stop = new AbortController();
  const row = new ActivityRow(title, async () => {
    row.say('Cancelling…');
    try {
      await send(`${path}/cancel`, { method: 'POST' });
    } catch (error) {
      // One that has ended meanwhile tells so by its events.
      if (error.status !== 409) row.stay(error.message);
    }
  });
  const leave = () => {
    for (const card of cards) gallery.remove(card);
  };
  row.show(job, n, steps);
  const begun = performance.now();
  try {
    for await (const { event, data } of follow(path, Math.max(1, Math.round(steps / previewsOfAnImage)), stop.signal)) {
      if (event === 'lost') row.say('The connection was lost; trying again…');
      else if (event === 'progress') row.show(data, n, steps);
      else if (event === 'preview') cards[data.image]?.preview(data);
      else if (event === 'completed') {
        await Promise.all(cards.map(async (card, i) => card.finish(await (await send(`${path}/images/${i}`, { accept: 'image/*' })).blob())));
        gallery.finished();
        row.remove();
        announce(`${count(n, 'image')} of ${title} finished in ${duration((performance.now() - begun) / 1000)}`);
        return;
      } else if (event === 'cancelled') {
        leave();
        row.remove();
        announce(`${title} cancelled`);
        return;
      } else if (event === 'failed') {
        throw new ServiceError(500, sentence(data.error?.message ?? 'the service could not make the image'));
      }
    }
  } catch (error) {
    leave();
    row.fail(error.status === 404 ? 'The service no longer knows this job: it has been started anew, or it was long ago.' : error.message);
  } finally {
    stop.abort();
  }
}

/** One line of what is being made. */
class ActivityRow {
  #bar = make('progress', {});
  #text = make('span', { className: 'activity-text' });
  #cancel;
  #row;
  #title;
  #told = -1;

  constructor(title, cancel) {
    this.#title = title;
    this.#bar.setAttribute('aria-label', title);
    this.#cancel = make('button', { type: 'button', className: 'button small', 'aria-label': `Cancel ${title}`, onclick: () => {
      this.#cancel.disabled = true;
      cancel();
    } }, 'Cancel');
    this.#row = make('li', { className: 'activity-row' }, make('div', { className: 'activity-head' }, make('strong', {}, title), this.#text), this.#cancel, this.#bar);
    byId('activity').prepend(this.#row);
  }

  /** Shows where a job stands: the answer of the service, its images and the steps of each. */
  show(job, n, steps) {
    if (this.#cancel.disabled && job.status !== 'completed') return;
    if (job.status === 'queued') {
      this.#bar.removeAttribute('value');
      const ahead = job.queue_position ?? 0;
      this.say(ahead > 0 ? `Waiting: ${count(ahead, 'request')} before this one` : 'Next in the queue');
      this.#tell(-0.5, `${this.#title}: waiting`);
      return;
    }
    const part = job.steps_total > 0 ? job.steps_done / job.steps_total : 0;
    this.#bar.value = part;
    const left = job.seconds_left >= 1 ? ` · ${duration(job.seconds_left)} left` : '';
    const done = n > 1 && job.images_done > 0 ? ` · ${job.images_done} of ${n} images ready` : '';
    // The steps of images that run side by side, as those of one of them.
    const step = Math.min(steps, Math.floor(job.steps_done / n));
    this.say(part < 1 ? `Step ${step} of ${steps}${done}${left}` : 'Finishing…');
    const quarter = Math.floor(part * 4);
    this.#tell(quarter, quarter === 0 ? `${this.#title}: started` : `${this.#title}: ${quarter * 25} percent`);
  }

  say(text) {
    this.#text.textContent = text;
  }

  /** Goes on after an attempt to cancel that came to nothing. */
  stay(text) {
    this.#cancel.disabled = false;
    this.say(text);
  }

  fail(text) {
    this.#bar.remove();
    this.#cancel.remove();
    this.#row.classList.add('failed');
    this.#row.setAttribute('role', 'alert');
    this.say(text);
    this.#row.prepend(icon('alert'));
    this.#row.append(make('button', { type: 'button', className: 'button small', onclick: () => this.remove() }, 'Dismiss'));
  }

  remove() {
    // Focus that would go with the row stays near.
    if (this.#row.contains(document.activeElement)) byId('results-title').focus();
    this.#row.remove();
  }

  /** Tells a screen reader of a few points on the way, not of each step. */
  #tell(point, text) {
    if (point <= this.#told || point >= 4) return;
    this.#told = point;
    announce(text);
  }
}
