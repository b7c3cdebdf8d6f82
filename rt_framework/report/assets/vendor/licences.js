// Writes the licence of every package that is in vendor.js.
import { readdirSync, readFileSync, existsSync } from "node:fs";
import { join } from "node:path";

function* packages(folder) {
  for (const name of readdirSync(folder).sort()) {
    if (name.startsWith(".")) continue;
    if (name.startsWith("@")) yield* packages(join(folder, name));
    else if (existsSync(join(folder, name, "package.json"))) yield join(folder, name);
  }
}

for (const path of packages("node_modules")) {
  const { name, version, license } = JSON.parse(readFileSync(join(path, "package.json"), "utf8"));
  if (name === "esbuild" || name.startsWith("@esbuild/")) continue;
  const file = readdirSync(path).find((one) => /^licen[cs]e/i.test(one));
  console.log(`${name} ${version} (${license})\n\n${file ? readFileSync(join(path, file), "utf8").trim() : "see its package"}\n\n${"-".repeat(80)}\n`);
}
