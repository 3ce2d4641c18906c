// What the service is busy with, asked for gently and only while the page is seen.

import { getJson } from './api.js';
import { byId } from './dom.js';

const pause = 2000, longPause = 10000;

/** Begins to look, and returns what looks at once. */
export function watchLoad() {
  let timer = 0;
  const look = async () => {
    clearTimeout(timer);
    if (document.hidden) return;
    let next = pause;
    try {
      show(await getJson('v1/load', { quiet: true }));
    } catch {
      byId('load').dataset.state = 'away';
      byId('load-state').textContent = 'No answer';
      next = longPause;
    }
    clearTimeout(timer);
    timer = setTimeout(look, next);
  };
  document.addEventListener('visibilitychange', look);
  look();
  return look;
}

function show(load) {
  const busy = load.running_images > 0 || load.queued_requests > 0;
  byId('load').dataset.state = busy ? 'busy' : 'idle';
  byId('load-state').textContent = load.state === 'draining' ? 'Shutting down' : busy ? 'Working' : 'Idle';
  byId('load-queue').textContent = load.queued_requests;
  byId('load-batch').textContent = `${load.batch_samples}/${load.max_batch}`;
  byId('load-rate').textContent = load.images_per_second < 10 ? load.images_per_second.toFixed(1) : Math.round(load.images_per_second);
}
