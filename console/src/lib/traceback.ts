// The stack trace of a function error: its frames, and where in the editor they lead.
export interface Frame { text: string; path?: string; line?: number }

const FRAME = /File "([^"]+)", line (\d+)/;

/** `paths`: the files of the function. A frame's file is one of them if its path ends with it. */
export function frame(text: string, paths: string[]): Frame {
  const found = FRAME.exec(text);
  if (!found) return { text };
  const whole = found[1]!;
  const path = paths.filter((path) => whole === path || whole.endsWith(`/${path}`)).sort((a, b) => b.length - a.length)[0];
  return path ? { text, path, line: Number(found[2]) } : { text };
}
