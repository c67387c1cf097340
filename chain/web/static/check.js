// "Verify this certificate": the visitor's own browser checks the federation's signatures.  The key
// is remembered per chain, so that a replica that later shows another one is found out.
import { fromHex, toHex, verifyCertificate, verifyRound } from './verify.bundle.mjs'

const list = () => document.getElementById('checks')

function report(good, text) {
  const line = document.createElement('li')
  line.className = good ? 'good' : 'bad'
  line.textContent = (good ? '\u2713 ' : '\u2717 ') + text
  list().append(line)
}

async function get(path) {
  const answer = await fetch(path, { cache: 'no-store', credentials: 'omit' })
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}`)
  return answer
}

function remember(chain, key) {
  const name = `gristmill-key-${chain}`
  const known = localStorage.getItem(name)
  if (known && known !== key) throw new Error(`this browser knows this federation by another key, ${known}`)
  localStorage.setItem(name, key)
}

async function verify({ certificate, cycle, height, rounds, key, chain }) {
  remember(chain, key)
  const answer = await get(certificate)
  const fields = verifyCertificate(new Uint8Array(await answer.arrayBuffer()), fromHex(key), fromHex(chain))
  if (fields.cycle !== BigInt(cycle)) throw new Error(`the certificate is of cycle ${fields.cycle}`)
  if (height && Number(fields.height) !== Number(height)) throw new Error(`the certificate is for block ${fields.height}`)
  report(true, `The federation certified cycle ${fields.cycle}: ${fields.winner} may make block ${fields.height}.`)
  if (rounds) await verifyDraw(fields, rounds, key)
}

// The beacon's signature over the round that drew the cycle's winner; replicas serve it.
async function verifyDraw(fields, rounds, key) {
  const round = 2n * fields.cycle + 1n
  const told = await (await get(`${rounds}/${round}`)).json()
  const randomness = toHex(verifyRound(fromHex(key), round, fromHex(told.signature)))
  report(true, `Beacon round ${round} is the federation's; its randomness is ${randomness}.`)
  if (randomness !== fields.nonce) throw new Error('the certificate was drawn with another number')
  report(true, 'The certificate names this number as the one that drew its winner.')
}

document.addEventListener('click', async (event) => {
  const button = event.target.closest('#verify')
  if (!button) return
  document.querySelector('main').dataset.keep = '1' // the result stays, whatever the log does
  list().replaceChildren()
  try {
    await verify(button.dataset)
    document.body.dataset.verdict = 'good'
  } catch (error) {
    report(false, `Not verified: ${error.message}.`)
    document.body.dataset.verdict = 'bad'
  }
})
