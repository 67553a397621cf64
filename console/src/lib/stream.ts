// An event stream, read with fetch: an EventSource could not send the token.
import { credentials } from './session.ts';

const AGAIN_MS = 2000;
/** An event longer than this is not one of ours. */
const LONGEST = 16 * 1024 * 1024;

/** The events of a text in pieces. Lines of an event: `event: NAME`, `data: TEXT`; `:` begins a comment. */
export class Events {
  private text = '';
  constructor(private readonly found: (name: string, data: string) => void) {}

  push(piece: string): void {
    this.text += piece;
    const whole = this.text.split(/\r?\n\r?\n/);
    this.text = whole.pop()!;
    if (this.text.length > LONGEST) throw new Error('an event without an end');
    for (const one of whole) {
      let name = 'message';
      const data: string[] = [];
      for (const line of one.split(/\r?\n/)) {
        const [field, ...rest] = line.split(':');
        const value = rest.join(':').replace(/^ /, '');
        if (field === 'event') name = value;
        else if (field === 'data') data.push(value);
      }
      if (data.length > 0 || name !== 'message') this.found(name, data.join('\n'));
    }
  }
}

export class Stream {
  onopen: () => void = () => {};
  onerror: (status: number) => void = () => {};
  private readonly listeners = new Map<string, (data: string) => void>();
  private readonly stopped = new AbortController();

  constructor(private readonly address: string) {
    void this.run();
  }

  on(event: string, listener: (data: string) => void): void {
    this.listeners.set(event, listener);
  }

  close(): void {
    this.stopped.abort();
  }

  private async run(): Promise<void> {
    const { signal } = this.stopped;
    while (!signal.aborted) {
      let status = 0;
      try {
        const response = await fetch(this.address, { headers: { accept: 'text/event-stream', ...credentials() }, cache: 'no-store', signal });
        status = response.status;
        if (response.ok && response.body) {
          this.onopen();
          const events = new Events((name, data) => this.listeners.get(name)?.(data));
          const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
          for (let piece = await reader.read(); !piece.done; piece = await reader.read()) events.push(piece.value);
        }
      } catch {
        // The connection has ended: told below, and tried again.
      }
      if (signal.aborted) return;
      this.onerror(status);
      await new Promise((done) => setTimeout(done, AGAIN_MS));
    }
  }
}
