// The token of this session, where the gateway asks for one. It is no cookie: cookies take no notice of ports, and a
// handler's page is on the same host. It lasts as long as the browser's tab.
const KEY = 'handlerd-token';
let token: string | null = null;
try {
  token = sessionStorage.getItem(KEY);
} catch {
  // Without storage the token lasts until the page is loaded anew.
}

export function keepToken(given: string | null): void {
  token = given;
  try {
    if (given === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, given);
  } catch {
    // As above.
  }
}

/** What a request carries; nothing on loopback, where no token is asked for. */
export const credentials = (): Record<string, string> => (token === null ? {} : { authorization: `Bearer ${token}` });
