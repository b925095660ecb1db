// Whether the objects of operators in built manifests are what their operators' schemas say, by @kubernetes-models of npm:
//   operators.mjs FILE…   from a directory that has the packages and typescript; the files are JSON, an array of objects each
// The schemas know types, required fields, values and patterns; a name that isn't a field is found by the compiler of TypeScript.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

const MODELS = {
  PodMonitor: "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
  ScaledObject: "@kubernetes-models/keda/keda.sh/v1alpha1",
};

async function faults(object) {
  const module = MODELS[object.kind];
  const found = [];
  try {
    new (await import(module))[object.kind](object).validate();
  } catch (error) {
    found.push(error.message);
  }
  const type = `import type { I${object.kind} } from "${module}";\n`;
  writeFileSync("object.ts", `${type}export const object: I${object.kind} = ${JSON.stringify(object, null, 1)};\n`);
  try {
    const options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "--moduleResolution", "nodenext"];
    execFileSync("node_modules/.bin/tsc", [...options, "object.ts"], { encoding: "utf8" });
  } catch (error) {
    found.push(error.stdout.trim());
  }
  return found;
}

const objects = process.argv
  .slice(2)
  .flatMap((file) => JSON.parse(readFileSync(file, "utf8")))
  .filter((object) => object.kind in MODELS);
let failed = objects.length < 3;
for (const object of objects) {
  const found = await faults(object);
  failed ||= found.length > 0;
  console.log(found.length ? `FAILED ${object.kind} ${object.metadata.name}: ${found.join("\n")}` : `ok     ${object.kind} ${object.metadata.name}`);
}
// That this finds something: a wrong type, a value that is none, and a name that is no field.
for (const [what, change] of [
  ["a type", (it) => (it.spec.minReplicaCount = "one")],
  ["a value", (it) => (it.spec.fallback.behavior = "guess")],
  ["a name", (it) => (it.spec.minReplicas = 1)],
]) {
  const wrong = structuredClone(objects.find((object) => object.kind === "ScaledObject"));
  change(wrong);
  const refused = (await faults(wrong)).length > 0;
  failed ||= !refused;
  console.log(`${refused ? "ok    " : "FAILED"} ${what} that is wrong is refused`);
}
process.exit(failed ? 1 : 0);
