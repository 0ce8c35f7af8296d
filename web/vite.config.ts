/**
 * Two builds into `dist`: the gateway's own page, and with `--mode portal` the elements alone, as one
 * classic script that any page can load.
 */

import { fileURLToPath } from "node:url";
import { defineConfig, type UserConfig } from "vite";

const common: UserConfig = {
  // Not in node_modules, which may be shared between checkouts.
  cacheDir: ".vite",
};

const page: UserConfig = {
  ...common,
  // The page works under any path.
  base: "./",
  build: {
    target: "es2022",
    cssTarget: "chrome123", // Of `light-dark()`; others would be served a rewriting of it.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
};

const portal: UserConfig = {
  ...common,
  publicDir: false,
  build: {
    target: "es2022",
    emptyOutDir: false,
    lib: {
      entry: fileURLToPath(new URL("src/elements.ts", import.meta.url)),
      formats: ["iife"],
      name: "notifications",
      fileName: () => "notifications.js",
    },
  },
};

export default defineConfig(({ mode }) => (mode === "portal" ? portal : page));
