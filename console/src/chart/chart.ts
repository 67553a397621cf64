// Charts over time, with uPlot, in the colours of the page.
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';

export interface Series { label: string; colour: string; values: (number | null)[]; bars?: boolean }

const token = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** What is counted has no halves. */
const COUNTS = [1, 2, 5].flatMap((one) => [0, 1, 2, 3, 4, 5, 6, 7, 8].map((power) => one * 10 ** power)).sort((a, b) => a - b);

export function draw(host: HTMLElement, times_ms: number[], series: Series[], unit: string): () => void {
  host.replaceChildren();
  const axis = { stroke: token('--muted'), grid: { stroke: token('--line'), width: 1 }, ticks: { stroke: token('--line'), width: 1 } };
  const plot = new uPlot(
    {
      width: Math.max(200, host.clientWidth), height: 190,
      cursor: { drag: { x: false, y: false } },
      axes: [{ ...axis, values: (_, all) => all.map((at) => new Date(at * 1000).toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' })) }, { ...axis, size: unit === '' ? 48 : 72, ...(unit === '' ? { incrs: COUNTS } : {}), values: (_, all) => all.map((value) => `${value}${unit}`) }],
      scales: { y: { range: (_, __, max) => [0, Math.max(max * 1.1, 1)] } },
      series: [{ value: (_, at) => (at ? new Date(at * 1000).toLocaleTimeString() : '–') }, ...series.map((one) => ({
        label: one.label, stroke: token(one.colour), width: 2, points: { show: false }, spanGaps: false,
        ...(one.bars ? { fill: token(one.colour), paths: uPlot.paths.bars!({ size: [0.7, 24] }) } : {}),
        value: (_: uPlot, value: number | null) => (value === null || value === undefined ? '–' : `${Math.round(value * 10) / 10}${unit}`),
      }))],
    },
    [times_ms.map((at) => at / 1000), ...series.map((one) => (one.bars ? one.values.map((value) => value || null) : one.values))] as uPlot.AlignedData,
    host,
  );
  const watch = new ResizeObserver(() => plot.setSize({ width: Math.max(200, host.clientWidth), height: 190 }));
  watch.observe(host);
  return () => {
    watch.disconnect();
    plot.destroy();
  };
}
