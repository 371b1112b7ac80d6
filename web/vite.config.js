import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { defineConfig } from "vite";

/** The package folders of bundled modules. */
function packages(modules) {
  const folders = new Set();
  for (const id of modules) {
    const path = id.replace(/^\0/, "").split("?")[0];
    if (!path.includes("/node_modules/")) continue;
    let folder = dirname(path);
    // A package's inner package.json files have no name.
    while (!existsSync(join(folder, "package.json")) || !manifest(folder).name) folder = dirname(folder);
    folders.add(folder);
  }
  return [...folders].sort();
}

function manifest(folder) {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
}

/** The notice in a module's first comment, if it is one. */
function heading(module) {
  const lines = readFileSync(module, "utf8").split("\n");
  const end = lines.findIndex((line) => !line.startsWith("//"));
  const text = lines.slice(0, end).map((line) => line.slice(3)).join("\n");
  return text.includes("Redistribution") ? text : "";
}

function notice(folder, modules) {
  const { name, version, license } = manifest(folder);
  const file = readdirSync(folder).sort().find((entry) => /^(licen[sc]e|copying)/i.test(entry));
  const texts = file
    ? [readFileSync(join(folder, file), "utf8")]
    : ["The Apache License stands at the end.", ...new Set(modules.filter((id) => id.startsWith(folder)).map(heading))];
  return [`${name} ${version}, ${license.replace(/[()]/g, "")}`, ...texts.map((text) => text.trim()).filter(Boolean)].join("\n\n");
}

/** Writes the licences of what the page contains beside it. */
function licences() {
  return {
    name: "licences",
    generateBundle(_, bundle) {
      const all = Object.values(bundle).flatMap((chunk) => Object.keys(chunk.modules ?? {}));
      const modules = all.filter((id) => id.startsWith("/") && existsSync(id)).sort();
      const notices = packages(modules).map((folder) => notice(folder, modules));
      const apache = readFileSync(new URL("../LICENSE", import.meta.url), "utf8");
      const rule = `\n\n${"-".repeat(80)}\n\n`;
      const source = ["ko-sentiment's page (Apache-2.0) contains:", ...notices, apache].join(rule);
      this.emitFile({ type: "asset", fileName: "licences.txt", source });
    },
  };
}

export default defineConfig({
  base: "/",
  publicDir: "public",
  plugins: [licences()],
  build: {
    outDir: "dist",
    target: "es2022",
    // No inline modules or data: addresses: the page's policy refuses them.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: {
      output: {
        // The server knows these names; it tells versions apart by their bytes.
        entryFileNames: "page.js",
        assetFileNames: "page[extname]",
        codeSplitting: false,
      },
    },
  },
});
