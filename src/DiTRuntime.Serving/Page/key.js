// The key of a service that asks for one: kept by the tab, sent with each request, in no address.

import { hasKey, onKeyNeeded, setKey } from './api.js';
import { byId } from './dom.js';

export function setUpKey() {
  const dialog = byId('key-dialog'), field = byId('key');
  let answer = null;

  const ask = refused => new Promise(resolve => {
    answer = resolve;
    field.value = '';
    byId('key-error').textContent = refused ? 'The service does not know this key.' : '';
    dialog.showModal();
  });
  const settle = given => {
    answer?.(given);
    answer = null;
    dialog.close();
  };

  onKeyNeeded(ask);
  byId('key-form').addEventListener('submit', event => {
    event.preventDefault();
    const key = field.value.trim();
    // A header holds visible ASCII.
    if (!/^[\x21-\x7e]+$/.test(key)) {
      byId('key-error').textContent = key === '' ? 'Enter a key.' : 'A key has no spaces and no letters beyond ASCII.';
      field.focus();
      return;
    }
    setKey(key);
    byId('key-change').hidden = false;
    settle(true);
  });
  byId('key-cancel').addEventListener('click', () => settle(false));
  dialog.addEventListener('close', () => settle(false));
  byId('key-change').addEventListener('click', () => ask(false));
  byId('key-change').hidden = !hasKey();
}
