// One call with @grpc/grpc-js, told as one JSON object:
//   node call.js ADDRESS '{"protos": DIR, "descriptors": FILE, "service": NAME, "method": NAME, "request": {...},
//                          "deadline_ms": N, "metadata": {...}, "stop_after": N, "ca": FILE, "cert": FILE, "key": FILE}'
// `protos` are compiled here, by protobufjs; `descriptors` are those of services that are not ours.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [address, text] = process.argv.slice(2);
const asked = JSON.parse(text);
const options = { keepCase: true, longs: Number, enums: String, defaults: true, oneofs: true };

function files(folder) {
  return fs.readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const full = path.join(folder, entry.name);
    return entry.isDirectory() ? files(full) : entry.name.endsWith(".proto") ? [full] : [];
  });
}

const definitions = {
  ...loader.loadFileDescriptorSetFromBuffer(fs.readFileSync(asked.descriptors), options),
  ...loader.loadSync(files(path.join(asked.protos, "sidebeam")), { ...options, includeDirs: [asked.protos] }),
};

function credentials() {
  if (!asked.ca) return grpc.credentials.createInsecure();
  const read = (name) => (asked[name] ? fs.readFileSync(asked[name]) : null);
  return grpc.credentials.createSsl(read("ca"), read("key"), read("cert"));
}

// The typed details of an error: google.rpc.Status, as bytes in the trailing metadata.
function decode(name, bytes) {
  return definitions["interop.Decode"][name.split(".").pop()].responseDeserialize(bytes);
}

function details(metadata) {
  return metadata.get("grpc-status-details-bin").flatMap((bytes) =>
    decode("google.rpc.Status", bytes).details.map((any) => {
      const type = any["@type"] ?? any.type_url;
      return { type: type.split("/").pop(), ...decode(type.split("/").pop(), any.value) };
    }),
  );
}

const Client = grpc.makeGenericClientConstructor(definitions[asked.service], asked.service);
const client = new Client(address, credentials());
const metadata = new grpc.Metadata();
for (const [key, value] of Object.entries(asked.metadata ?? {})) metadata.set(key, value);
const call = { deadline: Date.now() + (asked.deadline_ms ?? 20000) };
const messages = [];

function end(status) {
  const trailing = status.metadata.getMap();
  delete trailing["grpc-status-details-bin"];
  const told = { messages, code: grpc.status[status.code], text: status.details, trailing, details: details(status.metadata) };
  process.stdout.write(JSON.stringify(told) + "\n");
  client.close();
}

const method = definitions[asked.service][asked.method];
if (method.responseStream) {
  const stream = client[asked.method](asked.request ?? {}, metadata, call);
  stream.on("data", (message) => {
    messages.push(message);
    if (messages.length === asked.stop_after) stream.cancel();
  });
  stream.on("error", () => {}); // told by its status
  stream.on("status", end);
} else {
  const unary = client[asked.method](asked.request ?? {}, metadata, call, (error, message) => {
    if (message) messages.push(message);
  });
  unary.on("status", end);
}
