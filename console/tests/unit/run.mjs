// Runs the unit tests: TypeScript, through Vite's own loader.
import { createServer } from 'vite';

const vite = await createServer({ configFile: false, server: { middlewareMode: true, ws: false, watch: null }, optimizeDeps: { noDiscovery: true }, logLevel: 'error', appType: 'custom' });
await vite.ssrLoadModule('/tests/unit/logic.test.ts');
process.on('beforeExit', () => vite.close());
