// The page: finds the model, then ties the form, the jobs and the gallery together.

import { getJson } from './api.js';
import { announce, byId, count } from './dom.js';
import { Gallery } from './gallery.js';
import { startJob } from './jobs.js';
import { setUpKey } from './key.js';
import { watchLoad } from './load.js';
import { fromFragment, Settings, toFragment } from './settings.js';
import { Viewer } from './viewer.js';

const pause = 2000;

/** The model, once the service has one. */
async function findModel() {
  for (;;) {
    try {
      const { data } = await getJson('v1/models');
      const model = await getJson(`v1/models/${encodeURIComponent(data[0].id)}`);
      byId('banner').hidden = true;
      return model;
    } catch (error) {
      byId('banner-text').textContent = error.status === 503 ? 'The model is being loaded. This page goes on by itself.' : error.message;
      byId('banner').hidden = false;
      byId('banner-key').hidden = error.status !== 401;
      // A person without a key is asked again only when they want it.
      if (error.status === 401) await new Promise(resolve => byId('banner-key').addEventListener('click', resolve, { once: true }));
      else await new Promise(resolve => setTimeout(resolve, pause));
    }
  }
}

function introduce(model) {
  const { image_size: size } = model;
  document.title = `${model.id} · DiT`;
  byId('model-name').textContent = model.id;
  byId('model-about').textContent = `${size} × ${size} pixels · ${count(model.classes.length, 'class', 'classes')}`;
  byId('foot-model').textContent = [model.backend, model.hash].filter(part => part).join(' · ');
}

const calm = () => matchMedia('(prefers-reduced-motion: reduce)').matches;
const bring = element => element.scrollIntoView({ behavior: calm() ? 'auto' : 'smooth', block: 'start' });
const narrow = () => matchMedia('(max-width: 59.99rem)').matches;

setUpKey();
const model = await findModel();
introduce(model);
const lookAtLoad = watchLoad();

const settings = new Settings(model, async asked => {
  try {
    await startJob(asked, { gallery, classes: settings.classes });
    if (asked.drawn) settings.tellSeed(asked.seed);
    history.replaceState(null, '', `#${toFragment(asked)}`);
    lookAtLoad();
    if (narrow()) bring(document.querySelector('.results'));
  } catch (error) {
    settings.refuse(error);
  }
});

const reuse = image => {
  settings.write({ ...image, labels: [image.label], n: 1 });
  if (narrow()) bring(byId('settings'));
  byId('generate').focus({ preventScroll: true });
  announce(`Settings of ${image.name}, seed ${image.seed}, taken over`);
};
const gallery = new Gallery(model.image_size, { reuse, open: card => viewer.open(card) });
const viewer = new Viewer(() => gallery.finishedCards, reuse, { model: model.id, crisp: gallery.crisp });

const shared = fromFragment(location.hash.slice(1), model);
if (shared !== null) settings.write(shared);
