// How the console is built: one page, four chunks with names that never change.
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

const GATEWAY = process.env.HANDLERD_URL ?? 'http://127.0.0.1:3001';
const gateway = { target: GATEWAY, changeOrigin: true, headers: { origin: GATEWAY } };

export default defineConfig({
  plugins: [svelte()],
  build: {
    target: 'es2022',
    outDir: 'dist',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 700,
    rolldownOptions: {
      output: {
        entryFileNames: 'assets/index.js',
        chunkFileNames: 'assets/[name].js',
        assetFileNames: 'assets/[name][extname]',
        codeSplitting: {
          groups: [
            { name: 'svelte', test: /node_modules\/(svelte|esm-env|clsx|fflate)\/|vite\/preload-helper/, priority: 3 },
            { name: 'chart', test: /node_modules\/uplot|src\/chart\//, priority: 2 },
            { name: 'editor', test: /node_modules\/(@codemirror|@lezer|@marijn|style-mod|crelt|w3c-keyname)|src\/editor\//, priority: 1 },
          ],
        },
      },
    },
  },
  server: { proxy: Object.fromEntries(['/_handlerd', '/20'].map((path) => [path, gateway])) },
});
