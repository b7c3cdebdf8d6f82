// The data of the page: base64 of gzip of JSON, unpacked when it is needed.

async function unpack(element) {
  const bytes = Uint8Array.from(atob(element.textContent), (char) => char.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

const blocks = [...document.querySelectorAll("script.block")];
let opened = { at: -1, samples: [] };

async function sampleAt(index, size) {
  const at = Math.floor(index / size);
  if (opened.at !== at) opened = { at, samples: await unpack(blocks[at]) };
  return opened.samples[index % size];
}

// All that can be searched of a sample, as one text in lower case.
function searchable(sample) {
  const texts = [sample.id, sample.reason];
  for (const version of sample.versions) {
    texts.push(version.instruction, version.input, version.reasoning, version.response, version.system, ...version.tools);
    for (const [, text] of [...version.earlier, ...version.since, ...version.after, ...version.said]) texts.push(text);
  }
  for (const [, , , reason] of sample.decisions) texts.push(reason);
  for (const [, kind, reason] of sample.failures) texts.push(kind, reason);
  return texts.join("\n").toLowerCase();
}

// Reads every block once; gives way to the page between two of them.
async function searchables(progress) {
  const found = [];
  for (const [at, block] of blocks.entries()) {
    for (const sample of await unpack(block)) found.push(searchable(sample));
    progress((at + 1) / blocks.length);
  }
  return found;
}
