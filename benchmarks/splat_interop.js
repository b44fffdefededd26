// Reads a .glb twice with other people's programs and prints one JSON object: what Khronos' validator says of it,
// and the attributes of its first primitive as glTF Transform reads them.
//     node splat_interop.js PACKAGES FILE.glb
const fs = require("fs");
const path = require("path");
const { createRequire } = require("module");
const { pathToFileURL } = require("url");

async function main(packages, file) {
  const load = createRequire(path.join(packages, "package.json"));
  const bytes = new Uint8Array(fs.readFileSync(file));
  const report = await load("gltf-validator").validateBytes(bytes, { maxIssues: 1000 });
  const { NodeIO, Logger } = await import(pathToFileURL(load.resolve("@gltf-transform/core")));
  const document = await new NodeIO().setLogger(new Logger(Logger.Verbosity.SILENT)).readBinary(bytes);
  const primitive = document.getRoot().listMeshes()[0].listPrimitives()[0];
  const attributes = {};
  for (const name of primitive.listSemantics()) {
    attributes[name] = Array.from(primitive.getAttribute(name).getArray());
  }
  const issues = report.issues.messages.map(({ code, severity, pointer }) => ({ code, severity, pointer }));
  process.stdout.write(JSON.stringify({ issues, attributes }));
}

main(process.argv[2], process.argv[3]);
