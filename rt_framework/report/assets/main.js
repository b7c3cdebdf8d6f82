// Unpack the columns, draw, list; then read the texts, so that they can be searched.

const data = await unpack(find("columns"));
flow(data.flow);
histograms(data);
plane(data);
const listed = browser(data);
listed.fill(await searchables((share) => listed.reading(share)));
document.documentElement.dataset.ready = "";
