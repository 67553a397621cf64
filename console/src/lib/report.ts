// The REPORT line that ends an invocation's log: its numbers.
export interface Report { duration_ms?: number; billed_ms?: number; memory_mb?: number; max_memory_mb?: number; init_ms?: number }

export function report(log: string): Report {
  const number = (pattern: RegExp) => {
    const found = pattern.exec(log);
    return found ? Number(found[1]) : undefined;
  };
  return {
    duration_ms: number(/(?<!Billed |Init )Duration: ([\d.]+) ms/),
    billed_ms: number(/Billed Duration: ([\d.]+) ms/),
    memory_mb: number(/Memory Size: (\d+) MB/),
    max_memory_mb: number(/Max Memory Used: (\d+) MB/),
    init_ms: number(/Init Duration: ([\d.]+) ms/),
  };
}
