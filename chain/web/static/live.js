// Keeps the page fresh: when the replica's log or the node's chain grows, the page is fetched again and its <main>
// replaced.  Without scripts, or when the reader has asked for less motion, pages stay as they are.
const SOONEST_MS = 1000
const KINDS = ['assigned', 'committed', 'revealed', 'beacon', 'scored', 'drawn', 'aggregated',
  'certified', 'rank-voided', 'block-final', 'cycle-closed', 'key-activated', 'changed']
const state = document.getElementById('live')
let timer = 0

async function refresh() {
  timer = 0
  const answer = await fetch(location.href, { headers: { accept: 'text/html' } })
  if (!answer.ok) return
  const page = new DOMParser().parseFromString(await answer.text(), 'text/html')
  const fresh = page.querySelector('main')
  const main = document.querySelector('main')
  if (!fresh || main.contains(document.activeElement) || main.dataset.keep) return
  main.replaceChildren(...fresh.childNodes)
}

function soon() {
  if (!timer) timer = setTimeout(refresh, SOONEST_MS)
}

if (document.body.dataset.live) {
  const source = new EventSource(document.body.dataset.live)
  for (const kind of KINDS) source.addEventListener(kind, soon)
  source.onopen = () => { state.textContent = 'live' }
  source.onerror = () => { state.textContent = 'the connection is lost; trying again' }
}
