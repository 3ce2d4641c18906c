// Server-sent events by fetch: EventSource cannot send a key.

import { getJson, send, ServiceError } from './api.js';

const firstPause = 500, longestPause = 8000;
// Browsers hold six connections to a host; streams leave some of them to requests. Jobs beyond that are asked for now and then.
const mostStreams = 3;
const askPause = 1000;
let streams = 0;

/**
 * What happens to a job, across lost connections, until the caller has seen the last.
 * @param {string} path the job's
 * @param {number} interval steps between previews
 * @param {AbortSignal} signal ends it
 * @yields {{event: string, data: any}} what the service tells; {event: "lost"} when a connection broke and another is tried
 */
export async function* follow(path, interval, signal) {
  let pause = firstPause;
  while (!signal.aborted) {
    try {
      if (streams === mostStreams) {
        const job = await getJson(path, { signal });
        yield { event: ['completed', 'failed', 'cancelled'].includes(job.status) ? job.status : 'progress', data: job };
        await sleep(askPause);
        continue;
      }
      streams++;
      try {
        for await (const message of parse((await send(`${path}/events?previews=1&interval=${interval}`, { accept: 'text/event-stream', signal })).body)) {
          pause = firstPause;
          yield { event: message.event, data: JSON.parse(message.data) };
        }
      } finally {
        streams--;
      }
    } catch (error) {
      if (signal.aborted) return;
      // What the service refuses it refuses again, but for a while of being busy, starting or out of reach.
      if (error instanceof ServiceError && error.status !== 0 && error.status !== 429 && error.status < 500) throw error;
    }
    if (signal.aborted) return;
    yield { event: 'lost', data: null };
    await sleep(pause);
    pause = Math.min(2 * pause, longestPause);
  }
}

const sleep = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds));

/** The messages of a stream of bytes. */
async function* parse(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  let message = { event: 'message', data: [] };
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split(/\r?\n/);
      rest = lines.pop();
      for (const line of lines) {
        if (line === '') {
          if (message.data.length > 0) yield { ...message, data: message.data.join('\n') };
          message = { event: 'message', data: [] };
          continue;
        }
        const colon = line.indexOf(':');
        if (colon === 0) continue;
        const field = colon < 0 ? line : line.slice(0, colon);
        const text = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
        if (field === 'event') message.event = text;
        else if (field === 'data') message.data.push(text);
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
