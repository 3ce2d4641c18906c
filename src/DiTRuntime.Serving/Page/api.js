// Requests to the service. Addresses are relative, so that the page also works below a path of a proxy.

const storedKey = 'dit-api-key';
let askForKey = async () => false;
let asking = null;

/** A request that the service refused or that did not reach it. `status` is 0 when there was no answer. */
export class ServiceError extends Error {
  constructor(status, message, param = null, retryAfter = null) {
    super(message);
    this.status = status;
    this.param = param;
    this.retryAfter = retryAfter;
  }
}

/** The absolute address of a path of the service. */
export const address = path => new URL(path, document.baseURI).href;

/** Says who asks a person for the key: an async function of (whether one was refused) that answers whether there is a new one. */
export function onKeyNeeded(ask) {
  askForKey = ask;
}

export const hasKey = () => sessionStorage.getItem(storedKey) !== null;

export function setKey(key) {
  if (key === null) sessionStorage.removeItem(storedKey);
  else sessionStorage.setItem(storedKey, key);
}

/**
 * Sends a request and gives the answer if it is a success.
 * @param {string} path relative to the page
 * @param {{method?: string, body?: string, signal?: AbortSignal, accept?: string, quiet?: boolean}} options a quiet request does not ask for a key
 */
export async function send(path, { method = 'GET', body, signal, accept = 'application/json', quiet = false } = {}) {
  for (;;) {
    const key = sessionStorage.getItem(storedKey);
    const headers = { Accept: accept };
    if (key !== null) headers.Authorization = `Bearer ${key}`;
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    let response;
    try {
      response = await fetch(address(path), { method, body, headers, signal });
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new ServiceError(0, 'The service does not answer. Is it running, and is this machine online?');
    }
    if (response.ok) return response;
    if (response.status === 401 && !quiet) {
      // Another request may have got a key while this one was under way.
      if (sessionStorage.getItem(storedKey) !== key && hasKey()) continue;
      asking ??= askForKey(key !== null).finally(() => { asking = null; });
      if (await asking) continue;
    }
    throw await refusal(response);
  }
}

export const getJson = async (path, options) => (await send(path, options)).json();

async function refusal(response) {
  let error = null;
  try {
    ({ error } = await response.json());
  } catch {
    // A proxy in between may answer in its own shape.
  }
  const wait = Number.parseInt(response.headers.get('Retry-After') ?? '', 10);
  const retryAfter = Number.isFinite(wait) ? wait : null;
  const again = retryAfter === null ? 'Try again in a moment.' : `Try again in ${retryAfter} s.`;
  const message = {
    401: 'This service asks for an API key.',
    429: `The service has as much to do as it accepts. ${again}`,
    503: `The service is starting or shutting down. ${again}`,
  }[response.status] ?? (typeof error?.message === 'string' ? sentence(error.message) : `The service answered ${response.status} ${response.statusText}`.trim());
  return new ServiceError(response.status, message, typeof error?.param === 'string' ? error.param : null, retryAfter);
}

/** A message of the service, which begins small, as a sentence. */
export const sentence = text => text.charAt(0).toUpperCase() + text.slice(1);
