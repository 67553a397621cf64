// One request to the gateway, and its errors in words.
import { credentials } from './session.ts';

export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly type: string = '',
    readonly hint: string = '',
  ) {
    super(message);
  }
}

export interface Options {
  json?: unknown;
  headers?: Record<string, string>;
  query?: Record<string, string | number | undefined>;
  body?: BodyInit;
}

/** Is told of every answer; status 0: nothing answered. */
export const watchers: ((status: number) => void)[] = [];
const tell = (status: number) => watchers.forEach((watcher) => watcher(status));

export function address(path: string, query: Options['query'] = {}): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined && value !== '') search.set(name, String(value));
  return search.size > 0 ? `${path}?${search}` : path;
}

export async function send(method: string, path: string, options: Options = {}): Promise<Response> {
  const headers: Record<string, string> = { ...credentials(), ...options.headers };
  let body = options.body;
  if (options.json !== undefined) {
    headers['content-type'] = 'application/json';
    body = JSON.stringify(options.json);
  }
  let response: Response;
  try {
    response = await fetch(address(path, options.query), { method, headers, body, cache: 'no-store' });
  } catch {
    tell(0);
    throw new ApiError('', 0, 'Unreachable');
  }
  tell(response.status);
  if (!response.ok) throw await failure(response);
  return response;
}

async function failure(response: Response): Promise<ApiError> {
  const text = await response.text();
  const type = response.headers.get('x-amzn-errortype') ?? '';
  try {
    const told = JSON.parse(text);
    return new ApiError(told.message ?? told.Message ?? text, response.status, type || (told.__type ?? ''), told.hint ?? '');
  } catch {
    return new ApiError(text || response.statusText, response.status, type);
  }
}

export async function json<T>(method: string, path: string, options?: Options): Promise<T> {
  const text = await (await send(method, path, options)).text();
  return (text === '' ? undefined : JSON.parse(text)) as T;
}

/** Nothing there is an answer too. */
export async function maybe<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return undefined;
    throw error;
  }
}

export const name = encodeURIComponent;
