// Installed into the page: counts what a person would see and hear, from the first moment on.
const seen = { cards: {}, announced: [], states: [] };
window.seen = seen;
const cardsIn = (node) => (node.matches?.("[data-alert-id]") ? [node] : [...(node.querySelectorAll?.("[data-alert-id]") ?? [])]);
new MutationObserver((changes) => {
  for (const node of changes.flatMap((change) => [...change.addedNodes])) {
    for (const card of cardsIn(node)) seen.cards[card.dataset.alertId] = (seen.cards[card.dataset.alertId] ?? 0) + 1;
  }
}).observe(document.body, { childList: true, subtree: true });
for (const id of ["announce-calm", "announce-urgent"]) {
  const place = document.getElementById(id);
  new MutationObserver(() => place.textContent && seen.announced.push(place.textContent)).observe(place, { childList: true });
}
const connection = document.getElementById("connection");
new MutationObserver(() => seen.states.push(connection.dataset.state)).observe(connection, { attributes: true });
