// Addresses of the console: what follows `#` in the location, read and written.
export interface Route {
  /** `['functions', 'hello', 'test']` */
  parts: string[];
  query: Record<string, string>;
}

export const TABS = ['code', 'test', 'triggers', 'configuration', 'monitor'] as const;
export type Tab = (typeof TABS)[number];

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function parse(hash: string): Route {
  const [path = '', search = ''] = hash.replace(/^#/, '').split('?', 2);
  return {
    parts: path.split('/').filter(Boolean).map(decode),
    query: Object.fromEntries(new URLSearchParams(search)),
  };
}

export function href(parts: string[], query: Record<string, string | number | undefined> = {}): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined && value !== '') search.set(name, String(value));
  const tail = search.size > 0 ? `?${search}` : '';
  return `#/${parts.map(encodeURIComponent).join('/')}${tail}`;
}

export const functionHref = (name: string, tab?: string, query = {}) =>
  href(['functions', name, ...(tab ? tab.split('/') : [])], query);
